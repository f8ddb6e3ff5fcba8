#include "base/pool.h"
#include "base/sys.h"

#define ADDRESS_BITS 42 /* 48-bit user addresses, 64-byte aligned */
#define ADDRESS(w) ((void *)(uintptr_t)(((w) & ((1ull << ADDRESS_BITS) - 1)) << 6))

static uint64_t word(void *p, uint64_t old)
{
	return ((old >> ADDRESS_BITS) + 1) << ADDRESS_BITS | (uintptr_t)p >> 6;
}

static void push(struct pool *p, void *first, void *last)
{
	uint64_t old = atomic_load_explicit(&p->head, memory_order_relaxed);
	do
		atomic_store_explicit((_Atomic(void *) *)last, ADDRESS(old), memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&p->head, &old, word(first, old), memory_order_release,
	                                              memory_order_relaxed));
}

/* More memory: one object for the caller, the rest for the list. */
static void *refill(struct pool *p)
{
	if (atomic_fetch_add_explicit(&p->mapped, p->chunk, memory_order_relaxed) + p->chunk > p->max) {
		atomic_fetch_sub_explicit(&p->mapped, p->chunk, memory_order_relaxed);
		return NULL;
	}
	char *m = sys_map(p->chunk);
	if (!m) {
		atomic_fetch_sub_explicit(&p->mapped, p->chunk, memory_order_relaxed);
		return NULL;
	}
	size_t n = p->chunk / p->size;
	for (size_t i = 1; i + 1 < n; i++)
		*(void **)(m + i * p->size) = m + (i + 1) * p->size;
	if (n > 1)
		push(p, m + p->size, m + (n - 1) * p->size);
	return m;
}

/* Somebody else may have it already, and write to it: then the tag of the head has changed. */
__attribute__((noinline, no_sanitize("thread"))) static void *link_of(void *o)
{
	return *(void *volatile *)o;
}

void *pool_get(struct pool *p)
{
	uint64_t old = atomic_load_explicit(&p->head, memory_order_acquire);
	for (;;) {
		void *o = ADDRESS(old);
		if (!o)
			return refill(p);
		void *next = link_of(o);
		if (atomic_compare_exchange_weak_explicit(&p->head, &old, word(next, old), memory_order_acquire,
		                                          memory_order_acquire))
			return o;
	}
}

void pool_put(struct pool *p, void *object)
{
	push(p, object, object);
}
