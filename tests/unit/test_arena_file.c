/* The black box: files, and who finds which. */
#include "arena_box.h"

TEST(made_once)
{
	fresh();
	struct arena_ident me = self(7);
	bool box;
	int fds = open_fds();
	errno = 4242;
	struct arena *a = arena_attach(&me, &box), *again = arena_attach(&me, &box);
	EQ_INT(errno, 4242);
	OK(a && box && again && same(a, again) && a != again);
	EQ_INT(open_fds(), fds);
	EQ_INT(count_files(".arena"), 1);
	struct stat st;
	OK(stat(only_file(), &st) == 0);
	EQ_INT(st.st_mode & 07777, 0600);
	EQ_INT(st.st_size, 2 * MB);
	OK(st.st_blocks * 512 >= ARENA_FIRST && st.st_blocks * 512 <= ARENA_FIRST + 128 * 1024);
	OK(sample_commit(a, 1, 0));
	uint32_t out[2];
	EQ_INT(arena_drain(again, out, 2, false, false), 1);
	EQ_INT(sample_check(again, out[0]), 1);
	OK(arena_grow(a) && arena_slots(again) == arena_slots(a));
	arena_unlink(a, dir);
	EQ_INT(count_files(""), 0);
	EQ_INT(a->dead, 1);
	struct arena *fresh_one = arena_attach(&me, &box); /* must not be the dead one */
	OK(fresh_one && box && !same(a, fresh_one));
	clean();
}

/* By whoever comes to tell a crashed process something. */
TEST(found_by_a_process_of_its)
{
	fresh();
	struct arena_ident me = self(7);
	bool box;
	struct arena *a = arena_attach(&me, &box);
	OK(a && box && arena_has_process(a, me.pid, me.start)); /* its maker is in the table */
	int fds = open_fds();
	struct arena *found = arena_of_process(dir, me.pid, me.start, 7);
	OK(found && same(a, found) && found != a);
	EQ_INT(found->procs[0].pid, me.pid);
	arena_unmap(found);
	OK(!arena_of_process(dir, me.pid, me.start, 8));     /* other settings */
	OK(!arena_of_process(dir, me.pid, me.start + 1, 7)); /* another one of that number */
	OK(!arena_of_process(dir, me.pid + 1, me.start, 7));
	OK(!arena_of_process("", me.pid, me.start, 7) && !arena_of_process(NULL, me.pid, me.start, 7));
	OK(!arena_has_process(a, me.pid, me.start + 1));
	uint32_t entries = 0;
	for (uint32_t i = 0; i < ARENA_PROCS; i++)
		entries += a->procs[i].used != PROC_FREE;
	EQ_INT(entries, 1); /* who looks is not entered */
	EQ_INT(open_fds(), fds);
	clean();
}

TEST(low_fds_stay_free)
{
	fresh();
	struct arena_ident me = self(7);
	bool box;
	close(0);
	close(2);
	OK(arena_attach(&me, &box) && box);
	EQ_INT(arena_orphans(dir, NULL, 4, NULL, NULL, NULL), 0);
	OK(fcntl(0, F_GETFD) < 0 && fcntl(2, F_GETFD) < 0);
	clean();
}

TEST(forked_children_share)
{
	fresh();
	struct arena_ident root = self(7);
	struct arena *share = arena_new_anonymous(64 * 1024, 0);
	pid_t pid[8];
	for (int c = 0; c < 8; c++)
		if ((pid[c] = fork()) == 0) { /* the root has none: the first child makes it under the root's name */
			struct arena_ident me = self(7);
			bool box;
			me.root_pid = root.pid;
			me.root_start = root.start;
			struct arena *a = arena_attach(&me, &box);
			OK(a && box && a->root_pid == root.pid);
			OK(sample_commit(a, (uint64_t)c, 0));
			share->count[c] = arena_local(a)->ino;
			_exit(0);
		}
	for (int c = 0; c < 8; c++)
		reap(pid[c]);
	EQ_INT(count_files(".arena"), 1);
	bool box;
	struct arena *a = arena_attach(&root, &box);
	uint32_t out[16];
	EQ_INT(arena_drain(a, out, 16, false, false), 8);
	for (int c = 0; c < 8; c++)
		EQ_INT(share->count[c], arena_local(a)->ino);
	clean();
}

/* Parent, child and grandchild as three images; what the last one attaches to. */
static bool grandchild_joins(uint64_t hash, bool other_uid)
{
	fresh();
	struct arena_ident me = self(7);
	bool box;
	struct arena *a = arena_attach(&me, &box);
	OK(a && box);
	pid_t pid = fork();
	if (pid == 0) {
		pid_t inner = fork();
		if (inner == 0) {
			if (other_uid)
				OK(setuid(65534) == 0);
			struct arena_ident i = self(hash);
			struct arena *b = arena_attach(&i, &box);
			OK(b != NULL);
			_exit(same(a, b) ? 0 : 1);
		}
		int st;
		waitpid(inner, &st, 0);
		_exit(WEXITSTATUS(st));
	}
	int st;
	waitpid(pid, &st, 0);
	clean();
	return st == 0;
}

TEST(exec_joins_ancestor)
{
	OK(grandchild_joins(7, false));
	OK(!grandchild_joins(8, false));
	if (getuid() == 0)
		OK(!grandchild_joins(7, true));
}

/* root -> daemon -> worker, all of one image; root ends. A program that the worker starts finds the arena. */
TEST(exec_under_a_daemon_joins)
{
	fresh();
	int result[2], go[2];
	OK(pipe(result) == 0 && pipe(go) == 0);
	pid_t root = fork();
	if (root == 0) {
		struct arena_ident id = self(7);
		bool box;
		struct arena *a = arena_attach(&id, &box);
		OK(a && box);
		if (fork())
			_exit(0);
		uint8_t instance[16] = {1};
		char c;
		OK(read(go[0], &c, 1) == 1);
		arena_proc_add(a, getpid(), proc_start_time(getpid()), instance, "", 0);
		if (fork() == 0 && fork() == 0) {
			struct arena_ident me = self(7), other = self(8);
			struct arena *b = arena_attach(&me, &box), *d = arena_attach(&other, &box);
			c = b && d && same(a, b) && !same(a, d) ? 'y' : 'n';
			OK(write(result[1], &c, 1) == 1);
			_exit(0);
		}
		usleep(500000);
		_exit(0);
	}
	reap(root);
	char c = 'g';
	OK(write(go[1], &c, 1) == 1 && read(result[0], &c, 1) == 1);
	EQ_INT(c, 'y');
	clean();
}

TEST(dead_is_not_joined)
{
	fresh();
	struct arena_ident me = self(7);
	bool box;
	struct arena *a = arena_attach(&me, &box);
	a->dead = 1;
	struct arena *b = arena_attach(&me, &box);
	OK(b && !box && !same(a, b)); /* the name is taken: memory only */
	clean();
}

static void spoil(int how, struct arena *a, const char *path)
{
	char other[500];
	snprintf(other, sizeof other, "%s.other", path);
	/* clang-format off */
	switch (how) {
	case 0: a->magic ^= 1; break;
	case 1: a->layout++; break;
	case 2: a->header_size += 4096; break;
	case 3: a->max_slots++; break;
	case 4: a->boot_id[3] ^= 1; break;
	case 5: a->pid_ns++; break;
	case 6: a->uid++; break;
	case 7: a->hash++; break;
	case 8: OK(chmod(path, 0644) == 0); break;
	case 9: OK(link(path, other) == 0); break;
	case 10: OK(rename(path, other) == 0 && symlink(other, path) == 0); break;
	case 11: OK(truncate(path, 65536) == 0); break;
	case 12: OK(unlink(path) == 0 && mkfifo(path, 0600) == 0); break;
	case 13: OK(truncate(path, 0) == 0); break;
	case 14: OK(truncate(path, 0) == 0 && truncate(path, 2 * MB) == 0); break; /* a hole */
	case 15: a->slots = a->max_slots; break;                                  /* more than there are pages */
	case 16: OK(chown(path, 65534, 65534) == 0); break;
	case 17: OK(unlink(path) == 0 && mkdir(path, 0700) == 0); break;
	}
	/* clang-format on */
}

TEST(spoiled_files_are_refused)
{
	for (int how = 0; how <= 17; how++) {
		if (how == 16 && getuid() != 0)
			continue;
		unit_case("%d", how);
		fresh();
		struct arena_ident me = self(7);
		bool box;
		struct arena *a = arena_attach(&me, &box);
		char path[400];
		snprintf(path, sizeof path, "%s", only_file());
		spoil(how, a, path);
		struct arena *b = arena_attach(&me, &box);
		OK(b && !box && arena_local(b)->ino == 0);
		OK(sample_commit(b, 1, 0));
		rmdir(path);
		clean();
	}
}
