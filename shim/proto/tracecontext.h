/*
 * Trace context on the wire: W3C Trace Context and Baggage, B3, AWS X-Ray (source of the formats: W3C
 * trace-context-2 and baggage, openzipkin/b3-propagation, X-Ray developer guide).
 * Pure functions, any context.
 */
#ifndef REMORA_TRACECONTEXT_H
#define REMORA_TRACECONTEXT_H

#include "base/slice.h"
#include "proto/http1.h"
#include <stdint.h>

#define TRACE_FLAG_SAMPLED 0x01
#define TRACE_FLAG_RANDOM 0x02
#define TRACE_FLAGS_WIRE (TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM)
#define TRACE_FLAG_XRAY 0x04 /* ours, never on the wire: X-Ray wants it, where its rules decide for it alone */

#define TRACEPARENT_LEN 55

enum propagator { /* a set of bits, in extraction order of OTEL_PROPAGATORS' default */
	              PROP_TRACECONTEXT = 1,
	              PROP_BAGGAGE = 2,
	              PROP_B3 = 4,
	              PROP_B3MULTI = 8,
	              PROP_XRAY = 16,
};

struct trace_ctx {
	uint8_t trace_id[16];
	uint8_t span_id[8];
	uint8_t flags;      /* TRACE_FLAG_* */
	bool valid;         /* both ids non-zero */
	bool sampled_known; /* B3 and X-Ray may leave the decision to us */
	bool xray;          /* ids and decision are of X-Ray's header */
};

/* "00-<32>-<16>-<2>"; versions above 00 by their prefix. True when valid. */
bool traceparent_parse(struct slice s, struct trace_ctx *out);
/* Writes TRACEPARENT_LEN bytes, version 00, no NUL. */
void traceparent_format(const struct trace_ctx *c, char out[static TRACEPARENT_LEN]);
void hex_encode(const uint8_t *in, size_t n, char *out);
bool hex_decode(const char *in, size_t n_bytes, uint8_t *out); /* lower case only */

/*
 * True when both ids are there. On false the ids are zero, but a decision without ids ("b3: 0") is told in
 * sampled_known and flags; and X-Ray's "Root=...;Sampled=1" without a Parent (load balancers) leaves its trace_id
 * in *out: a new trace may take that id. Digits of either case.
 */
bool b3_single_parse(struct slice s, struct trace_ctx *out);
bool b3_multi_parse(const struct http1_head *h, struct trace_ctx *out);
bool amzn_trace_parse(struct slice s, struct trace_ctx *out);
/* The decision is written from flags, whether sampled_known or not. Room: 51 and 74 bytes, no NUL. */
size_t b3_single_format(const struct trace_ctx *c, char *out, size_t cap); /* bytes written, 0 if cap is too small */
size_t amzn_trace_format(const struct trace_ctx *c, char *out, size_t cap);
/* "Root=...;Sampled=?": the caller wants to be told in the answer what was decided. */
bool amzn_trace_asks(struct slice s);
size_t amzn_answer_format(const struct trace_ctx *c, char *out, size_t cap); /* "Root=...;Sampled=1", 50 bytes */
/*
 * What X-Ray's header holds beside Root, Parent, Sampled and Self, to be passed on as it is: ";Lineage=1:a87bd80c:0". Parts
 * that are not key=value of visible characters, or do not fit, are left out. Returns bytes; none of a header without Root.
 */
size_t amzn_trace_others(struct slice s, char *out, size_t cap);

/* Extract from a request head with the propagators of `set`; false = none valid (then *out as said above). W3C wins
 * over the others, single B3 over the X-B3-* fields. A tracestate counts only when a traceparent was valid. */
bool trace_extract(const struct http1_head *h, unsigned set, struct trace_ctx *out);

/*
 * Join repeated tracestate fields into out: combined with ',', invalid members and empty ones dropped, at most 32
 * members and `cap` bytes (to shorten: members over 128 bytes first, then from the right). Returns bytes.
 */
size_t tracestate_join(const struct slice *fields, unsigned n, char *out, size_t cap);
/* Join baggage fields; whole members only, at most 64 members and cap bytes. Returns bytes. */
size_t baggage_join(const struct slice *fields, unsigned n, char *out, size_t cap);

/* X-Forwarded-For / Forwarded: the original client's address (no port, no brackets) and, if given, the scheme ("http"/"https"). */
void client_of_forwarded(const struct http1_head *h, struct slice *address, struct slice *proto);

#endif
