/*
 * Copying memory that another thread may be writing at this moment. The caller finds out afterwards, by a serial, and
 * throws the copy away; until then it is bytes without meaning. What the caller reads after it is read after it.
 */
#ifndef REMORA_RACY_H
#define REMORA_RACY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

__attribute__((unused, noinline, no_sanitize("thread"))) static void racy_copy(void *to, const void *from, size_t n)
{
	typedef uint64_t __attribute__((may_alias, aligned(1))) word;
	volatile char *o = to;
	const volatile char *p = from;
	for (; n >= sizeof(word); n -= sizeof(word), o += sizeof(word), p += sizeof(word))
		*(volatile word *)o = *(const volatile word *)p;
	while (n--)
		*o++ = *p++;
	atomic_thread_fence(memory_order_acquire);
}

#endif
