#include "exporters/timeline.h"
#include "exporters/abi.h"
#include "proto/db.h"
#include "proto/http1.h"
#include "shim/crash/record.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES_MOST (TIMELINE_SPANS / 2) /* of stderr, from a crash file */

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
	bool kind = (r->kind >= SPAN_SERVER && r->kind < SPAN_KINDS) || r->kind == SPAN_TEXT;
	if (r->kind == SPAN_TEXT && !span_copy_text(c).n) /* an empty line says nothing */
		return false;
	if (r->kind == SPAN_DB && (r->method >= DB_SYSTEM_MAX || r->minor >= REC_DB_MAX))
		return false;
	return state != SLOT_FREE && state != SLOT_MORE && kind &&
	       r->method <= HTTP1_PATCH && r->error <= ERR_NOT_RUN && r->status <= 999 && r->minor <= 9;
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

/* Its strings from all slots, as far as there is room: how many bytes. */
static uint32_t strings_of(const struct arena *a, const struct span_rec *r, char *out, uint32_t cap)
{
	uint32_t n = r->var_len < REC_VAR_FIRST ? r->var_len : (uint32_t)REC_VAR_FIRST, i = r->cont;
	uint32_t len = r->var_len < cap ? r->var_len : cap;
	memcpy(out, r->var, n);
	/* Every slot gives some bytes, so a ring ends. */
	while (n < len && i < arena_slots(a)) {
		const struct slot_more *m = (const struct slot_more *)arena_slot(a, i);
		uint32_t k = len - n < sizeof m->var ? len - n : (uint32_t)sizeof m->var;
		if (atomic_load_explicit(&m->state, memory_order_acquire) != SLOT_MORE)
			break;
		memcpy(out + n, m->var, k);
		n += k;
		i = atomic_load_explicit(&m->next, memory_order_relaxed);
	}
	return n;
}

/* That a database's command failed stands behind its text, which may fill the first slot: the end of the text makes room. */
static void keep_status(const struct arena *a, struct span_copy *c)
{
	char all[DB_TEXT_MAX + 2048];
	struct slice status = str_of(all, strings_of(a, &c->rec, all, sizeof all), REC_DB_STATUS);
	struct slice text = str_of(c->rec.var, REC_VAR_FIRST, REC_QUERY);
	if (!status.n || status.n > 64 || !text.n)
		return;
	uint32_t at = (uint32_t)(text.p - c->rec.var), end = (uint32_t)(REC_VAR_FIRST - 4 - status.n);
	if (at >= end)
		return;
	uint16_t n = (uint16_t)(text.n < end - at ? text.n : end - at), k = (uint16_t)status.n;
	char *p = c->rec.var + at;
	memcpy(p - 2, &n, 2);
	p += n;
	p[0] = REC_DB_STATUS;
	p[1] = 0;
	memcpy(p + 2, &k, 2);
	memcpy(p + 4, status.p, k);
	c->rec.var_len = at + n + 4 + k;
	c->rec.bits |= REC_CUT;
}

bool span_copy_take(const struct arena *a, uint32_t slot, struct span_copy *out)
{
	if (slot >= arena_slots(a))
		return false;
	memcpy(out->bytes, arena_slot(a, slot), SLOT_SIZE);
	if (out->rec.kind == SPAN_DB && out->rec.var_len > REC_VAR_FIRST)
		keep_status(a, out);
	return makes_sense(out);
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
	out->copy = c;
	out->n = strings_of(a, &c.rec, out->strings, REQUEST_STRINGS);
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

/* Without the text of fd 2. */
static void forget_text(struct timeline_ring *r)
{
	uint32_t from = r->next + TIMELINE_SPANS - r->n, n = r->n;
	r->next = from % TIMELINE_SPANS;
	r->n = 0;
	for (uint32_t k = 0; k < n; k++) {
		const struct span_copy *c = &r->spans[(from + k) % TIMELINE_SPANS];
		if (c->rec.kind == SPAN_TEXT && c->rec.err_no == 2)
			continue;
		if (c != &r->spans[r->next])
			r->spans[r->next] = *c;
		r->next = (r->next + 1) % TIMELINE_SPANS;
		r->n++;
	}
}

static void add_line(struct timeline *t, struct timeline_ring *r, const struct crash_words *w, const char *p, size_t n)
{
	struct span_copy *c = &r->spans[r->next];
	*c = (struct span_copy){.rec = {.state = SLOT_DONE,
	                                .kind = SPAN_TEXT,
	                                .pid = r->pid,
	                                .tid = w->tid,
	                                .err_no = 2,
	                                .start_ns = w->time_ns,
	                                .end_ns = w->time_ns}};
	c->rec.var_len = (uint32_t)(n < REC_VAR_FIRST ? n : REC_VAR_FIRST);
	memcpy(c->rec.var, p, c->rec.var_len);
	if (span_copy_text(c).n)
		keep(t, r);
}

/* Adds the lines behind the first `skip`; how many there are. */
static size_t words_lines(struct timeline *t, struct timeline_ring *r, const char *p, size_t n, size_t skip)
{
	const char *end = p + n;
	struct crash_words w;
	size_t lines = 0;
	while ((size_t)(end - p) >= sizeof w) {
		memcpy(&w, p, sizeof w);
		p += sizeof w;
		if (w.n > (size_t)(end - p))
			break;
		const char *last = p + w.n, *next = (size_t)(end - p) - w.n < 8 ? end : p + ((w.n + 7) & ~(size_t)7);
		while (p < last) {
			const char *e = memchr(p, '\n', (size_t)(last - p));
			size_t k = (size_t)((e ? e : last) - p);
			if (k && lines++ >= skip)
				add_line(t, r, &w, p, k);
			p += k + 1;
		}
		p = next;
	}
	return lines;
}

void timeline_add_words(struct timeline *t, int32_t pid, const void *bytes, size_t n)
{
	struct timeline_ring *r = ring_of(t, pid);
	if (!r)
		return;
	forget_text(r);
	size_t lines = words_lines(t, r, bytes, n, SIZE_MAX);
	words_lines(t, r, bytes, n, lines > LINES_MOST ? lines - LINES_MOST : 0);
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
