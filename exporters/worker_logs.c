/* Records of text go to CloudWatch Logs; a record is held until it is released. */
#include "base/sys.h"
#include "exporters/log.h"
#include "exporters/worker.h"
#include <stdlib.h>

static void release(void *ctx, uint32_t source, uint32_t slot)
{
	struct worker *w = ctx;
	source_unref(&w->sources[source], slot);
}

static void delivered(void *ctx, uint32_t source, uint32_t slot, uint32_t bytes)
{
	struct worker *w = ctx;
	struct span_rec *r = arena_slot(w->sources[source].arena, slot);
	if (r->req_size < bytes)
		r->req_size = bytes;
}

bool worker_logs_new(struct worker *w)
{
	struct cloudwatch_owner owner = {release, delivered, w};
	if (!w->settings.cloudwatch.on)
		return true;
	w->cloudwatch = !w->credentials ? NULL : cloudwatch_new(&w->settings, w->http, w->credentials, worker_arena(w), w->sources[0].max, &owner);
	return w->cloudwatch != NULL;
}

void worker_text(struct worker *w, uint32_t source, uint32_t slot, uint64_t now)
{
	const struct arena *a = w->sources[source].arena;
	struct span_rec *r = arena_slot(a, slot);
	struct rec_view v;
	if (!w->text)
		w->text = malloc(REC_VAR_MAX);
	if (!w->text)
		return;
	if (!rec_view(a, slot, w->text, &v)) {
		arena_count(worker_arena(w), COUNT_DROP_BAD, 1);
		return;
	}
	/* One that an earlier exporter did not deliver as lines was looked at for errors all the same. */
	if (w->errors && r->status != 1)
		errors_take(w->errors, a, &v, now);
	r->status = 1;
	if (!w->cloudwatch)
		return;
	source_ref(&w->sources[source], slot);
	if (!cloudwatch_text(w->cloudwatch, a, source, slot, &v, now))
		source_unref(&w->sources[source], slot);
}

void worker_access(struct worker *w, const struct arena *a, uint32_t slot, uint64_t now)
{
	struct rec_view v;
	struct span_rec *r = arena_slot(a, slot);
	if (!w->cloudwatch || !cloudwatch_wants_spans(w->cloudwatch) || r->kind != SPAN_SERVER || r->hold_until_ns)
		return;
	r->hold_until_ns = 1; /* another exporter, to whom it is left, does not tell it again */
	if (!w->text)
		w->text = malloc(REC_VAR_MAX);
	if (w->text && rec_view(a, slot, w->text, &v))
		cloudwatch_span(w->cloudwatch, a, &v, resource_of(w->resources, a, &v)->service_name, now);
}

void worker_logs_turn(struct worker *w, uint64_t now)
{
	if (!w->cloudwatch)
		return;
	if (w->flushing && atomic_load(w->host->request) == REQUEST_STOP)
		cloudwatch_stop(w->cloudwatch, sys_getpid());
	cloudwatch_turn(w->cloudwatch, now, w->flushing);
}
