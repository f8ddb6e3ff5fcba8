/* What is written into heads. */
#include "conn/inject_text.h"
#include "base/racy.h"
#include "config.h"
#include <string.h>
#include <strings.h>

static void add(struct inject_text *t, const char *p, size_t n)
{
	if (t->full || n > t->cap - t->n) {
		t->full = true;
		return;
	}
	racy_copy(t->p + t->n, p, n); /* baggage is borrowed */
	t->n += (uint32_t)n;
}
#define ADD(t, lit) add(t, lit, sizeof(lit) - 1)

static void line(struct inject_text *t, const char *name, const char *value, size_t n)
{
	uint32_t begin = t->n;
	add(t, name, strlen(name));
	ADD(t, ": ");
	add(t, value, n);
	add(t, t->eol, strlen(t->eol));
	if (t->full) { /* whole lines or none */
		t->n = begin;
		t->full = false;
	}
}

void inject_headers(struct inject_text *t, const struct span_ctx *c, const struct http1_head *h)
{
	struct trace_ctx x = {.flags = c->flags & TRACE_FLAGS_WIRE, .valid = true, .sampled_known = true};
	char v[80 + CARRY_AMZN];
	memcpy(x.trace_id, c->trace_id, 16);
	memcpy(x.span_id, c->span_id, 8);
	if ((config.propagators & PROP_TRACECONTEXT) && !h->n_traceparent) {
		traceparent_format(&x, v);
		line(t, "traceparent", v, TRACEPARENT_LEN);
		if (c->tracestate.n && !h->n_tracestate)
			line(t, "tracestate", c->tracestate.p, c->tracestate.n);
	}
	if ((config.propagators & PROP_BAGGAGE) && c->baggage.n && !h->n_baggage) {
		uint32_t before = t->n;
		line(t, "baggage", c->baggage.p, c->baggage.n);
		if (c->parent.t && !span_ref_valid(c->parent)) /* it ended while we copied */
			t->n = before;
	}
	if ((config.propagators & PROP_B3) && !h->b3.n)
		line(t, "b3", v, b3_single_format(&x, v, sizeof v));
	if ((config.propagators & PROP_B3MULTI) && !h->b3_trace_id.n) {
		hex_encode(x.trace_id, 16, v);
		line(t, "X-B3-TraceId", v, 32);
		hex_encode(x.span_id, 8, v);
		line(t, "X-B3-SpanId", v, 16);
		line(t, "X-B3-Sampled", x.flags & TRACE_FLAG_SAMPLED ? "1" : "0", 1);
	}
	if ((config.propagators & PROP_XRAY) && !h->amzn_trace_id.n) {
		if (config.xray_own)
			x.flags = c->flags & TRACE_FLAG_XRAY ? TRACE_FLAG_SAMPLED : 0;
		size_t n = amzn_trace_format(&x, v, sizeof v);
		line(t, "X-Amzn-Trace-Id", v, n + span_amzn_others(c->parent, v + n));
	}
}

void inject_answer(struct inject_text *t, const struct txn *asked)
{
	struct trace_ctx x = {.flags = asked->flags & TRACE_FLAGS_WIRE, .valid = true};
	char v[64];
	if (config.xray_own)
		x.flags = asked->flags & TRACE_FLAG_XRAY ? TRACE_FLAG_SAMPLED : 0;
	memcpy(x.trace_id, asked->trace_id, 16);
	line(t, "X-Amzn-Trace-Id", v, amzn_answer_format(&x, v, sizeof v));
}

bool inject_has_amzn(const char *p, const struct http1_head *h)
{
	static const char name[] = "x-amzn-trace-id";
	for (const char *at = p + h->line_end, *e = p + h->len; at && at < e; at = memchr(at, '\n', (size_t)(e - at)), at += at != NULL)
		if ((size_t)(e - at) > sizeof name && strncasecmp(at, name, sizeof name - 1) == 0)
			return true;
	return false;
}
