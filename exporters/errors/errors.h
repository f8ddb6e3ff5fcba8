/*
 * Uncaught errors of any language, read from what the processes of the tree write to stderr (SPAN_TEXT records).
 * One stream per thread; when a block of lines is an error, its report goes to the sink. exporter thread.
 */
#ifndef REMORA_ERRORS_H
#define REMORA_ERRORS_H

#include "exporters/crash/report.h"
#include "shim/span/arena.h"

/* Owns the report. time_ns is when the process wrote it. */
typedef void (*errors_sink)(void *ctx, struct report *r);

struct errors;
/*
 * `logged`: also errors that the program caught and logged (REMORA_ERRORS_LOGGED=1). `crashes`: there are crash files,
 * so what a process says before a signal ends it waits for its file. NULL: no memory.
 */
struct errors *errors_new(bool logged, bool crashes, errors_sink sink, void *ctx);
void errors_delete(struct errors *e); /* tells what is uncertain no more, and forgets the rest */

/* A record with text, checked by rec_view. Borrowed. */
void errors_take(struct errors *e, const struct arena *a, const struct rec_view *v, uint64_t now);
/* A SPAN_SAID: there is a crash file of that process, which has what its thread `tid` said last. */
void errors_said(struct errors *e, int32_t pid, int32_t tid, uint64_t time_ns, uint64_t now);
/* What the clock decides: a block with nothing behind it, a process that is gone. now: CLOCK_MONOTONIC. */
void errors_tick(struct errors *e, uint64_t now);
uint64_t errors_due(const struct errors *e); /* when it wants to be called; 0 = not before a record comes */
/* Process `pid`, ours, ends, and with it the exporter: what can be told is told now. */
void errors_stop(struct errors *e, int32_t pid);
/* Nothing more comes from this arena, whose processes are gone. */
void errors_end(struct errors *e, const struct arena *a);
/* Is that what a process says before a signal ends it? Then it belongs to that crash's report. */
bool errors_of_crash(const struct report *text);
/* The report of a crash gets what its process said last (r->words): its language's name for it, message, frames. */
void errors_last_words(struct report *crash);
/* And what its JVM wrote of it into a file (hs_err.c); the text of such a file, false: it is none. */
void errors_hs_err(struct report *crash);
bool errors_hs_err_take(struct report *crash, struct slice text);
/* What errors_last_words does when it has found the text's report. */
void errors_absorb(struct report *crash, struct report *text);
/*
 * A crash file was read: what its process said last goes into its report (the text as abort_msg, the frames of a
 * language as a cause), and is not told on its own.
 */
void errors_join(struct errors *e, struct report *crash);
bool errors_idle(const struct errors *e); /* nothing is waited for */

/* A line at info level. */
void errors_log(const struct report *r);

#endif
