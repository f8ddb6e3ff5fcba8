/*
 * Ruby: "file:line:in `m': message (Class)", "\tfrom file:line:in `m'", causes below. 3.4 writes 'C#m' instead of `m'.
 * The process's end tells whether anybody rescued it; a thread's is announced. Of what it says of its own crash
 * ("file:line: [BUG] ..", long) only the part with Ruby's frames is read.
 */
#include "exporters/errors/making.h"

enum { NAME,
	   FRAMES,
	   BUG,
	   BUG_FRAMES };

static const char bug[] = ": [BUG] ", bug_frames[] = "-- Ruby level backtrace information ";

/* "file:line:in `m'" at the beginning: the length, 0 = none. */
static size_t place(struct slice l, struct slice *file, uint32_t *line, struct slice *method)
{
	size_t in = find(l, ":in ");
	uint32_t column;
	if (in == SIZE_MAX || in + 6 > l.n || (l.p[in + 4] != '`' && l.p[in + 4] != '\''))
		return 0;
	struct slice head = {l.p, (uint32_t)in}, rest = after(l, in + 5);
	size_t end = find(rest, "'");
	if (end == SIZE_MAX || !cut_position(&head, line, &column) || column || !head.n || spaces(head))
		return 0;
	*file = head;
	*method = (struct slice){rest.p, (uint32_t)end};
	return in + 5 + end + 1;
}

static bool is_name(struct slice l)
{
	struct slice file, method;
	uint32_t line;
	size_t n = place(l, &file, &line, &method);
	return n && starts(after(l, n), ": ");
}

static bool is_thread(struct slice l)
{
	return starts(l, "#<Thread:") && find(l, "terminated with exception (report_on_exception is true)") != SIZE_MAX;
}

static enum begins begins(struct slice prev, struct slice line)
{
	if (find(line, bug) != SIZE_MAX)
		return BEGINS_HERE;
	if (!is_name(line))
		return BEGINS_NOT;
	return is_thread(prev) ? BEGINS_BEFORE : BEGINS_HERE;
}

static enum belongs belongs(struct scan *s, struct slice l)
{
	if (s->lines == 0 && find(l, bug) != SIZE_MAX)
		s->state = BUG;
	if (s->lines++ == 0 || (s->lines == 2 && is_name(l)))
		return LINE_IN;
	if (s->state == BUG || s->state == BUG_FRAMES) {
		if (s->lines == 2 && !starts(l, "ruby "))
			return LINE_OUT;
		if (starts(l, bug_frames))
			s->state = BUG_FRAMES;
		return s->state == BUG_FRAMES && !l.n ? LINE_LAST : s->lines > 1024 ? LINE_OUT
		                                                                    : LINE_IN;
	}
	if (starts(l, "\tfrom ") || (starts(l, "\t ... ") && ends(l, " levels..."))) {
		s->state = FRAMES;
		return LINE_IN;
	}
	if (is_name(l) && (s->state == FRAMES || s->joined)) { /* a cause */
		s->state = NAME;
		s->more = 0;
		return LINE_IN;
	}
	return s->state == NAME && s->joined && l.n && ++s->more <= 64 ? LINE_IN : LINE_OUT;
}

static bool in_app(struct slice file)
{
	return find(file, "/gems/") == SIZE_MAX && find(file, "/lib/ruby/") == SIZE_MAX && !starts(file, "<internal:");
}

static size_t frame(struct making *m, struct slice l)
{
	struct slice file, method;
	uint32_t line;
	size_t n = place(l, &file, &line, &method);
	if (n)
		make_frame(m, method, file, line)->in_app = in_app(file);
	return n;
}

/* "message (Class)" over one or more lines: the class stands at the end of the first. */
static void name_it(struct making *m, struct made_exception *e, struct slice text)
{
	struct slice rest = text, first = cut_line(&rest);
	size_t open = find_last(first, " (");
	if (open == SIZE_MAX || !ends(first, ")")) {
		e->type = SLICE("RuntimeError");
		e->message = trim(text);
		return;
	}
	e->type = (struct slice){first.p + open + 2, first.n - (uint32_t)open - 3};
	e->message = trim((struct slice){first.p, (uint32_t)open});
	char *all = rest.n ? report_alloc(m->r, e->message.n + rest.n + 2) : NULL;
	if (!all)
		return;
	memcpy(all, e->message.p, e->message.n);
	all[e->message.n] = '\n';
	memcpy(all + e->message.n + 1, rest.p, rest.n);
	e->message = trim((struct slice){all, e->message.n + 1 + rest.n});
}

static bool make_bug(struct making *m, struct slice what, struct slice rest)
{
	size_t at = find(rest, bug_frames);
	if (at == SIZE_MAX)
		return false;
	make_exception(m, SLICE("[BUG]"), trim(what));
	rest = after(rest, at);
	for (cut_line(&rest); rest.n;)
		frame(m, cut_line(&rest));
	make_reverse_frames(m);
	m->fate = FATE_PROCESS;
	m->r->by_signal = true;
	m->r->level = "critical";
	return true;
}

static bool make(struct making *m, struct slice text)
{
	struct slice rest = text, first = cut_line(&rest);
	size_t at = find(first, bug);
	if (at != SIZE_MAX)
		return make_bug(m, after(first, at + sizeof bug - 1), rest);
	if (is_thread(first)) {
		m->fate = FATE_THREAD;
		text = rest;
	}
	while (text.n) {
		struct slice l = cut_line(&text);
		if (starts(l, "\tfrom ")) {
			frame(m, after(l, 6));
		} else if (is_name(l)) {
			struct made_exception *e = make_exception(m, (struct slice){0}, (struct slice){0});
			size_t n = frame(m, l);
			const char *end = l.p + l.n;
			while (text.n && !starts(text, "\t")) {
				struct slice after_it = text, next = cut_line(&after_it);
				if (is_name(next))
					break;
				text = after_it;
				end = next.p + next.n;
			}
			name_it(m, e, between(l.p + n + 2, end));
		}
	}
	return m->n && m->e[0].type.n;
}

const struct error_kind ruby_errors = {"ruby", begins, belongs, make};
