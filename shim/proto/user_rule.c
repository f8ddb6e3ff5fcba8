#include "proto/user_rule.h"
#include <string.h>

enum user_from { USER_HEADER,
	             USER_COOKIE,
	             USER_QUERY,
	             USER_PATH,
	             USER_BAGGAGE,
	             USER_KINDS };

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool same(struct slice a, struct slice b, bool any_case)
{
	if (a.n != b.n)
		return false;
	for (uint32_t i = 0; i < a.n; i++)
		if (any_case ? lower(a.p[i]) != lower(b.p[i]) : a.p[i] != b.p[i])
			return false;
	return true;
}

static struct slice trim(struct slice s)
{
	while (s.n && (*s.p == ' ' || *s.p == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

/* What stands before the first `c` of *rest, which goes on behind it. */
static struct slice next(struct slice *rest, char c)
{
	const char *at = rest->n ? memchr(rest->p, c, rest->n) : NULL;
	struct slice s = {rest->p, at ? (uint32_t)(at - rest->p) : rest->n};
	uint32_t used = s.n + (at != NULL);
	rest->p += used;
	rest->n -= used;
	return s;
}

/* ---- the variable ---- */

/* Who names one of these has mistaken a credential for a name. */
static bool is_credential(struct slice name)
{
	static const struct slice bad[] = {SLICE("authorization"), SLICE("proxy-authorization"), SLICE("cookie"), SLICE("x-api-key")};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (same(name, bad[i], true))
			return true;
	return false;
}

static bool parse_one(struct slice s, struct user_rule *out)
{
	static const struct slice kinds[USER_KINDS] = {SLICE("header"), SLICE("cookie"), SLICE("query"), SLICE("path"), SLICE("baggage")};
	struct slice kind = next(&s, ':');
	for (out->from = 0; out->from < USER_KINDS && !same(kind, kinds[out->from], false); out->from++)
		;
	if (out->from == USER_KINDS || !s.n || (out->from == USER_HEADER && is_credential(s)))
		return false;
	out->what = s;
	if (out->from != USER_PATH)
		return true;
	const char *open = memchr(s.p, '{', s.n), *close = open ? memchr(open, '}', s.n - (uint32_t)(open - s.p)) : NULL;
	if (!close || *s.p != '/')
		return false;
	out->what.n = (uint32_t)(open - s.p);
	out->behind = (struct slice){close + 1, (uint32_t)(s.p + s.n - close - 1)};
	return true;
}

bool user_rules_parse(struct user_rules *r, const char *text, struct slice *bad)
{
	struct slice rest = {text, text ? (uint32_t)strlen(text) : 0};
	bool good = true;
	r->n = 0;
	while (rest.n) {
		struct slice s = trim(next(&rest, ','));
		if (!s.n)
			continue;
		if (r->n < USER_RULES && parse_one(s, &r->rule[r->n])) {
			r->n++;
		} else {
			*bad = s;
			good = false;
		}
	}
	return good;
}

/* ---- a request ---- */

/* Lines follow the request line until an empty one, which a whole head has. */
static struct slice field(const struct http1_head *h, struct slice name)
{
	const char *end = h->method_raw.p + h->len;
	for (const char *p = memchr(h->method_raw.p, '\n', h->len); p && ++p < end && *p != '\r' && *p != '\n';) {
		const char *nl = memchr(p, '\n', (size_t)(end - p)), *colon = memchr(p, ':', (size_t)(nl ? nl - p : 0));
		if (!nl)
			break;
		if (colon && same((struct slice){p, (uint32_t)(colon - p)}, name, true))
			return trim((struct slice){colon + 1, (uint32_t)(nl - colon - 1)});
		p = nl;
	}
	return (struct slice){NULL, 0};
}

/* "name=value" among others. */
static struct slice member(struct slice list, char between, struct slice name)
{
	while (list.n) {
		struct slice value = next(&list, between), key = trim(next(&value, '='));
		if (same(key, name, false) && value.n)
			return trim(value);
	}
	return (struct slice){NULL, 0};
}

static struct slice of_baggage(const struct http1_head *h, struct slice name)
{
	struct slice v = {NULL, 0};
	for (unsigned i = 0; i < h->n_baggage && i < 4 && !v.n; i++)
		v = member(h->baggage[i], ',', name);
	return v.n ? trim(next(&v, ';')) : v; /* without its properties */
}

static struct slice path_of(struct slice target)
{
	if (target.n && *target.p != '/') { /* absolute form */
		struct slice rest = target;
		next(&rest, ':');
		if (rest.n > 2 && rest.p[0] == '/' && rest.p[1] == '/') {
			rest.p += 2;
			rest.n -= 2;
			const char *slash = memchr(rest.p, '/', rest.n);
			if (slash)
				target = (struct slice){slash, (uint32_t)(rest.p + rest.n - slash)};
		}
	}
	struct slice rest = next(&target, '#');
	return next(&rest, '?');
}

static struct slice of_path(const struct user_rule *r, struct slice path)
{
	struct slice none = {NULL, 0};
	if (path.n <= r->what.n || memcmp(path.p, r->what.p, r->what.n) != 0)
		return none;
	struct slice rest = {path.p + r->what.n, path.n - r->what.n}, value = rest;
	const char *slash = memchr(rest.p, '/', rest.n);
	if (slash)
		value.n = (uint32_t)(slash - rest.p);
	rest.p += value.n;
	rest.n -= value.n;
	return rest.n >= r->behind.n && (!r->behind.n || memcmp(rest.p, r->behind.p, r->behind.n) == 0) ? value : none;
}

static struct slice of_query(struct slice target, struct slice name)
{
	struct slice query = next(&target, '#');
	next(&query, '?');
	return member(query, '&', name);
}

struct slice user_rules_find(const struct user_rules *r, const struct http1_head *h)
{
	struct slice v = {NULL, 0};
	for (unsigned i = 0; i < r->n; i++) {
		const struct user_rule *u = &r->rule[i];
		switch (u->from) {
		case USER_HEADER:
			v = field(h, u->what);
			break;
		case USER_COOKIE:
			v = member(field(h, SLICE("cookie")), ';', u->what);
			break;
		case USER_QUERY:
			v = of_query(h->target, u->what);
			break;
		case USER_PATH:
			v = of_path(u, path_of(h->target));
			break;
		case USER_BAGGAGE:
			v = of_baggage(h, u->what);
			break;
		}
		if (v.n && v.n <= USER_MOST)
			return v;
	}
	return (struct slice){NULL, 0};
}
