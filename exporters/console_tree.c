/* The trees of console.c. */
#include "exporters/console_tree.h"
#include <stdio.h>
#include <stdlib.h>

#define MS UINT64_C(1000000)
#define AFTER_ROOT (100 * MS)
#define AFTER_REMOTE (500 * MS) /* the parent may be a span of ours that is still open */
#define AFTER_OTHER (2000 * MS)
#define DEEPEST 32

struct node {
	struct tree_span s;
	struct node *next;         /* in the trace, newest first */
	struct node *child, *last; /* of the tree while it is written: in order of start */
	struct node *sibling;
	bool placed, printed;
};

struct tree_trace {
	struct tree_trace *next;
	uint8_t id[16];
	struct node *nodes;
	uint32_t n;
	uint64_t due_ns;
	bool rooted;
};

static unsigned bucket_of(const uint8_t id[16])
{
	return id[15]; /* random in every generator */
}

static void node_free(struct node *n)
{
	buf_free(&n->s.line);
	free(n->s.service);
	free(n);
}

static void trace_free(struct tree *t, struct tree_trace *x)
{
	while (x->nodes) {
		struct node *next = x->nodes->next;
		node_free(x->nodes);
		x->nodes = next;
	}
	t->spans -= x->n;
	free(x);
}

void tree_free(struct tree *t)
{
	for (unsigned b = 0; b < TREE_BUCKETS; b++)
		while (t->bucket[b]) {
			struct tree_trace *x = t->bucket[b];
			t->bucket[b] = x->next;
			trace_free(t, x);
		}
}

/* ---- writing ---- */

static int by_start(const void *a, const void *b)
{
	const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;
	return x->s.start_ns < y->s.start_ns ? -1 : x->s.start_ns > y->s.start_ns;
}

static void write_node(struct node *n, unsigned depth, const char *service, struct buf *out)
{
	if (n->printed)
		return; /* ids that go in a circle */
	n->printed = true;
	for (unsigned i = 1; i < depth; i++)
		buf_add(out, "   ", 3);
	if (depth)
		buf_add(out, "\u2514\u2500 ", 7);
	buf_add(out, n->s.line.p, n->s.line.n);
	if (n->s.service && (!service || strcmp(service, n->s.service) != 0)) {
		buf_add(out, "  ", 2);
		buf_add(out, n->s.service, strlen(n->s.service));
	}
	if (!depth) {
		buf_add(out, "  trace=", 8);
		for (int i = 0; i < 16; i++) {
			char hex[3];
			snprintf(hex, sizeof hex, "%02x", n->s.trace_id[i]);
			buf_add(out, hex, 2);
		}
	}
	buf_add(out, "\n", 1);
	for (struct node *c = n->child; c; c = c->sibling)
		write_node(c, depth < DEEPEST ? depth + 1 : depth, n->s.service, out);
}

static void adopt(struct node *parent, struct node *n)
{
	if (parent->last)
		parent->last->sibling = n;
	else
		parent->child = n;
	parent->last = n;
	n->placed = true;
}

/* Parents are looked up in a table of twice as many buckets, by the random bytes of their ids. */
static void write_trace(struct tree_trace *x, struct buf *out)
{
	uint32_t size = 4;
	while (size < 2 * x->n)
		size *= 2;
	struct node **all = malloc(x->n * sizeof *all), **table = calloc(size, sizeof *table);
	uint32_t n = 0;
	if (!all || !table)
		goto out;
	for (struct node *i = x->nodes; i; i = i->next)
		all[n++] = i;
	qsort(all, n, sizeof *all, by_start);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at;
		memcpy(&at, all[i]->s.span_id, 4);
		while (table[at &= size - 1])
			at++;
		table[at] = all[i];
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at;
		if (!all[i]->s.has_parent)
			continue;
		memcpy(&at, all[i]->s.parent_id, 4);
		for (; table[at &= size - 1]; at++)
			if (memcmp(table[at]->s.span_id, all[i]->s.parent_id, 8) == 0) {
				if (table[at] != all[i])
					adopt(table[at], all[i]);
				break;
			}
	}
	for (uint32_t i = 0; i < n; i++)
		if (!all[i]->placed)
			write_node(all[i], 0, NULL, out);
	for (uint32_t i = 0; i < n; i++)
		write_node(all[i], 0, NULL, out);
out:
	free(all);
	free(table);
}

void tree_print(struct tree *t, uint64_t now, bool all, struct buf *out)
{
	uint64_t due = 0;
	if (!t->due_ns || (!all && now < t->due_ns))
		return;
	for (unsigned b = 0; b < TREE_BUCKETS; b++)
		for (struct tree_trace **p = &t->bucket[b]; *p;) {
			struct tree_trace *x = *p;
			if (all || x->due_ns <= now) {
				*p = x->next;
				write_trace(x, out);
				trace_free(t, x);
				continue;
			}
			if (!due || x->due_ns < due)
				due = x->due_ns;
			p = &x->next;
		}
	t->due_ns = due;
}

/* ---- holding ---- */

static struct tree_trace *trace_of(struct tree *t, const uint8_t id[16])
{
	struct tree_trace **p = &t->bucket[bucket_of(id)], *x;
	for (x = *p; x; x = x->next)
		if (memcmp(x->id, id, 16) == 0)
			return x;
	x = calloc(1, sizeof *x);
	if (!x)
		return NULL;
	memcpy(x->id, id, 16);
	x->next = *p;
	*p = x;
	return x;
}

void tree_add(struct tree *t, const struct tree_span *s, uint64_t now, struct buf *out)
{
	if (t->spans >= TREE_SPANS)
		tree_print(t, now, true, out);
	struct node *n = calloc(1, sizeof *n);
	struct tree_trace *x = n && !s->line.failed ? trace_of(t, s->trace_id) : NULL;
	if (!x) {
		struct tree_span lost = *s;
		buf_free(&lost.line);
		free(lost.service);
		free(n);
		return;
	}
	n->s = *s;
	n->next = x->nodes;
	x->nodes = n;
	x->n++;
	t->spans++;
	x->rooted |= !s->has_parent;
	x->due_ns = now + (x->rooted ? AFTER_ROOT : s->remote ? AFTER_REMOTE
	                                                      : AFTER_OTHER);
	/* Later than this at the earliest; a trace whose time moved on is found out when it is looked at. */
	if (!t->due_ns || x->due_ns < t->due_ns)
		t->due_ns = x->due_ns;
}
