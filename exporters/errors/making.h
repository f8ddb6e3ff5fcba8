/* Between the parsers and making.c: a report in the making. exporter thread. */
#ifndef REMORA_ERRORS_MAKING_H
#define REMORA_ERRORS_MAKING_H

#include "exporters/errors/parse.h"

struct made_exception {
	struct slice type, message;
	struct report_frame *frames;
	size_t n, cap, cut;
};

struct making {
	struct report *r;
	enum error_fate fate;
	bool begun_inside;
	size_t n;
	struct made_exception e[ERROR_CHAIN_MOST];
	struct slice thread; /* name; p NULL = unknown */
	const char *description;
};

/* A new exception at the end of the chain; the last one is used again when there are too many. Borrows the slices. */
struct made_exception *make_exception(struct making *m, struct slice type, struct slice message);
/* A frame behind the others of the last exception, which is made if there is none. Never NULL. */
struct report_frame *make_frame(struct making *m, struct slice function, struct slice file, uint32_t line);
void make_reverse_frames(struct making *m); /* of the last exception */
void make_reverse_exceptions(struct making *m);
/* An owned copy: well-formed UTF-8, secrets in URLs and pairs taken out. NULL for no bytes. */
const char *make_text(struct making *m, struct slice s);
const char *make_code(struct making *m, struct slice s); /* the same for source: URLs alone */

/* ---- bytes ---- */

struct slice cut_line(struct slice *text); /* the first line, without its end; text becomes the rest */
bool starts(struct slice s, const char *with);
bool ends(struct slice s, const char *with);
struct slice after(struct slice s, size_t n); /* without its first n bytes */
struct slice trim(struct slice s);            /* without white space around it */
size_t spaces(struct slice s);                /* that it begins with */
/* Where `what` stands; SIZE_MAX: nowhere. The last place for find_last. */
size_t find(struct slice s, const char *what);
size_t find_last(struct slice s, const char *what);
bool all_of(struct slice s, const char *chars);     /* and not empty */
uint32_t number_of(struct slice s, size_t *digits); /* the number that it begins with; digits 0 = none */
/* "file:line:column" or "file:line": cuts the numbers off its end. False: there are none. */
bool cut_position(struct slice *file, uint32_t *line, uint32_t *column);
/* From and to inclusive: the text between two borrowed places. */
static inline struct slice between(const char *from, const char *to)
{
	return (struct slice){from, to > from ? (uint32_t)(to - from) : 0};
}

/* scrub.c: `s` without the secrets that URLs and NAME=VALUE pairs hold; result allocated with malloc, NULL: no memory. */
char *scrub(struct slice s, bool pairs, size_t *n);

#endif
