/* Which records of an arena we hold. What others could write (links, lengths) is not believed here. */
#include "exporters/worker.h"
#include <stdlib.h>

bool source_init(struct source *s, struct arena *a, bool orphan)
{
	*s = (struct source){.arena = a, .orphan = orphan, .max = arena_local(a)->max_slots};
	s->use = calloc(s->max, sizeof *s->use);
	return s->use != NULL;
}

void source_free(struct source *s)
{
	free(s->use);
	free(s->waiting);
	*s = (struct source){0};
}

bool source_take(struct source *s, uint32_t slot)
{
	if (slot >= s->max || s->use[slot].refs) {
		arena_count(s->arena, COUNT_DROP_BAD, 1);
		return false;
	}
	s->use[slot] = (struct slot_use){.refs = 1, .weight = (uint8_t)rec_slots(arena_slot(s->arena, slot))};
	s->held++;
	s->weight += s->use[slot].weight;
	return true;
}

void source_ref(struct source *s, uint32_t slot)
{
	s->use[slot].refs++;
}

void source_unref(struct source *s, uint32_t slot)
{
	struct slot_use *u = &s->use[slot];
	if (--u->refs)
		return;
	s->held--;
	s->weight -= u->weight;
	if (s->n_freed == sizeof s->freed / sizeof *s->freed)
		source_flush(s);
	s->freed[s->n_freed++] = slot;
}

void source_flush(struct source *s)
{
	if (s->n_freed)
		arena_free(s->arena, s->freed, s->n_freed);
	s->n_freed = 0;
}
