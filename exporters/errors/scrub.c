/*
 * Secrets in messages and source lines, with the shim's own idea of what is secret: URLs (user information, secret
 * query values), and NAME=VALUE, NAME: VALUE, 'NAME': 'VALUE' where NAME is a secret's. Errs towards too much.
 */
#include "exporters/errors/making.h"
#include "exporters/buf.h"
#include "proto/redact.h"
#include <strings.h>

#define NAME_MOST 64

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

static bool in_url(char c)
{
	return (unsigned char)c > ' ' && !strchr("\"'<>`{}|\\^", c);
}

/* Is it a word before "://"? Where it begins. */
static uint32_t scheme_at(struct slice s, uint32_t at)
{
	uint32_t i = at;
	while (i && (is_name(s.p[i - 1]) || s.p[i - 1] == '+'))
		i--;
	return i;
}

static bool is_secret(const char *name, uint32_t n)
{
	char pair[NAME_MOST + 4], out[NAME_MOST + 32];
	if (!n || n > NAME_MOST)
		return false;
	/* Too common in messages: exit code: 1, KeyError key=.., unexpected token. In URLs they count. */
	static const char *const common[] = {"code", "key", "assertion", "session", "sig", "signature"};
	for (size_t i = 0; i < sizeof common / sizeof *common; i++)
		if (strlen(common[i]) == n && strncasecmp(name, common[i], n) == 0)
			return false;
	memcpy(pair, name, n);
	memcpy(pair + n, "=Zq", 3);
	size_t k = redact_query((struct slice){pair, n + 3}, out, sizeof out);
	return k >= n + 1 && (k != n + 3 || memcmp(out, pair, k) != 0);
}

/* Behind a name: '=', ':' with or without quotes and spaces. Where its value begins; 0 = it is no pair. */
static uint32_t value_at(struct slice s, uint32_t i)
{
	uint32_t at = i;
	bool sign = false;
	for (; at < s.n && at - i < 6; at++) {
		char c = s.p[at];
		if ((c == '=' || c == ':') && !sign)
			sign = true;
		else if (c != ' ' && c != '"' && c != '\'')
			break;
	}
	return sign && at < s.n && s.p[at] != '\n' && s.p[at] != '=' ? at : 0;
}

static uint32_t value_end(struct slice s, uint32_t at)
{
	char quote = at ? s.p[at - 1] : 0;
	if (quote != '"' && quote != '\'')
		quote = 0;
	for (; at < s.n && s.p[at] != '\n'; at++)
		if (quote ? s.p[at] == quote : strchr(" \t\"',;&)}]", s.p[at]) != NULL)
			break;
	return at;
}

static void url(struct buf *b, struct slice s)
{
	size_t cap = (size_t)s.n * 20 + 64;
	if (!buf_reserve(b, cap))
		return;
	b->n += redact_url(s, b->p + b->n, cap);
}

char *scrub(struct slice s, bool pairs, size_t *n)
{
	struct buf b = {0};
	uint32_t done = 0, i = 0;
	buf_reserve(&b, s.n + 1);
	while (i < s.n) {
		if (s.p[i] == ':' && s.n - i > 3 && memcmp(s.p + i, "://", 3) == 0) {
			uint32_t from = scheme_at(s, i), to = i + 3;
			if (from < done)
				from = done;
			while (to < s.n && in_url(s.p[to]))
				to++;
			buf_add(&b, s.p + done, from - done);
			url(&b, (struct slice){s.p + from, to - from});
			done = i = to;
			continue;
		}
		if (pairs && is_name(s.p[i]) && (i == 0 || !is_name(s.p[i - 1]))) {
			uint32_t end = i, value;
			while (end < s.n && is_name(s.p[end]))
				end++;
			if (end < s.n && strchr("=:\"' ", s.p[end]) && !(s.n - end > 3 && memcmp(s.p + end, "://", 3) == 0) &&
			    (value = value_at(s, end)) && is_secret(s.p + i, end - i)) {
				uint32_t to = value_end(s, value);
				/* "Authorization: Bearer x", "token: y" */
				if (to - value <= 6 && to < s.n && s.p[to] == ' ' && (strncasecmp(s.p + value, "bearer", 6) == 0 || strncasecmp(s.p + value, "basic", 5) == 0))
					to = value_end(s, to + 1);
				buf_add(&b, s.p + done, value - done);
				buf_add(&b, "REDACTED", 8);
				done = i = to;
				continue;
			}
			i = end;
			continue;
		}
		i++;
	}
	buf_add(&b, s.p + done, s.n - done);
	buf_add(&b, "", 1);
	if (b.failed) {
		buf_free(&b);
		return NULL;
	}
	*n = b.n - 1;
	return b.p;
}
