/* The one function that libremora-export.so exports. */
#include "base/sys.h"
#include "exporters/log.h"
#include "exporters/worker.h"

__attribute__((visibility("default"))) int remora_export_main(const struct export_host *host);

/* Is another process of the tree alive that may go on producing? */
static bool is_last(const struct arena *a)
{
	int me = sys_getpid();
	for (unsigned i = 0; i < ARENA_PROCS; i++) {
		const struct arena_proc *p = &a->procs[i];
		if (atomic_load(&p->used) && p->pid != me && proc_alive(p->pid, p->start))
			return false;
	}
	return true;
}

static bool is_empty(const struct arena *a)
{
	for (uint32_t i = 0, n = arena_slots(a); i < n; i++) {
		uint32_t state = atomic_load_explicit(&arena_slot(a, i)->state, memory_order_relaxed);
		if (state == SLOT_OPEN || state == SLOT_HELD || state == SLOT_DONE || state == SLOT_TAKEN)
			return false;
	}
	return true;
}

static void log_start(const struct worker *w)
{
	for (unsigned i = 0; i < w->n_dests; i++) {
		const char *to = w->dests[i].kind == &xray_kind ? w->settings.xray.address : "stderr";
		for (unsigned k = 0; k < w->settings.n_otlp; k++)
			if (w->dests[i].kind == &otlp_kind && strcmp(w->settings.otlp[k].label, w->dests[i].name) == 0)
				to = w->settings.otlp[k].shown;
		log_debug("exporting from %s, process %d: %s to %s", w->host->program, sys_getpid(), w->dests[i].name, to);
	}
}

static bool lease_try(const struct export_host *host, bool *takeover)
{
	return host->lease_try ? host->lease_try(host->arena, takeover) : arena_lease_try(host->arena, takeover);
}

static void lease_release(const struct export_host *host)
{
	if (host->lease_release)
		host->lease_release(host->arena);
	else
		arena_lease_release(host->arena);
}

static enum export_end run(const struct export_host *host)
{
	struct arena *a = host->arena;
	bool takeover = false;
	for (;;) {
		bool again = takeover;
		if (!lease_try(host, &takeover))
			return EXPORT_NO_LEASE;
		takeover |= again;
		enum export_end end = EXPORT_UNFIT;
		struct worker *w = worker_new(host);
		if (w && (w->n_dests || w->errors || w->cloudwatch || reports_wanted(w->reports))) {
			log_start(w);
			end = worker_run(w, takeover);
		} else if (w) {
			log_debug("no destination: nothing is exported");
		}
		if (w)
			worker_delete(w);
		lease_release(host);
		if (end == EXPORT_STOPPED && atomic_load(host->request) == REQUEST_STOP && *host->dir && is_last(a) && is_empty(a))
			arena_unlink(a, host->dir);
		/* A record that was committed while we made up our mind saw a live exporter and woke nobody. */
		if (end != EXPORT_IDLE || !arena_pending(a))
			return end;
		takeover = false;
	}
}

int remora_export_main(const struct export_host *host)
{
	if (host->version != EXPORT_ABI)
		return EXPORT_UNFIT;
	log_init(host);
	host->run_enter();
	enum export_end end = run(host);
	host->run_leave();
	return end;
}
