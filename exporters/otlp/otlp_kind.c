/*
 * OTLP/HTTP as a destination: one of settings.otlp, told by its label. X-Ray's own endpoint takes the same, signed, and has
 * limits of its own (X-Ray developer guide, "OTLP endpoints").
 */
#include "exporters/aws/service.h"
#include "exporters/log.h"
#include "exporters/otlp/otlp.h"
#include "exporters/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define XRAY_SPAN (200 * 1024)
#define XRAY_RESOURCE (15 * 1024) /* 16 KB with the scope */
#define XRAY_PATH "/v1/traces"

struct otlp {
	const struct otlp_settings *set;
	const char **headers;    /* the type, set->headers; borrows their strings */
	struct aws_service *aws; /* NULL: not X-Ray's */
	const char **lines;      /* of a try: the type, what signs it, set->headers */
	uint32_t left_out;       /* spans of the batch */
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
	struct aws_service *aws = set->aws ? calloc(1, sizeof *aws) : NULL;
	const char **lines = malloc((n + 2 + AWS_LINES) * sizeof *lines);
	if (!o || !headers || !lines || (set->aws && !aws)) {
		free(o);
		free(headers);
		free(lines);
		free(aws);
		return false;
	}
	if (aws)
		*aws = (struct aws_service){.name = "xray", .own = set->aws_url, .region = *set->aws_region ? set->aws_region : NULL};
	/* Exactly so: Honeycomb refuses parameters behind the media type. */
	headers[0] = set->protocol == OTLP_JSON ? "Content-Type: application/json" : "Content-Type: application/x-protobuf";
	for (size_t i = 0; i < n; i++)
		headers[i + 1] = set->headers[i];
	headers[n + 1] = NULL;
	*o = (struct otlp){.set = set, .headers = headers, .lines = lines, .aws = aws};
	*out = o;
	return true;
}

static bool encode(void *self, const struct batch *batch, struct request *out)
{
	struct otlp *o = self;
	struct batch b = *batch;
	const struct otlp_settings *set = o->set;
	out->url = set->url;
	out->headers = o->headers;
	out->ca_file = set->ca.path;
	out->client_cert = set->client_cert.path;
	out->client_key = set->client_key.path;
	out->gzip = set->gzip;
	out->timeout_ns = set->timeout_ns;
	o->left_out = 0;
	if (o->aws) {
		b.resource_most = XRAY_RESOURCE;
		b.span_most = XRAY_SPAN;
		b.left_out = &o->left_out;
	}
	return (set->protocol == OTLP_JSON ? otlp_json : otlp_protobuf)(&out->body, &b) && out->body.n;
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

/* ---- X-Ray ---- */

static void use(void *self, struct credentials *c)
{
	struct otlp *o = self;
	if (o->aws)
		o->aws->credentials = c;
}

static bool ready(void *self, uint64_t now_ns, uint64_t *when)
{
	struct otlp *o = self;
	*when = now_ns + AWS_LOCKED_NS;
	return !o->aws || (o->aws->credentials && aws_service_ready(o->aws, now_ns, when));
}

static bool sign(void *self, struct request *r)
{
	struct otlp *o = self;
	if (!o->aws)
		return true;
	o->lines[0] = o->headers[0];
	o->lines[1] = NULL;
	unsigned n = aws_service_sign(o->aws, r, XRAY_PATH, o->lines);
	if (!n)
		return false;
	for (const char **h = o->headers + 1; *h; h++)
		o->lines[n++] = *h;
	o->lines[n] = NULL;
	r->headers = o->lines;
	return true;
}

/* What AWS says in words of its own. False: an answer as of any OTLP receiver. */
static bool judge_aws(struct otlp *o, const struct answer *a, struct verdict *v)
{
	struct aws_error e;
	if (a->status >= 200 && a->status < 300) {
		aws_service_accepted(o->aws);
		return false;
	}
	aws_error_read(&e, a->aws_error, a->body, a->body_len);
	if (*e.type)
		snprintf(v->message, sizeof v->message, "%s: %s", e.type, e.message);
	credentials_mask(o->aws->credentials, v->message, strlen(v->message));
	if (aws_error_busy(&e)) {
		v->outcome = OUT_RETRY;
		v->retry_after_ns = a->retry_after_ns;
		return true;
	}
	if (!aws_unauthorized(a, &e))
		return false;
	enum aws_refusal r = aws_service_refused(o->aws, a);
	v->outcome = r == AWS_LOCKED ? OUT_RETRY : OUT_AGAIN;
	v->retry_after_ns = r == AWS_LOCKED ? AWS_LOCKED_NS : 0;
	if (r == AWS_LOCKED)
		log_once(log_bit("REMORA_XRAY_PROTOCOL"), "xray: the credentials are refused; spans are kept as long as there is room: status %d%s%s "
		                                          "(said once)",
		         a->status, *v->message ? " " : "", v->message);
	return true;
}

static struct verdict judge(void *self, const struct answer *a)
{
	struct verdict v = {.outcome = OUT_REFUSED};
	struct otlp_reply reply = {0};
	struct otlp *o = self;
	if (a->status == 0) {
		v.outcome = OUT_RETRY;
		snprintf(v.message, sizeof v.message, "%s", a->error ? a->error : "no answer");
		return v;
	}
	if (o->aws && judge_aws(o, a, &v))
		return v;
	bool good = a->status >= 200 && a->status < 300;
	if (is_otlp(a))
		otlp_reply_parse(is_json(a), good, a->body, a->body_len, &reply);
	if (!*v.message)
		snprintf(v.message, sizeof v.message, "%s", *reply.message ? reply.message : a->error ? a->error
		                                                                                      : "");
	if (o->aws)
		credentials_mask(o->aws->credentials, v.message, strlen(v.message));
	if (good && !(a->error && a->body_len >= ANSWER_MAX)) {
		v.outcome = OUT_ACCEPTED;
		v.refused = reply.rejected + o->left_out;
	} else if (a->status == 429 || (a->status >= 502 && a->status <= 504)) {
		v.outcome = OUT_RETRY;
		v.retry_after_ns = a->retry_after_ns;
	}
	return v;
}

static void destroy(void *self)
{
	struct otlp *o = self;
	if (o->aws)
		aws_service_free(o->aws);
	free(o->aws);
	free(o->headers);
	free(o->lines);
	free(o);
}

const struct exporter_kind otlp_kind = {
	.name = "otlp",
	.create = create,
	.encode = encode,
	.judge = judge,
	.use = use,
	.ready = ready,
	.sign = sign,
	.destroy = destroy,
};
