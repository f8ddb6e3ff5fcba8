/* Rust's default panic hook, old and new form, with and without a backtrace. A panic may be caught; its SDKs tell all. */
#include "exporters/errors/making.h"

enum { HEAD,
	   MESSAGE,
	   FRAMES };

static const char panicked[] = "' panicked at ";

/* "thread 'main' panicked at", "thread 'main' (123) panicked at": behind it; the name. n 0 = something else. */
static struct slice behind_head(struct slice l, struct slice *name)
{
	if (!starts(l, "thread '"))
		return (struct slice){0};
	struct slice rest = after(l, 8);
	size_t quote = find(rest, "' ");
	if (quote == SIZE_MAX)
		return (struct slice){0};
	*name = (struct slice){rest.p, (uint32_t)quote};
	rest = after(rest, quote + 2);
	if (starts(rest, "(")) {
		size_t close = find(rest, ") ");
		if (close == SIZE_MAX)
			return (struct slice){0};
		rest = after(rest, close + 2);
	}
	return starts(rest, panicked + 2) ? after(rest, sizeof panicked - 3) : (struct slice){0};
}

static bool is_overflow(struct slice l)
{
	return starts(l, "thread '") && ends(l, "has overflowed its stack");
}

static enum begins begins(struct slice prev, struct slice line)
{
	struct slice name;
	(void)prev;
	return behind_head(line, &name).n || is_overflow(line) ? BEGINS_HERE : BEGINS_NOT;
}

static bool is_frame(struct slice l)
{
	struct slice t = after(l, spaces(l));
	size_t digits;
	number_of(t, &digits);
	return spaces(l) && ((digits && starts(after(t, digits), ":")) || starts(t, "at "));
}

static enum belongs belongs(struct scan *s, struct slice l)
{
	if (s->lines++ == 0) {
		s->state = HEAD;
		return LINE_IN;
	}
	if (starts(l, "stack backtrace:")) {
		s->state = FRAMES;
		return LINE_IN;
	}
	if (starts(l, "note: "))
		return s->state == FRAMES || starts(l, "note: run with") ? LINE_LAST : LINE_IN;
	if (starts(l, "fatal runtime error: "))
		return LINE_LAST;
	struct slice name;
	if (behind_head(l, &name).n)
		return LINE_OUT;
	if (s->state == FRAMES)
		return is_frame(l) || starts(l, "      ") ? LINE_IN : LINE_OUT;
	if (s->state == HEAD && ends((struct slice){l.p, l.n}, "'")) /* nothing sure: old form had the message in the first line */
		s->state = MESSAGE;
	return ++s->more > 64 ? LINE_OUT : LINE_IN;
}

/* The panic's machinery; what called it is the first frame that says something. */
static bool is_machinery(const char *f)
{
	static const char *const names[] = {
		"rust_begin_unwind",
		"core::panicking::",
		"std::panicking::",
		"__rustc::",
		"core::result::unwrap_failed",
		"core::option::expect_failed",
		"core::option::unwrap_failed",
		"std::sys::backtrace::__rust_end_short_backtrace",
		"std::backtrace",
		"backtrace_rs",
	};
	for (size_t i = 0; f && i < sizeof names / sizeof *names; i++)
		if (strstr(f, names[i]))
			return true;
	return false;
}

/* "name::h0123456789abcdef", "core[0123]::f": without what changes with every build. */
#define PLAIN 2048
static struct slice plain(struct slice s, char out[PLAIN])
{
	size_t h = find_last(s, "::h"), n = 0;
	if (h != SIZE_MAX && s.n - h == 19)
		s.n = (uint32_t)h;
	for (uint32_t i = 0; i < s.n && n < PLAIN; i++) {
		struct slice hex = {s.p + i + 1, 16};
		if (s.p[i] == '[' && s.n - i > 17 && s.p[i + 17] == ']' && all_of(hex, "0123456789abcdef"))
			i += 17;
		else
			out[n++] = s.p[i];
	}
	return (struct slice){out, (uint32_t)n};
}

static void backtrace(struct making *m, struct slice text)
{
	struct report_frame *f = NULL;
	while (text.n) {
		struct slice l = cut_line(&text), t = after(l, spaces(l));
		size_t digits;
		number_of(t, &digits);
		if (starts(l, "note: ") || starts(l, "fatal runtime error"))
			break;
		if (digits && starts(after(t, digits), ":")) {
			t = trim(after(t, digits + 1));
			size_t dash = starts(t, "0x") ? find(t, " - ") : SIZE_MAX;
			if (dash != SIZE_MAX)
				t = after(t, dash + 3);
			char name[PLAIN];
			t = plain(t, name);
			f = make_frame(m, t, (struct slice){0}, 0);
			f->in_app = !starts(t, "std::") && !starts(t, "core::") && !starts(t, "alloc::") && !starts(t, "<");
		} else if (f && starts(t, "at ")) {
			struct slice file = trim(after(t, 3));
			uint32_t line, column;
			if (cut_position(&file, &line, &column)) {
				f->file = make_code(m, file);
				f->line = line;
				f->column = column;
				if (starts(file, "/rustc/") || find(file, "/.cargo/registry/") != SIZE_MAX || find(file, "/rustlib/src/") != SIZE_MAX)
					f->in_app = false;
				else
					f->in_app = true;
			}
			f = NULL;
		}
	}
	struct made_exception *e = &m->e[m->n - 1];
	size_t skip = 0;
	for (size_t i = 0; i < e->n; i++)
		if (is_machinery(e->frames[i].function))
			skip = i + 1;
		else if (e->frames[i].in_app)
			break;
	if (skip && skip < e->n) {
		memmove(e->frames, e->frames + skip, (e->n - skip) * sizeof *e->frames);
		e->n -= skip;
	}
}

static bool make(struct making *m, struct slice text)
{
	struct slice rest = text, first = cut_line(&rest), at, place, message;
	m->fate = FATE_THREAD;
	if (is_overflow(first)) {
		at = after(first, 8);
		size_t quote = find(at, "'");
		m->thread = (struct slice){at.p, quote == SIZE_MAX ? 0 : (uint32_t)quote};
		make_exception(m, SLICE("stack overflow"), trim(first));
		m->fate = FATE_PROCESS;
		m->r->by_signal = true;
		m->r->level = "critical";
		return true;
	}
	at = behind_head(first, &m->thread);
	if (!at.n)
		return false;
	size_t trace = find(rest, "stack backtrace:\n"), note = find(rest, "\nnote: "), fatal = find(rest, "fatal runtime error: ");
	if (note == SIZE_MAX && starts(rest, "note: "))
		note = 0;
	size_t end = trace < note ? trace : note;
	if (fatal < end)
		end = fatal;
	if (end > rest.n)
		end = rest.n;
	if (ends(at, ":")) { /* file:line:column: and the message in the lines below */
		place = (struct slice){at.p, at.n - 1};
		message = trim((struct slice){rest.p, (uint32_t)end});
	} else { /* 'message', file:line:column */
		size_t quote = find_last(at, "', ");
		if (quote == SIZE_MAX || at.p[0] != '\'')
			return false;
		message = (struct slice){at.p + 1, (uint32_t)quote - 1};
		place = after(at, quote + 3);
	}
	make_exception(m, SLICE("panic"), message);
	if (trace != SIZE_MAX)
		backtrace(m, after(rest, trace + 17));
	uint32_t line, column;
	if (!m->e[0].n && cut_position(&place, &line, &column)) {
		struct report_frame *f = make_frame(m, (struct slice){0}, place, line);
		f->column = column;
		f->in_app = !starts(place, "/rustc/");
	}
	if (fatal != SIZE_MAX) {
		m->fate = FATE_PROCESS;
		m->r->by_signal = true;
		m->r->level = "critical";
	}
	if (slice_eq(m->thread, SLICE("main")))
		m->r->level = "critical";
	return true;
}

const struct error_kind rust_errors = {"rust", begins, belongs, make};
