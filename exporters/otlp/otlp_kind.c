/* OTLP/HTTP as a destination: one of settings.otlp, told by its label. */
#include "exporters/log.h"
#include "exporters/otlp/otlp.h"
#include "exporters/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct otlp {
	const struct otlp_settings *set;
	const char **headers; /* borrows the strings of set->headers */
};

static bool create(const struct settings *s, const char *which, void **out)
{
	const struct otlp_settings *set = NULL;
	for (unsigned i = 0; i < s->n_otlp; i++)
		if (strcmp(s->otlp[i].label, which) == 0)
			set = &s->otlp[i];
	if (!set)
		return false;
	size_t n = 0;
	while (set->headers && set->headers[n])
		n++;
	struct otlp *o = malloc(sizeof *o);
	const char **headers = malloc((n + 2) * sizeof *headers);
	if (!o || !headers) {
		free(o);
		free(headers);
		return false;
	}
	/* Exactly so: Honeycomb refuses parameters behind the media type. */
	headers[0] = set->protocol == OTLP_JSON ? "Content-Type: application/json" : "Content-Type: application/x-protobuf";
	for (size_t i = 0; i < n; i++)
		headers[i + 1] = set->headers[i];
	headers[n + 1] = NULL;
	*o = (struct otlp){set, headers};
	*out = o;
	return true;
}

static bool encode(void *self, const struct batch *b, struct request *out)
{
	const struct otlp *o = self;
	const struct otlp_settings *set = o->set;
	out->url = set->url;
	out->headers = o->headers;
	out->ca_file = set->ca.path;
	out->client_cert = set->client_cert.path;
	out->client_key = set->client_key.path;
	out->gzip = set->gzip;
	out->timeout_ns = set->timeout_ns;
	return (set->protocol == OTLP_JSON ? otlp_json : otlp_protobuf)(&out->body, b) && out->body.n;
}

/* The answer's own type, whatever we sent: a proxy answers as it likes. */
static bool is_json(const struct answer *a)
{
	static const char type[] = "application/json";
	return a->content_type && strncasecmp(a->content_type, type, sizeof type - 1) == 0;
}

static bool is_otlp(const struct answer *a)
{
	return is_json(a) || (a->content_type && (strncasecmp(a->content_type, "application/x-protobuf", 22) == 0 ||
	                                          strncasecmp(a->content_type, "application/protobuf", 20) == 0));
}

static struct verdict judge(void *self, const struct answer *a)
{
	struct verdict v = {.outcome = OUT_REFUSED};
	struct otlp_reply reply = {0};
	(void)self;
	if (a->status == 0) {
		v.outcome = OUT_RETRY;
		snprintf(v.message, sizeof v.message, "%s", a->error ? a->error : "no answer");
		return v;
	}
	bool good = a->status >= 200 && a->status < 300;
	if (is_otlp(a))
		otlp_reply_parse(is_json(a), good, a->body, a->body_len, &reply);
	snprintf(v.message, sizeof v.message, "%s", *reply.message ? reply.message : a->error ? a->error
	                                                                                      : "");
	if (good && !(a->error && a->body_len >= ANSWER_MAX)) {
		v.outcome = OUT_ACCEPTED;
		v.refused = reply.rejected;
	} else if (a->status == 429 || (a->status >= 502 && a->status <= 504)) {
		v.outcome = OUT_RETRY;
		v.retry_after_ns = a->retry_after_ns;
	}
	return v;
}

static void destroy(void *self)
{
	struct otlp *o = self;
	free(o->headers);
	free(o);
}

const struct exporter_kind otlp_kind = {
	.name = "otlp",
	.create = create,
	.encode = encode,
	.judge = judge,
	.destroy = destroy,
};
