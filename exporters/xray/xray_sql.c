/* A database command: its subsegment's name and its sql block. */
#include "exporters/xray/xray_priv.h"
#include "proto/head_field.h"
#include <strings.h>

#define QUERY_FEW 4000 /* characters, where the whole of it does not fit */

static void add(struct buf *b, struct slice s)
{
	buf_add(b, s.p, s.n);
}

static struct slice slice_of_buf(const struct buf *b)
{
	return (struct slice){b->p, b->failed ? 0 : (uint32_t)b->n};
}

/* A line of REC_DB: that is not in the attributes. */
static void put_session(struct doc *d, const char *key, unsigned line)
{
	struct slice rest = rec_str(d->s->view, REC_DB), part = {NULL, 0};
	struct buf b = {0};
	for (unsigned i = 0; i <= line; i++)
		part = rest.n ? slice_next(&rest, '\n') : (struct slice){NULL, 0};
	utf8_add(&b, part.p, part.n);
	put_text(d, key, slice_of_buf(&b), FIELD_MOST);
	buf_free(&b);
}

static bool is_socket(struct slice address)
{
	return address.n && (*address.p == '/' || *address.p == '@');
}

static void add_server(struct doc *d, struct buf *b, struct slice address)
{
	const struct rec_addr *peer = &d->s->view->rec->peer;
	struct json j = {b, false};
	bool v6 = !is_socket(address) && memchr(address.p, ':', address.n);
	buf_add(b, "[", v6);
	add(b, address);
	buf_add(b, "]", v6);
	if (is_socket(address) || !peer->family)
		return;
	buf_add(b, ":", 1);
	j_unsigned(&j, peer->port, 1);
}

static void add_escaped(struct buf *b, struct slice s)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", hex[] = "0123456789ABCDEF";
	for (uint32_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (memchr(plain, c, sizeof plain - 1))
			buf_add(b, &s.p[i], 1);
		else
			buf_add(b, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
	}
}

/* Only where it tells a host and a database: others read the rest of it for the name of one. */
static void put_url(struct doc *d, struct slice system, struct slice address, struct slice database)
{
	struct buf b = {0};
	if (!address.n || is_socket(address) || !database.n)
		return;
	add(&b, system);
	buf_add(&b, "://", 3);
	add_server(d, &b, address);
	buf_add(&b, "/", 1);
	add_escaped(&b, database);
	put_text(d, "url", slice_of_buf(&b), FIELD_MOST * 4);
	buf_free(&b);
}

static void put_connection(struct doc *d, struct slice address, struct slice database)
{
	struct buf b = {0};
	if (!address.n)
		return;
	add_server(d, &b, address);
	buf_add(&b, "/", database.n != 0);
	add(&b, database);
	put_text(d, "connection_string", slice_of_buf(&b), FIELD_MOST * 4);
	buf_free(&b);
}

static bool is_call(struct slice query)
{
	return query.n > 4 && strncasecmp(query.p, "CALL ", 5) == 0;
}

void xray_put_sql(struct doc *d)
{
	struct slice system = span_text(d, "db.system.name"), database = span_text(d, "db.namespace");
	struct slice address = span_text(d, "server.address"), query = span_text(d, "db.query.text");
	j_open(&d->j, "sql", '{');
	put_url(d, system, address, database);
	put_connection(d, address, database);
	put_text(d, "sanitized_query", query, d->room >= ROOM_NO_FRAMES ? QUERY_FEW : UINT32_MAX);
	put_text(d, "database_type", system, FIELD_MOST);
	put_session(d, "database_version", 2);
	put_session(d, "user", 1);
	if (d->s->view->rec->minor == REC_DB_PREPARED)
		j_text(&d->j, "preparation", is_call(query) ? SLICE("call") : SLICE("statement"));
	j_close(&d->j, '}');
}

void xray_put_sql_name(struct doc *d)
{
	struct slice database = span_text(d, "db.namespace"), address = span_text(d, "server.address");
	struct buf b = {0};
	add(&b, database);
	buf_add(&b, "@", database.n && address.n);
	add(&b, address);
	if (!b.n && !b.failed)
		buf_add(&b, d->s->attrs->name, d->s->attrs->name_len);
	xray_put_name(d, slice_of_buf(&b));
	buf_free(&b);
}
