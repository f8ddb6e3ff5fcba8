/*
 * Requests in flight and whose they are: trace context, sampling, attribution (design: ARCHITECTURE.md, "Attribution").
 * A txn is this process's view of a request; its record lies in the arena. host, any context; no locks, no errno.
 */
#ifndef REMORA_SPAN_H
#define REMORA_SPAN_H

#include "base/thread.h"
#include "proto/aws_call.h"
#include "proto/http1.h"
#include "proto/tracecontext.h"
#include "span/arena.h"

#define CARRY_TRACESTATE 512
#define CARRY_BAGGAGE 8192
#define CARRY_AMZN 256

struct txn {
	struct txn *next;        /* pool's, then the connection's queue: oldest first */
	_Atomic uint32_t serial; /* bumped when it ends: a txn_ref with another one is void */
	uint32_t slot;           /* its record, SLOT_NONE = not sampled, or no room */
	uint32_t fork_gen;       /* of the process that owns it */
	uint8_t kind;            /* enum span_kind */
	uint8_t method;          /* enum http1_method */
	uint16_t status;
	uint8_t flags; /* TRACE_FLAG_* */
	bool response_begun;
	bool tell;   /* asked by "Sampled=?", to be told with the response head */
	bool pooled; /* its memory is not its connection's */
	bool aws;    /* an AWS call: its answer has a request id */
	uint8_t trace_id[16], span_id[8], parent_id[8];
	uint16_t tracestate_n, baggage_n;
	char *carry;           /* server: to pass on: tracestate, baggage at CARRY_TRACESTATE, behind it a length and what
	                        * X-Ray's header had besides; NULL = nothing */
	struct txn_ref parent; /* client: the request that made the call */
	const void *owner;     /* the connection, for "the same one?" only */
};

struct span_ctx { /* the ids of a span about to start */
	uint8_t trace_id[16], span_id[8], parent_id[8];
	uint8_t flags;
	bool remote, ambiguous;
	struct slice tracestate; /* of the span and to pass on; in state[] or constant */
	/*
	 * To pass on. Borrowed from `parent` where that is set: copy it, then ask span_ref_valid(parent) whether what
	 * was copied is what it seemed; else constant, or in carry.
	 */
	struct slice baggage;
	struct txn_ref parent;
	char rule[36]; /* X-Ray's central rule that sampled it, "" = none */
	char *carry;   /* server: baggage's memory; txn_start takes it over, else give it to span_ctx_free */
	char state[CARRY_TRACESTATE];
};

/* An incoming request that began at start_ns: its context from the head, or a new trace. */
void span_ctx_server(struct span_ctx *c, const struct http1_head *h, uint64_t start_ns);
void span_ctx_free(struct span_ctx *c); /* one that no txn_start saw */
/*
 * An outgoing request: child of the request it belongs to. `first` = nothing was sent on this connection yet, then
 * `at_connect` (the request noted when it connected) comes first. `own` = the traceparent the program itself sends.
 */
void span_ctx_client(struct span_ctx *c, bool first, struct txn_ref at_connect, const struct trace_ctx *own);

/* What else the X-Ray header of an outgoing request says: of its request's header, as amzn_trace_others has it. Bytes. */
size_t span_amzn_others(struct txn_ref parent, char out[static CARRY_AMZN]);

/* The request that this thread is surely working on, for noting at connect; t NULL = unknown. */
struct txn_ref span_current(void);
bool span_ref_valid(struct txn_ref r); /* is that request still open? */
void span_forked(void);                /* in a forked child: its parent's requests are not its own */
/* The ids of the request that this thread works on, or of the only open one. False: none; they are zero then. */
bool span_ids(uint8_t trace_id[16], uint8_t span_id[8]);
/* traceparent for a child process of the thread's request. False: none. */
bool span_child_env(struct trace_ctx *out);

/*
 * Starts a request (h NULL: a database's command): a txn (NULL: no memory, counted) and, if sampled and there is room, a record. `own` = memory for it
 * that stays a txn as long as the process lives, 64-byte aligned; NULL: it is taken from the pool. *r: txn_record().
 */
struct txn *txn_start(uint8_t kind, const struct span_ctx *c, const struct http1_head *h, uint64_t start_ns,
                      const void *owner, struct txn *own, struct span_rec **r);
struct span_rec *txn_record(const struct txn *t); /* NULL = none */
/* Ends it: the record, txn_record(), goes to the exporter. */
void txn_end(struct txn *t, struct span_rec *r, uint8_t error, int err_no, uint64_t end_ns);
/* Forget it: the record is given back (or, in a forked child, left to the parent). */
void txn_drop(struct txn *t);

/* An AWS call: what its head and body told; the id of its answer. */
void txn_aws(struct txn *t, enum rec_tag tag, const struct aws_call *c);
void txn_aws_id(struct txn *t, struct slice id);

void span_request_read(struct txn *t);           /* by this thread: a server request */
void span_response_read(const struct txn *call); /* by this thread: the answer to a call */
void span_polled(void);                          /* this thread returns from a poll call */

/* A connect that failed; told unless another address of the attempt succeeds. A success takes the failure back. */
void span_connect_failed(const struct rec_addr *peer, int err, uint8_t error, uint64_t start_ns, struct txn_ref parent);
void span_connect_good(const struct rec_addr *peer);

/* At exit: requests of this process that are open end as cut off. */
void span_exit(void);
bool span_ended(void); /* that was done in this process */
/* The same in a crash: they end with ERR_CRASHED. Async-signal-safe. */
void span_crashed(int signo);

/* ids.c */
void ids_span(uint8_t out[8]);
/* Of a root: trace id (epoch seconds of now_ns, 0 = ask; then 96 random bits) and span id. */
void ids_root(uint8_t trace[16], uint8_t span[8], uint64_t now_ns);
/* sampler.c: is it sampled? parent NULL = a root. Pure but for config. */
bool sampler_decide(const uint8_t trace_id[16], const struct trace_ctx *parent, struct slice tracestate);
/* The tracestate of a span that this sampler decided: `in` with ot=th: set. Bytes written. */
size_t sampler_tracestate(struct slice in, bool sampled, char *out, size_t cap);
/* xray_sampler.c: X-Ray's rules decide for a trace that begins here; h NULL: with an outgoing call. Sets c->rule. */
bool xray_decide(struct span_ctx *c, const struct http1_head *h);
bool sampler_decides(bool has_parent); /* does the sampler, not the parent, decide? */

#endif
