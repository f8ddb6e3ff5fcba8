/* The black box: its directory, and what dead trees left in it. Raw system calls only. */
#include "span/arena_priv.h"
#include "base/clock.h"
#include "base/sys.h"
#include <errno.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#ifndef RAMFS_MAGIC
#define RAMFS_MAGIC 0x858458f6
#endif

/* ---- directory ---- */

static bool in_memory(int fd)
{
	struct statfs fs;
	return sys3(SYS_fstatfs, fd, &fs, 0) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Ours alone and in memory, made if it is not there. */
static bool fit(const char *path)
{
	bool made = sys6(SYS_mkdirat, AT_FDCWD, (long)path, 0700, 0, 0, 0) == 0;
	if (made) { /* the umask may have taken bits away */
		int fd = open_high(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		if (fd >= 0) {
			sys3(SYS_fchmod, fd, 0700, 0);
			sys_close(fd);
		}
	}
	int fd = dir_open(path);
	bool ok = fd >= 0 && in_memory(fd);
	if (fd >= 0)
		sys_close(fd);
	if (made && !ok)
		sys3(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
	return ok;
}

/* A directory of ours in memory may get one more inside; not that of somebody whose environment we inherited. */
static bool own_parent(const char *path)
{
	struct stat st;
	int fd = open_high(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return false;
	bool ok = sys3(SYS_fstat, fd, &st, 0) == 0 && st.st_uid == (uint32_t)sys3(SYS_geteuid, 0, 0, 0) &&
	          !(st.st_mode & 022) && in_memory(fd);
	sys_close(fd);
	return ok;
}

void runtime_dir(const char *wanted, const char *xdg, char *buf, size_t cap)
{
	if (wanted && wanted[0]) { /* what the user names is taken or nothing */
		if (wanted[0] == '/' && strlen(wanted) < cap && fit(wanted))
			put_text(buf, wanted);
		else
			buf[0] = 0;
		return;
	}
	if (xdg && xdg[0] == '/' && strlen(xdg) + sizeof "/remora" <= cap && own_parent(xdg)) {
		put_text(put_text(buf, xdg), "/remora");
		if (fit(buf))
			return;
	}
	buf[0] = 0;
	if (cap < sizeof "/dev/shm/remora-4294967295")
		return;
	put_number(put_text(buf, "/dev/shm/remora-"), (uint64_t)sys3(SYS_geteuid, 0, 0, 0));
	if (!fit(buf))
		buf[0] = 0;
}

/* ---- names ---- */

struct box_name { /* NNN-NNN-HHHHHHHH.arena, NNN-NNN-HHHHHHHH.NNN-NNN.orphan, NNN-NNN-NNN.tmp */
	int pid, claimer;
	uint64_t start, claimed;
	size_t stem; /* up to the first dot */
	bool temporary;
};

static const char *number(const char *p, uint64_t *n)
{
	if (!p || *p < '0' || *p > '9')
		return NULL;
	for (*n = 0; *p >= '0' && *p <= '9'; p++)
		*n = *n * 10 + (uint64_t)(*p - '0');
	return p;
}

static const char *pair(const char *p, int *pid, uint64_t *start)
{
	uint64_t n;
	p = number(p, &n);
	if (!p || *p != '-' || n > INT_MAX)
		return NULL;
	*pid = (int)n;
	return number(p + 1, start);
}

static bool parse_name(const char *name, struct box_name *out)
{
	*out = (struct box_name){0};
	const char *dot = strchr(name, '.'), *p = pair(name, &out->pid, &out->start);
	if (!p || !dot || *p != '-' || strlen(name) >= ARENA_NAME_MAX)
		return false;
	out->stem = (size_t)(dot - name);
	if (strcmp(dot, ".tmp") == 0)
		return out->temporary = true;
	if (strcmp(dot, ".arena") == 0)
		return true;
	p = pair(dot + 1, &out->claimer, &out->claimed);
	return p && strcmp(p, ".orphan") == 0;
}

static void claim_name(char *out, const char *name, size_t stem)
{
	int pid = sys_getpid();
	memcpy(out, name, stem);
	char *at = put_number(put_text(out + stem, "."), (uint64_t)pid);
	put_text(put_number(put_text(at, "-"), proc_start_time(pid)), ".orphan");
}

/* ---- orphans ---- */

static bool all_dead(const struct arena *a, const struct arena_self *me)
{
	uint8_t dead[ARENA_PROCS];
	if (proc_alive(a->root_pid, a->root_start))
		return false;
	proc_table_dead(a, me->pid_ns, dead);
	for (uint32_t i = 0; i < ARENA_PROCS; i++) {
		uint32_t used = atomic_load(&a->procs[i].used);
		/* Nobody knew his namespace: the numbers must do. */
		if (used == PROC_VALID && !a->pid_ns && !a->procs[i].pid_ns)
			dead[i] = !proc_alive(a->procs[i].pid, a->procs[i].start);
		if (used != PROC_FREE && used != PROC_GONE && !dead[i])
			return false;
	}
	return lease_owner_gone(a, me->pid_ns);
}

static bool same_file(int dirfd, const char *name, const struct arena *a)
{
	struct stat st;
	return sys6(SYS_newfstatat, dirfd, (long)name, (long)&st, AT_SYMLINK_NOFOLLOW, 0, 0) == 0 &&
	       st.st_ino == arena_local(a)->ino && st.st_dev == arena_local(a)->dev;
}

/*
 * By renaming: of several who try, the kernel lets one succeed, and the new name tells the others who it is. Then it is
 * marked dead, and judged once more, for a process that joined in between (see join() in arena_file.c).
 */
static bool claim(int dirfd, const char *name, const struct box_name *n, struct arena *a, const struct arena_self *me)
{
	char mine[2 * ARENA_NAME_MAX];
	bool takeover;
	claim_name(mine, name, n->stem);
	if (sys6(SYS_renameat2, dirfd, (long)name, dirfd, (long)mine, 1 /* RENAME_NOREPLACE */, 0) != 0)
		return false;
	if (same_file(dirfd, mine, a)) {
		atomic_store(&a->dead, 1);
		if (all_dead(a, me) && lease_take(a, &takeover, false)) {
			arena_local_edit(a)->claimed = 1;
			return true;
		}
		atomic_store(&a->dead, 0);
	}
	sys6(SYS_renameat2, dirfd, (long)mine, dirfd, (long)name, 1, 0);
	return false;
}

struct hunt {
	const struct arena *mine;
	struct arena_self me;
	uint32_t found, max, foreign;
	void (*got)(void *, struct arena *);
	void *ctx;
};

/* One of other settings, whose next start will want it: unless that does not come. */
static bool is_expired(struct hunt *h, struct arena *a)
{
	uint32_t now = (uint32_t)(mono_ns() / 1000000000) + 1, none = 0;
	if (++h->foreign > FOREIGN_MOST)
		return true;
	if (atomic_compare_exchange_strong(&a->foreign_s, &none, now))
		return false;
	return now - none > FOREIGN_DAYS * 24 * 3600;
}

static uint32_t records(const struct arena *a)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < arena_used(a); i++)
		n += slot_state(a, i) != SLOT_FREE && slot_state(a, i) != SLOT_MORE;
	return n;
}

static void remove_file(struct arena *a, int fd);

static struct arena *try_orphan(int dirfd, const char *name, struct hunt *h)
{
	const struct arena *mine = h->mine;
	const struct arena_self *me = &h->me;
	char own[ARENA_NAME_MAX];
	struct box_name n;
	if (!parse_name(name, &n) || (mine && same_file(dirfd, name, mine)))
		return NULL;
	if (n.temporary) {
		if (me->pid_ns && !proc_alive(n.pid, n.start))
			sys3(SYS_unlinkat, dirfd, name, 0);
		return NULL;
	}
	struct arena *a = arena_open_file(dirfd, name, me);
	if (!a)
		return NULL;
	arena_name(own, a->root_pid, a->root_start, a->hash, a->pid_ns);
	bool orphan = strncmp(own, name, n.stem) == 0 && own[n.stem] == '.' && me->pid_ns &&
	              !(n.claimer && proc_alive(n.claimer, n.claimed)) && all_dead(a, me) &&
	              arena_populate(a, 0, ARENA_HEADER + (size_t)arena_slots(a) * SLOT_SIZE);
	bool foreign = orphan && mine && a->hash != mine->hash;
	if (orphan && (!foreign || is_expired(h, a)) && claim(dirfd, name, &n, a, me)) {
		if (!foreign)
			return a;
		arena_count((struct arena *)(uintptr_t)mine, COUNT_DROP_EXPIRED, records(a));
		remove_file(a, dirfd);
		arena_lease_release(a);
		h->foreign--;
	}
	arena_unmap(a);
	return NULL;
}

struct entry { /* struct linux_dirent64 */
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

void dir_each(int dirfd, bool (*visit)(void *ctx, int dirfd, const char *name), void *ctx)
{
	_Alignas(8) char buf[2048];
	for (long n; (n = sys3(SYS_getdents64, dirfd, buf, sizeof buf)) > 0;)
		for (long at = 0; at < n;) {
			const struct entry *e = (const struct entry *)(buf + at);
			at += e->len;
			if (!visit(ctx, dirfd, e->name))
				return;
		}
}

static bool visit(void *ctx, int dirfd, const char *name)
{
	struct hunt *h = ctx;
	struct arena *a = try_orphan(dirfd, name, h);
	if (a) {
		h->found++;
		h->got(h->ctx, a);
	}
	return h->found < h->max;
}

uint32_t arena_orphans(const char *dir, const struct arena *mine, uint32_t max, void (*got)(void *, struct arena *),
                       void *ctx, uint32_t *foreign)
{
	struct hunt h = {.mine = mine, .max = max, .got = got, .ctx = ctx};
	int fd = max && dir && dir[0] ? dir_open(dir) : -1;
	if (fd >= 0) {
		arena_self(&h.me);
		dir_each(fd, visit, &h);
		sys_close(fd);
	}
	if (foreign)
		*foreign = h.foreign;
	return h.found;
}

/* ---- the end ---- */

static void remove_file(struct arena *a, int fd)
{
	char name[ARENA_NAME_MAX], claimed[2 * ARENA_NAME_MAX];
	arena_name(name, a->root_pid, a->root_start, a->hash, a->pid_ns);
	if (arena_local(a)->claimed) {
		claim_name(claimed, name, (size_t)(strchr(name, '.') - name));
		if (same_file(fd, claimed, a))
			sys3(SYS_unlinkat, fd, claimed, 0);
	} else if (same_file(fd, name, a)) {
		sys3(SYS_unlinkat, fd, name, 0);
	}
}

static void remove_from(struct arena *a, const char *dir)
{
	int fd = arena_local(a)->ino && dir && dir[0] ? dir_open(dir) : -1;
	if (fd < 0)
		return;
	remove_file(a, fd);
	sys_close(fd);
}

void arena_unlink(struct arena *a, const char *dir)
{
	atomic_store(&a->dead, 1);
	remove_from(a, dir);
}

void arena_orphan_done(struct arena *a, const char *dir)
{
	remove_from(a, dir);
	arena_lease_release(a);
	arena_unmap(a);
}

void arena_orphan_leave(struct arena *a, const char *dir)
{
	char name[ARENA_NAME_MAX], claimed[2 * ARENA_NAME_MAX];
	int fd = dir_open(dir);
	arena_name(name, a->root_pid, a->root_start, a->hash, a->pid_ns);
	claim_name(claimed, name, (size_t)(strchr(name, '.') - name));
	if (fd >= 0) {
		if (same_file(fd, claimed, a)) /* else it is found once this process has ended */
			sys6(SYS_renameat2, fd, (long)claimed, fd, (long)name, 1, 0);
		sys_close(fd);
	}
	arena_lease_release(a);
	arena_unmap(a);
}
