/*
 * The checked records of a batch, small: a view is 350 bytes, nearly all of them zeros, and 512 of them push the program's
 * own data out of the cache of the core that the exporter shares with it. Usually one cache line of each is touched.
 */
#ifndef REMORA_BATCH_VIEW_H
#define REMORA_BATCH_VIEW_H

#include "exporters/exporter.h"
#include "span/arena.h"

struct packed_view {
	const struct span_rec *rec;
	const struct arena_proc *proc;
	const char *base;      /* the strings lie behind it */
	uint32_t scratch_used; /* as the view's */
	uint32_t n;            /* strings */
	struct {
		uint32_t at;
		uint32_t n : 24, tag : 8;
	} str[REC_TAG_MAX - 1];
} __attribute__((aligned(64)));

/* base: what the view's strings borrow from. Returns their bytes. */
static inline size_t view_pack(struct packed_view *o, const struct rec_view *v, const char *base)
{
	size_t bytes = 0;
	uint32_t n = 0;
	for (uint32_t t = 1; t < REC_TAG_MAX; t++) {
		if (!v->str[t].p)
			continue;
		o->str[n].at = (uint32_t)(v->str[t].p - base);
		o->str[n].n = v->str[t].n & 0xffffff;
		o->str[n++].tag = (uint8_t)t;
		bytes += v->str[t].n;
	}
	o->rec = v->rec;
	o->proc = v->proc;
	o->base = base;
	o->scratch_used = v->scratch_used;
	o->n = n;
	return bytes;
}

/* Record i of a batch; *room is memory for it. */
static inline const struct rec_view *batch_view(const struct batch *b, uint32_t i, struct rec_view *room)
{
	if (b->views)
		return &b->views[i];
	const struct packed_view *p = &b->packed[i];
	*room = (struct rec_view){.rec = p->rec, .proc = p->proc, .scratch_used = p->scratch_used};
	for (uint32_t k = 0; k < p->n; k++)
		room->str[p->str[k].tag] = (struct slice){p->base + p->str[k].at, p->str[k].n};
	return room;
}

/* The same without strings; *room is zeroed but for what the last call left there. */
static inline const struct rec_view *batch_bare_view(const struct batch *b, uint32_t i, struct rec_view *room)
{
	if (b->views)
		return &b->views[i];
	room->rec = b->packed[i].rec;
	room->proc = b->packed[i].proc;
	return room;
}

#endif
