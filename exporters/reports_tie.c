#include "exporters/reports_tie.h"
#include "base/sys.h"
#include "exporters/crash/crash_file.h"
#include <stdlib.h>
#include <string.h>

#define LEFT_TEXT (24 * 1024) /* of a stack trace: of a small arena's slots not too many */
#define LEFT_MOST (LEFT_TEXT + 8192)

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
	       out->copy.rec.kind < SPAN_TEXT;
}

bool tie_find(const struct arena *a, const uint8_t span_id[8], struct request_copy *out)
{
	uint32_t n = atomic_load(&a->fresh), slots = arena_slots(a);
	for (uint32_t i = 0; i < n && i < slots; i++)
		if (memcmp(arena_slot(a, i)->span_id, span_id, 8) == 0 && request_copy_take(a, i, out) && out->copy.rec.kind < SPAN_TEXT &&
		    memcmp(out->copy.rec.span_id, span_id, 8) == 0)
			return true;
	return false;
}

/* A vfork child crashed in its parent's memory: what is open there goes on. */
static bool ends_process(const struct report *rep)
{
	return rep->head && !(rep->head->flags & CRASH_IN_VFORK_CHILD);
}

void tie_add(struct span_events *events, const struct report *rep)
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
	const struct report_exception *first = &rep->exceptions[0];
	struct span_event *event = span_events_add(events, &x);
	for (size_t i = 0; event && i < first->n; i++)
		span_event_frame(event, first->frames[i].signal ? "<signal handler called>" : first->frames[i].function,
		                 first->frames[i].file ? first->frames[i].file : first->frames[i].module, first->frames[i].line);
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
		arena_commit(a, r);
	}
	atomic_fetch_add(&a->crashes_done, 1);
	sys_futex_wake(&a->crashes_done, INT32_MAX);
}

void tie_read(struct span_events *events, const struct rec_view *v)
{
	struct slice s = v->str[REC_TEXT];
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
	if (x.span_id || x.instance)
		span_events_add(events, &x);
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
