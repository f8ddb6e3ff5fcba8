/* Header fields of interest, by length of the name first: most fields leave after one switch. */
#include "proto/http1_field.h"
#include "base/hot.h"
#include "proto/scan.h"

struct slice_view {
	const char *p, *e;
};

/* Blanks around a value; CR and LF occur in folded lines. */
static inline bool is_blank(char c)
{
	return (unsigned char)c <= ' ' && ((1ull << ' ' | 1ull << '\t' | 1ull << '\r' | 1ull << '\n') >> c & 1);
}

static inline struct slice_view trim(const char *p, const char *e)
{
	while (p < e && is_blank(*p))
		p++;
	while (e > p && is_blank(e[-1]))
		e--;
	return (struct slice_view){p, e};
}

static inline struct slice to_slice(struct slice_view v)
{
	return (struct slice){v.p, (uint32_t)(v.e - v.p)};
}

static bool word_is(const char *p, size_t n, const char *lit, size_t lit_n)
{
	if (n != lit_n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (lower(p[i]) != lit[i])
			return false;
	return true;
}
#define WORD_IS(v, lit) word_is((v).p, (size_t)((v).e - (v).p), lit, sizeof(lit) - 1)

/* The next element of a comma list, trimmed; *p moves behind its comma. False at the end. Elements may be empty. */
static bool list_next(const char **p, const char *e, struct slice_view *item)
{
	if (*p > e)
		return false;
	const char *c = *p;
	while (c < e && *c != ',')
		c++;
	*item = trim(*p, c);
	*p = c + 1;
	return true;
}

#define LENGTH_DIGITS 19 /* of INT64_MAX: longer ones would overflow, or are zeros nobody sends */

/* Repeats and lists ("5, 5") are harmless while they agree; anything else is an attack or a broken peer. */
static void on_length(struct http1_fields *f, struct slice_view v)
{
	struct http1_head *h = f->h;
	for (const char *p = v.p;; p++) {
		const char *from = p;
		uint64_t n = 0;
		for (; p < v.e && is_digit(*p); p++)
			n = n * 10 + (uint64_t)(*p - '0');
		if (p == from || p - from > LENGTH_DIGITS || n > INT64_MAX || (h->has_length && h->length != n))
			break;
		h->has_length = true;
		h->length = n;
		while (p < v.e && is_blank(*p))
			p++;
		if (p == v.e)
			return;
		if (*p != ',')
			break;
		while (p + 1 < v.e && is_blank(p[1]))
			p++;
	}
	f->bad = true;
}

static void on_connection(struct http1_fields *f, struct slice_view v)
{
	struct slice_view item;
	if (v.e - v.p == 10 && NAME_IS(v.p, "keep-alive")) {
		f->h->keep_alive = true;
		return;
	}
	while (list_next(&v.p, v.e, &item)) {
		if (WORD_IS(item, "close"))
			f->h->close = true;
		else if (WORD_IS(item, "keep-alive"))
			f->h->keep_alive = true;
		else if (WORD_IS(item, "upgrade"))
			f->upgrade_option = true;
	}
}

/* The last coding of the last such field decides; "identity" (RFC 2616) says nothing. */
static void on_transfer_encoding(struct http1_fields *f, struct slice_view v)
{
	struct slice_view item;
	while (list_next(&v.p, v.e, &item)) {
		if (item.p == item.e || WORD_IS(item, "identity"))
			continue;
		f->h->chunked = WORD_IS(item, "chunked");
		f->h->te_other = !f->h->chunked;
	}
}

/* Fields that both directions have. `p` is the field's name, `n` its length, already known to be n bytes. */
bool http1_framing_field(struct http1_fields *f, const char *p, size_t n, const char *eol)
{
	switch (n) {
	case 14:
		if (!NAME_IS(p, "content-length"))
			return false;
		on_length(f, trim(p + 15, eol));
		return true;
	case 10:
		if (!NAME_IS(p, "connection"))
			return false;
		on_connection(f, trim(p + 11, eol));
		return true;
	case 17:
		if (!NAME_IS(p, "transfer-encoding"))
			return false;
		on_transfer_encoding(f, trim(p + 18, eol));
		return true;
	case 7:
		if (!NAME_IS(p, "upgrade"))
			return false;
		f->upgrade_field = true;
		return true;
	}
	return false;
}

/* Is `word` in the value, bounded by characters that cannot belong to a field name? */
static const char *find_word(const char *p, const char *e, const char *word, size_t n, bool bounded)
{
	for (const char *s = p; e - s >= (ptrdiff_t)n; s++) {
		if (lower(*s) != *word || !word_is(s, n, word, n))
			continue;
		if (!bounded || ((s == p || !is_tchar(s[-1])) && (s + n == e || !is_tchar(s[n]))))
			return s;
	}
	return NULL;
}
#define FIND(p, e, word, bounded) find_word(p, e, word, sizeof(word) - 1, bounded)

/* SigV4 "SignedHeaders=a;b", HTTP Signature drafts "headers=\"a b\"". */
static bool authorization_signs(struct slice_view v)
{
	const char *list = FIND(v.p, v.e, "headers=", false);
	return list && FIND(list, v.e, "traceparent", true);
}

HOT static void first(struct slice *s, const char *p, const char *eol)
{
	if (!s->p)
		*s = to_slice(trim(p, eol));
}

static void append(struct slice s[4], uint8_t *n, const char *p, const char *eol)
{
	if (*n < 4)
		s[(*n)++] = to_slice(trim(p, eol));
}

/* [p, eol) is one field of a request, folded lines included. */
HOT void http1_request_field(struct http1_fields *f, const char *p, const char *eol, const char *end)
{
	struct http1_head *h = f->h;
	size_t n;
	unsigned m;
	if (end - p >= 16 && (m = mask_of(p, ':')) != 0) {
		n = (size_t)__builtin_ctz(m);
	} else {
		for (n = 0; p + n < eol && p[n] != ':'; n++)
			;
	}
	if (n == 0 || p + n >= eol || p[n - 1] == ' ' || p[n - 1] == '\t') {
		f->bad = true; /* no name, or a blank before the colon: peers disagree on what such a field is */
		return;
	}
	const char *v = p + n + 1;
	switch (n) {
	case 2:
		if (NAME_IS(p, "b3"))
			first(&h->b3, v, eol);
		break;
	case 4:
		if (NAME_IS(p, "host"))
			first(&h->host, v, eol);
		break;
	case 7:
		if (NAME_IS(p, "baggage"))
			append(h->baggage, &h->n_baggage, v, eol);
		else
			http1_framing_field(f, p, n, eol);
		break;
	case 9:
		if (NAME_IS(p, "forwarded"))
			first(&h->forwarded, v, eol);
		else if (NAME_IS(p, "signature"))
			h->signed_trace |= FIND(v, eol, "traceparent", true) != NULL;
		break;
	case 10:
		if (NAME_IS(p, "user-agent"))
			first(&h->user_agent, v, eol);
		else if (NAME_IS(p, "tracestate"))
			append(h->tracestate, &h->n_tracestate, v, eol);
		else if (NAME_IS(p, "x-b3-flags"))
			first(&h->b3_flags, v, eol);
		else
			http1_framing_field(f, p, n, eol);
		break;
	case 11:
		if (NAME_IS(p, "traceparent")) {
			first(&h->traceparent, v, eol);
			if (h->n_traceparent < UINT8_MAX)
				h->n_traceparent++;
		} else if (NAME_IS(p, "x-b3-spanid")) {
			first(&h->b3_span_id, v, eol);
		}
		break;
	case 12:
		if (NAME_IS(p, "x-b3-traceid"))
			first(&h->b3_trace_id, v, eol);
		else if (NAME_IS(p, "x-b3-sampled"))
			first(&h->b3_sampled, v, eol);
		else if (NAME_IS(p, "x-amz-target"))
			first(&h->aws_target, v, eol);
		break;
	case 13:
		if (NAME_IS(p, "authorization")) {
			struct slice_view value = trim(v, eol);
			h->signed_trace |= authorization_signs(value);
			if (value.e - value.p > 16 && memcmp(value.p, "AWS4-", 5) == 0)
				first(&h->aws_auth, v, eol);
		}
		break;
	case 14:
		http1_framing_field(f, p, n, eol);
		break;
	case 15:
		if (NAME_IS(p, "x-forwarded-for"))
			first(&h->x_forwarded_for, v, eol);
		else if (NAME_IS(p, "x-amzn-trace-id"))
			first(&h->amzn_trace_id, v, eol);
		else if (NAME_IS(p, "signature-input"))
			h->signed_trace |= FIND(v, eol, "traceparent", true) != NULL;
		break;
	case 16:
		if (NAME_IS(p, "x-forwarded-host"))
			first(&h->x_forwarded_host, v, eol);
		break;
	case 17:
		if (NAME_IS(p, "x-forwarded-proto"))
			first(&h->x_forwarded_proto, v, eol);
		else
			http1_framing_field(f, p, n, eol);
		break;
	}
}
