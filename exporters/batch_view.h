/*
 * Reading the records of a batch, one after the other, where they lie: 512 views of 350 bytes, kept until the batch is
 * written, push the program's own data out of the cache of the core that the exporter shares with it. exporter thread.
 */
#ifndef REMORA_BATCH_VIEW_H
#define REMORA_BATCH_VIEW_H

#include "exporters/exporter.h"
#include "span/arena.h"

/*
 * Its lines are asked for while the record before it is written. Always inline: gcc takes a function that only
 * prefetches for one without effect, and leaves its call out.
 */
static inline __attribute__((always_inline)) void batch_prefetch(const struct batch *b, uint32_t i)
{
	const char *p = (const char *)arena_slot(b->arena, b->slots[i]);
	for (int at = 0; at < SLOT_SIZE - 128; at += 64)
		__builtin_prefetch(p + at);
}

/* Record i; *room is memory for it, good until the next call. NULL: malformed, counted. */
static inline const struct rec_view *batch_view(const struct batch *b, uint32_t i, struct rec_view *room)
{
	if (b->views)
		return &b->views[i];
	if (i + 1 < b->n)
		batch_prefetch(b, i + 1);
	if (rec_view(b->arena, b->slots[i], b->scratch, room))
		return room;
	++*b->malformed;
	return NULL;
}

/* Whose record i is: no more of it is read. */
static inline const struct rec_view *batch_owner(const struct batch *b, uint32_t i, struct rec_view *room)
{
	if (b->views)
		return &b->views[i];
	rec_owner(b->arena, b->slots[i], room);
	return room;
}

#endif
