/*
 * From records of text to log events: one stream for each process and fd. A line that lies in several records is put
 * together; a traceback, and what was written with a line and is indented, is one event with it. Pure but for memory.
 * exporter thread; the bytes are anybody's.
 *
 * A record stays where it is (a hold) until every event that has bytes of it was delivered: events carry references.
 */
#ifndef REMORA_CLOUDWATCH_LINES_H
#define REMORA_CLOUDWATCH_LINES_H

#include "base/slice.h"
#include <stddef.h>

#define LINES_EVENT_MOST (1024 * 1024 - 26) /* bytes; the rest of a longer one is cut off */

struct hold {          /* a record; owner: its references */
	struct hold *next; /* of the same stream; valid while an event reaches that far */
	uint32_t refs, slot, source, len;
	uint32_t weight; /* 0: it is gone already, its bytes live on here alone */
};

struct line_meta {
	uint64_t time_ns;
	uint8_t trace_id[16], span_id[8]; /* zero: none */
	int32_t tid;
};

struct line_event {    /* borrowed but for its references */
	struct slice text; /* without the last line's end; not empty */
	struct line_meta meta;
	const void *arena;
	int32_t pid, fd;
	int level;  /* enum level, if it is known; else the text tells */
	bool error; /* it holds a traceback or the like */
	bool cut;
	struct hold *first, *last; /* the callee's, with one reference for each from first to last */
	uint32_t end;              /* bytes of the last one up to here */
};

struct lines_in { /* a record */
	const void *arena;
	int32_t pid, fd;
	struct slice text;
	uint32_t from; /* where text begins in the record */
	struct line_meta meta;
	bool merged;       /* of several writes */
	bool gap;          /* bytes before it are missing; text may be empty then */
	struct hold *hold; /* the caller keeps a reference of its own during the call */
	uint64_t now;
};

struct lines_events {
	void (*event)(void *ctx, const struct line_event *e);
	void (*unref)(void *ctx, struct hold *h); /* bytes that became no event: one reference */
	bool (*alive)(void *ctx, const void *arena, int32_t pid);
	void *ctx;
};

struct lines;
struct lines *lines_new(const struct lines_events *ev);
void lines_delete(struct lines *l); /* what is open is given back without an event */
void lines_add(struct lines *l, const struct lines_in *in);
/* Events with nothing behind them for a while are complete; lines without an end too, when their process is gone. */
void lines_tick(struct lines *l, uint64_t now);
uint64_t lines_due(const struct lines *l); /* CLOCK_MONOTONIC, 0 = not before a record */
/* Complete at once: whole lines of all, and everything of `pid` (0: of none), which says no more. */
void lines_flush(struct lines *l, int32_t pid);
/* An arena is gone: everything of it is complete. */
void lines_end(struct lines *l, const void *arena);

#endif
