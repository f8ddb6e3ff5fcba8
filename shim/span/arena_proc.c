/* Processes: who is alive, and the arena's table of them with their descriptions. Raw system calls only. */
#include "span/arena_priv.h"
#include "base/sys.h"
#include <errno.h>

/* ---- /proc ---- */

static size_t read_small(const char *path, char *buf, size_t cap)
{
	int fd = open_high(AT_FDCWD, path, O_RDONLY, 0);
	if (fd < 0)
		return 0;
	long n = sys_read(fd, buf, cap - 1);
	sys_close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n > 0 ? (size_t)n : 0;
}

struct stat_line { /* of /proc/PID/stat */
	uint64_t start;
	int parent;
	bool ended; /* a zombie, all of its threads */
};

static bool read_stat(int pid, struct stat_line *out)
{
	char path[40], buf[1024], *at = put_text(path, "/proc/");
	put_text(put_number(at, (uint64_t)pid), "/stat");
	if (pid <= 0 || !read_small(path, buf, sizeof buf))
		return false;
	/* The name, in parentheses, may contain anything. */
	char *p = strrchr(buf, ')'), state;
	if (!p || p[1] != ' ' || !p[2])
		return false;
	state = p[2];
	uint64_t field[23] = {0};
	int n = 4;
	for (p += 3; *p && n < 23; n++) {
		while (*p == ' ')
			p++;
		if (*p == '-')
			p++;
		uint64_t v = 0;
		for (; *p >= '0' && *p <= '9'; p++)
			v = v * 10 + (uint64_t)(*p - '0');
		field[n] = v;
		if (*p && *p != ' ')
			return false;
	}
	*out = (struct stat_line){field[22], (int)field[4], (state == 'Z' || state == 'X') && field[20] <= 1};
	return n == 23;
}

uint64_t proc_start_time(int pid)
{
	struct stat_line s;
	return read_stat(pid, &s) ? s.start : 0;
}

int proc_parent(int pid, uint64_t *start)
{
	struct stat_line s;
	if (!read_stat(pid, &s))
		return 0;
	*start = s.start;
	return s.parent;
}

bool proc_alive(int pid, uint64_t start)
{
	if (pid <= 0 || sys3(SYS_kill, pid, 0, 0) == -ESRCH)
		return false;
	struct stat_line s;
	if (!read_stat(pid, &s))
		return true;
	return !s.ended && (!start || s.start == start);
}

static uint64_t link_number(const char *path)
{
	char link[64];
	long n = sys6(SYS_readlinkat, AT_FDCWD, (long)path, (long)link, sizeof link, 0, 0);
	uint64_t number = 0;
	for (long i = 0; i < n; i++)
		if (link[i] >= '0' && link[i] <= '9')
			number = number * 10 + (uint64_t)(link[i] - '0');
	return number;
}

uint64_t pid_ns_self(void)
{
	/* After unshare(CLONE_NEWPID), /proc may still show another namespace's numbers: then we know nothing. */
	return link_number("/proc/self") == (uint64_t)sys_getpid() ? link_number("/proc/self/ns/pid") : 0;
}

void boot_id_read(uint8_t id[16])
{
	char text[64];
	memset(id, 0, 16);
	read_small("/proc/sys/kernel/random/boot_id", text, sizeof text);
	for (int i = 0, n = 0; text[i] && n < 32; i++) {
		char c = text[i];
		if (c == '-')
			continue;
		id[n / 2] = (uint8_t)(id[n / 2] << 4 | (c <= '9' ? c - '0' : c - 'a' + 10));
		n++;
	}
}

/* ---- the table ---- */

static uint32_t proc_used(const struct arena_proc *p)
{
	return atomic_load_explicit(&p->used, memory_order_acquire);
}

static bool entry_dead(const struct arena_proc *p, uint64_t my_ns)
{
	uint32_t used = proc_used(p);
	if (used == PROC_GONE)
		return true;
	if (used & PROC_WRITER) /* an orphan only if no process of that number is left at all */
		return !proc_alive((int)(used & ~PROC_WRITER), 0);
	return used == PROC_VALID && my_ns && p->pid_ns == my_ns && !proc_alive(p->pid, p->start);
}

uint32_t proc_table_dead(const struct arena *a, uint64_t my_ns, uint8_t *dead)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < ARENA_PROCS; i++) {
		dead[i] = entry_dead(&a->procs[i], my_ns);
		n += dead[i];
	}
	return n;
}

/* Clear the marks of entries that a record names. */
static void spare_named(const struct arena *a, uint8_t *unnamed)
{
	for (uint32_t i = 0, n = arena_used(a); i < n; i++) {
		uint32_t state = slot_state(a, i);
		uint16_t proc = arena_slot(a, i)->proc;
		if (state != SLOT_FREE && state != SLOT_MORE && proc < ARENA_PROCS)
			unnamed[proc] = 0;
	}
}

/* From `used` to `to`; what it described is given back. False: somebody else was faster. */
static bool entry_take(struct arena *a, struct arena_proc *p, uint32_t used, uint32_t to)
{
	if (!atomic_compare_exchange_strong(&p->used, &used, PROC_WRITER | (uint32_t)sys_getpid()))
		return false;
	if (used != PROC_FREE)
		slot_free_chain(a, &p->blob);
	p->blob = SLOT_NONE;
	p->blob_len = 0;
	p->pid = 0;
	memset(p->instance, 0, sizeof p->instance);
	if (to == PROC_FREE)
		atomic_store_explicit(&p->used, PROC_FREE, memory_order_release);
	return true;
}

void proc_table_clean(struct arena *a, const uint8_t *dead)
{
	uint8_t unnamed[ARENA_PROCS];
	memcpy(unnamed, dead, sizeof unnamed);
	spare_named(a, unnamed);
	for (uint32_t i = 0; i < ARENA_PROCS; i++)
		if (unnamed[i])
			entry_take(a, &a->procs[i], proc_used(&a->procs[i]), PROC_FREE);
}

/* A free entry, or that of a dead process; its `used` is ours to set. ARENA_PROCS: none. */
static uint32_t entry_new(struct arena *a, uint64_t my_ns)
{
	for (uint32_t i = 0; i < ARENA_PROCS; i++)
		if (proc_used(&a->procs[i]) == PROC_FREE && entry_take(a, &a->procs[i], PROC_FREE, PROC_VALID))
			return i;
	uint8_t dead[ARENA_PROCS];
	if (!proc_table_dead(a, my_ns, dead))
		return ARENA_PROCS;
	spare_named(a, dead);
	for (uint32_t i = 0; i < ARENA_PROCS; i++)
		if (dead[i] && entry_take(a, &a->procs[i], proc_used(&a->procs[i]), PROC_VALID))
			return i;
	return ARENA_PROCS;
}

static bool blank(const uint8_t instance[16])
{
	static const uint8_t zero[16];
	return memcmp(instance, zero, 16) == 0;
}

/*
 * The entry of this process with this instance, or one that was reserved for it. An entry of the same process with
 * another instance is from before an exec: its requests in flight ended there.
 */
static uint32_t entry_of(struct arena *a, int pid, uint64_t start, uint64_t my_ns, const uint8_t instance[16])
{
	uint32_t found = ARENA_PROCS;
	for (uint32_t i = 0; i < ARENA_PROCS; i++) {
		struct arena_proc *p = &a->procs[i];
		if (proc_used(p) != PROC_VALID || p->pid != pid || p->start != start || p->pid_ns != my_ns)
			continue;
		uint32_t used = PROC_VALID;
		if (blank(p->instance) || memcmp(p->instance, instance, 16) == 0)
			found = i;
		else if (start)
			atomic_compare_exchange_strong(&p->used, &used, PROC_GONE);
	}
	return found;
}

void proc_table_reserve(struct arena *a, int pid, uint64_t start)
{
	static const uint8_t none[16];
	uint64_t my_ns = pid_ns_self();
	if (entry_of(a, pid, start, my_ns, none) != ARENA_PROCS)
		return;
	uint32_t i = entry_new(a, my_ns);
	if (i == ARENA_PROCS)
		return;
	a->procs[i].pid = pid;
	a->procs[i].start = start;
	a->procs[i].pid_ns = my_ns;
	atomic_store(&a->procs[i].used, PROC_VALID);
}

/* ---- descriptions ---- */

static void blob_put(struct arena *a, struct arena_proc *p, const char *blob, uint32_t len)
{
	if (len > REC_VAR_MAX)
		len = REC_VAR_MAX;
	uint32_t done = 0;
	_Atomic uint32_t *link = NULL;
	while (done < len) {
		uint32_t i = slot_more_new(a), k = len - done < MORE_ROOM ? len - done : MORE_ROOM;
		if (i == SLOT_NONE)
			break;
		if (link)
			atomic_store_explicit(link, i, memory_order_relaxed);
		else
			p->blob = i;
		link = &arena_more(a, i)->next;
		memcpy(arena_more(a, i)->var, blob + done, k);
		done += k;
	}
	if (done < len) /* whole strings only */
		while (done && blob[done - 1])
			done--;
	p->blob_len = done;
}

uint32_t arena_proc_add(struct arena *a, int pid, uint64_t start, const uint8_t instance[16], const char *blob,
                        uint32_t len)
{
	uint64_t my_ns = pid_ns_self();
	uint32_t i = entry_of(a, pid, start, my_ns, instance);
	if (i != ARENA_PROCS) {
		struct arena_proc *p = &a->procs[i];
		if (!blank(p->instance) || !entry_take(a, p, PROC_VALID, PROC_VALID))
			return i;
	} else {
		i = entry_new(a, my_ns);
		if (i == ARENA_PROCS)
			return ARENA_PROCS;
	}
	struct arena_proc *p = &a->procs[i];
	p->pid = pid;
	p->start = start;
	p->pid_ns = my_ns;
	memcpy(p->instance, instance, 16);
	blob_put(a, p, blob, len);
	atomic_store_explicit(&p->used, PROC_VALID, memory_order_release);
	return i;
}

uint32_t arena_proc_blob(const struct arena *a, const struct arena_proc *p, char *buf, uint32_t cap)
{
	if (cap < 2)
		return 0;
	uint32_t len = p->blob_len, done = 0, i = p->blob;
	if (len > cap - 2)
		len = cap - 2;
	while (done < len && i < arena_slots(a) && slot_state(a, i) == SLOT_MORE) {
		uint32_t k = len - done < MORE_ROOM ? len - done : MORE_ROOM;
		memcpy(buf + done, arena_more(a, i)->var, k);
		done += k;
		i = atomic_load_explicit(&arena_more(a, i)->next, memory_order_relaxed);
	}
	buf[done] = buf[done + 1] = 0;
	return done;
}
