#include "conn/db_statements.h"
#include "base/pool.h"
#include "proto/db.h"

#define STATEMENTS_MOST 256 /* of a connection; drivers keep 100 at most unless told otherwise */

struct statement {
	struct statement *next;
	uint64_t key;
	uint16_t n;
	bool cut, large;
	char text[];
};

#define SMALL 512
#define LARGE (DB_TEXT_MAX + 64)

static struct pool small = POOL(SMALL, 64 * 1024, 64u << 20);
static struct pool large = POOL(LARGE, 128 * 1024, 64u << 20);

_Static_assert(LARGE >= sizeof(struct statement) + DB_TEXT_MAX, "room for the longest text");

static void give_back(struct statement *t)
{
	pool_put(t->large ? &large : &small, t);
}

/* The link that leads to it, NULL if there is none. */
static struct statement **find(struct statements *s, uint64_t key)
{
	for (struct statement **at = &s->first; *at; at = &(*at)->next)
		if ((*at)->key == key)
			return at;
	return NULL;
}

static struct statement *take_out(struct statements *s, struct statement **at)
{
	struct statement *t = *at;
	*at = t->next;
	s->n--;
	return t;
}

static void put_first(struct statements *s, struct statement *t)
{
	t->next = s->first;
	s->first = t;
	s->n++;
}

void statements_drop(struct statements *s, uint64_t key)
{
	struct statement **at = find(s, key);
	if (at)
		give_back(take_out(s, at));
}

bool statements_put(struct statements *s, uint64_t key, struct slice text, bool cut)
{
	statements_drop(s, key);
	if (s->n >= STATEMENTS_MOST) {
		struct statement **at = &s->first;
		while ((*at)->next)
			at = &(*at)->next;
		give_back(take_out(s, at));
	}
	bool big = sizeof(struct statement) + text.n > SMALL;
	struct statement *t = text.n > DB_TEXT_MAX ? NULL : pool_get(big ? &large : &small);
	if (!t)
		return false;
	t->key = key;
	t->n = (uint16_t)text.n;
	t->cut = cut;
	t->large = big;
	memcpy(t->text, text.p, text.n);
	put_first(s, t);
	return true;
}

void statements_rename(struct statements *s, uint64_t from, uint64_t to)
{
	statements_drop(s, to);
	struct statement **at = find(s, from);
	if (at)
		(*at)->key = to;
}

struct slice statements_get(struct statements *s, uint64_t key, bool *cut)
{
	struct statement **at = find(s, key);
	if (!at)
		return (struct slice){NULL, 0};
	struct statement *t = *at;
	if (at != &s->first)
		put_first(s, take_out(s, at));
	*cut = t->cut;
	return (struct slice){t->text, t->n};
}

void statements_free(struct statements *s)
{
	while (s->first)
		give_back(take_out(s, &s->first));
}
