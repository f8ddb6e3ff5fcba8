/*
 * Copying and clearing a few hundred bytes in place. The compiler's own way for such sizes is "rep movs" and "rep stos",
 * which take tens of cycles to begin. Pure; any context.
 */
#ifndef REMORA_SMALL_H
#define REMORA_SMALL_H

#include <stddef.h>
#include <string.h>

/* n is a constant: 64 bytes at a time become stores of vectors. */
static inline __attribute__((always_inline)) void small_clear(void *at, size_t n)
{
	char *p = at;
	size_t i = 0;
#pragma GCC unroll 8
	for (; i + 64 <= n; i += 64)
		memset(p + i, 0, 64);
	memset(p + i, 0, n % 64);
}

static inline __attribute__((always_inline)) void small_copy(void *to, const void *from, size_t n)
{
	char *o = to;
	const char *p = from;
	if (n >= 16) {
		for (size_t i = 0; i + 16 < n; i += 16)
			memcpy(o + i, p + i, 16);
		memcpy(o + n - 16, p + n - 16, 16);
	} else if (n >= 8) {
		memcpy(o, p, 8);
		memcpy(o + n - 8, p + n - 8, 8);
	} else if (n >= 4) {
		memcpy(o, p, 4);
		memcpy(o + n - 4, p + n - 4, 4);
	} else {
		for (size_t i = 0; i < n; i++)
			o[i] = p[i];
	}
}

#endif
