/* Time-outs, timers and who gets signals, while traffic is traced and sent. Prints verdicts, no times. */
#include "host.h"

static pthread_t main_thread;
static volatile sig_atomic_t ticks, elsewhere;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void verdict(const char *what, double start, double ms)
{
	double d = now() - start;
	/* never early; late only as a busy machine makes it */
	printf("%s: %s\n", what, d < ms - 1.5 ? "early" : d > ms + 1500 ? "late"
	                                                                : "in time");
}

static void on(int sig)
{
	(void)sig;
	ticks++;
	if (!pthread_equal(pthread_self(), main_thread))
		elsewhere++;
}

#define TIMED(ms, x)                        \
	do {                                    \
		double s_ = now();                  \
		errno = 0;                          \
		long r_ = (long)(x);                \
		printf("%ld errno %d ", r_, errno); \
		verdict(#x, s_, ms);                \
	} while (0)

int main(void)
{
	alarm(30);
	main_thread = pthread_self();
	int p[2], e = (int)MUST(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event ev = {.events = EPOLLIN};
	struct timespec ts = {0, 40000000};
	struct timeval tv = {0, 40000};
	fd_set s;
	char b[64];
	tcp_pair(p);
	for (int i = 0; i < 50; i++)
		exchange_new("/busy");
	exchange(p, "/first");
	MUST(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	struct pollfd f = {.fd = p[0], .events = POLLIN};
	FD_ZERO(&s);
	FD_SET(p[0], &s);
	TIMED(40, nanosleep(&ts, NULL));
	TIMED(40, poll(&f, 1, 40));
	TIMED(40, ppoll(&f, 1, &ts, NULL));
	TIMED(40, epoll_wait(e, &ev, 1, 40));
	TIMED(40, epoll_pwait2(e, &ev, 1, &ts, NULL));
	TIMED(40, select(p[0] + 1, &s, NULL, NULL, &tv));
	printf("left %ld\n", (long)tv.tv_usec);
	FD_SET(p[0], &s);
	TIMED(40, pselect(p[0] + 1, &s, NULL, NULL, &ts, NULL));
	tv.tv_usec = 40000;
	MUST(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
	TIMED(36, recv(p[0], b, 9, 0));
	TIMED(36, read(p[0], b, 9));
	/* every tick of an interval timer arrives, in this thread */
	struct sigaction sa = {.sa_handler = on};
	struct itimerval it = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}};
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGVTALRM, &sa, NULL);
	sigaction(SIGPROF, &sa, NULL);
	sigaction(SIGCHLD, &sa, NULL);
	int rc = 0;
	for (int i = 0; i < 300; i++) {
		int before = ticks;
		exchange_new("/ticks");
		MUST(kill(getpid(), SIGUSR1)); /* to the process: delivered to any thread that does not block it */
		rc += ticks - before;
	}
	printf("signals %d elsewhere %d\n", rc, elsewhere);
	/* blocked, it stays pending for sigtimedwait */
	sigset_t set, pend;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int got = 0, before = ticks;
	for (int i = 0; i < 100; i++) {
		exchange_new("/blocked");
		MUST(kill(getpid(), SIGUSR1));
		poll(NULL, 0, i % 2);
		sigpending(&pend);
		got += sigismember(&pend, SIGUSR1) && sigtimedwait(&set, NULL, &ts) == SIGUSR1;
	}
	printf("waited for %d, handled meanwhile %d\n", got, ticks - before);
	ticks = 0;
	MUST(setitimer(ITIMER_PROF, &it, NULL));
	while (ticks < 10)
		exchange(p, "/cpu");
	MUST(setitimer(ITIMER_PROF, &off, NULL));
	/* the process-CPU timer counts our thread too; its signal must come here all the same */
	printf("prof elsewhere %d\n", elsewhere);
	int w = waitpid(-1, NULL, WNOHANG);
	printf("no children: %d errno %d\n", w, errno);
	return 0;
}
