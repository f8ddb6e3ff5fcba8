/* A growing byte buffer. */
#include "exporters/buf.h"
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 256

bool buf_reserve(struct buf *b, size_t more)
{
	if (b->failed)
		return false;
	if (more <= b->cap - b->n)
		return true;
	size_t cap = b->cap ? b->cap : BUF_FIRST;
	while (cap - b->n < more) {
		if (cap > SIZE_MAX / 2)
			goto fail;
		cap *= 2;
	}
	char *p = realloc(b->p, cap);
	if (!p)
		goto fail;
	b->p = p;
	b->cap = cap;
	return true;
fail:
	b->failed = true;
	return false;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0 || !buf_reserve(b, n))
		return;
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

void buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){0};
}
