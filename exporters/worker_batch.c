/* A batch: records of one arena, checked, encoded. */
#include "base/clock.h"
#include "exporters/batch_view.h"
#include "exporters/log.h"
#include "exporters/worker.h"
#include <stdlib.h>

#define BODY_MAX (4 * 1024 * 1024)    /* Honeycomb takes 5 MB in practice, others more */
#define STRINGS_MAX (2 * 1024 * 1024) /* of a batch; encodings add to that */
#define SCRATCH (4 * REC_VAR_MAX)

/* Room for one record's strings; chunks stay where they are, views borrow from them. */
static char *scratch_room(struct views *v)
{
	if (!v->scratch || v->scratch->n + REC_VAR_MAX > SCRATCH) {
		struct scratch *s = malloc(sizeof *s + SCRATCH);
		if (!s)
			return NULL;
		s->n = 0;
		s->next = v->scratch;
		v->scratch = s;
	}
	return v->scratch->bytes + v->scratch->n;
}

static void scratch_trim(struct views *v)
{
	while (v->scratch && v->scratch->next) {
		struct scratch *next = v->scratch->next;
		free(v->scratch);
		v->scratch = next;
	}
	if (v->scratch)
		v->scratch->n = 0;
}

void views_free(struct views *v)
{
	scratch_trim(v);
	free(v->scratch);
	free(v->packed);
	*v = (struct views){0};
}

static bool views_reserve(struct views *v, uint32_t n)
{
	if (n <= v->cap)
		return true;
	free(v->packed);
	v->cap = 0;
	v->packed = aligned_alloc(_Alignof(struct packed_view), n * sizeof *v->packed);
	if (!v->packed)
		return false;
	v->cap = n;
	return true;
}

static struct ref queue_at(const struct queue *q, uint32_t i)
{
	return q->ring[(q->head + i) & (q->cap - 1)];
}

static void release(struct dest *d, struct ref r)
{
	struct source *s = &d->worker->sources[r.source];
	d->weight -= s->use[r.slot].weight;
	source_unref(s, r.slot);
}

static void prefetch_slot(const struct arena *a, uint32_t slot)
{
	const char *p = (const char *)arena_slot(a, slot);
	for (int at = 0; at < SLOT_SIZE - 128; at += 64)
		__builtin_prefetch(p + at);
}

/* From the queue's head into views and d->batch, as long as they are of one arena and not too long. */
static void gather(struct dest *d, uint32_t most)
{
	struct worker *w = d->worker;
	struct queue *q = &d->queue;
	uint32_t source = queue_at(q, 0).source, bad = 0;
	struct arena *a = w->sources[source].arena;
	size_t total = 0;
	while (q->n && d->n_batch < most && total < STRINGS_MAX && queue_at(q, 0).source == source) {
		struct rec_view view;
		char *room = scratch_room(&w->views);
		if (!room)
			break;
		struct ref r = queue_at(q, 0);
		q->head = (q->head + 1) & (q->cap - 1);
		q->n--;
		if (q->n && queue_at(q, 0).slot < arena_slots(a))
			prefetch_slot(a, queue_at(q, 0).slot);
		if (!rec_view(a, r.slot, room, &view)) {
			bad++;
			release(d, r);
			continue;
		}
		w->views.scratch->n += view.scratch_used;
		total += view_pack(&w->views.packed[d->n_batch], &view, view.scratch_used ? room : view.rec->var);
		d->batch[d->n_batch++] = r;
	}
	if (bad)
		arena_count(worker_arena(w), COUNT_DROP_BAD, bad);
}

/* The last records of the batch go back to the head of the queue. */
static void put_back(struct dest *d, uint32_t keep)
{
	struct queue *q = &d->queue;
	while (d->n_batch > keep) {
		q->head = (q->head + q->cap - 1) & (q->cap - 1);
		q->ring[q->head] = d->batch[--d->n_batch];
		q->n++;
	}
}

bool batch_make(struct dest *d)
{
	struct worker *w = d->worker;
	uint32_t most = w->settings.max_batch < d->queue.n ? w->settings.max_batch : d->queue.n;
	bool ok = false;
	if (d->kind->room && d->room < most)
		most = d->room;
	d->batch = malloc(most * sizeof *d->batch);
	d->n_batch = 0;
	d->request = (struct request){0};
	if (!d->batch || !views_reserve(&w->views, most))
		goto out;
	gather(d, most);
	while (d->n_batch) {
		struct batch b = {
			.arena = w->sources[d->batch[0].source].arena,
			.packed = w->views.packed,
			.n = d->n_batch,
			.resources = w->resources,
			.settings = &w->settings,
			.events = reports_events(w->reports),
		};
		if (d->kind->print) {
			uint32_t lost = d->kind->print(d->self, &b);
			arena_count(worker_arena(w), COUNT_SENT, b.n - lost);
			arena_count(worker_arena(w), COUNT_DROP_REFUSED, lost);
			d->sent += b.n - lost;
			d->dropped += lost;
			break;
		}
		ok = d->kind->encode(d->self, &b, &d->request) && !d->request.body.failed;
		if (!ok) {
			arena_count(worker_arena(w), COUNT_DROP_BAD, b.n);
			d->dropped += b.n;
		}
		if (!ok || d->request.body.n <= BODY_MAX || d->n_batch == 1)
			break;
		buf_free(&d->request.body);
		put_back(d, d->n_batch / 2);
	}
out:
	scratch_trim(&w->views);
	if (!ok)
		batch_done(d);
	d->born_ns = mono_ns();
	return ok;
}

void batch_done(struct dest *d)
{
	for (uint32_t i = 0; i < d->n_batch; i++)
		release(d, d->batch[i]);
	free(d->batch);
	d->batch = NULL;
	d->n_batch = 0;
	buf_free(&d->request.body);
	d->request = (struct request){0};
}
