/* PostgreSQL's protocol: messages, and what is outstanding. Source: the PostgreSQL manual, chapter of that name. */
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
	RUN_KIND = 0x7f,
	RUN_END = 0x80, /* ReadyForQuery comes behind it */
};

static uint32_t fold(uint64_t h)
{
	return (uint32_t)(h ^ h >> 32);
}

/* A string at `at`, which moves behind its NUL. */
static bool string(struct slice body, uint32_t *at, struct slice *out)
{
	const char *nul = *at < body.n ? memchr(body.p + *at, 0, body.n - *at) : NULL;
	if (!nul)
		return false;
	*out = (struct slice){body.p + *at, (uint32_t)(nul - body.p) - *at};
	*at += out->n + 1;
	return true;
}

static bool name(struct slice body, uint32_t *at, struct slice *out)
{
	return string(body, at, out) && out->n <= POSTGRES_NAME_MAX;
}

/* ---- what is outstanding ---- */

static uint32_t run_at(const struct postgres *s, uint32_t i)
{
	return (s->first + i) % POSTGRES_RUNS;
}

static bool push(struct postgres *s, uint8_t kind, uint64_t value)
{
	if (s->runs == POSTGRES_RUNS)
		return false;
	uint32_t i = run_at(s, s->runs++);
	s->run[i] = value;
	s->run_kind[i] = kind;
	return true;
}

static void pop(struct postgres *s)
{
	s->first = (uint16_t)run_at(s, 1);
	s->runs--;
}

/* The oldest is answered; the end of its group stays. */
static void answered(struct postgres *s)
{
	if (s->run_kind[s->first] & RUN_END)
		s->run_kind[s->first] = RUN_NONE | RUN_END;
	else
		pop(s);
}

/* The newest, if it belongs to the client's group. */
static int newest(const struct postgres *s)
{
	uint32_t i = run_at(s, s->runs - 1u);
	return s->runs && !(s->run_kind[i] & RUN_END) ? (int)i : -1;
}

/* The kind of what ends the oldest group; -1: nothing yet. */
static int end_kind(const struct postgres *s)
{
	for (uint32_t i = 0; i < s->runs; i++)
		if (s->run_kind[run_at(s, i)] & RUN_END)
			return s->run_kind[run_at(s, i)] & RUN_KIND;
	return -1;
}

static uint8_t oldest(const struct postgres *s)
{
	return s->runs ? s->run_kind[s->first] & RUN_KIND : RUN_NONE;
}

static void new_group(struct postgres *s)
{
	s->open = s->copied = false;
	memset(s->parsed, 0, sizeof s->parsed);
}

/* ---- the client ---- */

static bool over(struct db_event *e)
{
	*e = (struct db_event){.what = DB_OVER};
	return false;
}

static bool start(struct postgres *s, struct slice b, struct db_event *e)
{
	uint32_t code = postgres_be32(b.p), at = 4;
	struct slice key, value;
	if (s->client.size == 4 && (code == POSTGRES_SSL || code == POSTGRES_GSSENC)) {
		s->phase = ASKED;
		return true;
	}
	if (code >> 16 != 3)
		return over(e); /* a CancelRequest ends the connection, too */
	while (string(b, &at, &key) && key.n && string(b, &at, &value)) {
		if (slice_eq(key, SLICE("user")))
			e->user = value;
		if (slice_eq(key, SLICE("database")))
			e->database = value;
	}
	if (!e->database.n)
		e->database = e->user;
	e->what = DB_SESSION;
	e->system = DB_POSTGRESQL;
	s->phase = LOGIN;
	return true;
}

/* A text at `at`: a string, of which the end may not have been kept. */
static bool text(const struct postgres *s, struct slice b, uint32_t at, struct db_event *e)
{
	uint32_t from = at;
	if (!string(b, &at, &e->text)) {
		e->cut = b.n < s->client.size;
		e->text = (struct slice){b.p + from, b.n - from};
		if (!e->cut)
			return false;
	}
	if (e->text.n > DB_TEXT_MAX) {
		e->cut = true;
		e->text.n = DB_TEXT_MAX;
	}
	return true;
}

/* Query, FunctionCall: a group by themselves, or the end of one. */
static bool query(struct postgres *s, struct slice b, bool has_text, struct db_event *e)
{
	if (has_text && !text(s, b, 0, e))
		return over(e);
	if (s->open && s->failed && end_kind(s) < 0) /* skipped, and a Sync is still to come: who does that? */
		return over(e);
	while (newest(s) >= 0 && s->run_kind[newest(s)] == RUN_PARSE) /* an error is that of the command */
		s->runs--;
	if (!push(s, RUN_QUERY | RUN_END, 0))
		return over(e);
	new_group(s);
	e->what = DB_COMMAND;
	return true;
}

static bool parse(struct postgres *s, struct slice b, struct db_event *e)
{
	uint32_t at = 0;
	struct slice n;
	if (!name(b, &at, &n) || !text(s, b, at, e))
		return over(e);
	e->key = db_key(n);
	if (n.n == 0)
		s->text = fold(db_key(e->text) + s->client.size);
	s->parsed[s->parsed_at++ % POSTGRES_PARSED] = e->key;
	if (!push(s, RUN_PARSE, e->key))
		return over(e);
	e->what = DB_PREPARE;
	return true;
}

static struct postgres_portal *portal(struct postgres *s, struct slice n)
{
	uint64_t key = db_key(n);
	if (n.n == 0)
		return &s->unnamed;
	for (int i = 0; i < POSTGRES_PORTALS; i++)
		if (s->portal[i].name == key)
			return &s->portal[i];
	return NULL;
}

static bool bind(struct postgres *s, struct slice b, struct db_event *e)
{
	uint32_t at = 0;
	struct slice n, statement;
	if (!name(b, &at, &n) || !name(b, &at, &statement))
		return over(e);
	struct postgres_portal *p = portal(s, n);
	if (!p)
		p = &s->portal[s->portal_at++ % POSTGRES_PORTALS];
	*p = (struct postgres_portal){db_key(n), db_key(statement), statement.n ? 0 : s->text};
	return true;
}

static bool execute(struct postgres *s, struct slice b, struct db_event *e)
{
	uint32_t at = 0;
	struct slice n;
	if (!name(b, &at, &n))
		return over(e);
	const struct postgres_portal *p = portal(s, n);
	uint64_t key = p ? p->key : 0;
	if (key == db_key(SLICE("")) && p->text != s->text)
		key = 0;
	while (newest(s) >= 0 && s->run_kind[newest(s)] == RUN_PARSE) /* an error is that of the command */
		s->runs--;
	uint64_t hash = key ? (uint64_t)(fold(key) ^ p->text) << 32 : 0;
	int i = newest(s);
	e->key = key;
	if (i >= 0 && key && s->run_kind[i] == RUN_EXECUTE && (s->run[i] ^ hash) <= UINT32_MAX - 1u) {
		s->run[i]++;
		e->what = DB_REPEAT;
		return true;
	}
	if (!push(s, RUN_EXECUTE, hash | 1))
		return over(e);
	e->what = DB_COMMAND;
	e->prepared = true;
	for (int k = 0; k < POSTGRES_PARSED && key; k++)
		if (s->parsed[k] == key)
			e->prepared = false;
	return true;
}

static bool forget(struct postgres *s, struct slice b, struct db_event *e)
{
	uint32_t at = 1;
	struct slice n;
	if (!name(b, &at, &n) || (b.p[0] != 'S' && b.p[0] != 'P'))
		return over(e);
	if (b.p[0] == 'S') {
		e->what = DB_FORGET;
		e->key = db_key(n);
	} else if (portal(s, n)) {
		*portal(s, n) = (struct postgres_portal){0};
	}
	return true;
}

static bool sync_message(struct postgres *s, struct db_event *e)
{
	if (s->copying)
		return true;
	int i = newest(s);
	if (i >= 0)
		s->run_kind[i] |= RUN_END;
	else if (!push(s, RUN_NONE | RUN_END, 0))
		return over(e);
	new_group(s);
	return true;
}

static bool client_message(struct postgres *s, struct slice b, struct db_event *e)
{
	switch (s->client.head[0]) {
	case 0:
		return start(s, b, e);
	case 'Q':
	case 'F':
		return query(s, b, s->client.head[0] == 'Q', e);
	case 'P':
		s->open = true;
		return parse(s, b, e);
	case 'B':
		s->open = true;
		return bind(s, b, e);
	case 'E':
		s->open = true;
		return execute(s, b, e);
	case 'C':
		s->open = true;
		return forget(s, b, e);
	case 'D':
		s->open = true;
		return true;
	case 'S':
		return sync_message(s, e);
	case 'c':
	case 'f':
		s->copied = true;
		s->copying = false;
		return true;
	}
	return true;
}

size_t postgres_client(struct postgres *s, const char *p, size_t n, struct db_event *e)
{
	struct postgres_stream *f = &s->client;
	size_t at = 0;
	*e = (struct db_event){.what = DB_NOTHING};
	postgres_wipe(&s->server, s->server_buf);
	for (postgres_wipe(f, s->client_buf); at < n; postgres_wipe(f, s->client_buf)) {
		struct slice b;
		bool begun = f->have == 5;
		if (f->have == 0 && s->phase < LOGIN) { /* no type */
			f->head[0] = 0;
			f->have = 1;
			if (s->phase != START) {
				over(e); /* it does not wait for the answer: TLS at once? */
				return at;
			}
		}
		if (!postgres_head(f, p, n, &at))
			return at;
		int want = (begun || postgres_sized(f)) ? postgres_client_wants(f->head[0], f->size) : -1;
		if (want < 0) {
			over(e);
			return at;
		}
		if (!postgres_body(f, p, n, &at, s->client_buf, (uint32_t)want, &b))
			return at;
		client_message(s, b, e);
		if (e->what != DB_NOTHING)
			return at;
	}
	return at;
}

/* ---- the server ---- */

/* SQLSTATE of an error. */
static struct slice sqlstate(struct slice b)
{
	struct slice field = {NULL, 0};
	for (uint32_t at = 0; string(b, &at, &field) && field.n;)
		if (field.p[0] == 'C' && field.n == 6)
			return (struct slice){field.p + 1, 5};
	return SLICE("");
}

/* The oldest group is over, but some of its commands were skipped: one of them is told, and the message taken later. */
static bool skipped(struct postgres *s, struct db_event *e)
{
	while (s->failed && s->runs && !(s->run_kind[s->first] & RUN_END) && oldest(s) != RUN_EXECUTE)
		pop(s);
	if (!s->failed || oldest(s) != RUN_EXECUTE)
		return false;
	answered(s);
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
	int end = end_kind(s);
	while (s->runs && !(s->run_kind[s->first] & RUN_END) && oldest(s) != RUN_EXECUTE)
		pop(s); /* RUN_PARSE */
	if (end < 0 || !(s->run_kind[s->first] & RUN_END) || end == RUN_EXECUTE)
		return over(e); /* nobody asked for it, or there is no answer to a command */
	if (end == RUN_QUERY)
		e->what = DB_ANSWER;
	pop(s);
	s->failed = false;
	return true;
}

static bool failure(struct postgres *s, struct slice b, struct db_event *e)
{
	e->status = sqlstate(b);
	if (!e->status.n)
		return over(e);
	s->copying = false;
	uint8_t kind = oldest(s);
	if (s->phase != READY) {
		e->what = DB_REFUSED;
		return true;
	}
	if (s->runs && kind == RUN_QUERY) {
		e->what = DB_FAILED;
		return true;
	}
	if (s->failed || (!s->runs && !s->open))
		return true;
	if (end_kind(s) == RUN_QUERY) /* it is skipped, and a Sync is still to come: who does that? */
		return over(e);
	s->failed = true;
	if (kind == RUN_NONE)
		return true;
	e->what = kind == RUN_PARSE ? DB_REFUSED : DB_ANSWER;
	e->key = kind == RUN_PARSE ? s->run[s->first] : 0;
	answered(s);
	return true;
}

/* CommandComplete, EmptyQueryResponse, PortalSuspended. */
static bool complete(struct postgres *s, struct db_event *e)
{
	if (oldest(s) == RUN_QUERY)
		return true;
	if (oldest(s) != RUN_EXECUTE || s->failed)
		return over(e);
	if ((uint32_t)--s->run[s->first])
		return true;
	answered(s);
	e->what = DB_ANSWER;
	return true;
}

/* COPY FROM begins. By Execute: the Syncs sent behind that are ignored, and one behind the data counts. */
static bool copy_in(struct postgres *s, struct db_event *e)
{
	if (oldest(s) == RUN_QUERY)
		return true;
	if (oldest(s) != RUN_EXECUTE || s->runs != 1)
		return over(e);
	if (s->copied) /* the client has not waited for it */
		return true;
	s->run_kind[s->first] = RUN_EXECUTE;
	s->open = s->copying = true;
	return true;
}

static bool parameter(struct slice b, struct db_event *e)
{
	uint32_t at = 0;
	struct slice key;
	if (!string(b, &at, &key) || !slice_eq(key, SLICE("server_version")) || !string(b, &at, &e->version))
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
		if (oldest(s) == RUN_PARSE) /* else of a statement whose command is outstanding */
			answered(s);
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
			over(e);
			return at;
		}
		if (!postgres_head(f, p, n, &at))
			return at;
		int want = (begun || postgres_sized(f)) ? postgres_server_wants(f->head[0], f->size) : -1;
		if (want < 0) {
			over(e);
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
