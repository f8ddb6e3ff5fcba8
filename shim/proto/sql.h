/* SQL text without what it may not tell. Pure. host, any context. */
#ifndef REMORA_SQL_H
#define REMORA_SQL_H

#include "proto/db.h"

/*
 * `in` in the lexical rules of `system`: every literal is a ?, comments are left out, white space is one blank, a list of
 * literals behind IN is its first, rows of VALUES are the first of those that are alike. What stands in MySQL's conditional
 * comments is SQL and stays, without their marks. *cut: only the beginning of a text was given, whose last token may be a piece
 * of one; afterwards: out is not all of it. At most `cap` bytes, never more than in.n. Returns the length.
 *
 * What is not surely harmless is taken for a literal. The server may be set to read backslashes otherwise than by default;
 * where a text makes sense in that way only, or could, it ends behind the first literal that is not the same in both.
 */
size_t sql_sanitize(struct slice in, enum db_system system, char *out, size_t cap, bool *cut);

#endif
