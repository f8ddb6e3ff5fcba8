/*
 * How the attributes of one record are written, for span_attrs.c and what it is divided into (span_db.c, span_calls.c).
 * exporter thread.
 */
#ifndef REMORA_SPAN_MAKER_H
#define REMORA_SPAN_MAKER_H

#include "exporters/span_attrs.h"
#include "exporters/span_url.h"
#include <arpa/inet.h>
#include <strings.h>

enum { SPAN_STATUS_ERROR = 2 }; /* of OTLP */

struct maker {
	struct span_attrs *o;
	char *at; /* free text; there is room for all that can come (span_attrs_make) */
	uint32_t max_attrs, max_chars;
};

/* ---- writing attributes ---- */

static inline struct attr *begin(struct maker *m, const char *key, uint32_t key_len)
{
	struct span_attrs *o = m->o;
	if (__builtin_expect(o->n >= m->max_attrs, 0)) {
		o->dropped++;
		return NULL;
	}
	struct attr *a = &o->attrs[o->n++];
	a->key = key;
	a->key_len = key_len;
	return a;
}

static inline void text(struct maker *m, struct slice s)
{
	m->at += utf8_copy(m->at, s.p, s.n);
}

/* What text() wrote since `from` is the attribute's value. */
static inline void end_text(struct maker *m, struct attr *a, char *from)
{
	size_t n = (size_t)(m->at - from);
	if (__builtin_expect(n > m->max_chars, 0))
		n = utf8_prefix(from, n, m->max_chars);
	from[n] = 0;
	m->at = from + n + 1;
	a->type = ATTR_STRING;
	a->str = from;
	a->str_len = n;
}

static inline void add_str(struct maker *m, const char *key, uint32_t key_len, struct slice s)
{
	struct attr *a = s.n ? begin(m, key, key_len) : NULL;
	if (!a)
		return;
	char *from = m->at;
	text(m, s);
	end_text(m, a, from);
}

/* Text of ours that outlives *out or lies in its text: not copied. */
static inline void add_lit(struct maker *m, const char *key, uint32_t key_len, struct slice s)
{
	if (s.n > m->max_chars) {
		add_str(m, key, key_len, s);
		return;
	}
	struct attr *a = s.n ? begin(m, key, key_len) : NULL;
	if (!a)
		return;
	a->type = ATTR_STRING;
	a->str = s.p;
	a->str_len = s.n;
}

static inline void add_int(struct maker *m, const char *key, uint32_t key_len, uint64_t value)
{
	struct attr *a = begin(m, key, key_len);
	if (!a)
		return;
	a->type = ATTR_INT;
	a->num = value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

#define KEY(lit) "" lit, sizeof(lit) - 1
#define STR(key, s) add_str(m, KEY(key), s)
#define LIT(key, s) add_lit(m, KEY(key), s)
#define INT(key, v) add_int(m, KEY(key), v)

/* ---- addresses ---- */

static inline char *decimal(char *p, uint32_t v)
{
	char digits[10];
	unsigned n = 0;
	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		*p++ = digits[--n];
	return p;
}

/* As text, kept in *out for as long as that lives; empty for a Unix socket. */
static inline struct slice address(struct maker *m, const struct rec_addr *a)
{
	char *from = m->at, *p = from;
	if (a->family == 4) {
		for (int i = 0; i < 4; i++) {
			p = decimal(p, a->ip[i]);
			*p++ = i < 3 ? '.' : 0;
		}
	} else if (a->family == 6 && inet_ntop(AF_INET6, a->ip, p, INET6_ADDRSTRLEN)) {
		p += strlen(p) + 1;
	} else {
		return (struct slice){NULL, 0};
	}
	m->at = p;
	return (struct slice){from, (uint32_t)(p - from - 1)};
}

static inline bool is_word(struct slice s, const char *lower_word)
{
	return s.n == strlen(lower_word) && strncasecmp(s.p, lower_word, s.n) == 0;
}

static inline void add_peer(struct maker *m, const struct span_rec *r, struct slice peer)
{
	LIT("network.peer.address", peer);
	if (peer.n)
		INT("network.peer.port", r->peer.port);
}

/* A database's command. */
void span_db(struct maker *m, const struct rec_view *v);
/* An AWS API call: which, of what, and the name of the span. */
void span_aws_call(struct maker *m, const struct rec_view *v);

#endif
