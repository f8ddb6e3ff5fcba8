/*
 * Text for telemetry: receivers refuse a whole batch for one bad byte, and what goes over a wire is any bytes.
 * Well-formed here means UTF-8 as Unicode defines it (no surrogates, no overlong forms) without U+0000, so that a
 * C string holds it. What is ill-formed becomes U+FFFD, one per maximal subpart, as Unicode recommends. Pure.
 */
#ifndef REMORA_UTF8_H
#define REMORA_UTF8_H

#include "exporters/buf.h"

#define UTF8_GROWTH 3 /* a replaced byte takes three */

bool utf8_valid(const char *p, size_t n);
/* Into `to`, which has room for UTF8_GROWTH * n bytes; returns bytes written. No NUL is added. May not overlap. */
size_t utf8_copy(char *to, const char *p, size_t n);
/* The same, appended. */
void utf8_add(struct buf *b, const char *p, size_t n);
/* Bytes of the first `chars` characters of well-formed text, n if it has no more. */
size_t utf8_prefix(const char *p, size_t n, size_t chars);

#endif
