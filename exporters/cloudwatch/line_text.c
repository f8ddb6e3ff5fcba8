#include "exporters/cloudwatch/line_text.h"
#include "exporters/utf8.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEPTH 64
#define LOOK 160 /* bytes of a line in which its level stands */

static const struct {
	const char *name;
	enum level level;
} names[] = {
	{"TRACE", LEVEL_TRACE},
	{"VERBOSE", LEVEL_TRACE},
	{"DEBUG", LEVEL_DEBUG},
	{"DBG", LEVEL_DEBUG},
	{"INFO", LEVEL_INFO},
	{"INFORMATION", LEVEL_INFO},
	{"NOTICE", LEVEL_INFO},
	{"LOG", LEVEL_INFO},
	{"WARN", LEVEL_WARN},
	{"WARNING", LEVEL_WARN},
	{"ERROR", LEVEL_ERROR},
	{"ERR", LEVEL_ERROR},
	{"SEVERE", LEVEL_ERROR},
	{"CRITICAL", LEVEL_FATAL},
	{"CRIT", LEVEL_FATAL},
	{"FATAL", LEVEL_FATAL},
	{"ALERT", LEVEL_FATAL},
	{"EMERG", LEVEL_FATAL},
	{"EMERGENCY", LEVEL_FATAL},
	{"PANIC", LEVEL_FATAL},
};

static enum level exactly(const char *p, size_t n)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i].name) == n && strncasecmp(names[i].name, p, n) == 0)
			return names[i].level;
	return LEVEL_UNKNOWN;
}

enum level level_named(const char *p, size_t n)
{
	static const char letters[] = "TDIWEF";
	if (n == 1 && strchr(letters, *p & ~0x20) && (*p & ~0x20))
		return (enum level)(strchr(letters, *p & ~0x20) - letters + 1);
	if (n == 2 && p[0] >= '1' && p[0] <= '6' && p[1] >= '0' && p[1] <= '9')
		return (enum level)(p[0] - '0');
	return exactly(p, n);
}

const char *level_name(enum level l)
{
	static const char *const out[] = {NULL, "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
	return out[l];
}

/* ---- text ---- */

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_upper(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < 'A' || p[i] > 'Z')
			return false;
	return true;
}

static bool is_digits(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	return true;
}

/* "level=info", "lvl=\"warn\"" */
static enum level by_key(const char *p, size_t n)
{
	static const char *const keys[] = {"level=", "lvl=", "severity="};
	for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
		const char *at = memmem(p, n, keys[k], strlen(keys[k]));
		if (!at || (at > p && is_letter(at[-1])))
			continue;
		at += strlen(keys[k]);
		if (at < p + n && *at == '"')
			at++;
		size_t len = 0;
		while (at + len < p + n && is_letter(at[len]))
			len++;
		return exactly(at, len);
	}
	return LEVEL_UNKNOWN;
}

/* In capitals anywhere, in any case in brackets or before a colon at the line's beginning. */
enum level level_guess(struct slice line)
{
	static const char glog[] = "IWEF", value[] = {LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR, LEVEL_FATAL};
	const char *nl = line.n ? memchr(line.p, '\n', line.n) : NULL;
	const char *p = line.p, *end = nl ? nl : p + line.n;
	if (end - p > LOOK)
		end = p + LOOK;
	if (end - p > 5 && strchr(glog, *p) && *p && is_digits(p + 1, 4) && p[5] == ' ')
		return (enum level)value[strchr(glog, *p) - glog];
	if (end - p > 3 && *p == '<' && p[2] == '>' && p[1] >= '0' && p[1] <= '7') /* syslog */
		return p[1] < '3' ? LEVEL_FATAL : p[1] < '4' ? LEVEL_ERROR
		                              : p[1] < '5'   ? LEVEL_WARN
		                              : p[1] < '7'   ? LEVEL_INFO
		                                             : LEVEL_DEBUG;
	enum level l = p < end ? by_key(p, (size_t)(end - p)) : LEVEL_UNKNOWN;
	for (const char *q = p; q < end && !l;) {
		size_t n = 0;
		while (q + n < end && is_letter(q[n]))
			n++;
		if (n) {
			bool alone = (q == p || !strchr("_-./0123456789", q[-1])) && (q + n == end || !strchr("_-/0123456789=", q[n]));
			bool bracket = q > p && q + n < end && ((q[-1] == '[' && q[n] == ']') || (q[-1] == '<' && q[n] == '>'));
			bool head = q == p && q + n < end && (q[n] == ':' || q[n] == ']');
			if (alone && n > 2 && (bracket || head || is_upper(q, n)))
				l = exactly(q, n);
		}
		q += n + 1;
	}
	return l;
}

/* ---- JSON ---- */

struct scan_json {
	const char *p, *end;
};

static void blanks(struct scan_json *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r' || *s->p == '\n'))
		s->p++;
}

/* At a quote; out: what stands between the quotes. */
static bool string(struct scan_json *s, struct slice *out)
{
	const char *from = ++s->p;
	for (; s->p < s->end && *s->p != '"'; s->p++) {
		if ((unsigned char)*s->p < 0x20)
			return false;
		if (*s->p != '\\')
			continue;
		if (++s->p == s->end || !strchr("\"\\/bfnrtu", *s->p) || !*s->p)
			return false;
		if (*s->p != 'u')
			continue;
		if (s->end - s->p < 5)
			return false;
		for (int i = 1; i <= 4; i++)
			if (!((s->p[i] >= '0' && s->p[i] <= '9') || ((s->p[i] | 0x20) >= 'a' && (s->p[i] | 0x20) <= 'f')))
				return false;
		s->p += 4;
	}
	if (s->p == s->end)
		return false;
	*out = (struct slice){from, (uint32_t)(s->p - from)};
	s->p++;
	return true;
}

/* A number or a word. */
static bool plain(struct scan_json *s, struct slice *out)
{
	const char *from = s->p;
	while (s->p < s->end && *s->p && (is_letter(*s->p) || strchr("+-.0123456789", *s->p)))
		s->p++;
	*out = (struct slice){from, (uint32_t)(s->p - from)};
	if (!out->n)
		return false;
	if (is_letter(*from))
		return slice_eq(*out, SLICE("true")) || slice_eq(*out, SLICE("false")) || slice_eq(*out, SLICE("null"));
	const char *q = from + (*from == '-'), *e = s->p;
	size_t digits = 0;
	while (q + digits < e && q[digits] >= '0' && q[digits] <= '9')
		digits++;
	if (!digits || (*q == '0' && digits > 1))
		return false;
	q += digits;
	if (q < e && *q == '.') {
		const char *frac = ++q;
		while (q < e && *q >= '0' && *q <= '9')
			q++;
		if (q == frac)
			return false;
	}
	if (q < e && (*q | 0x20) == 'e') {
		q++;
		if (q < e && (*q == '+' || *q == '-'))
			q++;
		const char *ex = q;
		while (q < e && *q >= '0' && *q <= '9')
			q++;
		if (q == ex)
			return false;
	}
	return q == e;
}

static void member(struct json_line *out, struct slice key, struct slice value)
{
	static const char *const keys[] = {"level", "severity", "levelname", "lvl", "log.level", "loglevel", "Level",
	                                   "severityText", "severity_text", "@l"};
	if (slice_eq(key, SLICE("trace_id")))
		out->trace_id = true;
	if (slice_eq(key, SLICE("span_id")))
		out->span_id = true;
	for (size_t i = 0; i < sizeof keys / sizeof *keys && !out->level; i++)
		if (strlen(keys[i]) == key.n && memcmp(keys[i], key.p, key.n) == 0)
			out->level = level_named(value.p, value.n);
}

bool json_line_read(struct slice line, struct json_line *out)
{
	struct scan_json s = {line.p, line.p + line.n};
	struct slice key = {NULL, 0}, value;
	char open[DEPTH]; /* '{' or '[' */
	unsigned depth = 0;
	bool first = true; /* nothing yet in the innermost one */
	*out = (struct json_line){0};
	blanks(&s);
	if (s.p == s.end || *s.p != '{')
		return false;
	for (;;) {
		/* A value, or the end of an empty one. */
		blanks(&s);
		if (s.p == s.end)
			return false;
		if (first && depth && *s.p == (open[depth - 1] == '{' ? '}' : ']')) {
			out->empty |= depth == 1;
		} else {
			if (depth && open[depth - 1] == '{') {
				if (*s.p != '"' || !string(&s, &key))
					return false;
				blanks(&s);
				if (s.p == s.end || *s.p++ != ':')
					return false;
				blanks(&s);
				if (s.p == s.end)
					return false;
			}
			if (*s.p == '{' || *s.p == '[') {
				if (depth == 1)
					member(out, key, (struct slice){"", 0});
				if (depth == DEPTH)
					return false;
				open[depth++] = *s.p++;
				first = true;
				continue;
			}
			if (!(*s.p == '"' ? string(&s, &value) : plain(&s, &value)))
				return false;
			if (depth == 1)
				member(out, key, value);
		}
		first = false;
		for (;;) { /* behind a value */
			blanks(&s);
			if (s.p == s.end)
				return false;
			char c = *s.p++;
			if (c == ',')
				break;
			if (c != (open[depth - 1] == '{' ? '}' : ']'))
				return false;
			if (--depth)
				continue;
			out->close = (size_t)(s.p - 1 - line.p);
			blanks(&s);
			return s.p == s.end;
		}
	}
}

void json_escape(struct buf *b, const char *p, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	size_t from = 0, i = 0;
	for (; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		if (i > from)
			utf8_add(b, p + from, i - from);
		from = i + 1;
		char e[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
		static const char names_of[] = "b\bf\fn\nr\rt\t\"\"\\\\";
		char shortly = 0;
		for (size_t k = 0; k < sizeof names_of - 1; k += 2)
			if ((unsigned char)names_of[k + 1] == c)
				shortly = names_of[k];
		if (!c)
			buf_add(b, "\xef\xbf\xbd", 3);
		else if (shortly)
			buf_add(b, (char[]){'\\', shortly}, 2);
		else
			buf_add(b, e, 6);
	}
	if (i > from)
		utf8_add(b, p + from, i - from);
}
