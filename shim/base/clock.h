/* Nanoseconds. clock_gettime is in the vDSO, async-signal-safe and sets errno only on a bad clock. Any context. */
#ifndef REMORA_CLOCK_H
#define REMORA_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t real_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

static inline uint64_t mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

#endif
