/* Inside xray_doc.c, xray_sql.c, xray_cause.c and xray_blocks.c: a document that is being written. */
#ifndef REMORA_XRAY_PRIV_H
#define REMORA_XRAY_PRIV_H

#include "exporters/xray/xray.h"
#include "exporters/xray/xray_json.h"

#define XRAY_ANNOTATIONS_MOST 50 /* that a trace is found by */
#define FIELD_MOST 250           /* characters of a field of the http block, and of user */

enum room { /* what a document is short of */
	        ROOM_ALL,
	        ROOM_FEW_FRAMES,
	        ROOM_NO_METADATA,
	        ROOM_NO_FRAMES,
	        ROOM_NO_ANNOTATIONS,
	        ROOM_NONE,
};

struct doc {
	struct json j;
	const struct xray_span *s;
	enum room room;
	unsigned n_annotated;
	const struct attr *annotated[XRAY_ANNOTATIONS_MOST]; /* not metadata as well */
};

static inline const struct attr *xray_find(const struct attr *a, uint32_t n, const char *key)
{
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(a[i].key, key) == 0)
			return &a[i];
	return NULL;
}

static inline struct slice text_of(const struct attr *a)
{
	return a && a->type == ATTR_STRING ? (struct slice){a->str, (uint32_t)a->str_len} : (struct slice){NULL, 0};
}

static inline struct slice span_text(const struct doc *d, const char *key)
{
	return text_of(xray_find(d->s->attrs->attrs, d->s->attrs->n, key));
}

static inline int64_t span_number(const struct doc *d, const char *key)
{
	const struct attr *a = xray_find(d->s->attrs->attrs, d->s->attrs->n, key);
	return a && a->type == ATTR_INT ? a->num : 0;
}

static inline struct slice resource_text(const struct doc *d, const char *key)
{
	return text_of(xray_find(d->s->resource->attrs, d->s->resource->n, key));
}

static inline void put_text(struct doc *d, const char *key, struct slice s, size_t most)
{
	if (!s.n)
		return;
	if (s.n > most)
		s.n = (uint32_t)utf8_prefix(s.p, s.n, most);
	j_text(&d->j, key, s);
}

static inline bool is_db(const struct doc *d)
{
	return d->s->view->rec->kind == SPAN_DB;
}

/* It has not come to its end, or a database says that it failed. */
static inline bool has_failed(const struct doc *d)
{
	return d->s->view->rec->error != ERR_NONE || (is_db(d) && rec_str(d->s->view, REC_DB_STATUS).n);
}

/* ---- xray_doc.c ---- */

void xray_put_name(struct doc *d, struct slice s);

/* ---- xray_sql.c ---- */

void xray_put_sql(struct doc *d);
void xray_put_sql_name(struct doc *d);

/* ---- xray_cause.c ---- */

void xray_put_cause(struct doc *d);

/* ---- xray_blocks.c ---- */

void xray_put_annotations(struct doc *d, bool segment);
void xray_put_metadata(struct doc *d, bool segment);
void xray_put_origin(struct doc *d);
void xray_put_aws(struct doc *d);      /* of a segment */
void xray_put_aws_call(struct doc *d); /* of a subsegment */

#endif
