/*
 * Reports and spans: which request a report belongs to, what its spans tell of it, what its process did before.
 *
 * A crash in a process that exports itself is reported by the helper, which has no spans. It leaves what the crash was in
 * the arena, as a record of its own that is committed before the spans are: whoever exports them reads it first.
 */
#ifndef REMORA_REPORTS_TIE_H
#define REMORA_REPORTS_TIE_H

#include "exporters/reports.h"
#include "exporters/timeline.h"

/* The request's span id, and its trace id; NULL: none. Borrowed. */
const uint8_t *report_span(const struct report *rep, const uint8_t **trace);
/* The request of a crash, from its slot as long as it is still that one. */
bool tie_request(const struct arena *a, const struct report *rep, struct request_copy *out);
/* A request that is open, or was not drained yet. */
bool tie_find(const struct arena *a, const uint8_t span_id[8], struct request_copy *out);
/* Where the process of a report works, if it still lives; NULL: nobody knows. */
const char *tie_cwd(const struct arena *a, const struct report *rep, char *out, size_t cap);
/* The exception of its request, and of everything that its crash ended. cwd: of its process, NULL = unknown. */
void tie_add(struct span_events *events, const struct report *rep, const char *cwd);
/* The same through the arena of another process, which may be waiting for it. */
void tie_leave(struct arena *a, const struct report *rep);
/* From there; the record is checked, and still shared. */
void tie_read(struct span_events *events, const struct rec_view *v);
/* What a crashed process did: the crash file's bytes, and what waits in its arena. */
void tie_timeline(struct timeline *t, const struct arena *a, int32_t pid, const void *bytes, size_t n);

#endif
