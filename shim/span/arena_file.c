/* Making and opening arenas. Raw system calls only. */
#include "span/arena_priv.h"
#include "base/sys.h"
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define SMALLEST ARENA_GRAIN
#define LARGEST ((size_t)1 << 30)
#define LOCAL_ROOM ARENA_GRAIN /* before the mapping; only its last page is touched */

/* ---- small things ---- */

char *put_text(char *at, const char *s)
{
	size_t n = strlen(s);
	memcpy(at, s, n + 1);
	return at + n;
}

char *put_number(char *at, uint64_t n)
{
	char digits[20];
	int k = 0;
	do
		digits[k++] = (char)('0' + n % 10);
	while (n /= 10);
	while (k)
		*at++ = digits[--k];
	*at = 0;
	return at;
}

void arena_name(char out[ARENA_NAME_MAX], int pid, uint64_t start, uint64_t hash, uint64_t pid_ns)
{
	char *at = put_number(out, (uint64_t)(uint32_t)pid);
	at = put_number(put_text(at, "-"), start);
	*at++ = '-';
	uint64_t mixed = (hash ^ pid_ns * 0x9e3779b97f4a7c15u ^ ARENA_LAYOUT * 0xff51afd7ed558ccdu) * 0xc4ceb9fe1a85ec53u;
	for (int shift = 60; shift >= 32; shift -= 4)
		*at++ = "0123456789abcdef"[mixed >> shift & 15];
	put_text(at, ".arena");
}

int open_high(int dirfd, const char *path, int flags, unsigned mode)
{
	long fd = sys6(SYS_openat, dirfd, (long)path, flags | O_CLOEXEC, mode, 0, 0);
	if (fd >= 0 && fd < 3) { /* the host may take 0, 1, 2 for its own at any moment */
		long high = sys3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
		sys_close((int)fd);
		fd = high;
	}
	return (int)fd;
}

void arena_self(struct arena_self *me)
{
	me->pid_ns = pid_ns_self();
	me->uid = (uint32_t)sys3(SYS_geteuid, 0, 0, 0);
	boot_id_read(me->boot_id);
}

int dir_open(const char *dir)
{
	struct stat st;
	int fd = open_high(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return -1;
	if (sys3(SYS_fstat, fd, &st, 0) == 0 && st.st_uid == (uint32_t)sys3(SYS_geteuid, 0, 0, 0) &&
	    (st.st_mode & 07777) == 0700)
		return fd;
	sys_close(fd);
	return -1;
}

/* ---- mappings ---- */

/* Address space for an arena of *bytes, or of less if that is too much. */
static char *reserve(size_t *bytes)
{
	for (; *bytes >= SMALLEST; *bytes = (*bytes / 2) & ~(ARENA_GRAIN - 1)) {
		long r = sys6(SYS_mmap, 0, (long)(LOCAL_ROOM + *bytes), PROT_NONE,
		              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (r > 0 || r < -4095)
			return (char *)r;
	}
	return NULL;
}

/* Shared memory over the reserved address space; fd -1 = anonymous. On failure all of it is gone. */
static struct arena *map_over(char *base, size_t bytes, int fd, const struct stat *st)
{
	char *at = base + LOCAL_ROOM;
	long r = sys6(SYS_mmap, (long)at, (long)bytes, PROT_READ | PROT_WRITE,
	              MAP_FIXED | MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	struct arena *a = (struct arena *)at;
	if (r != (long)at || sys3(SYS_mprotect, base, LOCAL_ROOM, PROT_READ | PROT_WRITE) != 0) {
		sys_unmap(base, LOCAL_ROOM + bytes);
		return NULL;
	}
	struct arena_local *l = arena_local_edit(a);
	l->bytes = bytes;
	l->max_slots = (uint32_t)((bytes - ARENA_HEADER) / SLOT_SIZE);
	l->dev = st ? st->st_dev : 0;
	l->ino = st ? st->st_ino : 0;
	sys3(SYS_madvise, base, LOCAL_ROOM + bytes, MADV_DONTDUMP);
	return a;
}

struct arena_local *arena_local_edit(struct arena *a)
{
	return (struct arena_local *)(uintptr_t)arena_local(a);
}

void arena_unmap(struct arena *a)
{
	sys_unmap((char *)a - LOCAL_ROOM, LOCAL_ROOM + arena_size(a));
}

size_t arena_size(const struct arena *a)
{
	return arena_local(a)->bytes;
}

/* The first `bytes` of the mapping are reserved. */
static void fill_header(struct arena *a, size_t bytes, const struct arena_self *me, const struct arena_ident *who)
{
	a->layout = ARENA_LAYOUT;
	a->header_size = (uint32_t)ARENA_HEADER;
	a->max_slots = arena_local(a)->max_slots;
	a->hash = who->hash;
	a->root_pid = who->root_pid;
	a->root_start = who->root_start;
	a->pid_ns = me->pid_ns;
	memcpy(a->boot_id, me->boot_id, 16);
	a->uid = me->uid;
	a->ready_head = a->ready_tail = a->draining = SLOT_NONE;
	for (uint32_t i = 0; i < ARENA_PROCS; i++)
		a->procs[i].blob = SLOT_NONE;
	atomic_store(&a->free_head, SLOT_NONE);
	atomic_store(&a->done, SLOT_NONE);
	atomic_store(&a->slots, (uint32_t)((bytes - ARENA_HEADER) / SLOT_SIZE));
	a->with_rules = who->with_rules;
	struct xray_rules *rules = arena_xray_rules(a);
	if (rules) {
		for (uint32_t i = 0; i < XRAY_RULE_SLOTS; i++)
			atomic_store(&arena_slot(a, i)->state, SLOT_MORE);
		rules->fallback.rate = XRAY_RATE_FALLBACK;
		rules->fallback.reservoir = 1;
		atomic_store(&a->fresh, (uint32_t)XRAY_RULE_SLOTS);
	}
	a->magic = ARENA_MAGIC;
}

static size_t grains(size_t bytes)
{
	return (bytes + ARENA_GRAIN - 1) & ~(ARENA_GRAIN - 1);
}

static size_t wanted_size(uint32_t max)
{
	size_t bytes = grains(max);
	if (bytes < SMALLEST)
		return SMALLEST;
	return bytes > LARGEST ? LARGEST : bytes;
}

static size_t first_part(size_t bytes)
{
	size_t first = grains(ARENA_HEADER + ARENA_FIRST);
	return first < bytes ? first : bytes;
}

struct arena *arena_make_anonymous(const struct arena_ident *who, const struct arena_self *me)
{
	size_t bytes = wanted_size(who->max_bytes);
	for (char *base; (base = reserve(&bytes)); bytes = (bytes / 2) & ~(ARENA_GRAIN - 1)) {
		struct arena *a = map_over(base, bytes, -1, NULL);
		if (a) {
			fill_header(a, first_part(bytes), me, who);
			return a;
		}
	}
	return NULL;
}

struct arena *arena_new_anonymous(uint32_t bytes, uint64_t hash)
{
	struct arena_self me;
	arena_self(&me);
	int pid = sys_getpid();
	uint64_t start = proc_start_time(pid);
	struct arena_ident who = {pid, start, pid, start, hash, bytes, "", false};
	return arena_make_anonymous(&who, &me);
}

/* ---- files: making ---- */

/* Beyond the limit the kernel sends SIGXFSZ, which kills. */
static size_t file_limit(void)
{
	struct rlimit rl;
	if (sys6(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&rl, 0, 0) != 0 || rl.rlim_cur > LARGEST)
		return LARGEST;
	return (size_t)rl.rlim_cur & ~(ARENA_GRAIN - 1);
}

/* Pages for the beginning of the file, less if there is no room; 0: too little room. */
static size_t allocate(int fd, size_t bytes)
{
	for (size_t first = first_part(bytes); first >= SMALLEST; first = (first / 2) & ~(ARENA_GRAIN - 1)) {
		long e = sys6(SYS_fallocate, fd, 0, 0, (long)first, 0, 0);
		if (e == 0)
			return first;
		if (e != -ENOSPC && e != -EDQUOT && e != -ENOMEM)
			return 0;
	}
	return 0;
}

/* ftruncate and fallocate with SIGXFSZ held back, should the limit have sunk since we looked. */
static size_t make_size(int fd, size_t bytes)
{
	uint64_t xfsz = 1ull << (SIGXFSZ - 1), old = 0;
	static const struct timespec at_once = {0, 0};
	size_t first = 0;
	if (sys6(SYS_rt_sigprocmask, SIG_BLOCK, (long)&xfsz, (long)&old, sizeof xfsz, 0, 0) != 0)
		return 0;
	long e = sys3(SYS_ftruncate, fd, bytes, 0);
	if (e == 0)
		first = allocate(fd, bytes);
	if (e == -EFBIG)
		sys6(SYS_rt_sigtimedwait, (long)&xfsz, 0, (long)&at_once, sizeof xfsz, 0, 0);
	sys6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&old, 0, sizeof old, 0, 0);
	return first;
}

static long give_name(int dirfd, int fd, const char *name)
{
	char path[40];
	put_number(put_text(path, "/proc/self/fd/"), (uint64_t)fd);
	return sys6(SYS_linkat, AT_FDCWD, (long)path, dirfd, (long)name, AT_SYMLINK_FOLLOW, 0);
}

/*
 * A new arena under `name`, complete before it has that name. NULL: not possible; *exists: because there is one.
 * Without O_TMPFILE or /proc the file has another name first, which arena_orphans() knows.
 */
struct arena *arena_make_file(int dirfd, const char *name, const struct arena_ident *who, const struct arena_self *me,
                              bool *exists)
{
	char temp[ARENA_NAME_MAX];
	size_t bytes = wanted_size(who->max_bytes), limit = file_limit(), first;
	struct arena *a = NULL;
	struct stat st;
	*exists = false;
	if (bytes > limit)
		bytes = limit;
	char *base = reserve(&bytes);
	if (!base)
		return NULL;
	temp[0] = 0;
	int fd = open_high(dirfd, ".", O_TMPFILE | O_RDWR, 0600);
	if (fd < 0) {
		char *at = put_number(put_text(put_number(temp, (uint64_t)who->pid), "-"), who->start);
		put_text(put_number(put_text(at, "-"), (uint64_t)sys_gettid()), ".tmp");
		fd = open_high(dirfd, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	}
	if (fd < 0 || sys3(SYS_fchmod, fd, 0600, 0) != 0 || sys3(SYS_fstat, fd, &st, 0) != 0 ||
	    !(first = make_size(fd, bytes))) {
		sys_unmap(base, LOCAL_ROOM + bytes);
		goto out;
	}
	a = map_over(base, bytes, fd, &st);
	if (!a)
		goto out;
	fill_header(a, first, me, who);
	proc_table_reserve(a, who->pid, who->start);
	long e = temp[0] ? sys6(SYS_renameat2, dirfd, (long)temp, dirfd, (long)name, 1 /* RENAME_NOREPLACE */, 0)
	                 : give_name(dirfd, fd, name);
	if (e != 0) {
		*exists = e == -EEXIST;
		arena_unmap(a);
		a = NULL;
	} else {
		temp[0] = 0;
	}
out:
	if (temp[0])
		sys3(SYS_unlinkat, dirfd, temp, 0);
	if (fd >= 0)
		sys_close(fd);
	return a;
}

/* ---- files: opening ---- */

/* True when stores there cannot fail, as far as the kernel can tell. */
bool arena_populate(struct arena *a, size_t from, size_t n)
{
	long e = sys3(SYS_madvise, (char *)a + from, n, POPULATE_WRITE);
	return e == 0 || e == -EINVAL;
}

/* Its pages must exist: a hole on a full tmpfs is SIGBUS. */
static bool pages_present(struct arena *a, const struct stat *st)
{
	size_t used = grains(ARENA_HEADER + (size_t)arena_slots(a) * SLOT_SIZE);
	return used <= arena_size(a) && (uint64_t)st->st_blocks * 512 >= used;
}

static bool header_fits(const struct arena *a, const struct arena_self *me, size_t bytes)
{
	return a->magic == ARENA_MAGIC && a->layout == ARENA_LAYOUT && a->header_size == ARENA_HEADER &&
	       a->max_slots == (bytes - ARENA_HEADER) / SLOT_SIZE && a->uid == me->uid &&
	       memcmp(a->boot_id, me->boot_id, 16) == 0 && (!a->pid_ns || a->pid_ns == me->pid_ns);
}

struct arena *arena_open_file(int dirfd, const char *name, const struct arena_self *me)
{
	struct stat st;
	struct arena *a = NULL;
	int fd = open_high(dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		return NULL;
	if (sys3(SYS_fstat, fd, &st, 0) == 0 && S_ISREG(st.st_mode) && st.st_uid == me->uid && st.st_nlink == 1 &&
	    (st.st_mode & 07777) == 0600 && st.st_size >= (off_t)SMALLEST && st.st_size <= (off_t)LARGEST &&
	    !((size_t)st.st_size & (ARENA_GRAIN - 1)) && (uint64_t)st.st_blocks * 512 >= ARENA_HEADER) {
		size_t bytes = (size_t)st.st_size;
		char *base = reserve(&bytes);
		if (base && bytes == (size_t)st.st_size)
			a = map_over(base, bytes, fd, &st);
		else if (base)
			sys_unmap(base, LOCAL_ROOM + bytes);
	}
	sys_close(fd);
	if (!a)
		return NULL;
	if (arena_populate(a, 0, ARENA_HEADER) && header_fits(a, me, (size_t)st.st_size) && pages_present(a, &st))
		return a;
	arena_unmap(a);
	return NULL;
}
