/* What dead trees left is found, by one, and nothing else is touched. */
#include "arena_box.h"
#include "base/clock.h"

/* A tree of two that is killed with `n` records complete, one in flight. */
static void leave_orphan(uint64_t n, uint64_t first)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct arena_ident me = self(7);
		bool box, takeover;
		struct arena *a = arena_attach(&me, &box);
		uint8_t instance[16] = {1};
		uint16_t proc = (uint16_t)arena_proc_add(a, getpid(), me.start, instance, "exe=/bin/x", 11);
		OK(a && box);
		for (uint64_t i = 0; i < n; i++)
			OK(sample_commit(a, first + i, i % 3 ? 0 : 900));
		sample_open(a, first + n, 0)->proc = proc;
		OK(arena_lease_try(a, &takeover));
		uint32_t out[3];
		arena_drain(a, out, 3, false, false); /* these were under way */
		kill(getpid(), SIGKILL);
	}
	int st;
	waitpid(pid, &st, 0);
	OK(WIFSIGNALED(st));
}

struct found {
	uint32_t arenas, records, killed;
	uint8_t seen[4096];
	bool keep;
};

static void found(void *ctx, struct arena *a)
{
	struct found *f = ctx;
	uint32_t out[50], n;
	f->arenas++;
	if (f->keep)
		return;
	do {
		n = arena_sweep(a, out, 50, true);
		for (uint32_t k = 0; k < n; k++) {
			uint64_t number = sample_check(a, out[k]);
			OK(number < sizeof f->seen);
			f->seen[number]++;
			f->records++;
			f->killed += arena_slot(a, out[k])->error == ERR_PROCESS_KILLED;
		}
		arena_free(a, out, n);
	} while (n == 50);
	arena_orphan_done(a, dir);
}

TEST(orphans_are_found)
{
	struct found f = {0};
	fresh();
	leave_orphan(100, 0);
	leave_orphan(0, 0);
	EQ_INT(count_files(".arena"), 2);
	EQ_INT(arena_orphans(dir, NULL, 1, found, &f, NULL), 1);
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f, NULL), 1);
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f, NULL), 0);
	EQ_INT(f.records, 102);
	EQ_INT(f.killed, 2);
	EQ_INT(count_files(""), 0);
	clean();
}

TEST(the_living_are_left_alone)
{
	struct found f = {0};
	bool box;
	fresh();
	struct arena_ident me = self(7);
	struct arena *mine = arena_attach(&me, &box);
	OK(mine && box);
	EQ_INT(arena_orphans(dir, mine, 9, found, &f, NULL), 0);
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f, NULL), 0);
	/* The root is dead, a child that joined lives, first in the table only by its attachment. */
	int pipes[2];
	OK(pipe(pipes) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct arena_ident root = self(9);
		if (fork() == 0) {
			struct arena_ident child = self(9);
			child.root_pid = root.pid;
			child.root_start = root.start;
			OK(arena_attach(&child, &box) && box);
			OK(write(pipes[1], "x", 1) == 1);
			sleep(1);
			_exit(0);
		}
		char c;
		OK(read(pipes[0], &c, 1) == 1);
		_exit(0);
	}
	reap(pid);
	EQ_INT(count_files(".arena"), 2);
	EQ_INT(arena_orphans(dir, mine, 9, found, &f, NULL), 0);
	for (int i = 0; i < 300 && f.arenas == 0; i++, usleep(10000))
		arena_orphans(dir, NULL, 9, found, &f, NULL);
	EQ_INT(f.arenas, 1);
	clean();
}

/* Keys and destinations are not theirs: they wait for a start with their own settings, not too many and not for ever. */
TEST(those_of_other_settings)
{
	struct found f = {0};
	uint32_t foreign;
	bool box;
	fresh();
	struct arena_ident i9 = self(9), i7 = self(7);
	struct arena *other = arena_attach(&i9, &box), *same = NULL;
	leave_orphan(10, 0);
	for (int i = 0; i < 2; i++) {
		EQ_INT(arena_orphans(dir, other, 9, found, &f, &foreign), 0);
		EQ_INT(foreign, 1);
		EQ_INT(count_files(".arena"), 2);
	}
	same = arena_attach(&i7, &box);
	OK(other && same);
	EQ_INT(arena_orphans(dir, same, 9, found, &f, &foreign), 1);
	EQ_INT(foreign, 0);
	EQ_INT(f.records, 11);
	arena_unlink(same, dir);
	for (int i = 0; i < FOREIGN_MOST + 3; i++)
		leave_orphan(5, 0);
	EQ_INT(arena_orphans(dir, other, 9, found, &f, &foreign), 0);
	EQ_INT(foreign, FOREIGN_MOST);
	EQ_INT(count_files(""), 1 + FOREIGN_MOST);
	EQ_INT(atomic_load(&other->count[COUNT_DROP_EXPIRED]), 3 * 6);
	arena_unlink(other, dir);
	clean();

	fresh();
	leave_orphan(5, 0);
	other = arena_attach(&i9, &box);
	EQ_INT(arena_orphans(dir, other, 9, found, &f, &foreign), 0);
	arena_unlink(other, dir);
	uint32_t then = (uint32_t)(mono_ns() / 1000000000) - FOREIGN_DAYS * 24 * 3600 - 60;
	int fd = open(only_file(), O_RDWR);
	OK(pwrite(fd, &then, 4, offsetof(struct arena, foreign_s)) == 4);
	close(fd);
	other = arena_attach(&i9, &box);
	EQ_INT(arena_orphans(dir, other, 9, found, &f, &foreign), 0);
	EQ_INT(foreign, 0);
	EQ_INT(count_files(""), 1);
	EQ_INT(f.records, 11);
	clean();
}

TEST(orphan_to_exactly_one)
{
	_Atomic uint32_t *share = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fresh();
	for (int round = 0; round < 10; round++) {
		unit_case("round %d", round);
		for (int i = 0; i < 4; i++)
			leave_orphan(50, (uint64_t)i * 100);
		memset((void *)share, 0, 65536);
		pid_t pid[8];
		for (int c = 0; c < 8; c++)
			if ((pid[c] = fork()) == 0) {
				struct found f = {0};
				while (!share[0])
					sched_yield();
				share[1] += arena_orphans(dir, NULL, 9, found, &f, NULL);
				for (int i = 0; i < 400; i++)
					share[10 + i] += f.seen[i];
				_exit(0);
			}
		share[0] = 1;
		for (int c = 0; c < 8; c++)
			reap(pid[c]);
		EQ_INT(share[1], 4);
		for (int i = 0; i < 400; i++)
			EQ_INT(share[10 + i], i % 100 <= 50);
		EQ_INT(count_files(""), 0);
	}
	clean();
}

/* Who claimed it is killed before he is done: the next one gets it. */
TEST(orphan_of_an_orphan)
{
	fresh();
	leave_orphan(10, 0);
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct found f = {.keep = true};
			EQ_INT(arena_orphans(dir, NULL, 9, found, &f, NULL), 1);
			EQ_INT(arena_orphans(dir, NULL, 9, found, &f, NULL), 0);
			_exit(0);
		}
		reap(pid);
		EQ_INT(count_files(".orphan"), 1);
	}
	struct found f = {0};
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f, NULL), 1);
	EQ_INT(f.records, 11);
	EQ_INT(count_files(""), 0);
	clean();
}

TEST(rubbish_is_left_alone)
{
	struct found f = {0};
	fresh();
	static const char *const names[] = {
		"1-1-00000000.arena", "a.arena", "4194304-5-00000000.arena", ".arena", "-.arena",
		"99999999999999999999-1-0.arena", "4194304-5-00000000.1-x.orphan", "x.tmp"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[200];
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		int fd = open(path, O_CREAT | O_RDWR, 0600);
		OK(fd >= 0 && write(fd, path, 100) == 100);
		close(fd);
	}
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f, NULL), 0);
	char temp[200];
	snprintf(temp, sizeof temp, "%s/4194304-5-7.tmp", dir); /* of a process that died while it made one */
	close(open(temp, O_CREAT | O_RDWR, 0600));
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f, NULL), 0);
	OK(access(temp, F_OK) != 0);
	clean();
}

/* Another pid namespace: its numbers mean nothing here, nor ours there. */
static int in_namespace(bool own_proc)
{
	pid_t pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
			_exit(2);
		pid_t first = fork();
		if (first == 0) {
			bool box;
			if (own_proc && mount("proc", "/proc", "proc", 0, NULL) != 0)
				_exit(2);
			struct arena_ident me = self(7);
			struct found f = {0};
			struct arena *a = arena_attach(&me, &box);
			OK(a && sample_commit(a, 1, 0));
			EQ_INT(box, own_proc);                                /* with the outer /proc, pids say nothing */
			EQ_INT(arena_orphans(dir, a, 9, found, &f, NULL), 0); /* the outer one's is no orphan to us */
			_exit(0);
		}
		int st;
		waitpid(first, &st, 0);
		_exit(WEXITSTATUS(st));
	}
	int st;
	waitpid(pid, &st, 0);
	return WEXITSTATUS(st);
}

TEST(other_pid_namespace)
{
	struct found f = {0};
	fresh();
	leave_orphan(5, 0);
	for (int own_proc = 0; own_proc < 2; own_proc++) {
		int st = in_namespace(own_proc);
		if (st == 2)
			printf("# no namespace\n");
		else
			EQ_INT(st, 0);
		if (st == 0)
			EQ_INT(count_files(".arena"), 1 + own_proc);
	}
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f, NULL), 1);
	EQ_INT(f.records, 6);
	clean();
}
