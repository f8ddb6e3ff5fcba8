/* Chains of exceptions: what is kept of one, and how it reaches another process. */
#include "exporters/buf.h"
#include "exporters/span_events.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct span_events from, to;

static struct span_event *event(struct span_events *s)
{
	static const uint8_t trace[16] = {1}, span[8] = {2};
	struct span_exception x = {.trace_id = trace, .span_id = span, .type = "E0", .message = "m0", .stacktrace = "text"};
	return span_events_add(s, &x);
}

static void fill(struct span_event *e, int exceptions, int frames)
{
	char name[16];
	for (int i = 0; i < exceptions; i++) {
		snprintf(name, sizeof name, "E%d", i);
		struct span_raised *r = i ? span_event_raised(&from, e, name, i == 1 ? NULL : "why\nso") : e->raised;
		for (int k = 0; k < frames; k++)
			span_event_frame(r, k == 1 ? NULL : "label", k == 2 ? NULL : "/p.py", k == 3 ? 0 : (uint32_t)(10 + k));
	}
	span_event_cwd(e, "/srv/app");
	span_event_path(e, "/lib/a.so");
	span_event_path(e, "/lib/b.so");
}

static void same(const char *a, const char *b)
{
	EQ_STR(a ? a : "(null)", b ? b : "(null)");
}

static void equal(const struct span_event *a, const struct span_event *b)
{
	EQ_INT((int)a->n_raised, (int)b->n_raised);
	for (uint32_t i = 0; i < a->n_raised; i++) {
		const struct span_raised *x = &a->raised[i], *y = &b->raised[i];
		unit_case("exception %u", i);
		same(x->type, y->type);
		same(x->message, y->message);
		EQ_INT((int)x->skipped, (int)y->skipped);
		EQ_INT((int)x->frames_left, (int)y->frames_left);
		EQ_INT((int)x->n_frames, (int)y->n_frames);
		for (uint32_t k = 0; k < x->n_frames; k++) {
			same(x->frames[k].label, y->frames[k].label);
			same(x->frames[k].path, y->frames[k].path);
			EQ_INT((int)x->frames[k].line, (int)y->frames[k].line);
		}
	}
	same(a->cwd, b->cwd);
	EQ_INT((int)a->n_paths, (int)b->n_paths);
	for (uint32_t i = 0; i < a->n_paths; i++)
		same(a->paths[i], b->paths[i]);
}

static void done(void)
{
	span_events_free(&from);
	span_events_free(&to);
}

TEST(there_and_back)
{
	struct span_event *a = event(&from), *b = event(&to);
	struct buf bytes = {0};
	fill(a, 4, 6);
	span_event_pack(&bytes, a, 12 * 1024);
	span_event_unpack(&to, b, bytes.p, bytes.n);
	equal(a, b);
	buf_free(&bytes);
	done();
}

/* Nine, and what it all came from; fifty frames of each. */
TEST(too_many)
{
	struct span_event *a = event(&from), *b = event(&to);
	struct buf bytes = {0};
	fill(a, 15, 60);
	EQ_INT((int)a->n_raised, SPAN_RAISED_MOST);
	EQ_STR(a->raised[SPAN_RAISED_MOST - 1].type, "E14");
	EQ_INT((int)a->raised[SPAN_RAISED_MOST - 1].skipped, 5);
	EQ_INT((int)a->raised[0].n_frames, SPAN_FRAMES_MOST);
	EQ_INT((int)a->raised[0].frames_left, 60 - SPAN_FRAMES_MOST);
	span_event_pack(&bytes, a, 64 * 1024);
	span_event_unpack(&to, b, bytes.p, bytes.n);
	EQ_INT((int)b->raised[SPAN_RAISED_MOST - 1].skipped, 5);
	for (uint32_t i = 0; i < b->n_raised; i++)
		EQ_INT((int)(b->raised[i].n_frames + b->raised[i].frames_left), 60);
	buf_free(&bytes);
	done();
}

/* Where there is little room the innermost frames go along, and the number of the others. */
TEST(little_room)
{
	for (size_t most = 16; most < 3000; most++) {
		struct span_event *a = event(&from), *b = event(&to);
		struct buf bytes = {0};
		fill(a, 3, 40);
		span_event_pack(&bytes, a, most);
		OK(bytes.n <= most);
		span_event_unpack(&to, b, bytes.p, bytes.n);
		if (most > 100)
			EQ_INT((int)(b->raised[0].n_frames + b->raised[0].frames_left), 40);
		buf_free(&bytes);
		done();
	}
}

/* Bytes from anybody: cut anywhere, and of any value. */
TEST(hostile_bytes)
{
	struct span_event *a = event(&from);
	struct buf bytes = {0};
	fill(a, 4, 6);
	span_event_pack(&bytes, a, 12 * 1024);
	for (size_t n = 0; n <= bytes.n; n++)
		for (int kind = 0; kind < 2; kind++) {
			char *copy = malloc(n + 1);
			memcpy(copy, bytes.p, n);
			copy[n] = 0;
			for (size_t i = n % 7; kind && i < n; i += 3)
				copy[i] = "xmsfpntclxx\0\xff"[(n + i) % 13];
			span_event_unpack(&to, event(&to), copy, n);
			OK(to.e[0].n_raised >= 1 && to.e[0].n_raised <= SPAN_RAISED_MOST);
			free(copy);
			span_events_free(&to);
		}
	buf_free(&bytes);
	done();
}

/* A process that crashed ends whatever it was about: a request, a call, a query. A failed connect is over before. */
TEST(what_ends_with_its_process)
{
	static const uint8_t instance[16] = {7};
	struct span_exception x = {.instance = instance, .type = "SIGSEGV", .message = "m", .stacktrace = "text"};
	struct span_rec rec = {.error = ERR_CRASHED, .span_id = {9}, .trace_id = {9}};
	struct arena_proc proc = {0};
	struct rec_view v = {.rec = &rec, .proc = &proc};
	memcpy(proc.instance, instance, sizeof instance);
	OK(span_events_add(&from, &x));
	for (uint8_t kind = 0; kind <= SPAN_KINDS; kind++) {
		unit_case("kind %u", kind);
		rec.kind = kind;
		OK((span_events_look(&from, &v) != NULL) == (kind == SPAN_SERVER || kind == SPAN_CLIENT || kind == SPAN_DB));
	}
	rec.kind = SPAN_DB;
	rec.error = ERR_PEER_CLOSED;
	OK(!span_events_look(&from, &v));
	done();
}
