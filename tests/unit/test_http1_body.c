/* Where bodies end: which framing a head gives, and the framing itself cut at every byte. */
#include "http1_sample.h"

static struct http1_body request_body(const char *head)
{
	struct http1_head h;
	struct http1_body b;
	OK(http1_parse_request(head, strlen(head), 0, &h) > 0);
	http1_body_of_request(&b, &h);
	return b;
}

static struct http1_body response_body(const char *head, uint8_t method)
{
	struct http1_head h;
	struct http1_body b;
	OK(http1_parse_response(head, strlen(head), 0, &h) > 0);
	http1_body_of_response(&b, &h, method);
	return b;
}

TEST(framing_of_requests)
{
	static const struct {
		const char *head;
		int kind;
		bool done;
	} rows[] = {
		{"GET / HTTP/1.1\r\n\r\n", HTTP1_BODY_NONE, true},
		{"POST / HTTP/1.1\r\n\r\n", HTTP1_BODY_NONE, true},
		{"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", HTTP1_BODY_LENGTH, true},
		{"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", HTTP1_BODY_LENGTH, false},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", HTTP1_BODY_CHUNKED, false},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", HTTP1_BODY_CLOSE, false},
		{"CONNECT a:1 HTTP/1.1\r\n\r\n", HTTP1_BODY_NONE, true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", unit_show(rows[i].head, strlen(rows[i].head)));
		struct http1_body b = request_body(rows[i].head);
		EQ_INT(b.kind, rows[i].kind);
		EQ_INT(b.done, rows[i].done);
		EQ_INT(b.size, 0);
	}
}

TEST(framing_of_responses)
{
#define LEN3 "Content-Length: 3\r\n\r\n"
	static const struct {
		const char *head;
		uint8_t method;
		int kind;
		bool done;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\n" LEN3, HTTP1_GET, HTTP1_BODY_LENGTH, false},
		{"HTTP/1.1 200 OK\r\n" LEN3, HTTP1_HEAD, HTTP1_BODY_NONE, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP1_HEAD, HTTP1_BODY_NONE, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" LEN3, HTTP1_POST, HTTP1_BODY_CHUNKED, false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n" LEN3, HTTP1_GET, HTTP1_BODY_CLOSE, false},
		{"HTTP/1.1 200 OK\r\n\r\n", HTTP1_GET, HTTP1_BODY_CLOSE, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HTTP1_GET, HTTP1_BODY_LENGTH, true},
		{"HTTP/1.1 204 No Content\r\n" LEN3, HTTP1_GET, HTTP1_BODY_NONE, true},
		{"HTTP/1.1 304 Not Modified\r\n" LEN3, HTTP1_GET, HTTP1_BODY_NONE, true},
		{"HTTP/1.1 100 Continue\r\n\r\n", HTTP1_POST, HTTP1_BODY_NONE, true},
		{"HTTP/1.1 103 Early Hints\r\n\r\n", HTTP1_GET, HTTP1_BODY_NONE, true},
		{"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", HTTP1_GET, HTTP1_BODY_TUNNEL, false},
		{"HTTP/1.1 200 OK\r\n\r\n", HTTP1_CONNECT, HTTP1_BODY_TUNNEL, false},
		{"HTTP/1.1 299 OK\r\n" LEN3, HTTP1_CONNECT, HTTP1_BODY_TUNNEL, false},
		{"HTTP/1.1 407 No\r\n" LEN3, HTTP1_CONNECT, HTTP1_BODY_LENGTH, false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%d %s", rows[i].method, unit_show(rows[i].head, strlen(rows[i].head)));
		struct http1_body b = response_body(rows[i].head, rows[i].method);
		EQ_INT(b.kind, rows[i].kind);
		EQ_INT(b.done, rows[i].done);
	}
}

/* Feeds data[0..n) in pieces, each placed against an unreadable page. Bytes consumed in all, or PROTO_BAD. */
static ssize_t feed(struct http1_body *b, const char *data, size_t n, const size_t *cuts, size_t n_cuts)
{
	static struct unit_guarded g;
	static size_t room;
	if (!room) {
		room = 1 << 16;
		g = unit_at_end(NULL, room);
	}
	size_t from = 0, used = 0;
	for (size_t i = 0; i <= n_cuts; i++) {
		size_t to = i < n_cuts ? cuts[i] : n, len = to - from;
		char *p = g.p + room - len;
		memcpy(p, data + from, len);
		bool was_done = b->done;
		ssize_t r = http1_body_feed(b, p, len);
		if (r < 0)
			return r;
		OK((size_t)r <= len);
		if (was_done)
			EQ_INT(r, 0);
		if ((size_t)r < len)
			OK(b->done);
		used += (size_t)r;
		from = to;
	}
	return (ssize_t)used;
}

/* Whole, every cut in two, byte by byte: the same. */
static void check_feed(struct http1_body start, const char *data, size_t n, ssize_t used, uint64_t size, bool done)
{
	size_t all[4096];
	for (size_t i = 0; i + 1 < n; i++)
		all[i] = i + 1;
	for (size_t k = 0; k <= n + 1; k++) {
		struct http1_body b = start;
		ssize_t r = k > n ? feed(&b, data, n, all, n ? n - 1 : 0) : feed(&b, data, n, &k, k > 0);
		EQ_INT(r, used);
		if (r >= 0) {
			EQ_INT(b.size, size);
			EQ_INT(b.done, done);
			EQ_INT(http1_body_eof(&b), done || b.kind == HTTP1_BODY_CLOSE || b.kind == HTTP1_BODY_TUNNEL);
		}
	}
}

TEST(chunked_bodies)
{
	static const struct {
		const char *in;
		size_t n;
		long rest; /* bytes of the next message; -1 = incomplete; -2 = broken */
		unsigned size;
	} rows[] = {
		{S("0\r\n\r\n"), 0, 0},
		{S("0\r\n\r\nHTTP/1.1 200 OK\r\n"), 17, 0},
		{S("5\r\nhello\r\n0\r\n\r\n"), 0, 5},
		{S("5\nhello\n0\n\nGET"), 3, 5},
		{S("5\r\nhello\n0\r\n\n"), 0, 5},
		{S("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), 0, 20},
		{S("0000000b\r\n0123456789a\r\n00\r\n\r\n"), 0, 11},
		{S("10\r\nHTTP/1.1 200 OK!\r\n0\r\n\r\nx"), 1, 16}, /* payload that looks like a head */
		{S("3;name=value;q=\"a\\\"b;\"\r\nabc\r\n0;x\r\n\r\n"), 0, 3},
		{S("3 ; x\r\nabc\r\n0 \t\r\n\r\n"), 0, 3},
		{S("0\r\nTrailer: x\r\nOther: y\r\n\r\nHTTP"), 4, 0},
		{S("0\nT: x\n\n"), 0, 0},
		{S("0\r\nT: \r x\r\n\r\n"), 0, 0},
		{S("5\r\nhel"), -1, 3},
		{S("5\r\nhello"), -1, 5},
		{S("5\r\nhello\r\n0\r\n"), -1, 5},
		{S("0\r\nT: x\r\n"), -1, 0},
		{S("\r\n"), -2, 0},
		{S("x\r\n"), -2, 0},
		{S(" 5\r\nhello\r\n"), -2, 0},
		{S("-1\r\n"), -2, 0},
		{S("0x5\r\nhello\r\n"), -2, 0},
		{S(";ext\r\n"), -2, 0},
		{S("5\rhello\r\n"), -2, 0},
		{S("5;a\rb\r\n"), -2, 0},
		{S("5;a\0\r\n"), -2, 0},
		{S("5\r\nhelloo\r\n"), -2, 0},
		{S("5\r\nhello\r0\r\n"), -2, 0},
		{S("5\r\nhello0\r\n\r\n"), -2, 0},
		{S("0\r\n\rX"), -2, 0},
		{S("0\r\nT\0: x\r\n\r\n"), -2, 0},
		{S("0\r\n\0\r\n"), -2, 0},
		{S("ffffffffffffffff\r\n"), -2, 0},
		{S("8000000000000000\r\n"), -2, 0},
		{S("10000000000000000\r\n"), -2, 0},
		{S("7fffffffffffffff\r\n"), -1, 0},
	};
	struct http1_body start = request_body("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("row %zu %s", i, unit_show(rows[i].in, rows[i].n));
		long rest = rows[i].rest;
		check_feed(start, rows[i].in, rows[i].n, rest == -2 ? PROTO_BAD : (ssize_t)rows[i].n - (rest > 0 ? rest : 0),
		           rows[i].size, rest >= 0);
	}
}

TEST(length_bodies)
{
	check_feed(request_body("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"), S("abcdGET /"), 4, 4, true);
	check_feed(request_body("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"), S("ab"), 2, 2, false);
	check_feed(request_body("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), S("GET /"), 0, 0, true);
	check_feed(request_body("GET / HTTP/1.1\r\n\r\n"), S("GET /"), 0, 0, true);
}

TEST(bodies_until_close)
{
	check_feed(response_body("HTTP/1.1 200 OK\r\n\r\n", HTTP1_GET), S("abc\0HTTP/1.1 200 OK\r\n"), 21, 21, false);
	check_feed(response_body("HTTP/1.1 101 S\r\n\r\n", HTTP1_GET), S("abc"), 3, 3, false);
}

/* What sendfile sends nobody sees: it may fill a chunk, but not cross its framing. */
TEST(skipping_bytes_nobody_saw)
{
	struct http1_body b = request_body("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n");
	EQ_INT(http1_body_skip(&b, 4), 4);
	EQ_INT(http1_body_feed(&b, "abc", 3), 3);
	EQ_INT(http1_body_skip(&b, 5), 3);
	OK(b.done);
	EQ_INT(b.size, 10);
	EQ_INT(http1_body_skip(&b, 5), 0);

	struct http1_body start = response_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP1_GET);
	b = start;
	EQ_INT(http1_body_skip(&b, 1), PROTO_BAD);
	b = start;
	EQ_INT(http1_body_feed(&b, "5\r\n", 3), 3);
	EQ_INT(http1_body_skip(&b, 0), 0);
	EQ_INT(http1_body_skip(&b, 2), 2);
	struct http1_body over = b;
	EQ_INT(http1_body_skip(&over, 4), PROTO_BAD);
	EQ_INT(http1_body_skip(&b, 3), 3);
	over = b;
	EQ_INT(http1_body_skip(&over, 1), PROTO_BAD);
	EQ_INT(http1_body_feed(&b, "\r\n0\r\n\r\nX", 8), 7);
	OK(b.done);
	EQ_INT(b.size, 5);

	b = response_body("HTTP/1.1 200 OK\r\n\r\n", HTTP1_GET);
	EQ_INT(http1_body_skip(&b, 1ull << 40), 1ll << 40);
	EQ_INT(b.size, 1ll << 40);
}

/* Endless size lines and trailers are given up. */
TEST(framing_is_bounded)
{
	static char big[70000];
	struct http1_body start = request_body("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), b = start;
	memset(big, '0', sizeof big);
	EQ_INT(http1_body_feed(&b, big, sizeof big), PROTO_BAD);
	b = start;
	memcpy(big, "5;", 2);
	EQ_INT(http1_body_feed(&b, big, sizeof big), PROTO_BAD);
	b = start;
	memcpy(big, "0\r\n", 3);
	EQ_INT(http1_body_feed(&b, big, sizeof big), PROTO_BAD);
	for (size_t i = 3; i + 2 < sizeof big; i += 3)
		memcpy(big + i, "a:\n", 3);
	b = start;
	EQ_INT(http1_body_feed(&b, big, sizeof big), PROTO_BAD);
	b = start; /* near the bound */
	EQ_INT(http1_body_feed(&b, big, 65000), 65000);
	OK(!b.done);
	/* The bound is per size line, not for the message. */
	b = start;
	for (int i = 0; i < 20000; i++)
		EQ_INT(http1_body_feed(&b, "1;x\r\na\r\n", 8), 8);
	EQ_INT(b.size, 20000);
}

/* Five pipelined requests in one buffer are five messages. */
TEST(pipelined_messages)
{
	static const char in[] = "GET /1 HTTP/1.1\r\n\r\n"
							 "POST /2 HTTP/1.1\r\nContent-Length: 14\r\n\r\nGET / HTTP/1.1"
							 "POST /3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nHTTP/1.1\r\n0\r\n\r\n"
							 "HEAD /4 HTTP/1.1\r\n\r\n"
							 "GET /5 HTTP/1.1\n\n";
	const char *p = in, *end = in + sizeof in - 1;
	char targets[32] = "";
	while (p < end) {
		struct http1_head h;
		struct http1_body b;
		ssize_t n = http1_parse_request(p, (size_t)(end - p), 0, &h);
		OK(n > 0);
		p += n;
		say(targets, sizeof targets, "%.*s ", (int)h.target.n, h.target.p);
		http1_body_of_request(&b, &h);
		n = http1_body_feed(&b, p, (size_t)(end - p));
		OK(n >= 0 && b.done);
		p += n;
	}
	EQ_STR(targets, "/1 /2 /3 /4 /5 ");
}
