/*
 * Crash capture: what the rest of the shim sees of it. The way of a crash:
 *
 *	kernel -> entry.S -> action.c    which handler? The program's own runs in the frame that the kernel made, or:
 *	catch.c                          one thread captures, the others wait; then death as without us
 *	save.c, save_maps.c, threads.c   the crash file (record.h): this thread, then the others, which stay parked
 *	deliver.c, helper.c              a living exporter of the tree, else the helper, else the next start
 *
 * action.c keeps what the program set with sigaction and its relatives and tells it back; altstack.c keeps an alternate
 * stack per thread that the program does not see. Everything here runs in signal handlers: raw system calls only, but
 * for sigaction and sigaltstack of libc (struct crash_libc), which are as safe.
 */
#ifndef REMORA_CRASH_H
#define REMORA_CRASH_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crash_libc { /* the real ones */
	int (*sigaction)(int, const struct sigaction *, struct sigaction *);
	int (*sigaltstack)(const stack_t *, stack_t *);
	int (*key_create)(pthread_key_t *, void (*)(void *));
	int (*key_delete)(pthread_key_t);
	int (*setspecific)(pthread_key_t, const void *);
	const char *const *abort_msg; /* glibc's __abort_msg, NULL = not there */
	const void *r_debug;          /* the dynamic linker's struct r_debug; NULL = not there */
};

struct crash_export {                   /* of the exporter's thread in this process */
	const char *library;                /* path of libremora-export.so: the helper is looked for beside it */
	int (*tid)(void);                   /* 0 = none */
	void (*ask)(uint64_t end);          /* send everything by then (CLOCK_MONOTONIC); returns at once */
	bool (*done)(void);                 /* is that done, or was there nothing to ask? */
	uint64_t (*recent)(uint64_t *size); /* its timeline of this process: address; size 0 = none */
	void (*freeze)(void);               /* records stay where they are until `ask` */
};

/* Constructor, single-threaded: seven sigactions, the main thread's alternate stack. */
void crash_init(const struct crash_libc *libc, const struct crash_export *export_thread);
/* Does a filter (struct sock_fprog) that the program is about to install let our calls pass? filter.c */
bool crash_filter_admits(const void *program);
/* Before one that does not: the program's own actions go to the kernel, ours go. */
void crash_end(void);
bool crash_on(void);

/* Our own thread: f(arg), whose result is *result. False: it faulted, the thread shall end. own.c */
bool crash_own_run(int (*f)(const void *), const void *arg, int *result);

/* Before dlclose(handle). host. unloaded.c */
void crash_module_closes(const void *handle);

/* ---- the virtual actions: action.c; host, any context. Results, errno and `old` as without us ---- */
int crash_sigaction(int sig, const struct sigaction *act, struct sigaction *old);
void crash_interrupts(int sig, bool interrupt); /* siginterrupt was called */
bool crash_interrupted(int sig);

/* ---- alternate stacks: altstack.c ---- */
int crash_sigaltstack(const stack_t *ss, stack_t *old);
/* A thread of the program's own making, at its first hooked call. */
void crash_thread_here(void);
struct crash_alt;
/* Before a thread is made: its stack, and what to run on it; NULL = none, run it as it is. */
struct crash_alt *crash_alt_new(void *(*start)(void *), void *arg);
void crash_alt_free(struct crash_alt *a); /* the thread was not made */
void *crash_thread_begin(void *alt);      /* entry.S: what the thread runs; leaves no frame */

#endif
