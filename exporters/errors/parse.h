/*
 * Errors in what a program prints: which lines belong to one (an error block), and what it says. Pure: bytes in, a
 * report out. To add a language: a file with a `const struct error_kind`, a line in kinds.c, samples in
 * tests/unit/test_errors_*.c. exporter thread; the bytes are anybody's.
 */
#ifndef REMORA_ERRORS_PARSE_H
#define REMORA_ERRORS_PARSE_H

#include "exporters/crash/report.h"
#include "shim/base/slice.h"

#define ERROR_CHAIN_MOST 32   /* exceptions of a chain */
#define ERROR_FRAMES_MOST 512 /* of one: the first and the last half */
#define ERROR_STRING_MOST 8192

struct scan { /* an error block under way: private to its kind, zeroed at its beginning */
	uint32_t state, lines;
	uint32_t more; /* lines of a message */
	bool joined;   /* this line came in the same write as the one before it, as far as that is known */
};

enum begins {
	BEGINS_NOT,
	BEGINS_HERE,
	BEGINS_BEFORE, /* with the line before this one */
};

enum belongs {
	LINE_OUT, /* the block ended before this line */
	LINE_IN,
	LINE_LAST, /* and ends with it */
};

struct making; /* making.h */
struct error_kind {
	const char *language;
	/* Lines come without their end. `prev` is the line before it, p NULL = none. */
	enum begins (*begins)(struct slice prev, struct slice line);
	enum belongs (*belongs)(struct scan *s, struct slice line);
	/* False: it was none after all. */
	bool (*make)(struct making *m, struct slice text);
};

/* In the order in which they are asked; NULL at the end. */
extern const struct error_kind *const error_kinds[];

/*
 * How sure is it that nobody has caught it? Some languages print an error that ends the process and one that they log
 * alike: then the process's end tells.
 */
enum error_fate {
	FATE_UNCERTAIN,
	FATE_LOGGED,
	FATE_THREAD, /* uncaught, but the process may live */
	FATE_PROCESS,
};

/* The report of a block; `begun_inside`: it begins in the middle of a write, as what a logger prints does. NULL: none. */
struct report *error_make(const struct error_kind *kind, struct slice text, bool begun_inside, enum error_fate *fate);
/* What an abort's own words (glibc's __abort_msg, an assertion) are called: "double free". NULL: unknown. Literal. */
const char *error_abort_class(struct slice text);

#endif
