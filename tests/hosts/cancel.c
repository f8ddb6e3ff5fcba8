/* flags: -w */
/*
 * Threads cancelled in read, accept, connect, poll, recv, write, select, epoll_wait while connections are traced;
 * pthread_exit in the middle of an exchange; stacks of PTHREAD_STACK_MIN. Afterwards HTTP still works.
 */
#include "host.h"
#include <limits.h>

static int p[2], l, port, full[2];
static char small[1];
static pthread_barrier_t bar;

static void *victim(void *arg)
{
	char b[256];
	struct iovec v = {b, sizeof b};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct pollfd f = {.fd = p[0], .events = POLLIN};
	struct epoll_event ev = {.events = EPOLLIN};
	fd_set s;
	int k = (int)(long)arg, e;
	FD_ZERO(&s);
	FD_SET(p[0], &s);
	pthread_barrier_wait(&bar);
	switch (k) {
	case 0:
		read(p[0], b, sizeof b);
		break;
	case 1:
		recv(p[0], b, sizeof b, 0);
		break;
	case 2:
		recvmsg(p[0], &m, 0);
		break;
	case 3:
		readv(p[0], &v, 1);
		break;
	case 4:
		accept(l, NULL, NULL);
		break;
	case 5:
		accept4(l, NULL, NULL, 0);
		break;
	case 6:
		poll(&f, 1, -1);
		break;
	case 7:
		select(p[0] + 1, &s, NULL, NULL, NULL);
		break;
	case 8:
		e = epoll_create1(EPOLL_CLOEXEC);
		epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev);
		epoll_wait(e, &ev, 1, -1);
		break;
	case 9:
		write(full[0], b, sizeof b);
		break;
	case 10:
		send(full[0], b, sizeof b, 0);
		break;
	case 11:
		ppoll(&f, 1, NULL, NULL);
		break;
	}
	return (void *)1;
}

static void *leaver(void *arg)
{
	int q[2];
	(void)arg;
	tcp_pair(q);
	request(q[0], "/leave");
	serve(q[1], "/leave");
	close(q[1]);
	pthread_exit((void *)2); /* the answer is never read; the client's end is left open */
}

static void *tiny(void *arg)
{
	(void)arg;
	exchange_new("/tiny");
	return (void *)3;
}

/* Asynchronous use: cancelled anywhere in a loop of exchanges, in deferred mode. */
static void *busy(void *arg)
{
	int *q = arg;
	for (;;)
		exchange(q, "/busy");
	return NULL;
}

int main(void)
{
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	pthread_barrier_init(&bar, NULL, 2);
	tcp_pair(p);
	exchange(p, "/before");
	l = listen_at(&port);
	tcp_pair(full);
	nonblock(full[0]);
	while (write(full[0], small, 1) == 1 || send(full[0], (char[65536]){0}, 65536, 0) > 0)
		;
	MUST(fcntl(full[0], F_SETFL, 0));
	pthread_t t;
	void *r;
	int cancelled = 0, other = 0;
	for (int i = 0; i < 12 * 20; i++) {
		MUST(-pthread_create(&t, NULL, victim, (void *)(long)(i % 12)));
		pthread_barrier_wait(&bar);
		pthread_cancel(t);
		pthread_join(t, &r);
		if (r == PTHREAD_CANCELED)
			cancelled++;
		else
			other++;
	}
	printf("cancelled %d, other %d\n", cancelled, other);
	for (int i = 0; i < 50; i++) {
		int q[2];
		tcp_pair(q);
		MUST(-pthread_create(&t, NULL, busy, q));
		poll(NULL, 0, i % 4);
		pthread_cancel(t);
		pthread_join(t, &r);
		CHECK(r == PTHREAD_CANCELED);
		close(q[0]);
		close(q[1]);
	}
	pthread_attr_t at;
	pthread_attr_init(&at);
	MUST(-pthread_attr_setstacksize(&at, (size_t)sysconf(_SC_THREAD_STACK_MIN)));
	for (int i = 0; i < 20; i++) {
		MUST(-pthread_create(&t, NULL, leaver, NULL));
		pthread_join(t, &r);
		CHECK(r == (void *)2);
		MUST(-pthread_create(&t, &at, tiny, NULL));
		pthread_join(t, &r);
		CHECK(r == (void *)3);
	}
	exchange(p, "/after"); /* nobody took a byte of this connection */
	exchange_new("/after");
	printf("done\n");
	return 0;
}
