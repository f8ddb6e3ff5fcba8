/* Trace ids in and out. What a peer sends is copied only after it has been checked: it goes into our own heads. */
#include "proto/tracecontext.h"
#include "proto/scan.h"

/* ---- hexadecimal ---- */

static const char hex_digits[] = "0123456789abcdef";

void hex_encode(const uint8_t *in, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = hex_digits[in[i] >> 4];
		out[2 * i + 1] = hex_digits[in[i] & 15];
	}
}

/* Digit value, above 15 if none; `upper` admits A-F. */
static inline unsigned hex_value(char c, bool upper)
{
	unsigned d = (unsigned char)c - '0';
	if (d < 10)
		return d;
	if (upper)
		c = lower(c);
	d = (unsigned char)c - 'a';
	return d < 6 ? d + 10 : 16;
}

static bool decode(const char *in, size_t n_bytes, uint8_t *out, bool upper)
{
	unsigned bad = 0;
	for (size_t i = 0; i < n_bytes; i++) {
		unsigned hi = hex_value(in[2 * i], upper), lo = hex_value(in[2 * i + 1], upper);
		bad |= hi | lo;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return bad < 16;
}

bool hex_decode(const char *in, size_t n_bytes, uint8_t *out)
{
	return decode(in, n_bytes, out, false);
}

static bool all_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;
	for (size_t i = 0; i < n; i++)
		any |= p[i];
	return any == 0;
}

static bool has_ids(const struct trace_ctx *c)
{
	return !all_zero(c->trace_id, sizeof c->trace_id) && !all_zero(c->span_id, sizeof c->span_id);
}

static bool nothing(struct trace_ctx *out)
{
	*out = (struct trace_ctx){0};
	return false;
}

/* ---- W3C ---- */

bool traceparent_parse(struct slice s, struct trace_ctx *out)
{
	uint8_t version, flags;
	*out = (struct trace_ctx){0};
	if (s.n < TRACEPARENT_LEN || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-')
		return false;
	if (!hex_decode(s.p, 1, &version) || version == 0xff)
		return false;
	if (s.n > TRACEPARENT_LEN && (version == 0 || s.p[TRACEPARENT_LEN] != '-'))
		return false;
	if (!hex_decode(s.p + 3, 16, out->trace_id) || !hex_decode(s.p + 36, 8, out->span_id) ||
	    !hex_decode(s.p + 53, 1, &flags) || !has_ids(out))
		return nothing(out);
	/* Bits we do not know must not be passed on. */
	out->flags = flags & TRACE_FLAGS_WIRE;
	out->valid = out->sampled_known = true;
	return true;
}

void traceparent_format(const struct trace_ctx *c, char out[static TRACEPARENT_LEN])
{
	memcpy(out, "00-", 3);
	hex_encode(c->trace_id, 16, out + 3);
	out[35] = '-';
	hex_encode(c->span_id, 8, out + 36);
	out[52] = '-';
	hex_encode(&c->flags, 1, out + 53);
}

/* ---- B3 ---- */

/* Trace ids of 16 digits are padded with zeros on the left. */
static bool b3_trace_id(const char *p, size_t n, struct trace_ctx *out)
{
	if (n == 32)
		return decode(p, 16, out->trace_id, true);
	return n == 16 && decode(p, 8, out->trace_id + 8, true);
}

static bool b3_decision(struct slice s, struct trace_ctx *out)
{
	bool yes = (s.n == 1 && (*s.p == '1' || *s.p == 'd')) || (s.n == 4 && NAME_IS(s.p, "true"));
	bool no = (s.n == 1 && *s.p == '0') || (s.n == 5 && NAME_IS(s.p, "false"));
	out->sampled_known = yes || no;
	out->flags = yes ? TRACE_FLAG_SAMPLED : 0;
	return yes || no;
}

bool b3_single_parse(struct slice s, struct trace_ctx *out)
{
	nothing(out);
	if (s.n == 1) {
		b3_decision(s, out);
		return false;
	}
	const char *p = s.p, *e = s.p + s.n, *dash = s.n ? memchr(p, '-', s.n) : NULL;
	if (!dash || !b3_trace_id(p, (size_t)(dash - p), out))
		return nothing(out);
	p = dash + 1;
	if (e - p < 16 || !decode(p, 8, out->span_id, true) || !has_ids(out))
		return nothing(out);
	p += 16;
	if (p < e) {
		if (*p != '-' || e - p < 2)
			return nothing(out);
		p++;
		/* "-decision", "-decision-parent", and as some write it "-parent" without a decision. */
		size_t left = (size_t)(e - p), parent_at = left == 1 || p[1] == '-' ? 2 : 0;
		uint8_t parent[8];
		if (parent_at && !b3_decision((struct slice){p, 1}, out))
			return nothing(out);
		if (left > 1 && (left != parent_at + 16 || !decode(p + parent_at, 8, parent, true)))
			return nothing(out);
	}
	out->valid = true;
	return true;
}

bool b3_multi_parse(const struct http1_head *h, struct trace_ctx *out)
{
	nothing(out);
	b3_decision(h->b3_sampled, out);
	if (h->b3_flags.n == 1 && *h->b3_flags.p == '1') { /* debug implies sampled */
		out->flags = TRACE_FLAG_SAMPLED;
		out->sampled_known = true;
	}
	if (!b3_trace_id(h->b3_trace_id.p, h->b3_trace_id.n, out) || h->b3_span_id.n != 16 ||
	    !decode(h->b3_span_id.p, 8, out->span_id, true) || !has_ids(out)) {
		memset(out->trace_id, 0, sizeof out->trace_id);
		memset(out->span_id, 0, sizeof out->span_id);
		return false;
	}
	out->valid = true;
	return true;
}

size_t b3_single_format(const struct trace_ctx *c, char *out, size_t cap)
{
	if (cap < 32 + 1 + 16 + 2)
		return 0;
	hex_encode(c->trace_id, 16, out);
	out[32] = '-';
	hex_encode(c->span_id, 8, out + 33);
	out[49] = '-';
	out[50] = c->flags & TRACE_FLAG_SAMPLED ? '1' : '0';
	return 51;
}

/* ---- X-Ray ---- */

static struct slice trimmed(const char *p, const char *e)
{
	while (p < e && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	while (e > p && (e[-1] == ' ' || e[-1] == '\t' || e[-1] == '\r' || e[-1] == '\n'))
		e--;
	return (struct slice){p, (uint32_t)(e - p)};
}

/* The next piece of *rest before `sep`, trimmed; false when nothing is left. */
static bool next_piece(struct slice *rest, char sep, struct slice *piece)
{
	if (rest->n == 0)
		return false;
	const char *e = rest->p + rest->n, *c = memchr(rest->p, sep, rest->n);
	if (!c)
		c = e;
	*piece = trimmed(rest->p, c);
	rest->p = c < e ? c + 1 : e;
	rest->n = (uint32_t)(e - rest->p);
	return true;
}

static bool begins(struct slice s, const char *lit, size_t n)
{
	return s.n >= n && memcmp(s.p, lit, n) == 0;
}
#define BEGINS(s, lit) begins(s, lit, sizeof(lit) - 1)

bool amzn_trace_parse(struct slice s, struct trace_ctx *out)
{
	struct slice part;
	bool root = false;
	nothing(out);
	while (next_piece(&s, ';', &part)) {
		if (BEGINS(part, "Root=")) {
			const char *p = part.p + 5; /* 1-<8>-<24> */
			if (part.n != 5 + 35 || p[0] != '1' || p[1] != '-' || p[10] != '-' ||
			    !decode(p + 2, 4, out->trace_id, true) || !decode(p + 11, 12, out->trace_id + 4, true))
				return nothing(out);
			root = true;
		} else if (BEGINS(part, "Parent=")) {
			if (part.n != 7 + 16 || !decode(part.p + 7, 8, out->span_id, true))
				return nothing(out);
		} else if (BEGINS(part, "Sampled=")) {
			char c = part.n == 9 ? part.p[8] : 0;
			if (c != '0' && c != '1' && c != '?')
				return nothing(out);
			out->sampled_known = c != '?'; /* '?': the caller leaves it to us */
			out->flags = c == '1' ? TRACE_FLAG_SAMPLED : 0;
		}
	}
	if (!root || all_zero(out->trace_id, 16))
		return nothing(out);
	out->xray = true;
	out->valid = has_ids(out);
	return out->valid;
}

size_t amzn_trace_format(const struct trace_ctx *c, char *out, size_t cap)
{
	if (cap < 74)
		return 0;
	memcpy(out, "Root=1-", 7);
	hex_encode(c->trace_id, 4, out + 7);
	out[15] = '-';
	hex_encode(c->trace_id + 4, 12, out + 16);
	memcpy(out + 40, ";Parent=", 8);
	hex_encode(c->span_id, 8, out + 48);
	memcpy(out + 64, ";Sampled=", 9);
	out[73] = c->flags & TRACE_FLAG_SAMPLED ? '1' : '0';
	return 74;
}

bool amzn_trace_asks(struct slice s)
{
	struct trace_ctx c;
	struct slice part;
	bool asks = false;
	amzn_trace_parse(s, &c);
	while (c.xray && next_piece(&s, ';', &part))
		asks |= part.n == 9 && BEGINS(part, "Sampled=?");
	return asks;
}

size_t amzn_answer_format(const struct trace_ctx *c, char *out, size_t cap)
{
	char whole[74];
	if (cap < 50)
		return 0;
	amzn_trace_format(c, whole, sizeof whole);
	memcpy(out, whole, 40);
	memcpy(out + 40, whole + 64, 10);
	return 50;
}

static bool is_other(struct slice part)
{
	static const char *const known[] = {"Root", "Parent", "Sampled", "Self"};
	const char *eq = part.n ? memchr(part.p, '=', part.n) : NULL;
	size_t key = eq ? (size_t)(eq - part.p) : 0;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (key == strlen(known[i]) && memcmp(part.p, known[i], key) == 0)
			return false;
	for (uint32_t i = 0; i < part.n; i++)
		if (part.p[i] <= 0x20 || part.p[i] > 0x7e || part.p[i] == ',')
			return false;
	return key && key + 1 < part.n;
}

size_t amzn_trace_others(struct slice s, char *out, size_t cap)
{
	struct trace_ctx c;
	struct slice part;
	size_t n = 0;
	amzn_trace_parse(s, &c);
	while (c.xray && next_piece(&s, ';', &part)) {
		if (!is_other(part) || part.n >= cap - n)
			continue;
		out[n++] = ';';
		memcpy(out + n, part.p, part.n);
		n += part.n;
	}
	return n;
}

bool trace_extract(const struct http1_head *h, unsigned set, struct trace_ctx *out)
{
	/* Two traceparents: nobody can say which is right, so neither is (W3C 3.3.1). */
	if ((set & PROP_TRACECONTEXT) && h->n_traceparent == 1 && traceparent_parse(h->traceparent, out))
		return true;
	struct trace_ctx part = {0}; /* what a propagator said without giving both ids */
	if ((set & PROP_B3) && h->b3.n) {
		if (b3_single_parse(h->b3, out))
			return true;
		part = *out;
	}
	if ((set & PROP_B3MULTI) && (h->b3_trace_id.n || h->b3_sampled.n || h->b3_flags.n)) {
		if (b3_multi_parse(h, out))
			return true;
		if (!part.sampled_known)
			part = *out;
	}
	if ((set & PROP_XRAY) && h->amzn_trace_id.n) {
		if (amzn_trace_parse(h->amzn_trace_id, out))
			return true;
		if (!part.sampled_known || !all_zero(out->trace_id, 16))
			part = *out;
	}
	*out = part;
	return false;
}
