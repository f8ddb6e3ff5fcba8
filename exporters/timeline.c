#include "exporters/timeline.h"
#include "exporters/abi.h"
#include "proto/http1.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct timeline {
	struct export_recent *recent;
	int32_t own; /* pid */
	struct timeline_ring *rings[TIMELINE_PROCS];
	uint64_t clock;
	unsigned last; /* records of one process come in runs */
};

static bool makes_sense(const struct span_copy *c)
{
	const struct span_rec *r = &c->rec;
	const struct rec_addr *addr[2] = {&r->peer, &r->local};
	for (int i = 0; i < 2; i++)
		if (addr[i]->family != 0 && addr[i]->family != 4 && addr[i]->family != 6)
			return false;
	uint32_t state = atomic_load_explicit(&r->state, memory_order_relaxed);
	bool kind = (r->kind >= SPAN_SERVER && r->kind <= SPAN_CONNECT) || r->kind == SPAN_TEXT;
	return state != SLOT_FREE && state != SLOT_MORE && kind &&
	       r->method <= HTTP1_PATCH && r->error <= ERR_CRASHED && r->status <= 999 && r->minor <= 9;
}

bool span_copy_take(const struct arena *a, uint32_t slot, struct span_copy *out)
{
	if (slot >= arena_slots(a))
		return false;
	memcpy(out->bytes, arena_slot(a, slot), SLOT_SIZE);
	return makes_sense(out);
}

static struct slice str_of(const char *p, uint32_t len, enum rec_tag tag)
{
	for (uint32_t at = 0; len - at >= 4 && at < len;) {
		uint16_t n;
		memcpy(&n, p + at + 2, 2);
		uint8_t is = (uint8_t)p[at];
		at += 4;
		if (n > len - at)
			n = (uint16_t)(len - at);
		if (is == tag)
			return (struct slice){p + at, n};
		at += n;
	}
	return (struct slice){NULL, 0};
}

struct slice span_copy_str(const struct span_copy *c, enum rec_tag tag)
{
	return str_of(c->rec.var, c->rec.var_len < REC_VAR_FIRST ? c->rec.var_len : (uint32_t)REC_VAR_FIRST, tag);
}

struct slice request_str(const struct request_copy *r, enum rec_tag tag)
{
	return str_of(r->strings, r->n, tag);
}

void request_copy_of(const struct span_copy *c, struct request_copy *out)
{
	out->copy = *c;
	out->n = c->rec.var_len < REC_VAR_FIRST ? c->rec.var_len : (uint32_t)REC_VAR_FIRST;
	memcpy(out->strings, c->rec.var, out->n);
}

bool request_copy_take(const struct arena *a, uint32_t slot, struct request_copy *out)
{
	struct span_copy c;
	if (!span_copy_take(a, slot, &c))
		return false;
	request_copy_of(&c, out);
	uint32_t len = c.rec.var_len < REQUEST_STRINGS ? c.rec.var_len : REQUEST_STRINGS, i = c.rec.cont;
	/* Every slot gives some bytes, so a ring ends. */
	while (out->n < len && i < arena_slots(a)) {
		const struct slot_more *m = (const struct slot_more *)arena_slot(a, i);
		uint32_t k = len - out->n < sizeof m->var ? len - out->n : (uint32_t)sizeof m->var;
		if (atomic_load_explicit(&m->state, memory_order_acquire) != SLOT_MORE)
			break;
		memcpy(out->strings + out->n, m->var, k);
		out->n += k;
		i = atomic_load_explicit(&m->next, memory_order_relaxed);
	}
	return true;
}

struct slice span_copy_text(const struct span_copy *c)
{
	const char *p = c->rec.var, *e = p + (c->rec.var_len < REC_VAR_FIRST ? c->rec.var_len : REC_VAR_FIRST);
	while (p < e && (*p == '\n' || *p == '\r'))
		p++;
	while (e > p && (e[-1] == '\n' || e[-1] == '\r'))
		e--;
	return (struct slice){p, (uint32_t)(e - p)};
}

struct timeline *timeline_new(struct export_recent *recent)
{
	struct timeline *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	t->recent = recent;
	t->own = getpid();
	return t;
}

/* The handler of a crash copies it at any time: said before there is something, taken back before it is gone. */
static void publish(const struct timeline *t, const struct timeline_ring *r)
{
	if (!t->recent)
		return;
	atomic_store(&t->recent->size, 0);
	atomic_store(&t->recent->at, (uintptr_t)r);
	atomic_store(&t->recent->size, r ? sizeof *r : 0);
}

void timeline_delete(struct timeline *t)
{
	if (!t)
		return;
	publish(t, NULL);
	for (unsigned i = 0; i < TIMELINE_PROCS; i++)
		free(t->rings[i]);
	free(t);
}

static struct timeline_ring *ring_of(struct timeline *t, int32_t pid)
{
	unsigned old = 0;
	if (t->rings[t->last] && t->rings[t->last]->pid == pid)
		return t->rings[t->last];
	for (unsigned i = 0; i < TIMELINE_PROCS; i++) {
		struct timeline_ring *r = t->rings[i];
		if (r && r->pid == pid) {
			t->last = i;
			return r;
		}
		if (t->rings[old] && (!r || r->used < t->rings[old]->used))
			old = i;
	}
	if (!t->rings[old] && !(t->rings[old] = calloc(1, sizeof *t->rings[old])))
		return NULL;
	struct timeline_ring *r = t->rings[old];
	if (r->pid == t->own)
		publish(t, NULL);
	t->last = old;
	r->pid = pid;
	r->next = r->n = 0;
	if (pid == t->own)
		publish(t, r);
	return r;
}

static void keep(struct timeline *t, struct timeline_ring *r)
{
	r->used = ++t->clock;
	r->next = (r->next + 1) % TIMELINE_SPANS;
	r->n += r->n < TIMELINE_SPANS;
}

void timeline_add(struct timeline *t, const struct arena *a, uint32_t slot)
{
	int32_t pid = slot < arena_slots(a) ? arena_slot(a, slot)->pid : 0;
	struct timeline_ring *r = ring_of(t, pid);
	if (r && span_copy_take(a, slot, &r->spans[r->next]))
		keep(t, r);
}

void timeline_load(struct timeline *t, int32_t pid, const void *bytes, size_t n)
{
	const size_t head = offsetof(struct timeline_ring, spans);
	struct timeline_ring *r = n > head ? ring_of(t, pid) : NULL;
	uint32_t at[3]; /* pid, next, n */
	if (!r)
		return;
	memcpy(at, bytes, sizeof at);
	size_t whole = (n - head) / SLOT_SIZE;
	if ((int32_t)at[0] != pid || at[1] >= TIMELINE_SPANS || at[2] > TIMELINE_SPANS)
		return;
	for (uint32_t k = 0; k < at[2]; k++) {
		uint32_t i = (at[1] + TIMELINE_SPANS - at[2] + k) % TIMELINE_SPANS;
		struct span_copy *to = &r->spans[r->next];
		if (i >= whole)
			continue;
		memcpy(to->bytes, (const char *)bytes + head + (size_t)i * SLOT_SIZE, SLOT_SIZE);
		if (makes_sense(to) && to->rec.pid == pid)
			keep(t, r);
	}
}

static bool is_same(const struct span_rec *a, const struct span_rec *b)
{
	return a->kind == b->kind && a->start_ns == b->start_ns && a->tid == b->tid && memcmp(a->span_id, b->span_id, 8) == 0 &&
	       a->var_len == b->var_len;
}

void timeline_add_waiting(struct timeline *t, const struct arena *a, int32_t pid)
{
	struct timeline_ring *r = ring_of(t, pid);
	uint32_t used = atomic_load(&a->fresh), slots = arena_slots(a);
	for (uint32_t i = 0; r && i < used && i < slots; i++) {
		const struct span_rec *slot = arena_slot(a, i);
		struct span_copy c;
		if (slot->pid != pid || !span_copy_take(a, i, &c) || c.rec.pid != pid || !c.rec.start_ns)
			continue;
		bool known = c.rec.kind == SPAN_SERVER && !c.rec.end_ns; /* that request is the item's own */
		for (uint32_t k = 0; k < r->n && !known; k++)
			known = is_same(&r->spans[k].rec, &c.rec);
		if (known)
			continue;
		r->spans[r->next] = c;
		keep(t, r);
	}
}

unsigned timeline_of(struct timeline *t, int32_t pid, const struct span_copy **out, unsigned most)
{
	for (unsigned i = 0; t && i < TIMELINE_PROCS; i++) {
		const struct timeline_ring *r = t->rings[i];
		if (!r || r->pid != pid)
			continue;
		unsigned n = r->n < most ? r->n : most;
		for (unsigned k = 0; k < n; k++)
			out[k] = &r->spans[(r->next + TIMELINE_SPANS - n + k) % TIMELINE_SPANS];
		return n;
	}
	return 0;
}
