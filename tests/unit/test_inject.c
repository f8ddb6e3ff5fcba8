/* Headers put into outgoing requests. The kernel is played: it takes as many bytes as the test says. */
#include "conn_sample.h"

#define OK2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define TP "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define ALL (PROP_TRACECONTEXT | PROP_BAGGAGE | PROP_B3 | PROP_B3MULTI | PROP_XRAY)

static struct {
	char b[1 << 18];
	size_t n;
	unsigned edits;
} wire;

/* A write of which the kernel takes at most `most` bytes; 0: EAGAIN. */
static ssize_t write_some(int fd, const struct iovec *v, int count, size_t most, int *err, int flags)
{
	struct tx t;
	bool edit = inject_begin(&t, fd, v, count, NULL, flags);
	const struct iovec *out = edit ? t.msg.msg_iov : v;
	size_t n = edit ? t.msg.msg_iovlen : (size_t)count, taken = 0;
	wire.edits += edit;
	for (size_t i = 0; i < n && taken < most; i++) {
		size_t k = out[i].iov_len < most - taken ? out[i].iov_len : most - taken;
		OK(wire.n + k <= sizeof wire.b);
		if (k)
			memcpy(wire.b + wire.n, out[i].iov_base, k);
		wire.n += k;
		taken += k;
	}
	*err = most ? 0 : EAGAIN;
	return inject_end(&t, fd, most ? (ssize_t)taken : -1, err, flags);
}

/* Cuts n bytes into `count` pieces, empty ones among them. */
static int cut(struct iovec *v, const char *p, size_t n, int count)
{
	size_t at = 0;
	for (int i = 0; i < count; i++) {
		size_t k = i + 1 == count ? n - at : count > 2 && i == 0 ? 0
		                                                         : (n - at) / (size_t)(count - i);
		v[i] = (struct iovec){(void *)(uintptr_t)(p + at), k};
		at += k;
	}
	return count;
}

/* The host writes all of p in `count` pieces: the kernel takes `first`, then `then` at a time, each EAGAIN once. */
static void write_all(int fd, const char *p, size_t n, int count, size_t first, size_t then, bool again)
{
	struct iovec v[128];
	size_t at = 0, most = first, turns = 0;
	int err;
	while (at < n) {
		int k = cut(v, p + at, n - at, (size_t)count < n - at ? count : 1);
		if (again && turns % 2)
			EQ_INT(write_some(fd, v, k, 0, &err, MSG_DONTWAIT), -1);
		ssize_t r = write_some(fd, v, k, most, &err, MSG_DONTWAIT);
		if (r < 0) {
			EQ_INT(r, -1);
			EQ_INT(err, EAGAIN);
		} else {
			OK(r > 0 && (size_t)r <= n - at);
			at += (size_t)r;
		}
		most = then;
		OK(turns++ < 200000);
	}
}

static int peer = -1;

static int begin(void)
{
	int fd[2];
	if (peer >= 0)
		close(peer);
	sample_pair(fd);
	peer = fd[1];
	sample_connected(fd[0]);
	wire.n = wire.edits = 0;
	return fd[0];
}

static void finish(int fd)
{
	char in[1024];
	sample_close(fd);
	snprintf(in, sizeof in, "%s", sample_told());
	sample_clean();
}

/* The lines that were put behind the first one. */
static const char *inserted(const char *host, size_t n)
{
	static char lines[16384];
	const char *nl = memchr(host, '\n', n);
	OK(nl && wire.n >= n);
	size_t at = (size_t)(nl - host) + 1, k = wire.n - n;
	EQ_MEM(wire.b, at, host, at);
	EQ_MEM(wire.b + at + k, n - at, host + at, n - at);
	OK(k < sizeof lines);
	memcpy(lines, wire.b + at, k);
	lines[k] = 0;
	OK(k == 0 || lines[k - 1] == '\n');
	return lines;
}

static bool has(const char *lines, const char *name)
{
	char find[64];
	snprintf(find, sizeof find, "\n%s: ", name);
	return strncmp(lines, find + 1, strlen(find) - 1) == 0 || strstr(lines, find);
}

#define HEAD "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

TEST(every_set_of_propagators)
{
	sample_begin();
	for (unsigned set = 0; set < 32; set++) {
		unit_case("set %u", set);
		config.propagators = set;
		config.baggage = SLICE("k=v");
		int fd = begin();
		write_all(fd, HEAD, strlen(HEAD), 1, SIZE_MAX, SIZE_MAX, false);
		const char *x = inserted(HEAD, strlen(HEAD));
		EQ_INT(has(x, "traceparent"), (set & PROP_TRACECONTEXT) != 0);
		EQ_INT(has(x, "baggage"), (set & PROP_BAGGAGE) != 0);
		EQ_INT(has(x, "b3"), (set & PROP_B3) != 0);
		EQ_INT(has(x, "X-B3-TraceId"), (set & PROP_B3MULTI) != 0);
		EQ_INT(has(x, "X-B3-SpanId"), (set & PROP_B3MULTI) != 0);
		EQ_INT(has(x, "X-Amzn-Trace-Id"), (set & PROP_XRAY) != 0);
		OK(!has(x, "tracestate"));
		rxs(fd, OK2);
		/* What is told is what was sent. */
		struct sample s;
		EQ_INT(sample_take(&s, 1), 1);
		char hex[33] = "";
		hex_encode(s.rec.trace_id, 16, hex);
		if (set & (PROP_TRACECONTEXT | PROP_B3 | PROP_B3MULTI))
			OK(strstr(x, hex));
		hex[16] = 0;
		hex_encode(s.rec.span_id, 8, hex);
		if (set & ~(unsigned)PROP_BAGGAGE)
			OK(strstr(x, hex));
		finish(fd);
	}
	config.propagators = 0;
	config.baggage = (struct slice){0};
}

TEST(lf_stays_lf)
{
	sample_begin();
	config.propagators = ALL;
	int fd = begin();
	static const char h[] = "GET /a HTTP/1.1\nHost: h\n\n";
	write_all(fd, h, sizeof h - 1, 1, SIZE_MAX, SIZE_MAX, false);
	OK(has(inserted(h, sizeof h - 1), "traceparent") && !memchr(wire.b, '\r', wire.n));
	finish(fd);
}

TEST(left_alone)
{
	static const char *const rows[] = {
		"get / HTTP/1.1\r\n\r\n",
		"\r\nGET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\n",
		"GET / HTTP/1.1",
		"hello\r\n\r\n",
		"GETX",
		"GET / HTTP/2.0\r\n\r\n",
		"GET / HTTP/1.1\r\ntraceparent: " TP "\r\ntraceparent: " TP "\r\n\r\n",
		"GET / HTTP/1.1\r\ntraceparent: nonsense\r\n\r\n",
		"GET / HTTP/1.1\r\ntraceparent: " TP "\r\nAuthorization: AWS4-HMAC-SHA256 SignedHeaders=host;traceparent, Signature=0\r\n\r\n",
	};
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i]);
		int fd = begin();
		write_all(fd, rows[i], strlen(rows[i]), 1, SIZE_MAX, SIZE_MAX, false);
		EQ_INT(wire.edits, 0);
		EQ_MEM(wire.b, wire.n, rows[i], strlen(rows[i]));
		finish(fd);
	}
}

/* In the middle of a message nothing is a head, and a server's writes are not requests. */
TEST(only_where_a_request_begins)
{
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	int fd = begin();
	static const char post[] = "POST /a HTTP/1.1\r\nContent-Length: 28\r\n\r\n";
	write_all(fd, post, sizeof post - 1, 1, SIZE_MAX, SIZE_MAX, false);
	EQ_INT(wire.edits, 1);
	wire.edits = 0;
	size_t before = wire.n;
	write_all(fd, HEAD, strlen(HEAD), 1, SIZE_MAX, SIZE_MAX, false);
	EQ_INT(wire.edits, 0);
	EQ_MEM(wire.b + before, wire.n - before, HEAD, strlen(HEAD));
	finish(fd);

	fd = begin(); /* in two writes */
	write_all(fd, "GET /a HTTP/1.1\r\n", 17, 1, SIZE_MAX, SIZE_MAX, false);
	write_all(fd, "Host: h\r\n\r\n", 11, 1, SIZE_MAX, SIZE_MAX, false);
	EQ_INT(wire.edits, 0);
	EQ_INT(counted(COUNT_NOT_INJECTED), 1);
	finish(fd);

	fd = begin(); /* after an upgrade */
	write_all(fd, "CONNECT h:1 HTTP/1.1\r\n\r\n", 24, 1, SIZE_MAX, SIZE_MAX, false);
	wire.edits = 0;
	rxs(fd, "HTTP/1.1 200 OK\r\n\r\n");
	write_all(fd, HEAD, strlen(HEAD), 1, SIZE_MAX, SIZE_MAX, false);
	EQ_INT(wire.edits, 0);
	finish(fd);

	int pair[2];
	sample_pair(pair);
	on_accept(pair[0], NULL, 0);
	OK(!tx_is_client(pair[0]));
	write_all(pair[0], HEAD, strlen(HEAD), 1, SIZE_MAX, SIZE_MAX, false);
	EQ_INT(wire.edits, 0);
	finish(pair[0]);
}

TEST(flags_that_forbid_it)
{
	static const int flags[] = {MSG_OOB, MSG_ZEROCOPY, MSG_FASTOPEN};
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	for (size_t i = 0; i < 3; i++) {
		int fd = begin(), err;
		struct iovec v = {HEAD, strlen(HEAD)};
		EQ_INT(write_some(fd, &v, 1, SIZE_MAX, &err, flags[i]), (ssize_t)strlen(HEAD));
		EQ_INT(wire.edits, 0);
		finish(fd);
	}
}

TEST(another_socket_under_the_number)
{
	int other[2];
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	int fd = begin();
	EQ_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
	dup2(other[0], fd); /* unseen */
	write_all(fd, HEAD, strlen(HEAD), 1, SIZE_MAX, SIZE_MAX, false);
	EQ_INT(wire.edits, 0);
	EQ_INT(counted(COUNT_NOT_INJECTED), 1);
	finish(fd);
	/* Half a header of ours is due, half an id: not on this one. */
	static const char own[] = "GET / HTTP/1.1\r\ntraceparent: " TP "\r\n\r\n";
	static const char *const heads[] = {HEAD, own};
	static const size_t cuts[] = {30, 70};
	for (int i = 0; i < 2; i++) {
		struct iovec v = {(void *)(uintptr_t)heads[i], strlen(heads[i])};
		int err;
		fd = begin();
		ssize_t r = write_some(fd, &v, 1, cuts[i], &err, 0);
		OK(r > 0 && wire.n == cuts[i] && wire.edits == 1);
		dup2(other[0], fd);
		size_t before = wire.n;
		v = (struct iovec){"0123456789012345", 16};
		EQ_INT(write_some(fd, &v, 1, SIZE_MAX, &err, 0), 16);
		EQ_MEM(wire.b + before, wire.n - before, "0123456789012345", 16);
		finish(fd);
	}
}

/* Wherever the kernel stops, in the program's bytes or in ours: the stream is what it should be. */
static void stops_everywhere(const char *host, size_t n, int count, bool replaces)
{
	size_t whole;
	int fd = begin();
	write_all(fd, host, n, count, SIZE_MAX, SIZE_MAX, false);
	whole = wire.n;
	OK(wire.edits == 1 && (replaces ? whole == n : whole > n));
	finish(fd);
	for (size_t first = 1; first <= whole; first++) {
		for (int how = 0; how < 3; how++) {
			static const size_t then[] = {SIZE_MAX, 1, 7};
			unit_case("%d pieces, first %zu, then %zu: %.30s", count, first, then[how], host);
			fd = begin();
			write_all(fd, host, n, count, first, then[how], how != 0);
			rxs(fd, OK2);
			struct sample s;
			EQ_INT(sample_take(&s, 1), 1);
			if (replaces) {
				const char *at = memmem(host, n, TP, 55);
				size_t id = (size_t)(at - host) + 36;
				char hex[16];
				hex_encode(s.rec.span_id, 8, hex);
				EQ_INT(wire.n, n);
				EQ_MEM(wire.b, id, host, id);
				EQ_MEM(wire.b + id, 16, hex, 16);
				EQ_MEM(wire.b + id + 16, n - id - 16, host + id + 16, n - id - 16);
				hex_encode(s.rec.parent_id, 8, hex);
				EQ_MEM(hex, 16, TP + 36, 16);
			} else {
				size_t line = (size_t)((const char *)memchr(host, '\n', n) - host) + 1;
				if (wire.n == n) {
					OK(first < line); /* cut within the request line */
				} else {
					const char *x = inserted(host, n);
					char hex[17] = "";
					hex_encode(s.rec.span_id, 8, hex);
					EQ_INT(wire.n, whole);
					OK(has(x, "traceparent") && strstr(x, hex));
				}
			}
			finish(fd);
		}
	}
}

TEST(partial_writes_insert)
{
	static const char post[] = "POST /path HTTP/1.1\r\nHost: example\r\nContent-Length: 10\r\n\r\n0123456789";
	static const int counts[] = {1, 2, 5, 38};
	sample_begin();
	config.propagators = PROP_TRACECONTEXT | PROP_B3;
	for (size_t i = 0; i < 4; i++)
		stops_everywhere(post, sizeof post - 1, counts[i], false);
}

TEST(partial_writes_replace)
{
	static const char own[] = "GET / HTTP/1.1\r\nHost: h\r\nTraceparent:  " TP " \r\nX: y\r\n\r\n";
	static const int counts[] = {1, 2, 5, 38};
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	for (size_t i = 0; i < 4; i++)
		stops_everywhere(own, sizeof own - 1, counts[i], true);
}

TEST(heads_over_many_pieces)
{
	static char host[] = "GET /some/where/else/to/have/enough/bytes HTTP/1.1\r\nHost: h\r\nAccept: everything that there is\r\n\r\n";
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	for (int count = 1; count <= 60; count++) {
		unit_case("%d pieces", count);
		int fd = begin();
		struct iovec v[64];
		int err;
		int k = cut(v, host, sizeof host - 1, count);
		EQ_INT(write_some(fd, v, k, SIZE_MAX, &err, 0), sizeof host - 1);
		if (count <= TX_IOV - 2) {
			EQ_INT(wire.edits, 1);
			OK(has(inserted(host, sizeof host - 1), "traceparent"));
		} else if (count > TX_IOV + 1) {
			EQ_INT(wire.edits, 0);
			EQ_MEM(wire.b, wire.n, host, sizeof host - 1);
		}
		rxs(fd, OK2);
		EQ_STR(sample_told(), "/some/where/else/to/have/enough/bytes 200 resp=2");
		finish(fd);
	}
	/* The same with ours in arrears. */
	for (int count = 1; count <= 60; count++) {
		unit_case("%d pieces behind a rest", count);
		int fd = begin(), err;
		struct iovec v[64];
		cut(v, host, sizeof host - 1, 1);
		ssize_t r = write_some(fd, v, 1, 60, &err, 0), more;
		OK(r > 0 && r < 60);
		int k = cut(v, host + r, sizeof host - 1 - (size_t)r, count);
		more = write_some(fd, v, k, SIZE_MAX, &err, 0);
		OK(more > 0);
		if ((size_t)(r + more) < sizeof host - 1)
			write_all(fd, host + r + more, sizeof host - 1 - (size_t)(r + more), 1, SIZE_MAX, SIZE_MAX, false);
		OK(has(inserted(host, sizeof host - 1), "traceparent"));
		finish(fd);
	}
	int fd = begin(), err;
	static struct iovec many[2000];
	EQ_INT(write_some(fd, many, 2000, 0, &err, 0), -1); /* EINVAL in truth */
	EQ_INT(write_some(fd, many, -1, 0, &err, 0), -1);
	finish(fd);
}

TEST(what_a_full_socket_says)
{
	int err;
	struct iovec v = {HEAD, strlen(HEAD)}, rest;
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	for (int how = 0; how < 3; how++) {
		int fd = begin();
		if (how == 1)
			fcntl(fd, F_SETFL, O_NONBLOCK);
		ssize_t r = write_some(fd, &v, 1, 20, &err, how == 2 ? MSG_DONTWAIT : 0);
		EQ_INT(r, 17); /* the request line */
		rest = (struct iovec){HEAD + r, strlen(HEAD) - (size_t)r};
		EQ_INT(write_some(fd, &rest, 1, 5, &err, how == 2 ? MSG_DONTWAIT : 0), -1);
		EQ_INT(err, how == 0 ? EINTR : EAGAIN);
		rest.iov_len = 0;
		EQ_INT(write_some(fd, &rest, 1, SIZE_MAX, &err, 0), 0);
		rest.iov_len = strlen(HEAD) - (size_t)r;
		EQ_INT(write_some(fd, &rest, 1, SIZE_MAX, &err, 0), (ssize_t)rest.iov_len);
		OK(has(inserted(HEAD, strlen(HEAD)), "traceparent"));
		finish(fd);
	}
	/* Nothing went out: nothing is remembered. */
	int fd = begin();
	EQ_INT(write_some(fd, &v, 1, 0, &err, 0), -1);
	EQ_INT(err, EAGAIN);
	EQ_STR(sample_told(), "");
	EQ_INT(sample_open_slots(), sample_own_slots);
	write_all(fd, HEAD, strlen(HEAD), 1, SIZE_MAX, SIZE_MAX, false);
	OK(has(inserted(HEAD, strlen(HEAD)), "traceparent"));
	finish(fd);
}

/* The connection turns out to be nothing for us while half of our header is on its way. */
TEST(opaque_with_bytes_due)
{
	int err;
	struct iovec v = {HEAD, strlen(HEAD)};
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	int fd = begin();
	EQ_INT(write_some(fd, &v, 1, 30, &err, 0), 17);
	rxs(fd, "nonsense\r\n"); /* opaque */
	OK(!is_opaque(fd));
	write_all(fd, HEAD + 17, strlen(HEAD) - 17, 1, 9, 9, true);
	OK(has(inserted(HEAD, strlen(HEAD)), "traceparent"));
	struct iovec after = {"x", 1};
	write_some(fd, &after, 1, 1, &err, 0);
	OK(is_opaque(fd));
	finish(fd);
}

TEST(tracestate_and_baggage)
{
	static char state[512], bag[8192];
	sample_begin();
	config.propagators = PROP_TRACECONTEXT | PROP_BAGGAGE;
	memset(state, 'x', sizeof state);
	memcpy(state, "a=", 2);
	memset(bag, 'y', sizeof bag);
	memcpy(bag, "k=", 2);
	traceparent_parse(SLICE(TP), &config.parent);
	for (int i = 0; i < 4; i++) {
		unit_case("%d", i);
		config.tracestate = i & 1 ? (struct slice){state, sizeof state} : SLICE("a=1");
		config.baggage = i & 2 ? (struct slice){bag, sizeof bag} : SLICE("k=v");
		int fd = begin();
		write_all(fd, HEAD, strlen(HEAD), 1, SIZE_MAX, SIZE_MAX, false);
		const char *x = inserted(HEAD, strlen(HEAD));
		OK(has(x, "traceparent") && has(x, "tracestate") && has(x, "baggage"));
		OK(memmem(x, strlen(x), config.baggage.p, config.baggage.n) && memmem(x, strlen(x), config.tracestate.p, config.tracestate.n));
		finish(fd);
		/* The program's own stay alone. */
		static const char own[] = "GET / HTTP/1.1\r\ntracestate: b=2\r\nbaggage: q=r\r\n\r\n";
		fd = begin();
		write_all(fd, own, sizeof own - 1, 1, SIZE_MAX, SIZE_MAX, false);
		x = inserted(own, sizeof own - 1);
		OK(has(x, "traceparent") && !has(x, "tracestate") && !has(x, "baggage"));
		finish(fd);
	}
}

/* Closed by another thread, and the number taken again, while the write was under way. */
TEST(another_connection_at_the_end)
{
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	for (int same = 0; same < 2; same++) {
		int fd = begin(), err = 0;
		struct iovec v = {HEAD, strlen(HEAD)};
		struct tx t;
		OK(inject_begin(&t, fd, &v, 1, NULL, 0));
		on_close(fd);
		if (same)
			on_accept(fd, NULL, 0);                  /* very likely in the same memory */
		EQ_INT(inject_end(&t, fd, 30, &err, 0), 17); /* within our header */
		if (same)
			rxs(fd, "GET /new HTTP/1.1\r\n\r\n");
		if (same)
			txs(fd, OK2);
		EQ_STR(sample_told(), same ? "/new 200 resp=2" : "");
		char c;
		OK(recv(fd, &c, 1, MSG_DONTWAIT) < 0);
		finish(fd);
	}
}

TEST(no_memory_no_header)
{
	enum { N = 20000 };
	static char *small[N], *large[N];
	uint32_t cap;
	int n = 0, m = 0;
	sample_begin();
	config.propagators = PROP_TRACECONTEXT;
	while (n < N && (small[n] = head_buffer(1, &cap)))
		n++;
	while (m < N && (large[m] = head_buffer(5000, &cap)))
		m++;
	OK(n < N && m < N);
	int fd = begin();
	write_all(fd, HEAD, strlen(HEAD), 3, 20, SIZE_MAX, true);
	EQ_INT(wire.edits, 0);
	EQ_MEM(wire.b, wire.n, HEAD, strlen(HEAD));
	finish(fd);
	while (n)
		head_buffer_free(small[--n], 4096);
	fd = begin();
	write_all(fd, HEAD, strlen(HEAD), 1, 20, SIZE_MAX, true);
	OK(has(inserted(HEAD, strlen(HEAD)), "traceparent"));
	finish(fd);
}

/* Over a real socket, in both modes. */
TEST(real_kernel)
{
	sample_begin();
	config.propagators = ALL;
	int fd[2], small = 2304, err;
	for (int round = 0; round < 300; round++) {
		char host[4096], got[65536];
		size_t at = 0, have = 0, line = 17;
		sample_tcp(fd);
		setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
		setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
		conn_set(fd[0], FD_UNKNOWN);
		sample_connected(fd[0]);
		char fill[3000];
		memset(fill, 'x', sizeof fill);
		int n = snprintf(host, sizeof host, "GET /a HTTP/1.1\r\nX: %.*s\r\n\r\n", round * 9, fill);
		while (at < (size_t)n) {
			struct iovec v = {host + at, (size_t)n - at};
			struct tx t;
			ssize_t r = inject_begin(&t, fd[0], &v, 1, NULL, MSG_DONTWAIT) ? sendmsg(fd[0], &t.msg, MSG_DONTWAIT)
			                                                               : send(fd[0], v.iov_base, v.iov_len, MSG_DONTWAIT);
			err = errno;
			r = inject_end(&t, fd[0], r, &err, MSG_DONTWAIT);
			if (r > 0)
				at += (size_t)r;
			else
				EQ_INT(err, EAGAIN);
			ssize_t k = recv(fd[1], got + have, 500, MSG_DONTWAIT);
			have += k > 0 ? (size_t)k : 0;
		}
		shutdown(fd[0], SHUT_WR);
		for (ssize_t k; (k = read(fd[1], got + have, sizeof got - have)) > 0;)
			have += (size_t)k;
		OK(have > (size_t)n);
		EQ_MEM(got, line, host, line);
		EQ_MEM(got + have - (size_t)n + line, (size_t)n - line, host + line, (size_t)n - line);
		finish(fd[0]);
		close(fd[1]);
	}
}

/* Of the memory for heads and headers nothing is lost, however a connection ends. */
TEST(buffers_come_back)
{
	static char *all[8192];
	static char head[6000];
	uint32_t cap;
	unsigned seed = 1, counts[2][2];
	sample_begin();
	config.propagators = ALL;
	snprintf(head, sizeof head, "GET /a HTTP/1.1\r\nX: %05000d\r\n\r\n", 0);
	for (int round = 0; round < 2; round++) {
		for (int size = 0; size < 2; size++) {
			unsigned n = 0;
			while (n < 8192 && (all[n] = head_buffer(size ? 5000 : 1, &cap)))
				n++;
			counts[round][size] = n;
			while (n)
				head_buffer_free(all[--n], cap = size ? HTTP1_HEAD_MAX : 4096);
		}
		for (int i = 0; i < 20000 && round == 0; i++) {
			int fd = begin(), err;
			const char *h = i & 1 ? head : HEAD;
			size_t at = 0, n = strlen(h);
			for (int k = 0; k < 6 && at < n; k++) {
				seed = seed * 1103515245 + 12345;
				struct iovec v = {(void *)(uintptr_t)(h + at), 1 + (seed >> 8) % (n - at)};
				ssize_t r = write_some(fd, &v, 1, (seed >> 16) % 300, &err, MSG_DONTWAIT);
				at += r > 0 ? (size_t)r : 0;
			}
			if (i % 3 == 0)
				rxs(fd, i % 2 ? "HTTP/1.1 200 O" : "nonsense\r\n");
			if (i % 5 == 0)
				on_accept(fd, NULL, 0);
			finish(fd);
		}
	}
	EQ_INT(counts[1][0], counts[0][0]);
	EQ_INT(counts[1][1], counts[0][1]);
}
