/* What a log line says of itself, and how it is sent. Pure (fuzzed). */
#ifndef REMORA_CLOUDWATCH_LINE_TEXT_H
#define REMORA_CLOUDWATCH_LINE_TEXT_H

#include "base/slice.h"
#include "exporters/buf.h"
#include <stddef.h>

enum level { LEVEL_UNKNOWN,
	         LEVEL_TRACE,
	         LEVEL_DEBUG,
	         LEVEL_INFO,
	         LEVEL_WARN,
	         LEVEL_ERROR,
	         LEVEL_FATAL };

/* "warning", "WARN", "E", "50" (pino); LEVEL_UNKNOWN: none. */
enum level level_named(const char *p, size_t n);
const char *level_name(enum level l); /* "WARN"; NULL: unknown */
/* From the beginning of a text line: "2026-01-02 03:04:05,123 - app - ERROR - x", "[warn] x", "level=info", "E0102 .." */
enum level level_guess(struct slice line);

struct json_line { /* a line that is one JSON object */
	enum level level;
	bool trace_id, span_id; /* it has these already */
	bool empty;             /* no member */
	size_t close;           /* where its last brace stands */
};
/* False: it is none. Nested at most 64 deep. */
bool json_line_read(struct slice line, struct json_line *out);

/* Appended as the inside of a JSON string; ill-formed UTF-8 and NUL become U+FFFD. */
void json_escape(struct buf *b, const char *p, size_t n);

#endif
