/*
 * Heads and bodies. The first byte chooses request or response and where to cut. Whatever the bytes: cut or whole, the
 * same result; slices inside the input; body framing the same in one piece, in two, and byte by byte.
 */
#include "fuzz.h"
#include "proto/http1_memo.h"

static void inside(struct slice s, const char *buf, ssize_t len)
{
	HOLDS(!s.p || (s.p >= buf && s.p + s.n <= buf + len));
}

static void check_slices(const struct http1_head *h, const char *buf, ssize_t len)
{
	inside(h->method_raw, buf, len);
	inside(h->target, buf, len);
	HOLDS(h->method_raw.n > 0 && h->method_raw.n <= 32 && h->target.n > 0);
	const struct slice *all[] = {&h->host, &h->user_agent, &h->forwarded, &h->x_forwarded_for, &h->x_forwarded_proto,
	                             &h->x_forwarded_host, &h->traceparent, &h->b3, &h->b3_trace_id, &h->b3_span_id,
	                             &h->b3_sampled, &h->b3_flags, &h->amzn_trace_id};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		inside(*all[i], buf, len);
	HOLDS(h->n_tracestate <= 4 && h->n_baggage <= 4);
	for (int i = 0; i < h->n_tracestate; i++)
		inside(h->tracestate[i], buf, len);
	for (int i = 0; i < h->n_baggage; i++)
		inside(h->baggage[i], buf, len);
	HOLDS((h->n_traceparent > 0) == (h->traceparent.p != NULL));
}

static ssize_t head(int request, const char *p, size_t n, size_t seen, struct http1_head *h)
{
	memset(h, 0, sizeof *h);
	ssize_t r = request ? http1_parse_request(p, n, seen, h) : http1_parse_response(p, n, seen, h);
	if (r <= 0) {
		HOLDS(r == PROTO_BAD || r == PROTO_PARTIAL);
		return r;
	}
	HOLDS((size_t)r <= n && h->len == (uint32_t)r && h->line_end < h->len && p[h->line_end - 1] == '\n');
	HOLDS(p[r - 1] == '\n' && (p[r - 2] == '\n' || (p[r - 2] == '\r' && p[r - 3] == '\n')));
	HOLDS(!memchr(p, 0, (size_t)r) && h->length <= INT64_MAX);
	if (request)
		check_slices(h, p, r);
	return r;
}

static ssize_t feed(struct http1_body *b, const char *p, size_t n)
{
	char *c = exact(p, n);
	ssize_t r = http1_body_feed(b, c, n);
	free(c);
	HOLDS(r == PROTO_BAD || (r >= 0 && (size_t)r <= n && ((size_t)r == n || b->done)));
	return r;
}

static void body(const struct http1_body *start, const char *p, size_t n, size_t cut)
{
	struct http1_body whole = *start, two = *start, one = *start;
	ssize_t r = feed(&whole, p, n);
	if (cut > n)
		cut = n;
	ssize_t a = feed(&two, p, cut);
	if (a >= 0) {
		ssize_t b = feed(&two, p + cut, n - cut);
		a = b < 0 ? b : a + b;
	}
	HOLDS(a == r);
	ssize_t used = 0;
	for (size_t i = 0; i < n && used >= 0; i++) {
		ssize_t k = feed(&one, p + i, 1);
		used = k < 0 ? k : used + k;
	}
	HOLDS(used == r);
	if (r < 0)
		return;
	HOLDS(two.done == whole.done && two.size == whole.size && two.state == whole.state && two.left == whole.left);
	HOLDS(one.done == whole.done && one.size == whole.size && one.state == whole.state && one.left == whole.left);
	HOLDS(whole.size <= n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 1 << 16)
		return 0;
	int request = data[0] & 1;
	size_t n = size - 1, cut = (data[0] >> 1) % (n + 1);
	char *p = exact(data + 1, n);
	struct http1_head whole, part;
	ssize_t r = head(request, p, n, 0, &whole);

	/* Byte by byte, with and without `seen`: equal at each step, and final once said. */
	size_t seen = 0, steps = n < 600 ? n : 600;
	ssize_t last = PROTO_PARTIAL;
	for (size_t k = 0; k <= steps && last == PROTO_PARTIAL; k++) {
		char *c = exact(p, k);
		struct http1_head fresh;
		last = head(request, c, k, seen, &part);
		HOLDS(last == head(request, c, k, 0, &fresh));
		HOLDS(last <= 0 || (size_t)last == k);
		HOLDS(last <= 0 || memcmp(&part, &fresh, sizeof part) == 0);
		free(c);
		seen = k;
	}
	if (last != PROTO_PARTIAL)
		HOLDS(last == r);
	else if (steps == n)
		HOLDS(r == PROTO_PARTIAL);
	/* In two pieces. */
	char *c = exact(p, cut);
	if (head(request, c, cut, 0, &part) == PROTO_PARTIAL) {
		HOLDS(head(request, p, n, cut, &part) == r);
		HOLDS(r <= 0 || memcmp(&part, &whole, sizeof part) == 0);
	}
	free(c);

	if (!request) { /* with what was kept of it, and of what came before: the same */
		static struct http1_memo memo;
		for (int again = 0; again < 3; again++) {
			memset(&part, 0, sizeof part);
			HOLDS(http1_memo_response(&memo, p, n, &part) == r);
			HOLDS(r <= 0 || memcmp(&part, &whole, offsetof(struct http1_head, method_raw)) == 0);
		}
	}

	struct http1_body b;
	if (r > 0) {
		if (request)
			http1_body_of_request(&b, &whole);
		else
			http1_body_of_response(&b, &whole, data[0] >> 4);
		body(&b, p + r, n - (size_t)r, cut);
	}
	/* Chunk framing gets more luck without a head before it. */
	struct http1_head chunked = {.chunked = true};
	http1_body_of_request(&b, &chunked);
	body(&b, p, n, cut);
	free(p);
	return 0;
}
