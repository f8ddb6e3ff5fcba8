/* OTEL_TRACES_SAMPLER: consistent probability sampling by the low 56 bits of the trace id, or tracestate's ot=rv:. */
#include "config.h"
#include "span/span.h"

/* Members of tracestate; false at the end. */
static bool next_member(struct slice *rest, struct slice *m)
{
	while (rest->n && (*rest->p == ',' || *rest->p == ' ')) {
		rest->p++;
		rest->n--;
	}
	if (!rest->n)
		return false;
	const char *e = memchr(rest->p, ',', rest->n);
	*m = (struct slice){rest->p, e ? (uint32_t)(e - rest->p) : rest->n};
	rest->p += m->n;
	rest->n -= m->n;
	return true;
}

static bool is_ot(struct slice m)
{
	return m.n > 3 && memcmp(m.p, "ot=", 3) == 0;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
	                                                             : -1;
}

/* ot=rv:<14 hex>: the randomness that a trace id without random bits brings along. */
static bool explicit_randomness(struct slice state, uint64_t *r)
{
	struct slice m;
	while (next_member(&state, &m)) {
		if (!is_ot(m))
			continue;
		for (const char *p = m.p + 3, *e = m.p + m.n; e - p >= 17; p++) {
			if (memcmp(p, "rv:", 3) != 0 || (p[-1] != '=' && p[-1] != ';'))
				continue;
			uint64_t v = 0;
			if (e - p > 17 && p[17] != ';')
				return false;
			for (int i = 0; i < 14; i++) {
				int d = hex_value(p[3 + i]);
				if (d < 0)
					return false;
				v = v << 4 | (unsigned)d;
			}
			*r = v;
			return true;
		}
	}
	return false;
}

bool sampler_decides(bool has_parent)
{
	return !(has_parent && config.parent_based);
}

bool sampler_decide(const uint8_t trace_id[16], const struct trace_ctx *parent, struct slice tracestate)
{
	if (parent && parent->sampled_known && config.parent_based)
		return parent->flags & TRACE_FLAG_SAMPLED;
	if (config.sampler != SAMPLER_RATIO)
		return config.sampler == SAMPLER_ON;
	uint64_t r;
	if (!explicit_randomness(tracestate, &r)) {
		uint64_t be;
		memcpy(&be, trace_id + 8, 8);
		r = __builtin_bswap64(be) & ((1ull << 56) - 1);
	}
	return r >= config.threshold;
}

static size_t put(char *out, size_t at, size_t cap, const char *p, size_t n)
{
	if (at + n > cap)
		return at;
	memcpy(out + at, p, n);
	return at + n;
}

size_t sampler_tracestate(struct slice in, bool sampled, char *out, size_t cap)
{
	struct slice rest = in, m;
	bool th = sampled && config.sampler == SAMPLER_RATIO && config.th[0];
	size_t n = 0;
	if (!th && !in.n)
		return 0;
	/* Our member comes first, as the specification wants of a changed one; sub-keys of others stay. */
	char ot[256 + 4];
	size_t k = 0;
	if (th) {
		k = put(ot, k, sizeof ot, "ot=th:", 6);
		k = put(ot, k, sizeof ot, config.th, strlen(config.th));
	}
	while (next_member(&rest, &m)) {
		if (!is_ot(m))
			continue;
		for (const char *p = m.p + 3, *e = m.p + m.n; p < e;) {
			const char *s = memchr(p, ';', (size_t)(e - p));
			size_t len = s ? (size_t)(s - p) : (size_t)(e - p);
			if (!(len >= 3 && memcmp(p, "th:", 3) == 0) && len) {
				k = put(ot, k, sizeof ot, k ? ";" : "ot=", k ? 1 : 3);
				k = put(ot, k, sizeof ot, p, len);
			}
			p += len + 1;
		}
		break;
	}
	n = put(out, 0, cap, ot, k);
	rest = in;
	while (next_member(&rest, &m)) {
		if (is_ot(m) || n + 1 + m.n > cap)
			continue;
		if (n)
			out[n++] = ',';
		n = put(out, n, cap, m.p, m.n);
	}
	return n;
}
