/*
 * AWS X-Ray by way of its daemon: segment documents over UDP (X-Ray developer guide, "segment documents" and "sending
 * trace data"). A kind of destination (exporter.h) that prints: a datagram has no answer, so what is lost behind sendto
 * is nobody's to know. exporter thread.
 */
#ifndef REMORA_XRAY_H
#define REMORA_XRAY_H

#include "exporters/exporter.h"
#include "exporters/settings.h"
#include "exporters/span_attrs.h"
#include "exporters/span_events.h"

#define XRAY_HEADER "{\"format\":\"json\",\"version\":1}\n"
#define XRAY_DOC_MAX (65507 - (sizeof XRAY_HEADER - 1)) /* what an IPv4 datagram holds behind the header */

/* ---- xray_settings.c ---- */

struct xray_address {
	char host[256]; /* without brackets */
	uint16_t port;
};

/* AWS_XRAY_DAEMON_ADDRESS: "host:port", or "tcp:host:port udp:host:port" in either order. Pure (fuzzed). */
bool xray_address_parse(const char *s, struct xray_address *udp, struct xray_address *tcp);

/* ---- xray_name.c; pure ---- */

/* What a name may hold: letters, digits, blanks and _.:/%&#=+\-@, at most 200 characters; never empty. Bytes written. */
#define XRAY_NAME_MOST 200
size_t xray_name_clean(struct slice s, char out[static XRAY_NAME_MOST * 4 + 1]);

/* ---- xray_doc.c: a record as a document ---- */

struct xray_span { /* what a document is made of; all borrowed */
	const struct rec_view *view;
	const struct span_attrs *attrs;
	const struct resource *resource;
	const struct span_event *event; /* NULL = none */
	const struct settings *settings;
	bool in_progress; /* an open request: no end, no response */
};

/*
 * Appends at most XRAY_DOC_MAX bytes. If the whole is longer most stack frames go first, then metadata, then all frames,
 * then annotations.
 * False: it does not fit even so (nothing is appended), or no memory.
 */
bool xray_doc(struct buf *b, const struct xray_span *s);
/*
 * A call that no request of this process made has no segment to hang on: it gets one of its own, of the same time,
 * whose id is derived from the span's. False: not such a span (nothing is appended), or no memory.
 */
bool xray_local_root(struct buf *b, const struct xray_span *s);

/* ---- xray_send.c: the socket, the address behind the name, the pace ---- */

struct xray_sender;
struct xray_sender *xray_sender_new(const struct xray_address *to); /* NULL: no memory */
void xray_sender_delete(struct xray_sender *s);
/* How many documents may go out now; 0: not before *when. Looks after a lookup that is under way. */
uint32_t xray_sender_room(struct xray_sender *s, uint64_t now, uint64_t *when);
/* Header and document in one datagram, without waiting. False: lost. */
bool xray_sender_send(struct xray_sender *s, const char *doc, size_t n);
/* Datagrams that came back as refused since the last call: sent, but nobody was there. */
uint32_t xray_sender_refused(struct xray_sender *s);

#endif
