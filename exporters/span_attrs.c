/*
 * The one place that knows the HTTP semantic conventions: which attribute a field of a record is, what a span is
 * called and when it failed. Encodings only write down what stands here.
 *
 * The record may lie in memory that a hostile process writes to: every string is copied before it is looked at a
 * second time, and no length is read twice.
 */
#include "exporters/span_attrs.h"
#include "base/small.h"
#include "exporters/settings.h"
#include "exporters/span_maker.h"
#include "proto/head_field.h"
#include "proto/tracecontext.h"

enum { /* of OTLP */
	   KIND_SERVER = 2,
	   KIND_CLIENT = 3,
	   PARENT_KNOWN = 0x100,
	   PARENT_REMOTE = 0x200,
};

#define SMALL_TEXT 1024 /* addresses, numbers, NULs, prefixes of keys beside the record's own strings */
#define COPIES 2        /* of one string, at most: Host in url.full and server.address, an AWS operation */

/* ---- what spans have ---- */

static const struct slice methods[] = {
	[HTTP1_OTHER] = SLICE("_OTHER"),
	[HTTP1_GET] = SLICE("GET"),
	[HTTP1_HEAD] = SLICE("HEAD"),
	[HTTP1_POST] = SLICE("POST"),
	[HTTP1_PUT] = SLICE("PUT"),
	[HTTP1_DELETE] = SLICE("DELETE"),
	[HTTP1_CONNECT] = SLICE("CONNECT"),
	[HTTP1_OPTIONS] = SLICE("OPTIONS"),
	[HTTP1_TRACE] = SLICE("TRACE"),
	[HTTP1_PATCH] = SLICE("PATCH"),
};

/* The name as well: "GET", "GET /users/:id", and "HTTP" for what is not a known method. Returns its number. */
static uint8_t add_method(struct maker *m, const struct rec_view *v, struct slice route)
{
	uint8_t method = v->rec->method;
	if (method >= sizeof methods / sizeof *methods)
		method = HTTP1_OTHER;
	struct slice name = method == HTTP1_OTHER ? SLICE("HTTP") : methods[method];
	if (route.n) {
		char *from = m->at;
		text(m, name);
		*m->at++ = ' ';
		text(m, route);
		name = from_to(from, m->at);
		*m->at++ = 0;
	}
	m->o->name = name.p;
	m->o->name_len = name.n;
	LIT("http.request.method", methods[method]);
	if (method == HTTP1_OTHER)
		STR("http.request.method_original", rec_str(v, REC_METHOD));
	return method;
}

static struct slice scheme_of(const struct target *t, uint8_t bits)
{
	if (bits & REC_HTTPS || is_word(t->scheme, "https"))
		return SLICE("https");
	return t->scheme.n && !is_word(t->scheme, "http") ? t->scheme : SLICE("http");
}

static uint32_t default_port(struct slice scheme)
{
	return is_word(scheme, "https") ? 443 : 80;
}

/* What server and client tell alike; `fails` is the first status that is an error. */
static void add_exchange(struct maker *m, const struct span_rec *r, unsigned fails)
{
	uint16_t status = r->status;
	uint8_t minor = r->minor, bits = r->bits, error = r->error;
	if (minor <= 1)
		LIT("network.protocol.version", minor ? SLICE("1.1") : SLICE("1.0"));
	if (status)
		INT("http.response.status_code", status);
	if (bits & REC_REQ_BODY)
		INT("http.request.body.size", r->req_size);
	if (bits & REC_RESP_BODY)
		INT("http.response.body.size", r->resp_size);
	if (error == ERR_NONE && status < fails)
		return;
	/* What cut a response off says more than the status that it had begun with. */
	m->o->status = SPAN_STATUS_ERROR;
	if (error != ERR_NONE) {
		const char *word = rec_error_name(error, r->err_no);
		STR("error.type", from_to(word, word + strlen(word)));
	} else {
		char *from = m->at;
		m->at = decimal(from, status);
		*m->at++ = 0;
		LIT("error.type", from_to(from, m->at - 1));
	}
}

/* "name: value" lines: http.request.header.<name>, an array as the conventions want it. */
static void add_headers(struct maker *m, struct slice lines)
{
	static const struct slice prefix = SLICE("http.request.header.");
	struct slice seen[HEADERS_MOST]; /* the record may be another process's */
	for (unsigned i = 0, n = 0; lines.n && i < HEADERS_MOST; i++) {
		struct slice line = slice_next(&lines, '\n'), name = slice_next(&line, ':');
		char *key = m->at;
		unsigned k = 0;
		while (k < n && !slice_same(seen[k], name))
			k++;
		if (k < n || !header_name_ok(name))
			continue;
		seen[n++] = name;
		text(m, prefix);
		text(m, name);
		uint32_t key_len = (uint32_t)(m->at - key);
		*m->at++ = 0;
		struct attr *a = begin(m, key, key_len);
		if (!a)
			return;
		char *from = m->at;
		text(m, slice_trim(line));
		end_text(m, a, from);
		a->type = ATTR_STRINGS;
		a->str_len++; /* its NUL */
		a->n = 1;
	}
}

/* All of it is in a span_conn. */
static void server_conn(struct maker *m, const struct rec_view *v, const struct target *t)
{
	const struct span_rec *r = v->rec;
	struct slice scheme = scheme_of(t, r->bits);
	STR("url.scheme", scheme);

	/* The name the client used. A Host without a port leaves it open whether somebody maps ports before us. */
	struct authority a = authority_of(t->authority.n ? t->authority : rec_str(v, REC_HOST));
	if (a.host.n) {
		STR("server.address", a.host);
		uint32_t port = r->local.port ? r->local.port : default_port(scheme);
		INT("server.port", a.port ? a.port : port);
	} else if (r->local.family) {
		LIT("server.address", address(m, &r->local));
		INT("server.port", r->local.port);
	}
	struct slice peer = address(m, &r->peer);
	if (rec_str(v, REC_CLIENT_ADDR).n)
		STR("client.address", rec_str(v, REC_CLIENT_ADDR));
	else
		LIT("client.address", peer);
	add_peer(m, r, peer);
}

static void server(struct maker *m, const struct rec_view *v, bool conn)
{
	const struct span_rec *r = v->rec;
	struct slice route = rec_str(v, REC_ROUTE);
	uint8_t method = add_method(m, v, route);
	struct target t = target_of(rec_str(v, REC_TARGET), method == HTTP1_CONNECT);
	STR("url.path", t.path.p || !t.authority.p ? t.path : SLICE("/")); /* required, CONNECT has none */
	STR("url.query", t.query);
	m->o->conn_at = m->o->n;
	if (conn)
		server_conn(m, v, &t);
	m->o->conn_n = m->o->n - m->o->conn_at;
	STR("user_agent.original", rec_str(v, REC_USER_AGENT));
	add_headers(m, rec_str(v, REC_HEADERS));
	STR("enduser.id", rec_str(v, REC_USER));
	STR("http.route", route);
	add_exchange(m, r, 500);
}

/* Peer address as the authority of a URL, when the request names no host. */
static void peer_authority(struct maker *m, const struct span_rec *r, struct slice peer, uint32_t usual_port)
{
	bool v6 = memchr(peer.p, ':', peer.n) != NULL;
	if (v6)
		*m->at++ = '[';
	text(m, peer);
	if (v6)
		*m->at++ = ']';
	if (r->peer.port && r->peer.port != usual_port) {
		*m->at++ = ':';
		m->at = decimal(m->at, r->peer.port);
	}
}

static void client(struct maker *m, const struct rec_view *v)
{
	const struct span_rec *r = v->rec;
	uint8_t method = add_method(m, v, (struct slice){NULL, 0});
	struct slice whole = rec_str(v, REC_TARGET);
	struct target t = target_of(whole, method == HTTP1_CONNECT);
	struct slice scheme = scheme_of(&t, r->bits);
	uint32_t usual_port = default_port(scheme);
	struct authority a = authority_of(t.authority.n ? t.authority : rec_str(v, REC_HOST));
	struct slice peer = address(m, &r->peer);

	struct attr *url = a.host.n || peer.n ? begin(m, KEY("url.full")) : NULL;
	if (url) {
		char *from = m->at;
		if (t.scheme.n) {
			text(m, whole);
		} else {
			text(m, scheme);
			text(m, SLICE("://"));
			if (a.host.n)
				text(m, a.text);
			else
				peer_authority(m, r, peer, usual_port);
			if (!t.authority.p && !slice_eq(whole, SLICE("*"))) /* OPTIONS * means the server itself */
				text(m, whole);
		}
		end_text(m, url, from);
	}
	if (a.host.n)
		STR("server.address", a.host);
	else
		LIT("server.address", peer);
	uint32_t port = usual_port;
	if (!t.authority.p && r->peer.port) /* behind a proxy (absolute form) the peer is not the server */
		port = r->peer.port;
	if (a.host.n || peer.n)
		INT("server.port", a.port ? a.port : port);
	add_peer(m, r, peer);
	add_exchange(m, r, 400);
	span_aws_call(m, v);
}

static void failed_connect(struct maker *m, const struct span_rec *r)
{
	const char *word = r->error == ERR_NONE ? "_OTHER" : rec_error_name(r->error, r->err_no);
	m->o->name = "connect";
	m->o->name_len = sizeof "connect" - 1;
	m->o->status = SPAN_STATUS_ERROR;
	struct slice peer = address(m, &r->peer);
	LIT("server.address", peer);
	if (peer.n)
		INT("server.port", r->peer.port);
	add_peer(m, r, peer);
	STR("error.type", from_to(word, word + strlen(word)));
}

/* ---- */

static bool zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static inline __attribute__((always_inline)) bool make(struct span_attrs *o, const struct rec_view *v, const struct settings *s,
                                                       bool conn)
{
	const struct span_rec *r = v->rec;
	uint8_t kind = r->kind, bits = r->bits;
	if (kind < SPAN_SERVER || kind >= SPAN_KINDS || zero(r->trace_id, 16) || zero(r->span_id, 8))
		return false;
	o->kind = kind == SPAN_SERVER ? KIND_SERVER : KIND_CLIENT;
	o->status = 0;
	o->n = o->dropped = o->conn_at = o->conn_n = 0;
	o->big = (struct buf){0};
	o->has_parent = !zero(r->parent_id, 8);
	o->flags = (r->trace_flags & TRACE_FLAGS_WIRE) | PARENT_KNOWN | (o->has_parent && bits & REC_PARENT_REMOTE ? PARENT_REMOTE : 0);
	o->start_ns = r->start_ns;
	o->end_ns = r->end_ns > o->start_ns ? r->end_ns : o->start_ns; /* the clock may have been set */

	struct maker mk = {o, o->text, s->attr_count_limit, s->attr_length_limit}, *m = &mk;
	if (m->max_attrs > SPAN_ATTRS_MAX)
		m->max_attrs = SPAN_ATTRS_MAX;
	struct rec_view bare;
	size_t room = SMALL_TEXT + (size_t)v->bytes * COPIES * UTF8_GROWTH;
	if (room > sizeof o->text) {
		if (buf_reserve(&o->big, room)) {
			m->at = o->big.p;
		} else { /* no memory: better a span without its strings than none */
			bare = (struct rec_view){.rec = r, .proc = v->proc};
			v = &bare;
		}
	}
	struct slice state = rec_str(v, REC_TRACESTATE);
	o->trace_state = m->at;
	text(m, state);
	o->trace_state_len = (uint32_t)(m->at - o->trace_state);
	*m->at++ = 0;

	if (kind == SPAN_SERVER)
		server(m, v, conn);
	else if (kind == SPAN_CLIENT)
		client(m, v);
	else if (kind == SPAN_DB)
		span_db(m, v);
	else
		failed_connect(m, r);
	/* Nobody saw the end of it: its process ended first. */
	uint8_t error = r->error;
	if (error == ERR_CRASHED)
		LIT("remora.aborted", SLICE("crash"));
	else if (error == ERR_PROCESS_KILLED || error == ERR_PROCESS_EXIT)
		LIT("remora.aborted", error == ERR_PROCESS_KILLED ? SLICE("killed") : SLICE("exit"));
	if (bits & REC_AMBIGUOUS)
		LIT("remora.parent", SLICE("ambiguous"));
	return true;
}

bool span_attrs_make(struct span_attrs *o, const struct rec_view *v, const struct settings *s)
{
	return make(o, v, s, true);
}

bool span_attrs_make_rest(struct span_attrs *o, const struct rec_view *v, const struct settings *s)
{
	return make(o, v, s, false);
}

bool span_conn_of(struct span_conn *o, const struct rec_view *v, const struct settings *s)
{
	const struct span_rec *r = v->rec;
	struct slice host = rec_str(v, REC_HOST), target = rec_str(v, REC_TARGET);
	if (r->kind != SPAN_SERVER || (v->has & (1u << REC_CLIENT_ADDR | 1u << REC_HEADERS)) || !target.n || *target.p != '/' ||
	    host.n > SPAN_CONN_HOST || s->attr_count_limit < SPAN_ATTRS_MAX || s->attr_length_limit < SPAN_CONN_HOST)
		return false;
	o->peer = r->peer;
	o->local = r->local;
	o->https = (r->bits & REC_HTTPS) != 0;
	o->host_n = (uint8_t)host.n;
	memset(o->host, 0, sizeof o->host);
	small_copy(o->host, host.p, host.n);
	return true;
}

void span_attrs_free(struct span_attrs *o)
{
	if (o->big.p)
		buf_free(&o->big);
}
