/*
 * Objects of one size from private memory, lock-free. The memory is never unmapped and keeps its type: a stale pointer
 * reads an object of the same kind, whose serial or table entry then tells that it is another one.
 * host, also in signal handlers; no allocator, no errno.
 */
#ifndef REMORA_POOL_H
#define REMORA_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool {
	uint32_t size;  /* of an object, a multiple of 64 */
	uint32_t chunk; /* bytes mapped at a time */
	size_t max;     /* bytes in all; beyond it pool_get fails */
	_Atomic size_t mapped;
	_Atomic uint64_t head;  /* address >> 6 in the low 42 bits, tag against ABA above */
	_Atomic uint64_t fresh; /* address >> 6, objects left in the newest chunk above */
};

#define POOL(object_size, chunk_size, max_bytes)                                       \
	{                                                                                  \
		.size = ((object_size) + 63) & ~63u, .chunk = (chunk_size), .max = (max_bytes) \
	}

/* The first 8 bytes are overwritten while the object is free, the rest keeps its content. NULL: none left. */
void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *object);

#endif
