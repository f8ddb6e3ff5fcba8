/* Producing: slots, strings, handing over. Host threads, signal handlers included. */
#include "span/arena_priv.h"
#include "base/hot.h"
#include "base/small.h"
#include "base/sys.h"
#include <limits.h>

_Atomic uint64_t arena_early[COUNT_MAX];

/* ---- slots ---- */

#define FORGED_MAX 16 /* slots on the free list that are in use, to be passed over: it may be a ring */

static uint32_t slot_fresh(struct arena *a)
{
	uint32_t i = atomic_load_explicit(&a->fresh, memory_order_relaxed);
	do {
		if (i >= arena_slots(a))
			return SLOT_NONE;
	} while (!atomic_compare_exchange_weak_explicit(&a->fresh, &i, i + 1, memory_order_seq_cst, memory_order_relaxed));
	return i;
}

HOT uint32_t slot_pop(struct arena *a)
{
	uint64_t h = atomic_load_explicit(&a->free_head, memory_order_acquire);
	uint32_t forged = 0;
	for (;;) {
		uint32_t i = (uint32_t)h;
		if (i >= arena_slots(a) || forged > FORGED_MAX)
			return slot_fresh(a);
		/* `next` is junk if somebody else has popped this slot meanwhile: then the tag has changed. */
		uint32_t next = atomic_load_explicit(&arena_slot(a, i)->next, memory_order_relaxed);
		uint64_t want = ((h >> 32) + 1) << 32 | next;
		if (!atomic_compare_exchange_weak_explicit(&a->free_head, &h, want, memory_order_acquire, memory_order_acquire))
			continue;
		if (unlikely(slot_state(a, i) != SLOT_FREE)) {
			forged++;
			h = want;
			continue;
		}
		if (next < arena_slots(a)) {
			/* Where the next record goes, as far as its strings usually reach: the exporter had it last. */
			const char *p = (const char *)arena_slot(a, next);
			__builtin_prefetch(p, 1);
			__builtin_prefetch(p + 64, 1);
			__builtin_prefetch(p + 128, 1);
			__builtin_prefetch(p + 192, 1);
		}
		return i;
	}
}

void slot_push(struct arena *a, uint32_t i)
{
	struct span_rec *r = arena_slot(a, i);
	atomic_store_explicit(&r->state, SLOT_FREE, memory_order_relaxed);
	uint64_t h = atomic_load_explicit(&a->free_head, memory_order_relaxed), want;
	do {
		atomic_store_explicit(&r->next, (uint32_t)h, memory_order_relaxed);
		want = (h & ~(uint64_t)UINT32_MAX) | i;
	} while (!atomic_compare_exchange_weak_explicit(&a->free_head, &h, want, memory_order_release,
	                                                memory_order_relaxed));
}

uint32_t slot_more_new(struct arena *a)
{
	uint32_t i = slot_pop(a);
	if (i != SLOT_NONE) {
		struct slot_more *m = arena_more(a, i);
		atomic_store_explicit(&m->next, SLOT_NONE, memory_order_relaxed);
		atomic_store_explicit(&m->state, SLOT_MORE, memory_order_release);
	}
	return i;
}

void slot_free_chain(struct arena *a, uint32_t *head)
{
	for (uint32_t i = *head, n = 0; i < arena_slots(a) && n < CHAIN_MAX && slot_state(a, i) == SLOT_MORE; n++) {
		uint32_t next = atomic_load_explicit(&arena_more(a, i)->next, memory_order_relaxed);
		*head = next;
		atomic_signal_fence(memory_order_seq_cst);
		slot_push(a, i);
		i = next;
	}
	*head = SLOT_NONE;
}

void slot_release(struct arena *a, uint32_t i)
{
	struct span_rec *r = arena_slot(a, i);
	r->kind = 0; /* from here on nobody takes it for a record, should we be killed */
	atomic_signal_fence(memory_order_seq_cst);
	if (r->cont != SLOT_NONE)
		slot_free_chain(a, &r->cont);
	slot_push(a, i);
}

/* ---- records ---- */

HOT struct span_rec *arena_open(struct arena *a, int pid)
{
	struct span_rec *r = arena_open_text(a, pid);
	if (unlikely(!r))
		arena_count(a, COUNT_DROP_FULL, 1);
	return r;
}

HOT struct span_rec *arena_open_text(struct arena *a, int pid)
{
	uint32_t i = slot_pop(a);
	if (unlikely(i == SLOT_NONE))
		return NULL;
	struct span_rec *r = arena_slot(a, i);
	const size_t from = offsetof(struct span_rec, cont), to = offsetof(struct span_rec, var);
	small_clear((char *)r + from, to - from);
	r->cont = SLOT_NONE;
	r->pid = pid;
	atomic_store_explicit(&r->next, SLOT_NONE, memory_order_relaxed);
	atomic_store_explicit(&r->state, SLOT_OPEN, memory_order_release);
	return r;
}

struct put { /* where the next byte of the stream goes */
	char *at;
	uint32_t room, next; /* in this slot; index of the slot behind it */
};

static void put_step(const struct arena *a, struct put *w)
{
	if (w->next >= arena_slots(a)) { /* the chain is long enough, so it was forged: let the bytes go in circles */
		w->at -= MORE_ROOM;
		w->room = MORE_ROOM;
		return;
	}
	struct slot_more *m = arena_more(a, w->next);
	w->at = m->var;
	w->room = MORE_ROOM;
	w->next = atomic_load_explicit(&m->next, memory_order_relaxed);
}

static void put_bytes(const struct arena *a, struct put *w, const void *from, uint32_t n)
{
	const char *p = from;
	while (n) {
		if (!w->room)
			put_step(a, w);
		uint32_t k = n < w->room ? n : w->room;
		memcpy(w->at, p, k);
		w->at += k;
		w->room -= k;
		p += k;
		n -= k;
	}
}

static struct put put_after(const struct arena *a, struct span_rec *r, uint32_t have)
{
	struct put w = {r->var, REC_VAR_FIRST, r->cont};
	while (have > w.room) {
		have -= w.room;
		w.at += w.room;
		w.room = 0;
		put_step(a, &w);
	}
	w.at += have;
	w.room -= have;
	return w;
}

/* Continue the chain until it has room for `want` bytes or no slot is free. Returns the room; 0: chain forged. */
static uint32_t chain_reach(struct arena *a, struct span_rec *r, uint32_t want)
{
	uint32_t room = REC_VAR_FIRST, i = r->cont;
	_Atomic uint32_t *link = NULL;
	for (uint32_t n = 0; n < CHAIN_MAX; n++) {
		if (i == SLOT_NONE) {
			if (room >= want)
				return room;
			i = slot_more_new(a);
			if (i == SLOT_NONE)
				return room;
			if (link)
				atomic_store_explicit(link, i, memory_order_relaxed);
			else
				r->cont = i;
		}
		if (i >= arena_slots(a) || slot_state(a, i) != SLOT_MORE)
			return 0;
		room += MORE_ROOM;
		link = &arena_more(a, i)->next;
		i = atomic_load_explicit(link, memory_order_relaxed);
	}
	return 0;
}

static bool put_cut(struct arena *a, struct span_rec *r)
{
	if (!(r->bits & REC_CUT))
		arena_count(a, COUNT_CUT, 1);
	r->bits |= REC_CUT;
	return false;
}

/* Over several slots, or what of it fits. */
static __attribute__((noinline)) bool put_long(struct arena *a, struct span_rec *r, enum rec_tag tag, struct slice s)
{
	uint32_t have = r->var_len, n = s.n < UINT16_MAX ? s.n : UINT16_MAX;
	if (have > REC_VAR_MAX)
		return put_cut(a, r);
	uint32_t room = chain_reach(a, r, have + 4 + n < REC_VAR_MAX ? have + 4 + n : REC_VAR_MAX);
	if (room > REC_VAR_MAX)
		room = REC_VAR_MAX;
	if (room < have + 4 || (room == have + 4 && n))
		return put_cut(a, r);
	if (n > room - have - 4)
		n = room - have - 4;

	struct put w = put_after(a, r, have);
	uint8_t head[4] = {(uint8_t)tag};
	uint16_t len = (uint16_t)n;
	memcpy(head + 2, &len, 2);
	put_bytes(a, &w, head, sizeof head);
	put_bytes(a, &w, s.p, n);
	atomic_signal_fence(memory_order_seq_cst);
	r->var_len = have + 4 + n;
	return n == s.n || put_cut(a, r);
}

HOT bool rec_put(struct arena *a, struct span_rec *r, enum rec_tag tag, struct slice s)
{
	uint32_t have = r->var_len;
	if (unlikely(have > REC_VAR_FIRST - 4 || s.n > REC_VAR_FIRST - 4 - have))
		return put_long(a, r, tag, s);
	uint16_t n = (uint16_t)s.n;
	char *to = r->var + have;
	to[0] = (char)tag;
	to[1] = 0;
	memcpy(to + 2, &n, 2);
	small_copy(to + 4, s.p, n);
	atomic_signal_fence(memory_order_seq_cst);
	r->var_len = have + 4 + n;
	return true;
}

bool rec_append(struct arena *a, struct span_rec *r, struct slice s)
{
	uint32_t have = r->var_len, n = s.n;
	if (have > REC_VAR_MAX)
		return put_cut(a, r);
	if (n > REC_VAR_MAX - have)
		n = REC_VAR_MAX - have;
	uint32_t room = REC_VAR_FIRST;
	if (have + n > REC_VAR_FIRST && (room = chain_reach(a, r, have + n)) < have + n)
		n = room > have ? room - have : 0;
	struct put w = put_after(a, r, have);
	put_bytes(a, &w, s.p, n);
	atomic_signal_fence(memory_order_seq_cst);
	r->var_len = have + n;
	return n == s.n || put_cut(a, r);
}

/* ---- handing over ---- */

static __attribute__((noinline)) void kick(struct arena *a)
{
	atomic_fetch_add(&a->wake, 1);
	sys_futex_wake(&a->wake, INT_MAX);
}

/*
 * Only who moves `sleep` to WAKING makes the system call. He may be killed before it: so later producers repeat it, at
 * powers of two, until the exporter says that it is awake.
 */
HOT static __attribute__((noinline)) void wake_sleeper(struct arena *a, uint32_t pending, uint32_t sleep)
{
	if (sleep == WAKING) {
		if (pending & (pending - 1))
			return;
	} else {
		if (sleep == SLEEP_TIMED && (int32_t)(pending - atomic_load_explicit(&a->batch, memory_order_relaxed)) < 0)
			return;
		if (!atomic_compare_exchange_strong(&a->sleep, &sleep, WAKING))
			return;
	}
	kick(a);
}

HOT void arena_commit(struct arena *a, struct span_rec *r)
{
	uint64_t h = atomic_load_explicit(&a->done, memory_order_relaxed), want;
	uint32_t i = arena_index(a, r);
	if (unlikely(r->kind == SPAN_TEXT))
		atomic_fetch_add_explicit(&a->text, rec_slots(r), memory_order_relaxed);
	atomic_store_explicit(&r->state, SLOT_DONE, memory_order_release);
	do {
		atomic_store_explicit(&r->next, (uint32_t)h, memory_order_relaxed);
		r->ahead = atomic_load_explicit(&a->recent[h >> 32 & (ARENA_RECENT - 1)], memory_order_relaxed);
		want = ((h >> 32) + 1) << 32 | i;
	} while (!atomic_compare_exchange_weak_explicit(&a->done, &h, want, memory_order_seq_cst, memory_order_relaxed));
	atomic_store_explicit(&a->recent[h >> 32 & (ARENA_RECENT - 1)], (uint16_t)i, memory_order_relaxed);
	uint32_t sleep = atomic_load(&a->sleep);
	if (unlikely(sleep != AWAKE))
		wake_sleeper(a, (uint32_t)(want >> 32), sleep);
}

void arena_discard(struct arena *a, struct span_rec *r)
{
	if (atomic_load_explicit(&r->state, memory_order_relaxed) == SLOT_OPEN)
		slot_release(a, arena_index(a, r));
}

void arena_hold(struct arena *a, struct span_rec *r)
{
	atomic_store_explicit(&r->state, SLOT_HELD, memory_order_release);
	atomic_fetch_add(&a->held_gen, 1);
	uint32_t sleep = atomic_load(&a->sleep);
	if (sleep == SLEEP_IDLE || sleep == WAKING)
		wake_sleeper(a, 1, sleep);
}

bool arena_unhold(struct arena *a, uint32_t slot, const uint8_t span_id[8])
{
	if (slot >= arena_slots(a) || slot_state(a, slot) != SLOT_HELD)
		return false;
	struct span_rec *r = arena_slot(a, slot);
	if (memcmp(r->span_id, span_id, 8) != 0 || !slot_move(r, SLOT_HELD, SLOT_OPEN))
		return false;
	if (memcmp(r->span_id, span_id, 8) != 0) { /* became another held record in between */
		atomic_store_explicit(&r->state, SLOT_HELD, memory_order_release);
		return false;
	}
	slot_release(a, slot);
	return true;
}

void arena_wake(struct arena *a)
{
	kick(a);
}
