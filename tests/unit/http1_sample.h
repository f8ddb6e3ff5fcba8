/*
 * How the tests of HTTP heads look at one sample: whole, cut at every byte, and against unreadable pages on both
 * sides. What the parser found is told as one line of text.
 */
#ifndef HTTP1_SAMPLE_H
#define HTTP1_SAMPLE_H

#include "proto/http1.h"
#include "unit.h"

#define S(lit) (lit), sizeof(lit) - 1

static void say(char *out, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(char *out, size_t cap, const char *fmt, ...)
{
	size_t n = strlen(out);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(out + n, cap - n, fmt, ap);
	va_end(ap);
}

static void say_slice(char *out, size_t cap, const char *name, struct slice s, const char *buf, size_t len)
{
	if (!s.p)
		return;
	OK(s.p >= buf && s.p + s.n <= buf + len);
	say(out, cap, " %s=%.*s", name, (int)s.n, s.p);
}

/* "BAD", "PARTIAL", or everything that is not at its default, and "+N" for N bytes behind the head. */
static void describe(char *out, size_t cap, ssize_t r, const struct http1_head *h, const char *buf, size_t len,
                     bool request)
{
	char rest[32] = "";
	*out = 0;
	if (r < 0) {
		say(out, cap, r == PROTO_BAD ? "BAD" : r == PROTO_PARTIAL ? "PARTIAL"
		                                                          : "what?");
		return;
	}
	EQ_INT(r, h->len);
	OK(r > 0 && (size_t)r <= len);
	OK(h->line_end > 0 && h->line_end < h->len && buf[h->line_end - 1] == '\n');
	if (request) {
		say(out, cap, "%d", h->method);
		say_slice(out, cap, "m", h->method_raw, buf, len);
		say_slice(out, cap, "t", h->target, buf, len);
	} else {
		say(out, cap, "%d", h->status);
	}
	say(out, cap, " 1.%d", h->minor);
	if (h->has_length)
		say(out, cap, " length=%llu", (unsigned long long)h->length);
	const char *flags[] = {h->chunked ? "chunked" : 0, h->te_other ? "te_other" : 0,
	                       h->close ? "close" : 0, h->keep_alive ? "keep_alive" : 0,
	                       h->upgrade ? "upgrade" : 0, h->framing_conflict ? "conflict" : 0,
	                       h->signed_trace ? "signed" : 0};
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (flags[i])
			say(out, cap, " %s", flags[i]);
	if ((size_t)r < len)
		snprintf(rest, sizeof rest, " +%zu", len - (size_t)r);
	if (!request) {
		say(out, cap, "%s", rest);
		return;
	}
	say_slice(out, cap, "host", h->host, buf, len);
	say_slice(out, cap, "ua", h->user_agent, buf, len);
	say_slice(out, cap, "fwd", h->forwarded, buf, len);
	say_slice(out, cap, "xff", h->x_forwarded_for, buf, len);
	say_slice(out, cap, "xfp", h->x_forwarded_proto, buf, len);
	say_slice(out, cap, "xfh", h->x_forwarded_host, buf, len);
	if (h->n_traceparent > 1)
		say(out, cap, " tps=%d", h->n_traceparent);
	say_slice(out, cap, "tp", h->traceparent, buf, len);
	for (unsigned i = 0; i < h->n_tracestate; i++)
		say_slice(out, cap, "ts", h->tracestate[i], buf, len);
	for (unsigned i = 0; i < h->n_baggage; i++)
		say_slice(out, cap, "bg", h->baggage[i], buf, len);
	say_slice(out, cap, "b3", h->b3, buf, len);
	say_slice(out, cap, "b3t", h->b3_trace_id, buf, len);
	say_slice(out, cap, "b3s", h->b3_span_id, buf, len);
	say_slice(out, cap, "b3d", h->b3_sampled, buf, len);
	say_slice(out, cap, "b3f", h->b3_flags, buf, len);
	say_slice(out, cap, "xray", h->amzn_trace_id, buf, len);
	say(out, cap, "%s", rest);
}

static ssize_t parse_described(const char *buf, size_t len, size_t seen, bool request, char *out, size_t cap)
{
	struct http1_head h;
	memset(&h, 0xa5, sizeof h); /* what the parser leaves unset shows */
	ssize_t r = request ? http1_parse_request(buf, len, seen, &h) : http1_parse_response(buf, len, seen, &h);
	describe(out, cap, r, &h, buf, len, request);
	return r;
}

/* `want` as describe() says it. */
__attribute__((unused)) static void check_head(const char *data, size_t n, bool request, const char *want)
{
	static char got[8192], again[8192];
	struct unit_guarded g = unit_at_begin(data, n);
	parse_described(g.p, n, 0, request, got, sizeof got);
	EQ_STR(got, want);
	unit_unguard(g);

	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n + page) / page * page;
	g = unit_at_end(NULL, room);
	char *end = g.p + room;
	size_t seen = 0;
	ssize_t last = PROTO_PARTIAL;
	for (size_t k = 1; k <= n; k++) {
		memcpy(end - k, data, k);
		ssize_t fresh = parse_described(end - k, k, 0, request, got, sizeof got);
		if (last == PROTO_PARTIAL) {
			ssize_t grown = parse_described(end - k, k, seen, request, again, sizeof again);
			EQ_STR(again, got);
			if (grown == PROTO_PARTIAL)
				seen = k;
			if (grown > 0)
				EQ_INT(grown, k);
			last = grown;
		} else if (last == PROTO_BAD) {
			EQ_INT(fresh, PROTO_BAD); /* more bytes never make it good */
		}
	}
	EQ_STR(got, want);

	/* A part, then the rest at once. */
	memcpy(end - n, data, n);
	for (size_t k = 1; k < n; k++) {
		struct http1_head h;
		ssize_t r = request ? http1_parse_request(end - n, k, 0, &h) : http1_parse_response(end - n, k, 0, &h);
		if (r != PROTO_PARTIAL)
			break;
		parse_described(end - n, n, k, request, got, sizeof got);
		EQ_STR(got, want);
	}
	unit_unguard(g);
}

#endif
