#include "exporters/span_events.h"
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

static void drop(struct span_event *e)
{
	free(e->type);
	free(e->message);
	free(e->stacktrace);
	for (uint32_t i = 0; i < e->n_frames; i++) {
		free(e->frames[i].label);
		free(e->frames[i].path);
	}
	free(e->frames);
	*e = (struct span_event){0};
}

struct span_event *span_events_add(struct span_events *s, const uint8_t trace_id[16], const uint8_t span_id[8], uint64_t time_ns,
                                   const char *type, const char *message, const char *stacktrace)
{
	struct span_event n = {
		.time_ns = time_ns,
		.type = clean(type, 256, s->most),
		.message = clean(message, 4096, s->most),
		.stacktrace = clean(stacktrace, SPAN_EVENT_TEXT, s->most),
	};
	if (!n.type || !n.message || !n.stacktrace) {
		drop(&n);
		return NULL;
	}
	memcpy(n.trace_id, trace_id, 16);
	memcpy(n.span_id, span_id, 8);
	struct span_event *e = (struct span_event *)(uintptr_t)span_events_find(s, trace_id, span_id);
	if (!e) {
		e = &s->e[s->next];
		s->next = (s->next + 1) % SPAN_EVENTS_MOST;
		s->n += s->n < SPAN_EVENTS_MOST;
	}
	drop(e);
	*e = n;
	return e;
}

void span_event_frame(struct span_event *e, const char *label, const char *path, uint32_t line)
{
	if (!e->frames)
		e->frames = calloc(SPAN_FRAMES_MOST, sizeof *e->frames);
	if (!e->frames || e->n_frames == SPAN_FRAMES_MOST) {
		e->frames_left++;
		return;
	}
	e->frames[e->n_frames++] = (struct span_frame){
		.label = label ? clean(label, 512, 0) : NULL,
		.path = path ? clean(path, 512, 0) : NULL,
		.line = line,
	};
}

const struct span_event *span_events_look(const struct span_events *s, const uint8_t trace_id[16],
                                          const uint8_t span_id[8])
{
	for (unsigned i = 0; i < s->n; i++)
		if (memcmp(s->e[i].span_id, span_id, 8) == 0 && memcmp(s->e[i].trace_id, trace_id, 16) == 0)
			return &s->e[i];
	return NULL;
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
	const char *const values[] = {e->type, e->message, e->stacktrace};
	uint32_t n = 0;
	for (int i = 0; i < 3; i++) {
		size_t len = strlen(values[i]);
		if (!len)
			continue;
		out[n++] = (struct attr){.key = keys[i], .key_len = (uint32_t)strlen(keys[i]), .str = values[i], .str_len = len};
	}
	return n;
}
