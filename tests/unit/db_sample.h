/* What a database's parser tells, as lines of text; the pieces of both streams that it is fed. */
#ifndef REMORA_DB_SAMPLE_H
#define REMORA_DB_SAMPLE_H

#include "proto/db.h"
#include "unit.h"

struct piece {
	bool server;
	const char *p;
	size_t n;
};

static const char *const db_words[] = {"", "session", "prepare", "prepared", "forget", "command",
                                       "repeat", "failed", "answer", "refused", "over"};
static char got[1 << 15];

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	size_t n = strlen(got);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(got + n, sizeof got - n, fmt, ap);
	va_end(ap);
}

static void say_slice(const char *name, struct slice v)
{
	if (v.p)
		say(" %s=%.*s", name, (int)(v.n < 60 ? v.n : 60), v.p);
	if (v.n > 60)
		say("...%u", v.n);
}

#endif
