/*
 * C and C++: what std::terminate says, assertions, and glibc's own last words (which pass no write that can be seen:
 * they come from a crash file's abort message, or through a parent). The frames are the crash file's; a sink joins them
 * by pid and time.
 */
#include "exporters/errors/making.h"

static const char throwing[] = "terminate called after throwing an instance of '";
static const char no_exception[] = "terminate called without an active exception";
static const char recursive[] = "terminate called recursively";

static const struct {
	const char *text, *class;
} aborts[] = {
	{"*** stack smashing detected ***", "stack smashing"},
	{"*** buffer overflow detected ***", "buffer overflow"},
	{"*** longjmp causes uninitialized stack frame ***", "longjmp into a dead frame"},
	{"*** invalid %N$ use detected ***", "format string"},
	{"*** %n in writable segment detected ***", "format string"},
	{"free(): double free detected", "double free"},
	{"double free or corruption", "double free"},
	{"free(): invalid", "invalid free"},
	{"munmap_chunk(): invalid pointer", "invalid free"},
	{"realloc(): invalid", "invalid realloc"},
	{"mremap_chunk(): invalid pointer", "invalid realloc"},
	{"free(): ", "heap corruption"},
	{"malloc(): ", "heap corruption"},
	{"malloc_consolidate(): ", "heap corruption"},
	{"realloc(): ", "heap corruption"},
	{"calloc(): ", "heap corruption"},
	{"corrupted size vs. prev_size", "heap corruption"},
	{"corrupted double-linked list", "heap corruption"},
	{"break adjusted to free malloc space", "heap corruption"},
	{"sysmalloc: Assertion", "heap corruption"},
	{"invalid fastbin entry (free)", "heap corruption"},
	{"pure virtual method called", "pure virtual method called"},
	{"deleted virtual method called", "deleted virtual method called"},
	{"The futex facility returned an unexpected error code.", "futex"},
	{"Fatal glibc error: ", "glibc error"},
};

/* "prog: file.c:12: function: Assertion `x' failed." Old and musl's forms aside. */
static bool assertion(struct slice l, struct slice *file, uint32_t *line, struct slice *function, struct slice *what)
{
	size_t at = find(l, ": Assertion `"), colon;
	uint32_t column;
	if (at == SIZE_MAX || (!ends(l, "' failed.") && !ends(l, "' failed")))
		return false;
	*what = after(l, at + 2);
	struct slice head = {l.p, (uint32_t)at};
	/* The place is the first "x:12: "; a C++ function's name has colons as well. */
	for (struct slice s = head; (colon = find(s, ": ")) != SIZE_MAX; s = after(s, colon + 2)) {
		struct slice part = {head.p, (uint32_t)(s.p - head.p) + (uint32_t)colon};
		if (!cut_position(&part, line, &column) || column)
			continue;
		size_t prog = find_last(part, ": ");
		*file = prog == SIZE_MAX ? part : after(part, prog + 2);
		*function = after(s, colon + 2);
		return true;
	}
	return false;
}

const char *error_abort_class(struct slice text)
{
	struct slice l = cut_line(&text), file, function, what;
	uint32_t line;
	for (size_t i = 0; i < sizeof aborts / sizeof *aborts; i++)
		if (starts(l, aborts[i].text))
			return aborts[i].class;
	return assertion(l, &file, &line, &function, &what) ? "assertion failed" : NULL;
}

static enum begins begins(struct slice prev, struct slice line)
{
	(void)prev;
	if (starts(line, throwing) || starts(line, no_exception) || starts(line, recursive))
		return BEGINS_HERE;
	return error_abort_class(line) ? BEGINS_HERE : BEGINS_NOT;
}

static enum belongs belongs(struct scan *s, struct slice l)
{
	if (s->lines++ == 0) {
		s->state = starts(l, throwing);
		return s->state ? LINE_IN : LINE_LAST;
	}
	if (!s->state)
		return LINE_OUT;
	if (starts(l, "  what():  ") || s->more)
		return ++s->more > 64 || starts(l, "terminate called") ? LINE_OUT : LINE_IN;
	return LINE_OUT;
}

static bool make(struct making *m, struct slice text)
{
	struct slice rest = text, first = cut_line(&rest), file, function, what;
	uint32_t line;
	m->fate = FATE_PROCESS;
	m->r->level = "critical";
	m->r->language = "c++";
	m->r->by_signal = true;
	if (starts(first, throwing)) {
		struct slice type = after(first, sizeof throwing - 1);
		size_t end = find_last(type, "'");
		type.n = end == SIZE_MAX ? type.n : (uint32_t)end;
		make_exception(m, type, starts(rest, "  what():  ") ? trim(after(rest, 11)) : (struct slice){0});
		return true;
	}
	if (starts(first, "terminate called")) {
		make_exception(m, SLICE("std::terminate"), trim(first));
		return true;
	}
	const char *class = error_abort_class(first);
	if (!class)
		return false;
	m->fate = FATE_UNCERTAIN; /* words that others may print as well: it is one if the process ends */
	m->r->language = strstr(class, "virtual") ? "c++" : "c";
	struct made_exception *e = make_exception(m, (struct slice){class, (uint32_t)strlen(class)}, trim(first));
	if (assertion(first, &file, &line, &function, &what)) {
		e->message = what;
		make_frame(m, function, file, line);
	}
	return true;
}

const struct error_kind native_errors = {"c", begins, belongs, make};
