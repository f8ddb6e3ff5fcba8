/*
 * Events of one PutLogEvents call, within its limits (service model of 2014-03-28): 1,048,576 bytes of messages with
 * 26 more for each, 10,000 events, 24 hours. Pure but for memory. exporter thread.
 */
#ifndef REMORA_CLOUDWATCH_LOG_BATCH_H
#define REMORA_CLOUDWATCH_LOG_BATCH_H

#include "exporters/aws/error.h"
#include "exporters/buf.h"
#include "exporters/cloudwatch/lines.h"

#define BATCH_BYTES 1048576
#define BATCH_EACH 26
#define BATCH_EVENTS 10000
#define BATCH_SPAN_NS (24 * 3600 * UINT64_C(1000000000))
#define MESSAGE_MOST (BATCH_BYTES - BATCH_EACH)

struct log_event {
	uint64_t ns;               /* since 1970 */
	uint32_t at, n;            /* its message in text */
	struct hold *first, *last; /* as in line_event; NULL: of no record */
	uint32_t end;
};

struct log_batch {
	struct log_batch *next;
	struct log_event *events;
	uint32_t n, cap;
	size_t bytes; /* as the limit counts */
	uint64_t min_ns, max_ns, since_ns;
	struct buf text;
	char *stream;
	bool sorted;
};

/* NULL: no memory. */
struct log_batch *log_batch_new(const char *stream, uint64_t now);
void log_batch_free(struct log_batch *b);
/* Does an event of n bytes go into it? */
bool log_batch_takes(const struct log_batch *b, uint64_t ns, size_t n);
/* `message` is well-formed UTF-8 of 1 to MESSAGE_MOST bytes. False: no memory. */
bool log_batch_add(struct log_batch *b, const struct log_event *e, const char *message, size_t n);
/* The call's JSON; events are put into order of their times, those of one time stay as they came. */
bool log_batch_encode(struct log_batch *b, const char *group, int64_t shift_ms, struct buf *out);

/* ---- log_answer.c: pure, fuzzed ---- */

struct log_answer {
	struct aws_error error;
	/* Indices of rejectedLogEventsInfo; old_end: of those too old or expired. new_start: UINT32_MAX = none. */
	uint32_t old_end, new_start;
};
void log_answer_read(struct log_answer *out, const char *header, const char *body, size_t n);

#endif
