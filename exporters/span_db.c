/*
 * Database commands in the semantic conventions (database client spans; PostgreSQL, MySQL, MariaDB). The operation and the
 * collection are not told apart from the summary: the conventions do not want them taken from a text.
 */
#include "exporters/span_maker.h"
#include "exporters/sql_summary.h"
#include "proto/db.h"
#include "proto/head_field.h"

static const struct {
	struct slice name;
	uint16_t port; /* the usual one, which is not told */
} systems[DB_SYSTEM_MAX] = {
	[DB_NONE] = {SLICE("other_sql"), 0},
	[DB_POSTGRESQL] = {SLICE("postgresql"), 5432},
	[DB_MYSQL] = {SLICE("mysql"), 3306},
	[DB_MARIADB] = {SLICE("mariadb"), 3306},
};

/* A copy: the record may change while it is read. */
static struct slice copy(struct maker *m, struct slice s)
{
	char *from = m->at;
	text(m, s);
	struct slice out = from_to(from, m->at);
	*m->at++ = 0;
	return out;
}

static struct slice summary(struct maker *m, struct slice query, bool batch)
{
	static const struct slice prefix = SLICE("BATCH ");
	char *from = m->at, *at = from;
	if (batch) {
		memcpy(at, prefix.p, prefix.n);
		at += prefix.n;
	}
	size_t n = sql_summary(query, at, SQL_SUMMARY_MAX - (size_t)(at - from));
	if (!n)
		return (struct slice){NULL, 0};
	at[n] = 0;
	m->at = at + n + 1;
	return from_to(from, at + n);
}

static void add_server(struct maker *m, const struct rec_view *v, uint16_t usual_port)
{
	const struct span_rec *r = v->rec;
	struct slice peer = address(m, &r->peer), name = rec_str(v, REC_PEER_NAME);
	uint16_t port = r->peer.port;
	if (name.n)
		STR("server.address", name);
	else
		LIT("server.address", peer);
	if (peer.n && port != usual_port)
		INT("server.port", port);
	add_peer(m, r, peer);
}

static void add_failure(struct maker *m, const struct rec_view *v)
{
	uint8_t error = v->rec->error;
	struct slice status = copy(m, rec_str(v, REC_DB_STATUS));
	const char *word = error != ERR_NONE ? rec_error_name(error, v->rec->err_no) : NULL;
	if (!status.n && !word)
		return;
	m->o->status = SPAN_STATUS_ERROR;
	LIT("db.response.status_code", status);
	if (status.n)
		LIT("error.type", status);
	else
		STR("error.type", from_to(word, word + strlen(word)));
}

void span_db(struct maker *m, const struct rec_view *v)
{
	const struct span_rec *r = v->rec;
	uint8_t what = r->minor, system = r->method;
	if (system >= DB_SYSTEM_MAX)
		system = DB_NONE;
	uint64_t times = r->req_size;
	struct slice query = copy(m, rec_str(v, REC_QUERY)), session = copy(m, rec_str(v, REC_DB));
	struct slice called = summary(m, query, times > 1), name = called.n ? called : systems[system].name;
	if (what == REC_DB_LOGIN)
		name = SLICE("connect");
	m->o->name = name.p;
	m->o->name_len = name.n;
	LIT("db.system.name", systems[system].name);
	STR("db.namespace", session.n ? slice_next(&session, '\n') : session);
	LIT("db.query.summary", called);
	LIT("db.query.text", query);
	if (times > 1)
		INT("db.operation.batch.size", times);
	add_server(m, v, systems[system].port);
	add_failure(m, v);
}
