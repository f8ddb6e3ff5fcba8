/* A borrowed run of bytes, not NUL-terminated. Owner: whoever owns the buffer it points into. */
#ifndef REMORA_SLICE_H
#define REMORA_SLICE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *p;
	uint32_t n;
};

#define SLICE(lit) ((struct slice){(lit), (uint32_t)sizeof(lit) - 1})

/* NULL is empty. */
static inline struct slice slice_of(const char *s)
{
	return (struct slice){s, s ? (uint32_t)strlen(s) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

#endif
