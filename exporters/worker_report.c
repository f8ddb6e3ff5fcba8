/* Counters, for REMORA_LOG=debug. */
#include "exporters/log.h"
#include "exporters/worker.h"
#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

static uint64_t drops_of(const struct worker *w)
{
	const struct arena *a = worker_arena(w);
	uint64_t n = 0;
	for (enum counter c = 0; c < COUNT_MAX; c++) {
		const char *name = arena_counter_name(c);
		if (name && strncmp(name, "dropped", 7) == 0)
			n += atomic_load_explicit(&a->count[c], memory_order_relaxed);
	}
	return n;
}

void worker_report(struct worker *w, const char *when)
{
	const struct arena *a = worker_arena(w);
	char line[LOG_LINE - 32];
	int n = 0;
	if (!log_wants(LOG_DEBUG))
		return;
	for (enum counter c = 0; c < COUNT_MAX; c++) {
		const char *name = arena_counter_name(c);
		uint64_t count = atomic_load_explicit(&a->count[c], memory_order_relaxed);
		if (!name || !count)
			continue;
		int k = snprintf(line + n, sizeof line - (size_t)n, "%s%s %llu", n ? ", " : "", name, (unsigned long long)count);
		if (k < 0 || (size_t)k >= sizeof line - (size_t)n)
			break;
		n += k;
	}
	line[n] = 0;
	log_debug("%s: %s", when, n ? line : "nothing counted");
	for (unsigned i = 0; i < w->n_dests; i++) {
		const struct dest *d = &w->dests[i];
		log_debug("%s: sent %llu, dropped %llu, %u waiting", d->name, (unsigned long long)d->sent,
		          (unsigned long long)d->dropped, d->queue.n + d->n_batch);
	}
	struct reports_counts c = reports_counts(w->reports);
	if (c.made)
		log_debug("reports: %u made, %u kept; rollbar: sent %llu, refused %llu, suppressed %u, lost %llu, %u waiting", c.made, c.kept,
		          (unsigned long long)c.sent, (unsigned long long)c.refused, c.suppressed, (unsigned long long)c.lost, c.waiting);
	if (w->cloudwatch)
		cloudwatch_report(w->cloudwatch);
	w->drops_told = drops_of(w);
}

void worker_report_drops(struct worker *w, uint64_t now)
{
	if (!log_wants(LOG_DEBUG) || now - w->drops_told_ns < SECOND)
		return;
	if (drops_of(w) == w->drops_told)
		return;
	w->drops_told_ns = now;
	worker_report(w, "spans are lost");
}
