/* What both halves of PostgreSQL's parser know: postgres.c has the client's messages, postgres_server.c the server's. */
#ifndef REMORA_POSTGRES_STATE_H
#define REMORA_POSTGRES_STATE_H

#include "proto/postgres_frame.h"

enum phase {
	START, /* the client's messages have no type yet */
	ASKED, /* for encryption: the server answers with one byte */
	OLD,   /* a server that does not know the question says so by an error */
	LOGIN,
	READY,
};

enum run_kind {
	RUN_NONE,    /* answered */
	RUN_PARSE,   /* `run`: the key */
	RUN_EXECUTE, /* `run`: a hash of what is run, and how often it is still to be answered */
	RUN_QUERY,   /* until ReadyForQuery */
	RUN_KIND = 0x3f,
	RUN_COPIED = 0x40, /* the client has ended its COPY FROM without waiting for the server to begin it */
	RUN_END = 0x80,    /* ReadyForQuery comes behind it */
};

/* A string at `at`, which moves behind its NUL. */
static inline bool postgres_string(struct slice body, uint32_t *at, struct slice *out)
{
	const char *nul = *at < body.n ? memchr(body.p + *at, 0, body.n - *at) : NULL;
	if (!nul)
		return false;
	*out = (struct slice){body.p + *at, (uint32_t)(nul - body.p) - *at};
	*at += out->n + 1;
	return true;
}

static inline uint32_t postgres_run_at(const struct postgres *s, uint32_t i)
{
	return (s->first + i) % POSTGRES_RUNS;
}

static inline void postgres_pop(struct postgres *s)
{
	s->first = (uint16_t)postgres_run_at(s, 1);
	s->runs--;
}

/* The oldest is answered; the end of its group stays. */
static inline void postgres_answered(struct postgres *s)
{
	if (s->run_kind[s->first] & RUN_END)
		s->run_kind[s->first] = RUN_NONE | RUN_END;
	else
		postgres_pop(s);
}

/* The kind of what ends the oldest group; -1: nothing yet. */
static inline int postgres_end_kind(const struct postgres *s)
{
	for (uint32_t i = 0; i < s->runs; i++)
		if (s->run_kind[postgres_run_at(s, i)] & RUN_END)
			return s->run_kind[postgres_run_at(s, i)] & RUN_KIND;
	return -1;
}

static inline uint8_t postgres_oldest(const struct postgres *s)
{
	return s->runs ? s->run_kind[s->first] & RUN_KIND : RUN_NONE;
}

static inline bool postgres_over(struct db_event *e)
{
	*e = (struct db_event){.what = DB_OVER};
	return false;
}

#endif
