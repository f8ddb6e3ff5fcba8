/*
 * This process: its number, the forks it came through, its arena. Layer: span.
 * Threads race here without locks; forks and vforks are noticed by whoever comes first.
 */
#ifndef REMORA_PROCESS_H
#define REMORA_PROCESS_H

#include "base/hot.h"
#include "base/thread.h"
#include "span/arena.h"
#include <stdbool.h>
#include <stdint.h>

struct process {
	_Atomic bool active;     /* false: every hook passes through */
	int pid, root_pid;       /* root: the first process of this image, whose name the arena has */
	uint32_t fork_gen;       /* how many forks lie behind */
	_Atomic uint32_t *alive; /* non-zero; the kernel zeroes it in a forked child (MADV_WIPEONFORK) */
	_Atomic(struct arena *) arena;
	_Atomic uint32_t proc;        /* index in the arena's process table; ARENA_PROCS = not entered */
	bool black_box;               /* the arena is a file */
	char dir[256];                /* of the arena's file, "" = none */
	_Atomic uint32_t open_spans;  /* records of this process that are open, but for those of server requests */
	_Atomic uint32_t connections; /* tracked ones: they may produce records without a warning */
};

extern struct process process;

void process_init(void); /* constructor */
/*
 * The arena, made or joined if there is none yet; NULL: no memory. A few dozen raw system calls the first time.
 * host, any context.
 */
struct arena *process_arena(void);
/* That of our own or of the tree; never a new one. For who comes to read. */
struct arena *process_arena_found(void);
/* The index for a record's `proc`; enters the process the first time. host. */
uint16_t process_index(struct arena *a);

#define DESCRIBE_SCRATCH 4096
/* Who we are, as arena_proc_add wants it. Returns its length. host, any context. */
uint32_t process_describe(char *out, size_t cap, char scratch[DESCRIBE_SCRATCH]);

/* In a forked child, once, before anything else of ours: by the fork handler or by whoever notices. */
COLD void process_forked(void);
static inline bool process_is_new(void)
{
	return __builtin_expect(atomic_load_explicit(process.alive, memory_order_relaxed) == 0, 0);
}
/*
 * Is this the child of a vfork, running in its parent's memory? Then nothing may be touched. Costs a system call only
 * between a vfork and the parent's next tracked call.
 */
bool process_vfork_child(struct thread *t);
static inline bool process_in_vfork_child(struct thread *t)
{
	return __builtin_expect(t->in_vfork, 0) && process_vfork_child(t);
}

/* Called when the process was found to be a forked child; set by the lifecycle. */
extern void (*process_on_fork)(void);

/* fork_gen + 1 in the high half, the thread's id in the low one: never zero, in no two processes the same. */
uint64_t thread_word_new(struct thread *t);
static inline uint64_t thread_word(struct thread *t)
{
	return __builtin_expect(t->id >> 32 == (uint32_t)(process.fork_gen + 1), 1) ? t->id : thread_word_new(t);
}

static inline int thread_id(struct thread *t)
{
	return (int)thread_word(t);
}

#endif
