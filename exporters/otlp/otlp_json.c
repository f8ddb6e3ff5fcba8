/*
 * ExportTraceServiceRequest as OTLP/JSON: proto3 JSON, but ids in hex and enums as numbers; 64-bit integers are
 * strings. cJSON prints one resource or span at a time, from nodes that lie in an array of ours and point to strings
 * of the batch: a tree of the whole batch, with a copy of each string, would be some megabytes.
 */
#include "exporters/batch_view.h"
#include "exporters/otlp/otlp.h"
#include "exporters/otlp/otlp_group.h"
#include "exporters/span_events.h"
#include "version.h"
#include <cjson/cJSON.h>
#include <stdlib.h>

struct item {
	cJSON json;
	char text[40]; /* for numbers and ids */
};

struct tree {
	struct item *items;
	size_t n, cap;
	size_t length; /* of the printed text, nearly: what must be escaped is longer */
};

/* ---- nodes ---- */

static bool tree_room(struct tree *t, size_t items)
{
	t->n = t->length = 0;
	if (items <= t->cap)
		return true;
	free(t->items);
	t->items = malloc(items * sizeof *t->items);
	t->cap = t->items ? items : 0;
	return t->items;
}

/* Links as cJSON keeps them: the first child's prev is the last one. Strings are borrowed. */
static struct item *node(struct tree *t, cJSON *parent, int type, const char *name)
{
	struct item *i = &t->items[t->n++];
	i->json = (cJSON){.type = type | cJSON_IsReference | cJSON_StringIsConst, .string = (char *)(uintptr_t)name};
	t->length += (name ? strlen(name) + 3 : 0) + 3;
	if (parent && !parent->child) {
		parent->child = i->json.prev = &i->json;
	} else if (parent) {
		cJSON *last = parent->child->prev;
		last->next = &i->json;
		i->json.prev = last;
		parent->child->prev = &i->json;
	}
	return i;
}

static cJSON *object(struct tree *t, cJSON *parent, const char *name)
{
	return &node(t, parent, cJSON_Object, name)->json;
}

static cJSON *array(struct tree *t, cJSON *parent, const char *name)
{
	return &node(t, parent, cJSON_Array, name)->json;
}

static void string(struct tree *t, cJSON *parent, const char *name, const char *s, size_t n)
{
	node(t, parent, cJSON_String, name)->json.valuestring = (char *)(uintptr_t)s;
	t->length += n;
}

static const char hex_digits[] = "0123456789abcdef";

static void hex(struct tree *t, cJSON *parent, const char *name, const uint8_t *id, size_t n)
{
	struct item *i = node(t, parent, cJSON_String, name);
	char *p = i->json.valuestring = i->text;
	for (size_t k = 0; k < n; k++) {
		*p++ = hex_digits[id[k] >> 4];
		*p++ = hex_digits[id[k] & 15];
	}
	*p = 0;
	t->length += 2 * n;
}

/* cJSON_String for 64-bit fields, cJSON_Raw for smaller ones. */
static void number(struct tree *t, cJSON *parent, int type, const char *name, bool negative, uint64_t v)
{
	struct item *i = node(t, parent, type, name);
	char *p = i->text + sizeof i->text;
	*--p = 0;
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	if (negative)
		*--p = '-';
	i->json.valuestring = p;
	t->length += 20;
}

static void attribute(struct tree *t, cJSON *list, const struct attr *a)
{
	cJSON *kv = object(t, list, NULL);
	string(t, kv, "key", a->key, a->key_len);
	cJSON *value = object(t, kv, "value");
	if (a->type == ATTR_STRING) {
		string(t, value, "stringValue", a->str, a->str_len);
	} else if (a->type == ATTR_INT) {
		number(t, value, cJSON_String, "intValue", a->num < 0, a->num < 0 ? -(uint64_t)a->num : (uint64_t)a->num);
	} else {
		cJSON *values = array(t, object(t, value, "arrayValue"), "values");
		const char *s = a->str;
		for (uint32_t i = 0; i < a->n; i++) {
			size_t n = strlen(s);
			string(t, object(t, values, NULL), "stringValue", s, n);
			s += n + 1;
		}
	}
}

#define ATTRIBUTE_ITEMS 6

/* ---- text ---- */

#define ADD(b, lit) buf_add(b, lit, sizeof(lit) - 1)

static void print(struct buf *b, const struct tree *t)
{
	size_t room = t->length + 64;
	for (int escapes = 0; escapes < 4; escapes++, room *= 2) { /* "\u0000" is six times one byte */
		if (room > INT32_MAX / 2 || !buf_reserve(b, room))
			break;
		if (cJSON_PrintPreallocated(&t->items->json, b->p + b->n, (int)room, false)) {
			b->n += strlen(b->p + b->n);
			return;
		}
	}
	b->failed = true;
}

static void put_resource(struct buf *b, struct tree *t, const struct resource *r)
{
	size_t items = 2;
	for (uint32_t i = 0; i < r->n; i++)
		items += ATTRIBUTE_ITEMS + 2 * (size_t)(r->attrs[i].type == ATTR_STRINGS ? r->attrs[i].n : 0);
	if (!tree_room(t, items)) {
		b->failed = true;
		return;
	}
	cJSON *list = array(t, object(t, NULL, NULL), "attributes");
	for (uint32_t i = 0; i < r->n; i++)
		attribute(t, list, &r->attrs[i]);
	print(b, t);
}

static void put_event(struct tree *t, cJSON *span, const struct span_event *e)
{
	struct attr attrs[3];
	uint32_t n = span_event_attrs(e, attrs);
	cJSON *o = object(t, array(t, span, "events"), NULL);
	number(t, o, cJSON_String, "timeUnixNano", false, e->time_ns);
	string(t, o, "name", SPAN_EVENT_NAME, sizeof SPAN_EVENT_NAME - 1);
	cJSON *list = array(t, o, "attributes");
	for (uint32_t i = 0; i < n; i++)
		attribute(t, list, &attrs[i]);
}

static void put_span(struct buf *b, struct tree *t, const struct rec_view *v, struct span_attrs *a,
                     const struct batch *batch)
{
	const struct span_event *event = span_events_find(batch->events, v);
	if (event)
		span_event_mark(batch->events, event, a);
	if (!tree_room(t, 26 + (SPAN_ATTRS_MAX + 3) * ATTRIBUTE_ITEMS + 2 * SPAN_ATTRS_MAX)) {
		b->failed = true;
		return;
	}
	cJSON *span = object(t, NULL, NULL);
	hex(t, span, "traceId", v->rec->trace_id, 16);
	hex(t, span, "spanId", v->rec->span_id, 8);
	if (a->trace_state_len)
		string(t, span, "traceState", a->trace_state, a->trace_state_len);
	if (a->has_parent) /* empty is not absent: Honeycomb then sees no root */
		hex(t, span, "parentSpanId", v->rec->parent_id, 8);
	string(t, span, "name", a->name, a->name_len);
	number(t, span, cJSON_Raw, "kind", false, a->kind);
	number(t, span, cJSON_String, "startTimeUnixNano", false, a->start_ns);
	number(t, span, cJSON_String, "endTimeUnixNano", false, a->end_ns);
	cJSON *list = array(t, span, "attributes");
	for (uint32_t i = 0; i < a->n; i++)
		attribute(t, list, &a->attrs[i]);
	if (a->dropped)
		number(t, span, cJSON_Raw, "droppedAttributesCount", false, a->dropped);
	if (event)
		put_event(t, span, event);
	if (a->status)
		number(t, object(t, span, "status"), cJSON_Raw, "code", false, a->status);
	number(t, span, cJSON_Raw, "flags", false, a->flags);
	print(b, t);
}

bool otlp_json(struct buf *b, const struct batch *batch)
{
	struct otlp_groups g;
	struct tree t = {0};
	bool any = false;
	if (!otlp_group(&g, batch))
		return false;
	for (uint32_t i = 0; i < g.n; i++) {
		const struct otlp_group *of = &g.group[i];
		bool spans = false;
		for (uint32_t k = 0, at = of->first; k < of->n && !b->failed; k++, at = g.next[at]) {
			struct span_attrs a;
			struct rec_view room;
			const struct rec_view *v = batch_view(batch, at, &room);
			if (!v || !span_attrs_make(&a, v, batch->settings))
				continue;
			if (!spans) { /* only now is it sure that the group is not empty */
				any ? ADD(b, ",{\"resource\":") : ADD(b, "{\"resourceSpans\":[{\"resource\":");
				put_resource(b, &t, of->resource);
				ADD(b, ",\"schemaUrl\":\"" SEMCONV_SCHEMA "\",\"scopeSpans\":[{\"scope\":{\"name\":\"" SCOPE_NAME
				       "\",\"version\":\"" REMORA_VERSION "\"},\"schemaUrl\":\"" SEMCONV_SCHEMA "\",\"spans\":[");
			} else {
				ADD(b, ",");
			}
			any = spans = true;
			put_span(b, &t, v, &a, batch);
			span_attrs_free(&a);
		}
		if (spans)
			ADD(b, "]}]}");
	}
	if (any)
		ADD(b, "]}");
	free(t.items);
	otlp_group_free(&g);
	return !b->failed;
}
