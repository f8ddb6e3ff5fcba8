/*
 * A fault of our own thread, the exporter's, is no reason for the program to die. It is captured like any crash, then
 * the thread ends and never comes again; spans that it had in hand wait for another process. Only what happens in
 * libremora-export.so itself is survived: within libc the thread may hold a lock that the program needs.
 *
 * So this thread has the signals of faults unblocked. One that is sent to the process may then come to it, where every
 * thread of the program has it blocked: it is sent again, to wait as it would have. An abort() of ours ends the process.
 */
#include "crash/crash_priv.h"
#include <stdatomic.h>
#include <string.h>

#define FAULTS (SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGILL) | SIG_BIT(SIGFPE))

static void *back[5];
static siginfo_t passed; /* of the signal that was sent on with another siginfo; who takes it gets this one */
static _Atomic int passed_sig;
static bool over; /* it has faulted: what comes now comes from destructors of its libraries */

bool crash_own_run(int (*f)(const void *), const void *arg, int *result)
{
	struct crash_self *s = &crash_self;
	uint64_t set = FAULTS & crash_signals;
	if (__builtin_setjmp(back)) {
		over = true;
		if (s->alt)
			crash_alt_use(s->alt); /* the capture may have had another one */
		uint64_t faults = FAULTS;
		sys6(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&faults, 0, sizeof faults, 0, 0);
		return false;
	}
	crash_thread_here();
	s->own = true;
	sys6(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&set, 0, sizeof set, 0, 0);
	*result = f(arg);
	sys6(SYS_rt_sigprocmask, SIG_BLOCK, (long)&set, 0, sizeof set, 0, 0);
	s->own = false;
	return true;
}

void crash_own_signal(int sig, siginfo_t *info, void *uc)
{
	bool here = info->si_code > 0 || info->si_code == SI_TKILL; /* a fault, or abort() */
	if (here && over) {
		for (;;)
			sys3(SYS_exit, 0, 0, 0);
	}
	if (here) {
		crash_catch(sig, info, uc);
		return;
	}
	uint64_t mask;
	sigset_t *after = &((ucontext_t *)uc)->uc_sigmask;
	memcpy(&mask, after, sizeof mask);
	mask |= SIG_BIT(sig);
	memcpy(after, &mask, sizeof mask);
	sys6(SYS_rt_sigprocmask, SIG_BLOCK, (long)&mask, 0, sizeof mask, 0, 0);
	/* The kernel takes a stranger's siginfo only from the thread that it is for; what was queued it takes anyway. */
	if (sys3(SYS_rt_sigqueueinfo, sys_getpid(), sig, info) != 0) {
		passed = *info;
		atomic_store(&passed_sig, sig);
		sys3(SYS_kill, sys_getpid(), sig, 0);
	}
}

void crash_own_passed(int sig, siginfo_t *info)
{
	int want = sig;
	if (info_pid(info) == sys_getpid() && atomic_compare_exchange_strong(&passed_sig, &want, 0))
		*info = passed;
}

void crash_own_end(void)
{
	if (!crash_self.own || !crash_file.in_export)
		return;
	if (crash_file.fd >= 0)
		sys_close(crash_file.fd);
	__builtin_longjmp(back, 1);
}
