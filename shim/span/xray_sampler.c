/* OTEL_TRACES_SAMPLER=xray on a host thread: the request as the rules see it, and the decision. */
#include "base/clock.h"
#include "base/glob.h"
#include "config.h"
#include "span/process.h"
#include "span/span_private.h"

/* Where there is no arena: as X-Ray decides without rules, for this process alone. */
static struct xray_rule alone = {.rate = XRAY_RATE_FALLBACK, .reservoir = 1};

/* The path of a target, without scheme, authority and query. */
static struct slice path_of(struct slice t)
{
	const char *p = t.p, *e = t.p + t.n, *at = t.n && *p != '/' ? memmem(p, t.n, "://", 3) : NULL;
	if (at && !(p = memchr(at + 3, '/', (size_t)(e - at - 3))))
		return SLICE("/");
	const char *q = p < e ? memchr(p, '?', (size_t)(e - p)) : NULL;
	return (struct slice){p, (uint32_t)((q ? q : e) - p)};
}

bool xray_decide(struct span_ctx *c, const struct http1_head *h)
{
	struct arena *a = process_arena();
	struct xray_rules *rules = a ? arena_xray_rules(a) : NULL;
	struct xray_request q = {.service = slice_of(config.xray_service), .type = slice_of(config.xray_type)};
	uint64_t now = clock_ns(CLOCK_REALTIME_COARSE) / 1000000000u;
	uint32_t random;
	if (h) {
		q.host = h->host;
		q.method = h->method_raw;
		q.path = path_of(h->target);
		/* With dynamic naming the segment's name is the host. */
		if (config.xray_dynamic && h->host.n && glob_fits(slice_of(config.xray_dynamic), h->host, true))
			q.service = h->host;
	}
	memcpy(&random, c->trace_id + 12, sizeof random);
	struct xray_rule *r = rules ? xray_rules_match(rules, &q, now) : &alone;
	bool sampled = xray_rule_take(r, now, random);
	if (sampled && atomic_load_explicit(&r->central, memory_order_relaxed)) {
		memcpy(c->rule, r->name, sizeof c->rule);
		c->rule[sizeof c->rule - 1] = 0;
	}
	return sampled;
}
