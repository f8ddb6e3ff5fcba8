/* SQL text without what it may not tell. Pure. host, any context. */
#ifndef REMORA_SQL_H
#define REMORA_SQL_H

#include "proto/db.h"

/*
 * `in` with every literal replaced by ?, comments left out, in the lexical rules of `system`; `cut`: only the beginning
 * of a text, whose last token may be a piece of one. At most `cap` bytes; *cut: out is not all of it. Returns its length.
 * What is not surely harmless is taken for a literal.
 */
size_t sql_sanitize(struct slice in, enum db_system system, char *out, size_t cap, bool *cut);

#endif
