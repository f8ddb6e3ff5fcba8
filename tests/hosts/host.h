/*
 * What the hazard programs share. Each program prints what it observed; tests/harm runs it plain and preloaded and
 * compares stdout, stderr and exit status, so print nothing that differs between two plain runs: no pids, ports,
 * addresses, times or counts of partial results.
 */
#ifndef REMORA_HOST_H
#define REMORA_HOST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

UNUSED __attribute__((noreturn)) static void die(const char *what, int line)
{
	dprintf(2, "line %d: %s: %s\n", line, what, strerror(errno));
	_exit(99);
}

/* The value of x, which must not be negative. */
#define MUST(x)                  \
	({                           \
		long must_r = (long)(x); \
		if (must_r < 0)          \
			die(#x, __LINE__);   \
		must_r;                  \
	})
#define CHECK(x)                      \
	do {                              \
		if (!(x))                     \
			die("not " #x, __LINE__); \
	} while (0)

UNUSED static void put(int fd, const void *p, size_t n)
{
	for (const char *c = p; n;) {
		ssize_t r = write(fd, c, n);
		if (r < 0 && errno == EINTR)
			continue;
		MUST(r);
		c += r, n -= (size_t)r;
	}
}

UNUSED static void puts_fd(int fd, const char *s)
{
	put(fd, s, strlen(s));
}

UNUSED static int listen_at(int *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int l = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(bind(l, (struct sockaddr *)&a, n));
	MUST(listen(l, 128));
	MUST(getsockname(l, (struct sockaddr *)&a, &n));
	*port = ntohs(a.sin_port);
	return l;
}

UNUSED static int connect_to(int port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int s = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), one = 1;
	while (connect(s, (struct sockaddr *)&a, sizeof a) != 0)
		if (errno == EISCONN)
			break;
		else if (errno != EINTR && errno != EALREADY)
			die("connect", __LINE__);
	MUST(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
	return s;
}

/* One TCP connection over loopback: p[0] the client's end, p[1] the server's. */
UNUSED static void tcp_pair(int p[2])
{
	int port, l = listen_at(&port), one = 1;
	p[0] = connect_to(port);
	while ((p[1] = accept(l, NULL, NULL)) < 0)
		CHECK(errno == EINTR);
	MUST(setsockopt(p[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
	close(l);
}

/* Reads up to and with the blank line, byte by byte at its end so that nothing of what follows is taken. */
UNUSED static size_t read_head(int fd, char *buf, size_t cap)
{
	size_t n = 0;
	while (n < cap - 1) {
		ssize_t r = read(fd, buf + n, 1);
		if (r < 0 && errno == EINTR)
			continue;
		MUST(r);
		if (r == 0)
			break;
		if (++n >= 4 && !memcmp(buf + n - 4, "\r\n\r\n", 4))
			break;
	}
	buf[n] = 0;
	return n;
}

UNUSED static void read_exactly(int fd, char *buf, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, buf + got, n - got);
		if (r < 0 && errno == EINTR)
			continue;
		CHECK(r != 0);
		got += (size_t)MUST(r);
	}
	buf[n] = 0;
}

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

UNUSED static void request(int fd, const char *path)
{
	char b[512];
	int n = snprintf(b, sizeof b, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	put(fd, b, (size_t)n);
}

/* Reads one request and checks its target; answers unless `body` is NULL. */
UNUSED static void serve(int fd, const char *path)
{
	char b[4096], want[300];
	read_head(fd, b, sizeof b);
	snprintf(want, sizeof want, "GET %s HTTP/1.1\r\n", path);
	CHECK(!strncmp(b, want, strlen(want)));
	puts_fd(fd, ANSWER);
}

UNUSED static void read_answer(int fd)
{
	char b[512];
	read_exactly(fd, b, sizeof ANSWER - 1);
	CHECK(!strcmp(b, ANSWER));
}

/* A whole request and answer over a pair, by one thread: one client and one server span. */
UNUSED static void exchange(const int p[2], const char *path)
{
	request(p[0], path);
	serve(p[1], path);
	read_answer(p[0]);
}

UNUSED static void exchange_new(const char *path)
{
	int p[2];
	tcp_pair(p);
	exchange(p, path);
	close(p[0]);
	close(p[1]);
}

UNUSED static void nonblock(int fd)
{
	MUST(fcntl(fd, F_SETFL, MUST(fcntl(fd, F_GETFL)) | O_NONBLOCK));
}

/* Waits for a child and says how it ended. */
UNUSED static int reap(pid_t pid)
{
	int st;
	while (waitpid(pid, &st, 0) < 0)
		CHECK(errno == EINTR);
	return st;
}

UNUSED static int is(const char *a, const char *b)
{
	return a && strcmp(a, b) == 0;
}

#endif
