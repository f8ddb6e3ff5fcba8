/* PostgreSQL's protocol: the client's messages. Source: the PostgreSQL manual, chapter of that name. */
#include "proto/postgres_state.h"

static uint32_t fold(uint64_t h)
{
	return (uint32_t)(h ^ h >> 32);
}

static bool name(struct slice body, uint32_t *at, struct slice *out)
{
	return postgres_string(body, at, out) && out->n <= POSTGRES_NAME_MAX;
}

/* ---- what is outstanding ---- */

static bool push(struct postgres *s, uint8_t kind, uint64_t value)
{
	if (s->runs == POSTGRES_RUNS)
		return false;
	uint32_t i = postgres_run_at(s, s->runs++);
	s->run[i] = value;
	s->run_kind[i] = kind;
	return true;
}

/* The newest, if it belongs to the client's group. */
static int newest(const struct postgres *s)
{
	uint32_t i = postgres_run_at(s, s->runs - 1u);
	return s->runs && !(s->run_kind[i] & RUN_END) ? (int)i : -1;
}

static void new_group(struct postgres *s)
{
	s->open = false;
	memset(s->parsed, 0, sizeof s->parsed);
}

/* ---- the client ---- */

static bool start(struct postgres *s, struct slice b, struct db_event *e)
{
	uint32_t code = postgres_be32(b.p), at = 4;
	struct slice key, value;
	if (s->client.size == 4 && (code == POSTGRES_SSL || code == POSTGRES_GSSENC)) {
		s->phase = ASKED;
		return true;
	}
	if (code >> 16 != 3)
		return postgres_over(e); /* a CancelRequest ends the connection, too */
	while (postgres_string(b, &at, &key) && key.n && postgres_string(b, &at, &value)) {
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
	if (!postgres_string(b, &at, &e->text)) {
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
		return postgres_over(e);
	if (s->open && s->failed && postgres_end_kind(s) < 0) /* skipped, and a Sync is still to come: who does that? */
		return postgres_over(e);
	while (newest(s) >= 0 && s->run_kind[newest(s)] == RUN_PARSE) /* an error is that of the command */
		s->runs--;
	if (!push(s, RUN_QUERY | RUN_END, 0))
		return postgres_over(e);
	new_group(s);
	e->what = DB_COMMAND;
	return true;
}

static bool parse(struct postgres *s, struct slice b, struct db_event *e)
{
	uint32_t at = 0;
	struct slice n;
	if (!name(b, &at, &n) || !text(s, b, at, e))
		return postgres_over(e);
	e->key = db_key(n);
	if (n.n == 0)
		s->text = fold(db_key(e->text) + s->client.size);
	s->parsed[s->parsed_at++ % POSTGRES_PARSED] = e->key;
	if (!push(s, RUN_PARSE, e->key))
		return postgres_over(e);
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
		return postgres_over(e);
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
		return postgres_over(e);
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
		return postgres_over(e);
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
		return postgres_over(e);
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
		return postgres_over(e);
	new_group(s);
	return true;
}

static void copy_ends(struct postgres *s)
{
	if (!s->copying && newest(s) >= 0)
		s->run_kind[newest(s)] |= RUN_COPIED;
	s->copying = false;
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
		copy_ends(s);
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
				postgres_over(e); /* it does not wait for the answer: TLS at once? */
				return at;
			}
		}
		if (!postgres_head(f, p, n, &at))
			return at;
		int want = (begun || postgres_sized(f)) ? postgres_client_wants(f->head[0], f->size) : -1;
		if (want < 0) {
			postgres_over(e);
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
