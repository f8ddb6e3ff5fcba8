#include "exporters/reports_5xx.h"
#include "exporters/reports_tie.h"
#include "base/clock.h"
#include "base/sys.h"
#include "exporters/console_tree.h"
#include "exporters/crash_inbox.h"
#include "exporters/log.h"
#include "exporters/rollbar/rollbar.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENDING 32
#define CONSOLE_FRAMES 8

struct pending { /* a crash file whose item is yet to be tried */
	char file[INBOX_NAME], uuid[37];
	bool safe; /* its item is in the spool */
};

struct reports {
	const struct export_host *host;
	const struct settings *settings;
	struct reports_options options;
	struct host_facts facts;
	struct local *local;
	struct rollbar *rollbar; /* NULL: no token */
	struct timeline *timeline;
	struct failed *failed; /* NULL: 5xx answers are no reports */
	struct inbox *inbox;   /* NULL: crash files are not looked for */
	struct buf limits;     /* when there is no place for the file */
	struct span_events events;
	const struct arena *arena; /* of the process that the report under way is of */
	struct pending pending[PENDING];
	const char *file; /* of the report under way, or NULL */
	bool nameless;    /* it has no name that could be removed */
	void (*on_crash)(void *ctx, struct report *);
	void *on_crash_ctx;
	struct reports_counts counts;
};

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
	r->arena = host->arena;
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

/* The request: its slot, as long as it is still that one, else what was drained of it. */
static bool request_of(const struct reports *r, const struct report *rep, const struct span_copy **recent, unsigned n,
                       struct span_copy *out)
{
	const uint8_t *trace, *id = report_span(rep, &trace);
	if (!id)
		return false;
	if (rep->head && span_copy_take(r->arena, rep->head->slot, out) && memcmp(out->rec.span_id, id, 8) == 0 &&
	    out->rec.kind < SPAN_TEXT)
		return true;
	for (unsigned i = n; i > 0; i--)
		if (memcmp(recent[i - 1]->rec.span_id, id, 8) == 0 && recent[i - 1]->rec.kind < SPAN_TEXT) {
			*out = *recent[i - 1];
			return true;
		}
	return !rep->head && tie_find(r->arena, id, out);
}

static void show(const struct reports *r, const struct report *rep, const char *program)
{
	struct buf b = {0};
	const struct report_exception *e = rep->n_exceptions ? &rep->exceptions[0] : NULL;
	char line[600];
	const char *title = rep->title ? rep->title : "crash";
	console_escape(&b, (struct slice){program, (uint32_t)strlen(program)}, 200);
	buf_add(&b, ": ", 2);
	console_escape(&b, (struct slice){title, (uint32_t)strlen(title)}, 400);
	buf_add(&b, "\n", 1);
	for (size_t i = 0; e && i < e->n && i < CONSOLE_FRAMES; i++) {
		const struct report_frame *f = &e->frames[i];
		const char *name = f->signal ? "<signal handler called>" : f->function ? f->function
		                                                                       : "??";
		int n;
		if (f->file)
			n = snprintf(line, sizeof line, "#%zu %s at %s:%u", i, name, f->file, f->line);
		else
			n = snprintf(line, sizeof line, "#%zu %s from %s+0x%llx", i, name, f->module ? f->module : "?",
			             (unsigned long long)f->offset);
		buf_add(&b, "    ", 4);
		console_escape(&b, (struct slice){line, (uint32_t)(n < (int)sizeof line ? n : (int)sizeof line - 1)}, 400);
		buf_add(&b, "\n", 1);
	}
	if (!b.failed && b.n < 4096)
		r->host->stderr_write(b.p, b.n);
	buf_free(&b);
}

static void file_done(struct reports *r, const char *name);

static void tried(void *ctx, const char *uuid, enum rollbar_end end)
{
	struct reports *r = ctx;
	(void)end;
	for (int i = 0; i < PENDING; i++) {
		struct pending *p = &r->pending[i];
		if (!*p->file || strcmp(p->uuid, uuid) != 0)
			continue;
		if (end != ITEM_WAITS || p->safe)
			file_done(r, p->file);
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

/* `known`: the request, if it is at hand. True: the crash file is needed until the item was tried. */
static bool take(struct reports *r, const struct report *rep, const struct failed_request *known)
{
	const struct span_copy *recent[TIMELINE_SPANS];
	struct span_copy *request = malloc(sizeof *request);
	struct item_facts f = {.set = &r->settings->rollbar, .host = &r->facts, .recent = recent};
	struct buf item = {0};
	char comm[17];
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
	tie_add(&r->events, rep);
	if (rep->source == REPORT_SIGNAL || rep->source == REPORT_STDERR) {
		if (r->settings->console)
			show(r, rep, program);
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
	take(r, rep, NULL);
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

/* ---- crash files ---- */

void reports_on_crash(struct reports *r, void (*f)(void *ctx, struct report *), void *ctx)
{
	r->on_crash = f;
	r->on_crash_ctx = ctx;
}

/* A handler may wait for the file's new name, and for its end. */
static void told(struct reports *r)
{
	atomic_fetch_add(&r->host->arena->crashes_done, 1);
	sys_futex_wake(&r->host->arena->crashes_done, INT32_MAX);
}

static void file_done(struct reports *r, const char *name)
{
	inbox_done(r->inbox, name);
	told(r);
}

/* The arena of the crashed process; not ours when we are its helper, or the start after. What it holds, and is told. */
static void look_around(struct reports *r, const struct report *rep, const void *bytes, size_t n)
{
	const struct crash_head *h = rep->head;
	struct arena *own = r->host->arena, *a = own;
	if (!arena_has_process(own, h->pid, h->start))
		a = arena_of_process(r->host->dir, h->pid, h->start, h->config_hash);
	r->arena = a ? a : own;
	if (r->timeline)
		tie_timeline(r->timeline, r->arena, h->pid, bytes, n);
	if (r->options.foreign && a && a != own)
		tie_leave(a, rep);
}

/* True: it waits for its item's first try. */
static bool make_report(struct reports *r, const char *name, const void *bytes, size_t n)
{
	const char *why = NULL;
	struct report *rep =
		crash_report_make_with(bytes, n, &(struct crash_report_opts){.source = r->settings->crash_source}, &why);
	if (!rep) {
		log_warn("crash file %s cannot be read: %s; removed", name, why);
		return false;
	}
	if (r->on_crash)
		r->on_crash(r->on_crash_ctx, rep);
	if (rep->head)
		look_around(r, rep, bytes, n);
	r->file = name;
	bool waits = take(r, rep, NULL);
	r->file = NULL;
	if (r->arena != r->host->arena)
		arena_unmap((struct arena *)(uintptr_t)r->arena);
	r->arena = r->host->arena;
	report_free(rep);
	return waits;
}

static void file_taken(struct reports *r, struct inbox_file *f)
{
	bool waits = false;
	if (inbox_read(r->inbox, f))
		waits = make_report(r, f->name, f->bytes, f->n);
	else
		log_warn("crash file %s/%s cannot be read; removed", r->host->dir, f->name);
	free(f->bytes);
	if (!waits)
		file_done(r, f->name);
}

bool reports_take_file(struct reports *r, const char *name)
{
	struct inbox_file f;
	if (!r->inbox || !inbox_claim(r->inbox, name, &f))
		return false;
	file_taken(r, &f);
	return true;
}

bool reports_take_bytes(struct reports *r, const char *name, const void *bytes, size_t n)
{
	unsigned before = r->counts.made;
	r->nameless = true;
	make_report(r, name, bytes, n);
	r->nameless = false;
	return r->counts.made != before;
}

static void scan(struct reports *r, uint64_t now)
{
	struct inbox_file files[INBOX_AT_A_TIME];
	uint32_t word = atomic_load(&r->host->arena->crashes);
	unsigned n = inbox_scan(r->inbox, word, now, r->options.any, files, &r->counts.foreign_files);
	if (n)
		told(r);
	for (unsigned i = 0; i < n; i++)
		file_taken(r, &files[i]);
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
		take(r, q.report, &q);
		report_free(q.report);
	}
}

void reports_begin(struct reports *r)
{
	if (r->inbox && !r->options.no_inbox)
		scan(r, mono_ns());
	if (r->rollbar && !r->options.no_spool)
		rollbar_adopt(r->rollbar, r->options.any, &r->counts.foreign_items);
}

void reports_turn(struct reports *r, uint64_t now, bool flush)
{
	uint64_t due;
	if (r->inbox && !r->options.no_inbox && inbox_stirred(r->inbox, atomic_load(&r->host->arena->crashes), now, &due))
		scan(r, now);
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
