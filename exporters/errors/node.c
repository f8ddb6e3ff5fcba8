/*
 * Node: what it prints before it ends by an exception or an unhandled rejection (place, source, caret, stack, causes,
 * "Node.js v20"), and stacks that a program logs; and what it or V8 says before it aborts.
 */
#include "exporters/errors/making.h"

enum { PLACE,
	   SOURCE,
	   CARET,
	   GAP,
	   BODY,
	   ABORT,
	   FROM };

static const char fatal[] = "FATAL ERROR: ", v8_fatal[] = "# Fatal error in ", v8_oom[] = "# Fatal process ";
static const char uncaught[] = "Uncaught "; /* --abort-on-uncaught-exception */

static bool is_fatal(struct slice l)
{
	return starts(l, fatal) || starts(l, v8_fatal) || starts(l, v8_oom) || (starts(l, uncaught) && l.n < 4096);
}

static struct slice frame_text(struct slice line)
{
	struct slice t = after(line, spaces(line));
	return starts(t, "at ") && spaces(line) >= 2 ? after(t, 3) : (struct slice){0};
}

/* "/srv/a.js:12", "node:fs:573", "file:///a.mjs:1", "[eval]:1" and nothing else. */
static bool is_place(struct slice l)
{
	uint32_t line, column;
	struct slice file = l;
	if (l.n > 4096 || spaces(l) || !cut_position(&file, &line, &column) || column || !file.n)
		return false;
	if (starts(file, "node:") || starts(file, "file://") || starts(file, "[eval]") || starts(file, "evalmachine") ||
	    starts(file, "[stdin]"))
		return true;
	return file.p[0] == '/' && find(file, ": ") == SIZE_MAX;
}

/* "TypeError: text", "Error", "AppError [E_X]: text": its class's length, 0 = none. */
static size_t class_name(struct slice s)
{
	size_t n = 0;
	while (n < s.n && ((s.p[n] >= 'a' && s.p[n] <= 'z') || (s.p[n] >= 'A' && s.p[n] <= 'Z') || (n && s.p[n] >= '0' && s.p[n] <= '9') ||
	                   s.p[n] == '_' || s.p[n] == '$' || s.p[n] == '.'))
		n++;
	if (!n || n == s.n || s.p[n] == ':')
		return n;
	return starts(after(s, n), " [") ? n : 0;
}

/* "inner (/srv/a.js:1:20)", "node:internal/main/run_main_module:28:49" */
static bool is_from(struct slice l)
{
	uint32_t line, column;
	if (ends(l, ")"))
		l.n--;
	return cut_position(&l, &line, &column) && column;
}

static enum begins begins(struct slice prev, struct slice line)
{
	if (is_place(line) || is_fatal(line))
		return BEGINS_HERE;
	/* A logged one: a stack below "Error: text". Java's frames begin with a tab. */
	if (starts(line, "    at ") && prev.n && class_name(prev) && line.n > 8)
		return BEGINS_BEFORE;
	return BEGINS_NOT;
}

static enum belongs belongs(struct scan *s, struct slice l)
{
	uint32_t i = s->lines++;
	if (i == 0) {
		s->state = is_place(l) ? PLACE : is_fatal(l) ? ABORT
		                                             : BODY;
		s->more = s->state == BODY; /* logged: it ends with its frames */
		return LINE_IN;
	}
	switch (s->state) {
	case PLACE: /* the source line follows, whatever it is */
		s->state = SOURCE;
		return LINE_IN;
	case SOURCE:
		if (!all_of(trim(l), "^"))
			return LINE_OUT;
		s->state = CARET;
		return LINE_IN;
	case CARET:
		s->state = BODY;
		return LINE_IN;
	case BODY:
		if (s->more) {
			if (frame_text(l).n || starts(l, "    ... ") || starts(l, "  ") || (l.n == 1 && l.p[0] == '}'))
				return LINE_IN;
			return LINE_OUT;
		}
		if (starts(l, "Node.js v"))
			return LINE_LAST;
		return s->lines > 2000 ? LINE_OUT : LINE_IN;
	case ABORT: /* V8's own lines, its stack: " 1: 0xb78db3 node::OOMErrorHandler(..) [node]" */
		if (slice_eq(l, SLICE("FROM")) && i == 2)
			s->state = FROM;
		if (!l.n || s->state == FROM || starts(l, "#") || starts(l, "-----") ||
		    (find(l, ": 0x") != SIZE_MAX && number_of(after(l, spaces(l)), NULL)))
			return s->lines > 256 ? LINE_OUT : LINE_IN;
		return LINE_OUT;
	case FROM:
		return is_from(l) && s->lines < 1024 ? LINE_IN : LINE_OUT;
	}
	return LINE_OUT;
}

/* ---- the report ---- */

static bool in_app(struct slice file)
{
	return !starts(file, "node:") && !starts(file, "internal/") && find(file, "/node_modules/") == SIZE_MAX && file.n &&
	       !starts(file, "<anonymous>");
}

/* "fn (file:l:c)", "file:l:c", "async fn (..)", "new C (..)", "Object.<anonymous> (..)" */
static void frame(struct making *m, struct slice t)
{
	struct slice function = {0}, file = t;
	uint32_t line, column;
	if (ends(t, " {"))
		t.n -= 2;
	if (ends(t, ","))
		t.n--;
	file = t;
	size_t open = find_last(t, " (");
	if (open != SIZE_MAX && ends(t, ")")) {
		function = (struct slice){t.p, (uint32_t)open};
		file = (struct slice){t.p + open + 2, t.n - (uint32_t)open - 3};
	}
	if (!cut_position(&file, &line, &column) && !function.n)
		return;
	if (starts(function, "async "))
		function = after(function, 6);
	if (starts(file, "file://"))
		file = after(file, 7);
	struct report_frame *f = make_frame(m, function.n ? function : SLICE("<anonymous>"), file, line);
	f->column = column;
	f->in_app = in_app(file);
}

/* node 18 ends no line here: "inner (/srv/a.js:1:20)f (/srv/a.js:2:16)node:internal/main/run_main_module:28:49" */
static struct slice cut_joined(struct slice *line)
{
	uint32_t n = 1;
	while (n < line->n && !(line->p[n] == ')' && line->p[n - 1] >= '0' && line->p[n - 1] <= '9'))
		n++;
	n += n < line->n;
	struct slice first = {line->p, n};
	*line = after(*line, n);
	return first;
}

static void name_it(struct made_exception *e, struct slice l)
{
	size_t n = class_name(l);
	if (n) {
		e->type = (struct slice){l.p, (uint32_t)n};
		struct slice rest = after(l, n);
		size_t code = starts(rest, " [") ? find(rest, "]") : SIZE_MAX;
		if (code != SIZE_MAX)
			rest = after(rest, code + 1);
		e->message = trim(starts(rest, ":") ? after(rest, 1) : rest);
	} else {
		e->type = SLICE("Error");
		e->message = trim(l);
	}
}

/* Frames that the cause has as well are not printed again: "... 5 lines matching cause stack trace ...". */
static uint32_t matching(struct slice l)
{
	struct slice t = trim(l);
	size_t digits;
	if (!starts(t, "... ") || find(t, "lines matching cause stack trace") == SIZE_MAX)
		return 0;
	uint32_t n = number_of(after(t, 4), &digits);
	return digits ? n : 0;
}

static void stacks(struct making *m, struct slice text)
{
	struct made_exception *e = NULL;
	bool framed = false;
	const char *from = NULL;
	while (text.n) {
		struct slice whole = text, l = cut_line(&text), t = trim(l), at = frame_text(l);
		(void)whole;
		if (starts(t, "[cause]: ") || (framed && starts(t, "[errors]: ["))) {
			struct slice what = starts(t, "[cause]: ") ? after(t, 9) : (struct slice){0};
			if (!what.n && !text.n)
				break;
			if (!what.n) { /* the first of an AggregateError's */
				l = cut_line(&text);
				what = trim(l);
			}
			e = make_exception(m, (struct slice){0}, (struct slice){0});
			name_it(e, what);
			framed = false;
			from = e->message.p;
			continue;
		}
		if (starts(l, "Node.js v") || starts(t, "(Use `node"))
			break;
		if (at.n) {
			framed = true;
			if (!e)
				e = make_exception(m, SLICE("Error"), (struct slice){0});
			frame(m, at);
			continue;
		}
		if (!e) {
			if (!t.n)
				continue;
			e = make_exception(m, (struct slice){0}, (struct slice){0});
			name_it(e, starts(l, "Uncaught ") ? after(l, 9) : l);
			from = e->message.p;
			continue;
		}
		if (framed) {
			if (!matching(l) && spaces(l) >= 4 && class_name(t) && t.n > class_name(t) && t.p[class_name(t)] == ':' &&
			    find(t, "Error: ") != SIZE_MAX && starts(trim(text), "at ")) { /* the next one of [errors] */
				e = make_exception(m, (struct slice){0}, (struct slice){0});
				name_it(e, t);
				framed = false;
				from = e->message.p;
			}
			continue;
		}
		if (from && e->message.n) /* a message of several lines */
			e->message = trim(between(from, l.p + l.n));
	}
}

static bool aborts(struct making *m, struct slice first, struct slice rest)
{
	m->fate = FATE_PROCESS;
	m->r->by_signal = true;
	m->r->level = "critical";
	if (starts(first, uncaught)) {
		if (!starts(rest, "\nFROM\n"))
			return false;
		name_it(make_exception(m, (struct slice){0}, (struct slice){0}), after(first, sizeof uncaught - 1));
		for (rest = after(rest, 6); rest.n;)
			for (struct slice line = cut_line(&rest); line.n;)
				frame(m, cut_joined(&line));
		return true;
	}
	struct slice what = starts(first, fatal) ? after(first, sizeof fatal - 1) : after(first, 2);
	if (starts(first, v8_fatal) && starts(rest, "# "))
		what = after(cut_line(&rest), 2);
	make_exception(m, SLICE("FATAL ERROR"), trim(what));
	return true;
}

/* "... 5 lines matching cause stack trace ..." are the cause's last but one ones; what follows was printed. */
static bool make(struct making *m, struct slice text)
{
	struct slice all = text, first = cut_line(&all);
	if (is_fatal(first))
		return aborts(m, first, all);
	if (!is_place(first)) {
		m->fate = FATE_LOGGED;
		stacks(m, text);
		return m->n && m->e[0].n;
	}
	struct slice source = cut_line(&all), caret = cut_line(&all);
	if (!all_of(trim(caret), "^") || find(all, "Node.js v") == SIZE_MAX)
		return false;
	stacks(m, all);
	if (!m->n)
		return false;
	uint32_t line, column;
	struct slice file = first;
	cut_position(&file, &line, &column);
	if (starts(file, "file://"))
		file = after(file, 7);
	struct made_exception *e = &m->e[0];
	if (!e->n && m->n == 1) { /* throw "text": the place is all there is */
		struct report_frame *f = make_frame(m, SLICE("<anonymous>"), file, line);
		f->column = (uint32_t)spaces(caret) + 1;
		f->in_app = in_app(file);
	}
	for (size_t i = 0; i < e->n; i++)
		if (e->frames[i].file && e->frames[i].line == line && strlen(e->frames[i].file) == file.n &&
		    memcmp(e->frames[i].file, file.p, file.n) == 0) {
			e->frames[i].code = make_code(m, source);
			break;
		}
	m->fate = FATE_PROCESS;
	m->r->level = "critical";
	return true;
}

const struct error_kind node_errors = {"javascript", begins, belongs, make};
