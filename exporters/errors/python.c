/*
 * CPython, from 3.6 on: tracebacks with their chains and groups, SyntaxError without a traceback, the text of
 * faulthandler ("Fatal Python error"), errors of threads, and what logging prints of a handled one.
 */
#include "exporters/errors/making.h"
#include "exporters/buf.h"

static const char header[] = "Traceback (most recent call last):";
static const char group_header[] = "+ Exception Group Traceback (most recent call last):";
static const char cause[] = "The above exception was the direct cause of the following exception:";
static const char context[] = "During handling of the above exception, another exception occurred:";
static const char fatal[] = "Fatal Python error: ";

enum {          /* of a scan */
	   HEAD,    /* nothing but what begins it */
	   FRAMES,  /* "  File ..." and code */
	   MESSAGE, /* the last line of an exception was there */
	   BLANK,   /* and an empty one behind it */
	   AGAIN,   /* "During handling ..." */
	   GROUP,
	   FATAL,
};

static struct slice line_of(struct slice s)
{
	while (s.n && s.p[s.n - 1] == ' ')
		s.n--;
	return s;
}

static bool is_file(struct slice line)
{
	return starts(line, "  File \"") && find(line, "\", line ") != SIZE_MAX;
}

static enum begins begins(struct slice prev, struct slice line)
{
	struct slice l = line_of(line);
	if (ends(l, header) || ends(l, group_header)) {
		struct slice t = after(l, spaces(l));
		if (!starts(t, "Traceback") && !starts(t, "+ Exception"))
			return BEGINS_NOT;
		if (starts(prev, "Exception in thread ") || starts(prev, "Exception ignored in"))
			return BEGINS_BEFORE;
		return BEGINS_HERE;
	}
	if (starts(l, fatal))
		return BEGINS_HERE;
	/* A script that does not parse: no traceback. */
	if (is_file(l) && find(l, ", in ") == SIZE_MAX)
		return BEGINS_HERE;
	return BEGINS_NOT;
}

/* A dotted name: what a class looks like at the beginning of a line. Its length, 0 = something else. */
static size_t class_name(struct slice s)
{
	size_t n = 0;
	bool first = true;
	for (; n < s.n; n++) {
		unsigned char c = (unsigned char)s.p[n];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
		if (c == '.' || c == '<' || c == '>') /* a class in a function: f.<locals>.E */
			first = true;
		else if (letter || (!first && c >= '0' && c <= '9'))
			first = false;
		else
			break;
	}
	return n && (n == s.n || s.p[n] == ':') ? n : 0;
}

static enum belongs in_group(struct slice l)
{
	struct slice t = after(l, spaces(l));
	if (t.n && (t.p[0] == '|' || t.p[0] == '+'))
		return LINE_IN;
	return LINE_OUT;
}

static enum belongs belongs(struct scan *s, struct slice line)
{
	struct slice l = line_of(line);
	if (s->lines++ == 0) { /* the one it begins with */
		s->state = starts(l, fatal) ? FATAL : ends(l, group_header) ? GROUP
		                                  : is_file(l)              ? FRAMES
		                                                            : HEAD;
		return LINE_IN;
	}
	switch (s->state) {
	case HEAD:
		if (ends(l, group_header)) {
			s->state = GROUP;
			return LINE_IN;
		}
		if (ends(l, header))
			return LINE_IN;
		/* fall through */
	case FRAMES:
		if (spaces(l)) {
			s->state = FRAMES;
			return LINE_IN;
		}
		if (!l.n)
			return s->state == FRAMES ? LINE_IN : LINE_OUT; /* an empty line in the source */
		if (l.p[0] == '[' && ends(l, "]"))
			return LINE_IN; /* [Previous line repeated ..] of old ones */
		if (!class_name(l))
			return LINE_OUT;
		s->state = MESSAGE;
		return LINE_IN;
	case MESSAGE: /* a message may have more lines; what follows an empty one is told by its words */
		if (!l.n) {
			s->state = BLANK;
			return LINE_IN;
		}
		if (starts(l, header) || starts(l, "Exception in thread ") || starts(l, fatal) || starts(l, "Exception ignored in"))
			return LINE_OUT;
		return !s->joined || ++s->more > 64 ? LINE_OUT : LINE_IN;
	case BLANK:
		if (starts(l, cause) || starts(l, context)) {
			s->state = AGAIN;
			s->more = 0;
			return LINE_IN;
		}
		if (!s->joined || starts(l, header))
			return LINE_OUT;
		s->state = l.n ? MESSAGE : BLANK;
		return LINE_IN;
	case AGAIN:
		if (!l.n)
			return LINE_IN;
		if (ends(l, group_header)) {
			s->state = GROUP;
			return LINE_IN;
		}
		if (starts(l, header) || is_file(l)) {
			s->state = HEAD;
			return LINE_IN;
		}
		return LINE_OUT;
	case GROUP:
		if (!l.n) {
			s->state = BLANK;
			return LINE_IN;
		}
		return in_group(l);
	case FATAL:
		if (!l.n || spaces(l) || starts(l, "Current thread ") || starts(l, "Thread 0x") || starts(l, "Python runtime state: ") ||
		    starts(l, "Extension modules: ") || starts(l, "<no Python frame>"))
			return LINE_IN;
		/* The text of an error that it was about: "ImportError: ..." */
		return class_name(l) || starts(l, header) ? LINE_IN : LINE_OUT;
	}
	return LINE_OUT;
}

/* ---- the report ---- */

static bool in_app(struct slice file)
{
	if (file.n && file.p[0] == '<')
		return starts(file, "<stdin>") || starts(file, "<string>");
	if (find(file, "/site-packages/") != SIZE_MAX || find(file, "/dist-packages/") != SIZE_MAX)
		return false;
	size_t lib = find(file, "/lib/python");
	return lib == SIZE_MAX;
}

/* `  File "f", line n, in m`. NULL: something else. */
static struct report_frame *frame(struct making *m, struct slice l)
{
	struct slice s = after(l, spaces(l));
	if (!starts(s, "File \""))
		return NULL;
	s = after(s, 6);
	size_t end = find_last(s, "\", line ");
	if (end == SIZE_MAX)
		return NULL;
	struct slice file = {s.p, (uint32_t)end}, rest = after(s, end + 8), function = {0};
	size_t digits;
	uint32_t line = number_of(rest, &digits);
	rest = after(rest, digits);
	if (!digits)
		return NULL;
	if (starts(rest, ", in "))
		function = after(rest, 5);
	else if (starts(rest, " in ")) /* faulthandler */
		function = after(rest, 4);
	struct report_frame *f = make_frame(m, function, file, line);
	f->in_app = in_app(file);
	return f;
}

/* From the marks under a line; Python counts from the line as it stands in the file, which is not known here. */
static bool is_marks(struct slice l)
{
	return all_of(trim(l), "^~");
}

static void repeated(struct making *m, struct slice l)
{
	size_t at = find(l, "repeated ");
	struct made_exception *e = m->n ? &m->e[m->n - 1] : NULL;
	if (at != SIZE_MAX && e && e->n)
		e->frames[e->n - 1].repeated = number_of(after(l, at + 9), NULL);
}

/* "Class: message", and further lines of the message up to the end of `text`. */
static void name_it(struct making *m, struct made_exception *e, struct slice l, struct slice text)
{
	size_t n = class_name(l);
	(void)m;
	e->type = (struct slice){l.p, (uint32_t)n};
	const char *from = l.p + n + (n < l.n), *to = text.p + text.n;
	e->message = trim(between(from, to));
}

/* One traceback, from behind its header to the end of `text` (the next "During handling" or the block's end). */
static void one(struct making *m, struct slice text)
{
	struct made_exception *e = make_exception(m, (struct slice){0}, (struct slice){0});
	struct report_frame *f = NULL;
	bool syntax = false;
	while (text.n) {
		struct slice rest = text, l = line_of(cut_line(&text));
		if (starts(l, header) || !l.n)
			continue;
		if (!spaces(l) && class_name(l)) {
			name_it(m, e, l, rest);
			break;
		}
		struct report_frame *next = frame(m, l);
		if (next) {
			syntax = !next->function;
			f = next;
		} else if (starts(trim(l), "[Previous line repeated")) {
			repeated(m, l);
		} else if (f && !f->code && !is_marks(l)) {
			f->code = make_code(m, l);
		} else if (f && is_marks(l) && syntax && f->code) {
			f->column = 0;
		}
	}
	make_reverse_frames(m);
}

/* Without the bars of a group: its text as if each exception stood alone, one after the other. */
static void group(struct making *m, struct slice text)
{
	struct buf b = {0};
	while (text.n) {
		struct slice l = cut_line(&text), t = after(l, spaces(l));
		bool head = find(l, group_header) != SIZE_MAX;
		if (head || starts(t, "+-") || starts(t, "+--")) {
			buf_add(&b, "\0", 1); /* the end of one */
			continue;
		}
		if (t.n && t.p[0] == '|')
			t = after(t, starts(t, "| ") ? 2 : 1);
		else
			t = l;
		buf_add(&b, t.p, t.n);
		buf_add(&b, "\n", 1);
	}
	for (size_t i = 0; !b.failed && i < b.n;) {
		size_t n = strnlen(b.p + i, b.n - i);
		struct slice part = {b.p + i, (uint32_t)n};
		if (trim(part).n) {
			one(m, part);
			/* The bytes are ours for a moment only. */
			struct made_exception *e = &m->e[m->n - 1];
			const char *type = report_str(m->r, e->type.p, e->type.n), *message = report_str(m->r, e->message.p, e->message.n);
			e->type.p = type;
			e->message.p = message;
			e->type.n = type ? e->type.n : 0;
			e->message.n = message ? e->message.n : 0;
		}
		i += n + 1;
	}
	buf_free(&b);
}

static void fatal_error(struct making *m, struct slice text)
{
	struct slice l = line_of(cut_line(&text));
	struct slice what = after(l, sizeof fatal - 1);
	make_exception(m, SLICE("Fatal Python error"), what);
	bool here = true; /* frames of the current thread; of others and before a thread's line, none */
	while (text.n) {
		l = line_of(cut_line(&text));
		if (starts(l, "Thread 0x"))
			here = false;
		else if (starts(l, "Current thread "))
			here = true;
		else if (here)
			frame(m, l); /* the innermost first, as it stands */
	}
	m->fate = FATE_PROCESS;
	m->r->by_signal = true;
	m->r->level = "critical";
}

static size_t next_block(struct slice text, struct slice *tail)
{
	size_t a = find(text, "\n\nThe above exception was the direct cause"), b = find(text, "\n\nDuring handling of the above exc");
	size_t at = a < b ? a : b;
	if (at == SIZE_MAX)
		return text.n;
	*tail = after(text, at + 2);
	cut_line(tail);
	return at;
}

static bool make(struct making *m, struct slice text)
{
	struct slice all = text, first = cut_line(&all);
	if (starts(first, fatal)) {
		fatal_error(m, text);
		return true;
	}
	if (starts(first, "Exception in thread ")) {
		struct slice name = after(first, 20);
		while (name.n && (name.p[name.n - 1] == ':' || name.p[name.n - 1] == ' '))
			name.n--;
		m->thread = name;
		m->fate = FATE_THREAD;
		text = all;
	} else if (starts(first, "Exception ignored in")) {
		m->fate = FATE_LOGGED; /* in a destructor: the program goes on */
		text = all;
	} else if (m->begun_inside) {
		m->fate = FATE_LOGGED; /* a logger writes its line and the traceback at once, the interpreter does not */
	}
	for (struct slice rest = text; rest.n;) {
		struct slice tail = {0}, part = {rest.p, 0};
		part.n = (uint32_t)next_block(rest, &tail);
		if (find(part, group_header) != SIZE_MAX) {
			/* The group comes last of its block: its own exceptions behind it, as causes do. */
			size_t before = m->n;
			group(m, part);
			for (size_t i = 0; i < (m->n - before) / 2; i++) {
				struct made_exception e = m->e[before + i];
				m->e[before + i] = m->e[m->n - 1 - i];
				m->e[m->n - 1 - i] = e;
			}
		} else if (trim(part).n) {
			one(m, part);
		}
		rest = tail;
	}
	make_reverse_exceptions(m);
	/* Cut off before the line that names it, or a file that somebody spoke of. */
	if (is_file(first) && m->n && !ends(m->e[0].type, "Error"))
		return false;
	return m->n && m->e[0].type.n;
}

const struct error_kind python_errors = {"python", begins, belongs, make};
