/* A destination: its queue, its budget, its schedule and retries. What happens here touches no other destination. */
#include "base/clock.h"
#include "exporters/log.h"
#include "exporters/worker.h"
#include <stdlib.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define BACKOFF_FIRST SECOND
#define BACKOFF_MOST (30 * SECOND)

/* ---- queue ---- */

static bool queue_push(struct queue *q, struct ref r)
{
	if (q->n == q->cap) {
		uint32_t cap = q->cap ? q->cap * 2 : 256;
		struct ref *ring = malloc(cap * sizeof *ring);
		if (!ring)
			return false;
		for (uint32_t i = 0; i < q->n; i++)
			ring[i] = q->ring[(q->head + i) & (q->cap - 1)];
		free(q->ring);
		*q = (struct queue){.ring = ring, .cap = cap, .n = q->n};
	}
	q->ring[(q->head + q->n++) & (q->cap - 1)] = r;
	return true;
}

/* A burst's ring is not kept. */
static void queue_shrink(struct queue *q)
{
	if (q->n == 0 && q->cap > 1024) {
		free(q->ring);
		*q = (struct queue){0};
	}
}

/*
 * One destination may fill the arena but for an eighth, which stays for requests that begin; of several, each may hold
 * half, so that one that hangs leaves room for the others.
 */
static bool has_room(const struct dest *d, uint32_t source)
{
	const struct worker *w = d->worker;
	const struct source *own = &w->sources[0];
	if (w->settings.max_queue && d->queue.n >= w->settings.max_queue)
		return false;
	if (source != 0)
		return true; /* another arena's slots; worker_feed.c offers no more than can be sent */
	uint32_t slots = w->can_grow ? own->max : arena_slots(own->arena);
	if (own->weight > slots - slots / 8)
		return false;
	return w->n_http < 2 || d->weight <= slots / 2;
}

void dest_offer(struct dest *d, struct ref r, uint64_t now)
{
	struct source *s = &d->worker->sources[r.source];
	if (!has_room(d, r.source) || !queue_push(&d->queue, r)) {
		arena_count(worker_arena(d->worker), COUNT_DROP_QUEUE, 1);
		d->dropped++;
		return;
	}
	if (d->queue.n == 1)
		d->since_ns = now;
	source_ref(s, r.slot);
	d->weight += s->use[r.slot].weight;
}

/* ---- answers ---- */

static uint64_t backoff(uint32_t fails)
{
	uint64_t ns = BACKOFF_FIRST;
	for (uint32_t i = 1; i < fails && ns < BACKOFF_MOST; i++)
		ns *= 2;
	if (ns > BACKOFF_MOST)
		ns = BACKOFF_MOST;
	/* +-20 %: processes that lost the same collector shall not come back all at once. */
	uint64_t x = real_ns() * UINT64_C(0x9e3779b97f4a7c15);
	return ns * 4 / 5 + (x >> 32) % (ns * 2 / 5);
}

/* Those of the batch that were sent: what did not check out was counted when it was encoded. */
static uint32_t in_flight(const struct dest *d)
{
	return d->n_batch - d->n_bad;
}

static void drop(struct dest *d, enum counter why)
{
	arena_count(worker_arena(d->worker), why, in_flight(d));
	d->dropped += in_flight(d);
	batch_done(d);
}

static void tell(struct dest *d, const struct answer *a, const struct verdict *v, uint64_t now)
{
	unsigned long long ms = (now - d->posted_ns) / MS;
	static const char *const words[] = {"accepted", "will be tried again", "is signed anew", "refused"};
	if (log_wants(LOG_DEBUG)) {
		log_debug("%s: %u spans, %zu bytes: %s%s%s, status %d, %llu ms", d->name, in_flight(d), d->request.body.n,
		          words[v->outcome], *v->message ? ": " : "", v->message, a->status, ms);
		return;
	}
	/* Something that the user has to mend is told once, with the variable's bit: who comes here has a good URL. */
	const char *var = strcmp(d->name, "honeycomb") == 0 ? "HONEYCOMB_API_KEY"
	                  : strcmp(d->name, "xray") == 0    ? "REMORA_XRAY_PROTOCOL"
	                                                    : "OTEL_EXPORTER_OTLP_ENDPOINT";
	if (v->outcome == OUT_REFUSED)
		log_once(log_bit(var), "%s: spans refused with status %d%s%s (said once; REMORA_LOG=debug shows all)", d->name,
		         a->status, *v->message ? ": " : "", v->message);
	else if (v->refused)
		log_once(log_bit(var), "%s: %llu spans of a batch refused%s%s (said once; REMORA_LOG=debug shows all)", d->name,
		         (unsigned long long)v->refused, *v->message ? ": " : "", v->message);
}

static void answered(void *ctx, const struct answer *a)
{
	struct dest *d = ctx;
	struct arena *arena = worker_arena(d->worker);
	uint64_t now = mono_ns();
	struct verdict v = d->kind->judge(d->self, a);
	d->call = NULL;
	tell(d, a, &v, now);
	d->not_before_ns = 0;
	d->told_when = false;
	switch (v.outcome) {
	case OUT_ACCEPTED:
		if (v.refused > in_flight(d))
			v.refused = in_flight(d);
		arena_count(arena, COUNT_SENT, in_flight(d) - v.refused);
		arena_count(arena, COUNT_DROP_REFUSED, v.refused);
		d->sent += in_flight(d) - v.refused;
		d->dropped += v.refused;
		d->fails = 0;
		batch_done(d);
		break;
	case OUT_REFUSED:
		d->fails = 0;
		drop(d, COUNT_DROP_REFUSED);
		break;
	case OUT_AGAIN:
		break;
	case OUT_RETRY:
		d->fails++;
		d->flush_failed = true;
		d->told_when = v.retry_after_ns != 0;
		d->not_before_ns = now + (d->told_when ? v.retry_after_ns : backoff(d->fails));
		break;
	}
}

/* ---- schedule ---- */

static bool expired(const struct dest *d, uint64_t now)
{
	uint64_t most = d->worker->settings.export_timeout_ns;
	return most && d->fails && now - d->born_ns >= most;
}

/* A flush tries at once what only our own backoff holds; a receiver's word counts. */
static bool may_post(const struct dest *d, uint64_t now, bool flush)
{
	return now >= d->not_before_ns || (flush && !d->told_when && !d->flush_failed);
}

static void post(struct dest *d, uint64_t now)
{
	d->posted_ns = now;
	bool fit = !d->kind->sign || d->kind->sign(d->self, &d->request);
	d->call = fit ? http_post(d->worker->http, &d->request, answered, d) : NULL;
	if (!d->call) { /* no memory: as if nobody had answered */
		d->fails++;
		d->flush_failed = true;
		d->told_when = false;
		d->not_before_ns = now + backoff(d->fails);
	}
}

static void pump_queue(struct dest *d, uint64_t now, bool flush)
{
	uint32_t full = d->worker->settings.max_batch;
	while (!d->n_batch && d->queue.n && may_post(d, now, flush) &&
	       (flush || d->queue.n >= full || now >= d->since_ns + d->delay_ns)) {
		uint32_t before = d->queue.n;
		if (d->kind->room && (d->room = d->kind->room(d->self, now, &d->not_before_ns)) == 0) {
			d->since_ns = now - d->delay_ns; /* due already */
			break;
		}
		d->since_ns = now;
		if (batch_make(d)) {
			post(d, now);
		} else if (d->queue.n == before) { /* no memory */
			d->not_before_ns = now + SECOND;
			d->flush_failed = true;
		} else if (d->kind->room) {
			d->since_ns -= d->delay_ns; /* the rest of a burst */
		}
	}
	queue_shrink(&d->queue);
}

/* Keys of a cloud may be on their way, or nowhere. */
static bool is_ready(struct dest *d, uint64_t now)
{
	d->unready = d->kind->ready && (d->n_batch || d->queue.n) && !d->kind->ready(d->self, now, &d->ready_ns);
	if (d->unready && d->ready_ns)
		d->flush_failed = true; /* nothing to wait for */
	return !d->unready;
}

void dest_pump(struct dest *d, uint64_t now, bool flush)
{
	if (d->call)
		return;
	if (d->n_batch && expired(d, now))
		drop(d, COUNT_DROP_EXPIRED);
	if (!is_ready(d, now))
		return;
	if (d->n_batch && may_post(d, now, flush))
		post(d, now);
	if (!d->n_batch)
		pump_queue(d, now, flush);
	if (d->kind->tick)
		d->kind->tick(d->self, now, flush);
}

bool dest_flushed(const struct dest *d, uint64_t now)
{
	if (d->call)
		return false;
	return (!d->n_batch && !d->queue.n) || d->flush_failed || (d->told_when && now < d->not_before_ns);
}

static void sooner(uint64_t *due, uint64_t at)
{
	if (at && (!*due || at < *due))
		*due = at;
}

uint64_t dest_due(const struct dest *d)
{
	uint64_t due = d->kind->tick ? d->kind->tick(d->self, 0, false) : 0;
	if (d->call)
		return due;
	if (d->unready) {
		sooner(&due, d->ready_ns);
	} else if (d->n_batch) {
		sooner(&due, d->not_before_ns);
		if (d->worker->settings.export_timeout_ns)
			sooner(&due, d->born_ns + d->worker->settings.export_timeout_ns);
	} else if (d->queue.n) {
		uint64_t at = d->since_ns + d->delay_ns;
		sooner(&due, at > d->not_before_ns ? at : d->not_before_ns);
	}
	return due;
}

void dest_free(struct dest *d)
{
	if (d->call)
		http_cancel(d->worker->http, d->call);
	d->call = NULL;
	free(d->batch);
	buf_free(&d->request.body);
	free(d->queue.ring);
	if (d->kind->tick)
		d->kind->tick(d->self, 0, true);
	d->kind->destroy(d->self);
}
