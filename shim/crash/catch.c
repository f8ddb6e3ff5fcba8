/*
 * A crash that no handler of the program's has taken. One thread captures it, others that crash meanwhile wait, bounded.
 * Then the process dies exactly as without us: what the instruction did it does again, under SIG_DFL; what was sent is
 * sent again with its siginfo, blocked until the handler returns, so that both end in the interrupted context.
 *
 * `owner` is pid and tid of who captures: a forked child finds a stranger's and takes over. The child of a vfork captures
 * too, in its parent's memory: so it puts back all that it changed there.
 * A fault while capturing ends the step that was under way; what is in the file stays, and the next step begins.
 */
#include "crash/crash_priv.h"
#include "base/clock.h"
#include "config.h"
#include "span/process.h"
#include <string.h>
#include <sys/prctl.h>

#define STACK (64 * 1024)

static _Atomic uint64_t owner; /* pid in the high half, tid in the low one; 0 = nobody */
static _Atomic uint32_t step;
static void *back[5];
static char stack[STACK] __attribute__((aligned(64)));
static char nested_stack[STACK] __attribute__((aligned(64))); /* for signals that arrive on `stack` */

/* The kernel makes the same signal again when the instruction is run again. */
bool crash_hardware(int sig, const siginfo_t *info)
{
	if (sig == SIGBUS && info->si_code == BUS_MCEERR_AO)
		return false;
	return info->si_code > 0 && (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE);
}

static void die(int sig, siginfo_t *info)
{
	siginfo_t kernels = {.si_signo = SIGSEGV, .si_code = SI_KERNEL};
	if (crash_self.no_room && sys_getpid() != 1) {
		sig = SIGSEGV;
		info = &kernels;
		crash_default(sig);
	} else {
		crash_default(sig);
		if (crash_hardware(sig, info))
			return;
	}
	uint64_t bit = SIG_BIT(sig);
	sys6(SYS_rt_sigprocmask, SIG_BLOCK, (long)&bit, 0, sizeof bit, 0, 0);
	sys6(SYS_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), sig, (long)info, 0, 0);
}

/*
 * timeout and its like end with the signal that ended their child. They switch their core dump off before, since the
 * child has left one; so do shells.
 */
static bool is_echo(int sig, const siginfo_t *info, int pid)
{
	return sig != SIGABRT && info->si_code <= 0 && info_pid(info) == pid && sys3(SYS_prctl, PR_GET_DUMPABLE, 0, 0) == 0;
}

static void threads(const struct crash_cause *c)
{
	if (!c->vforked && !(crash_self.own && crash_file.in_export)) /* the program lives on */
		crash_threads_save(mono_ns() + 200000000u);
}

static void end(const struct crash_cause *c)
{
	(void)c;
	crash_save_end();
}

static void deliver(const struct crash_cause *c)
{
	(void)c;
	crash_deliver();
}

#define DELIVER 6
#define STEPS (sizeof steps / sizeof *steps)
static void (*const steps[])(const struct crash_cause *) = {
	crash_save_begin, crash_save_context, crash_save_modules, crash_save_process, threads, end,
	[DELIVER] = deliver,
	deliver, /* the first faulted: without the arena */
};

static void capture(int sig, void *info_, void *uc_)
{
	siginfo_t *info = info_;
	const ucontext_t *uc = uc_;
	struct crash_self *s = &crash_self;
	struct crash_cause c = {
		.sig = sig,
		.end_sig = s->no_room ? SIGSEGV : sig,
		.info = info,
		.regs = uc->uc_mcontext.gregs,
		.on_alt = uc->uc_stack.ss_size && !(uc->uc_stack.ss_flags & SS_DISABLE),
		.forked = process.fork_gen != 0,
		.vforked = sys_getpid() != process.pid,
	};
	if (__builtin_setjmp(back)) {
		atomic_fetch_add(&step, 1);
		crash_save_flags(CRASH_NESTED);
	} else if (crash_under_way(&s->first, (uintptr_t)uc->uc_mcontext.gregs[REG_RSP])) {
		c.sig = s->first.signo;
		c.info = s->first.at;
		c.regs = s->first.uc->uc_mcontext.gregs;
	}
	if ((uintptr_t)c.regs[REG_RSP] - s->over < s->over_size) {
		c.over_end = s->over + s->over_size;
		c.under = s->under;
	}
	s->capturing = true;
	for (uint32_t now; (now = atomic_load(&step)) < STEPS;) {
		steps[now](&c);
		bool stop = now == DELIVER || (crash_file.fd < 0 && !crash_file.mem);
		atomic_store(&step, stop ? (uint32_t)STEPS : now + 1);
	}
	s->capturing = false;
}

/*
 * On `stack`. The kernel takes the alternate stack for free while we are on another, and the frame that we return through
 * may lie there: so it gets another one for what may happen here. sigreturn puts the old one back.
 */
static void capture_elsewhere(int sig, void *info, void *uc)
{
	stack_t ss = {.ss_sp = nested_stack, .ss_size = sizeof nested_stack};
	sys3(SYS_sigaltstack, &ss, 0, 0);
	capture(sig, info, uc);
}

static void wait_for_owner(uint64_t who)
{
	uint64_t end = mono_ns() + crash_wait_ns() + 1000000000u;
	while (atomic_load(&owner) == who && mono_ns() < end) {
		struct timespec ts = {0, 5000000};
		sys6(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
	}
}

void crash_catch(int sig, siginfo_t *info, void *uc)
{
	struct crash_self *s = &crash_self;
	int pid = sys_getpid();
	bool vforked = false;
	if (pid != process.pid) {
		if (process_is_new())
			process_forked();
		else
			vforked = true;
	}
	/* The kernel would have thrown it away: nothing sent ends the first process of a namespace. */
	if (pid == 1 && !crash_hardware(sig, info) && sig != SIGSYS && sig != SIGTRAP)
		return;
	uint64_t me = (uint64_t)(uint32_t)pid << 32 | (uint32_t)sys_gettid(), who = atomic_load(&owner);
	while (who == 0 || (who != me && who >> 32 != (uint32_t)pid && !vforked)) {
		if (!atomic_compare_exchange_strong(&owner, &who, me))
			continue;
		atomic_store(&step, 0);
		if (!is_echo(sig, info, pid)) {
			if (crash_on_alt(s, (uintptr_t)__builtin_frame_address(0))) {
				capture(sig, info, uc);
			} else {
				crash_on_stack(stack + STACK, capture_elsewhere, sig, info, uc);
			}
		}
		if (vforked || (s->own && crash_file.in_export))
			atomic_store(&owner, 0);
		crash_own_end();
		die(sig, info);
		return;
	}
	if (who == me)
		__builtin_longjmp(back, 1);
	crash_thread_waits(sig, uc);
	wait_for_owner(who);
	die(sig, info);
}
