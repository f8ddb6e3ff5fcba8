/* A growing byte buffer. exporter thread. A failed allocation sets `failed` and later writes do nothing. */
#ifndef REMORA_BUF_H
#define REMORA_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *p; /* owned; NULL until the first write */
	size_t n, cap;
	bool failed;
};

bool buf_reserve(struct buf *b, size_t more); /* room for `more` bytes behind n */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_free(struct buf *b); /* may be used again */

#endif
