#include "exporters/reports_priv.h"
#include "base/clock.h"
#include "exporters/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic bool told_store;

struct reports *reports_new(const struct export_host *host, const struct settings *s, struct http *h,
                            const struct reports_options *o)
{
	struct reports *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->host = host;
	r->settings = s;
	if (o)
		r->options = *o;
	host_facts_read(&r->facts);
	if (s->attr_length_limit != UINT32_MAX)
		r->events.most = s->attr_length_limit;
	r->events.uuid_key = s->rollbar.on ? "rollbar.uuid" : "remora.report";
	r->local = local_new(s->state_dir);
	bool ok = r->local;
	if (ok && s->rollbar.on) {
		local_open(r->local);
		r->rollbar = rollbar_new(s, h, r->local);
		r->timeline = timeline_new(host->recent);
		if (s->rollbar.failed_requests)
			r->failed = failed_new();
		ok = r->rollbar && r->timeline;
		if (strncmp(s->rollbar.shown, "https:", 6) == 0 && !http_load(h, NULL, true))
			log_warn("no certificate authorities found for %s: set SSL_CERT_FILE", s->rollbar.shown);
	}
	if (ok && s->crash && *host->dir)
		ok = (r->inbox = inbox_new(host->dir, host->arena->hash)) != NULL;
	if (ok)
		return r;
	reports_delete(r);
	return NULL;
}

void reports_delete(struct reports *r)
{
	if (!r)
		return;
	rollbar_delete(r->rollbar);
	for (int i = 0; i < PENDING; i++) {
		struct pending *p = &r->pending[i];
		if (*p->file)
			(p->safe ? inbox_done : inbox_back)(r->inbox, p->file);
	}
	inbox_delete(r->inbox);
	failed_delete(r->failed);
	timeline_delete(r->timeline);
	local_delete(r->local);
	span_events_free(&r->events);
	buf_free(&r->limits);
	free(r);
}

bool reports_wanted(const struct reports *r)
{
	return r && r->rollbar;
}

/* ---- a report ---- */

static const char *described(const struct report *r, const char *name)
{
	size_t n = strlen(name);
	for (const char *const *p = r->process; p && *p; p++)
		if (strncmp(*p, name, n) == 0 && (*p)[n] == '=' && (*p)[n + 1])
			return *p + n + 1;
	return NULL;
}

static const char *program_of(const struct report *r, char comm[17])
{
	const char *exe = described(r, "exe");
	if (exe)
		return exe;
	snprintf(comm, 17, "%.16s", r->head ? r->head->comm : "");
	if (!*comm && described(r, "comm"))
		snprintf(comm, 17, "%s", described(r, "comm"));
	return *comm ? comm : "unknown";
}

/* Whole where it still is in the arena, else what was kept when it was drained. */
static bool request_of(const struct reports *r, const struct report *rep, const struct span_copy **recent, unsigned n,
                       struct request_copy *out)
{
	const uint8_t *trace, *id = report_span(rep, &trace);
	if (!id)
		return false;
	if (tie_find(r->host->arena, id, out))
		return true;
	for (unsigned i = n; i > 0; i--)
		if (memcmp(recent[i - 1]->rec.span_id, id, 8) == 0 && recent[i - 1]->rec.kind < SPAN_DB) {
			request_copy_of(recent[i - 1], out);
			return true;
		}
	return false;
}

static void tried(void *ctx, const char *uuid, enum rollbar_end end)
{
	struct reports *r = ctx;
	(void)end;
	for (int i = 0; i < PENDING; i++) {
		struct pending *p = &r->pending[i];
		if (!*p->file || strcmp(p->uuid, uuid) != 0)
			continue;
		if (end != ITEM_WAITS || p->safe)
			reports_file_done(r, p->file);
		else
			continue; /* it is nowhere else yet */
		*p->file = 0;
	}
}

static bool send(struct reports *r, const struct report *rep, struct buf *item)
{
	struct pending *p = NULL;
	for (int i = 0; r->file && !r->nameless && i < PENDING && !p; i++)
		if (!*r->pending[i].file)
			p = &r->pending[i];
	if (p) {
		snprintf(p->file, sizeof p->file, "%s", r->file);
		snprintf(p->uuid, sizeof p->uuid, "%s", rep->uuid);
		p->safe = false;
	}
	bool safe = rollbar_add(r->rollbar, item, rep->time_ns, p ? tried : NULL, r);
	if (p)
		p->safe = safe;
	return p != NULL;
}

/* Crash loops; without a fingerprint the title is what they have in common. */
static bool admit(struct reports *r, const struct report *rep, uint32_t *suppressed)
{
	char key[41];
	*suppressed = 0;
	if (rep->source == REPORT_MESSAGE)
		return true;
	if (*rep->fingerprint) {
		snprintf(key, sizeof key, "%.40s", rep->fingerprint);
	} else {
		uint64_t h = 0xcbf29ce484222325u;
		for (const char *p = rep->title ? rep->title : ""; *p; p++)
			h = (h ^ (unsigned char)*p) * 0x100000001b3u;
		snprintf(key, sizeof key, "%016llx", (unsigned long long)h);
	}
	return local_admit(r->local, &r->limits, key, real_ns() / 1000000000u, suppressed);
}

bool reports_make(struct reports *r, const struct report *rep, const struct failed_request *known)
{
	const struct span_copy *recent[TIMELINE_SPANS];
	struct request_copy *request = malloc(sizeof *request);
	struct item_facts f = {.set = &r->settings->rollbar, .host = &r->facts, .recent = recent};
	struct buf item = {0};
	char comm[17], cwd[1024];
	const char *program = program_of(rep, comm);
	bool waits = false;
	r->counts.made++;
	f.n_recent = timeline_of(r->timeline, rep->pid ? rep->pid : rep->head ? rep->head->pid
	                                                                      : 0,
	                         recent, TIMELINE_SPANS);
	if (known)
		f.request = &known->request;
	else if (request && request_of(r, rep, recent, f.n_recent, request))
		f.request = request;
	bool wanted = r->rollbar && admit(r, rep, &f.suppressed);
	if (known)
		f.suppressed += known->suppressed;
	bool encoded = rollbar_encode(&item, rep, &f);
	tie_add(&r->events, rep, rep->cwd ? rep->cwd : tie_cwd(r->host->arena, rep, cwd, sizeof cwd));
	if (rep->source == REPORT_SIGNAL || rep->source == REPORT_STDERR) {
		if (r->settings->console)
			reports_show(r->host, rep, program);
		if (local_keep(r->local, rep, program, &item)) {
			r->counts.kept++;
			log_info("%s: %s; remora crashes show %.8s", program, rep->title ? rep->title : "crash", rep->uuid);
		} else if (!atomic_exchange(&told_store, true)) {
			log_warn("crash reports cannot be kept in %s: %s; set REMORA_STATE_DIR to a private directory",
			         *local_path(r->local) ? local_path(r->local) : "(no directory)", strerror(errno));
		}
	}
	r->counts.suppressed += r->rollbar && !wanted;
	if (r->rollbar && !wanted)
		log_debug("rollbar: %s: more than %d an hour; not sent", rep->title ? rep->title : "item", LIMIT_PER_HOUR);
	if (wanted && encoded)
		waits = send(r, rep, &item);
	else if (wanted)
		log_error("rollbar: no memory for an item");
	buf_free(&item);
	free(request);
	return waits;
}

void reports_take(struct reports *r, const struct report *rep)
{
	const uint8_t *trace, *span = report_span(rep, &trace);
	r->file = NULL;
	reports_make(r, rep, NULL);
	if (r->failed && span)
		failed_told(r->failed, span);
}

void reports_offer(struct reports *r, struct report *rep)
{
	if (r->failed)
		failed_offer(r->failed, rep, mono_ns());
	else
		report_free(rep);
}

/* ---- turns ---- */

void reports_saw(struct reports *r, const struct arena *a, uint32_t slot)
{
	if (r->timeline)
		timeline_add(r->timeline, a, slot);
	if (r->failed)
		failed_saw(r->failed, a, slot, mono_ns());
}

/* All of them when the process ends: there will be no more of their exceptions. */
static void turn_failed(struct reports *r, uint64_t now, bool flush)
{
	bool all = flush && atomic_load(r->host->request) == REQUEST_STOP;
	struct failed_request q;
	while (failed_take(r->failed, now, all, &q)) {
		reports_make(r, q.report, &q);
		report_free(q.report);
	}
}

void reports_begin(struct reports *r)
{
	if (r->inbox && !r->options.no_inbox)
		reports_scan(r, mono_ns());
	if (r->rollbar && !r->options.no_spool)
		rollbar_adopt(r->rollbar, r->options.any, &r->counts.foreign_items);
}

void reports_turn(struct reports *r, uint64_t now, bool flush)
{
	uint64_t due;
	if (r->settings->crash && !r->options.no_inbox)
		reports_fetch(r);
	if (r->inbox && !r->options.no_inbox && inbox_stirred(r->inbox, atomic_load(&r->host->arena->crashes), now, &due))
		reports_scan(r, now);
	if (r->failed)
		turn_failed(r, now, flush);
	if (r->rollbar)
		rollbar_pump(r->rollbar, now, flush);
}

uint64_t reports_due(struct reports *r, uint64_t now)
{
	uint64_t due = r->rollbar ? rollbar_due(r->rollbar) : 0, at = 0;
	if (r->inbox && !r->options.no_inbox && inbox_stirred(r->inbox, atomic_load(&r->host->arena->crashes), now, &at))
		return now;
	if (at && (!due || at < due))
		due = at;
	at = r->failed ? failed_due(r->failed) : 0;
	return at && (!due || at < due) ? at : due;
}

void reports_flush_begins(struct reports *r)
{
	if (r->rollbar)
		rollbar_flush_begins(r->rollbar);
}

bool reports_flushed(const struct reports *r, uint64_t now)
{
	return !r->rollbar || rollbar_flushed(r->rollbar, now);
}

bool reports_idle(const struct reports *r)
{
	return (!r->rollbar || rollbar_idle(r->rollbar)) && !(r->failed && failed_due(r->failed));
}

void reports_left(struct reports *r, const struct rec_view *v)
{
	tie_read(&r->events, v);
}

const struct span_events *reports_events(const struct reports *r)
{
	return &r->events;
}

struct reports_counts reports_counts(const struct reports *r)
{
	struct reports_counts c = r->counts;
	c.last = r->rollbar ? rollbar_last(r->rollbar) : "";
	if (r->rollbar) {
		struct rollbar_counts n = rollbar_counts(r->rollbar);
		c.waiting = rollbar_waiting(r->rollbar);
		c.sent = n.sent;
		c.refused = n.refused;
		c.lost = n.lost;
	}
	return c;
}
