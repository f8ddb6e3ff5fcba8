/* What a crash file says of the process' last records, and what a record says of a crash: any bytes. */
#include "exporters/reports_tie.h"
#include "fuzz.h"

#define PID 7

static void ring(const char *p, size_t n)
{
	const struct span_copy *got[TIMELINE_SPANS];
	struct timeline *t = timeline_new(NULL);
	HOLDS(t);
	timeline_load(t, PID, p, n);
	timeline_load(t, PID, p, n);
	unsigned k = timeline_of(t, PID, got, TIMELINE_SPANS);
	HOLDS(k <= TIMELINE_SPANS);
	for (unsigned i = 0; i < k; i++) {
		HOLDS(got[i]->rec.pid == PID);
		for (int tag = 1; tag < REC_TAG_MAX; tag++) {
			struct slice s = span_copy_str(got[i], (enum rec_tag)tag);
			HOLDS(!s.n || (s.p >= got[i]->bytes && s.p + s.n <= got[i]->bytes + SLOT_SIZE));
		}
		span_copy_text(got[i]);
	}
	timeline_delete(t);
}

static void left(const char *p, size_t n)
{
	struct span_rec rec = {.kind = SPAN_EXCEPTION, .span_id = {1}};
	struct rec_view v = {.rec = &rec};
	struct span_events e = {0};
	rec_set(&v, REC_TEXT, (struct slice){p, (uint32_t)n});
	tie_read(&e, &v);
	HOLDS(e.n == 1 && e.e[0].stacktrace && e.e[0].n_raised >= 1 && e.e[0].n_raised <= SPAN_RAISED_MOST);
	for (uint32_t i = 0; i < e.e[0].n_raised; i++) {
		const struct span_raised *r = &e.e[0].raised[i];
		HOLDS(r->type && r->message && r->n_frames <= SPAN_FRAMES_MOST && (!r->n_frames || r->frames));
	}
	HOLDS(e.e[0].n_paths <= SPAN_PATHS_MOST && (!e.e[0].cwd || *e.e[0].cwd == '/'));
	span_events_free(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 << 16)
		return 0;
	char *in = exact(data, size);
	ring(in, size);
	left(in, size);
	free(in);
	return 0;
}
