/* The black box: files, who finds which, directories, limits, orphans. */
#include "arena_sample.h"
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MB (1 << 20)

static char dir[64];

/* A fresh directory of its own. */
static const char *fresh(void)
{
	snprintf(dir, sizeof dir, "/dev/shm/remora-test-%d", getpid());
	runtime_dir(dir, NULL, dir, sizeof dir);
	OK(dir[0]);
	return dir;
}

static int count_files(const char *ending)
{
	DIR *d = opendir(dir);
	int n = 0;
	OK(d != NULL);
	for (struct dirent *e; (e = readdir(d));) {
		size_t k = strlen(e->d_name), m = strlen(ending);
		n += k >= m && strcmp(e->d_name + k - m, ending) == 0 && e->d_name[0] != '.';
	}
	closedir(d);
	return n;
}

static const char *only_file(void)
{
	static char path[400];
	DIR *d = opendir(dir);
	path[0] = 0;
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
	closedir(d);
	return path;
}

static void clean(void)
{
	char path[400];
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

static struct arena_ident self(uint64_t hash)
{
	uint64_t start = proc_start_time(getpid());
	return (struct arena_ident){getpid(), start, getpid(), start, hash, 2 * MB, dir};
}

static void reap(pid_t pid)
{
	int st;
	OK(waitpid(pid, &st, 0) == pid);
	OK(WIFEXITED(st) && WEXITSTATUS(st) == 0);
}

static bool same(const struct arena *a, const struct arena *b)
{
	return arena_local(a)->ino == arena_local(b)->ino && arena_local(a)->dev == arena_local(b)->dev;
}

static int open_fds(void)
{
	int n = 0;
	for (int i = 0; i < 1024; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

/* ---- making and finding ---- */

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

TEST(low_fds_stay_free)
{
	fresh();
	struct arena_ident me = self(7);
	bool box;
	close(0);
	close(2);
	OK(arena_attach(&me, &box) && box);
	EQ_INT(arena_orphans(dir, NULL, 4, NULL, NULL), 0);
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

/* ---- limits ---- */

static void use_up(struct arena *a)
{
	while (sample_commit(a, 1, 0) || arena_grow(a))
		;
}

TEST(file_size_limit)
{
	struct rlimit rl = {300 * 1024, RLIM_INFINITY};
	for (int i = 0; i < 3; i++) {
		unit_case("%d", i);
		fresh();
		struct arena_ident me = self(7);
		bool box;
		rl.rlim_cur = i == 0 ? 300 * 1024 : i == 1 ? 1000 : 0;
		OK(setrlimit(RLIMIT_FSIZE, &rl) == 0);
		struct arena *a = arena_attach(&me, &box);
		EQ_INT(box, i == 0);
		OK(a != NULL);
		if (box)
			EQ_INT(arena_size(a), 256 * 1024);
		use_up(a);
		rl.rlim_cur = RLIM_INFINITY;
		setrlimit(RLIMIT_FSIZE, &rl);
		clean();
	}
}

TEST(address_space_limit)
{
	fresh();
	struct arena_ident me = self(7);
	bool box;
	FILE *f = fopen("/proc/self/statm", "r");
	long pages;
	OK(f && fscanf(f, "%ld", &pages) == 1);
	fclose(f);
	me.max_bytes = 64 * MB;
	struct rlimit rl = {(rlim_t)pages * 4096 + 3 * MB, RLIM_INFINITY};
	OK(setrlimit(RLIMIT_AS, &rl) == 0);
	struct arena *a = arena_attach(&me, &box);
	OK(a && box && arena_size(a) <= 2 * MB);
	use_up(a);
	rl.rlim_cur = (rlim_t)pages * 4096;
	OK(setrlimit(RLIMIT_AS, &rl) == 0);
	me.hash++;
	OK(!arena_attach(&me, &box) && !box);
	rl.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_AS, &rl);
	clean();
}

/* A tmpfs of this size at dir, seen by this process alone. */
static bool small_tmpfs(const char *options)
{
	fresh();
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, options) != 0 || chmod(dir, 0700) != 0) {
		printf("# no mount: %s\n", strerror(errno));
		clean();
		return false;
	}
	return true;
}

static void unmount(void)
{
	umount2(dir, MNT_DETACH);
	rmdir(dir);
}

TEST(small_and_full_tmpfs)
{
	struct arena_ident me;
	bool box;
	if (!small_tmpfs("size=1m"))
		return;
	me = self(7);
	me.max_bytes = 8 * MB;
	struct arena *a = arena_attach(&me, &box); /* 576 KiB fit, its doubling does not */
	OK(a && box);
	use_up(a);
	struct stat st;
	OK(stat(only_file(), &st) == 0);
	OK(st.st_blocks * 512 <= ARENA_FIRST + 128 * 1024); /* what could not be had whole was given back */
	me.hash++;
	struct arena *b = arena_attach(&me, &box); /* a smaller one */
	OK(b && box && arena_slots(b) < arena_slots(a));
	use_up(b);
	me.hash++;
	struct arena *c = arena_attach(&me, &box);
	OK(c && box && arena_slots(c) < arena_slots(b));
	me.hash++;
	for (int i = 0; i < 5 && box; i++, me.hash++)
		OK(arena_attach(&me, &box));
	OK(!box); /* full: memory only */
	use_up(c);
	unmount();
}

TEST(tmpfs_without_inodes)
{
	bool box;
	if (!small_tmpfs("size=4m,nr_inodes=1"))
		return;
	struct arena_ident me = self(7);
	OK(arena_attach(&me, &box) && !box);
	unmount();
}

TEST(read_only_dir)
{
	bool box;
	if (!small_tmpfs("size=4m"))
		return;
	OK(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	struct arena_ident me = self(7);
	OK(arena_attach(&me, &box) && !box);
	unmount();
}

/* ---- directories ---- */

static const char *choose(const char *wanted, const char *xdg)
{
	static char buf[256];
	runtime_dir(wanted, xdg, buf, sizeof buf);
	return buf;
}

TEST(directories)
{
	char base[80], sub[100], link_name[100], by_uid[64];
	umask(077);
	snprintf(base, sizeof base, "/dev/shm/remora-dirs-%d", getpid());
	snprintf(sub, sizeof sub, "%s/remora", base);
	snprintf(link_name, sizeof link_name, "%s-link", base);
	snprintf(by_uid, sizeof by_uid, "/dev/shm/remora-%d", getuid());
	struct stat st;
	umask(0777);
	EQ_STR(choose(base, NULL), base); /* made */
	umask(022);
	OK(stat(base, &st) == 0 && (st.st_mode & 07777) == 0700);
	EQ_STR(choose(base, "/tmp"), base);
	chmod(base, 0755);
	EQ_STR(choose(base, NULL), ""); /* not private; and the user named it, so no other */
	chmod(base, 0770);
	EQ_STR(choose(base, NULL), "");
	chmod(base, 0700);
	OK(symlink(base, link_name) == 0);
	EQ_STR(choose(link_name, NULL), "");
	unlink(link_name);
	EQ_STR(choose("relative", NULL), "");
	EQ_STR(choose("/nonexistent/remora", NULL), "");
	EQ_STR(choose("/proc/self", NULL), "");
	EQ_STR(choose(NULL, base), sub);
	chmod(base, 0777);
	EQ_STR(choose(NULL, base), by_uid); /* others could swap what is in it */
	chmod(base, 0700);
	if (getuid() == 0) {
		OK(chown(sub, 65534, 65534) == 0);
		EQ_STR(choose(sub, NULL), "");
		EQ_STR(choose(NULL, base), by_uid);
		OK(chown(base, 65534, 65534) == 0);
		EQ_STR(choose(NULL, base), by_uid); /* sudo: the environment is somebody else's */
	}
	rmdir(sub);
	rmdir(base);
	EQ_STR(choose("", NULL), by_uid);
	EQ_STR(choose(NULL, "not/absolute"), by_uid);
	char disk[] = "/var/tmp/remora-XXXXXX";
	OK(mkdtemp(disk) != NULL);
	struct stat root;
	OK(stat("/dev/shm", &st) == 0 && stat(disk, &root) == 0);
	EQ_STR(choose(disk, NULL), "");
	EQ_STR(choose(NULL, disk), by_uid);
	rmdir(disk);
	char tiny[8] = "x";
	runtime_dir(NULL, NULL, tiny, sizeof tiny);
	EQ_STR(tiny, "");
}

TEST(no_dev_shm)
{
	bool box;
	if (!small_tmpfs("size=4m"))
		return;
	OK(mount("/var/tmp", "/dev/shm", NULL, MS_BIND, NULL) == 0); /* a disk stands there */
	EQ_STR(choose(NULL, NULL), "");
	struct arena_ident me = self(7);
	me.dir = "";
	struct arena *a = arena_attach(&me, &box);
	OK(a && !box && sample_commit(a, 1, 0));
	EQ_INT(arena_orphans("", a, 3, NULL, NULL), 0);
	umount2("/dev/shm", MNT_DETACH);
	unmount();
}

/* ---- orphans ---- */

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
	EQ_INT(arena_orphans(dir, NULL, 1, found, &f), 1);
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f), 1);
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f), 0);
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
	EQ_INT(arena_orphans(dir, mine, 9, found, &f), 0);
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f), 0);
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
	EQ_INT(arena_orphans(dir, mine, 9, found, &f), 0);
	for (int i = 0; i < 300 && f.arenas == 0; i++, usleep(10000))
		arena_orphans(dir, mine, 9, found, &f);
	EQ_INT(f.arenas, 1);
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
				share[1] += arena_orphans(dir, NULL, 9, found, &f);
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
			EQ_INT(arena_orphans(dir, NULL, 9, found, &f), 1);
			EQ_INT(arena_orphans(dir, NULL, 9, found, &f), 0);
			_exit(0);
		}
		reap(pid);
		EQ_INT(count_files(".orphan"), 1);
	}
	struct found f = {0};
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f), 1);
	EQ_INT(f.records, 11);
	EQ_INT(count_files(""), 0);
	clean();
}

TEST(rubbish_is_left_alone)
{
	struct found f = {0};
	fresh();
	static const char *const names[] = {"1-1-00000000.arena", "a.arena", "4194304-5-00000000.arena", ".arena", "-.arena",
	                                    "99999999999999999999-1-0.arena", "4194304-5-00000000.1-x.orphan", "x.tmp"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[200];
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		int fd = open(path, O_CREAT | O_RDWR, 0600);
		OK(fd >= 0 && write(fd, path, 100) == 100);
		close(fd);
	}
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f), 0);
	char temp[200];
	snprintf(temp, sizeof temp, "%s/4194304-5-7.tmp", dir); /* of a process that died while it made one */
	close(open(temp, O_CREAT | O_RDWR, 0600));
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f), 0);
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
			EQ_INT(box, own_proc); /* with the outer /proc, pids say nothing */
			EQ_INT(arena_orphans(dir, a, 9, found, &f), 0); /* the outer one's is no orphan to us */
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
	EQ_INT(arena_orphans(dir, NULL, 9, found, &f), 1);
	EQ_INT(f.records, 6);
	clean();
}
