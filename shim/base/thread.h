/*
 * What remora knows of a host thread: one zeroed block of static TLS (initial-exec, so that reading it never
 * allocates). Only its own thread touches it, also from signal handlers; in a vfork child it is the parent's.
 */
#ifndef REMORA_THREAD_H
#define REMORA_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct txn;

struct txn_ref { /* a request that may have ended meanwhile: valid while t->serial == serial */
	struct txn *t;
	uint32_t serial;
};

struct thread {
	uint8_t guard;           /* inside remora: hooks pass through. Never set across a real call; for life in our own thread */
	bool loop;               /* serves several requests at once: attribution by dispatch, not by `current` */
	bool in_vfork;           /* vfork was called; until getpid() says otherwise this may be the child */
	uintptr_t stack;         /* a range of addresses that is surely no small signal stack begins here, 0 = not known yet */
	uint64_t id;             /* process.fork_gen + 1, tid; thread_word() */
	struct txn_ref current;  /* last request read here */
	struct txn_ref dispatch; /* loop threads: the request read since the last return of a poll call */
	/* A connect that failed, until it is told or another address succeeds. */
	uint32_t held_slot;
	uint8_t held_id[8], held_ip[16];
	uint16_t held_port, good_port;
	uint64_t held_ns, good_ns; /* CLOCK_MONOTONIC */
	/* Text of this thread's that is not handed over yet (log/text.c); text_start names the record, 0 = none. */
	uint64_t text_start;
	uint32_t text_slot;
	bool text_whole;  /* it ends with a line's end */
	bool text_gap;    /* bytes were not kept since its last record */
	uint64_t sigmask; /* at the last place where the thread was surely in no signal handler */
	bool sigmask_known;
	uint64_t rng[4];
	uint32_t rng_gen; /* seeded for process.fork_gen + 1 */
};

extern __thread struct thread thread_self __attribute__((tls_model("initial-exec"), visibility("hidden")));

#endif
