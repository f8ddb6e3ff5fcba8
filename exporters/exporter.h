/*
 * A destination of telemetry. To add one: a folder (or file) with a `const struct exporter_kind`, a line in the table
 * of worker.c, and its variables in the README.
 *
 * Everything here runs on the exporter thread only; nothing may block but http.h's loop. The worker owns queues,
 * batches, schedule, retries and budgets; a kind turns a batch into bytes and says how an answer is to be understood.
 */
#ifndef REMORA_EXPORTER_H
#define REMORA_EXPORTER_H

#include "exporters/abi.h"
#include "exporters/buf.h"
#include <stdbool.h>
#include <stdint.h>

struct credentials; /* aws/credentials.h */
struct span_events;
struct settings;  /* settings.h: the parsed variables */
struct resources; /* resource.h: the resource of each process of the tree, cached */

/* Records of one batch, read with batch_view(). Borrowed: valid during the call that gets it. */
struct batch {
	const struct arena *arena;
	const uint32_t *slots;
	char *scratch;                /* REC_VAR_MAX bytes, for strings of several slots */
	uint32_t *malformed;          /* counts records that did not check out */
	const struct rec_view *views; /* instead of slots, if not NULL */
	uint32_t n;
	struct resources *resources;
	const struct settings *settings;
	const struct span_events *events; /* span_events.h; NULL = none */
	/* Bytes that a resource's attributes and a span may have; 0 = any. What was left out for that is counted. */
	uint32_t resource_most, span_most, *left_out;
};

enum outcome {
	OUT_ACCEPTED,
	OUT_RETRY,   /* same bytes again, after retry_after_ns or the worker's backoff */
	OUT_AGAIN,   /* the same at once, as soon as the kind is ready: it was signed wrongly */
	OUT_REFUSED, /* drop, never again */
};

#define ANSWER_MAX (64 * 1024)         /* bytes of an answer's body that are kept */
#define ANSWER_LIMIT (4 * 1024 * 1024) /* a longer one is an error (OTLP) */

struct answer {        /* of a request; filled by http.c, judged by the kind */
	int status;        /* HTTP status; 0 = the head did not come: nobody knows what became of the request */
	const char *error; /* what went wrong underway; with a status: its body is not whole or too long */
	const char *body;  /* first ANSWER_MAX bytes */
	size_t body_len;
	const char *content_type;
	uint64_t retry_after_ns; /* from Retry-After (seconds or date), 0 = none */
	uint64_t rate_wait_ns;   /* from X-Rate-Limit-Remaining-Seconds, 0 = none */
	bool rate_used_up;       /* X-Rate-Limit-Remaining: 0 */
	uint64_t date_s;         /* Date, since 1970; 0 = none */
	const char *aws_error;   /* X-Amzn-ErrorType; NULL = none */
};

struct verdict {
	enum outcome outcome;
	uint64_t retry_after_ns; /* 0 = worker's backoff */
	uint64_t refused;        /* spans refused inside an accepted batch (partial success) */
	char message[256];       /* for the log, no secrets; "" = none */
};

struct request { /* what a kind makes of a batch; strings owned by the destination or literals, headers too */
	const char *url;
	const char *method;                             /* NULL = POST */
	bool direct;                                    /* never through a proxy */
	const char *const *headers;                     /* "Name: value", NULL at the end */
	const char *ca_file, *client_cert, *client_key; /* PEM files; NULL = default / none */
	bool gzip;                                      /* http.c compresses the body; it sets gzipped when it has */
	bool gzipped;
	uint64_t timeout_ns; /* of one attempt, 0 = none */
	struct buf body;     /* the worker frees it after the last try */
};

struct exporter_kind {
	const char *name; /* as in OTEL_TRACES_EXPORTER */
	/*
	 * One destination from the settings; *out is its state. `which`: its name in worker_dests.c's table. False: not
	 * wanted or unfit (it has logged why).
	 */
	bool (*create)(const struct settings *s, const char *which, void **out);
	/* Bytes for a batch. False: nothing to send (all records unfit): the batch is done. HTTP kinds. */
	bool (*encode)(void *self, const struct batch *b, struct request *out);
	struct verdict (*judge)(void *self, const struct answer *a);
	/* Who signs: the process's keys (NULL: no memory), borrowed. NULL: no such thing. */
	void (*use)(void *self, struct credentials *c);
	/* May a request go out at now_ns? False: not before *when, 0 = when an answer has come. NULL: always. */
	bool (*ready)(void *self, uint64_t now_ns, uint64_t *when);
	/* Before each try; false: it fails. NULL: the request is as encode made it. */
	bool (*sign)(void *self, struct request *r);
	/*
	 * Kinds without a connection (console, xray): take the batch here and now, copying what is kept. Returns how many
	 * records are lost. NULL for HTTP kinds.
	 */
	uint32_t (*print)(void *self, const struct batch *b);
	/* How many records print may be given at now_ns; 0: none before *when. NULL: any number. */
	uint32_t (*room)(void *self, uint64_t now_ns, uint64_t *when);
	/*
	 * Print what was held back and is due at now_ns (CLOCK_MONOTONIC), or everything when `all`. Returns when it wants
	 * to be called next, 0 = not before the next batch. NULL for HTTP kinds.
	 */
	uint64_t (*tick)(void *self, uint64_t now_ns, bool all);
	void (*destroy)(void *self);
};

extern const struct exporter_kind otlp_kind, console_kind, xray_kind;

#endif
