/* PostgreSQL's protocol: the server's messages answer what is outstanding. Source: the PostgreSQL manual. */
#include "proto/postgres_state.h"

/* SQLSTATE of an error. */
static struct slice sqlstate(struct slice b)
{
	struct slice field = {NULL, 0};
	for (uint32_t at = 0; postgres_string(b, &at, &field) && field.n;)
		if (field.p[0] == 'C' && field.n == 6)
			return (struct slice){field.p + 1, 5};
	return SLICE("");
}

/* The oldest group is over, but some of its commands were skipped: one of them is told, and the message taken later. */
static bool skipped(struct postgres *s, struct db_event *e)
{
	while (s->failed && s->runs && !(s->run_kind[s->first] & RUN_END) && postgres_oldest(s) != RUN_EXECUTE)
		postgres_pop(s);
	if (!s->failed || postgres_oldest(s) != RUN_EXECUTE)
		return false;
	postgres_answered(s);
	e->what = DB_ANSWER;
	e->aborted = true;
	return true;
}

static bool ready(struct postgres *s, struct db_event *e)
{
	if (s->phase == LOGIN) {
		s->phase = READY;
		return true;
	}
	int end = postgres_end_kind(s);
	while (s->runs && !(s->run_kind[s->first] & RUN_END) && postgres_oldest(s) != RUN_EXECUTE)
		postgres_pop(s); /* RUN_PARSE */
	if (end < 0 || !(s->run_kind[s->first] & RUN_END) || end == RUN_EXECUTE)
		return postgres_over(e); /* nobody asked for it, or there is no answer to a command */
	if (end == RUN_QUERY)
		e->what = DB_ANSWER;
	postgres_pop(s);
	s->failed = false;
	return true;
}

static bool failure(struct postgres *s, struct slice b, struct db_event *e)
{
	struct slice status = sqlstate(b);
	if (!status.n)
		return postgres_over(e);
	s->copying = false;
	uint8_t kind = postgres_oldest(s);
	if (s->phase != READY) {
		e->what = DB_REFUSED;
		e->status = status;
		return true;
	}
	if (s->runs && kind == RUN_QUERY) {
		e->what = DB_FAILED;
		e->status = status;
		return true;
	}
	if (s->failed || (!s->runs && !s->open))
		return true;
	if (postgres_end_kind(s) == RUN_QUERY) /* it is skipped, and a Sync is still to come: who does that? */
		return postgres_over(e);
	s->failed = true;
	if (kind == RUN_NONE)
		return true;
	e->status = status;
	e->what = kind == RUN_PARSE ? DB_REFUSED : DB_ANSWER;
	e->key = kind == RUN_PARSE ? s->run[s->first] : 0;
	postgres_answered(s);
	return true;
}

/* CommandComplete, EmptyQueryResponse, PortalSuspended. */
static bool complete(struct postgres *s, struct db_event *e)
{
	if (postgres_oldest(s) == RUN_QUERY)
		return true;
	if (postgres_oldest(s) != RUN_EXECUTE || s->failed)
		return postgres_over(e);
	if ((uint32_t)--s->run[s->first])
		return true;
	postgres_answered(s);
	e->what = DB_ANSWER;
	return true;
}

/* COPY FROM begins. By Execute: the Syncs sent behind that are ignored, and one behind the data counts. */
static bool copy_in(struct postgres *s, struct db_event *e)
{
	if (postgres_oldest(s) == RUN_QUERY || (s->runs && s->run_kind[s->first] & RUN_COPIED))
		return true;
	if (postgres_oldest(s) != RUN_EXECUTE || s->runs != 1)
		return postgres_over(e);
	s->run_kind[s->first] = RUN_EXECUTE;
	s->open = s->copying = true;
	return true;
}

static bool parameter(struct slice b, struct db_event *e)
{
	uint32_t at = 0;
	struct slice key;
	if (!postgres_string(b, &at, &key) || !slice_eq(key, SLICE("server_version")) || !postgres_string(b, &at, &e->version))
		return true;
	e->what = DB_SESSION;
	e->system = DB_POSTGRESQL;
	return true;
}

static bool server_message(struct postgres *s, struct slice b, struct db_event *e)
{
	switch (s->server.head[0]) {
	case 'E':
		return failure(s, b, e);
	case 'S':
		return parameter(b, e);
	case 'Z':
		return ready(s, e);
	case 'C':
	case 'I':
	case 's':
		return complete(s, e);
	case '1':
		if (postgres_oldest(s) == RUN_PARSE) /* else of a statement whose command is outstanding */
			postgres_answered(s);
		return true;
	case 'G':
	case 'W':
		return copy_in(s, e);
	}
	return true;
}

size_t postgres_server(struct postgres *s, const char *p, size_t n, struct db_event *e)
{
	struct postgres_stream *f = &s->server;
	size_t at = 0;
	*e = (struct db_event){.what = DB_NOTHING};
	postgres_wipe(&s->client, s->client_buf);
	if (n && s->phase == ASKED) {
		s->phase = *p == 'N' ? START : OLD;
		if (*p == 'N')
			at = 1;
	}
	for (postgres_wipe(f, s->server_buf); at < n; postgres_wipe(f, s->server_buf)) {
		struct slice b;
		bool begun = f->have == 5;
		if (s->phase == START || (s->phase == OLD && p[at] != 'E' && f->have == 0)) {
			postgres_over(e);
			return at;
		}
		if (!postgres_head(f, p, n, &at))
			return at;
		int want = (begun || postgres_sized(f)) ? postgres_server_wants(f->head[0], f->size) : -1;
		if (want < 0) {
			postgres_over(e);
			return at;
		}
		if (f->head[0] == 'Z' && at < n && s->phase == READY && skipped(s, e))
			return at;
		if (!postgres_body(f, p, n, &at, s->server_buf, (uint32_t)want, &b))
			return at;
		server_message(s, b, e);
		if (e->what != DB_NOTHING)
			return at;
	}
	return at;
}
