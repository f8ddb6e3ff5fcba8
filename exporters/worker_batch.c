/* A batch: records of one arena, encoded. */
#include "base/clock.h"
#include "exporters/batch_view.h"
#include "exporters/log.h"
#include "exporters/worker.h"
#include <stdlib.h>

#define BODY_MAX (4 * 1024 * 1024)    /* Honeycomb takes 5 MB in practice, others more */
#define RECORDS_MAX (2 * 1024 * 1024) /* of a batch; encodings add to that */

static struct ref queue_at(const struct queue *q, uint32_t i)
{
	return q->ring[(q->head + i) & (q->cap - 1)];
}

/* From the queue's head, as long as they are of one arena and not too long. */
static void gather(struct dest *d, uint32_t most)
{
	struct queue *q = &d->queue;
	size_t total = 0;
	d->source = queue_at(q, 0).source;
	const struct source *s = &d->worker->sources[d->source];
	while (q->n && d->n_batch < most && total < RECORDS_MAX && queue_at(q, 0).source == d->source) {
		uint32_t slot = queue_at(q, 0).slot;
		q->head = (q->head + 1) & (q->cap - 1);
		q->n--;
		total += (size_t)s->use[slot].weight * SLOT_SIZE;
		d->batch[d->n_batch++] = slot;
	}
}

/* The last records of the batch go back to the head of the queue. */
static void put_back(struct dest *d, uint32_t keep)
{
	struct queue *q = &d->queue;
	while (d->n_batch > keep) {
		q->head = (q->head + q->cap - 1) & (q->cap - 1);
		q->ring[q->head] = (struct ref){d->batch[--d->n_batch], d->source};
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
	if (!w->strings)
		w->strings = malloc(REC_VAR_MAX);
	if (!d->batch || !w->strings)
		goto out;
	gather(d, most);
	while (d->n_batch) {
		struct batch b = {
			.arena = w->sources[d->source].arena,
			.slots = d->batch,
			.scratch = w->strings,
			.malformed = &d->n_bad,
			.n = d->n_batch,
			.resources = w->resources,
			.settings = &w->settings,
			.events = reports_events(w->reports),
		};
		d->n_bad = 0;
		if (d->kind->print) {
			uint32_t lost = d->kind->print(d->self, &b), good = b.n - d->n_bad;
			if (lost > good)
				lost = good;
			arena_count(worker_arena(w), COUNT_SENT, good - lost);
			arena_count(worker_arena(w), COUNT_DROP_REFUSED, lost);
			arena_count(worker_arena(w), COUNT_DROP_BAD, d->n_bad);
			d->sent += good - lost;
			d->dropped += lost;
			break;
		}
		ok = d->kind->encode(d->self, &b, &d->request) && !d->request.body.failed;
		if (!ok) {
			arena_count(worker_arena(w), COUNT_DROP_BAD, b.n);
			d->dropped += b.n;
		}
		if (!ok || d->request.body.n <= BODY_MAX || d->n_batch == 1) {
			if (ok)
				arena_count(worker_arena(w), COUNT_DROP_BAD, d->n_bad);
			break;
		}
		buf_free(&d->request.body);
		put_back(d, d->n_batch / 2);
	}
out:
	if (!ok)
		batch_done(d);
	d->born_ns = mono_ns();
	return ok;
}

void batch_done(struct dest *d)
{
	struct source *s = &d->worker->sources[d->source];
	for (uint32_t i = 0; i < d->n_batch; i++) {
		d->weight -= s->use[d->batch[i]].weight;
		source_unref(s, d->batch[i]);
	}
	free(d->batch);
	d->batch = NULL;
	d->n_batch = 0;
	buf_free(&d->request.body);
	d->request = (struct request){0};
}
