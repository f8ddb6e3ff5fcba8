/*
 * Events that belong to spans which are yet to be exported: the exception of the request that was open when its
 * process crashed. Few at any time; encoders ask for each span, so an empty set costs one load. exporter thread.
 */
#ifndef REMORA_SPAN_EVENTS_H
#define REMORA_SPAN_EVENTS_H

#include "exporters/resource.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPAN_EVENTS_MOST 64         /* the oldest makes room */
#define SPAN_EVENT_TEXT (48 * 1024) /* of a stack trace */

#define SPAN_FRAMES_MOST 50

struct span_frame { /* innermost first; strings as the event's, NULL = unknown */
	char *label, *path;
	uint32_t line;
};

struct span_event { /* "exception"; strings are well-formed UTF-8, owned by the set */
	uint8_t trace_id[16], span_id[8];
	uint64_t time_ns;
	char *type, *message, *stacktrace; /* never NULL */
	struct span_frame *frames;         /* owned; NULL when n_frames is 0 */
	uint32_t n_frames, frames_left;    /* and how many more there were */
};

struct span_events {
	unsigned n, next;
	uint32_t most; /* characters of a string; 0 = no limit */
	struct span_event e[SPAN_EVENTS_MOST];
};

/* Strings may be NULL. The event, for its frames; NULL: no memory. */
struct span_event *span_events_add(struct span_events *s, const uint8_t trace_id[16], const uint8_t span_id[8], uint64_t time_ns,
                                   const char *type, const char *message, const char *stacktrace);
/* Appends one, up to SPAN_FRAMES_MOST. */
void span_event_frame(struct span_event *e, const char *label, const char *path, uint32_t line);
const struct span_event *span_events_look(const struct span_events *s, const uint8_t trace_id[16],
                                          const uint8_t span_id[8]);
static inline const struct span_event *span_events_find(const struct span_events *s, const uint8_t trace_id[16],
                                                        const uint8_t span_id[8])
{
	return s && s->n ? span_events_look(s, trace_id, span_id) : NULL;
}
#define SPAN_EVENT_NAME "exception"
#define SPAN_STATUS_ERROR 2 /* of a span with one */
/* Its attributes, which borrow from it; empty ones are left out. */
uint32_t span_event_attrs(const struct span_event *e, struct attr out[3]);
void span_events_free(struct span_events *s);

#endif
