/*
 * REMORA_ROLLBAR_5XX: requests that were answered with 5xx, as reports. The traceback that the request's thread wrote is
 * known only seconds later (exporters/errors waits whether the process dies of it): so each waits for one. A server that
 * fails all the time costs a look into a table for each. exporter thread.
 */
#ifndef REMORA_REPORTS_5XX_H
#define REMORA_REPORTS_5XX_H

#include "exporters/crash/report.h"
#include "exporters/timeline.h"

#define FAILED_WAIT_NS UINT64_C(4000000000) /* a little longer than exporters/errors holds one */

struct failed;
struct failed *failed_new(void);
void failed_delete(struct failed *f);

/* A record was drained. */
void failed_saw(struct failed *f, const struct arena *a, uint32_t slot, uint64_t now);
/* An error that the program caught and logged; its owner from now on. */
void failed_offer(struct failed *f, struct report *r, uint64_t now);
/* A report of that request was made otherwise. */
void failed_told(struct failed *f, const uint8_t span_id[8]);

struct failed_request {
	struct report *report; /* to be freed */
	uint32_t suppressed;   /* like it, since the last one */
	struct request_copy request;
};
/* The next whose time has come, or with `all` any. False: none. */
bool failed_take(struct failed *f, uint64_t now, bool all, struct failed_request *out);
uint64_t failed_due(const struct failed *f); /* 0 = none waits */

/* A path as a group's name: segments that are numbers, ids or handles become ":id". Pure. Returns its length. */
size_t failed_path(struct slice path, char *out, size_t cap);

#endif
