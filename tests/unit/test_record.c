/* Strings of records, over one slot and many, and the careful reader of them. */
#include "arena_sample.h"

#define MB (1 << 20)

static uint32_t put_and_read(struct arena *a, uint32_t len)
{
	struct span_rec *r = sample_open(a, len, len);
	uint32_t out[4];
	r->end_ns = 1;
	arena_commit(a, r);
	EQ_INT(arena_drain(a, out, 4, false, false), 1);
	static char scratch[REC_VAR_MAX];
	struct rec_view v;
	EQ_INT(sample_check(a, out[0]), len);
	OK(rec_view(a, out[0], scratch, &v));
	uint32_t n = rec_str(&v, REC_TRACESTATE).n;
	EQ_INT(n < len, (v.rec->bits & REC_CUT) != 0);
	arena_free(a, out, 1);
	return n;
}

TEST(strings_over_slots)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	uint32_t all = sample_free_slots(a);
	for (uint32_t len = 1; len < 2200; len++) {
		unit_case("%u bytes", len);
		EQ_INT(put_and_read(a, len), len);
	}
	for (uint32_t len = 65000; len < 65600; len += 7)
		OK(put_and_read(a, len) >= (len < 65400 ? len : 65400));
	unit_case("%s", "");
	EQ_INT(put_and_read(a, 1 << 20), REC_VAR_MAX - 4 - (4 + strlen("/item/1048576")) - (4 + 15) - (4 + 11));
	EQ_INT(sample_free_slots(a), all);
	OK(a->count[COUNT_CUT] > 0);
	EQ_INT(a->count[COUNT_DROP_BAD], 0);
}

TEST(strings_in_every_split)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	static char scratch[REC_VAR_MAX], text[2000];
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('A' + i % 23);
	for (uint32_t one = 0; one < 900; one++) { /* so that heads straddle the ends of slots */
		struct span_rec *r = arena_open(a, 1);
		struct rec_view v;
		r->kind = SPAN_CLIENT;
		OK(rec_put(a, r, REC_TARGET, (struct slice){text, one}));
		OK(rec_put(a, r, REC_HOST, (struct slice){text, 1}));
		OK(rec_put(a, r, REC_ROUTE, (struct slice){NULL, 0}));
		OK(rec_put(a, r, REC_METHOD, (struct slice){text, 600}));
		r->state = SLOT_DONE;
		unit_case("%u", one);
		OK(rec_view(a, arena_index(a, r), scratch, &v));
		EQ_MEM(rec_str(&v, REC_TARGET).p, rec_str(&v, REC_TARGET).n, text, one);
		EQ_MEM(rec_str(&v, REC_HOST).p, rec_str(&v, REC_HOST).n, text, 1);
		OK(rec_str(&v, REC_ROUTE).p && rec_str(&v, REC_ROUTE).n == 0 && !rec_str(&v, REC_USER_AGENT).p);
		EQ_MEM(rec_str(&v, REC_METHOD).p, rec_str(&v, REC_METHOD).n, text, 600);
		r->state = SLOT_OPEN;
		arena_discard(a, r);
	}
}

TEST(strings_cut_when_full)
{
	struct arena *a = arena_new_anonymous(64 * 1024, 1);
	struct span_rec *r = NULL, *keep[200];
	uint32_t n = 0, out[4];
	while ((keep[n] = arena_open(a, 1)))
		n++;
	arena_discard(a, keep[--n]);
	arena_discard(a, keep[--n]); /* two slots: one record and one continuation */
	r = sample_open(a, 5, 3000);
	OK(r->bits & REC_CUT);
	OK(!rec_put(a, r, REC_ROUTE, SLICE("none")));
	EQ_INT(a->count[COUNT_CUT], 1);
	arena_commit(a, r);
	EQ_INT(arena_drain(a, out, 4, false, false), 1);
	EQ_INT(sample_check(a, out[0]), 5);
	EQ_INT(r->var_len, REC_VAR_FIRST + 504);
	arena_free(a, out, 1);
	EQ_INT(sample_free_slots(a), 2);
}

TEST(view_refuses)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	static char scratch[REC_VAR_MAX];
	struct rec_view v;
	struct span_rec *r = sample_open(a, 1, 1500), good;
	uint32_t i = arena_index(a, r);
	memcpy(&good, r, sizeof good);
	good.state = SLOT_DONE;
#define TRY(ok, ...)                                      \
	do {                                                  \
		memcpy(r, &good, offsetof(struct span_rec, var)); \
		__VA_ARGS__;                                      \
		EQ_INT(rec_view(a, i, scratch, &v), ok);          \
	} while (0)
	TRY(1, );
	OK(rec_str(&v, REC_TARGET).p >= scratch && rec_str(&v, REC_TARGET).p < scratch + sizeof scratch && v.proc == NULL);
	TRY(0, r->state = SLOT_OPEN);
	TRY(0, r->state = SLOT_MORE);
	TRY(0, r->kind = 0);
	TRY(0, r->kind = 77);
	TRY(0, r->method = 77);
	TRY(0, r->error = 77);
	TRY(0, r->status = 1000);
	TRY(0, r->peer.family = 5);
	TRY(0, r->cont = SLOT_NONE);
	TRY(0, r->cont = i);
	TRY(0, r->cont = 5000000);
	TRY(0, r->var_len = REC_VAR_MAX + 1);
	TRY(0, r->var_len = UINT32_MAX);
	TRY(0, r->var_len -= 1);
	TRY(0, r->var_len += 3);
	TRY(1, r->proc = 65535);
	TRY(1, r->proc = 3); /* an entry that is not in use */
	OK(v.proc == NULL);
	OK(!rec_view(a, SLOT_NONE, scratch, &v) && !rec_view(a, arena_slots(a), scratch, &v));
	/* A ring of continuations. */
	struct slot_more *m = (struct slot_more *)arena_slot(a, good.cont);
	m->next = good.cont;
	TRY(1, r->var_len = good.var_len); /* its strings are nonsense, but inside */
	TRY(0, r->var_len = REC_VAR_MAX);
}
