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

#define SIG_BIT(sig) (UINT64_C(1) << ((sig)-1))
#define ALT_SIZE (64 * 1024)

extern struct crash_libc crash_libc;
extern struct crash_export crash_export;
extern uint64_t crash_signals; /* captured ones; 0 = off */

struct crash_alt { /* on top of its stack */
	char *base;    /* lowest usable byte */
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

struct crash_self {        /* of each thread */
	struct crash_alt *alt; /* NULL = none of ours */
	struct crash_first first;
	/* Four bytes of flags: while any is set, entry.S leaves all to crash_enter. */
	bool no_room;   /* its handler found none on the stack: the kernel ends such a process with a SIGSEGV of its own */
	bool capturing; /* a fault now is ours */
	bool own;       /* our own thread */
	bool unused;
	uintptr_t under, over; /* a handler runs on the alternate stack at `over`: where the thread's own stack was left */
	size_t over_size;
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
bool crash_alt_use(const struct crash_alt *a);
static inline bool crash_on_alt(const struct crash_self *s, uintptr_t sp)
{
	return s->alt && sp - (uintptr_t)s->alt->base < s->alt->size;
}

/* catch.c */
void crash_catch(int sig, siginfo_t *info, void *uc);
/* Will the instruction fault again when the handler returns? */
bool crash_hardware(int sig, const siginfo_t *info);

/* own.c */
void crash_own_signal(int sig, siginfo_t *info, void *uc);
void crash_own_passed(int sig, siginfo_t *info); /* SI_USER: puts right what crash_own_signal had to send on as ours */
void crash_own_end(void);                        /* does not come back where our own thread was captured and the process can live on */

/* save.c, save_maps.c: the file */
struct crash_cause {
	int sig, end_sig; /* what is told; what the process dies of */
	const siginfo_t *info;
	const greg_t *regs;
	bool on_alt, forked, vforked;
	/* If it crashed in a handler on an alternate stack: where that ends, and the thread's own stack pointer. Else 0. */
	uintptr_t over_end, under;
};
struct crash_file {
	int fd;                /* -1: it is `mem` */
	bool named, in_export; /* named: it lies in the runtime directory, as `path`; in_export: RIP is in libremora-export.so */
	char *mem;             /* of `limit` bytes */
	char path[384];
	struct crash_head head;
	uint64_t at, limit;
};
extern struct crash_file crash_file;
void crash_save_begin(const struct crash_cause *c);   /* opens the file (fd -1: there is none), writes head, registers, stack */
void crash_save_context(const struct crash_cause *c); /* which request */
void crash_save_modules(const struct crash_cause *c); /* maps, build ids, the far end of the stack */
void crash_save_process(const struct crash_cause *c); /* description, abort message */
void crash_save_end(void);                            /* `done` */
void crash_save_flags(uint32_t flags);
void crash_regs(uint64_t out[CR_REGS], const greg_t *g);
void crash_put(enum crash_section_type type, int tid, uint64_t addr, const void *p, size_t n);
/* Where a piece of stack ends: above main's frames lie arguments and environment: tokens stand there, and no frame. */
uint64_t crash_stack_end(uint64_t from, uint64_t to);
/* Memory that may not be there: one section for each readable piece. */
void crash_put_memory(enum crash_section_type type, int tid, uint64_t from, uint64_t to);
char *crash_text(char *at, const char *s);
char *crash_number(char *at, uint64_t n);

/* place.c: a record without a name */
bool crash_place_nameless(bool limited); /* limited: no file of any kind may grow */
size_t crash_place_write(const void *p, size_t n, uint64_t at);
bool crash_place_move(void); /* the file system is full: elsewhere with what is written */
void crash_place_raise_nofile(void);
void crash_place_end(void);                /* all is done */
void crash_lost(int sig, const char *why); /* counted and said */
/* The id of the ELF file whose beginning is mapped at lo; false: it has none. */
bool crash_build_id(uint64_t lo, uint64_t hi, struct crash_build_id *out);
void crash_put_unloaded(void); /* unloaded.c */

/* threads.c */
void crash_threads_save(uint64_t end_ns);
void crash_thread_waits(int sig, const ucontext_t *uc); /* a second thread that crashed: it waits in catch.c */

/* helper.c */
bool crash_helper_start(uint64_t end); /* by `end` it has the record; false: it cannot be started */
bool crash_helper_gone(void);
void crash_helper_wait(uint64_t end);

/* deliver.c */
void crash_deliver(void);
uint64_t crash_wait_ns(void); /* how long that may take */

/* linkmap.c: modules without /proc, as lines of /proc/self/maps; how many bytes */
size_t crash_linkmap(char *out, size_t cap);

/* filter.c */
enum crash_calls { /* for what */
	               CALLS_CAPTURE = 1,
	               CALLS_HELPER = 2, /* to start it */
	               CALLS_PLACE = 4,  /* a record that is no file; a last word */
};
extern uint32_t crash_calls; /* that no filter of the program's answers with death */

#endif
