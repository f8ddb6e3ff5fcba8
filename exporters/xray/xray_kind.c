/* X-Ray as a destination. */
#include "exporters/log.h"
#include "exporters/xray/xray.h"
#include <stdlib.h>

struct xray {
	const struct settings *settings;
	struct xray_sender *sender;
	struct span_attrs attrs;
	struct buf doc;
	uint64_t too_long, lost;
};

static bool create(const struct settings *s, const char *which, void **out)
{
	struct xray_address udp, tcp;
	(void)which;
	if (!s->xray.on || !xray_address_parse(s->xray.address, &udp, &tcp))
		return false;
	struct xray *x = calloc(1, sizeof *x);
	if (!x)
		return false;
	x->settings = s;
	x->sender = xray_sender_new(&udp);
	if (!x->sender) {
		free(x);
		return false;
	}
	*out = x;
	return true;
}

static bool send_doc(struct xray *x, bool made)
{
	bool sent = made && xray_sender_send(x->sender, x->doc.p, x->doc.n);
	x->too_long += !made;
	x->doc.n = 0;
	x->doc.failed = false;
	return sent;
}

/* Returns how many of them are lost, as far as one can know. */
static uint32_t print(void *self, const struct batch *batch)
{
	struct xray *x = self;
	uint32_t lost = 0;
	for (uint32_t i = 0; i < batch->n; i++) {
		const struct rec_view *v = &batch->views[i];
		if (!span_attrs_make(&x->attrs, v, x->settings)) {
			lost++;
			continue;
		}
		struct xray_span s = {
			.view = v,
			.attrs = &x->attrs,
			.resource = resource_of(batch->resources, batch->arena, v),
			.event = span_events_find(batch->events, v),
			.settings = x->settings,
		};
		bool ok = xray_local_root(&x->doc, &s) ? send_doc(x, true) : true;
		ok &= send_doc(x, xray_doc(&x->doc, &s));
		lost += !ok;
		span_attrs_free(&x->attrs);
	}
	lost += xray_sender_refused(x->sender);
	x->lost += lost;
	if (lost > batch->n)
		lost = batch->n;
	if (log_wants(LOG_DEBUG))
		log_debug("xray: %u spans, %u lost", batch->n, lost);
	return lost;
}

static uint32_t room(void *self, uint64_t now, uint64_t *when)
{
	struct xray *x = self;
	return xray_sender_room(x->sender, now, when);
}

static void destroy(void *self)
{
	struct xray *x = self;
	xray_sender_delete(x->sender);
	buf_free(&x->doc);
	free(x);
}

const struct exporter_kind xray_kind = {
	.name = "xray",
	.create = create,
	.print = print,
	.room = room,
	.destroy = destroy,
};
