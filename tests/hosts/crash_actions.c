/* flags: -w */
/* What a program sees of its own signal actions and alternate stacks: the same with and without us. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
extern sighandler_t sysv_signal(int, sighandler_t), bsd_signal(int, sighandler_t);
static const int sigs[] = {SIGSEGV, SIGBUS, SIGABRT, SIGSYS, SIGTRAP, SIGUSR1, SIGQUIT};
static char *low, *high; /* of the thread's stack, about */
static volatile int calls;

static void h(int s)
{
	(void)s;
	calls++;
}
static void hi(int s, siginfo_t *i, void *uc)
{
	char here;
	ucontext_t *u = uc;
	uint64_t mask, inner;
	sigset_t now;
	sigprocmask(SIG_BLOCK, NULL, &now);
	memcpy(&inner, &now, 8);
	memcpy(&mask, &u->uc_sigmask, 8);
	printf("  handler %d code %d on its stack %d, mask before %lx in %lx\n", s, i->si_code, &here > low && &here < high, (long)mask, (long)inner);
	if (s == SIGSEGV && i->si_code > 0)
		u->uc_mcontext.gregs[REG_RIP] += 2;
}
static const char *name(const struct sigaction *a)
{
	return a->sa_handler == SIG_DFL ? "DFL" : a->sa_handler == SIG_IGN ? "IGN"
	                                      : a->sa_handler == h         ? "h"
	                                      : a->sa_sigaction == hi      ? "hi"
	                                                                   : "?";
}
static void show(const char *what, int s, const struct sigaction *a)
{
	uint64_t mask;
	memcpy(&mask, &a->sa_mask, 8);
	printf("%s %d: %s flags %x mask %lx restorer %d\n", what, s, name(a), a->sa_flags, (long)mask, a->sa_restorer != NULL);
}
static void ask(int s)
{
	struct sigaction a;
	memset(&a, 0x55, sizeof a);
	printf("%d ", sigaction(s, NULL, &a));
	show("now", s, &a);
}
static void put(int s, int flags, int siginfo, uint64_t mask)
{
	struct sigaction a = {0}, old;
	memset(&old, 0x55, sizeof old);
	if (siginfo)
		a.sa_sigaction = hi;
	else
		a.sa_handler = h;
	a.sa_flags = flags;
	memcpy(&a.sa_mask, &mask, 8);
	printf("%d ", sigaction(s, &a, &old));
	show("was", s, &old);
	ask(s);
}
static const char *of(sighandler_t x)
{
	return x == SIG_DFL ? "DFL" : x == SIG_IGN ? "IGN"
	                          : x == h         ? "h"
	                          : x == SIG_ERR   ? "ERR"
	                          : x == SIG_HOLD  ? "HOLD"
	                                           : "?";
}
static void fault(void)
{
	__asm__ volatile("xor %%eax, %%eax\n mov %%al, (%%rax)" ::
	                     : "rax", "memory");
}
static void stacks(const char *who)
{
	stack_t s;
	memset(&s, 0x55, sizeof s);
	int r = sigaltstack(NULL, &s);
	printf("%s: %d sp %d flags %d size %zu\n", who, r, s.ss_sp != NULL, s.ss_flags, s.ss_size);
}
static void on_stacks(const char *who)
{
	static __thread char own[65536];
	char here;
	low = &here - 100000;
	high = &here + 10000;
	stack_t s = {.ss_sp = own, .ss_size = sizeof own}, off = {.ss_flags = SS_DISABLE}, old, bad = {.ss_sp = own, .ss_size = 100};
	stacks(who);
	put(SIGSEGV, SA_SIGINFO | SA_ONSTACK, 1, 0);
	put(SIGUSR1, SA_SIGINFO | SA_ONSTACK, 1, 1ull << 14);
	fault();
	raise(SIGUSR1);
	printf("bad %d\n", sigaltstack(&bad, NULL));
	printf("set %d", sigaltstack(&s, &old));
	printf(" old %d %d\n", old.ss_flags, old.ss_sp != NULL);
	stacks(who);
	fault();
	raise(SIGUSR1);
	printf("off %d", sigaltstack(&off, &old));
	printf(" old %d %d\n", old.ss_flags, old.ss_sp == own);
	stacks(who);
	fault();
	raise(SIGUSR1);
	put(SIGSEGV, SA_SIGINFO | SA_NODEFER, 1, 1ull << 3);
	fault();
}
static void *thread(void *p)
{
	on_stacks("thread");
	return p;
}

int main(void)
{
	pthread_t t;
	setvbuf(stdout, NULL, _IOFBF, 65536);
	for (unsigned k = 0; k < sizeof sigs / sizeof *sigs; k++) {
		int s = sigs[k];
		ask(s);
		put(s, 0, 0, 0);
		put(s, SA_SIGINFO | SA_RESTART, 1, ~0ull);
		put(s, SA_NODEFER | (int)SA_RESETHAND | SA_ONSTACK, 0, 5);
		raise(s);
		printf("calls %d\n", calls);
		ask(s);
		printf("signal %s\n", of(signal(s, h)));
		ask(s);
		printf("siginterrupt %d\n", siginterrupt(s, 1));
		ask(s);
		printf("signal %s\n", of(signal(s, SIG_IGN)));
		ask(s);
		raise(s);
		printf("siginterrupt %d\n", siginterrupt(s, 0));
		printf("sysv %s\n", of(sysv_signal(s, h)));
		ask(s);
		printf("bsd %s\n", of(bsd_signal(s, h)));
		printf("sigset %s\n", of(sigset(s, SIG_HOLD)));
		printf("sigset %s\n", of(sigset(s, SIG_HOLD)));
		printf("sigset %s\n", of(sigset(s, h)));
		ask(s);
		printf("sigignore %d\n", sigignore(s));
		ask(s);
		printf("signal %s\n", of(signal(s, SIG_DFL)));
		ask(s);
	}
	struct sigaction a = {0};
	printf("bad: %d %d %d %d %s\n", sigaction(0, &a, NULL), sigaction(65, &a, NULL), sigaction(SIGKILL, &a, NULL),
	       sigaction(32, &a, NULL), of(signal(SIGKILL, h)));
	fflush(stdout);
	if (vfork() == 0) { /* its actions are its own */
		signal(SIGSEGV, SIG_IGN);
		signal(SIGBUS, SIG_DFL);
		_exit(0);
	}
	wait(NULL);
	ask(SIGSEGV);
	on_stacks("main");
	pthread_create(&t, NULL, thread, NULL);
	pthread_join(t, NULL);
	for (int i = 0; i < 100; i++) {
		pthread_create(&t, NULL, (void *(*)(void *))stacks, (void *)"one");
		pthread_join(t, NULL);
	}
	return 0;
}
