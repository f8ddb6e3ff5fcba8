/* The hooks of crash capture: signal actions, alternate stacks, new threads. What they mean is in crash/. */
#include "base/sys.h"
#include "crash/crash.h"
#include "export_thread.h"
#include "hooks/guard.h"
#include "hooks/real.h"
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
typedef void (*handler)(int);

EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return crash_on() ? crash_sigaction(sig, act, old) : REAL(sigaction)(sig, act, old);
}

EXPORT int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
EXPORT int __sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return crash_on() ? crash_sigaction(sig, act, old) : REAL(__sigaction)(sig, act, old);
}

/* As glibc's functions of these names do it. */
static handler set(int sig, handler h, int flags, bool masked)
{
	struct sigaction act = {0}, old;
	if (h == SIG_ERR || sig < 1 || sig > 64) {
		errno = EINVAL;
		return SIG_ERR;
	}
	act.sa_handler = h;
	act.sa_flags = flags;
	if (masked) {
		uint64_t bit = UINT64_C(1) << (sig - 1);
		memcpy(&act.sa_mask, &bit, sizeof bit);
	}
	return crash_sigaction(sig, &act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

static handler bsd(int sig, handler h)
{
	return set(sig, h, crash_interrupted(sig) ? 0 : SA_RESTART, true);
}

static handler sysv(int sig, handler h)
{
	return set(sig, h, (int)SA_RESETHAND | SA_NODEFER | SA_INTERRUPT, false);
}

#define SIGNAL(name, how)                                     \
	EXPORT handler name(int sig, handler h);                  \
	EXPORT handler name(int sig, handler h)                   \
	{                                                         \
		return crash_on() ? how(sig, h) : REAL(name)(sig, h); \
	}
#pragma GCC diagnostic ignored "-Wredundant-decls"
SIGNAL(signal, bsd)
SIGNAL(ssignal, bsd)
SIGNAL(bsd_signal, bsd)
SIGNAL(sysv_signal, sysv)
SIGNAL(__sysv_signal, sysv)

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#define HOLD ((handler)2)
EXPORT handler sigset(int sig, handler h)
{
	if (!crash_on() || h == HOLD || h == SIG_ERR || sig < 1 || sig > 64) {
		/* It blocks, and tells of the action: ours must not be seen. */
		handler r = REAL(sigset)(sig, h);
		struct sigaction old;
		if (crash_on() && h == HOLD && r != SIG_ERR && r != HOLD && crash_sigaction(sig, NULL, &old) == 0)
			r = old.sa_handler;
		return r;
	}
	uint64_t bit = UINT64_C(1) << (sig - 1), was = 0;
	handler r = set(sig, h, 0, false);
	if (r == SIG_ERR)
		return r;
	sys6(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&bit, (long)&was, sizeof bit, 0, 0);
	return was & bit ? HOLD : r;
}

EXPORT int sigignore(int sig)
{
	if (!crash_on())
		return REAL(sigignore)(sig);
	return set(sig, SIG_IGN, 0, false) == SIG_ERR ? -1 : 0;
}

EXPORT int siginterrupt(int sig, int interrupt)
{
	int r = REAL(siginterrupt)(sig, interrupt);
	if (r == 0 && crash_on())
		crash_interrupts(sig, interrupt != 0);
	return r;
}

EXPORT int sigaltstack(const stack_t *ss, stack_t *old)
{
	return crash_on() && !process_in_vfork_child(&thread_self) ? crash_sigaltstack(ss, old) : REAL(sigaltstack)(ss, old);
}

EXPORT int pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	struct crash_alt *a = crash_alt_new(start, arg);
	int r = a ? REAL(pthread_create)(t, attr, crash_thread_begin, a) : REAL(pthread_create)(t, attr, start, arg);
	if (r != 0 && a)
		crash_alt_free(a);
	struct thread *self = &thread_self;
	if (r == 0 && atomic_load_explicit(&process.active, memory_order_relaxed) && enter(self)) {
		int e = errno;
		export_thread_poke_made();
		errno = e;
		leave(self);
	}
	return r;
}

int thrd_create(unsigned long *t, int (*start)(void *), void *arg); /* <threads.h> is newer than glibc 2.17 */
EXPORT int thrd_create(unsigned long *t, int (*start)(void *), void *arg)
{
	struct crash_alt *a = crash_alt_new((void *(*)(void *))(uintptr_t)start, arg);
	int r = a ? REAL(thrd_create)(t, (int (*)(void *))(uintptr_t)crash_thread_begin, a) : REAL(thrd_create)(t, start, arg);
	if (r != 0 /* thrd_success */ && a)
		crash_alt_free(a);
	return r;
}
