/* Response heads that come again: the same as parsed anew, and only for the very same bytes. */
#include "http1_sample.h"
#include "proto/http1_memo.h"

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\n\r\n"

static ssize_t both(struct http1_memo *m, const char *p, size_t n, struct http1_head *h)
{
	struct http1_head want = {0};
	*h = (struct http1_head){0};
	ssize_t r = http1_parse_response(p, n, 0, &want);
	EQ_INT(http1_memo_response(m, p, n, h), r);
	if (r > 0)
		OK(memcmp(h, &want, offsetof(struct http1_head, method_raw)) == 0);
	return r;
}

/* Is it answered from the memo? Told by a memo that says something else of these bytes. */
static bool kept(const struct http1_memo *m, const char *p, size_t n)
{
	struct http1_memo lies = *m;
	struct http1_head h = {.status = 999};
	memcpy(lies.result, &h, sizeof lies.result);
	return http1_memo_response(&lies, p, n, &h) > 0 && h.status == 999;
}

TEST(again)
{
	struct http1_memo m = {0};
	struct http1_head h;
	const size_t n = sizeof HEAD - 1;
	EQ_INT(both(&m, HEAD "hello world\n", n + 12, &h), n);
	OK(kept(&m, HEAD, n));
	EQ_INT(both(&m, HEAD, n, &h), n);
	EQ_INT(both(&m, HEAD "HTTP/1.1 404 N\r\n\r\n", n + 18, &h), n); /* another behind it */
	EQ_INT(h.length, 12);
}

TEST(any_other_byte)
{
	const size_t n = sizeof HEAD - 1;
	for (size_t i = 0; i < n; i++) {
		struct http1_memo m = {0};
		struct http1_head h;
		char other[sizeof HEAD];
		both(&m, HEAD, n, &h);
		memcpy(other, HEAD, sizeof other);
		other[i] ^= 1;
		OK(!kept(&m, other, n));
		both(&m, other, n, &h);
		OK(!kept(&m, HEAD, i)); /* cut */
		both(&m, HEAD, i, &h);
	}
}

/* Every length against pages that cannot be read: a comparison in blocks stays inside. */
TEST(lengths)
{
	char head[HTTP1_MEMO_MAX + 64], fill[HTTP1_MEMO_MAX + 64];
	memset(fill, 'a', sizeof fill);
	for (int k = 0; k < HTTP1_MEMO_MAX + 10; k++) {
		struct http1_memo m = {0};
		struct http1_head h;
		size_t n = (size_t)sprintf(head, "HTTP/1.1 200 OK\r\nA: %.*s\r\n\r\n", k, fill);
		for (int at_end = 0; at_end < 2; at_end++) {
			struct unit_guarded g = unit_guard(head, n, at_end);
			EQ_INT(both(&m, g.p, n, &h), n);
			EQ_INT(kept(&m, g.p, n), n <= HTTP1_MEMO_MAX);
			EQ_INT(both(&m, g.p, n, &h), n);
			unit_unguard(g);
		}
	}
}

TEST(cookies_are_not_kept)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nSet-COOKIE: session=secret\r\n\r\n";
	struct http1_memo m = {0};
	struct http1_head h;
	both(&m, head, sizeof head - 1, &h);
	EQ_INT(m.n, 0);
	both(&m, HEAD, sizeof HEAD - 1, &h);
	both(&m, head, sizeof head - 1, &h);
	OK(kept(&m, HEAD, sizeof HEAD - 1));
	OK(!memmem(&m, sizeof m, "secret", 6));
}

/* Where every head differs, few are kept; when they begin to repeat, it is found out. */
TEST(adapts)
{
	struct http1_memo m = {0};
	struct http1_head h;
	char head[100];
	unsigned copies = 0;
	for (unsigned i = 0; i < 1600; i++) {
		int n = sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", 100 + i);
		both(&m, head, (size_t)n, &h);
		copies += kept(&m, head, (size_t)n);
	}
	OK(copies >= 100 && copies <= 110);
	unsigned until = 0;
	while (!kept(&m, HEAD, sizeof HEAD - 1) && ++until < 100)
		both(&m, HEAD, sizeof HEAD - 1, &h);
	OK(until <= 16);
}
