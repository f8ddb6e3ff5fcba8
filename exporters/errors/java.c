/* The JVM: uncaught exceptions of threads, what printStackTrace prints, causes, and the hint at an hs_err file. */
#include "exporters/errors/making.h"

static const char uncaught[] = "Exception in thread \"";
static const char fatal[] = "# A fatal error has been detected by the Java Runtime Environment:";

enum { NAME,
	   FRAMES,
	   HINT };

static bool is_frame(struct slice l)
{
	size_t n = spaces(l);
	return n && l.p[0] == '\t' && (starts(after(l, n), "at ") || starts(after(l, n), "... "));
}

static bool is_cause(struct slice l)
{
	struct slice t = after(l, spaces(l));
	return starts(t, "Caused by: ") || (spaces(l) && starts(t, "Suppressed: "));
}

/* a.b.C, C$Inner: the length, 0 = something else. */
static size_t class_name(struct slice s)
{
	size_t n = 0;
	while (n < s.n && ((s.p[n] >= 'a' && s.p[n] <= 'z') || (s.p[n] >= 'A' && s.p[n] <= 'Z') || (n && s.p[n] >= '0' && s.p[n] <= '9') ||
	                   s.p[n] == '_' || s.p[n] == '$' || s.p[n] == '.' || (unsigned char)s.p[n] >= 0x80))
		n++;
	return n && (n == s.n || s.p[n] == ':') ? n : 0;
}

static enum begins begins(struct slice prev, struct slice line)
{
	if (starts(line, uncaught) || starts(line, fatal))
		return BEGINS_HERE;
	if (starts(line, "\tat ") && class_name(prev) && ends(line, ")"))
		return BEGINS_BEFORE;
	return BEGINS_NOT;
}

static enum belongs belongs(struct scan *s, struct slice l)
{
	if (s->lines++ == 0) {
		s->state = starts(l, fatal) ? HINT : NAME;
		return LINE_IN;
	}
	if (s->state == HINT)
		return starts(l, "#") && s->lines < 64 ? LINE_IN : LINE_OUT;
	if (is_frame(l) || is_cause(l)) {
		s->state = is_frame(l) ? FRAMES : NAME;
		s->more = 0;
		return LINE_IN;
	}
	/* A message of several lines, before its first frame. */
	if (s->state == NAME && !starts(l, uncaught))
		return ++s->more > 64 ? LINE_OUT : LINE_IN;
	return LINE_OUT;
}

/* ---- the report ---- */

static bool in_app(struct slice class)
{
	static const char *const theirs[] = {"java.", "javax.", "jdk.", "sun.", "com.sun.", "kotlin.", "kotlinx.", "scala.", "clojure.", "groovy."};
	for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
		if (starts(class, theirs[i]))
			return false;
	return true;
}

/* "java.base/java.lang.Thread.run(Thread.java:840)", "app//p.C.m(C.java:3)", "p.C.m(Native Method)" */
static void frame(struct making *m, struct slice t)
{
	size_t open = find(t, "(");
	if (open == SIZE_MAX)
		return;
	struct slice name = {t.p, (uint32_t)open}, place = after(t, open + 1), file = {0};
	size_t close = find(place, ")"), slash = find_last(name, "/");
	uint32_t line = 0, column;
	if (close != SIZE_MAX)
		place.n = (uint32_t)close;
	if (slash != SIZE_MAX)
		name = after(name, slash + 1);
	file = place;
	if (!cut_position(&file, &line, &column))
		line = 0;
	size_t dot = find_last(name, ".");
	struct slice class = {name.p, dot == SIZE_MAX ? 0 : (uint32_t)dot};
	struct report_frame *f = make_frame(m, dot == SIZE_MAX ? name : after(name, dot + 1), file, line);
	f->module = make_text(m, class);
	f->in_app = in_app(class);
}

/* "... 2 more": the outermost ones of the exception that it caused. */
static void frames_in_common(struct making *m, struct slice count)
{
	if (m->n < 2)
		return;
	const struct made_exception *caused = &m->e[m->n - 2];
	size_t n = number_of(count, NULL);
	for (size_t i = caused->n - (n < caused->n ? n : caused->n); i < caused->n; i++)
		*make_frame(m, (struct slice){0}, (struct slice){0}, 0) = caused->frames[i];
}

static void name_it(struct making *m, struct slice l, const char **from)
{
	size_t n = class_name(l);
	struct made_exception *e = make_exception(m, (struct slice){l.p, (uint32_t)(n ? n : l.n)}, (struct slice){0});
	*from = l.p + (n ? n + (n < l.n) : l.n);
	e->message = trim(between(*from, l.p + l.n));
}

static void stacks(struct making *m, struct slice text)
{
	const char *from = NULL;
	bool framed = false, suppressed = false, common = false;
	while (text.n) {
		struct slice l = cut_line(&text), t = after(l, spaces(l));
		if (starts(t, "Suppressed: ") && spaces(l)) {
			suppressed = true; /* not in the chain */
		} else if (starts(t, "Caused by: ")) {
			suppressed = spaces(l) > 1;
			if (suppressed)
				continue;
			name_it(m, after(t, 11), &from);
			framed = common = false;
		} else if (is_frame(l)) {
			framed = true;
			if (!suppressed && starts(t, "at ") && m->n)
				frame(m, after(t, 3));
			else if (!suppressed && !common && (common = true))
				frames_in_common(m, after(t, 4));
		} else if (!m->n) {
			name_it(m, l, &from);
		} else if (!framed && !suppressed) {
			struct made_exception *e = &m->e[m->n - 1];
			e->message = trim(between(from, l.p + l.n));
		}
	}
}

static bool hint(struct making *m, struct slice text)
{
	struct made_exception *e = make_exception(m, SLICE("JVM crash"), (struct slice){0});
	while (text.n) {
		struct slice t = trim(after(cut_line(&text), 1));
		if (starts(t, "SIG") || starts(t, "Internal Error")) {
			size_t end = 0;
			while (end < t.n && t.p[end] != ' ')
				end++;
			if (starts(t, "SIG"))
				e->type = (struct slice){t.p, (uint32_t)end};
			e->message = t;
		} else if (ends(t, ".log") && starts(t, "/")) {
			m->r->description = make_code(m, t); /* where its own report lies */
		}
	}
	m->description = m->r->description;
	m->fate = FATE_PROCESS;
	m->r->by_signal = true;
	m->r->level = "critical";
	return e->message.n != 0;
}

static bool make(struct making *m, struct slice text)
{
	if (starts(text, fatal))
		return hint(m, text);
	if (starts(text, uncaught)) {
		struct slice rest = after(text, sizeof uncaught - 1);
		size_t end = find(rest, "\" ");
		if (end == SIZE_MAX)
			return false;
		m->thread = (struct slice){rest.p, (uint32_t)end};
		m->fate = FATE_THREAD;
		if (slice_eq(m->thread, SLICE("main")))
			m->r->level = "critical";
		stacks(m, after(rest, end + 2));
		return m->n && m->e[0].type.n;
	}
	m->fate = FATE_LOGGED;
	stacks(m, text);
	return m->n && m->e[0].n;
}

const struct error_kind java_errors = {"java", begins, belongs, make};
