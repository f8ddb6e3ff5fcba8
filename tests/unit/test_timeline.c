/* Copies of records that a crash's timeline is made of. What a crash file tells of them: test_errors_last_words.c. */
#include "exporters/timeline.h"
#include "proto/db.h"
#include "unit.h"

static struct arena *a;

static uint32_t query(uint32_t text_len, const char *status)
{
	static char text[DB_TEXT_MAX];
	if (!a)
		OK(a = arena_new_anonymous(1 << 20, 1));
	struct span_rec *r = arena_open(a, 70);
	OK(r);
	r->kind = SPAN_DB;
	r->method = DB_POSTGRESQL;
	r->start_ns = 5;
	memset(text, 'x', sizeof text);
	memcpy(text, "SELECT ", 7);
	rec_put(a, r, REC_DB, SLICE("shop\nworf\n15.3\n"));
	rec_put(a, r, REC_QUERY, (struct slice){text, text_len});
	if (status)
		rec_put(a, r, REC_DB_STATUS, slice_of(status));
	return arena_index(a, r);
}

/* Whether a command failed lies behind its text, in whatever slot: the copy of the first one tells it. */
TEST(a_failed_command_is_known_as_one)
{
	for (uint32_t n = 7; n <= DB_TEXT_MAX; n += n < 400 ? 1 : 97) {
		struct span_copy c;
		uint32_t slot = query(n, "42P01");
		unit_case("%u bytes", n);
		OK(span_copy_take(a, slot, &c));
		struct slice status = span_copy_str(&c, REC_DB_STATUS), text = span_copy_str(&c, REC_QUERY), db = span_copy_str(&c, REC_DB);
		EQ_MEM(status.p, status.n, "42P01", 5);
		EQ_MEM(db.p, db.n, "shop\nworf\n15.3\n", 15);
		OK(text.n <= n && (text.n == n || (text.n > 200 && c.rec.bits & REC_CUT)));
		EQ_MEM(text.p, 7, "SELECT ", 7);
		arena_discard(a, arena_slot(a, slot));
		slot = query(n, NULL);
		OK(span_copy_take(a, slot, &c));
		EQ_INT((int)span_copy_str(&c, REC_DB_STATUS).n, 0);
		arena_discard(a, arena_slot(a, slot));
	}
}

TEST(what_is_no_command)
{
	struct span_copy c;
	uint32_t slot = query(10, NULL);
	arena_slot(a, slot)->method = DB_SYSTEM_MAX;
	OK(!span_copy_take(a, slot, &c));
	arena_slot(a, slot)->method = DB_MYSQL;
	OK(span_copy_take(a, slot, &c));
	arena_slot(a, slot)->minor = REC_DB_MAX;
	OK(!span_copy_take(a, slot, &c));
}
