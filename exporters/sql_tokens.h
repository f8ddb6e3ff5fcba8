/* The words of an SQL text without literals and comments, as sql_sanitize() leaves it. Pure. */
#ifndef REMORA_SQL_TOKENS_H
#define REMORA_SQL_TOKENS_H

#include "base/slice.h"

enum sql_what { /* a token; punctuation is its character */
	            SQL_END,
	            SQL_WORD = 'w',  /* a bare word, maybe a keyword */
	            SQL_NAME = 'n',  /* in quotes, or with dots */
	            SQL_VALUE = 'v', /* a literal that was, a parameter */
	            SQL_VAR = '@',
};

struct sql_token {
	int what;
	struct slice s;
};

struct sql_reader {
	const char *p, *e;
};

/* Behind SQL_END it is SQL_END again. */
struct sql_token sql_next(struct sql_reader *r);

/* Is it one of these? Of lower-case words with a blank between. */
bool sql_is(struct slice w, const char *words);

/* Case aside. */
bool sql_same(struct slice a, struct slice b);

static inline bool sql_blank(char c)
{
	return (unsigned char)c <= 0x20 || c == 0x7f;
}

static inline bool sql_letter(char c)
{
	return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_';
}

#endif
