#include "exporters/cloudwatch/lines.h"
#include "exporters/buf.h"
#include "exporters/cloudwatch/line_text.h"
#include "exporters/errors/parse.h"
#include <stdlib.h>

#define MS UINT64_C(1000000)
#define QUIET_NS (300 * MS)    /* an event with nothing behind it is complete */
#define LOOK_NS (1000 * MS)    /* is the process of a line without an end still there? */
#define FORGET_NS (60000 * MS) /* a stream that says nothing */
#define BLOCK_LINES 2000

struct span_of_holds {
	struct hold *first, *last;
};

struct flow { /* of a process and fd */
	const void *arena;
	int32_t pid, fd;
	struct buf text; /* the event that is open: whole lines, then from `line` on the one under way */
	size_t line;
	size_t prev; /* where the event's last whole line begins */
	struct line_meta meta, line_meta;
	struct span_of_holds holds, line_holds;
	struct hold *latest; /* record: its `next` is set when another comes */
	uint32_t end;        /* in holds.last, of the event's whole lines */
	bool cut, line_cut, error;
	const struct error_kind *kind; /* of the block that is open */
	struct scan scan;
	uint32_t record, event_record; /* which record this is, and that of the event's last line */
	uint64_t used_ns;
};

struct lines {
	struct lines_events ev;
	struct flow **flows;
	uint32_t n, cap, last;
};

struct lines *lines_new(const struct lines_events *ev)
{
	struct lines *l = calloc(1, sizeof *l);
	if (l)
		l->ev = *ev;
	return l;
}

/* ---- holds ---- */

static void reach(struct span_of_holds *s, struct hold *h)
{
	if (s->last == h)
		return;
	if (!s->first)
		s->first = h;
	s->last = h;
	h->refs++;
}

/* `more` follows s or begins in its last record; s takes its references over. */
static void join(struct lines *l, struct span_of_holds *s, struct span_of_holds *more)
{
	if (!s->first) {
		*s = *more;
	} else if (more->first) {
		if (more->first == s->last)
			l->ev.unref(l->ev.ctx, more->first);
		s->last = more->last;
	}
	*more = (struct span_of_holds){0};
}

static void give_up(struct lines *l, struct span_of_holds *s)
{
	for (struct hold *h = s->first, *next; h; h = next) {
		next = h == s->last ? NULL : h->next;
		l->ev.unref(l->ev.ctx, h);
	}
	*s = (struct span_of_holds){0};
}

/* ---- events ---- */

static size_t without_end(const char *p, size_t n)
{
	if (n && p[n - 1] == '\n')
		n--;
	if (n && p[n - 1] == '\r')
		n--;
	return n;
}

/* The whole lines that are open become an event; the line under way stays. */
static void close_event(struct lines *l, struct flow *f)
{
	size_t n = without_end(f->text.p, f->line);
	if (n) {
		struct line_event e = {
			.text = {f->text.p, (uint32_t)n},
			.meta = f->meta,
			.arena = f->arena,
			.pid = f->pid,
			.fd = f->fd,
			.error = f->error,
			.cut = f->cut,
			.first = f->holds.first,
			.last = f->holds.last,
			.end = f->end,
		};
		f->holds = (struct span_of_holds){0};
		l->ev.event(l->ev.ctx, &e);
	} else {
		give_up(l, &f->holds);
	}
	if (f->line)
		memmove(f->text.p, f->text.p + f->line, f->text.n - f->line);
	f->text.n -= f->line;
	f->line = f->prev = 0;
	f->kind = NULL;
	f->cut = f->error = false;
}

static struct slice prev_line(const struct flow *f)
{
	if (!f->line)
		return (struct slice){NULL, 0};
	return (struct slice){f->text.p + f->prev, (uint32_t)without_end(f->text.p + f->prev, f->line - f->prev)};
}

static bool is_python(struct slice s)
{
	static const char head[] = "Traceback (most recent call last):";
	return s.n >= sizeof head - 1 && memcmp(s.p, head, sizeof head - 1) == 0;
}

/* Does it begin as log lines do: a time, a bracket, a level? Then it is no further line of an error's message. */
static bool is_head(struct slice line)
{
	uint32_t n = 0;
	if (line.n && ((line.p[0] >= '0' && line.p[0] <= '9') || line.p[0] == '[' || line.p[0] == '{'))
		return true;
	while (n < line.n && n < 16 && ((line.p[n] >= 'A' && line.p[n] <= 'Z') || (line.p[n] >= 'a' && line.p[n] <= 'z')))
		n++;
	return n > 2 && level_named(line.p, n) != LEVEL_UNKNOWN;
}

/*
 * Does the line go to the event that is open? `together`: it was written together with the event's last line. `error`:
 * it is a line of an error block.
 */
static bool belongs(struct flow *f, struct slice line, bool together, bool *error)
{
	struct slice prev = prev_line(f);
	*error = true;
	if (f->kind) {
		f->scan.joined = together;
		enum belongs b = f->scan.lines > BLOCK_LINES || (together && is_head(line)) ? LINE_OUT : f->kind->belongs(&f->scan, line);
		if (b == LINE_LAST)
			f->kind = NULL;
		if (b != LINE_OUT)
			return true;
		f->kind = NULL;
		prev = (struct slice){NULL, 0};
	}
	for (int i = 0; error_kinds[i]; i++) {
		enum begins b = error_kinds[i]->begins(prev, line);
		if (b == BEGINS_NOT)
			continue;
		bool with = prev.p && (b == BEGINS_BEFORE || (together && is_python(line)));
		f->kind = error_kinds[i];
		f->scan = (struct scan){.joined = true};
		if (b == BEGINS_BEFORE && prev.p)
			f->kind->belongs(&f->scan, prev);
		if (f->kind->belongs(&f->scan, line) == LINE_LAST)
			f->kind = NULL;
		return with;
	}
	*error = false;
	return prev.p && together && line.n && strchr(" \t})]", line.p[0]);
}

/* The line that began at f->line has come to its end. */
static void line_done(struct lines *l, struct flow *f, bool merged, uint32_t end)
{
	struct slice line = {f->text.p + f->line, (uint32_t)without_end(f->text.p + f->line, f->text.n - f->line)};
	bool error;
	if (!belongs(f, line, f->record == f->event_record && !merged, &error)) {
		const struct error_kind *kind = f->kind;
		struct scan scan = f->scan;
		close_event(l, f);
		f->kind = kind;
		f->scan = scan;
		f->meta = f->line_meta;
	}
	f->error |= error;
	f->cut |= f->line_cut;
	f->line_cut = false;
	f->prev = f->line;
	f->line = f->text.n;
	f->end = end;
	f->event_record = f->record;
	join(l, &f->holds, &f->line_holds);
	if (f->line == 1 || (f->line == 2 && f->text.p[0] == '\r')) /* nothing: no event */
		close_event(l, f);
}

/* ---- streams ---- */

static struct flow *flow_of(struct lines *l, const struct lines_in *in)
{
	for (uint32_t k = 0; k < l->n; k++) {
		uint32_t i = (l->last + k) % l->n;
		struct flow *f = l->flows[i];
		if (f->pid == in->pid && f->fd == in->fd && f->arena == in->arena) {
			l->last = i;
			return f;
		}
	}
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 8;
		struct flow **p = realloc(l->flows, cap * sizeof *p);
		if (!p)
			return NULL;
		l->flows = p;
		l->cap = cap;
	}
	struct flow *f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	*f = (struct flow){.arena = in->arena, .pid = in->pid, .fd = in->fd};
	return l->flows[l->n++] = f;
}

/* The line under way has no end, and will get none. */
static void break_line(struct lines *l, struct flow *f)
{
	if (f->text.n == f->line)
		return;
	uint32_t end = f->line_holds.last ? f->line_holds.last->len : 0;
	buf_add(&f->text, "\n", 1);
	if (!f->text.failed)
		line_done(l, f, false, end);
}

static void keep(struct flow *f, const char *p, size_t n)
{
	size_t have = f->text.n, room = have < LINES_EVENT_MOST ? LINES_EVENT_MOST - have : 0;
	if (n > room) {
		/* Its last byte may be the line's end: it is put there again. */
		bool end = p[n - 1] == '\n';
		buf_add(&f->text, p, room);
		if (end)
			buf_add(&f->text, "\n", 1);
		f->line_cut = true;
		return;
	}
	buf_add(&f->text, p, n);
}

void lines_add(struct lines *l, const struct lines_in *in)
{
	struct flow *f = flow_of(l, in);
	const char *p = in->text.p, *end = p + in->text.n;
	if (!f)
		return;
	f->used_ns = in->now;
	if (in->gap) {
		break_line(l, f);
		if (f->line)
			close_event(l, f);
	}
	if (!in->text.n)
		return;
	if (f->latest && (f->line || f->text.n > f->line))
		f->latest->next = in->hold;
	f->latest = in->hold;
	f->record++;
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl + 1 : end;
		if (f->text.n == f->line && !f->line_holds.first)
			f->line_meta = in->meta;
		reach(&f->line_holds, in->hold);
		/* A whole event that cannot take the line any more: else both would be cut. */
		if (f->line && f->text.n + (size_t)(stop - p) > LINES_EVENT_MOST && f->text.n == f->line)
			close_event(l, f);
		keep(f, p, (size_t)(stop - p));
		if (f->text.failed) {
			give_up(l, &f->holds);
			give_up(l, &f->line_holds);
			buf_free(&f->text);
			f->line = f->prev = 0;
			f->kind = NULL;
			return;
		}
		p = stop;
		if (nl)
			line_done(l, f, in->merged, in->from + (uint32_t)(p - in->text.p));
	}
}

static void finish(struct lines *l, struct flow *f, bool all)
{
	if (all)
		break_line(l, f);
	if (f->line)
		close_event(l, f);
}

static void forget(struct lines *l, uint32_t i)
{
	struct flow *f = l->flows[i];
	give_up(l, &f->holds);
	give_up(l, &f->line_holds);
	buf_free(&f->text);
	free(f);
	l->flows[i] = l->flows[--l->n];
}

void lines_tick(struct lines *l, uint64_t now)
{
	for (uint32_t i = l->n; i-- > 0;) {
		struct flow *f = l->flows[i];
		uint64_t quiet = now - f->used_ns;
		if (f->line && quiet >= QUIET_NS)
			finish(l, f, false);
		if (f->text.n && quiet >= LOOK_NS && !l->ev.alive(l->ev.ctx, f->arena, f->pid))
			finish(l, f, true);
		if (!f->text.n && f->text.cap > 65536)
			buf_free(&f->text);
		if (!f->text.n && quiet >= FORGET_NS)
			forget(l, i);
	}
}

uint64_t lines_due(const struct lines *l)
{
	uint64_t due = 0;
	for (uint32_t i = 0; i < l->n; i++) {
		const struct flow *f = l->flows[i];
		uint64_t at = f->used_ns + QUIET_NS;
		if (f->line && (!due || at < due))
			due = at;
	}
	return due;
}

void lines_flush(struct lines *l, int32_t pid)
{
	for (uint32_t i = 0; i < l->n; i++)
		finish(l, l->flows[i], pid && l->flows[i]->pid == pid);
}

void lines_end(struct lines *l, const void *arena)
{
	for (uint32_t i = l->n; i-- > 0;)
		if (l->flows[i]->arena == arena) {
			finish(l, l->flows[i], true);
			forget(l, i);
		}
}

void lines_delete(struct lines *l)
{
	while (l && l->n)
		forget(l, l->n - 1);
	if (l)
		free(l->flows);
	free(l);
}
