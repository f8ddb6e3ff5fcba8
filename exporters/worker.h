/*
 * Inside worker*.c: from arenas through one queue per destination to the exporters. exporter thread.
 *
 *	arena --drain--> source --offer--> dest.queue --batch--> request --answer--> source_unref --> arena_free
 *
 * A record lies in its slot, marked SLOT_TAKEN, until every destination has answered for it: a kill loses nothing. So
 * queues hold slot numbers only, and the budget of a destination is counted in slots.
 */
#ifndef REMORA_WORKER_H
#define REMORA_WORKER_H

#include "exporters/cloudwatch/cloudwatch.h"
#include "exporters/errors/errors.h"
#include "exporters/http.h"
#include "exporters/reports.h"
#include "exporters/resource.h"
#include "exporters/settings.h"

#define DESTS 5
#define LEFT_HELD 4
#define ORPHANS 4 /* arenas of dead trees that are worked on at a time */
#define SOURCES (1 + ORPHANS)

/* ---- worker_source.c: an arena, and which of its records we hold ---- */

struct slot_use {
	uint8_t refs;   /* destinations that still need the record; 0 = not ours */
	uint8_t weight; /* slots that it takes */
};

struct source {
	struct arena *arena; /* NULL: free entry */
	bool orphan;
	uint32_t max;          /* entries of use */
	struct slot_use *use;  /* by slot; ours alone, the arena's bytes are others' as well */
	uint32_t held, weight; /* records and slots with refs */
	uint32_t freed[256], n_freed;
	uint32_t *waiting, n_waiting, at_waiting; /* an orphan's records that are not queued yet */
};

bool source_init(struct source *s, struct arena *a, bool orphan);
void source_free(struct source *s);
/* A record was drained: `refs` starts at 1, the caller's. False: it cannot be (a list out of order); counted. */
bool source_take(struct source *s, uint32_t slot);
void source_ref(struct source *s, uint32_t slot);
void source_unref(struct source *s, uint32_t slot); /* the last one gives the slot back, at source_flush at the latest */
void source_flush(struct source *s);

/* ---- worker_dest.c: a destination's queue and its request ---- */

struct ref {
	uint32_t slot, source;
};

struct queue { /* ring */
	struct ref *ring;
	uint32_t cap, head, n;
};

struct worker;
struct dest {
	struct worker *worker;
	const struct exporter_kind *kind;
	const char *name; /* "otlp", "honeycomb", "console" */
	void *self;
	uint64_t delay_ns;
	uint8_t wants; /* TRACE_FLAG_*: of records without it nothing is told; 0 = every record */
	struct queue queue;
	uint32_t room;     /* records that kind->room admits */
	uint32_t weight;   /* slots of queue and batch */
	uint64_t since_ns; /* the queue's delay began */
	/* The batch under way: in flight when call is there, else waiting for not_before_ns. */
	uint32_t *batch; /* slots */
	uint32_t source; /* of all of them */
	uint32_t n_batch, n_bad;
	struct request request;
	struct http_call *call;
	uint64_t born_ns, posted_ns, not_before_ns;
	bool unready; /* kind->ready said so; ready_ns: when to ask again, 0 = an answer comes first */
	uint64_t ready_ns;
	bool told_when;    /* not_before_ns is the receiver's word, not our backoff */
	uint32_t fails;    /* in a row */
	bool flush_failed; /* since the flush began: it will not be waited for */
	uint64_t sent, dropped;
};

/* Takes a reference if there is room; else the destination loses the record, which is counted. */
void dest_offer(struct dest *d, struct ref r, uint64_t now);
/* Start what can be started. */
void dest_pump(struct dest *d, uint64_t now, bool flush);
/* Nothing left to try before a flush's deadline. */
bool dest_flushed(const struct dest *d, uint64_t now);
/* When dest_pump wants to be called; 0: not before a record or an answer comes. */
uint64_t dest_due(const struct dest *d);
void dest_free(struct dest *d); /* drops the queue without counting, cancels */

/* ---- worker_batch.c: records into bytes ---- */

/* Moves up to max_batch records of one source from the queue into d->batch and encodes them. False: nothing to send. */
bool batch_make(struct dest *d);
void batch_done(struct dest *d); /* gives the records back and frees the request */

/* ---- worker.c ---- */

struct worker {
	const struct export_host *host;
	struct settings settings;
	struct resources *resources;
	struct http *http;
	struct reports *reports;         /* crashes and errors */
	struct xray_sampling *sampling;  /* X-Ray's rules; NULL: they decide nothing */
	struct errors *errors;           /* what stderr tells of them; NULL: not wanted */
	bool errors_logged;              /* also what the program caught and logged */
	struct credentials *credentials; /* for AWS; NULL: nothing is sent there */
	struct cloudwatch *cloudwatch;   /* lines; NULL: not wanted */
	char *text;                      /* scratch for records of text, made when there is one */
	struct source sources[SOURCES];  /* [0]: this tree's arena */
	struct dest dests[DESTS];
	unsigned n_dests, n_http;
	char *strings;     /* scratch for a record's */
	uint32_t *slots;   /* drain buffer */
	bool more_orphans; /* there may be arenas of dead trees */
	bool any_orphan;   /* also those of other settings: flush --all */
	uint32_t foreign_orphans;
	unsigned orphan_rounds;
	bool forget_resources; /* an orphan is gone: its processes are cached by its address */
	bool can_grow;
	bool flushing;
	bool everything;            /* a flush waits for what dead trees left as well: the remora command */
	uint32_t last_drain;        /* records, to choose how long to wait for sockets */
	uint32_t slots_each;        /* that a record took lately */
	struct ref left[LEFT_HELD]; /* what helpers left of crashes: kept until the spans that it is for were taken */
	unsigned n_left;
	uint64_t left_ns; /* when the last came */
	uint64_t swept_ns, idle_since_ns;
	uint64_t look_ns;   /* when to look for requests in flight, whose process may be gone; 0 = nothing was drained since */
	uint64_t full_seen; /* COUNT_DROP_FULL at the last look */
	uint64_t drops_told, drops_told_ns;
};

#define DRAIN 1024
#define IDLE_NS UINT64_C(30000000000) /* nothing to send for so long: the thread ends */
#define LEFT_NS UINT64_C(1000000000)  /* between it and its spans lies no more */

struct worker *worker_new(const struct export_host *host);
/* The loop; the arena's lease is held. */
enum export_end worker_run(struct worker *w, bool takeover);
/* What was not sent stays taken in the arena: the next owner of its lease finds it. */
void worker_delete(struct worker *w);
/* Our own process crashes: the report is made of what waits, by somebody else. */
static inline bool worker_frozen(const struct worker *w)
{
	return w->host->recent && atomic_load_explicit(&w->host->recent->frozen, memory_order_relaxed);
}
static inline struct arena *worker_arena(const struct worker *w)
{
	return w->sources[0].arena;
}

/* worker_dests.c: destinations from the settings */
void worker_dests(struct worker *w);
/* worker_errors.c: text into reports */
void worker_errors_new(struct worker *w);
void worker_errors_said(struct worker *w, const struct arena *a, uint32_t slot, uint64_t now);
/* The end of what can be told of this process, or of the whole tree. */
void worker_errors_turn(struct worker *w, uint64_t now);
/* worker_logs.c: text to errors and lines, requests to the access log */
bool worker_logs_new(struct worker *w);
void worker_text(struct worker *w, uint32_t source, uint32_t slot, uint64_t now);
void worker_access(struct worker *w, const struct arena *a, uint32_t slot, uint64_t now);
void worker_logs_turn(struct worker *w, uint64_t now);
/* worker_feed.c: arenas into queues */
void worker_drain(struct worker *w, uint64_t now, bool final);
void worker_sweep(struct worker *w, uint64_t now, bool takeover);
void worker_look(struct worker *w, uint64_t now);
void worker_orphans(struct worker *w, uint64_t now);
void worker_left_release(struct worker *w, uint64_t now); /* if nothing can need it any more */
/* worker_report.c: counters to the log, at debug level */
void worker_report(struct worker *w, const char *when);
void worker_report_drops(struct worker *w, uint64_t now);

#endif
