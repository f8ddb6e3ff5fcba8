/* Preloaded into wrk: it asks for events again and again instead of sleeping until they come. See load.py. */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	long long end = timeout > 0 ? ms() + timeout : 0;
	for (;;) {
		long n = syscall(SYS_epoll_wait, fd, events, max, 0);
		if (n != 0 || timeout == 0 || (timeout > 0 && ms() >= end))
			return (int)n;
	}
}
