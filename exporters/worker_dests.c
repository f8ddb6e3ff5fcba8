/* The table of destinations. */
#include "exporters/log.h"
#include "exporters/worker.h"
#include "proto/tracecontext.h"
#include <errno.h>
#include <string.h>

#define CONSOLE_DELAY UINT64_C(200000000) /* somebody is looking */
#define XRAY_DELAY UINT64_C(1000000000)   /* what went wrong is known by then; as the daemon waits */

static const struct {
	const char *name;
	const struct exporter_kind *kind;
} table[] = {
	{"otlp", &otlp_kind},
	{"honeycomb", &otlp_kind},
	{"console", &console_kind},
	{"xray", &xray_kind},
	{"xray", &otlp_kind}, /* REMORA_XRAY_PROTOCOL=otlp */
};
_Static_assert(sizeof table / sizeof *table <= DESTS, "each may be wanted");

/* Now, while the files are surely there: the host may change its root or its user later. */
static void load(struct worker *w, const struct otlp_settings *o, const struct named_file *f)
{
	if (f->path && !http_load(w->http, f->path, f == &o->ca))
		log_once(log_bit(f->var), "%s: cannot read %s: %s; nothing is sent to %s", f->var, f->path, strerror(errno),
		         o->shown);
}

static void load_files(struct worker *w, const struct otlp_settings *o)
{
	if (strncmp(o->shown, "https:", 6) != 0)
		return;
	load(w, o, &o->ca);
	load(w, o, &o->client_cert);
	load(w, o, &o->client_key);
	if (!o->ca.path && !http_load(w->http, NULL, true))
		log_once(log_bit("SSL_CERT_FILE"), "no certificate authorities found for %s: set SSL_CERT_FILE or "
		                                   "OTEL_EXPORTER_OTLP_CERTIFICATE",
		         o->shown);
}

void worker_dests(struct worker *w)
{
	for (unsigned i = 0; i < w->settings.n_otlp; i++)
		load_files(w, &w->settings.otlp[i]);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct dest *d = &w->dests[w->n_dests];
		*d = (struct dest){.worker = w, .kind = table[i].kind, .name = table[i].name};
		if (!d->kind->create(&w->settings, d->name, &d->self))
			continue;
		if (d->kind->use)
			d->kind->use(d->self, w->credentials);
		if (w->settings.xray.own) /* each by its own sampler */
			d->wants = strcmp(d->name, "xray") == 0 ? TRACE_FLAG_XRAY : TRACE_FLAG_SAMPLED;
		d->delay_ns = w->settings.schedule_delay_ns;
		uint64_t most = d->kind == &xray_kind ? XRAY_DELAY : CONSOLE_DELAY;
		if (d->kind->print && d->delay_ns > most)
			d->delay_ns = most;
		w->n_dests++;
		w->n_http += d->kind->encode != NULL;
	}
}
