/*
 * The text of one thread: lines put together, error blocks found in them. Pure but for memory. exporter thread.
 */
#ifndef REMORA_ERRORS_STREAM_H
#define REMORA_ERRORS_STREAM_H

#include "exporters/errors/parse.h"

#define STREAM_LINE_MOST 8192         /* of a line; the rest of a longer one is left out */
#define STREAM_BLOCK_MOST (64 * 1024) /* of a block; its middle is left out of a longer one */

struct stream;
struct found {
	const struct error_kind *kind;
	struct slice text;     /* whole lines, borrowed */
	bool begun_inside;     /* it begins in the middle of a write */
	struct report *report; /* the callee's */
	enum error_fate fate;
};

struct stream_events {                              /* any may be NULL */
	void (*begun)(void *ctx);                       /* a block begins with the bytes that were given last */
	void (*found)(void *ctx, const struct found *); /* one is complete */
	void (*line)(void *ctx, struct slice line);     /* a line that belongs to none */
};

struct stream {
	char *text;
	uint32_t n, cap;
	uint32_t line;                 /* where the line that is not complete begins; before it: the last line, or the block */
	uint32_t whole;                /* bytes of that line that were given; more than are kept */
	const struct error_kind *kind; /* of the block; NULL: none */
	struct scan scan;
	bool inside;         /* the block began in the middle of a write */
	bool joined, merged; /* the line under way: in one record with the one before; that record is of several writes */
	uint8_t depth;
};

/* What one record holds. `merged`: of more than one write, as far as is known. */
void stream_add(struct stream *s, struct slice bytes, bool merged, const struct stream_events *ev, void *ctx);
/* Nothing more comes for now: the block, if there is one, is complete. */
void stream_close(struct stream *s, const struct stream_events *ev, void *ctx);
static inline bool stream_in_block(const struct stream *s)
{
	return s->kind != NULL;
}
void stream_free(struct stream *s); /* may be used again */

#endif
