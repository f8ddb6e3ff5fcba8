/* Inside of report*.c. */
#ifndef REMORA_CRASH_REPORT_PRIV_H
#define REMORA_CRASH_REPORT_PRIV_H

#include "exporters/buf.h"
#include "exporters/crash/modules.h"
#include "exporters/crash/report.h"

#define REPORT_FOLD 8 /* a cycle that comes so often again is folded */

/* report_words.c: what a signal means. All give text of the report, or constants. */
const char *signal_name(int signo);
const char *report_reason(struct report *r, const struct crash_head *h);                       /* "Address not mapped to object at 0x0" */
const char *report_describe(struct report *r, const struct crash_head *h, const char *thread); /* "write to NULL, thread ..." */

/* report_app.c: which frames are the application's; what a crash is known by. */
bool frame_in_app(const struct report_frame *f);
bool frame_is_noise(const struct report_frame *f); /* abort, raise and the like: never the culprit */
const struct report_frame *report_culprit(const struct report *r);
void report_fingerprint(struct report *r);
size_t report_fold(struct report_frame *f, size_t n, size_t gap, size_t left_out); /* how many are left */

/* report_text.c */
void report_text(struct report *r);
const char *report_printf(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* source.c: code, pre and post of the frames. */
void report_source(struct report *r);

#endif
