/* Crash files: whose they are, what their process did, and what is told to whoever waits for them. */
#include "base/sys.h"
#include "exporters/log.h"
#include "exporters/reports_priv.h"
#include <stdlib.h>

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
 * In the arena of the crashed process; not ours when we are its helper, or the start after. What it holds, the request
 * too, is taken before it is told: then its handler lets the spans go. NULL: no request was open, or no memory.
 */
static struct failed_request *look_around(struct reports *r, const struct report *rep, const void *bytes, size_t n)
{
	const struct crash_head *h = rep->head;
	struct arena *own = r->host->arena, *a = own;
	struct failed_request *q = calloc(1, sizeof *q);
	if (!arena_has_process(own, h->pid, h->start))
		a = arena_of_process(r->host->dir, h->pid, h->start, h->config_hash);
	if (r->timeline)
		tie_timeline(r->timeline, a ? a : own, h->pid, bytes, n);
	if (q && !(a && tie_request(a, rep, &q->request))) {
		free(q);
		q = NULL;
	}
	if (r->options.foreign && a && a != own)
		tie_leave(a, rep);
	if (a && a != own)
		arena_unmap(a);
	return q;
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
	struct failed_request *q = rep->head ? look_around(r, rep, bytes, n) : NULL;
	r->file = name;
	bool waits = reports_make(r, rep, q);
	r->file = NULL;
	free(q);
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
