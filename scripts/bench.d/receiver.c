/*
 * The cheapest OTLP/HTTP receiver: one thread, epoll, one port per sender. Counts spans by walking the top levels of
 * the protobuf message, answers 200 and keeps nothing.
 * usage: receiver PORTS     prints "listening P1 P2 ..."; GET / on a port answers "posts spans bytes bad" for it
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORTS_MAX 32

struct totals {
	uint64_t posts, spans, bytes, bad;
};

struct conn {
	int fd;
	bool listener;
	bool told_continue;
	struct totals *totals;
	char *buf;
	size_t n, cap;
};

static struct totals totals[PORTS_MAX];
static unsigned ports;

/* ---- protobuf: ResourceSpans = 1, in it ScopeSpans = 2, in it spans = 2 ---- */

static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
	*v = 0;
	for (int shift = 0; shift < 64 && *p < end; shift += 7) {
		uint8_t b = *(*p)++;
		*v |= (uint64_t)(b & 127) << shift;
		if (!(b & 128))
			return true;
	}
	return false;
}

static bool count(const uint8_t *p, const uint8_t *end, int level, uint64_t *spans)
{
	static const unsigned wanted[] = {1, 2, 2};
	while (p < end) {
		uint64_t key, n;
		if (!varint(&p, end, &key))
			return false;
		switch (key & 7) {
		case 0:
			if (!varint(&p, end, &n))
				return false;
			continue;
		case 1: n = 8; break;
		case 5: n = 4; break;
		case 2:
			if (!varint(&p, end, &n))
				return false;
			break;
		default: return false;
		}
		if (n > (uint64_t)(end - p))
			return false;
		if ((key & 7) == 2 && key >> 3 == wanted[level]) {
			if (level == 2)
				++*spans;
			else if (!count(p, p + n, level + 1, spans))
				return false;
		}
		p += n;
	}
	return true;
}

/* ---- HTTP ---- */

static const char *field(const char *head, size_t n, const char *name)
{
	size_t k = strlen(name);
	for (const char *p = head, *end = head + n; (p = memchr(p, '\n', (size_t)(end - p))) != NULL;) {
		p++;
		if ((size_t)(end - p) > k && strncasecmp(p, name, k) == 0 && p[k] == ':') {
			for (p += k + 1; *p == ' '; p++)
				;
			return p;
		}
	}
	return NULL;
}

/* Takes the chunk framing out, in place. Bytes consumed; 0: not all there; *body_n: what is left. */
static size_t dechunk(char *body, size_t n, size_t *body_n)
{
	size_t at = 0, out = 0;
	for (int pass = 0; pass < 2; pass++) { /* look whether it is whole before anything is moved */
		at = out = 0;
		for (;;) {
			char *nl = memchr(body + at, '\n', n - at);
			if (!nl)
				return 0;
			size_t k = strtoul(body + at, NULL, 16), from = (size_t)(nl - body) + 1;
			if (n - from < k + 2)
				return 0;
			if (pass)
				memmove(body + out, body + from, k);
			out += k;
			at = from + k + 2;
			if (!k)
				break;
		}
	}
	*body_n = out;
	return at;
}

static void answer(struct conn *c, const char *status, const char *body)
{
	char text[512];
	int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", status,
	                 *body ? "text/plain" : "application/x-protobuf", strlen(body), body);
	if (write(c->fd, text, (size_t)n) != n)
		c->totals->bad++;
}

/* One request out of the buffer; false: not all there. */
static bool serve(struct conn *c)
{
	char *end = memmem(c->buf, c->n, "\r\n\r\n", 4);
	if (!end)
		return false;
	size_t head = (size_t)(end - c->buf) + 4, body_n = 0, used;
	const char *length = field(c->buf, head, "content-length"), *te = field(c->buf, head, "transfer-encoding");
	if (te && strncasecmp(te, "chunked", 7) == 0) {
		used = dechunk(c->buf + head, c->n - head, &body_n);
	} else {
		body_n = length ? strtoul(length, NULL, 10) : 0;
		used = c->n - head >= body_n ? body_n : 0;
	}
	if (!used && (te || body_n)) {
		const char *expect = field(c->buf, head, "expect");
		if (expect && !c->told_continue && strncasecmp(expect, "100-continue", 12) == 0) {
			c->told_continue = true;
			if (write(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25) != 25)
				c->totals->bad++;
		}
		return false;
	}
	c->told_continue = false;
	if (memcmp(c->buf, "GET ", 4) == 0) {
		char text[128];
		snprintf(text, sizeof text, "%llu %llu %llu %llu\n", (unsigned long long)c->totals->posts,
		         (unsigned long long)c->totals->spans, (unsigned long long)c->totals->bytes,
		         (unsigned long long)c->totals->bad);
		answer(c, "200 OK", text);
	} else {
		const uint8_t *body = (uint8_t *)c->buf + head;
		c->totals->posts++;
		c->totals->bytes += body_n;
		if (memmem(c->buf, head, "/v1/traces", 10) && !count(body, body + body_n, 0, &c->totals->spans))
			c->totals->bad++;
		answer(c, "200 OK", "");
	}
	c->n -= head + used;
	memmove(c->buf, c->buf + head + used, c->n);
	return true;
}

static void drop(struct conn *c)
{
	close(c->fd);
	free(c->buf);
	free(c);
}

static void readable(struct conn *c)
{
	for (;;) {
		if (c->cap - c->n < 65536) {
			c->cap = c->cap * 2 + (1 << 18);
			c->buf = realloc(c->buf, c->cap + 1);
			if (!c->buf)
				abort();
		}
		ssize_t r = recv(c->fd, c->buf + c->n, c->cap - c->n, MSG_DONTWAIT);
		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (r <= 0) {
			drop(c);
			return;
		}
		bool all = (size_t)r < c->cap - c->n;
		c->n += (size_t)r;
		c->buf[c->n] = 0;
		while (c->n && serve(c))
			;
		if (all)
			return;
	}
}

static void stop(int sig)
{
	(void)sig;
	for (unsigned i = 0; i < ports; i++)
		dprintf(1, "port %u: %llu posts, %llu spans, %llu bytes, %llu bad\n", i, (unsigned long long)totals[i].posts,
		        (unsigned long long)totals[i].spans, (unsigned long long)totals[i].bytes,
		        (unsigned long long)totals[i].bad);
	_exit(0);
}

static void watch(int ep, int fd, bool listener, struct totals *t)
{
	struct conn *c = calloc(1, sizeof *c);
	if (!c)
		abort();
	c->fd = fd;
	c->listener = listener;
	c->totals = t;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv)
{
	int ep = epoll_create1(0);
	ports = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	if (ports < 1 || ports > PORTS_MAX || ep < 0)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, stop);
	printf("listening");
	for (unsigned i = 0; i < ports; i++) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t n = sizeof a;
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(fd, (struct sockaddr *)&a, n) || listen(fd, 128) || getsockname(fd, (struct sockaddr *)&a, &n))
			return 1;
		printf(" %d", ntohs(a.sin_port));
		watch(ep, fd, true, &totals[i]);
	}
	printf("\n");
	fflush(stdout);
	for (;;) {
		struct epoll_event e[64];
		int n = epoll_wait(ep, e, 64, -1);
		for (int i = 0; i < n; i++) {
			struct conn *c = e[i].data.ptr;
			if (c->listener)
				watch(ep, accept(c->fd, NULL, NULL), false, c->totals);
			else
				readable(c);
		}
	}
}
