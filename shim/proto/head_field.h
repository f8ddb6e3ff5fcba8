/* Fields of a whole request head by name, beyond those that http1.h knows. Pure, any context. */
#ifndef REMORA_HEAD_FIELD_H
#define REMORA_HEAD_FIELD_H

#include "proto/http1.h"

#define HEADERS_MOST 8 /* names */
#define HEADER_NAME_MOST 64

/* Its first value without blanks around it; p NULL = none. Borrows from the head. */
struct slice head_field(const struct http1_head *h, struct slice name);
/* Is it the name of one that carries a credential? */
bool head_field_is_credential(struct slice name);

/* Printable, without a colon, at most HEADER_NAME_MOST. */
bool header_name_ok(struct slice name);

struct header_names {
	unsigned n;
	struct slice name[HEADERS_MOST];
};
/* "Referer,X-Request-Id". False: *bad is no name, one too many, or a credential, and was left out. They borrow. */
bool header_names_parse(struct header_names *l, const char *text, struct slice *bad);
/* "name: value" lines for those that are there, names in lower case, secrets in URLs redacted. At most cap bytes. */
size_t header_names_write(const struct header_names *l, const struct http1_head *h, char *out, size_t cap);

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline struct slice slice_trim(struct slice s)
{
	while (s.n && (*s.p == ' ' || *s.p == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

/* What stands before the first `c` of *rest, which goes on behind it. */
static inline struct slice slice_next(struct slice *rest, char c)
{
	const char *at = rest->n ? memchr(rest->p, c, rest->n) : NULL;
	struct slice s = {rest->p, at ? (uint32_t)(at - rest->p) : rest->n};
	uint32_t used = s.n + (at != NULL);
	rest->p += used;
	rest->n -= used;
	return s;
}

static inline bool slice_same(struct slice a, struct slice b) /* ASCII case aside */
{
	if (a.n != b.n)
		return false;
	for (uint32_t i = 0; i < a.n; i++)
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	return true;
}

#endif
