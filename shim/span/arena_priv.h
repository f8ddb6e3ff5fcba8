/* What the files of the arena share among themselves. */
#ifndef REMORA_ARENA_PRIV_H
#define REMORA_ARENA_PRIV_H

#include "span/arena.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define MORE_ROOM (SLOT_SIZE - offsetof(struct slot_more, var))
#define CHAIN_MAX (REC_VAR_MAX / MORE_ROOM + 2) /* no honest chain is longer */

static inline struct slot_more *arena_more(const struct arena *a, uint32_t i)
{
	return (struct slot_more *)arena_slot(a, i);
}

static inline uint32_t slot_state(const struct arena *a, uint32_t i)
{
	return atomic_load_explicit(&arena_slot(a, i)->state, memory_order_acquire);
}

/* Those that were ever in use: what is to be looked at, without touching pages for nothing. */
static inline uint32_t arena_used(const struct arena *a)
{
	uint32_t n = arena_slots(a), fresh = atomic_load_explicit(&a->fresh, memory_order_acquire);
	return fresh < n ? fresh : n;
}

static inline bool slot_move(struct span_rec *r, uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong_explicit(&r->state, &from, to, memory_order_acq_rel, memory_order_relaxed);
}

/* arena.c */
uint32_t slot_pop(struct arena *a);                    /* SLOT_NONE: full. The slot is still SLOT_FREE. */
void slot_push(struct arena *a, uint32_t i);           /* marks it SLOT_FREE */
void slot_free_chain(struct arena *a, uint32_t *head); /* continuations; *head follows, so that a kill loses one */
void slot_release(struct arena *a, uint32_t i);        /* a record with its continuations */
uint32_t slot_more_new(struct arena *a);

/* arena_proc.c */
uint64_t pid_ns_self(void); /* 0 unknown */
void boot_id_read(uint8_t id[16]);
int proc_parent(int pid, uint64_t *start); /* 0 = unknown */
/* Mark in dead[ARENA_PROCS] which entries belong to processes that are gone. Returns how many. */
uint32_t proc_table_dead(const struct arena *a, uint64_t my_ns, uint8_t *dead);
/* Free those entries that no record names. exporter. */
void proc_table_clean(struct arena *a, const uint8_t *dead);
/* An entry for a process that has no description yet, so that its arena is no orphan. */
void proc_table_reserve(struct arena *a, int pid, uint64_t start);

/* arena_lease.c */
bool lease_owner_gone(const struct arena *a, uint64_t my_ns); /* true also when there is none */
bool lease_take(struct arena *a, bool *takeover, bool watch);

/* arena_export.c */
bool ready_recover(struct arena *a); /* what earlier owners left; true if there was anything */

/* arena_file.c */
#define ARENA_GRAIN ((size_t)64 * 1024) /* a multiple of every page size */
#define ARENA_NAME_MAX 128
#define POPULATE_WRITE 23 /* MADV_POPULATE_WRITE, Linux 5.14 */
struct arena_self {       /* what must be equal to share */
	uint64_t pid_ns;
	uint8_t boot_id[16];
	uint32_t uid;
};
void arena_self(struct arena_self *me);
int open_high(int dirfd, const char *path, int flags, unsigned mode); /* O_CLOEXEC, never 0, 1 or 2 */
char *put_text(char *at, const char *s);
char *put_number(char *at, uint64_t n);
/* A runtime directory, if it is private and ours. */
int dir_open(const char *dir);
/* Open by name in a runtime directory and map, if it is an arena of this boot, layout, namespace and user. */
struct arena *arena_open_file(int dirfd, const char *name, const struct arena_self *me);
struct arena *arena_make_file(int dirfd, const char *name, const struct arena_ident *who, const struct arena_self *me,
                              bool *exists);
struct arena *arena_make_anonymous(const struct arena_ident *who, const struct arena_self *me);
bool arena_populate(struct arena *a, size_t from, size_t n);
/* arena_local(), writable. Host threads only read it, and none knows this arena yet. */
struct arena_local *arena_local_edit(struct arena *a);
/* "<pid>-<start>-<8 hex of hash, layout, pid_ns>.arena" */
void arena_name(char out[ARENA_NAME_MAX], int pid, uint64_t start, uint64_t hash, uint64_t pid_ns);

/* arena_orphan.c: file names of a directory, until `visit` says false */
void dir_each(int dirfd, bool (*visit)(void *ctx, int dirfd, const char *name), void *ctx);

#endif
