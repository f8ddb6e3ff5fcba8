#include "exporters/sql_tokens.h"

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool word_char(char c)
{
	return sql_letter(c) || digit(c) || c == '$' || (unsigned char)c >= 0x80;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool sql_is(struct slice w, const char *words)
{
	for (const char *p = words;; p++) {
		uint32_t i = 0;
		while (i < w.n && p[i] && lower(w.p[i]) == p[i])
			i++;
		if (i == w.n && (!p[i] || p[i] == ' '))
			return i > 0;
		p = strchr(p, ' ');
		if (!p)
			return false;
	}
}

bool sql_same(struct slice a, struct slice b)
{
	uint32_t i = 0;
	while (i < a.n && i < b.n && lower(a.p[i]) == lower(b.p[i]))
		i++;
	return i == a.n && i == b.n;
}

/* One part of a name; NULL: there is none, or it does not end. */
static const char *part(const char *p, const char *e)
{
	if (e - p > 2 && lower(*p) == 'u' && p[1] == '&' && p[2] == '"')
		p += 2;
	if (p < e && (*p == '"' || *p == '`')) {
		char q = *p;
		for (p++; p < e; p++) {
			if (*p != q)
				continue;
			if (e - p < 2 || p[1] != q)
				return p + 1;
			p++;
		}
		return NULL;
	}
	if (p == e || !word_char(*p) || digit(*p))
		return NULL;
	while (p < e && word_char(*p))
		p++;
	return p;
}

static const char *past_blanks(const char *p, const char *e)
{
	while (p < e && sql_blank(*p))
		p++;
	return p;
}

static struct sql_token name(struct sql_reader *s, const char *from, const char *to)
{
	struct sql_token t = {word_char(to[-1]) ? SQL_WORD : SQL_NAME, {from, (uint32_t)(to - from)}};
	for (;;) {
		const char *dot = past_blanks(to, s->e);
		const char *next = dot < s->e && *dot == '.' ? part(past_blanks(dot + 1, s->e), s->e) : NULL;
		if (!next)
			break;
		to = next;
		t = (struct sql_token){SQL_NAME, {from, (uint32_t)(to - from)}};
	}
	if (t.what == SQL_WORD && *from == '$' && t.s.n > 1 && digit(from[1]))
		t.what = SQL_VALUE;
	s->p = to;
	return t;
}

struct sql_token sql_next(struct sql_reader *s)
{
	const char *from = s->p = past_blanks(s->p, s->e), *to;
	if (from == s->e)
		return (struct sql_token){SQL_END, {NULL, 0}};
	if ((to = part(from, s->e)))
		return name(s, from, to);
	if (*from == '"' || *from == '`') {
		s->p = s->e;
		return (struct sql_token){SQL_END, {NULL, 0}};
	}
	s->p++;
	if (*from == '@') {
		while (s->p < s->e && *s->p == '@')
			s->p++;
		if ((to = part(s->p, s->e)))
			name(s, s->p, to);
		return (struct sql_token){SQL_VAR, {from, (uint32_t)(s->p - from)}};
	}
	if (*from == '.' && (to = part(past_blanks(s->p, s->e), s->e)))
		s->p = to; /* (x).from */
	while (digit(*from) && s->p < s->e && word_char(*s->p))
		s->p++;
	return (struct sql_token){*from == '?' || digit(*from) ? SQL_VALUE : (unsigned char)*from, {from, 1}};
}
