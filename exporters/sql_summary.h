/* A short name for SQL text, of few different values (OpenTelemetry database conventions, db.query.summary). Pure. */
#ifndef REMORA_SQL_SUMMARY_H
#define REMORA_SQL_SUMMARY_H

#include "base/slice.h"
#include <stddef.h>

#define SQL_SUMMARY_MAX 255

/*
 * Of a text as sql_sanitize() leaves it: operations and their targets in order, "SELECT users orders". Returns bytes
 * written, at most `cap`, never a part of a word; 0: nothing could be told.
 */
size_t sql_summary(struct slice text, char *out, size_t cap);

#endif
