/*
 * What becomes of a crash or an error: kept in the local store, shown on the console, tied to its span, sent to
 * Rollbar. The worker turns it like a destination; the remora command uses it without a worker. exporter thread.
 */
#ifndef REMORA_REPORTS_H
#define REMORA_REPORTS_H

#include "exporters/crash/report.h"
#include "exporters/exporter.h"
#include "exporters/http.h"
#include "exporters/settings.h"
#include "exporters/span_events.h"

struct reports;

struct reports_options {
	bool any;      /* also what belongs to other settings */
	bool no_inbox; /* look for no crash files but those that are named */
	bool no_spool; /* send nothing of earlier runs */
	bool foreign;  /* crash files are of processes with an arena of their own: the helper */
};

/* host->dir is where crash files are looked for, host->arena says whose. NULL: no memory. */
struct reports *reports_new(const struct export_host *host, const struct settings *s, struct http *h,
                            const struct reports_options *o);
void reports_delete(struct reports *r);
/* Is there a reason to run although no traces are exported? */
bool reports_wanted(const struct reports *r);

/* A report from anywhere: what has to be done with it. It is borrowed. */
void reports_take(struct reports *r, const struct report *report);
/* An error that the program caught and logged, for its request's report if that was answered with 5xx; owns it. */
void reports_offer(struct reports *r, struct report *report);
/* Called with a crash file's report before anything is done with it: exporters/errors adds what the process said. */
void reports_on_crash(struct reports *r, void (*f)(void *ctx, struct report *), void *ctx);
/* A record was drained, for the timeline of its process. Cheap, and nothing without Rollbar. */
void reports_saw(struct reports *r, const struct arena *a, uint32_t slot);
/* The crash file of that name in host->dir; false: it is not there (any more), or is none. */
bool reports_take_file(struct reports *r, const char *name);
/* A crash file that has no name (memfd). */
bool reports_take_bytes(struct reports *r, const char *name, const void *bytes, size_t n);
/* A SPAN_EXCEPTION was drained. */
void reports_left(struct reports *r, const struct rec_view *v);

void reports_begin(struct reports *r); /* spool and crash files that lie there */
void reports_turn(struct reports *r, uint64_t now, bool flush);
uint64_t reports_due(struct reports *r, uint64_t now); /* CLOCK_MONOTONIC; 0 = not before something happens */
void reports_flush_begins(struct reports *r);
bool reports_flushed(const struct reports *r, uint64_t now);
bool reports_idle(const struct reports *r);
const struct span_events *reports_events(const struct reports *r);

struct reports_counts {
	unsigned made, kept, foreign_files, foreign_items, waiting;
	unsigned suppressed; /* items of a kind that came too often */
	uint64_t sent, refused, lost;
	const char *last; /* answer of Rollbar, "" = none */
};
struct reports_counts reports_counts(const struct reports *r);

#endif
