#include "exporters/span_url.h"

struct authority authority_of(struct slice s)
{
	struct authority a = {s, s, 0};
	if (s.n == 0)
		return a;
	const char *e = s.p + s.n, *at = memrchr(s.p, '@', s.n);
	const char *p = at ? at + 1 : s.p, *colon;
	a.text = a.host = from_to(p, e);
	if (p < e && *p == '[') {
		const char *close = memchr(p, ']', (size_t)(e - p));
		if (!close)
			return a;
		a.host = from_to(p + 1, close);
		colon = close + 1;
		if (colon == e || *colon != ':')
			return a;
	} else {
		colon = memrchr(p, ':', (size_t)(e - p));
		if (!colon || memchr(p, ':', (size_t)(colon - p)))
			return a;
		a.host = from_to(p, colon);
	}
	uint32_t port = 0;
	for (const char *d = colon + 1; d < e; d++) {
		if (*d < '0' || *d > '9' || (port = port * 10 + (uint32_t)(*d - '0')) > 65535)
			return a;
	}
	a.port = port;
	return a;
}

static bool scheme_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

struct target target_of(struct slice t, bool connect)
{
	struct target r = {0};
	if (t.n == 0)
		return r;
	const char *p = t.p, *e = t.p + t.n, *mark = p;
	if (connect && *p != '/') { /* authority form */
		r.authority = t;
		return r;
	}
	while (mark < e && scheme_char(*mark))
		mark++;
	if (mark > p && e - mark >= 3 && memcmp(mark, "://", 3) == 0) { /* absolute form */
		r.scheme = from_to(p, mark);
		r.authority.p = p = mark + 3;
		while (p < e && *p != '/' && *p != '?' && *p != '#')
			p++;
		r.authority.n = (uint32_t)(p - r.authority.p);
		if (p == e || *p != '/')
			r.path = SLICE("/");
	}
	const char *query = p < e ? memchr(p, '?', (size_t)(e - p)) : NULL;
	if (!r.path.p)
		r.path = from_to(p, query ? query : e);
	if (query)
		r.query = from_to(query + 1, e);
	return r;
}
