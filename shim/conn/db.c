#include "conn/db.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/sys.h"
#include "config.h"
#include "conn/db_statements.h"
#include "conn/http.h"
#include "conn/names.h"
#include "proto/mysql.h"
#include "proto/postgres.h"
#include "proto/sql.h"
#include <sys/socket.h>
#include <sys/un.h>

struct text { /* of a session; cut where it is longer */
	uint8_t n;
	char p[127];
};

struct db {
	void *pool;
	uint8_t system; /* enum db_system */
	bool is_mysql;
	struct text user, database, version, peer;
	struct statements statements;
	uint64_t sent_ns; /* when the client's newest message began */
	union {
		struct postgres pg;
		struct mysql my;
	} parser;
};

static struct pool dbs = POOL(sizeof(struct db), 128 * 1024, 64u << 20);

typedef size_t (*parse)(struct db *d, const char *p, size_t n, struct db_event *e);

static size_t client(struct db *d, const char *p, size_t n, struct db_event *e)
{
	return d->is_mysql ? mysql_client(&d->parser.my, p, n, e) : postgres_client(&d->parser.pg, p, n, e);
}

static size_t server(struct db *d, const char *p, size_t n, struct db_event *e)
{
	return d->is_mysql ? mysql_server(&d->parser.my, p, n, e) : postgres_server(&d->parser.pg, p, n, e);
}

static bool between(const struct db *d)
{
	return d->is_mysql ? mysql_between(&d->parser.my) : postgres_between(&d->parser.pg);
}

bool db_idle(const struct conn *c)
{
	return between(c->db) && !c->first;
}

/* ---- what a record says ---- */

static void keep(struct text *t, struct slice s)
{
	if (!s.p)
		return;
	t->n = (uint8_t)(s.n < sizeof t->p ? s.n : sizeof t->p);
	for (uint32_t i = 0; i < t->n; i++) /* a line end would begin the next */
		t->p[i] = s.p[i] == '\n' ? ' ' : s.p[i];
}

static void session(struct db *d, const struct db_event *e)
{
	if (e->system)
		d->system = e->system;
	keep(&d->user, e->user);
	keep(&d->database, e->database);
	keep(&d->version, e->version);
}

static void put(struct span_rec *r, enum rec_tag tag, struct slice s)
{
	rec_put(process.arena, r, tag, s);
}

static void put_session(struct span_rec *r, const struct db *d)
{
	char text[3 * sizeof(struct text)];
	const struct text *const parts[] = {&d->database, &d->user, &d->version};
	uint32_t n = 0;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		memcpy(text + n, parts[i]->p, parts[i]->n);
		n += parts[i]->n;
		text[n++] = '\n';
	}
	put(r, REC_DB, (struct slice){text, n});
	if (d->peer.n)
		put(r, REC_PEER_NAME, (struct slice){d->peer.p, d->peer.n});
}

/* A text without literals, in memory that head_buffer_free() takes; p NULL: no memory. */
static struct slice clean(const struct db *d, const struct db_event *e, bool *cut, uint32_t *cap)
{
	char *out = head_buffer(DB_TEXT_MAX, cap);
	*cut = e->cut;
	if (!out)
		return (struct slice){NULL, 0};
	bool more = e->cut;
	size_t n = sql_sanitize(e->text, d->system, out, DB_TEXT_MAX, &more);
	*cut |= more;
	return (struct slice){out, (uint32_t)n};
}

static void put_query(struct span_rec *r, struct db *d, const struct db_event *e)
{
	bool cut = false;
	if (!e->text.p) {
		struct slice known = statements_get(&d->statements, e->key, &cut);
		if (known.p)
			put(r, REC_QUERY, known);
	} else {
		uint32_t cap;
		struct slice text = clean(d, e, &cut, &cap);
		if (text.p) {
			put(r, REC_QUERY, text);
			head_buffer_free((char *)(uintptr_t)text.p, cap);
		}
		cut |= !text.p;
	}
	if (cut)
		r->bits |= REC_CUT;
}

/* ---- commands ---- */

static struct txn *start(struct conn *c, int fd, const struct db_event *e, enum rec_db what, struct txn *own)
{
	struct db *d = c->db;
	struct span_ctx ctx;
	struct span_rec *r;
	span_ctx_client(&ctx, !c->used, c->at_connect, NULL);
	struct txn *t = txn_start(SPAN_DB, &ctx, NULL, d->sent_ns, c, own, &r);
	if (!t) {
		conn_opaque(c, COUNT_DROP_TABLE);
		return NULL;
	}
	c->used = true;
	t->tell = false;
	if (!r)
		return t;
	conn_addresses(c, fd);
	r->peer = c->peer;
	r->local = c->local;
	r->method = d->system;
	r->minor = (uint8_t)what;
	r->req_size = 1;
	put_session(r, d);
	if (what != REC_DB_LOGIN)
		put_query(r, d, e);
	return t;
}

static void failed(struct txn *t, struct slice status)
{
	struct span_rec *r = status.n ? txn_record(t) : NULL;
	if (r)
		put(r, REC_DB_STATUS, status);
}

static void command(struct conn *c, int fd, const struct db_event *e)
{
	if (c->n_txns >= PIPELINE_MAX) {
		conn_opaque(c, COUNT_DROP_PIPELINE);
		return;
	}
	struct txn *t = start(c, fd, e, e->prepared ? REC_DB_PREPARED : REC_DB_TEXT, c->first ? NULL : &c->own);
	if (t)
		http_push(c, t);
}

static void repeat(struct conn *c)
{
	struct span_rec *r = c->last ? txn_record(c->last) : NULL;
	if (r)
		r->req_size++;
}

static void answer(struct conn *c, const struct db_event *e)
{
	if (!c->first) { /* cannot be: the parser counts them too */
		conn_opaque(c, COUNT_OPAQUE_BROKEN);
		return;
	}
	failed(c->first, e->status);
	http_finish(c, e->aborted ? ERR_NOT_RUN : ERR_NONE, 0);
}

/* What failed and was no command: a span of its own. */
static void refused(struct conn *c, int fd, const struct db_event *e)
{
	struct txn *t = start(c, fd, e, e->key ? REC_DB_PREPARE : REC_DB_LOGIN, NULL);
	if (!t)
		return;
	failed(t, e->status);
	txn_end(t, txn_record(t), ERR_NONE, 0, real_ns());
}

static void prepare(struct db *d, const struct db_event *e)
{
	bool cut;
	uint32_t cap;
	struct slice text = clean(d, e, &cut, &cap);
	bool kept = text.p && statements_put(&d->statements, e->key, text, cut);
	if (text.p)
		head_buffer_free((char *)(uintptr_t)text.p, cap);
	if (!kept)
		arena_count(process.arena, COUNT_DROP_STATEMENT, 1);
}

static void take(struct conn *c, int fd, const struct db_event *e)
{
	struct db *d = c->db;
	switch (e->what) {
	case DB_NOTHING:
		return;
	case DB_SESSION:
		session(d, e);
		return;
	case DB_PREPARE:
		prepare(d, e);
		return;
	case DB_PREPARED:
		statements_rename(&d->statements, DB_KEY_NEXT, e->key);
		return;
	case DB_FORGET:
		statements_drop(&d->statements, e->key);
		return;
	case DB_COMMAND:
		command(c, fd, e);
		return;
	case DB_REPEAT:
		repeat(c);
		return;
	case DB_FAILED:
		if (c->first)
			failed(c->first, e->status);
		return;
	case DB_ANSWER:
		answer(c, e);
		return;
	case DB_REFUSED:
		refused(c, fd, e);
		return;
	case DB_OVER:
		conn_opaque(c, COUNT_OPAQUE_DB);
		return;
	}
}

/* ---- bytes ---- */

static void feed(struct conn *c, int fd, parse parser, const char *p, size_t n)
{
	struct db_event e;
	do {
		size_t k = parser(c->db, p, n, &e);
		p += k;
		n -= k;
		if (k == 0 && e.what == DB_NOTHING && n)
			e.what = DB_OVER; /* no parser does that */
		take(c, fd, &e);
	} while (!c->opaque && (n || e.what != DB_NOTHING));
}

void db_tx(struct conn *c, int fd, const char *p, size_t n, uint64_t start_ns)
{
	if (c->opaque)
		return;
	if (between(c->db))
		c->db->sent_ns = start_ns ? start_ns : real_ns();
	feed(c, fd, client, p, n);
}

void db_rx(struct conn *c, int fd, const char *p, size_t n)
{
	if (!c->opaque)
		feed(c, fd, server, p, n);
}

_Static_assert(NAME_MOST <= sizeof((struct text *)0)->p, "a name fits");

/* A peer without an address is told by its path. */
static void name_peer(struct db *d, int fd)
{
	struct sockaddr_un un;
	unsigned n = sizeof un;
	if (sys3(SYS_getpeername, fd, &un, &n) != 0 || un.sun_family != AF_UNIX || n <= offsetof(struct sockaddr_un, sun_path))
		return;
	n = n < sizeof un ? n : (unsigned)sizeof un;
	n -= (unsigned)offsetof(struct sockaddr_un, sun_path);
	if (!un.sun_path[0])
		un.sun_path[0] = '@'; /* abstract */
	keep(&d->peer, (struct slice){un.sun_path, (uint32_t)strnlen(un.sun_path, n)});
}

bool db_begin(struct conn *c, int fd, bool tx, const char *p, size_t n, uint64_t start_ns)
{
	bool is_mysql = !tx;
	if (config.no_databases)
		return false;
	/* A client may read the first four bytes alone; the parser looks at the rest. */
	if (tx ? !postgres_begins(p, n) : !mysql_begins(p, n) && !(n < 8 && mysql_may_begin(p, n)))
		return false;
	struct db *d = pool_get(&dbs);
	if (!d)
		return false;
	memset(d, 0, sizeof *d);
	d->system = is_mysql ? DB_MYSQL : DB_POSTGRESQL;
	d->is_mysql = is_mysql;
	d->sent_ns = c->connect_ns ? c->connect_ns : real_ns();
	c->db = d;
	c->role = ROLE_DB;
	conn_addresses(c, fd);
	if (c->peer.family)
		d->peer.n = (uint8_t)names_find(&c->peer, d->peer.p);
	else
		name_peer(d, fd);
	if (tx)
		db_tx(c, fd, p, n, start_ns);
	else
		db_rx(c, fd, p, n);
	return true;
}

void db_free(struct conn *c)
{
	if (!c->db)
		return;
	statements_free(&c->db->statements);
	pool_put(&dbs, c->db);
	c->db = NULL;
}
