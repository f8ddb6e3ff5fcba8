/* One process: slots, handing over, holding, growing, sleeping. Runs under ThreadSanitizer too. */
#include "arena_sample.h"
#include <pthread.h>
#include <sched.h>

#define MB (1 << 20)

TEST(open_is_zeroed)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	OK(a != NULL);
	for (int round = 0; round < 2; round++) {
		struct span_rec *r = arena_open(a, 4711);
		static const char zero[512];
		OK(r != NULL);
		EQ_INT(r->state, SLOT_OPEN);
		EQ_INT(r->cont, SLOT_NONE);
		EQ_INT(r->pid, 4711);
		EQ_MEM(&r->tid, offsetof(struct span_rec, var) - offsetof(struct span_rec, tid), zero,
		       offsetof(struct span_rec, var) - offsetof(struct span_rec, tid));
		memset(&r->tid, 0xff, SLOT_SIZE - offsetof(struct span_rec, tid)); /* must be gone when it comes back */
		arena_discard(a, r);
		EQ_INT(r->state, SLOT_FREE);
	}
}

TEST(oldest_first)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	uint32_t out[10];
	for (uint64_t i = 0; i < 25; i++)
		OK(sample_commit(a, i, 0));
	EQ_INT(arena_pending(a), 25);
	uint64_t next = 0;
	for (uint32_t n; (n = arena_drain(a, out, 10, false, false)) > 0; arena_free(a, out, n)) {
		if (next == 10)
			OK(sample_commit(a, 25, 0)); /* comes after what waits already */
		for (uint32_t k = 0; k < n; k++)
			EQ_INT(sample_check(a, out[k]), next++);
	}
	EQ_INT(next, 26);
	EQ_INT(arena_pending(a), 0);
	EQ_INT(a->count[COUNT_SPANS], 26);
	EQ_INT(a->count[COUNT_DROP_BAD], 0);
}

TEST(full_counts_and_recovers)
{
	struct arena *a = arena_new_anonymous(64 * 1024, 1);
	uint32_t slots = arena_slots(a), out[256], n;
	OK(slots > 60 && slots < 128);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < slots; i++)
			OK(sample_commit(a, i, 0));
		OK(!sample_commit(a, 0, 0));
		EQ_INT(a->count[COUNT_DROP_FULL], round + 1);
		n = arena_drain(a, out, 256, false, false);
		EQ_INT(n, slots);
		arena_free(a, out, n);
		arena_free(a, out, n); /* giving back twice does no harm */
	}
	EQ_INT(sample_free_slots(a), slots);
}

/* ---- holding ---- */

static struct span_rec *hold(struct arena *a, uint64_t number, uint64_t until)
{
	struct span_rec *r = sample_open(a, number, 0);
	memcpy(r->span_id, &number, 8);
	r->end_ns = 7;
	r->hold_until_ns = until;
	arena_hold(a, r);
	return r;
}

TEST(hold_and_unhold)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	uint64_t now = mono_ns(), id1 = 1, id2 = 2;
	uint32_t out[8], all = sample_free_slots(a);
	EQ_INT(arena_next_held(a), 0);
	uint32_t s1 = arena_index(a, hold(a, 1, now + 3600ull * 1000000000));
	OK(!arena_unhold(a, s1, (uint8_t *)&id2));
	EQ_INT(arena_next_held(a), now + 3600ull * 1000000000);
	EQ_INT(arena_drain(a, out, 8, true, false), 0);
	OK(arena_unhold(a, s1, (uint8_t *)&id1));
	OK(!arena_unhold(a, s1, (uint8_t *)&id1));
	OK(!arena_unhold(a, 1u << 30, (uint8_t *)&id1));
	EQ_INT(sample_free_slots(a), all);

	uint32_t s2 = arena_index(a, hold(a, 2, now + 20000000));
	hold(a, 3, now + 3600ull * 1000000000);
	EQ_INT(arena_drain(a, out, 8, false, false), 0);
	EQ_INT(arena_next_held(a), now + 20000000);
	while (mono_ns() < now + 20000000)
		sched_yield();
	EQ_INT(arena_drain(a, out, 8, true, false), 1);
	EQ_INT(out[0], s2);
	EQ_INT(sample_check(a, s2), 2);
	OK(!arena_unhold(a, s2, (uint8_t *)&id2));
	EQ_INT(arena_next_held(a), now + 3600ull * 1000000000);
	arena_free(a, out, 1);
	EQ_INT(arena_drain(a, out, 8, true, true), 1); /* final: no matter when */
	EQ_INT(sample_check(a, out[0]), 3);
	arena_free(a, out, 1);
	EQ_INT(arena_next_held(a), 0);
	EQ_INT(sample_free_slots(a), all);
}

TEST(held_beyond_cap)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	uint32_t out[4], n, got = 0;
	for (uint64_t i = 0; i < 10; i++)
		hold(a, i, 1);
	while ((n = arena_drain(a, out, 4, true, false)) > 0)
		got += n;
	EQ_INT(got, 10);
}

/* ---- size ---- */

TEST(grow_to_the_end)
{
	struct arena *a = arena_new_anonymous(4 * MB, 1);
	uint32_t slots = arena_slots(a), steps = 0;
	EQ_INT(a->max_slots, (arena_size(a) - ARENA_HEADER) / SLOT_SIZE);
	while (arena_grow(a)) {
		OK(arena_slots(a) > slots);
		slots = arena_slots(a);
		steps++;
	}
	EQ_INT(steps, 3);
	EQ_INT(slots, a->max_slots);
	EQ_INT(sample_free_slots(a), slots);
	OK(!arena_grow(a));
}

/* ---- threads ---- */

#define THREADS 4
#define EACH 20000

struct work {
	struct arena *a;
	uint64_t first;
	uint64_t sent, dropped;
};

static void *produce(void *arg)
{
	struct work *w = arg;
	for (uint64_t i = 0; i < EACH;) {
		if (i % 64 == 0)
			arena_unhold(w->a, (uint32_t)i % 1000, (const uint8_t *)"nothing.");
		if (sample_commit(w->a, w->first + i, i % 50 == 0 ? 900 : 0))
			i++;
		else
			sched_yield();
	}
	return NULL;
}

TEST(threads_lose_nothing)
{
	struct arena *a = arena_new_anonymous(2 * MB, 1);
	static uint8_t seen[THREADS * EACH];
	struct work w[THREADS];
	pthread_t t[THREADS];
	bool takeover;
	OK(arena_lease_try(a, &takeover) && !takeover);
	for (int i = 0; i < THREADS; i++) {
		w[i] = (struct work){a, (uint64_t)i * EACH, 0, 0};
		OK(pthread_create(&t[i], NULL, produce, &w[i]) == 0);
	}
	uint64_t last[THREADS] = {0};
	for (uint32_t got = 0, round = 0; got < THREADS * EACH; round++) {
		uint32_t out[100], n = arena_drain(a, out, 100, false, false);
		for (uint32_t k = 0; k < n; k++) {
			uint64_t number = sample_check(a, out[k]);
			OK(number < sizeof seen && !seen[number]);
			seen[number] = 1;
			OK(number >= last[number / EACH]); /* each thread's in order */
			last[number / EACH] = number;
		}
		got += n;
		arena_free(a, out, n);
		if (round == 20)
			arena_grow(a);
		if (!n)
			arena_sleep(a, round % 2, 50000000, 32);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	EQ_INT(a->count[COUNT_SPANS], THREADS * EACH);
	EQ_INT(a->count[COUNT_DROP_BAD], 0);
	EQ_INT(arena_pending(a), 0);
	EQ_INT(sample_free_slots(a), arena_slots(a));
}

/* ---- sleep ---- */

static _Atomic uint64_t answered;

static void *ping(void *arg)
{
	struct arena *a = arg;
	for (uint64_t i = 1; i <= 100000; i++) {
		if (i % 2)
			OK(sample_commit(a, i, 0));
		else
			hold(a, i, 1);
		while (atomic_load(&answered) < i)
			sched_yield();
	}
	return NULL;
}

TEST(no_wake_up_is_lost)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	pthread_t t;
	uint64_t last = 0;
	bool takeover;
	OK(arena_lease_try(a, &takeover));
	pthread_create(&t, NULL, ping, a);
	while (last < 100000) {
		uint32_t out[4], n = arena_drain(a, out, 4, true, false);
		if (!n) {
			arena_sleep(a, true, 0, 0); /* for ever: a lost wake-up hangs, and the test's time limit tells */
			continue;
		}
		EQ_INT(n, 1);
		EQ_INT(sample_check(a, out[0]), ++last);
		arena_free(a, out, n);
		atomic_store(&answered, last);
	}
	pthread_join(t, NULL);
}

static void *commit_three(void *arg)
{
	struct arena *a = arg;
	for (uint64_t i = 0; i < 3; i++) {
		usleep(30000);
		OK(sample_commit(a, i, 0));
	}
	return NULL;
}

TEST(timed_sleep_waits_for_a_batch)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	pthread_t t;
	uint64_t start = mono_ns();
	arena_sleep(a, false, 20000000, 10);
	OK(mono_ns() - start >= 20000000);
	pthread_create(&t, NULL, commit_three, a);
	arena_sleep(a, false, 0, 3);
	EQ_INT(arena_pending(a), 3);
	start = mono_ns();
	arena_sleep(a, false, 0, 3); /* the batch is there */
	arena_sleep(a, true, 0, 3);
	OK(mono_ns() - start < 1000000000);
	pthread_join(t, NULL);
}

static void *wake_later(void *arg)
{
	usleep(30000);
	arena_wake(arg);
	return NULL;
}

TEST(wake_before_sleep_counts)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	pthread_t t;
	arena_wake(a);
	arena_sleep(a, true, 0, 0);
	pthread_create(&t, NULL, wake_later, a);
	arena_sleep(a, true, 0, 0);
	pthread_join(t, NULL);
	uint64_t start = mono_ns();
	arena_sleep(a, true, 20000000, 0);
	OK(mono_ns() - start >= 20000000);
}

/* The waker dies between his mark and the system call: a later record wakes. */
TEST(killed_waker_is_made_up_for)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	OK(sample_commit(a, 1, 0));
	a->sleep = WAKING;
	uint32_t before = a->wake;
	OK(sample_commit(a, 2, 0));
	EQ_INT(a->wake, before + 1);
	OK(sample_commit(a, 3, 0));
	EQ_INT(a->wake, before + 1);
}

/* A ring or rubbish in the lists ends the walk. */
TEST(forged_lists_end)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	uint32_t out[16], n, sum = 0;
	for (uint64_t i = 0; i < 5; i++)
		OK(sample_commit(a, i, 0));
	arena_slot(a, 0)->next = 3;
	while ((n = arena_drain(a, out, 2, true, false)) > 0)
		sum += n;
	OK(sum <= 5);
	OK(a->count[COUNT_DROP_BAD] > 0);
	a->done = 123456789;
	EQ_INT(arena_drain(a, out, 16, true, false), 0);
	a->ready_head = 2;
	arena_slot(a, 2)->state = SLOT_TAKEN;
	arena_slot(a, 2)->next = 2;
	for (int i = 0; i < 20; i++)
		arena_drain(a, out, 1, true, false);
	EQ_INT(a->ready_head, SLOT_NONE);
	a->free_head = 77777777;
	OK(arena_open(a, 1) != NULL);
	a->free_head = 3;
	arena_slot(a, 3)->state = SLOT_FREE;
	arena_slot(a, 3)->next = 3;
	OK(arena_open(a, 1) && arena_open(a, 1));
	OK(arena_open(a, 1) != NULL); /* the ring is one of used slots now */
}

TEST(names)
{
	EQ_STR(rec_error_name(ERR_ERRNO, 111), "ECONNREFUSED");
	EQ_STR(rec_error_name(ERR_ERRNO, 100000), "_OTHER");
	for (int i = 0; i < 256; i++)
		OK(rec_error_name((uint8_t)i, 0) != NULL);
	EQ_STR(arena_counter_name(COUNT_DROP_FULL), "dropped.arena_full");
	for (int i = 0; i <= COUNT_DROP_BAD; i++)
		OK(arena_counter_name((enum counter)i) != NULL);
	OK(!arena_counter_name((enum counter)31));
}
