/* What the files of crash/ share among themselves. */
#ifndef REMORA_CRASH_PRIV_H
#define REMORA_CRASH_PRIV_H

/* First: <signal.h> makes macros of names that crash_head has too. */
#include "crash/record.h"

#include "base/sys.h"
#include "crash/crash.h"
#include <stdatomic.h>
#include <ucontext.h>

static inline int info_pid(const siginfo_t *i)
{
	return i->si_pid;
}
static inline uint32_t info_uid(const siginfo_t *i)
{
	return i->si_uid;
}
static inline uintptr_t info_addr(const siginfo_t *i)
{
	return (uintptr_t)i->si_addr;
}
static inline void info_set_pid(siginfo_t *i, int pid)
{
	i->si_pid = pid;
}
#undef si_pid
#undef si_uid
#undef si_addr

#define SIG_BIT(sig) (UINT64_C(1) << ((sig) - 1))
#define ALT_SIZE (64 * 1024)

extern struct crash_libc crash_libc;
extern struct crash_export crash_export;
extern uint64_t crash_signals; /* captured ones; 0 = off */

struct crash_alt { /* on top of its stack */
	char *base; /* lowest usable byte */
	size_t size;
	void *(*start)(void *);
	void *arg;
};

struct crash_first { /* a fault that a handler of the program's got: should it give up, this was the cause */
	int signo;
	const ucontext_t *uc; /* where the handler got it; what is there is ours while crash_under_way says so */
	const siginfo_t *at;
	uint64_t sum[2]; /* of both: entry.S too writes all this */
};

struct crash_self { /* of each thread */
	struct crash_alt *alt; /* NULL = none of ours */
	struct crash_first first;
	/* Four bytes of flags: while any is set, entry.S leaves all to crash_enter. */
	bool no_room; /* its handler found none on the stack: the kernel ends such a process with a SIGSEGV of its own */
};
extern __thread struct crash_self crash_self __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* entry.S */
void crash_entry(int sig, siginfo_t *info, void *uc);
/* Run f(a, b, c) on another stack. */
void crash_on_stack(void *top, void (*f)(int, void *, void *), int a, void *b, void *c);
/* clone(flags) with f(arg) in the child, on its stack; the child ends with exit_group. */
long crash_clone(long flags, void *top, int (*f)(void *), void *arg);

/* action.c */
void crash_actions_init(void);
bool crash_under_way(const struct crash_first *f, uintptr_t sp);
void crash_default(int sig); /* the kernel's SIG_DFL, whatever the table says */

/* altstack.c */
void crash_alt_init(void);
static inline bool crash_on_alt(const struct crash_self *s, uintptr_t sp)
{
	return s->alt && sp - (uintptr_t)s->alt->base < s->alt->size;
}

/* catch.c */
void crash_catch(int sig, siginfo_t *info, void *uc);
/* Will the instruction fault again when the handler returns? */
bool crash_hardware(int sig, const siginfo_t *info);

/* save.c: the file */
struct crash_cause {
	int sig, end_sig;     /* what is told; what the process dies of */
	const siginfo_t *info;
	const greg_t *regs;
	bool on_alt, forked, vforked;
};
struct crash_file {
	int fd;
	bool named;
	char path[384];
	struct crash_head head;
	uint64_t at, limit;
};
extern struct crash_file crash_file;
bool crash_save_begin(const struct crash_cause *c); /* opens the file, writes head, registers, stack */
void crash_save_rest(void);                         /* maps, build ids, description */
void crash_save_end(void);                          /* `done` */
void crash_save_flags(uint32_t flags);
void crash_regs(uint64_t out[CR_REGS], const greg_t *g);
void crash_put(enum crash_section_type type, int tid, uint64_t addr, const void *p, size_t n);
/* Memory that may not be there: one section for each readable piece. */
void crash_put_memory(enum crash_section_type type, int tid, uint64_t from, uint64_t to);
char *crash_text(char *at, const char *s);
char *crash_number(char *at, uint64_t n);

/* threads.c */
void crash_threads_save(uint64_t end_ns);
void crash_thread_waits(int sig, const ucontext_t *uc); /* a second thread that crashed: it waits in catch.c */

/* deliver.c */
void crash_deliver(void);

#endif
