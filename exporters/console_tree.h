/*
 * Spans held back until their trace is whole, then written as a tree. exporter thread.
 *
 * A parent ends after its children, so a trace is written soon after its root came: soon, since a child may end in
 * another process. Where no root comes (it is somebody else's, or is lost) it is written when nothing more has come
 * for a while.
 */
#ifndef REMORA_CONSOLE_TREE_H
#define REMORA_CONSOLE_TREE_H

#include "base/clock.h"
#include "base/slice.h"
#include "exporters/buf.h"

#define TREE_SPANS 4096 /* held at most; then all are written as they are */
#define TREE_BUCKETS 256

struct tree_span {
	uint8_t trace_id[16], span_id[8], parent_id[8];
	bool has_parent, remote; /* remote: another process says that it is the parent */
	uint64_t start_ns;
	struct buf line; /* owned by the tree after tree_add */
	char *service;   /* owned likewise; may be NULL */
};

struct tree_trace;
struct tree {
	struct tree_trace *bucket[TREE_BUCKETS];
	uint32_t spans;
	uint64_t due_ns; /* no trace is due before; 0 = there is none */
};

static inline uint64_t tree_now(void)
{
	return mono_ns();
}

void tree_add(struct tree *t, const struct tree_span *s, uint64_t now, struct buf *out);
void tree_print(struct tree *t, uint64_t now, bool all, struct buf *out);
static inline uint64_t tree_due(const struct tree *t)
{
	return t->due_ns;
}
void tree_free(struct tree *t);

/* console.c: for terminals; "..." behind `most` bytes */
void console_escape(struct buf *b, struct slice s, size_t most);

#endif
