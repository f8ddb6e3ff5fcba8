/* Requests that failed: which are one kind, how many are told, and what becomes of their exceptions. */
#include "exporters/local/local.h"
#include "exporters/reports_5xx.h"
#include "proto/http1.h"
#include "unit.h"

#define SECOND UINT64_C(1000000000)

TEST(paths)
{
	static const char *const rows[][2] = {
		{"/", "/"},
		{"/api/v1/users/17", "/api/v1/users/:id"},
		{"/u/6f1d7a52-3b0e-4c1d-9a55-0123456789ab/x", "/u/:id/x"},
		{"/o/deadbeef", "/o/deadbeef"},
		{"/o/deadbee5", "/o/:id"},
		{"/api/activities/@worf", "/api/activities/:id"},
		{"/m/a@b.c", "/m/:id"},
		{"//", "//"},
		{"/a/", "/a/"},
		{"", ""},
		{"/orders/2024", "/orders/:id"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[64];
		unit_case("%s", rows[i][0]);
		size_t n = failed_path((struct slice){rows[i][0], (uint32_t)strlen(rows[i][0])}, out, sizeof out);
		EQ_MEM(out, n, rows[i][1], strlen(rows[i][1]));
	}
	char out[4];
	EQ_INT(failed_path(SLICE("/abc/def"), out, sizeof out), 1);
}

static struct arena *a;

/* An answer as it is drained; its span id's first byte is `id`. */
static uint32_t answer(uint16_t status, const char *target, uint8_t id)
{
	if (!a)
		OK(a = arena_new_anonymous(1 << 20, 1));
	struct span_rec *r = arena_open(a, getpid());
	OK(r);
	r->kind = SPAN_SERVER;
	r->method = HTTP1_GET;
	r->status = status;
	r->proc = ARENA_PROCS;
	r->trace_id[0] = 9;
	r->span_id[0] = id;
	r->start_ns = SECOND;
	r->end_ns = 2 * SECOND;
	rec_put(a, r, REC_TARGET, (struct slice){target, (uint32_t)strlen(target)});
	return arena_index(a, r);
}

static struct report *logged(uint8_t id)
{
	struct report *r = report_new(REPORT_STDERR);
	OK(r);
	r->handled = true;
	r->trace_id[0] = 9;
	r->span_id[0] = id;
	return r;
}

TEST(waits_and_is_capped)
{
	struct failed *f = failed_new();
	struct failed_request q;
	OK(f && !failed_due(f));
	failed_saw(f, a, answer(200, "/ok", 1), SECOND);
	failed_saw(f, a, answer(499, "/ok", 1), SECOND);
	OK(!failed_due(f));
	for (int i = 0; i < 15; i++)
		failed_saw(f, a, answer(503, i % 2 ? "/busy/1" : "/busy/22", 1), SECOND);
	EQ_INT(failed_due(f), SECOND + FAILED_WAIT_NS);
	OK(!failed_take(f, 2 * SECOND, false, &q));
	for (int i = 0; i < LIMIT_PER_HOUR; i++) {
		OK(failed_take(f, 6 * SECOND, false, &q));
		EQ_STR(q.report->title, "503 GET /busy/:id");
		EQ_INT(q.report->source, REPORT_REQUEST);
		EQ_INT(strlen(q.report->fingerprint), 40);
		report_free(q.report);
	}
	OK(!failed_take(f, 6 * SECOND, false, &q) && !failed_due(f));
	/* An hour later it tells of the five. */
	failed_saw(f, a, answer(503, "/busy/1", 1), 3700 * SECOND);
	OK(failed_take(f, 3700 * SECOND, true, &q));
	EQ_INT(q.suppressed, 5);
	report_free(q.report);
	failed_delete(f);
}

TEST(exceptions)
{
	struct failed *f = failed_new();
	struct failed_request q;
	struct report *before = logged(1), *after = logged(2);
	failed_offer(f, before, SECOND);
	failed_saw(f, a, answer(500, "/a", 1), SECOND);
	failed_saw(f, a, answer(500, "/a", 2), SECOND);
	failed_saw(f, a, answer(500, "/a", 3), SECOND);
	failed_offer(f, after, 2 * SECOND);
	failed_offer(f, logged(2), 2 * SECOND); /* once more: one item is enough */
	failed_offer(f, logged(4), 2 * SECOND); /* of a request that was answered well */
	failed_told(f, (uint8_t[8]){3});        /* it is an item already */
	OK(failed_take(f, 6 * SECOND, false, &q) && q.report == before && q.request.copy.rec.span_id[0] == 1);
	report_free(q.report);
	OK(failed_take(f, 6 * SECOND, false, &q) && q.report == after);
	report_free(q.report);
	OK(!failed_take(f, 6 * SECOND, false, &q));
	for (int i = 0; i < 100; i++)
		failed_offer(f, logged((uint8_t)i), 7 * SECOND);
	failed_saw(f, a, answer(500, "/b", 5), 7 * SECOND);
	failed_delete(f); /* nothing leaks */
}
