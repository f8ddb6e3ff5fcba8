/* Records of text go to exporters/errors, what it finds to the reports. */
#include "base/sys.h"
#include "exporters/log.h"
#include "exporters/worker.h"
#include <strings.h>

static void sink(void *ctx, struct report *r)
{
	struct worker *w = ctx;
	errors_log(r);
	if (r->handled && !w->errors_logged) {
		reports_offer(w->reports, r);
		return;
	}
	reports_take(w->reports, r);
	report_free(r);
}

static void join(void *ctx, struct report *crash)
{
	struct worker *w = ctx;
	errors_join(w->errors, crash);
}

static bool is_on(const char *s)
{
	return s && (strcasecmp(s, "1") == 0 || strcasecmp(s, "true") == 0 || strcasecmp(s, "yes") == 0 || strcasecmp(s, "on") == 0);
}

/* As shim/config.c decides whether there is text. */
void worker_errors_new(struct worker *w)
{
	const char *set = settings_get(w->host, "REMORA_ERRORS");
	bool on = set ? is_on(set) : settings_get(w->host, "ROLLBAR_ACCESS_TOKEN") || settings_get(w->host, "ROLLBAR_ACCESS_TOKEN_FILE");
	if (!on)
		return;
	w->errors_logged = is_on(settings_get(w->host, "REMORA_ERRORS_LOGGED"));
	w->errors = errors_new(w->errors_logged || w->settings.rollbar.failed_requests, w->settings.crash, sink, w);
	if (w->errors)
		reports_on_crash(w->reports, join, w);
}

void worker_errors_said(struct worker *w, const struct arena *a, uint32_t slot, uint64_t now)
{
	const struct span_rec *r = arena_slot(a, slot);
	if (w->errors)
		errors_said(w->errors, r->pid, r->tid, r->start_ns, now);
}

void worker_errors_turn(struct worker *w, uint64_t now)
{
	if (!w->errors)
		return;
	/* Asked to stop: this process ends, and what it said last is all there is. */
	if (w->flushing && atomic_load(w->host->request) == REQUEST_STOP)
		errors_stop(w->errors, sys_getpid());
	errors_tick(w->errors, now);
}
