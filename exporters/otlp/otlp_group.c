#include "exporters/otlp/otlp_group.h"
#include <stdlib.h>

/* Batches have few resources, and records of one process come in runs: the last hit is looked at first. */
static struct otlp_group *find(struct otlp_groups *g, const struct resource *r, uint32_t hint)
{
	if (hint < g->n && g->group[hint].resource == r)
		return &g->group[hint];
	for (uint32_t i = 0; i < g->n; i++)
		if (g->group[i].resource == r)
			return &g->group[i];
	return NULL;
}

bool otlp_group(struct otlp_groups *g, const struct batch *b)
{
	uint32_t cap = 0, hint = 0;
	*g = (struct otlp_groups){.next = malloc(sizeof *g->next * (b->n + (size_t)!b->n))};
	if (!g->next)
		return false;
	for (uint32_t i = 0; i < b->n; i++) {
		const struct resource *r = resource_of(b->resources, b->arena, &b->views[i]);
		struct otlp_group *found = find(g, r, hint);
		if (found) {
			g->next[found->last] = i;
		} else {
			if (g->n == cap) {
				struct otlp_group *more = realloc(g->group, sizeof *more * (cap = cap ? 2 * cap : 8));
				if (!more) {
					otlp_group_free(g);
					return false;
				}
				g->group = more;
			}
			found = &g->group[g->n++];
			*found = (struct otlp_group){.resource = r, .first = i};
		}
		found->last = i;
		found->n++;
		hint = (uint32_t)(found - g->group);
	}
	return true;
}

void otlp_group_free(struct otlp_groups *g)
{
	free(g->group);
	free(g->next);
}
