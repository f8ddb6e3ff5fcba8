/*
 * A record as OpenTelemetry names things (HTTP semantic conventions v1.44), the same for every encoding.
 * Pure but for `out`. exporter thread.
 */
#ifndef REMORA_SPAN_ATTRS_H
#define REMORA_SPAN_ATTRS_H

#include "exporters/resource.h"
#include "exporters/utf8.h"

#define SPAN_ATTRS_MAX 32
#define SEMCONV_SCHEMA "https://opentelemetry.io/schemas/1.44.0"

struct span_attrs {
	const char *name; /* NUL-terminated valid UTF-8; never holds a path */
	uint32_t name_len;
	uint32_t flags;           /* OTLP: W3C flags | 0x100 | 0x200 when the parent is remote */
	uint8_t kind;             /* OTLP SpanKind: SERVER 2, CLIENT 3 */
	uint8_t status;           /* OTLP StatusCode: UNSET 0, ERROR 2 */
	bool has_parent;          /* false: a root, and the field is left out */
	uint32_t n, dropped;      /* attributes, and those over the limit */
	uint32_t conn_at, conn_n; /* of a server's span: those that hang on its connection alone */
	const char *trace_state;  /* like name; "" = none */
	uint32_t trace_state_len;
	uint64_t start_ns, end_ns;         /* in order */
	struct attr attrs[SPAN_ATTRS_MAX]; /* strings lie in text, in big, or are literals */
	char text[4096];
	struct buf big; /* instead of text when the strings could be longer; span_attrs_free */
};

/* False: no span can be made of it (kind unknown, ids that OTLP forbids); *out is not set. */
bool span_attrs_make(struct span_attrs *out, const struct rec_view *v, const struct settings *s);
void span_attrs_free(struct span_attrs *a);

/*
 * What the attributes conn_at.. of a server's span are made of, so that an encoding can keep what it made of them for the
 * connection's next request. False: there is more to them (a proxy's word, a URL as target), or the limits count.
 */
#define SPAN_CONN_HOST 70
struct span_conn {
	struct rec_addr peer, local;
	uint8_t https, host_n;
	char host[SPAN_CONN_HOST]; /* zeros behind it */
};
bool span_conn_of(struct span_conn *out, const struct rec_view *v, const struct settings *s);
/* As span_attrs_make, but without those. */
bool span_attrs_make_rest(struct span_attrs *out, const struct rec_view *v, const struct settings *s);

#endif
