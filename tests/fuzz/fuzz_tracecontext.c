/*
 * Context fields by way of a request head made of the input's lines, and the joiners directly. What is valid must
 * survive being written and read again; what is joined must join to itself.
 */
#include "fuzz.h"
#include "proto/tracecontext.h"

static void same(const struct trace_ctx *a, const struct trace_ctx *b)
{
	HOLDS(memcmp(a->trace_id, b->trace_id, 16) == 0 && memcmp(a->span_id, b->span_id, 8) == 0);
	HOLDS((a->flags & TRACE_FLAG_SAMPLED) == (b->flags & TRACE_FLAG_SAMPLED));
}

static void round_trips(const struct trace_ctx *c)
{
	struct trace_ctx back;
	char *out = malloc(TRACEPARENT_LEN);
	traceparent_format(c, out);
	HOLDS(traceparent_parse((struct slice){out, TRACEPARENT_LEN}, &back));
	same(c, &back);
	HOLDS(back.flags == c->flags);
	free(out);
	out = malloc(51);
	HOLDS(b3_single_format(c, out, 51) == 51 && b3_single_parse((struct slice){out, 51}, &back));
	same(c, &back);
	free(out);
	out = malloc(74);
	HOLDS(amzn_trace_format(c, out, 74) == 74 && amzn_trace_parse((struct slice){out, 74}, &back));
	same(c, &back);
	free(out);
}

static void check_ctx(bool ok, const struct trace_ctx *c)
{
	HOLDS(ok == c->valid);
	HOLDS((c->flags & ~(TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM)) == 0);
	if (ok)
		round_trips(c);
}

typedef size_t joiner(const struct slice *, unsigned, char *, size_t);

static void join(joiner *f, const struct slice *fields, unsigned n, size_t cap)
{
	char *out = malloc(cap + 1), *again = malloc(cap + 1);
	char *o = out + 1, *a = again + 1; /* ends where the block ends */
	size_t len = f(fields, n, o, cap);
	HOLDS(len <= cap);
	for (size_t i = 0; i < len; i++)
		HOLDS((o[i] >= 0x20 || o[i] == '\t') && o[i] < 0x7f);
	struct slice joined = {o, (uint32_t)len};
	HOLDS(f(&joined, 1, a, cap) == len && memcmp(a, o, len) == 0);
	free(out);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 1 << 14)
		return 0;
	unsigned set = data[0] & 31;
	size_t cap = data[1] * 4u, n = size - 2;
	char *p = exact(data + 2, n);
	struct slice s = {p, (uint32_t)n};
	struct trace_ctx c;
	check_ctx(traceparent_parse(s, &c), &c);
	check_ctx(b3_single_parse(s, &c), &c);
	check_ctx(amzn_trace_parse(s, &c), &c);
	char others[200];
	struct trace_ctx asked;
	HOLDS(!amzn_trace_asks(s) || (amzn_trace_parse(s, &asked), asked.xray));
	size_t n_others = amzn_trace_others(s, others, sizeof others);
	HOLDS(n_others <= sizeof others && (c.xray || !n_others) && (!n_others || others[0] == ';'));
	for (size_t i = 0; i < n_others; i++)
		HOLDS(others[i] > 0x20 && others[i] < 0x7f);

	struct slice fields[4];
	unsigned k = 0;
	const char *from = p;
	for (size_t i = 0; i <= n && k < 4; i++)
		if (i == n || p[i] == '\n') {
			fields[k++] = (struct slice){from, (uint32_t)(p + i - from)};
			from = p + i + 1;
		}
	join(tracestate_join, fields, k, cap);
	join(baggage_join, fields, k, cap);

	struct http1_head h = {.forwarded = s, .x_forwarded_for = fields[0]};
	struct slice address, proto;
	client_of_forwarded(&h, &address, &proto);
	for (size_t i = 0; i < address.n; i++)
		HOLDS(strchr("0123456789abcdefABCDEF.:", address.p[i]));

	static const char line[] = "GET / HTTP/1.1\r\n", end[] = "\r\n\r\n";
	char *head = malloc(sizeof line + n + sizeof end);
	size_t len = sizeof line - 1;
	memcpy(head, line, len);
	memcpy(head + len, p, n);
	memcpy(head + len + n, end, sizeof end - 1);
	len += n + sizeof end - 1;
	if (http1_parse_request(head, len, 0, &h) > 0) {
		check_ctx(trace_extract(&h, set, &c), &c);
		check_ctx(b3_multi_parse(&h, &c), &c);
		join(tracestate_join, h.tracestate, h.n_tracestate, cap);
		join(baggage_join, h.baggage, h.n_baggage, cap);
		client_of_forwarded(&h, &address, &proto);
	}
	free(head);
	free(p);
	return 0;
}
