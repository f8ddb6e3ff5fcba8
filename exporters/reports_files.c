/* Crash files: whose they are, what their process did, and what is told to whoever waits for them. */
#include "base/sys.h"
#include "exporters/errors/errors.h"
#include "exporters/log.h"
#include "exporters/reports_priv.h"
#include <stdlib.h>
#include <string.h>

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

void reports_file_done(struct reports *r, const char *name)
{
	inbox_done(r->inbox, name);
	told(r);
}

/*
 * The arena of the crashed process; not ours when we are its helper, or the start after. First of all: what waits there
 * its own exporter takes away meanwhile. NULL: it is gone.
 */
static struct arena *look_around(struct reports *r, const void *bytes, size_t n)
{
	struct crash_head h;
	struct arena *a = r->host->arena;
	if (n < sizeof h)
		return NULL;
	memcpy(&h, bytes, sizeof h);
	if (h.magic == CRASH_MAGIC && !arena_has_process(a, h.pid, h.start))
		a = arena_of_process(r->host->dir, h.pid, h.start, h.config_hash);
	if (r->timeline)
		tie_timeline(r->timeline, a ? a : r->host->arena, h.pid, bytes, n);
	return a;
}

/* The open request, before the handler is told, which then lets the spans go. NULL: there is none, or no memory. */
static struct failed_request *take_request(struct reports *r, struct arena *a, const struct report *rep)
{
	struct failed_request *q = rep->head && a ? calloc(1, sizeof *q) : NULL;
	if (q && !tie_request(a, rep, &q->request)) {
		free(q);
		q = NULL;
	}
	if (r->options.foreign && rep->head && a && a != r->host->arena)
		tie_leave(a, rep);
	return q;
}

/* True: it waits for its item's first try. */
static bool make_report(struct reports *r, const char *name, const void *bytes, size_t n)
{
	const char *why = NULL;
	bool waits = false;
	struct arena *a = look_around(r, bytes, n);
	struct report *rep =
		crash_report_make_with(bytes, n, &(struct crash_report_opts){.source = r->settings->crash_source}, &why);
	if (rep) {
		errors_last_words(rep);
		if (r->on_crash)
			r->on_crash(r->on_crash_ctx, rep);
		struct failed_request *q = take_request(r, a, rep);
		r->file = name;
		waits = reports_make(r, rep, q);
		r->file = NULL;
		free(q);
		report_free(rep);
	} else {
		log_warn("crash file %s cannot be read: %s; removed", name, why);
	}
	if (a && a != r->host->arena)
		arena_unmap(a);
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
		reports_file_done(r, f->name);
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

/* Another process offers it, or our own, whose memory we do not read as it crashes. */
void reports_fetch(struct reports *r)
{
	struct arena *a = r->host->arena;
	struct inbox_file f;
	uint64_t offer = atomic_load(&a->crash_fd);
	if (offer <= CRASH_FD_REFUSED)
		return;
	bool got = inbox_fetch(offer, &f);
	bool in_time = atomic_compare_exchange_strong(&a->crash_fd, &offer, got ? 0 : CRASH_FD_REFUSED);
	told(r);
	if (got && in_time)
		reports_take_bytes(r, f.name, f.bytes, f.n);
	if (got)
		free(f.bytes);
}

void reports_scan(struct reports *r, uint64_t now)
{
	struct inbox_file files[INBOX_AT_A_TIME];
	uint32_t word = atomic_load(&r->host->arena->crashes);
	unsigned n = inbox_scan(r->inbox, word, now, r->options.any, files, &r->counts.foreign_files);
	if (n)
		told(r);
	for (unsigned i = 0; i < n; i++)
		file_taken(r, &files[i]);
}
