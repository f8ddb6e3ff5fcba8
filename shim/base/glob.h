/* Wildcards: '*' any run, '?' one byte. Pure; any context. */
#ifndef REMORA_GLOB_H
#define REMORA_GLOB_H

#include "base/slice.h"
#include <stdbool.h>
#include <stddef.h>

static inline char glob_fold(char c, bool fold)
{
	return fold && c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Does all of `text` fit? fold: ASCII case aside. */
static inline bool glob_fits(struct slice pattern, struct slice text, bool fold)
{
	const char *p = pattern.p, *pe = p + pattern.n, *s = text.p, *e = s + text.n, *star = NULL, *mark = NULL;
	while (s < e) {
		if (p < pe && *p == '*') {
			star = p++;
			mark = s;
		} else if (p < pe && (*p == '?' || glob_fold(*p, fold) == glob_fold(*s, fold))) {
			p++;
			s++;
		} else if (star) {
			p = star + 1;
			s = ++mark;
		} else {
			return false;
		}
	}
	while (p < pe && *p == '*')
		p++;
	return p == pe;
}

#endif
