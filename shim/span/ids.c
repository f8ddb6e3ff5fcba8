/* Random ids: xoshiro256++ per thread, seeded by the kernel, again after a fork. Unique, not secret. */
#include "base/hot.h"
#include "base/clock.h"
#include "base/sys.h"
#include "span/process.h"
#include "span/span.h"

static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

static void seed(struct thread *t)
{
	if (sys3(SYS_getrandom, t->rng, sizeof t->rng, 1 /* GRND_NONBLOCK */) != (long)sizeof t->rng || !t->rng[0]) {
		t->rng[0] = real_ns() | 1;
		t->rng[1] ^= mono_ns() * 0x9e3779b97f4a7c15u;
		t->rng[2] ^= (uint64_t)process.pid << 32 ^ (uint64_t)sys_gettid();
		t->rng[3] ^= (uintptr_t)t;
	}
	t->rng_gen = process.fork_gen + 1;
}

static uint64_t *seeded(void)
{
	struct thread *t = &thread_self;
	if (__builtin_expect(t->rng_gen != process.fork_gen + 1, 0))
		seed(t);
	return t->rng;
}

static inline uint64_t next(uint64_t *s)
{
	uint64_t r = rotl(s[0] + s[3], 23) + s[0], x = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= x;
	s[3] = rotl(s[3], 45);
	return r;
}

void ids_span(uint8_t out[8])
{
	uint64_t v, *s = seeded();
	do
		v = next(s);
	while (v == 0);
	memcpy(out, &v, 8);
}

HOT void ids_root(uint8_t trace[16], uint8_t span[8], uint64_t now_ns)
{
	/* Seconds are enough, and the coarse clock costs an eighth. */
	if (!now_ns)
		now_ns = clock_ns(CLOCK_REALTIME_COARSE);
	uint32_t now = __builtin_bswap32((uint32_t)(now_ns / 1000000000u));
	uint64_t *s = seeded(), lo = next(s), id;
	do
		id = next(s);
	while (id == 0);
	uint32_t hi = (uint32_t)next(s);
	memcpy(trace, &now, 4);
	memcpy(trace + 4, &hi, 4);
	memcpy(trace + 8, &lo, 8);
	memcpy(span, &id, 8);
}
