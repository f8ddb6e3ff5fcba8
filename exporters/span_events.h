/*
 * Events that belong to spans which are yet to be exported: how the process crashed in which they were open, or what
 * its thread raised. Few at any time; encoders ask for each span, so an empty set costs one load. exporter thread.
 */
#ifndef REMORA_SPAN_EVENTS_H
#define REMORA_SPAN_EVENTS_H

#include "exporters/resource.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPAN_EVENTS_MOST 64         /* the oldest makes room */
#define SPAN_EVENT_TEXT (48 * 1024) /* of a stack trace */
#define SPAN_FRAMES_MOST 50         /* of one exception */
#define SPAN_RAISED_MOST 10         /* exceptions of a chain: the first ones, and what it all came from */
#define SPAN_PATHS_MOST 50

struct span_frame { /* innermost first; strings as the event's, NULL = unknown */
	char *label, *path;
	uint32_t line;
};

struct span_exception {                /* what is known of one */
	const uint8_t *trace_id, *span_id; /* of its request; NULL: none */
	const uint8_t *instance;           /* of a process that it ended, with all that was open there; NULL */
	uint64_t time_ns;
	const char *uuid, *type, *message, *stacktrace; /* NULL: not known */
	bool handled;                                   /* the program went on: no error of the span */
};

struct span_raised {                /* an exception of a chain */
	char *type, *message;           /* never NULL */
	struct span_frame *frames;      /* NULL when n_frames is 0 */
	uint32_t n_frames, frames_left; /* and how many more there were */
	uint32_t skipped;               /* exceptions left out between the one before and this */
};

struct span_event { /* "exception"; strings are well-formed UTF-8; all owned by the set */
	uint8_t trace_id[16], span_id[8], instance[16];
	bool of_process, handled;
	uint64_t time_ns;
	char uuid[37];
	char *stacktrace;           /* never NULL */
	struct span_raised *raised; /* the last one first, each caused by the next; at least one */
	uint32_t n_raised;
	char *cwd;    /* of its process; NULL = unknown */
	char **paths; /* modules; NULL when n_paths is 0 */
	uint32_t n_paths;
};

struct span_events {
	unsigned n, next;
	uint32_t most;        /* characters of a string; 0 = no limit */
	const char *uuid_key; /* the span's attribute that leads to the report */
	struct span_event e[SPAN_EVENTS_MOST];
};

/* The event, for what follows; NULL: no memory. */
struct span_event *span_events_add(struct span_events *s, const struct span_exception *x);
/* What caused the one before it. Beyond SPAN_RAISED_MOST it takes the last one's place. NULL: no memory. */
struct span_raised *span_event_raised(const struct span_events *s, struct span_event *e, const char *type, const char *message);
/* Appends one, up to SPAN_FRAMES_MOST. */
void span_event_frame(struct span_raised *r, const char *label, const char *path, uint32_t line);
void span_event_cwd(struct span_event *e, const char *path);
void span_event_path(struct span_event *e, const char *path);
const struct span_event *span_events_look(const struct span_events *s, const struct rec_view *v);
static inline const struct span_event *span_events_find(const struct span_events *s, const struct rec_view *v)
{
	return s && s->n ? span_events_look(s, v) : NULL;
}
#define SPAN_EVENT_NAME "exception"
/* Its attributes, which borrow from it; empty ones are left out. */
uint32_t span_event_attrs(const struct span_event *e, struct attr out[3]);
struct span_attrs;
/* What the span itself tells of it: its status, and where the report is. */
void span_event_mark(const struct span_events *s, const struct span_event *e, struct span_attrs *span);
void span_events_free(struct span_events *s);

/*
 * span_events_pack.c: what span_events_add does not take (frames, causes, places) as bytes without NULs of other meaning,
 * for another process. unpack: NUL behind them; they are anybody's.
 */
struct buf;
void span_event_pack(struct buf *b, const struct span_event *e, size_t most);
void span_event_unpack(const struct span_events *s, struct span_event *e, const char *bytes, size_t n);

#endif
