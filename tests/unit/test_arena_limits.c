/* The black box where there is little room, or none: limits, full file systems, unfit directories. */
#include "arena_box.h"

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
		rl.rlim_cur = i == 0 ? 300 * 1024 : i == 1 ? 1000
		                                           : 0;
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
	EQ_INT(arena_orphans("", a, 3, NULL, NULL, NULL), 0);
	umount2("/dev/shm", MNT_DETACH);
	unmount();
}
