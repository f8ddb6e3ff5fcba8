/*
 * May this memory be read? Asked of the kernel, for pointers of the program that no call has proved yet: rt_sigprocmask
 * reads eight bytes before it refuses its first argument. One system call per page; async-signal-safe, no errno.
 */
#ifndef REMORA_PROBE_H
#define REMORA_PROBE_H

#include "base/sys.h"
#include <errno.h>

static inline bool readable(const void *p, size_t n)
{
	uintptr_t at = (uintptr_t)p & ~(uintptr_t)7, end = (uintptr_t)p + n;
	if (!n)
		return true;
	if (end < (uintptr_t)p)
		return false;
	for (;;) {
		if (sys6(SYS_rt_sigprocmask, -1, (long)at, 0, 8, 0, 0) == -EFAULT)
			return false;
		at = (at & ~(uintptr_t)4095) + 4096;
		if (at >= end)
			return true;
	}
}

#endif
