/* Inside reports.c, reports_files.c and reports_show.c. */
#ifndef REMORA_REPORTS_PRIV_H
#define REMORA_REPORTS_PRIV_H

#include "exporters/crash_inbox.h"
#include "exporters/reports_5xx.h"
#include "exporters/reports_tie.h"
#include "exporters/rollbar/rollbar.h"

#define PENDING 32

struct pending { /* a crash file whose item is yet to be tried */
	char file[INBOX_NAME], uuid[37];
	bool safe; /* its item is in the spool */
};

struct reports {
	const struct export_host *host;
	const struct settings *settings;
	struct reports_options options;
	struct host_facts facts;
	struct local *local;
	struct rollbar *rollbar; /* NULL: no token */
	struct timeline *timeline;
	struct failed *failed; /* NULL: 5xx answers are no reports */
	struct inbox *inbox;   /* NULL: crash files are not looked for */
	struct buf limits;     /* when there is no place for the file */
	struct span_events events;
	struct pending pending[PENDING];
	const char *file; /* of the report under way, or NULL */
	bool nameless;    /* it has no name that could be removed */
	void (*on_crash)(void *ctx, struct report *);
	void *on_crash_ctx;
	struct reports_counts counts;
};

/* reports.c. `known`: the request, if it is at hand. True: the crash file is needed until the item was tried. */
bool reports_make(struct reports *r, const struct report *rep, const struct failed_request *known);
/* reports_files.c */
void reports_scan(struct reports *r, uint64_t now);
void reports_fetch(struct reports *r); /* a record without a name that is offered */
void reports_file_done(struct reports *r, const char *name);
/* reports_show.c: on the console */
void reports_show(const struct export_host *host, const struct report *rep, const char *program);

#endif
