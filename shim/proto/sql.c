/* The tokens of a statement, one at a time; see sql.h. */
#include "proto/sql.h"
#include "proto/scan.h"

#define NAME_MOST 256 /* bytes of a quoted identifier; databases take no longer ones */

enum list {
	LIST_NONE,
	LIST_IN,     /* behind IN */
	LIST_OPEN,   /* behind IN ( */
	LIST_ITEM,   /* behind its literal, which ends at list_at */
	LIST_COMMA,  /* and a comma */
	LIST_VALUES, /* behind VALUES */
	LIST_ROW,    /* in a row */
	LIST_ROWS,   /* behind a row, which ends at list_at */
	LIST_NEXT,   /* and a comma */
};

struct sql {
	const char *p, *e;
	char *out;
	size_t n, cap;
	bool mysql, over;      /* over: nothing more may be told */
	bool blank, semicolon; /* between the last token and the next */
	bool escapes;          /* the last token was a string with backslashes: another goes on with it */
	bool conditional;      /* in a conditional comment */
	bool doubt;            /* which string the text may not go beyond unless all of it makes sense */
	size_t doubt_at;
	enum list list;
	bool repeats;                     /* LIST_ROW: not the first row */
	size_t list_at, row, first, like; /* of the out: end of the list so far, this row, the first row, its length */
	unsigned depth;                   /* parentheses in a row */
};

static bool word_first(const struct sql *s, char c)
{
	return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || (unsigned char)c >= 0x80 || (c == '$' && s->mysql);
}

static bool word_char(char c)
{
	return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || (unsigned char)c >= 0x80 || is_digit(c) || c == '$';
}

static bool is_blank(char c)
{
	return (unsigned char)c <= 0x20 || c == 0x7f;
}

static bool quote(char c)
{
	return c == '\'' || c == '"' || c == '`';
}

/* Of a token, lower-case words only. */
static bool is(const char *p, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (!word[i] || lower(p[i]) != word[i])
			return false;
	return !word[n];
}

/* ---- writing ---- */

static void put(struct sql *s, const char *p, size_t n)
{
	size_t gap = s->n ? (size_t)s->semicolon + s->blank : 0;
	s->escapes = false;
	s->over |= gap + n > s->cap - s->n;
	if (s->over)
		return;
	if (s->n && s->semicolon)
		s->out[s->n++] = ';';
	if (s->n && s->blank)
		s->out[s->n++] = ' ';
	s->blank = s->semicolon = false;
	memcpy(s->out + s->n, p, n);
	s->n += n;
}

static void literal(struct sql *s)
{
	put(s, "?", 1);
	if (s->list == LIST_COMMA)
		s->n = s->list_at;
	else if (s->list == LIST_OPEN)
		s->list_at = s->n;
	if (s->list == LIST_COMMA || s->list == LIST_OPEN)
		s->list = LIST_ITEM;
	else if (s->list != LIST_ROW)
		s->list = LIST_NONE;
}

static void word(struct sql *s, const char *p, size_t n)
{
	put(s, p, n);
	if (s->list == LIST_ROW)
		return;
	s->list = is(p, n, "in") ? LIST_IN : is(p, n, "values") || is(p, n, "value") ? LIST_VALUES
	                                                                             : LIST_NONE;
	s->repeats = false;
}

static void row_ends(struct sql *s)
{
	size_t n = s->n - s->row;
	s->list = LIST_ROWS;
	if (s->repeats && n == s->like && memcmp(s->out + s->row, s->out + s->first, n) == 0) {
		s->n = s->list_at;
		if (s->doubt_at > s->n)
			s->doubt_at = s->n;
		return;
	}
	s->repeats = true;
	s->first = s->row;
	s->like = n;
	s->list_at = s->n;
}

static void punctuation(struct sql *s, char c)
{
	put(s, &c, 1);
	if (s->list == LIST_ROW) {
		s->depth += c == '(';
		if (c == ')' && --s->depth == 0 && !s->over)
			row_ends(s);
	} else if ((s->list == LIST_VALUES || s->list == LIST_NEXT) && c == '(') {
		s->list = LIST_ROW;
		s->row = s->n - 1;
		s->depth = 1;
	} else if (s->list == LIST_IN && c == '(') {
		s->list = LIST_OPEN;
	} else if (s->list == LIST_ITEM && c == ',') {
		s->list = LIST_COMMA;
	} else if (s->list == LIST_ROWS && c == ',') {
		s->list = LIST_NEXT;
	} else {
		s->list = LIST_NONE;
	}
}

/* ---- reading ---- */

/* What lies between s->p and `to` is one quoted thing, or a comment (own: 0). Does the text have to end here? */
static bool no_further(struct sql *s, const char *to, char own)
{
	for (const char *p = s->p; p < to; p++) {
		char next = to - p > 1 ? p[1] : 0;
		bool comment = own && (*p == '#' || *p == '$' || (*p == '-' && next == '-') || (*p == '/' && next == '*'));
		if (s->doubt && ((quote(*p) && *p != own) || comment))
			return true; /* what begins there in the other reading may hide quotes */
		if (s->conditional && own && *p == '*' && next == '/')
			return true; /* unless the server takes all of it for a comment, that ends here */
	}
	return false;
}

/* The end of what begins with a quote at p, behind it; NULL: there is none. *doubtful: a backslash stands before one. */
static const char *closing(const char *p, const char *e, bool escapes, bool *doubtful)
{
	char q = *p++;
	for (; p < e; p++) {
		if (*p == '\\' && e - p > 1 && quote(p[1]))
			*doubtful = true;
		if (*p == '\\' && escapes)
			p += e - p > 1;
		else if (*p == q && e - p > 1 && p[1] == q)
			p++;
		else if (*p == q)
			return p + 1;
	}
	return NULL;
}

static void string(struct sql *s, const char *from, bool escapes, bool either)
{
	char q = *from;
	bool doubtful = false;
	const char *to = closing(from, s->e, escapes, &doubtful);
	literal(s);
	s->p = from + 1;
	if (!to) {
		s->over = true;
		return;
	}
	if (doubtful && either && !s->doubt && !s->over) {
		s->doubt = true;
		s->doubt_at = s->n;
	}
	s->over |= no_further(s, to - 1, q);
	s->escapes = escapes;
	s->p = to;
}

/* An identifier in quotes stays; one with quotes of another kind in it may be something else, read wrongly. */
static void name(struct sql *s, const char *from)
{
	bool doubtful = false, odd = false;
	const char *to = closing(from, s->e, false, &doubtful), *at = s->p;
	if (!to) {
		literal(s);
		s->over = true;
		return;
	}
	for (const char *p = from; p < to; p++)
		odd |= (quote(*p) && *p != *from) || *p == '\\';
	if (odd || to - from > NAME_MOST)
		literal(s);
	else
		word(s, at, (size_t)(to - at));
	s->p = from + 1;
	s->over |= no_further(s, to - 1, *from);
	s->p = to;
}

/* Whatever is grown together with digits. */
static void number(struct sql *s)
{
	bool plain = true;
	for (; s->p < s->e && (word_char(*s->p) || *s->p == '.'); s->p++) {
		bool e = plain && lower(*s->p) == 'e' && s->e - s->p > 2 && (s->p[1] == '+' || s->p[1] == '-') && is_digit(s->p[2]);
		plain &= is_digit(*s->p) || *s->p == '.' || *s->p == '_';
		s->p += e;
	}
	literal(s);
}

/* $1, $tag$...$tag$ */
static void dollar(struct sql *s)
{
	const char *from = s->p, *p = from + 1;
	while (p < s->e && is_digit(*p))
		p++;
	if (p > from + 1) {
		s->p = p;
		word(s, from, (size_t)(p - from));
		return;
	}
	while (p < s->e && word_char(*p) && *p != '$')
		p++;
	literal(s);
	const char *to = NULL;
	size_t n = (size_t)(p + 1 - from);
	if (p < s->e && *p == '$') /* else a piece of its beginning, or nothing that we know */
		to = memmem(p + 1, (size_t)(s->e - p - 1), from, n);
	s->p = p;
	s->over |= !to || no_further(s, to, '$');
	if (to)
		s->p = to + n;
}

static void words(struct sql *s)
{
	const char *from = s->p, *p = from;
	while (p < s->e && word_char(*p))
		p++;
	size_t n = (size_t)(p - from);
	char next = p < s->e ? *p : 0, first = lower(*from);
	bool prefix = n == 1 && (first == 'n' || first == 'b' || first == 'x' || (first == 'e' && !s->mysql));
	if (s->mysql && (prefix || *from == '_') && (next == '\'' || next == '"')) {
		string(s, p, true, true);
	} else if (!s->mysql && prefix && next == '\'') {
		string(s, p, first == 'e', first != 'e');
	} else if (!s->mysql && n == 1 && first == 'u' && next == '&' && s->e - p > 1 && (p[1] == '\'' || p[1] == '"')) {
		if (p[1] == '\'')
			string(s, p + 1, false, true);
		else
			name(s, p + 1);
	} else {
		s->p = p;
		word(s, from, n);
	}
}

static void line_comment(struct sql *s)
{
	const char *p = s->p;
	while (p < s->e && *p != '\n' && (s->mysql || *p != '\r'))
		p++;
	s->over |= no_further(s, p, 0) || s->conditional; /* the server may find the end of the comment in this line */
	s->blank = true;
	s->p = p;
}

static void comment(struct sql *s)
{
	const char *p = s->p + 2;
	unsigned depth = 1;
	size_t mark = s->e - p > 1 && *p == 'M' && p[1] == '!' ? 2 : p < s->e && *p == '!';
	s->blank = true;
	if (s->conditional) {
		s->over = true;
		return;
	}
	if (s->mysql && mark) {
		s->conditional = true;
		for (p += mark; p < s->e && p < s->p + 8 + mark && is_digit(*p);)
			p++;
		s->p = p;
		return;
	}
	for (; depth && s->e - p > 1; p++)
		if (*p == '*' && p[1] == '/') {
			depth--;
			p++;
		} else if (*p == '/' && p[1] == '*' && !s->mysql) {
			depth++;
			p++;
		}
	s->over |= depth || no_further(s, p, 0);
	s->p = p;
}

/* Does a comment to the end of the line begin here? */
static bool comments(const struct sql *s)
{
	size_t n = (size_t)(s->e - s->p);
	if (*s->p == '#')
		return s->mysql;
	return n > 1 && s->p[0] == '-' && s->p[1] == '-' && (!s->mysql || n == 2 || is_blank(s->p[2]));
}

static void token(struct sql *s)
{
	char c = *s->p, next = s->e - s->p > 1 ? s->p[1] : 0;
	if (is_blank(c)) {
		s->blank = true;
		s->p++;
	} else if (c == ';') {
		s->semicolon = true;
		s->blank = false;
		s->list = LIST_NONE;
		s->p++;
	} else if (comments(s)) {
		line_comment(s);
	} else if (c == '/' && next == '*') {
		comment(s);
	} else if (c == '*' && next == '/' && s->conditional) {
		s->conditional = false;
		s->blank = true;
		s->p += 2;
	} else if (c == '\'' || (c == '"' && s->mysql)) {
		string(s, s->p, s->mysql || s->escapes, true);
	} else if (c == '"' || (c == '`' && s->mysql)) {
		name(s, s->p);
	} else if (is_digit(c) || (c == '.' && is_digit(next))) {
		number(s);
	} else if (word_first(s, c)) {
		words(s);
	} else if (c == '$') {
		dollar(s);
	} else if (c == '?') {
		literal(s);
		s->p++;
	} else if (c == '\\') {
		s->over = true; /* nowhere but in strings; MySQL's \N is not worth it */
	} else {
		punctuation(s, c);
		s->p++;
	}
}

size_t sql_sanitize(struct slice in, enum db_system system, char *out, size_t cap, bool *cut)
{
	struct sql s = {.p = in.p, .e = in.p ? in.p + in.n : in.p, .out = out, .cap = cap, .mysql = system != DB_POSTGRESQL};
	if (system == DB_NONE || system >= DB_SYSTEM_MAX)
		s.over = in.n > 0;
	size_t last = 0;
	bool grown = false; /* the last token reaches the end: it may be a piece of one */
	while (s.p < s.e && !s.over) {
		char c = *s.p;
		last = s.n;
		token(&s);
		grown = s.p == s.e && word_first(&s, c);
	}
	if (*cut && grown && !s.over && s.n > last)
		s.n = last;
	*cut |= s.over;
	if (*cut && s.doubt)
		s.n = s.doubt_at;
	else if (*cut && (s.list == LIST_COMMA || s.list == LIST_NEXT))
		s.n = s.list_at;
	else if (*cut && s.list == LIST_ROW && s.repeats && s.n - s.row < s.like && memcmp(s.out + s.row, s.out + s.first, s.n - s.row) == 0)
		s.n = s.list_at;
	return s.n;
}
