/* X-Ray as a destination. */
#include "exporters/batch_view.h"
#include "base/clock.h"
#include "exporters/log.h"
#include "exporters/xray/xray.h"
#include "proto/tracecontext.h"
#include <stdlib.h>

#define SCAN_LEAST UINT64_C(250000000)
#define OPEN_TOLD 256 /* open requests that are told once; of more some are told again */

struct xray {
	const struct settings *settings;
	struct resources *resources; /* for open requests; NULL = they are not told */
	uint64_t scan_ns;            /* when they are looked for again */
	uint8_t told[OPEN_TOLD][8];  /* a ring of their span ids */
	unsigned next_told;
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
	x->resources = s->xray.in_progress_ns ? resources_new(s) : NULL;
	if (!x->sender) {
		resources_delete(x->resources);
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
		struct rec_view room;
		const struct rec_view *v = batch_view(batch, i, &room);
		if (!v)
			continue;
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
		if (s.event)
			span_event_mark(batch->events, s.event, &x->attrs);
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

/* ---- requests in flight ---- */

static bool is_told(struct xray *x, const uint8_t id[8])
{
	for (unsigned i = 0; i < OPEN_TOLD; i++)
		if (memcmp(x->told[i], id, 8) == 0)
			return true;
	memcpy(x->told[x->next_told++ % OPEN_TOLD], id, 8);
	return false;
}

static void tell_open(struct xray *x, uint64_t now)
{
	static union {
		struct span_rec rec;
		char slot[SLOT_SIZE];
	} copy;
	const struct arena *a = x->settings->host->arena;
	uint64_t before = real_ns() - x->settings->xray.in_progress_ns, when;
	for (uint32_t i = 0, n = arena_slots(a); i < n; i++) {
		struct rec_view v;
		const struct span_rec *r = arena_slot(a, i);
		if (atomic_load_explicit(&r->state, memory_order_relaxed) != SLOT_OPEN || r->kind != SPAN_SERVER || r->start_ns > before)
			continue;
		if (!xray_sender_room(x->sender, now, &when))
			return;
		if (!rec_view_open(a, i, &copy.rec, &v) || !copy.rec.start_ns || copy.rec.end_ns ||
		    (x->settings->xray.own && !(copy.rec.trace_flags & TRACE_FLAG_XRAY)) || is_told(x, copy.rec.span_id) ||
		    !span_attrs_make(&x->attrs, &v, x->settings))
			continue;
		struct xray_span s = {
			.view = &v,
			.attrs = &x->attrs,
			.resource = resource_of(x->resources, a, &v),
			.settings = x->settings,
			.in_progress = true,
		};
		send_doc(x, xray_doc(&x->doc, &s));
		span_attrs_free(&x->attrs);
	}
	resources_trim(x->resources, a);
}

static uint64_t tick(void *self, uint64_t now, bool all)
{
	struct xray *x = self;
	if (!x->resources)
		return 0;
	if (now && !all && now >= x->scan_ns) {
		uint64_t often = x->settings->xray.in_progress_ns / 4;
		tell_open(x, now);
		x->scan_ns = now + (often > SCAN_LEAST ? often : SCAN_LEAST);
	}
	return x->scan_ns;
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
	resources_delete(x->resources);
	buf_free(&x->doc);
	free(x);
}

const struct exporter_kind xray_kind = {
	.name = "xray",
	.create = create,
	.print = print,
	.room = room,
	.tick = tick,
	.destroy = destroy,
};
