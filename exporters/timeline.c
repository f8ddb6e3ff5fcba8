#include "exporters/timeline.h"
#include "proto/http1.h"
#include <stdlib.h>
#include <string.h>

struct ring {
	int32_t pid;
	uint32_t next, n;
	uint64_t used; /* when, in records: the one that was not used for longest makes room */
	struct span_copy spans[TIMELINE_SPANS];
};

struct timeline {
	struct ring *rings[TIMELINE_PROCS];
	uint64_t clock;
	unsigned last; /* records of one process come in runs */
};

bool span_copy_take(const struct arena *a, uint32_t slot, struct span_copy *out)
{
	if (slot >= arena_slots(a))
		return false;
	memcpy(out->bytes, arena_slot(a, slot), SLOT_SIZE);
	const struct span_rec *r = &out->rec;
	const struct rec_addr *addr[2] = {&r->peer, &r->local};
	for (int i = 0; i < 2; i++)
		if (addr[i]->family != 0 && addr[i]->family != 4 && addr[i]->family != 6)
			return false;
	uint32_t state = atomic_load_explicit(&r->state, memory_order_relaxed);
	bool kind = (r->kind >= SPAN_SERVER && r->kind <= SPAN_CONNECT) || r->kind == SPAN_TEXT;
	return state != SLOT_FREE && state != SLOT_MORE && kind &&
	       r->method <= HTTP1_PATCH && r->error <= ERR_TIMEOUT && r->status <= 999 && r->minor <= 9;
}

struct slice span_copy_str(const struct span_copy *c, enum rec_tag tag)
{
	uint32_t len = c->rec.var_len < REC_VAR_FIRST ? c->rec.var_len : (uint32_t)REC_VAR_FIRST;
	const char *p = c->rec.var;
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

struct slice span_copy_text(const struct span_copy *c)
{
	const char *p = c->rec.var, *e = p + (c->rec.var_len < REC_VAR_FIRST ? c->rec.var_len : REC_VAR_FIRST);
	while (p < e && (*p == '\n' || *p == '\r'))
		p++;
	while (e > p && (e[-1] == '\n' || e[-1] == '\r'))
		e--;
	return (struct slice){p, (uint32_t)(e - p)};
}

struct timeline *timeline_new(void)
{
	return calloc(1, sizeof(struct timeline));
}

void timeline_delete(struct timeline *t)
{
	for (unsigned i = 0; t && i < TIMELINE_PROCS; i++)
		free(t->rings[i]);
	free(t);
}

static struct ring *ring_of(struct timeline *t, int32_t pid)
{
	unsigned old = 0;
	if (t->rings[t->last] && t->rings[t->last]->pid == pid)
		return t->rings[t->last];
	for (unsigned i = 0; i < TIMELINE_PROCS; i++) {
		struct ring *r = t->rings[i];
		if (r && r->pid == pid) {
			t->last = i;
			return r;
		}
		if (t->rings[old] && (!r || r->used < t->rings[old]->used))
			old = i;
	}
	if (!t->rings[old] && !(t->rings[old] = malloc(sizeof *t->rings[old])))
		return NULL;
	t->last = old;
	t->rings[old]->pid = pid;
	t->rings[old]->next = t->rings[old]->n = 0;
	return t->rings[old];
}

void timeline_add(struct timeline *t, const struct arena *a, uint32_t slot)
{
	int32_t pid = slot < arena_slots(a) ? arena_slot(a, slot)->pid : 0;
	struct ring *r = ring_of(t, pid);
	if (!r)
		return;
	r->used = ++t->clock;
	if (!span_copy_take(a, slot, &r->spans[r->next]))
		return;
	r->next = (r->next + 1) % TIMELINE_SPANS;
	r->n += r->n < TIMELINE_SPANS;
}

unsigned timeline_of(struct timeline *t, int32_t pid, const struct span_copy **out, unsigned most)
{
	for (unsigned i = 0; t && i < TIMELINE_PROCS; i++) {
		const struct ring *r = t->rings[i];
		if (!r || r->pid != pid)
			continue;
		unsigned n = r->n < most ? r->n : most;
		for (unsigned k = 0; k < n; k++)
			out[k] = &r->spans[(r->next + TIMELINE_SPANS - n + k) % TIMELINE_SPANS];
		return n;
	}
	return 0;
}
