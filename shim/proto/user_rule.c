#include "proto/user_rule.h"
#include "proto/head_field.h"

enum user_from { USER_HEADER,
	             USER_COOKIE,
	             USER_QUERY,
	             USER_PATH,
	             USER_BAGGAGE,
	             USER_KINDS };

/* ---- the variable ---- */

static bool parse_one(struct slice s, struct user_rule *out)
{
	static const struct slice kinds[USER_KINDS] = {SLICE("header"), SLICE("cookie"), SLICE("query"), SLICE("path"), SLICE("baggage")};
	struct slice kind = slice_next(&s, ':');
	for (out->from = 0; out->from < USER_KINDS && !slice_eq(kind, kinds[out->from]); out->from++)
		;
	if (out->from == USER_KINDS || !s.n || (out->from == USER_HEADER && head_field_is_credential(s)))
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
		struct slice s = slice_trim(slice_next(&rest, ','));
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

/* "name=value" among others. */
static struct slice member(struct slice list, char between, struct slice name)
{
	while (list.n) {
		struct slice value = slice_next(&list, between), key = slice_trim(slice_next(&value, '='));
		if (slice_eq(key, name) && value.n)
			return slice_trim(value);
	}
	return (struct slice){NULL, 0};
}

static struct slice of_baggage(const struct http1_head *h, struct slice name)
{
	struct slice v = {NULL, 0};
	for (unsigned i = 0; i < h->n_baggage && i < 4 && !v.n; i++)
		v = member(h->baggage[i], ',', name);
	return v.n ? slice_trim(slice_next(&v, ';')) : v; /* without its properties */
}

static struct slice path_of(struct slice target)
{
	if (target.n && *target.p != '/') { /* absolute form */
		struct slice rest = target;
		slice_next(&rest, ':');
		if (rest.n > 2 && rest.p[0] == '/' && rest.p[1] == '/') {
			rest.p += 2;
			rest.n -= 2;
			const char *slash = memchr(rest.p, '/', rest.n);
			if (slash)
				target = (struct slice){slash, (uint32_t)(rest.p + rest.n - slash)};
		}
	}
	struct slice rest = slice_next(&target, '#');
	return slice_next(&rest, '?');
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
	struct slice query = slice_next(&target, '#');
	slice_next(&query, '?');
	return member(query, '&', name);
}

struct slice user_rules_find(const struct user_rules *r, const struct http1_head *h)
{
	struct slice v = {NULL, 0};
	for (unsigned i = 0; i < r->n; i++) {
		const struct user_rule *u = &r->rule[i];
		switch (u->from) {
		case USER_HEADER:
			v = head_field(h, u->what);
			break;
		case USER_COOKIE:
			v = member(head_field(h, SLICE("cookie")), ';', u->what);
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
