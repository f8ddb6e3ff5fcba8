/*
 * A client whose bytes the peer (tests/harm) records: wire PORT MODE HOW COUNT. Every number printed is one that the
 * program can rely on: results that add up to its own bytes.
 *	stream	non-blocking, tiny send buffer, pipelined, partial writes and EAGAIN
 *	edge	the same, with edge-triggered epoll
 *	timeo	blocking with SO_SNDTIMEO
 *	split	every request cut at every byte, by one writev and by two calls
 *	iovs	1 to 24 iovecs, empty ones among them
 */
#include "host.h"

static const char *how;
static uint32_t seed[2] = {1, 1};

static uint32_t draw(uint32_t n, int which)
{
	seed[which] = seed[which] * 1664525 + 1013904223;
	return (seed[which] >> 8) % n;
}
#define rnd(n) draw(n, 0) /* what is sent: the same in every run */
#define cut(n) draw(n, 1) /* in which pieces: as the kernel has it */

static ssize_t out(int fd, const char *p, size_t n, int flags)
{
	struct iovec v[3] = {{(void *)p, n / 3}, {(void *)p, 0}, {(void *)(p + n / 3), n - n / 3}};
	union {
		char b[CMSG_SPACE(4)];
		struct cmsghdr h;
	} c = {.h = {.cmsg_len = CMSG_LEN(4), .cmsg_level = SOL_SOCKET, .cmsg_type = SO_TIMESTAMPING}};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = v, .msg_iovlen = 3}};
	if (is(how, "write"))
		return write(fd, p, n);
	if (is(how, "send"))
		return send(fd, p, n, MSG_NOSIGNAL | flags);
	if (is(how, "sendto"))
		return sendto(fd, p, n, MSG_NOSIGNAL | flags, NULL, 0);
	if (is(how, "writev"))
		return writev(fd, v, 3);
	if (is(how, "sendmmsg")) {
		int r = sendmmsg(fd, &m, 1, MSG_NOSIGNAL | flags);
		return r == 1 ? (ssize_t)m.msg_len : r;
	}
	if (is(how, "control"))
		m.msg_hdr.msg_control = c.b, m.msg_hdr.msg_controllen = sizeof c.b;
	return sendmsg(fd, &m.msg_hdr, MSG_NOSIGNAL | flags);
}

/* A request whose size, method and body vary; some bodies look like requests. */
static size_t make(char *b, int i)
{
	size_t n = (size_t)sprintf(b, "%s /%d/", i % 3 ? "GET" : "POST", i);
	for (uint32_t k = rnd(40); k; k--)
		b[n++] = 'p';
	n += (size_t)sprintf(b + n, " HTTP/1.1\r\nHost: x\r\n");
	for (uint32_t k = rnd(4); k; k--)
		n += (size_t)sprintf(b + n, "X-Filler-%u: %0*d\r\n", k, (int)rnd(700) + 1, 7);
	if (i % 3 == 0) {
		int fill = (int)rnd(3000) + 1;
		n += (size_t)sprintf(b + n, "Content-Length: %d\r\n\r\nGET / HTTP/1.1\r\nHost: y\r\n\r\n%0*d", 27 + fill, fill, 0);
	} else {
		n += (size_t)sprintf(b + n, "\r\n");
	}
	return n;
}

static void drain(int fd, long *answers)
{
	char b[4096];
	for (ssize_t r; (r = recv(fd, b, sizeof b, MSG_DONTWAIT)) > 0;)
		*answers += r;
}

static void stream(int fd, int count, int edge, int timeo)
{
	static char b[16384];
	long total = 0, answers = 0, again = 0, partial = 0;
	int ep = -1;
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	if (edge) {
		ep = (int)MUST(epoll_create1(EPOLL_CLOEXEC));
		MUST(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	}
	for (int i = 0; i < count; i++) {
		size_t n = make(b, i), off = 0;
		while (off < n) {
			/* now and then a piece only, cut anywhere but in the request line */
			size_t head = (size_t)(strstr(b, "\r\n\r\n") - b) + 4, want = n - off;
			if (cut(4) == 0 && off >= head)
				want = 1 + cut((uint32_t)want);
			ssize_t r = out(fd, b + off, want, 0);
			if (r < 0 && errno == EAGAIN) {
				again++;
				drain(fd, &answers);
				if (edge)
					MUST(epoll_wait(ep, &ev, 1, 10000));
				else if (!timeo)
					CHECK(poll(&(struct pollfd){.fd = fd, .events = POLLIN | POLLOUT}, 1, 10000) == 1);
				continue;
			}
			CHECK(r > 0 && (size_t)r <= want);
			partial += (size_t)r < want;
			off += (size_t)r, total += r;
		}
		drain(fd, &answers);
	}
	MUST(shutdown(fd, SHUT_WR));
	MUST(fcntl(fd, F_SETFL, 0));
	char last[4096];
	for (ssize_t r; (r = recv(fd, last, sizeof last, 0)) != 0;)
		answers += MUST(r);
	printf("%ld bytes sent, %ld answered\n", total, answers);
	if (getenv("WIRE_DEBUG"))
		fprintf(stderr, "%ld partial, %ld EAGAIN\n", partial, again);
	/* the run is worthless if the buffer never was full */
	CHECK(again + partial > count / 100);
}

static void split(int fd)
{
	char b[300];
	int n = sprintf(b, "GET /split HTTP/1.1\r\nHost: x\r\nX-Y: z\r\n\r\n");
	for (int mode = 0; mode < 2; mode++)
		for (int i = 0; i <= n; i++) {
			struct iovec v[2] = {{b, (size_t)i}, {b + i, (size_t)(n - i)}};
			if (mode == 0) {
				CHECK(writev(fd, v, 2) == n);
			} else {
				CHECK(i == 0 || out(fd, b, (size_t)i, MSG_MORE) == i);
				CHECK(i == n || out(fd, b + i, (size_t)(n - i), 0) == n - i);
			}
			read_answer(fd);
		}
	for (int i = 0; i < n; i++)
		CHECK(out(fd, b + i, 1, 0) == 1);
	read_answer(fd);
	printf("split\n");
}

static void iovs(int fd, int count)
{
	static char b[16384];
	for (int i = 0; i < count; i++) {
		size_t n = make(b, i), off = 0;
		struct iovec v[24];
		int k = 1 + i % 24;
		for (int j = 0; j < k; j++) {
			size_t len = j == k - 1 ? n - off : rnd(3) == 0 ? 0
			                                                : 1 + rnd((uint32_t)(off + 24 < n ? 24 : 1));
			len = len < n - off ? len : n - off;
			v[j] = (struct iovec){len || rnd(2) ? b + off : NULL, len};
			off += len;
		}
		struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)k};
		struct iovec copy[24];
		memcpy(copy, v, sizeof v);
		ssize_t r = is(how, "writev") ? writev(fd, v, k) : sendmsg(fd, &m, i % 2 ? MSG_NOSIGNAL : 0);
		CHECK(r == (ssize_t)n);
		CHECK(!memcmp(copy, v, (size_t)k * sizeof *v)); /* the caller's array is the caller's */
		read_answer(fd);
	}
	printf("iovs %d\n", count);
}

int main(int argc, char **argv)
{
	CHECK(argc == 5);
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	const char *mode = argv[2];
	int count = atoi(argv[4]), fd = connect_to(atoi(argv[1])), small = 1;
	how = argv[3];
	if (is(mode, "stream") || is(mode, "edge") || is(mode, "timeo")) {
		MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
		struct timeval tv = {0, 1000};
		if (is(mode, "timeo"))
			MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
		else
			nonblock(fd);
		stream(fd, count, is(mode, "edge"), is(mode, "timeo"));
	} else if (is(mode, "split")) {
		split(fd);
	} else {
		iovs(fd, count);
	}
	close(fd);
	return 0;
}
