#include "exporters/batch_view.h"
#include "exporters/otlp/otlp_group.h"
#include <stdlib.h>
#include <string.h>

struct otlp_cut {
	struct otlp_cut *next;
	struct resource resource;
	struct attr attrs[];
};

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

/* About what an encoding makes of it. */
static size_t size_of(const struct attr *a)
{
	return a->key_len + (a->type == ATTR_INT ? 20 : a->str_len) + (a->type == ATTR_STRINGS ? 8 * (size_t)a->n : 0) + 20;
}

/* The same without its longest attributes: a command line, mostly. */
static const struct resource *cut(struct otlp_groups *g, const struct resource *r, size_t most)
{
	size_t total = 0;
	for (uint32_t i = 0; i < r->n; i++)
		total += size_of(&r->attrs[i]);
	if (total <= most)
		return r;
	struct otlp_cut *c = malloc(sizeof *c + r->n * sizeof *c->attrs);
	if (!c)
		return r;
	c->next = g->cuts;
	g->cuts = c;
	c->resource = *r;
	c->resource.attrs = c->attrs;
	memcpy(c->attrs, r->attrs, r->n * sizeof *c->attrs);
	while (total > most && c->resource.n) {
		uint32_t longest = 0;
		for (uint32_t i = 1; i < c->resource.n; i++)
			if (size_of(&c->attrs[i]) > size_of(&c->attrs[longest]))
				longest = i;
		total -= size_of(&c->attrs[longest]);
		memmove(&c->attrs[longest], &c->attrs[longest + 1], (--c->resource.n - longest) * sizeof *c->attrs);
	}
	return &c->resource;
}

bool otlp_group(struct otlp_groups *g, const struct batch *b)
{
	uint32_t cap = 0, hint = 0;
	*g = (struct otlp_groups){.next = malloc(sizeof *g->next * (b->n + (size_t)!b->n))};
	if (!g->next)
		return false;
	struct rec_view owner;
	for (uint32_t i = 0; i < b->n; i++) {
		const struct resource *r = resource_of(b->resources, b->arena, batch_owner(b, i, &owner));
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
	for (uint32_t i = 0; i < g->n && b->resource_most; i++)
		g->group[i].resource = cut(g, g->group[i].resource, b->resource_most);
	return true;
}

void otlp_group_free(struct otlp_groups *g)
{
	for (struct otlp_cut *c = g->cuts, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(g->group);
	free(g->next);
}
