/*
 * Go: "panic:" or "fatal error:", then goroutines; the first is the one that failed. Go writes by system calls of its
 * own, so this comes from programs that are built with cgo and print through libc, or from a parent that passes it on.
 */
#include "exporters/errors/making.h"

enum { HEAD,
	   GOROUTINE };

static enum begins begins(struct slice prev, struct slice line)
{
	(void)prev;
	return starts(line, "panic: ") || starts(line, "fatal error: ") || starts(line, "runtime: goroutine stack exceeds ") ? BEGINS_HERE : BEGINS_NOT;
}

static enum belongs belongs(struct scan *s, struct slice l)
{
	if (s->lines++ == 0 || !l.n)
		return LINE_IN;
	if (starts(l, "goroutine ") && ends(l, "]:")) {
		s->state = GOROUTINE;
		return LINE_IN;
	}
	if (s->state == GOROUTINE) {
		if (starts(l, "exit status "))
			return LINE_LAST;
		return starts(l, "\t") || starts(l, "created by ") || starts(l, "...") || starts(l, "r") || ends(l, ")") ? LINE_IN : LINE_OUT;
	}
	return ++s->more > 64 ? LINE_OUT : LINE_IN; /* the message, "[signal SIGSEGV ...]", "\tpanic: again" */
}

static bool in_app(struct slice file, struct slice function)
{
	return find(file, "/pkg/mod/") == SIZE_MAX && find(file, "/go/src/") == SIZE_MAX && find(file, "/vendor/") == SIZE_MAX &&
	       !starts(function, "runtime.") && !starts(function, "panic(");
}

/* "pkg.(*T).fn(0x1, ...)": without its arguments. */
static struct slice name_of(struct slice l)
{
	if (starts(l, "created by ")) {
		l = after(l, 11);
		size_t in = find(l, " in goroutine ");
		if (in != SIZE_MAX)
			l.n = (uint32_t)in;
		return l;
	}
	size_t open = find_last(l, "(");
	if (open != SIZE_MAX && open && ends(l, ")"))
		l.n = (uint32_t)open;
	return l;
}

static bool make(struct making *m, struct slice text)
{
	struct slice function = {0};
	bool here = false, seen = false;
	const char *from = NULL;
	while (text.n) {
		struct slice l = cut_line(&text), t = trim(l);
		if (starts(l, "goroutine ") && ends(l, "]:")) {
			here = !seen;
			seen = true;
			continue;
		}
		if (!seen) {
			bool again = starts(t, "panic: ");
			if (again || starts(l, "fatal error: ")) {
				struct slice what = after(t, again ? 7 : 13);
				if (ends(what, " [recovered]"))
					what.n -= 12;
				make_exception(m, again ? SLICE("panic") : SLICE("fatal error"), trim(what));
				from = what.p;
			} else if (m->n && t.n && !starts(t, "[signal ") && from) {
				m->e[m->n - 1].message = trim(between(from, l.p + l.n));
			} else if (m->n && starts(t, "[signal ")) {
				m->description = make_text(m, t);
				from = NULL;
			}
			continue;
		}
		if (!here || !t.n)
			continue;
		if (l.p[0] != '\t') {
			function = name_of(t);
			continue;
		}
		struct slice file = t;
		size_t plus = find_last(file, " +0x");
		uint32_t line, column;
		if (plus != SIZE_MAX)
			file.n = (uint32_t)plus;
		if (cut_position(&file, &line, &column) && function.n)
			make_frame(m, function, file, line)->in_app = in_app(file, function);
		function.n = 0;
	}
	if (!m->n || !seen)
		return false;
	/* The frames were added to the last panic, which is the one that ended it: outermost, first. */
	make_reverse_exceptions(m);
	m->fate = FATE_PROCESS;
	m->r->level = "critical";
	return true;
}

const struct error_kind go_errors = {"go", begins, belongs, make};
