/* Matching and taking: see the header. */
#include "span/xray_rules.h"
#include "base/glob.h"

#define FITS(field, text) ((text).n == 0 || glob_fits((struct slice){r->field, (uint32_t)strnlen(r->field, sizeof r->field)}, text, true))

/* A Host with its port, and without: rules are written both ways. */
static bool host_fits(const struct xray_rule *r, struct slice host)
{
	if (FITS(host, host))
		return true;
	const char *colon = memrchr(host.p, ':', host.n);
	struct slice bare = {host.p, colon ? (uint32_t)(colon - host.p) : 0};
	return bare.n && FITS(host, bare);
}

static bool fits(const struct xray_rule *r, const struct xray_request *q)
{
	return FITS(service, q->service) && FITS(type, q->type) && FITS(method, q->method) && host_fits(r, q->host) &&
	       FITS(path, q->path);
}

struct xray_rule *xray_rules_match(struct xray_rules *r, const struct xray_request *q, uint64_t now_s)
{
	uint32_t current = atomic_load_explicit(&r->current, memory_order_acquire);
	uint64_t until = atomic_load_explicit(&r->good_until, memory_order_relaxed);
	if ((current == 1 || current == 2) && (!until || now_s < until)) {
		uint32_t n = atomic_load_explicit(&r->n[current - 1], memory_order_relaxed);
		for (uint32_t i = 0; i < n && i < XRAY_RULES; i++)
			if (fits(&r->table[current - 1][i].rule, q))
				return &r->table[current - 1][i].rule;
	}
	return &r->fallback;
}

/* One of `most` in this second. */
static bool take(struct xray_rule *r, uint64_t now_s, uint32_t most)
{
	uint64_t old = atomic_load_explicit(&r->taken, memory_order_relaxed), new;
	do {
		/* A process that is a little behind takes from the second that another has begun. */
		uint32_t second = (uint32_t)(old >> 32), behind = second - (uint32_t)now_s;
		bool same = behind <= 2;
		uint32_t n = same ? (uint32_t)old : 0;
		if (n >= most)
			return false;
		new = (uint64_t)(same ? second : (uint32_t)now_s) << 32 | (n + 1);
	} while (!atomic_compare_exchange_weak_explicit(&r->taken, &old, new, memory_order_relaxed, memory_order_relaxed));
	return true;
}

bool xray_rule_take(struct xray_rule *r, uint64_t now_s, uint32_t random)
{
	bool central = atomic_load_explicit(&r->central, memory_order_relaxed);
	uint64_t until = atomic_load_explicit(&r->quota_until, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->requests, 1, memory_order_relaxed);
	if (!central || until >= now_s) {
		uint32_t quota = central ? atomic_load_explicit(&r->quota, memory_order_relaxed) : r->reservoir;
		if (take(r, now_s, quota)) {
			atomic_fetch_add_explicit(&r->sampled, 1, memory_order_relaxed);
			return true;
		}
	} else if (r->reservoir && take(r, now_s, 1)) {
		atomic_fetch_add_explicit(&r->borrowed, 1, memory_order_relaxed);
		return true;
	}
	if (random >= r->rate)
		return false;
	atomic_fetch_add_explicit(&r->sampled, 1, memory_order_relaxed);
	return true;
}
