/* The exporter's loop: drain, send, sleep. Everything hangs off one struct worker, made anew at each start. */
#include "exporters/worker.h"
#include "base/clock.h"
#include "exporters/log.h"
#include "exporters/xray/xray_sampling.h"
#include "proto/tracecontext.h"
#include <stdlib.h>

#define MS UINT64_C(1000000)
#define BUSY_WAIT_MS 2   /* for sockets, while records stream in */
#define SOME_WAIT_MS 5   /* while some do */
#define QUIET_WAIT_MS 15 /* else; it bounds how long a flush waits to be noticed */
#define FROZEN_WAIT_NS (5 * MS)

struct worker *worker_new(const struct export_host *host)
{
	struct worker *w = calloc(1, sizeof *w);
	if (!w)
		return NULL;
	w->host = host;
	w->can_grow = true;
	w->slots_each = 1;
	w->more_orphans = true;
	w->idle_since_ns = mono_ns();
	settings_parse(&w->settings, host);
	w->resources = resources_new(&w->settings);
	w->http = http_global_init() ? http_new(host) : NULL;
	w->slots = malloc(DRAIN * sizeof *w->slots);
	w->reports = w->http ? reports_new(host, &w->settings, w->http, NULL) : NULL;
	if (!w->resources || !w->reports || !w->slots || !source_init(&w->sources[0], host->arena, false)) {
		log_error("no memory for the exporter");
		worker_delete(w);
		return NULL;
	}
	if (w->settings.cloudwatch.on || settings_aws(&w->settings))
		w->credentials = credentials_new(&w->settings, w->http);
	worker_dests(w);
	w->sampling = xray_sampling_new(&w->settings, w->http, w->credentials);
	worker_errors_new(w);
	if (!worker_logs_new(w))
		log_error("no memory for CloudWatch Logs");
	return w;
}

void worker_delete(struct worker *w)
{
	worker_left_release(w, UINT64_MAX);
	errors_delete(w->errors); /* while there is somebody to tell */
	cloudwatch_delete(w->cloudwatch);
	if (w->reports)
		reports_on_crash(w->reports, NULL, NULL);
	for (unsigned i = 0; i < w->n_dests; i++)
		dest_free(&w->dests[i]);
	for (unsigned i = 0; i < SOURCES; i++) {
		struct source *s = &w->sources[i];
		if (s->arena)
			source_flush(s);
		if (s->arena && s->orphan)
			arena_orphan_leave(s->arena, w->host->dir);
		source_free(s);
	}
	reports_delete(w->reports);
	xray_sampling_delete(w->sampling);
	credentials_delete(w->credentials);
	http_delete(w->http);
	if (w->resources)
		resources_delete(w->resources);
	settings_free(&w->settings);
	free(w->strings);
	free(w->slots);
	free(w->text);
	free(w);
}

/* ---- one turn ---- */

static void pump(struct worker *w, uint64_t now, bool full_only)
{
	for (unsigned i = 0; i < w->n_dests; i++) {
		struct dest *d = &w->dests[i];
		if (!full_only || d->queue.n >= w->settings.max_batch)
			dest_pump(d, now, w->flushing);
	}
}

/* True: another is due at once. */
static bool turn(struct worker *w)
{
	uint64_t now = mono_ns();
	http_run(w->http);
	pump(w, now, true); /* room first, then what wants it */
	worker_drain(w, now, w->flushing);
	if (w->last_drain || w->flushing)
		worker_sweep(w, now, false);
	worker_look(w, now);
	worker_errors_turn(w, now);
	reports_turn(w->reports, now, w->flushing);
	xray_sampling_turn(w->sampling, now, w->flushing);
	worker_orphans(w, now);
	worker_logs_turn(w, now);
	pump(w, now, false);
	bool answered = http_run(w->http); /* what was posted now, as much as the sockets take */
	worker_left_release(w, now);
	source_flush(&w->sources[0]);
	worker_report_drops(w, now);
	if (w->last_drain)
		w->idle_since_ns = now;
	return answered; /* already: what it makes room for, or the end of an orphan, waits for nobody's wake-up */
}

/* ---- sleeping ---- */

static void sooner(uint64_t *due, uint64_t at)
{
	if (at && (!*due || at < *due))
		*due = at;
}

/* X-Ray's rules want few of the records that come: it is not worth a wake-up for each. Until when, 0 = now. */
static uint64_t rests_until(const struct worker *w, const struct dest *d, uint64_t now)
{
	uint64_t until = w->idle_since_ns + d->delay_ns;
	return d->wants == TRACE_FLAG_XRAY && now < until ? until : 0;
}

/* When something is to be done by the clock; 0 = nothing. */
static uint64_t next_due(struct worker *w, uint64_t now)
{
	uint64_t due = arena_next_held(worker_arena(w));
	for (unsigned i = 0; i < w->n_dests; i++)
		sooner(&due, dest_due(&w->dests[i]));
	for (unsigned i = 0; i < w->n_dests; i++)
		sooner(&due, rests_until(w, &w->dests[i], now));
	sooner(&due, w->look_ns);
	sooner(&due, reports_due(w->reports, mono_ns()));
	sooner(&due, w->errors ? errors_due(w->errors) : 0);
	if (w->n_left && mono_ns() < w->left_ns + LEFT_NS)
		due = due && due < w->left_ns + LEFT_NS ? due : w->left_ns + LEFT_NS;
	sooner(&due, xray_sampling_due(w->sampling));
	sooner(&due, w->cloudwatch ? cloudwatch_due(w->cloudwatch) : 0);
	if (w->flushing)
		sooner(&due, atomic_load(w->host->deadline_ns));
	return due;
}

/* At how many committed records to wake: a batch is full, or the free slots run short. */
static uint32_t wake_at(const struct worker *w)
{
	const struct source *s = &w->sources[0];
	uint32_t slots = arena_slots(s->arena), free_slots = slots > s->weight ? slots - s->weight : 0;
	uint32_t n = free_slots / 2 / w->slots_each;
	for (unsigned i = 0; i < w->n_dests; i++) {
		const struct dest *d = &w->dests[i];
		if (d->n_batch || d->queue.n >= w->settings.max_batch)
			continue; /* waits for its turn, not for records */
		uint32_t more = w->settings.max_batch - d->queue.n;
		n = more < n ? more : n;
	}
	return n ? n : 1;
}

/* A destination with nothing to do learns of the first record at once: its delay begins then. */
static bool some_empty(const struct worker *w, uint64_t now)
{
	if (w->cloudwatch && cloudwatch_waits(w->cloudwatch))
		return false;
	for (unsigned i = 0; i < w->n_dests; i++)
		if (!w->dests[i].n_batch && !w->dests[i].queue.n && !rests_until(w, &w->dests[i], now))
			return true;
	return !w->n_dests;
}

static bool is_idle(const struct worker *w)
{
	for (unsigned i = 0; i < w->n_dests; i++)
		if (w->dests[i].n_batch || w->dests[i].queue.n)
			return false;
	for (unsigned i = 1; i < SOURCES; i++)
		if (w->sources[i].arena)
			return false;
	return reports_idle(w->reports) && (!w->cloudwatch || cloudwatch_idle(w->cloudwatch)) && (!w->errors || errors_idle(w->errors));
}

/* The ones at work are done with, and there may be others. */
static bool look_for_orphans(const struct worker *w)
{
	for (unsigned i = 1; i < SOURCES; i++)
		if (w->sources[i].arena)
			return false;
	return w->more_orphans && !w->forget_resources && *w->host->dir;
}

static void wait_for_work(struct worker *w)
{
	struct arena *a = worker_arena(w);
	uint64_t now = mono_ns(), due = next_due(w, now), timeout = 0;
	bool idle = some_empty(w, now), http = http_active(w->http) != 0;
	uint32_t batch = wake_at(w);
	if (due && due <= now)
		return;
	if (due)
		timeout = due - now;
	else if (is_idle(w) && !w->host->busy())
		timeout = w->idle_since_ns + IDLE_NS > now ? w->idle_since_ns + IDLE_NS - now : 1;
	int ms = w->last_drain > 64 ? BUSY_WAIT_MS : w->last_drain ? SOME_WAIT_MS
	                                                           : QUIET_WAIT_MS;
	if (timeout && timeout / MS < (uint64_t)ms)
		ms = (int)(timeout / MS) + 1;
	w->host->run_leave();
	if (http)
		http_wait(w->http, ms);
	else if (worker_frozen(w))
		arena_sleep(a, false, FROZEN_WAIT_NS, UINT32_MAX / 2);
	else
		arena_sleep(a, idle, timeout, batch);
	w->host->run_enter();
}

/* ---- requests of host threads ---- */

static bool flush_done(const struct worker *w, uint64_t now)
{
	if (now >= atomic_load(w->host->deadline_ns))
		return true;
	for (unsigned i = 0; i < w->n_dests; i++)
		if (!dest_flushed(&w->dests[i], now))
			return false;
	bool somebody = !w->n_dests; /* who answers: what nobody takes stays where it lies */
	for (unsigned i = 0; i < w->n_dests; i++)
		somebody |= !w->dests[i].flush_failed;
	for (unsigned i = 1; i < SOURCES && w->everything && somebody; i++)
		if (w->sources[i].arena)
			return false;
	if (w->everything && somebody && look_for_orphans(w))
		return false;
	return reports_flushed(w->reports, now) && (!w->cloudwatch || cloudwatch_flushed(w->cloudwatch, now));
}

/* True: stop. */
static bool serve_request(struct worker *w)
{
	uint32_t r = atomic_load(w->host->request);
	if (r == REQUEST_NONE) {
		w->flushing = false;
		return false;
	}
	if (!w->flushing) {
		w->flushing = true;
		for (unsigned i = 0; i < w->n_dests; i++)
			w->dests[i].flush_failed = false;
		reports_flush_begins(w->reports);
		if (w->cloudwatch)
			cloudwatch_flush_begins(w->cloudwatch);
		return false; /* a turn with what there is, then look */
	}
	if (!flush_done(w, mono_ns()))
		return false;
	worker_report(w, r == REQUEST_FLUSH ? "flush" : "stop");
	if (r != REQUEST_FLUSH)
		return true;
	w->flushing = false;
	w->host->flushed();
	return false;
}

enum export_end worker_run(struct worker *w, bool takeover)
{
	worker_sweep(w, mono_ns(), takeover);
	worker_drain(w, mono_ns(), false); /* what a process said before it crashed belongs to its report */
	reports_begin(w->reports);         /* before any span is encoded: those of the dead tell of it */
	for (;;) {
		if (serve_request(w))
			return EXPORT_STOPPED;
		if (turn(w) || (w->flushing && flush_done(w, mono_ns())) || look_for_orphans(w))
			continue;
		if (!w->flushing && is_idle(w) && !next_due(w, mono_ns()) && mono_ns() - w->idle_since_ns >= IDLE_NS && !w->host->busy()) {
			worker_report(w, "idle");
			return EXPORT_IDLE;
		}
		wait_for_work(w);
	}
}
