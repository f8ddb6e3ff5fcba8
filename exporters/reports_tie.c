#include "exporters/reports_tie.h"
#include "base/sys.h"
#include "exporters/crash/crash_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEFT_TEXT (24 * 1024) /* of a stack trace: of a small arena's slots not too many */
#define LEFT_FRAMES (12 * 1024)
#define LEFT_MOST (LEFT_TEXT + LEFT_FRAMES + 8192)

static bool has_id(const uint8_t id[8])
{
	static const uint8_t zero[8];
	return memcmp(id, zero, 8) != 0;
}

const uint8_t *report_span(const struct report *rep, const uint8_t **trace)
{
	*trace = rep->trace_id;
	if (has_id(rep->span_id))
		return rep->span_id;
	if (!rep->head || !has_id(rep->head->span_id))
		return NULL;
	*trace = rep->head->trace_id;
	return rep->head->span_id;
}

bool tie_request(const struct arena *a, const struct report *rep, struct request_copy *out)
{
	const uint8_t *trace, *id = report_span(rep, &trace);
	return id && rep->head && request_copy_take(a, rep->head->slot, out) && memcmp(out->copy.rec.span_id, id, 8) == 0 &&
	       out->copy.rec.kind < SPAN_DB;
}

bool tie_find(const struct arena *a, const uint8_t span_id[8], struct request_copy *out)
{
	uint32_t n = atomic_load(&a->fresh), slots = arena_slots(a);
	for (uint32_t i = 0; i < n && i < slots; i++)
		if (memcmp(arena_slot(a, i)->span_id, span_id, 8) == 0 && request_copy_take(a, i, out) && out->copy.rec.kind < SPAN_DB &&
		    memcmp(out->copy.rec.span_id, span_id, 8) == 0)
			return true;
	return false;
}

/* A vfork child crashed in its parent's memory: what is open there goes on. */
static bool ends_process(const struct report *rep)
{
	return rep->head && !(rep->head->flags & CRASH_IN_VFORK_CHILD);
}

const char *tie_cwd(const struct arena *a, const struct report *rep, char *out, size_t cap)
{
	char path[32];
	for (int i = 0; rep->pid && i < ARENA_PROCS; i++) {
		const struct arena_proc *p = &a->procs[i];
		if (p->pid != rep->pid || !proc_alive(rep->pid, p->start))
			continue;
		snprintf(path, sizeof path, "/proc/%d/cwd", rep->pid);
		ssize_t n = readlink(path, out, cap - 1);
		if (n <= 0 || !proc_alive(rep->pid, p->start))
			return NULL;
		out[n] = 0;
		return out;
	}
	return NULL;
}

static void add_frames(struct span_raised *to, const struct report_exception *from)
{
	for (size_t i = 0; i < from->n; i++) {
		const struct report_frame *f = &from->frames[i];
		span_event_frame(to, f->signal ? "<signal handler called>" : f->function, f->file ? f->file : f->module, f->line);
	}
}

void tie_add(struct span_events *events, const struct report *rep, const char *cwd)
{
	struct span_exception x = {
		.instance = ends_process(rep) ? rep->head->instance : NULL,
		.time_ns = rep->time_ns,
		.uuid = rep->uuid,
		.stacktrace = rep->text,
		.handled = rep->handled,
	};
	x.span_id = report_span(rep, &x.trace_id);
	if (!rep->n_exceptions || !(x.span_id || x.instance))
		return;
	x.type = rep->exceptions[0].type;
	x.message = rep->exceptions[0].message;
	struct span_event *event = span_events_add(events, &x);
	if (!event)
		return;
	struct span_raised *raised = event->raised;
	for (size_t i = 0; raised;) {
		add_frames(raised, &rep->exceptions[i]);
		if (++i == rep->n_exceptions)
			break;
		raised = span_event_raised(events, event, rep->exceptions[i].type, rep->exceptions[i].message);
	}
	span_event_cwd(event, rep->cwd ? rep->cwd : cwd);
	for (size_t i = 0; i < rep->n_modules; i++)
		span_event_path(event, rep->modules[i].path);
}

/* ---- through the arena ---- */

static uint16_t entry_of(const struct arena *a, const struct crash_head *h)
{
	for (uint16_t i = 0; i < ARENA_PROCS; i++)
		if (a->procs[i].pid == h->pid && a->procs[i].start == h->start &&
		    memcmp(a->procs[i].instance, h->instance, sizeof h->instance) == 0)
			return i;
	return ARENA_PROCS;
}

static void append(struct arena *a, struct span_rec *r, const char *s, size_t most)
{
	size_t n = s ? strnlen(s, most) : 0;
	rec_append(a, r, (struct slice){s, (uint32_t)n});
	rec_append(a, r, (struct slice){"", 1});
}

/* Frames, causes and places, as span_event_pack writes them. */
static void append_frames(struct arena *a, struct span_rec *r, const struct report *rep)
{
	struct span_events *one = calloc(1, sizeof *one);
	struct buf b = {0};
	if (!one)
		return;
	tie_add(one, rep, NULL);
	if (one->n)
		span_event_pack(&b, &one->e[0], LEFT_FRAMES);
	if (!b.failed)
		rec_append(a, r, (struct slice){b.p, (uint32_t)b.n});
	buf_free(&b);
	span_events_free(one);
	free(one);
}

void tie_leave(struct arena *a, const struct report *rep)
{
	const uint8_t *trace, *span = report_span(rep, &trace);
	struct span_rec *r = rep->n_exceptions && ends_process(rep) ? arena_open(a, rep->head->pid) : NULL;
	if (r) {
		r->kind = SPAN_EXCEPTION;
		r->proc = entry_of(a, rep->head);
		r->tid = rep->head->tid;
		r->start_ns = r->end_ns = rep->time_ns;
		if (span) {
			memcpy(r->trace_id, trace, 16);
			memcpy(r->span_id, span, 8);
		}
		append(a, r, rep->uuid, 36);
		append(a, r, rep->exceptions[0].type, 256);
		append(a, r, rep->exceptions[0].message, 4096);
		append(a, r, rep->text, LEFT_TEXT);
		append_frames(a, r, rep);
		arena_commit(a, r);
	}
	atomic_fetch_add(&a->crashes_done, 1);
	sys_futex_wake(&a->crashes_done, INT32_MAX);
}

void tie_read(struct span_events *events, const struct rec_view *v)
{
	struct slice s = rec_str(v, REC_TEXT);
	size_t n = s.n < LEFT_MOST ? s.n : LEFT_MOST;
	char *own = malloc(n + 1), *field[4], *p = own;
	uint8_t trace[16], span[8], instance[16];
	if (!own)
		return;
	if (n)
		memcpy(own, s.p, n);
	own[n] = 0;
	for (int i = 0; i < 4; i++) {
		field[i] = p;
		p += strlen(p);
		p += p < own + n;
	}
	memcpy(trace, v->rec->trace_id, sizeof trace);
	memcpy(span, v->rec->span_id, sizeof span);
	if (v->proc)
		memcpy(instance, v->proc->instance, sizeof instance);
	struct span_exception x = {
		.trace_id = trace,
		.span_id = has_id(span) ? span : NULL,
		.instance = v->proc ? instance : NULL,
		.time_ns = v->rec->start_ns,
		.uuid = field[0],
		.type = field[1],
		.message = field[2],
		.stacktrace = field[3],
	};
	struct span_event *event = x.span_id || x.instance ? span_events_add(events, &x) : NULL;
	if (event)
		span_event_unpack(events, event, p, (size_t)(own + n - p));
	free(own);
}

/* ---- before the crash ---- */

void tie_timeline(struct timeline *t, const struct arena *a, int32_t pid, const void *bytes, size_t n)
{
	struct crash_file *f = malloc(sizeof *f);
	size_t at = 0;
	const struct crash_part *part = f && !crash_file_open(f, bytes, n) ? crash_file_next(f, CRASH_SEC_RECENT, 0, &at) : NULL;
	if (part)
		timeline_load(t, pid, part->p, part->n);
	timeline_add_waiting(t, a, pid);
	at = 0;
	if (f && f->head.magic && (part = crash_file_next(f, CRASH_SEC_WORDS, 0, &at)))
		timeline_add_words(t, pid, part->p, part->n);
	free(f);
}
