#include "exporters/span_events.h"
#include "exporters/local/local.h"
#include "exporters/span_attrs.h"
#include "exporters/utf8.h"
#include <stdlib.h>
#include <string.h>

static char *clean(const char *s, size_t most, uint32_t chars)
{
	struct buf b = {0};
	size_t n = s ? strnlen(s, most) : 0;
	while (n && n == most && ((unsigned char)s[n] & 0xc0) == 0x80) /* not in the middle of a character */
		n--;
	utf8_add(&b, s ? s : "", n);
	if (chars && b.n > chars)
		b.n = utf8_prefix(b.p, b.n, chars);
	buf_add(&b, "", 1);
	if (!b.failed)
		return b.p;
	buf_free(&b);
	return NULL;
}

static void drop_raised(struct span_raised *r)
{
	free(r->type);
	free(r->message);
	for (uint32_t i = 0; i < r->n_frames; i++) {
		free(r->frames[i].label);
		free(r->frames[i].path);
	}
	free(r->frames);
	*r = (struct span_raised){0};
}

static void drop(struct span_event *e)
{
	for (uint32_t i = 0; i < e->n_raised; i++)
		drop_raised(&e->raised[i]);
	for (uint32_t i = 0; i < e->n_paths; i++)
		free(e->paths[i]);
	free(e->raised);
	free(e->paths);
	free(e->stacktrace);
	free(e->cwd);
	*e = (struct span_event){0};
}

static struct span_event *place(struct span_events *s, const struct span_event *n)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct span_event *e = &s->e[i];
		if (memcmp(e->span_id, n->span_id, 8) == 0 && memcmp(e->trace_id, n->trace_id, 16) == 0 &&
		    e->of_process == n->of_process && memcmp(e->instance, n->instance, 16) == 0)
			return e;
	}
	struct span_event *e = &s->e[s->next];
	s->next = (s->next + 1) % SPAN_EVENTS_MOST;
	s->n += s->n < SPAN_EVENTS_MOST;
	return e;
}

struct span_event *span_events_add(struct span_events *s, const struct span_exception *x)
{
	struct span_event n = {
		.of_process = x->instance,
		.handled = x->handled,
		.time_ns = x->time_ns,
		.stacktrace = clean(x->stacktrace, SPAN_EVENT_TEXT, s->most),
	};
	if (!n.stacktrace || !span_event_raised(s, &n, x->type, x->message)) {
		drop(&n);
		return NULL;
	}
	if (x->uuid && uuid_ok(x->uuid, strlen(x->uuid)))
		memcpy(n.uuid, x->uuid, sizeof n.uuid);
	if (x->trace_id && x->span_id) {
		memcpy(n.trace_id, x->trace_id, 16);
		memcpy(n.span_id, x->span_id, 8);
	}
	if (x->instance)
		memcpy(n.instance, x->instance, 16);
	struct span_event *e = place(s, &n);
	drop(e);
	*e = n;
	return e;
}

struct span_raised *span_event_raised(const struct span_events *s, struct span_event *e, const char *type, const char *message)
{
	struct span_raised n = {.type = clean(type, 256, s->most), .message = clean(message, 4096, s->most)};
	if (!e->raised)
		e->raised = calloc(SPAN_RAISED_MOST, sizeof *e->raised);
	if (!n.type || !n.message || !e->raised) {
		drop_raised(&n);
		return NULL;
	}
	if (e->n_raised == SPAN_RAISED_MOST) {
		struct span_raised *last = &e->raised[SPAN_RAISED_MOST - 1];
		n.skipped = last->skipped + 1;
		drop_raised(last);
		*last = n;
		return last;
	}
	e->raised[e->n_raised] = n;
	return &e->raised[e->n_raised++];
}

void span_event_frame(struct span_raised *r, const char *label, const char *path, uint32_t line)
{
	if (!r->frames)
		r->frames = calloc(SPAN_FRAMES_MOST, sizeof *r->frames);
	if (!r->frames || r->n_frames == SPAN_FRAMES_MOST) {
		r->frames_left++;
		return;
	}
	r->frames[r->n_frames++] = (struct span_frame){
		.label = label ? clean(label, 512, 0) : NULL,
		.path = path ? clean(path, 512, 0) : NULL,
		.line = line,
	};
}

void span_event_cwd(struct span_event *e, const char *path)
{
	if (!e->cwd && path && *path == '/')
		e->cwd = clean(path, 1024, 0);
}

void span_event_path(struct span_event *e, const char *path)
{
	char *own = path && e->n_paths < SPAN_PATHS_MOST ? clean(path, 512, 0) : NULL;
	if (own && !e->paths)
		e->paths = calloc(SPAN_PATHS_MOST, sizeof *e->paths);
	if (own && e->paths)
		e->paths[e->n_paths++] = own;
	else
		free(own);
}

static bool ended_with_its_process(const struct rec_view *v)
{
	uint8_t kind = v->rec->kind, error = v->rec->error;
	bool runs = kind == SPAN_SERVER || kind == SPAN_CLIENT || kind == SPAN_DB;
	return runs && (error == ERR_CRASHED || error == ERR_PROCESS_KILLED) && v->proc;
}

const struct span_event *span_events_look(const struct span_events *s, const struct rec_view *v)
{
	bool ended = ended_with_its_process(v);
	for (unsigned i = 0; i < s->n; i++) {
		const struct span_event *e = &s->e[i];
		if (memcmp(e->span_id, v->rec->span_id, 8) == 0 && memcmp(e->trace_id, v->rec->trace_id, 16) == 0)
			return e;
		if (ended && e->of_process && memcmp(e->instance, v->proc->instance, 16) == 0)
			return e;
	}
	return NULL;
}

void span_event_mark(const struct span_events *s, const struct span_event *e, struct span_attrs *span)
{
	if (!e->handled)
		span->status = 2; /* STATUS_CODE_ERROR */
	if (!*e->uuid || !s->uuid_key || span->n == SPAN_ATTRS_MAX)
		return;
	span->attrs[span->n++] = (struct attr){
		.key = s->uuid_key,
		.key_len = (uint32_t)strlen(s->uuid_key),
		.type = ATTR_STRING,
		.str = e->uuid,
		.str_len = strlen(e->uuid),
	};
}

void span_events_free(struct span_events *s)
{
	for (unsigned i = 0; i < s->n; i++)
		drop(&s->e[i]);
	s->n = s->next = 0;
}

uint32_t span_event_attrs(const struct span_event *e, struct attr out[3])
{
	static const char *const keys[] = {"exception.type", "exception.message", "exception.stacktrace"};
	const char *const values[] = {e->raised->type, e->raised->message, e->stacktrace};
	uint32_t n = 0;
	for (int i = 0; i < 3; i++) {
		size_t len = strlen(values[i]);
		if (!len)
			continue;
		out[n++] = (struct attr){.key = keys[i], .key_len = (uint32_t)strlen(keys[i]), .str = values[i], .str_len = len};
	}
	return n;
}
