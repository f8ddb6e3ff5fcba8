/*
 * Blocks of a few sizes, each with a list of free ones, cut from mappings of their own. Those are never given back: there
 * are as many as one time needed.
 */
#include "exporters/secret.h"
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK (256 * 1024)
#define SMALLEST 5 /* 32 bytes */
#define CLASSES 13 /* up to 128 KiB, for the 64 KiB of an upload and its header; what is longer is mapped alone */

struct block {
	size_t n; /* in use */
	uint32_t class, unused;
	_Alignas(16) char bytes[];
};

struct spare {
	struct spare *next;
};

static struct spare *spares[CLASSES];
static char *fresh, *fresh_end;

static void *map(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	madvise(p, n, MADV_DONTDUMP);
	return p;
}

static uint32_t class_of(size_t whole)
{
	uint32_t c = 0;
	while (c < CLASSES && (size_t)1 << (c + SMALLEST) < whole)
		c++;
	return c;
}

static struct block *cut(uint32_t class)
{
	size_t size = (size_t)1 << (class + SMALLEST);
	if ((size_t)(fresh_end - fresh) < size) {
		char *p = map(CHUNK);
		if (!p)
			return NULL;
		fresh = p;
		fresh_end = p + CHUNK;
	}
	struct block *b = (struct block *)(void *)fresh;
	fresh += size;
	return b;
}

void *secret_alloc(size_t n)
{
	struct block *b;
	if (n > SIZE_MAX / 2)
		return NULL;
	uint32_t class = class_of(n + sizeof *b);
	if (class == CLASSES) {
		b = map(n + sizeof *b);
	} else if (spares[class]) {
		b = (struct block *)(void *)spares[class];
		spares[class] = spares[class]->next;
	} else {
		b = cut(class);
	}
	if (!b)
		return NULL;
	b->n = n;
	b->class = class;
	return b->bytes;
}

static struct block *block_of(void *p)
{
	return (struct block *)(void *)((char *)p - offsetof(struct block, bytes));
}

void secret_free(void *p)
{
	if (!p)
		return;
	struct block *b = block_of(p);
	uint32_t class = b->class;
	explicit_bzero(b->bytes, b->n);
	if (class == CLASSES) {
		munmap(b, b->n + sizeof *b);
		return;
	}
	struct spare *s = (struct spare *)(void *)b;
	s->next = spares[class];
	spares[class] = s;
}

void *secret_calloc(size_t n, size_t size)
{
	size_t all;
	void *p = __builtin_mul_overflow(n, size, &all) ? NULL : secret_alloc(all);
	return p ? memset(p, 0, all) : NULL;
}

void *secret_realloc(void *p, size_t n)
{
	if (!p)
		return secret_alloc(n);
	struct block *b = block_of(p);
	if (b->class < CLASSES && n + sizeof *b <= (size_t)1 << (b->class + SMALLEST)) {
		if (n < b->n)
			explicit_bzero(b->bytes + n, b->n - n);
		b->n = n;
		return p;
	}
	void *to = secret_alloc(n);
	if (!to)
		return NULL;
	memcpy(to, p, n < b->n ? n : b->n);
	secret_free(p);
	return to;
}

char *secret_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = secret_alloc(n);
	return p ? memcpy(p, s, n) : NULL;
}
