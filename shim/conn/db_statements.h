/*
 * The texts of one connection's prepared statements, without literals, the one used last first. Memory comes from pools,
 * and there is an end to it: what has not been used for the longest time goes. host, any context.
 */
#ifndef REMORA_DB_STATEMENTS_H
#define REMORA_DB_STATEMENTS_H

#include "base/slice.h"

struct statement;
struct statements {
	struct statement *first;
	uint32_t n;
};

/* text is copied. False: no memory; the key has no text then. */
bool statements_put(struct statements *s, uint64_t key, struct slice text, bool cut);
/* Another key for it. */
void statements_rename(struct statements *s, uint64_t from, uint64_t to);
/* p NULL: not known. Valid until the next call. */
struct slice statements_get(struct statements *s, uint64_t key, bool *cut);
void statements_drop(struct statements *s, uint64_t key);
void statements_free(struct statements *s);

#endif
