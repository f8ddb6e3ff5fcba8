/* From the arenas into the queues: committed records, what dead processes left, and arenas of dead trees. */
#include "base/clock.h"
#include "exporters/log.h"
#include "exporters/worker.h"
#include <stdlib.h>

#define SECOND UINT64_C(1000000000)
#define SWEEP_EVERY (10 * SECOND)
#define DRAIN_MOST (16 * DRAIN) /* per turn of the loop, so that answers are seen too */
#define SMALL 2048              /* slots */
#define ORPHAN_AHEAD 4          /* batches of an orphan that are queued at a time */
#define ORPHAN_ROUNDS 256       /* of looking for them, at most, per start */

/*
 * Of what a crash was, read before any span that it ended is encoded. In this tree's arena the record stays until those
 * are gone: whoever takes over from us must find it with them.
 */
static void take_left(struct worker *w, uint32_t source, uint32_t slot, uint64_t now)
{
	struct source *s = &w->sources[source];
	struct rec_view v;
	char *scratch = malloc(REC_VAR_MAX);
	if (scratch && rec_view(s->arena, slot, scratch, &v))
		reports_left(w->reports, &v);
	free(scratch);
	if (source || w->n_left == LEFT_HELD) {
		source_unref(s, slot);
		return;
	}
	w->left[w->n_left++] = (struct ref){slot, source};
	w->left_ns = now;
}

static bool all_taken(const struct worker *w)
{
	for (unsigned i = 0; i < w->n_dests; i++)
		if (w->dests[i].n_batch || w->dests[i].queue.n)
			return false;
	return true;
}

void worker_left_release(struct worker *w, uint64_t now)
{
	if (!w->n_left || now - w->left_ns < LEFT_NS || !all_taken(w))
		return;
	while (w->n_left)
		source_unref(&w->sources[0], w->left[--w->n_left].slot);
}

static void offer_all(struct worker *w, uint32_t source, uint32_t slot, uint64_t now)
{
	const struct arena *a = w->sources[source].arena;
	if (arena_slot(a, slot)->kind == SPAN_EXCEPTION) {
		take_left(w, source, slot, now);
		return;
	}
	if (arena_slot(a, slot)->kind == SPAN_SAID) {
		worker_errors_said(w, a, slot, now);
		source_unref(&w->sources[source], slot);
		return;
	}
	if (arena_slot(a, slot)->kind == SPAN_TEXT) {
		worker_text(w, source, slot, now);
		source_unref(&w->sources[source], slot);
		return;
	}
	worker_access(w, a, slot, now);
	for (unsigned i = 0; i < w->n_dests; i++)
		if (!w->dests[i].wants || (arena_slot(a, slot)->trace_flags & w->dests[i].wants))
			dest_offer(&w->dests[i], (struct ref){slot, source}, now);
	source_unref(&w->sources[source], slot);
}

/* ---- this tree's arena ---- */

static void take(struct worker *w, uint32_t n, uint64_t now)
{
	struct source *s = &w->sources[0];
	uint32_t slots = 0, text = 0;
	for (uint32_t i = 0; i < n; i++)
		if (source_take(s, w->slots[i])) {
			slots += s->use[w->slots[i]].weight;
			if (arena_slot(s->arena, w->slots[i])->kind == SPAN_TEXT)
				text += s->use[w->slots[i]].weight;
			reports_saw(w->reports, s->arena, w->slots[i]);
			offer_all(w, 0, w->slots[i], now);
		}
	arena_text_taken(s->arena, text);
	if (n)
		w->slots_each = (slots + n - 1) / n + !slots;
}

/*
 * Before hosts run out: when half of it is in use, or somebody did run out. The first size is for programs that make
 * few requests; it is left earlier, since a burst fills the rest while we wait for an answer.
 */
static void grow(struct worker *w)
{
	struct source *s = &w->sources[0];
	struct arena *a = s->arena;
	uint64_t full = atomic_load_explicit(&a->count[COUNT_DROP_FULL], memory_order_relaxed);
	uint32_t pending = arena_pending(a);
	while (w->can_grow) {
		uint32_t slots = arena_slots(a), used = s->weight + pending * w->slots_each;
		if (used <= (slots > SMALL ? slots / 2 : slots / 8) && full == w->full_seen)
			return;

		w->full_seen = full;
		w->can_grow = arena_grow(a);
		if (w->can_grow)
			log_debug("arena: %u slots", arena_slots(a));
	}
}

void worker_drain(struct worker *w, uint64_t now, bool final)
{
	struct arena *a = worker_arena(w);
	uint64_t held = arena_next_held(a);
	bool due = held && held <= now;
	uint32_t n;
	w->last_drain = 0;
	if (worker_frozen(w))
		return;
	do {
		n = arena_drain(a, w->slots, DRAIN, due, final);
		take(w, n, now);
		w->last_drain += n;
		grow(w);
	} while (n == DRAIN && w->last_drain < DRAIN_MOST);
}

void worker_sweep(struct worker *w, uint64_t now, bool takeover)
{
	uint32_t n;
	if (!takeover && !w->flushing && w->swept_ns && now - w->swept_ns < SWEEP_EVERY)
		return;
	w->swept_ns = now;
	do {
		n = arena_sweep(worker_arena(w), w->slots, DRAIN, takeover);
		take(w, n, now);
	} while (n == DRAIN);
	resources_trim(w->resources, worker_arena(w));
}

/*
 * A worker may be killed when no record comes any more that would lead to a sweep: its last request is told all the same.
 * Once after the last record, and again for as long as requests are in flight, but not beyond the thread's usual life.
 */
void worker_look(struct worker *w, uint64_t now)
{
	if (w->last_drain && !w->look_ns)
		w->look_ns = now + SECOND;
	if (!w->look_ns || now < w->look_ns)
		return;
	w->look_ns = 0;
	if (!arena_any_open(worker_arena(w)) || now - w->idle_since_ns >= IDLE_NS)
		return;
	worker_sweep(w, now, false);
	w->look_ns = w->swept_ns + SWEEP_EVERY;
}

/* ---- arenas of dead trees ---- */

static bool reserve_waiting(struct source *s)
{
	uint32_t *p = realloc(s->waiting, (s->n_waiting + DRAIN) * sizeof *p);
	if (p)
		s->waiting = p;
	return p != NULL;
}

static void wait_for(struct worker *w, struct source *s, uint32_t n)
{
	uint32_t *list = s->waiting + s->n_waiting;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t slot = list[i];
		if (!source_take(s, slot))
			continue;
		if (arena_slot(s->arena, slot)->kind == SPAN_EXCEPTION) /* spans may stand before it */
			take_left(w, (uint32_t)(s - w->sources), slot, 0);
		else
			s->waiting[s->n_waiting++] = slot;
	}
}

static void got_orphan(void *ctx, struct arena *a)
{
	struct worker *w = ctx;
	struct source *s = NULL;
	for (unsigned i = 1; i < SOURCES && !s; i++)
		if (!w->sources[i].arena)
			s = &w->sources[i];
	if (!s || !source_init(s, a, true)) {
		arena_orphan_leave(a, w->host->dir);
		return;
	}
	uint32_t n = DRAIN;
	while (n == DRAIN && reserve_waiting(s))
		wait_for(w, s, n = arena_sweep(a, s->waiting + s->n_waiting, DRAIN, true));
	for (n = DRAIN; n == DRAIN && reserve_waiting(s);)
		wait_for(w, s, n = arena_drain(a, s->waiting + s->n_waiting, DRAIN, true, true));
	if (s->n_waiting)
		log_debug("%u records of a tree that is gone (pid %d)", s->n_waiting, a->root_pid);
}

static bool may_feed(const struct worker *w)
{
	uint32_t most = w->settings.max_batch * ORPHAN_AHEAD;
	if (w->settings.max_queue && w->settings.max_queue / 2 < most)
		most = w->settings.max_queue / 2;
	for (unsigned i = 0; i < w->n_dests; i++)
		if (w->dests[i].queue.n >= most)
			return false;
	return !w->cloudwatch || cloudwatch_room(w->cloudwatch);
}

static void feed(struct worker *w, uint32_t source, uint64_t now)
{
	struct source *s = &w->sources[source];
	while (s->at_waiting < s->n_waiting && may_feed(w))
		offer_all(w, source, s->waiting[s->at_waiting++], now);
	source_flush(s);
	if (s->at_waiting == s->n_waiting && s->held && w->cloudwatch)
		cloudwatch_end(w->cloudwatch, s->arena);
	if (s->at_waiting < s->n_waiting || s->held)
		return;
	if (w->errors) /* the next one may be mapped at its address */
		errors_end(w->errors, s->arena);
	arena_orphan_done(s->arena, w->host->dir);
	source_free(s);
	w->forget_resources = true;
	w->more_orphans = true;
}

void worker_orphans(struct worker *w, uint64_t now)
{
	unsigned at_work = 0;
	for (unsigned i = 1; i < SOURCES; i++)
		if (w->sources[i].arena) {
			feed(w, i, now);
			at_work += w->sources[i].arena != NULL;
		}
	/* What was learned of an orphan's processes hangs on its address, which the next may get. */
	if (w->forget_resources) {
		struct resources *fresh = resources_new(&w->settings);
		if (fresh) {
			resources_delete(w->resources);
			w->resources = fresh;
		}
		w->forget_resources = !fresh;
	}
	if (at_work || !w->more_orphans || w->forget_resources || !*w->host->dir)
		return;
	w->more_orphans = arena_orphans(w->host->dir, w->any_orphan ? NULL : worker_arena(w), ORPHANS, got_orphan, w, &w->foreign_orphans) > 0;
	for (unsigned i = 1; i < SOURCES; i++)
		if (w->sources[i].arena)
			feed(w, i, now);
	/* Those that were empty are done with already. A file that cannot be removed must not keep us turning. */
	if (w->more_orphans && ++w->orphan_rounds >= ORPHAN_ROUNDS)
		w->more_orphans = false;
}
