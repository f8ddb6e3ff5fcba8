/* Records for the arena's tests: each carries a number, in its trace id, and strings that follow from the number. */
#ifndef REMORA_ARENA_SAMPLE_H
#define REMORA_ARENA_SAMPLE_H

#include "unit.h"
#include "base/clock.h"
#include "span/arena.h"

#define SAMPLE __attribute__((unused)) static

SAMPLE struct slice sample_text(const char *s)
{
	return (struct slice){s, (uint32_t)strlen(s)};
}

/* An open record; NULL when the arena is full. */
SAMPLE struct span_rec *sample_open(struct arena *a, uint64_t number, uint32_t long_bytes)
{
	struct span_rec *r = arena_open(a, getpid());
	char text[64];
	if (!r)
		return NULL;
	r->proc = ARENA_PROCS;
	r->kind = SPAN_SERVER;
	r->start_ns = 1000 + number;
	memcpy(r->trace_id, &number, 8);
	memset(r->span_id, 7, 8);
	snprintf(text, sizeof text, "/item/%llu", (unsigned long long)number);
	rec_put(a, r, REC_TARGET, sample_text(text));
	rec_put(a, r, REC_HOST, SLICE("www.example.com"));
	rec_put(a, r, REC_USER_AGENT, SLICE("curl/7.88.1"));
	if (long_bytes) {
		char *big = malloc(long_bytes);
		for (uint32_t i = 0; i < long_bytes; i++)
			big[i] = (char)('a' + (number + i) % 26);
		rec_put(a, r, REC_TRACESTATE, (struct slice){big, long_bytes});
		free(big);
	}
	return r;
}

SAMPLE bool sample_commit(struct arena *a, uint64_t number, uint32_t long_bytes)
{
	struct span_rec *r = sample_open(a, number, long_bytes);
	if (!r)
		return false;
	r->status = 200;
	r->end_ns = r->start_ns + 5;
	arena_commit(a, r);
	return true;
}

/* The number of a record that checks out in every byte. */
SAMPLE uint64_t sample_check(const struct arena *a, uint32_t slot)
{
	static char scratch[REC_VAR_MAX];
	struct rec_view v;
	char text[64];
	uint64_t number;
	OK(rec_view(a, slot, scratch, &v));
	memcpy(&number, v.rec->trace_id, 8);
	snprintf(text, sizeof text, "/item/%llu", (unsigned long long)number);
	if (v.rec->error == ERR_PROCESS_KILLED && !rec_str(&v, REC_TARGET).p)
		return number; /* killed before it had any */
	EQ_MEM(rec_str(&v, REC_TARGET).p, rec_str(&v, REC_TARGET).n, text, strlen(text));
	if (v.rec->error != ERR_PROCESS_KILLED && !(v.rec->bits & REC_CUT))
		EQ_MEM(rec_str(&v, REC_USER_AGENT).p, rec_str(&v, REC_USER_AGENT).n, "curl/7.88.1", 11);
	struct slice big = rec_str(&v, REC_TRACESTATE);
	for (uint32_t i = 0; i < big.n; i++)
		OK(big.p[i] == (char)('a' + (number + i) % 26));
	return number;
}

/* Slots that could be taken at this moment. */
SAMPLE uint32_t sample_free_slots(struct arena *a)
{
	uint32_t n = 0, first = SLOT_NONE;
	for (struct span_rec *r; (r = arena_open(a, getpid())); n++) {
		r->hold_until_ns = first;
		first = arena_index(a, r);
	}
	while (first != SLOT_NONE) {
		struct span_rec *r = arena_slot(a, first);
		first = (uint32_t)r->hold_until_ns;
		arena_discard(a, r);
	}
	return n;
}

#endif
