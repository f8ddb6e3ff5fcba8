/*
 * The arena: memory that a tree of processes shares, in which records lie (ARCHITECTURE.md has the picture).
 * MAP_SHARED, normally a file on tmpfs that outlives a kill. One exporter holds the lease; everybody may produce.
 *
 * Lock-free throughout: a process may be killed between any two instructions and the rest goes on. What such a kill
 * can cost is one free slot (between the pop from the free list and the mark SLOT_OPEN).
 *
 * Contexts: "host" = any host thread, also in its signal handlers: no lock, allocation, errno; "exporter" = the
 * thread that holds the lease; "start" = a host thread inside accept, connect, listen, the poll family or exit.
 * Everything in the mapping is untrusted, for producers too: a worker of another uid may hold it. Indices are checked
 * against arena_slots(), which trusts only what this process knows by itself; strings are checked against lengths.
 * Another process may change any field while it is read: read once, then check.
 */
#ifndef REMORA_ARENA_H
#define REMORA_ARENA_H

#include "span/record.h"
#include "span/xray_rules.h"
#include <stdbool.h>
#include <sys/types.h>

#define ARENA_MAGIC 0x61726f6d65722e31u
#define ARENA_LAYOUT 7 /* change with any change of the layout: processes of different builds do not share */
#define ARENA_PROCS 512
#define ARENA_FIRST (512 * 1024)            /* bytes of slots at creation; the exporter grows it up to max_slots */
#define ARENA_DEFAULT_MAX (8 * 1024 * 1024) /* REMORA_ARENA_BYTES */

/* Names in arena_counter_name(); shown by REMORA_LOG=debug and later as metrics */
enum counter {
	COUNT_SPANS,           /* records that reached the exporter */
	COUNT_DROP_FULL,       /* no free slot */
	COUNT_DROP_PIPELINE,   /* more requests outstanding on a connection than are followed */
	COUNT_DROP_TABLE,      /* fd beyond the table, or no memory for a connection */
	COUNT_OPAQUE_PROTOCOL, /* connections: not HTTP/1 */
	COUNT_OPAQUE_BROKEN,   /* framing broke in mid-stream */
	COUNT_OPAQUE_UPGRADE,  /* CONNECT, 101 */
	COUNT_OPAQUE_HEAD,     /* head over 64 KiB or no buffer for a partial one */
	COUNT_OPAQUE_BUSY,     /* two threads in one connection at once, and no time to wait */
	COUNT_OPAQUE_UNSEEN,   /* bytes passed that we were not shown (splice, MSG_TRUNC, fork in mid-message) */
	COUNT_NOT_INJECTED,    /* request head not whole in one write, or not provably a socket of ours */
	COUNT_CUT,             /* records with strings cut */
	COUNT_SENT,            /* exporter: spans accepted, summed over destinations */
	COUNT_DROP_QUEUE,      /* exporter: a destination's queue was full */
	COUNT_DROP_REFUSED,    /* exporter: the destination refused them (4xx, partial success) */
	COUNT_DROP_EXPIRED,    /* exporter: retries used up */
	COUNT_DROP_BAD,        /* exporter: records that did not check out */
	COUNT_TEXTS,           /* likewise, of text */
	COUNT_DROP_TEXT,       /* writes or lines that a host thread could not keep: too much waits already */
	COUNT_DROP_CRASH,      /* crashes of which no report can be made: no place for the record, or nobody to take it */
	COUNT_LINES,           /* exporter: log events made of text */
	COUNT_LINES_SENT,      /* exporter: accepted */
	COUNT_LINES_FILTERED,  /* exporter: left out by level or rate */
	COUNT_DROP_LINES,      /* exporter: refused, or tried for too long, or no room */
	COUNT_OPAQUE_DB,       /* connections: a database's, gone over to TLS, compression or what we do not know */
	COUNT_DROP_STATEMENT,  /* texts of prepared statements that there was no room for */
	COUNT_MAX = 32,
};

enum proc_used {
	PROC_FREE,
	PROC_VALID = 2,
	PROC_GONE, /* its image was replaced by exec */
};

/* Written by its process before the first record that names it, then constant until freed */
struct arena_proc {
	_Atomic uint32_t used; /* enum proc_used, or PROC_WRITER | pid of who is writing it */
	int32_t pid;
	uint64_t start;  /* clock ticks after boot, /proc/PID/stat field 22; 0 if it could not be read */
	uint64_t pid_ns; /* in which the pid counts; 0 unknown: such a process is never judged dead */
	uint32_t blob;   /* first slot (SLOT_MORE) of its description, see arena_proc_add */
	uint32_t blob_len;
	uint8_t instance[16]; /* random: service.instance.id */
};
#define PROC_WRITER 0x80000000u
#define CRASH_FD_REFUSED 1
#define ARENA_RECENT 8

struct arena {
	uint64_t magic;
	uint32_t layout, header_size; /* = ARENA_HEADER; slots begin there */
	uint32_t max_slots;           /* what the mapping could hold */
	_Atomic uint32_t slots;       /* what it holds: memory behind it is reserved, stores cannot fail */
	uint64_t hash;                /* of the configuration that sharing processes have in common */
	uint64_t root_start, pid_ns;  /* root's start time; inode of /proc/self/ns/pid, 0 unknown */
	uint8_t boot_id[16];
	int32_t root_pid;
	uint32_t uid;
	_Atomic uint32_t warned; /* bits of messages that the tree has printed already */
	_Atomic uint32_t dead;   /* its file was unlinked or taken over as an orphan: new processes must not join */

	/*
	 * Lease: the owner's tid, a futex that the kernel marks FUTEX_OWNER_DIED when that thread is gone. No pthread
	 * mutex: glibc links those through pointers in the mutex itself, which here any process of the tree could forge.
	 */
	_Atomic uint32_t lease __attribute__((aligned(64)));
	_Atomic uint32_t lease_tid; /* whom the next three describe; differs from `lease` while they are written */
	_Atomic int32_t lease_pid;
	_Atomic uint64_t lease_start, lease_ns;
	/* Of the lease's owner alone. */
	uint32_t ready_head, ready_tail; /* drained and in order, not yet handed out; SLOT_TAKEN */
	uint32_t draining;               /* head of the list that is being marked SLOT_TAKEN, or SLOT_NONE */
	uint32_t sweep_at, wake_seen, held_seen;
	uint64_t held_due;

	/* Low 32: slot, high 32: tag against ABA. */
	_Atomic uint64_t free_head __attribute__((aligned(64)));
	_Atomic uint32_t fresh; /* slots from here on were never used */

	/* Newest first. Low 32: slot, high 32: how many there are. */
	_Atomic uint64_t done __attribute__((aligned(64)));
	_Atomic uint32_t wake;         /* futex the exporter sleeps on; bumped by whoever wakes it */
	_Atomic uint32_t sleep;        /* enum arena_sleep */
	_Atomic uint32_t batch;        /* wake a timed sleeper at this many pending */
	_Atomic uint32_t held_gen;     /* counts arena_hold() */
	_Atomic uint32_t crashes;      /* counts crash files (crash/record.h) that lie in the directory; arena_wake() follows */
	_Atomic uint32_t crashes_done; /* futex: counts those that the exporter has taken or is done with */
	/*
	 * A crash record that has no name, offered: pid << 32 | descriptor + 1 (a memfd). The exporter fetches a copy with
	 * pidfd_getfd and answers with 0, or with CRASH_FD_REFUSED; crashes_done follows.
	 */
	_Atomic uint64_t crash_fd;
	_Atomic uint32_t text; /* slots of text committed and not yet drained, about */
	/* The slots committed last, by their place in the list: span_rec.ahead comes from here. A hint, no more. */
	_Atomic uint16_t recent[ARENA_RECENT];

	_Atomic uint64_t count[COUNT_MAX] __attribute__((aligned(64)));
	uint32_t with_rules; /* the first slots are a struct xray_rules */
	/* An orphan that a process of other settings has found: since when (CLOCK_MONOTONIC s); 0 = none has. Lay as zeros. */
	_Atomic uint32_t foreign_s;
	struct arena_proc procs[ARENA_PROCS];
};

enum arena_sleep {
	AWAKE,
	SLEEP_TIMED, /* until batch or a deadline of its own */
	SLEEP_IDLE,  /* until anything */
	WAKING,      /* somebody is about to wake it (and may be killed before he does) */
};

#define ARENA_HEADER ((sizeof(struct arena) + 4095) & ~(size_t)4095)

/* What this process itself knows of a mapping; private memory right before it. */
struct arena_local {
	uint64_t bytes, dev, ino; /* of the mapping; of its file, 0 = none */
	uint64_t unused[4];
	uint32_t max_slots;
	uint32_t claimed; /* taken over as an orphan: its file has another name */
};

static inline const struct arena_local *arena_local(const struct arena *a)
{
	return (const struct arena_local *)a - 1;
}

/* Slots there are to use. Any smaller index is safe for arena_slot(). */
static inline uint32_t arena_slots(const struct arena *a)
{
	uint32_t n = atomic_load_explicit(&a->slots, memory_order_acquire), max = arena_local(a)->max_slots;
	return n < max ? n : max;
}

static inline struct span_rec *arena_slot(const struct arena *a, uint32_t i)
{
	return (struct span_rec *)((char *)(uintptr_t)a + ARENA_HEADER + (size_t)i * SLOT_SIZE);
}

/* Records committed and not yet drained. */
static inline uint32_t arena_pending(const struct arena *a)
{
	return (uint32_t)(atomic_load(&a->done) >> 32);
}

/* OTEL_TRACES_SAMPLER=xray: the rules; NULL: this arena has none. */
static inline struct xray_rules *arena_xray_rules(const struct arena *a)
{
	return a->with_rules && arena_slots(a) >= XRAY_RULE_SLOTS ? (struct xray_rules *)arena_slot(a, 0) : NULL;
}

static inline uint32_t arena_index(const struct arena *a, const struct span_rec *r)
{
	return (uint32_t)(((const char *)r - (const char *)a - ARENA_HEADER) / SLOT_SIZE);
}

/* ---- producing: arena.c; host ---- */

/* A free slot marked SLOT_OPEN, zeroed but for pid (and state); NULL: none, counted as COUNT_DROP_FULL. */
struct span_rec *arena_open(struct arena *a, int pid);
/* The same, but its caller counts in lines. */
struct span_rec *arena_open_text(struct arena *a, int pid);
/* Append a string; false: cut (REC_CUT set). Strings already there stay. */
bool rec_put(struct arena *a, struct span_rec *r, enum rec_tag tag, struct slice s);
/* Append to the bytes of a SPAN_TEXT; false: cut. */
bool rec_append(struct arena *a, struct span_rec *r, struct slice s);
/*
 * Hand over: end_ns is set, by a compare-and-swap where anybody else might end it. Wakes a sleeping exporter as its sleep
 * demands (the only system call).
 */
void arena_commit(struct arena *a, struct span_rec *r);
/* Give back without exporting. */
void arena_discard(struct arena *a, struct span_rec *r);
/* A failed connect: exported when hold_until_ns has passed or the process is gone. Wakes an idle exporter. */
void arena_hold(struct arena *a, struct span_rec *r);
/* Take it back: the record is gone. False: too late, it is no longer held (or another record: span_id decides). */
bool arena_unhold(struct arena *a, uint32_t slot, const uint8_t span_id[8]);
extern _Atomic uint64_t arena_early[COUNT_MAX]; /* counted while there was none; process.c adds them when there is */
static inline void arena_count(struct arena *a, enum counter c, uint64_t n)
{
	atomic_fetch_add_explicit(a ? &a->count[c] : &arena_early[c], n, memory_order_relaxed);
}
const char *arena_counter_name(enum counter c); /* "dropped.arena_full"; NULL for unused numbers */

/*
 * Enter a process into the table. `blob` is its description: NAME=VALUE strings, each with its NUL (names: exe, comm,
 * args (redacted, one argument after the other separated by \x1f), service_name, resource_attributes or resource_attributes_too_long, ppid).
 * Returns its index, or ARENA_PROCS when the table is full of living processes (the exporter then knows only the pid).
 */
uint32_t arena_proc_add(struct arena *a, int pid, uint64_t start, const uint8_t instance[16], const char *blob,
                        uint32_t len);

/* ---- consuming: arena_export.c; exporter ---- */

/*
 * Is there a live exporter? One load: the kernel marks the lock when its owner's thread is gone (kill, exec, exit).
 * host.
 */
bool arena_lease_alive(const struct arena *a);
/*
 * Take the lease; false: somebody else has it. *takeover: its last owner died or left records behind: call
 * arena_sweep(.., true). What was wanted of the exporter by arena_wake() before is to be looked at now.
 */
bool arena_lease_try(struct arena *a, bool *takeover);
/* By the thread that took it (the kernel watches one lease per thread). What it has taken waits for the next owner. */
void arena_lease_release(struct arena *a);

/*
 * Move committed records (oldest first) to `out`, marking them SLOT_TAKEN; also held ones whose time has come when
 * `held` (all of them when `final`). Returns how many; call again while it returns `cap`. Malformed links end the
 * walk and are counted as COUNT_DROP_BAD.
 */
uint32_t arena_drain(struct arena *a, uint32_t *out, uint32_t cap, bool held, bool final);
/* So many slots of text were drained. */
void arena_text_taken(struct arena *a, uint32_t slots);
/* When the earliest held record is due (CLOCK_MONOTONIC ns), 0 = none held. */
uint64_t arena_next_held(struct arena *a);
/*
 * Look at every slot: with `takeover`, what a dead exporter had taken is put into `out` again. In any case, of
 * processes that are gone: complete records that never reached the list, and requests in flight, which become
 * records with ERR_PROCESS_KILLED; their table entries are freed when nothing refers to them. Never trusts a pid of
 * another pid namespace or boot. As arena_drain: call until it returns less than cap.
 */
uint32_t arena_sweep(struct arena *a, uint32_t *out, uint32_t cap, bool takeover);
/* Is any request in flight, of a living process or not? Looks at every slot. */
bool arena_any_open(const struct arena *a);
/* Give slots (with their continuations) back. */
void arena_free(struct arena *a, const uint32_t *slots, uint32_t n);
/* Double the slots, up to max_slots, reserving their memory first. False: not possible (any more). */
bool arena_grow(struct arena *a);
/*
 * Sleep until there is work: `idle` = for ever or timeout, any record wakes; else only a full batch, or the timeout
 * (ns, 0 = none). Returns at once if records wait beyond what the sleep admits. Spurious returns are fine.
 */
void arena_sleep(struct arena *a, bool idle, uint64_t timeout_ns, uint32_t batch);
void arena_wake(struct arena *a); /* any context: for requests that are not records */

/*
 * Read a record that may be hostile: checks kind, lengths, links; strings of several slots are put together in
 * scratch (REC_VAR_MAX bytes). False: malformed. Result slices borrow from the slot or from scratch.
 */
struct rec_view {
	const struct span_rec *rec;    /* the slot: checked, but still shared */
	const struct arena_proc *proc; /* NULL: not in the table */
	uint32_t has;                  /* bits: tags that are there */
	uint32_t bytes;                /* of all strings, at most */
	struct slice str[REC_TAG_MAX]; /* by tag, only where `has` says so: read with rec_str() */
};
_Static_assert(REC_TAG_MAX <= 32, "bits of has");
static inline struct slice rec_str(const struct rec_view *v, enum rec_tag tag)
{
	return v->has >> tag & 1 ? v->str[tag] : (struct slice){NULL, 0};
}
static inline void rec_set(struct rec_view *v, enum rec_tag tag, struct slice s)
{
	v->str[tag] = s;
	v->has = (v->has & ~(1u << tag)) | (uint32_t)(s.p != NULL) << tag;
	v->bytes += s.n;
}
bool rec_view(const struct arena *a, uint32_t slot, char *scratch, struct rec_view *out);
/* Of it only `rec` and `proc`: whose record is it? slot is below arena_slots(). */
void rec_owner(const struct arena *a, uint32_t slot, struct rec_view *out);
/*
 * A request in flight, which its owner goes on writing: copied into *copy (SLOT_SIZE bytes), with the strings that are
 * whole in its first slot. False: not open, or not the same any more. Slices borrow from the copy.
 */
bool rec_view_open(const struct arena *a, uint32_t slot, struct span_rec *copy, struct rec_view *out);
/* A process's description into buf (always NUL-terminated twice); returns its length, 0 = none. */
uint32_t arena_proc_blob(const struct arena *a, const struct arena_proc *p, char *buf, uint32_t cap);

/* ---- files and finding: arena_file.c; start, exporter. Raw system calls only. ---- */

struct arena_ident { /* who asks */
	int pid;
	uint64_t start; /* proc_start_time(pid) */
	int root_pid;   /* what a forked child inherited; own pid if it is an exec'd image */
	uint64_t root_start;
	uint64_t hash;
	uint32_t max_bytes;
	const char *dir; /* REMORA_RUNTIME_DIR as decided by runtime_dir(); "" = anonymous memory only */
	bool with_rules; /* for a new one: room for X-Ray's sampling rules */
};
/*
 * The arena of this process: the root's by name, else that of a living ancestor with the same hash, else a new one.
 * NULL: no memory at all. *black_box: it is a file. Never fails loudly; checks owner, mode, layout, boot, namespace.
 */
struct arena *arena_attach(const struct arena_ident *who, bool *black_box);
/* The same, but never a new one: NULL then. */
struct arena *arena_join(const struct arena_ident *who);
/* That of another process, by its table; never a new one, and nobody is entered. NULL: none with a name. */
struct arena *arena_of_process(const char *dir, int pid, uint64_t start, uint64_t hash);
bool arena_has_process(const struct arena *a, int pid, uint64_t start);
void arena_unmap(struct arena *a);
/* Anonymous, for unit tests and as the last resort. */
struct arena *arena_new_anonymous(uint32_t bytes, uint64_t hash);
/* Clock ticks after boot; 0 = gone or unreadable. */
uint64_t proc_start_time(int pid);
/* True unless surely dead. start 0 = compare the pid alone. */
bool proc_alive(int pid, uint64_t start);
/*
 * Directory for the black box into buf, created 0700 and checked (owner, mode, tmpfs); "" if none is fit.
 * `wanted` = REMORA_RUNTIME_DIR or NULL, `xdg` = XDG_RUNTIME_DIR or NULL.
 */
void runtime_dir(const char *wanted, const char *xdg, char *buf, size_t cap);
/* Unlink this arena's file, if it is still ours, and mark it dead. */
void arena_unlink(struct arena *a, const char *dir);
/*
 * Visit arenas in dir whose processes are all dead (same boot and pid namespace, same uid): each is mapped, its lease
 * taken, given to `got`; the callee unmaps with arena_orphan_done, which unlinks it. At most `max`. Returns the number.
 * With `mine` only those of its configuration, for what they hold is to go with their keys, where they said. *foreign
 * (may be NULL): the others. Of these FOREIGN_MOST are kept for FOREIGN_DAYS: memory is the machine's.
 */
#define FOREIGN_MOST 16
#define FOREIGN_DAYS 7
uint32_t arena_orphans(const char *dir, const struct arena *mine, uint32_t max, void (*got)(void *, struct arena *),
                       void *ctx, uint32_t *foreign);
void arena_orphan_done(struct arena *a, const char *dir);
/* Unmaps it and gives its lease up; the file stays, with what could not be sent, for the next start to find. */
void arena_orphan_leave(struct arena *a, const char *dir);
size_t arena_size(const struct arena *a); /* bytes of its mapping */

#endif
