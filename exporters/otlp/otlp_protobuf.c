/*
 * ExportTraceServiceRequest as protobuf, in one pass. Field numbers are those of opentelemetry-proto 1.x
 * (trace.proto, common.proto, resource.proto); all of those used here are below 16 but for Span.flags.
 */
#include "exporters/batch_view.h"
#include "exporters/otlp/otlp.h"
#include "exporters/otlp/otlp_group.h"
#include "exporters/otlp/pb.h"
#include "exporters/span_events.h"
#include "version.h"

enum {
	REQUEST_RESOURCE_SPANS = 1,
	RESOURCE_SPANS_RESOURCE = 1,
	RESOURCE_SPANS_SCOPE_SPANS = 2,
	RESOURCE_SPANS_SCHEMA_URL = 3,
	RESOURCE_ATTRIBUTES = 1,
	SCOPE_SPANS_SCOPE = 1,
	SCOPE_SPANS_SPANS = 2,
	SCOPE_SPANS_SCHEMA_URL = 3,
	SCOPE_NAME_FIELD = 1,
	SCOPE_VERSION = 2,
	SPAN_TRACE_ID = 1,
	SPAN_SPAN_ID = 2,
	SPAN_TRACE_STATE = 3,
	SPAN_PARENT_ID = 4,
	SPAN_NAME = 5,
	SPAN_KIND = 6,
	SPAN_START = 7,
	SPAN_END = 8,
	SPAN_ATTRIBUTES = 9,
	SPAN_DROPPED_ATTRIBUTES = 10,
	SPAN_EVENTS = 11,
	SPAN_STATUS = 15,
	SPAN_FLAGS = 16,
	EVENT_TIME = 1,
	EVENT_NAME = 2,
	EVENT_ATTRIBUTES = 3,
	STATUS_CODE = 3,
	KEY_VALUE_KEY = 1,
	KEY_VALUE_VALUE = 2,
	ANY_STRING = 1,
	ANY_INT = 3,
	ANY_ARRAY = 5,
	ARRAY_VALUES = 1,
};

#define ATTR_HEADS (5 * PB_HEAD) /* around the key and the value of an attribute */
#define SPAN_HEADS 256           /* of a span without attributes, strings and events */
#define SPAN_GUESS 500           /* bytes of a usual span */

/* ---- attributes ---- */

static size_t array_size(const struct attr *a)
{
	size_t n = 0;
	const char *s = a->str;
	for (uint32_t i = 0; i < a->n; i++) {
		size_t len = strlen(s);
		n += pb_size(pb_size(len));
		s += len + 1;
	}
	return n;
}

static char *put_array(char *p, const struct attr *a)
{
	const char *s = a->str;
	for (uint32_t i = 0; i < a->n; i++) {
		size_t len = strlen(s);
		p = pb_varint(pb_tag(p, ARRAY_VALUES, PB_BYTES), pb_size(len));
		p = pb_bytes(p, ANY_STRING, s, len);
		s += len + 1;
	}
	return p;
}

/* A KeyValue as field `field`. Needs ATTR_HEADS and, for arrays, two PB_HEAD per element beside its text. */
/* Nearly every attribute: all lengths are of one byte. */
static inline char *put_short(char *p, unsigned field, const struct attr *a)
{
	size_t k = a->key_len, n = a->str_len;
	p = pb_tag(p, field, PB_BYTES);
	p[0] = (char)(k + n + 6);
	p[1] = KEY_VALUE_KEY << 3 | PB_BYTES;
	p[2] = (char)k;
	p = pb_copy(p + 3, a->key, k);
	p[0] = KEY_VALUE_VALUE << 3 | PB_BYTES;
	p[1] = (char)(n + 2);
	p[2] = ANY_STRING << 3 | PB_BYTES;
	p[3] = (char)n;
	return pb_copy(p + 4, a->str, n);
}

static inline char *put_attr(char *p, unsigned field, const struct attr *a)
{
	size_t inner = 0, value;
	if (__builtin_expect(a->type == ATTR_STRING && a->key_len + a->str_len < 128 - 6, 1))
		return put_short(p, field, a);
	if (__builtin_expect(a->type == ATTR_STRINGS, 0))
		value = pb_size(inner = array_size(a));
	else
		value = a->type == ATTR_INT ? 1 + pb_width((uint64_t)a->num) : pb_size(a->str_len);
	p = pb_varint(pb_tag(p, field, PB_BYTES), pb_size(a->key_len) + pb_size(value));
	p = pb_bytes(p, KEY_VALUE_KEY, a->key, a->key_len);
	p = pb_varint(pb_tag(p, KEY_VALUE_VALUE, PB_BYTES), value);
	if (a->type == ATTR_STRING)
		return pb_bytes(p, ANY_STRING, a->str, a->str_len);
	if (a->type == ATTR_INT)
		return pb_uint(p, ANY_INT, (uint64_t)a->num);
	return put_array(pb_varint(pb_tag(p, ANY_ARRAY, PB_BYTES), inner), a);
}

static size_t attrs_bound(const struct attr *a, uint32_t n)
{
	size_t bound = 0;
	for (uint32_t i = 0; i < n; i++) {
		bound += ATTR_HEADS + a[i].key_len;
		if (a[i].type == ATTR_STRING)
			bound += a[i].str_len;
		else if (a[i].type == ATTR_STRINGS)
			bound += a[i].str_len + (size_t)a[i].n * 2 * PB_HEAD;
	}
	return bound;
}

/* ---- messages ---- */

static void put_resource(struct buf *b, const struct resource *r)
{
	size_t bound = attrs_bound(r->attrs, r->n);
	struct pb_open open = pb_open(b, RESOURCE_SPANS_RESOURCE, 1000);
	if (buf_reserve(b, bound)) {
		char *p = b->p + b->n;
		for (uint32_t i = 0; i < r->n; i++)
			p = put_attr(p, RESOURCE_ATTRIBUTES, &r->attrs[i]);
		b->n = (size_t)(p - b->p);
	}
	pb_close(b, open);
}

static void put_scope(struct buf *b)
{
	const size_t name = sizeof SCOPE_NAME - 1, version = sizeof REMORA_VERSION - 1;
	if (!buf_reserve(b, 3 * PB_HEAD + name + version))
		return;
	char *p = pb_varint(pb_tag(b->p + b->n, SCOPE_SPANS_SCOPE, PB_BYTES), pb_size(name) + pb_size(version));
	p = pb_bytes(p, SCOPE_NAME_FIELD, SCOPE_NAME, name);
	p = pb_bytes(p, SCOPE_VERSION, REMORA_VERSION, version);
	b->n = (size_t)(p - b->p);
}

static void put_string(struct buf *b, unsigned field, const char *s, size_t n)
{
	if (buf_reserve(b, PB_HEAD + n))
		b->n = (size_t)(pb_bytes(b->p + b->n, field, s, n) - b->p);
}

/* The exception that ended it. */
static void put_event(struct buf *b, const struct span_event *e)
{
	struct attr attrs[3];
	uint32_t n = span_event_attrs(e, attrs);
	struct pb_open open = pb_open(b, SPAN_EVENTS, 4000);
	if (buf_reserve(b, 3 * PB_HEAD + sizeof SPAN_EVENT_NAME + attrs_bound(attrs, n))) {
		char *p = pb_fixed64(b->p + b->n, EVENT_TIME, e->time_ns);
		p = pb_bytes(p, EVENT_NAME, SPAN_EVENT_NAME, sizeof SPAN_EVENT_NAME - 1);
		for (uint32_t i = 0; i < n; i++)
			p = put_attr(p, EVENT_ATTRIBUTES, &attrs[i]);
		b->n = (size_t)(p - b->p);
	}
	pb_close(b, open);
}

/*
 * Half of a server's span hangs on its connection alone: what that half was encoded to is kept for the next request. By
 * the client's port; one of a kind is not kept until it comes twice. exporter thread.
 */
#define KNOWN 128
static struct known {
	struct span_conn key;
	uint32_t n; /* of bytes; 0: not yet */
	char bytes[396];
} known[KNOWN];

static struct known *known_at(const struct span_conn *key, bool *same)
{
	struct known *k = &known[(key->peer.port ^ key->local.port ^ key->peer.ip[3] * 7u) % KNOWN];
	/* Not memcmp: a fault in libc cannot be survived (crash/own.c), and the size is known. */
	uint64_t a[sizeof *key / 8], b[sizeof *key / 8], differ = 0;
	_Static_assert(sizeof a == sizeof *key, "whole words");
	memcpy(a, &k->key, sizeof a);
	memcpy(b, key, sizeof b);
	for (size_t i = 0; i < sizeof a / sizeof *a; i++)
		differ |= a[i] ^ b[i];
	*same = !differ;
	return k;
}

static void known_keep(struct known *k, const struct span_conn *key, bool same, const char *from, size_t n)
{
	if (same && n <= sizeof k->bytes) {
		memcpy(k->bytes, from, n);
		k->n = (uint32_t)n;
	} else if (!same) {
		k->key = *key;
		k->n = 0;
	}
}

static char *put_attrs(char *p, const struct attr *a, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		p = put_attr(p, SPAN_ATTRIBUTES, &a[i]);
	return p;
}

/* All of a span's. */
static char *put_span_attrs(char *p, const struct span_attrs *a, struct known *k, const struct span_conn *key, bool same)
{
	p = put_attrs(p, a->attrs, a->conn_at);
	char *from = p;
	if (k && same && k->n) {
		memcpy(p, k->bytes, k->n);
		p += k->n;
	} else {
		p = put_attrs(p, a->attrs + a->conn_at, a->conn_n);
		if (k)
			known_keep(k, key, same, from, (size_t)(p - from));
	}
	return put_attrs(p, a->attrs + a->conn_at + a->conn_n, a->n - a->conn_at - a->conn_n);
}

static void put_span(struct buf *b, const struct rec_view *v, const struct batch *batch)
{
	struct span_attrs a;
	struct span_conn key;
	bool same = false;
	struct known *k = v && span_conn_of(&key, v, batch->settings) ? known_at(&key, &same) : NULL;
	if (!v || !(same && k->n ? span_attrs_make_rest : span_attrs_make)(&a, v, batch->settings))
		return;
	const struct span_event *event = span_events_find(batch->events, v);
	if (event)
		span_event_mark(batch->events, event, &a);
	size_t before = b->n;
	struct pb_open open = pb_open(b, SCOPE_SPANS_SPANS, SPAN_GUESS);
	if (buf_reserve(b, SPAN_HEADS + a.name_len + a.trace_state_len + sizeof k->bytes + attrs_bound(a.attrs, a.n))) {
		char *p = b->p + b->n;
		p = pb_bytes(p, SPAN_TRACE_ID, v->rec->trace_id, 16);
		p = pb_bytes(p, SPAN_SPAN_ID, v->rec->span_id, 8);
		if (a.trace_state_len)
			p = pb_bytes(p, SPAN_TRACE_STATE, a.trace_state, a.trace_state_len);
		if (a.has_parent) /* empty is not absent: Honeycomb then sees no root */
			p = pb_bytes(p, SPAN_PARENT_ID, v->rec->parent_id, 8);
		p = pb_bytes(p, SPAN_NAME, a.name, a.name_len);
		p = pb_uint(p, SPAN_KIND, a.kind);
		p = pb_fixed64(p, SPAN_START, a.start_ns);
		p = pb_fixed64(p, SPAN_END, a.end_ns);
		p = put_span_attrs(p, &a, k, &key, same);
		if (a.dropped)
			p = pb_uint(p, SPAN_DROPPED_ATTRIBUTES, a.dropped);
		if (a.status) {
			p = pb_varint(pb_tag(p, SPAN_STATUS, PB_BYTES), 2);
			p = pb_uint(p, STATUS_CODE, a.status);
		}
		p = pb_fixed32(p, SPAN_FLAGS, a.flags);
		b->n = (size_t)(p - b->p);
	}
	if (event)
		put_event(b, event);
	pb_close(b, open);
	if (batch->span_most && b->n - before > batch->span_most) { /* 64 KB of bytes that are not UTF-8, and a stack */
		b->n = before;
		++*batch->left_out;
	}
	span_attrs_free(&a);
}

bool otlp_protobuf(struct buf *b, const struct batch *batch)
{
	struct otlp_groups g;
	struct rec_view view;
	if (!otlp_group(&g, batch))
		return false;
	for (uint32_t i = 0; i < g.n; i++) {
		const struct otlp_group *of = &g.group[i];
		size_t before = b->n, guess = (size_t)of->n * SPAN_GUESS;
		buf_reserve(b, guess + 4000); /* or it is copied again and again as it grows */
		struct pb_open resource_spans = pb_open(b, REQUEST_RESOURCE_SPANS, guess + 1000);
		put_resource(b, of->resource);
		struct pb_open scope_spans = pb_open(b, RESOURCE_SPANS_SCOPE_SPANS, guess);
		put_scope(b);
		size_t empty = b->n;
		for (uint32_t k = 0, at = of->first; k < of->n; k++, at = g.next[at])
			put_span(b, batch_view(batch, at, &view), batch);
		if (b->n == empty) { /* none of its records was fit */
			b->n = before;
			continue;
		}
		put_string(b, SCOPE_SPANS_SCHEMA_URL, SEMCONV_SCHEMA, sizeof SEMCONV_SCHEMA - 1);
		pb_close(b, scope_spans);
		put_string(b, RESOURCE_SPANS_SCHEMA_URL, SEMCONV_SCHEMA, sizeof SEMCONV_SCHEMA - 1);
		pb_close(b, resource_spans);
	}
	otlp_group_free(&g);
	return !b->failed;
}
