#include "exporters/errors/making.h"
#include "exporters/utf8.h"
#include <stdio.h>
#include <stdlib.h>

#define TITLE 256

/* ---- bytes ---- */

struct slice cut_line(struct slice *text)
{
	const char *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
	uint32_t n = end ? (uint32_t)(end - text->p) : text->n;
	struct slice line = {text->p, n};
	*text = after(*text, end ? n + 1 : n);
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

bool starts(struct slice s, const char *with)
{
	size_t n = strlen(with);
	return s.n >= n && memcmp(s.p, with, n) == 0;
}

bool ends(struct slice s, const char *with)
{
	size_t n = strlen(with);
	return s.n >= n && memcmp(s.p + s.n - n, with, n) == 0;
}

struct slice after(struct slice s, size_t n)
{
	if (n > s.n)
		n = s.n;
	return (struct slice){s.n ? s.p + n : s.p, s.n - (uint32_t)n};
}

size_t spaces(struct slice s)
{
	size_t n = 0;
	while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t'))
		n++;
	return n;
}

struct slice trim(struct slice s)
{
	s = after(s, spaces(s));
	while (s.n && strchr(" \t\r\n", s.p[s.n - 1]))
		s.n--;
	return s;
}

size_t find(struct slice s, const char *what)
{
	const char *p = s.n ? memmem(s.p, s.n, what, strlen(what)) : NULL;
	return p ? (size_t)(p - s.p) : SIZE_MAX;
}

size_t find_last(struct slice s, const char *what)
{
	size_t n = strlen(what);
	for (size_t i = s.n; i >= n; i--)
		if (memcmp(s.p + i - n, what, n) == 0)
			return i - n;
	return SIZE_MAX;
}

bool all_of(struct slice s, const char *chars)
{
	for (uint32_t i = 0; i < s.n; i++)
		if (!s.p[i] || !strchr(chars, s.p[i]))
			return false;
	return s.n != 0;
}

uint32_t number_of(struct slice s, size_t *digits)
{
	uint64_t v = 0;
	size_t n = 0;
	for (; n < s.n && s.p[n] >= '0' && s.p[n] <= '9'; n++)
		if (v <= UINT32_MAX)
			v = v * 10 + (unsigned)(s.p[n] - '0');
	if (digits)
		*digits = n;
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static bool cut_number(struct slice *s, uint32_t *out)
{
	uint32_t n = s->n;
	while (n && s->p[n - 1] >= '0' && s->p[n - 1] <= '9')
		n--;
	if (n < 2 || n == s->n || s->p[n - 1] != ':')
		return false;
	*out = number_of(after(*s, n), NULL);
	s->n = n - 1;
	return true;
}

bool cut_position(struct slice *file, uint32_t *line, uint32_t *column)
{
	uint32_t first;
	*line = *column = 0;
	if (!cut_number(file, &first))
		return false;
	if (cut_number(file, line))
		*column = first;
	else
		*line = first;
	return true;
}

/* ---- parts ---- */

static const char *own(struct making *m, struct slice s, bool pairs)
{
	if (!s.p || !s.n)
		return NULL;
	if (s.n > ERROR_STRING_MOST)
		s.n = ERROR_STRING_MOST;
	size_t n = 0;
	char *clean = scrub(s, pairs, &n), *to = clean ? report_alloc(m->r, n * UTF8_GROWTH + 1) : NULL;
	if (to)
		utf8_copy(to, clean, n);
	free(clean);
	return to;
}

const char *make_text(struct making *m, struct slice s)
{
	return own(m, s, true);
}

const char *make_code(struct making *m, struct slice s)
{
	return own(m, trim(s), false);
}

struct made_exception *make_exception(struct making *m, struct slice type, struct slice message)
{
	struct made_exception *e = &m->e[m->n < ERROR_CHAIN_MOST ? m->n : ERROR_CHAIN_MOST - 1];
	if (m->n < ERROR_CHAIN_MOST) {
		m->n++;
	} else {
		free(e->frames);
	}
	*e = (struct made_exception){.type = type, .message = message};
	return e;
}

struct report_frame *make_frame(struct making *m, struct slice function, struct slice file, uint32_t line)
{
	static struct report_frame none;
	struct made_exception *e = m->n ? &m->e[m->n - 1] : make_exception(m, (struct slice){0}, (struct slice){0});
	if (e->n == ERROR_FRAMES_MOST) { /* the first half stays, the second moves on */
		size_t half = ERROR_FRAMES_MOST / 2;
		memmove(e->frames + half, e->frames + half + 1, (half - 1) * sizeof *e->frames);
		e->n--;
		e->cut++;
	}
	if (e->n == e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 16;
		struct report_frame *f = realloc(e->frames, cap * sizeof *f);
		if (!f) {
			none = (struct report_frame){0};
			return &none;
		}
		e->frames = f;
		e->cap = cap;
	}
	struct report_frame *f = &e->frames[e->n++];
	*f = (struct report_frame){.line = line, .in_app = true};
	f->function = make_text(m, function);
	f->file = make_code(m, file);
	return f;
}

void make_reverse_frames(struct making *m)
{
	struct made_exception *e = m->n ? &m->e[m->n - 1] : NULL;
	for (size_t i = 0; e && i < e->n / 2; i++) {
		struct report_frame f = e->frames[i];
		e->frames[i] = e->frames[e->n - 1 - i];
		e->frames[e->n - 1 - i] = f;
	}
}

void make_reverse_exceptions(struct making *m)
{
	for (size_t i = 0; i < m->n / 2; i++) {
		struct made_exception e = m->e[i];
		m->e[i] = m->e[m->n - 1 - i];
		m->e[m->n - 1 - i] = e;
	}
}

/* ---- the whole ---- */

/* At most `most` bytes of well-formed text, not in the middle of a character. */
static int prefix(const char *s, size_t n, size_t most)
{
	if (n <= most)
		return (int)n;
	for (n = most; n && ((unsigned char)s[n] & 0xc0) == 0x80; n--)
		;
	return (int)n;
}

static const char *title_of(struct making *m)
{
	const char *type = m->r->exceptions[0].type, *message = m->r->exceptions[0].message;
	char *title = report_alloc(m->r, TITLE);
	int n = prefix(type, strlen(type), TITLE / 2);
	int first = message ? prefix(message, strcspn(message, "\n"), TITLE - 4 - (size_t)n) : 0;
	if (title)
		snprintf(title, TITLE, "%.*s%s%.*s", n, type, first ? ": " : "", first, message ? message : "");
	return title;
}

static bool finish(struct making *m)
{
	struct report *r = m->r;
	r->exceptions = report_alloc(r, m->n * sizeof *r->exceptions);
	if (!r->exceptions)
		return false;
	for (size_t i = 0; i < m->n; i++) {
		struct made_exception *e = &m->e[i];
		struct report_exception *x = &r->exceptions[i];
		x->type = make_text(m, e->type);
		x->message = make_text(m, e->message);
		x->frames = report_alloc(r, e->n * sizeof *e->frames);
		if (x->frames && e->n) {
			memcpy(x->frames, e->frames, e->n * sizeof *e->frames);
			x->n = e->n;
		}
		if (!x->type)
			x->type = "Error";
	}
	r->n_exceptions = m->n;
	r->title = title_of(m);
	r->description = m->description;
	return r->title != NULL;
}

struct report *error_make(const struct error_kind *kind, struct slice text, bool begun_inside, enum error_fate *fate)
{
	struct making *m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	m->begun_inside = begun_inside;
	m->r = report_new(REPORT_STDERR);
	bool good = m->r && kind->make(m, text) && m->n && finish(m);
	struct report *r = m->r;
	if (good) {
		size_t n = 0;
		char *clean = scrub(text, true, &n), *to = clean ? report_alloc(r, n * UTF8_GROWTH + 1) : NULL;
		if (to)
			utf8_copy(to, clean, n);
		free(clean);
		r->text = to;
		if (!r->language)
			r->language = kind->language;
		if (m->thread.n) {
			r->threads = report_alloc(r, sizeof *r->threads);
			if (r->threads) {
				r->threads[0] = (struct report_thread){.name = make_text(m, m->thread), .crashed = true};
				r->n_threads = 1;
			}
		}
		*fate = m->fate;
	}
	for (size_t i = 0; i < m->n; i++)
		free(m->e[i].frames);
	free(m);
	if (good)
		return r;
	report_free(r);
	return NULL;
}
