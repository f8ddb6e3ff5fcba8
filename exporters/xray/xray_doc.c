/*
 * A record as a segment or subsegment document. Names come from span_attrs.c, so that X-Ray and OTLP tell the same;
 * what has no place of its own in a document stands in its metadata, or in its annotations where that is wished.
 */
#include "base/glob.h"
#include "exporters/span_aws.h"
#include "exporters/xray/xray_priv.h"
#include "proto/http1.h"
#include <stdlib.h>

enum { /* of OTLP, as span_attrs.h has them */
	   KIND_SERVER = 2,
	   PARENT_REMOTE = 0x200,
};

/* ---- parts ---- */

void xray_put_name(struct doc *d, struct slice s)
{
	char name[XRAY_NAME_MOST * 4 + 1];
	size_t n = xray_name_clean(s, name);
	j_text(&d->j, "name", (struct slice){name, (uint32_t)n});
}

static struct slice host_of(const struct rec_view *v)
{
	struct target t = target_of(rec_str(v, REC_TARGET), v->rec->method == HTTP1_CONNECT);
	return authority_of(t.authority.n ? t.authority : rec_str(v, REC_HOST)).text;
}

static void put_service_name(struct doc *d)
{
	const struct xray_settings *x = &d->s->settings->xray;
	struct slice host = d->s->attrs->kind == KIND_SERVER && x->dynamic ? host_of(d->s->view) : (struct slice){NULL, 0};
	const char *name = x->name ? x->name : d->s->resource->service_name;
	xray_put_name(d, host.n && glob_fits(slice_of(x->dynamic), host, true) ? host : slice_of(name));
}

static void put_trace_id(struct doc *d)
{
	const uint8_t *id = d->s->view->rec->trace_id;
	j_key(&d->j, "trace_id");
	j_raw(&d->j, "\"1-", 3);
	j_hex(&d->j, id, 4);
	j_raw(&d->j, "-", 1);
	j_hex(&d->j, id + 4, 12);
	j_raw(&d->j, "\"", 1);
}

static void put_times(struct doc *d)
{
	j_time(&d->j, "start_time", d->s->attrs->start_ns);
	if (d->s->in_progress)
		j_bool(&d->j, "in_progress", true);
	else
		j_time(&d->j, "end_time", d->s->attrs->end_ns);
}

/* The URL without its query: that stands, redacted, in the metadata. */
static void put_url(struct doc *d)
{
	const struct rec_view *v = d->s->view;
	struct buf b = {0};
	struct slice url = span_text(d, "url.full");
	if (url.n) {
		const char *e = url.p;
		while (e < url.p + url.n && *e != '?' && *e != '#')
			e++;
		put_text(d, "url", from_to(url.p, e), FIELD_MOST);
		return;
	}
	struct slice scheme = span_text(d, "url.scheme"), path = span_text(d, "url.path"), host = host_of(v);
	if (!scheme.n)
		return;
	buf_add(&b, scheme.p, scheme.n);
	buf_add(&b, "://", 3);
	if (host.n) {
		utf8_add(&b, host.p, host.n);
	} else {
		struct slice address = span_text(d, "server.address");
		struct json j = {&b, false};
		bool v6 = address.n && memchr(address.p, ':', address.n);
		buf_add(&b, "[", v6);
		buf_add(&b, address.p, address.n);
		buf_add(&b, "]", v6);
		buf_add(&b, ":", 1);
		j_unsigned(&j, (uint64_t)span_number(d, "server.port"), 1);
	}
	buf_add(&b, path.p, path.n);
	if (!b.failed)
		put_text(d, "url", (struct slice){b.p, (uint32_t)b.n}, FIELD_MOST);
	buf_free(&b);
}

static void put_http(struct doc *d)
{
	const struct rec_view *v = d->s->view;
	const struct attr *size = xray_find(d->s->attrs->attrs, d->s->attrs->n, "http.response.body.size");
	struct slice method = span_text(d, "http.request.method_original");
	if (!method.n)
		method = span_text(d, "http.request.method");
	if (!method.n)
		return; /* no request was sent */
	j_open(&d->j, "http", '{');
	j_open(&d->j, "request", '{');
	put_text(d, "method", method, FIELD_MOST);
	put_url(d);
	if (d->s->attrs->kind == KIND_SERVER) {
		put_text(d, "user_agent", span_text(d, "user_agent.original"), FIELD_MOST);
		put_text(d, "client_ip", span_text(d, "client.address"), FIELD_MOST);
		if (rec_str(v, REC_CLIENT_ADDR).n)
			j_bool(&d->j, "x_forwarded_for", true);
	}
	j_close(&d->j, '}');
	int64_t status = span_number(d, "http.response.status_code");
	if (status && !d->s->in_progress) {
		j_open(&d->j, "response", '{');
		j_int(&d->j, "status", status);
		if (size)
			j_int(&d->j, "content_length", size->num);
		j_close(&d->j, '}');
	}
	j_close(&d->j, '}');
}

/* Of HTTP; 0: none. */
static uint16_t status_of(const struct doc *d)
{
	return is_db(d) ? 0 : d->s->view->rec->status;
}

static bool has_fault(const struct doc *d)
{
	return (d->s->event && !d->s->event->handled) || has_failed(d) || status_of(d) >= 500;
}

static void put_flags(struct doc *d)
{
	uint16_t status = status_of(d);
	if (d->s->in_progress)
		return;
	if (status >= 400 && status < 500)
		j_bool(&d->j, "error", true);
	if (status == 429)
		j_bool(&d->j, "throttle", true);
	if (has_fault(d))
		j_bool(&d->j, "fault", true);
}

static void put_user(struct doc *d)
{
	struct slice user = span_text(d, "enduser.id");
	put_text(d, "user", user.n ? user : span_text(d, "user.id"), FIELD_MOST);
}

static void put_service(struct doc *d)
{
	struct slice version = resource_text(d, "service.version");
	if (!version.n)
		return;
	j_open(&d->j, "service", '{');
	j_text(&d->j, "version", version);
	j_close(&d->j, '}');
}

/* ---- documents ---- */

static bool is_local_root(const struct xray_span *s)
{
	return s->attrs->kind != KIND_SERVER && (!s->attrs->has_parent || s->attrs->flags & PARENT_REMOTE);
}

static void root_id(const struct span_rec *r, uint8_t out[8])
{
	for (int i = 0; i < 8; i++)
		out[i] = r->span_id[i] ^ 0x5a;
}

static void segment(struct doc *d, const uint8_t id[8], bool own)
{
	const struct span_rec *r = d->s->view->rec;
	put_service_name(d);
	j_id(&d->j, "id", id);
	put_trace_id(d);
	if (d->s->attrs->has_parent)
		j_id(&d->j, "parent_id", r->parent_id);
	put_times(d);
	put_service(d);
	xray_put_origin(d);
	if (own) {
		put_user(d);
		put_http(d);
	}
	put_flags(d);
	if (own) {
		xray_put_cause(d);
		xray_put_annotations(d, true);
	}
	xray_put_aws(d);
	if (own)
		xray_put_metadata(d, true);
}

static void subsegment(struct doc *d)
{
	const struct span_rec *r = d->s->view->rec;
	struct slice host = span_text(d, "server.address");
	uint8_t parent[8];
	memcpy(parent, r->parent_id, 8);
	if (is_local_root(d->s))
		root_id(r, parent);
	j_text(&d->j, "type", SLICE("subsegment"));
	struct span_aws call;
	bool aws = !is_db(d) && span_aws_read(d->s->view, &call);
	if (is_db(d))
		xray_put_sql_name(d);
	else
		xray_put_name(d, aws ? call.service : host.n ? host
		                                             : (struct slice){d->s->attrs->name, d->s->attrs->name_len});
	j_id(&d->j, "id", r->span_id);
	put_trace_id(d);
	j_id(&d->j, "parent_id", parent);
	put_times(d);
	j_text(&d->j, "namespace", aws ? SLICE("aws") : SLICE("remote"));
	if (is_db(d))
		xray_put_sql(d);
	else
		put_http(d);
	put_flags(d);
	xray_put_cause(d);
	xray_put_annotations(d, false);
	xray_put_aws_call(d);
	xray_put_metadata(d, false);
}

bool xray_doc(struct buf *b, const struct xray_span *s)
{
	size_t begin = b->n;
	for (enum room room = ROOM_ALL; room < ROOM_NONE && !b->failed; room++) {
		struct doc d = {.j = {b, false}, .s = s, .room = room};
		b->n = begin;
		j_raw(&d.j, "{", 1);
		if (s->attrs->kind == KIND_SERVER)
			segment(&d, s->view->rec->span_id, true);
		else
			subsegment(&d);
		j_raw(&d.j, "}", 1);
		if (!b->failed && b->n - begin <= XRAY_DOC_MAX)
			return true;
	}
	b->n = begin;
	return false;
}

bool xray_local_root(struct buf *b, const struct xray_span *s)
{
	struct doc d = {.j = {b, false}, .s = s, .room = ROOM_ALL};
	size_t begin = b->n;
	uint8_t id[8];
	if (!is_local_root(s))
		return false;
	root_id(s->view->rec, id);
	j_raw(&d.j, "{", 1);
	segment(&d, id, false);
	j_raw(&d.j, "}", 1);
	if (!b->failed && b->n - begin <= XRAY_DOC_MAX)
		return true;
	b->n = begin;
	return false;
}
