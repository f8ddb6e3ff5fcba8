/*
 * CloudWatch Logs: text records become events, events PutLogEvents calls. exporter thread.
 *
 *	record --hold--> lines.c --event--> line_text.c, filters --message--> log_batch --signed--> POST --> release
 *
 * A record stays in the arena until all that was made of it is answered for; how far that is stands in the record, so
 * that another exporter goes on there. When a quarter of the arena is held so, records are copied and given back: then
 * a kill of the exporter costs lines, and what the copies may take bounds the memory.
 */
#ifndef REMORA_CLOUDWATCH_H
#define REMORA_CLOUDWATCH_H

#include "exporters/http.h"
#include "exporters/settings.h"

struct cloudwatch;
struct cloudwatch_owner { /* of the records */
	void (*release)(void *ctx, uint32_t source, uint32_t slot);
	void (*delivered)(void *ctx, uint32_t source, uint32_t slot, uint32_t bytes);
	void *ctx;
};

struct credentials;
/* `slots`: of the arena, of which at most a quarter is held. The credentials are borrowed. NULL: no memory. */
struct cloudwatch *cloudwatch_new(const struct settings *s, struct http *h, struct credentials *keys, const struct arena *a,
                                  uint32_t slots, const struct cloudwatch_owner *owner);
/* What was not delivered is not released either: the next exporter finds it. */
void cloudwatch_delete(struct cloudwatch *c);
/* A text record. True: it is held until it is released. False: nothing is needed of it any more. */
bool cloudwatch_text(struct cloudwatch *c, const struct arena *a, uint32_t source, uint32_t slot, const struct rec_view *v,
                     uint64_t now);
/* A request's record, for the access log and metrics; it is not held. */
void cloudwatch_span(struct cloudwatch *c, const struct arena *a, const struct rec_view *v, const char *service, uint64_t now);
bool cloudwatch_wants_spans(const struct cloudwatch *c);
bool cloudwatch_room(const struct cloudwatch *c); /* for what can wait where it is */
void cloudwatch_turn(struct cloudwatch *c, uint64_t now, bool flush);
/* Nothing more comes from this process, or from an arena. */
void cloudwatch_stop(struct cloudwatch *c, int32_t pid);
void cloudwatch_end(struct cloudwatch *c, const struct arena *a);
uint64_t cloudwatch_due(struct cloudwatch *c);
void cloudwatch_flush_begins(struct cloudwatch *c);
bool cloudwatch_flushed(const struct cloudwatch *c, uint64_t now);
bool cloudwatch_idle(const struct cloudwatch *c);
bool cloudwatch_waits(const struct cloudwatch *c);  /* for more lines, to send them together */
void cloudwatch_report(const struct cloudwatch *c); /* to the log, at debug level */

/* ---- inside ---- */

#include "exporters/aws/service.h"
#include "exporters/cloudwatch/emf.h"
#include "exporters/cloudwatch/line_text.h"
#include "exporters/cloudwatch/log_batch.h"

enum log_call { CALL_NONE,
	            CALL_PUT,
	            CALL_GROUP,
	            CALL_RETENTION,
	            CALL_STREAM };

struct cloudwatch {
	const struct cloudwatch_settings *set;
	const struct settings *settings;
	struct http *http;
	struct arena *arena; /* for counters, the tree's own */
	struct cloudwatch_owner owner;
	struct aws_service service;
	struct lines *lines;
	struct log_batch *head, *tail; /* the first one is in flight or waits for its next try */
	uint32_t slots, weight;        /* may be held at most; are held */
	size_t bytes;                  /* of all batches */
	char stream[513];              /* of our tree */
	struct buf message;            /* scratch */
	struct emf emf;
	/* filters */
	uint64_t rate_ns; /* of the last event */
	double tokens;
	/* log_send.c */
	enum log_call kind, next;
	struct http_call *call;
	struct request request;
	const char *headers[8];
	unsigned fails, creates;
	bool group_made, told_when, flush_failed;
	uint64_t not_before_ns;
	uint64_t sent, dropped, filtered;
};

/* An event's holds, delivered or given up. */
void cloudwatch_let_go(struct cloudwatch *c, struct log_event *e);
/* Takes the first batch out, done with; `lost` of its events were not accepted. */
void cloudwatch_pop(struct cloudwatch *c, uint32_t lost);
/* Of a line, from lines.c or made here: filtered, and into a batch. Takes the event's references. */
void cloudwatch_event(void *ctx, const struct line_event *e);
/* log_message.c: a request's line */
void cloudwatch_access(struct cloudwatch *c, const struct arena *a, const struct rec_view *v);
/* into c->message */
void cloudwatch_compose(struct cloudwatch *c, const struct line_event *e, bool is_json, const struct json_line *j, enum level level);
/* The stream for what an arena's processes say; in `text` or constant. */
const char *cloudwatch_stream(struct cloudwatch *c, const struct arena *a, char text[513]);
/* log_send.c */
void log_send_pump(struct cloudwatch *c, uint64_t now, bool flush);
void log_send_free(struct cloudwatch *c);

#endif
