#include "base/pool.h"
#include "base/sys.h"

#define ADDRESS_BITS 42 /* 48-bit user addresses, 64-byte aligned */
#define ADDRESS(w) ((void *)(uintptr_t)(((w) & ((1ull << ADDRESS_BITS) - 1)) << 6))

static uint64_t word(void *p, uint64_t old)
{
	return ((old >> ADDRESS_BITS) + 1) << ADDRESS_BITS | (uintptr_t)p >> 6;
}

static void push(struct pool *p, void *object)
{
	uint64_t old = atomic_load_explicit(&p->head, memory_order_relaxed);
	do
		atomic_store_explicit((_Atomic(void *) *)object, ADDRESS(old), memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&p->head, &old, word(object, old), memory_order_release,
	                                              memory_order_relaxed));
}

/*
 * Memory that was never an object: its chunk is touched as far as it is used. `fresh` is the next object's address >> 6
 * and the number of objects left behind it; 0 left: a new chunk is mapped by whoever needs it.
 */
static void *take_fresh(struct pool *p)
{
	for (;;) {
		uint64_t old = atomic_load_explicit(&p->fresh, memory_order_acquire);
		if (old >> ADDRESS_BITS) {
			uint64_t next = ((old >> ADDRESS_BITS) - 1) << ADDRESS_BITS | ((uintptr_t)ADDRESS(old) + p->size) >> 6;
			if (atomic_compare_exchange_weak_explicit(&p->fresh, &old, next, memory_order_acq_rel, memory_order_acquire))
				return ADDRESS(old);
			continue;
		}
		if (atomic_fetch_add_explicit(&p->mapped, p->chunk, memory_order_relaxed) + p->chunk > p->max)
			break;
		char *m = sys_map(p->chunk);
		if (!m)
			break;
		uint64_t n = p->chunk / p->size;
		if (atomic_compare_exchange_strong(&p->fresh, &old, (n - 1) << ADDRESS_BITS | ((uintptr_t)m + p->size) >> 6))
			return m;
		/* Another thread mapped one meanwhile. */
		sys_unmap(m, p->chunk);
		atomic_fetch_sub_explicit(&p->mapped, p->chunk, memory_order_relaxed);
	}
	atomic_fetch_sub_explicit(&p->mapped, p->chunk, memory_order_relaxed);
	return NULL;
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
			return take_fresh(p);
		void *next = link_of(o);
		if (atomic_compare_exchange_weak_explicit(&p->head, &old, word(next, old), memory_order_acquire,
		                                          memory_order_acquire))
			return o;
	}
}

void pool_put(struct pool *p, void *object)
{
	push(p, object);
}
