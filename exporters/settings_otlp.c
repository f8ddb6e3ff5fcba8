/* The OTLP destinations: OTEL_EXPORTER_OTLP_*, and Honeycomb's own three variables. */
#include "exporters/abi.h"
#include "exporters/aws/endpoint.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct var { /* a variable that is there per signal, or in general */
	char name[64];
	const char *value; /* NULL = not set */
};

static struct var signal_var(const struct settings *s, const char *what)
{
	struct var v;
	snprintf(v.name, sizeof v.name, "OTEL_EXPORTER_OTLP_TRACES_%s", what);
	v.value = settings_get(s->host, v.name);
	if (!v.value) {
		snprintf(v.name, sizeof v.name, "OTEL_EXPORTER_OTLP_%s", what);
		v.value = settings_get(s->host, v.name);
	}
	return v;
}

bool settings_url_ok(const char *url)
{
	const char *p = strncasecmp(url, "http://", 7) == 0    ? url + 7
	                : strncasecmp(url, "https://", 8) == 0 ? url + 8
	                                                       : NULL;
	if (!p)
		return false;
	for (const char *c = url; *c; c++)
		if ((unsigned char)*c <= 0x20 || *c == 0x7f)
			return false;
	size_t n = strcspn(p, "/?#");
	const char *at = memchr(p, '@', n);
	for (const char *next; at && (next = memchr(at + 1, '@', n - (size_t)(at + 1 - p))); at = next)
		;
	const char *host = at ? at + 1 : p;
	return host < p + n && *host != ':';
}

char *settings_url_shown(const char *url)
{
	char *out = strdup(url), *p = out ? strstr(out, "://") : NULL;
	if (!out)
		return NULL;
	p = p ? p + 3 : out;
	p[strcspn(p, "?#")] = 0;
	size_t n = strcspn(p, "/");
	for (size_t i = n; i > 0; i--)
		if (p[i - 1] == '@') {
			memmove(p, p + i, strlen(p + i) + 1);
			break;
		}
	return out;
}

/* base + "v1/traces" with exactly one slash between; a query stays behind the path. */
static char *append_path(const char *base)
{
	static const char path[] = "v1/traces";
	size_t len = strlen(base), n = strcspn(base, "?#");
	char *out = malloc(len + sizeof path + 1);
	if (!out)
		return NULL;
	int used = sprintf(out, "%.*s%s%s", (int)n, base, n && base[n - 1] == '/' ? "" : "/", path);
	strcpy(out + used, base + n);
	return out;
}

static bool set_url(struct otlp_settings *o, const char *value, bool append, const char *var)
{
	o->url = append ? append_path(value) : strdup(value);
	o->shown = o->url ? settings_url_shown(o->url) : NULL;
	if (!o->shown)
		return false;
	if (settings_url_ok(value)) /* as it was given: "http://" and a path look like a host */
		return true;
	log_once(log_bit(var), "%s=%.200s is not an http:// or https:// URL; nothing is sent there", var, o->shown);
	return false;
}

static void file(const struct settings *s, struct named_file *f, const char *what)
{
	struct var v = signal_var(s, what);
	static const char *const names[] = {
		"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE",
		"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
		"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"};
	f->path = v.value ? strdup(v.value) : NULL;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(v.name, names[i]) == 0)
			f->var = names[i];
}

/* What both destinations have in common. */
static void common(const struct settings *s, struct otlp_settings *o)
{
	struct var v = signal_var(s, "PROTOCOL");
	o->protocol = OTLP_PROTOBUF;
	if (v.value) {
		int k = settings_choice(v.value, strlen(v.value), "http/protobuf|http/json");
		if (k < 0)
			log_once(log_bit(v.name), "%s=%.40s is not http/protobuf or http/json; using http/protobuf", v.name, v.value);
		o->protocol = k == 1 ? OTLP_JSON : OTLP_PROTOBUF;
	}
	v = signal_var(s, "COMPRESSION");
	if (v.value) {
		int k = settings_choice(v.value, strlen(v.value), "none|gzip");
		if (k < 0)
			log_once(log_bit(v.name), "%s=%.40s is not gzip or none; using none", v.name, v.value);
		o->gzip = k == 1;
	}
	v = signal_var(s, "TIMEOUT");
	uint64_t ms = 10000;
	if (v.value && !settings_number(v.value, INT32_MAX, &ms))
		log_once(log_bit(v.name), "%s=%.40s is not a whole number of milliseconds; using 10000", v.name, v.value);
	o->timeout_ns = ms * 1000000;
}

/* X-Ray's own address, and nobody else has put a signature there: ours, for the region that it names. */
static bool known_as_xray(struct otlp_settings *o)
{
	static const char scheme[] = "https://", path[] = "/v1/traces";
	const char *host = o->url + sizeof scheme - 1;
	if (strncasecmp(o->url, scheme, sizeof scheme - 1) != 0)
		return false;
	size_t n = strcspn(host, "/");
	if (strcmp(host + n, path) != 0 || !aws_host_region(host, n, "xray", o->aws_region))
		return false;
	for (char **h = o->headers; h && *h; h++)
		if (strncasecmp(*h, "authorization:", 14) == 0)
			return false;
	o->aws_url = strndup(o->url, sizeof scheme - 1 + n);
	return o->aws_url != NULL;
}

static bool plain_otlp(const struct settings *s, struct otlp_settings *o)
{
	static const char whole[] = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", base[] = "OTEL_EXPORTER_OTLP_ENDPOINT";
	const char *v = settings_get(s->host, whole);
	bool ok;
	o->label = "otlp";
	if (v) {
		ok = set_url(o, v, false, whole);
	} else {
		v = settings_get(s->host, base);
		if (!v && settings_get(s->host, "HONEYCOMB_API_KEY"))
			return false;
		ok = set_url(o, v ? v : "http://localhost:4318", true, base);
	}
	if (!ok)
		return false;
	struct var h = signal_var(s, "HEADERS");
	o->headers = settings_headers(h.value, h.name);
	o->aws = known_as_xray(o);
	file(s, &o->ca, "CERTIFICATE");
	file(s, &o->client_cert, "CLIENT_CERTIFICATE");
	file(s, &o->client_key, "CLIENT_KEY");
	return true;
}

static bool every(const char *p, const char *e, const char *set)
{
	for (; p < e; p++)
		if (!strchr(set, *p))
			return false;
	return true;
}

/* Classic keys say the account, not the environment: they need a data set. */
static bool is_classic(const char *key)
{
	static const char hex[] = "0123456789abcdef", alnum[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	size_t n = strlen(key);
	if (n == 32)
		return every(key, key + n, hex);
	return n == 64 && strncmp(key, "hc", 2) == 0 && key[2] >= 'a' && key[2] <= 'z' && strncmp(key + 3, "ic_", 3) == 0 &&
	       every(key + 6, key + n, alnum);
}

static bool is_printable(const char *p)
{
	for (; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			return false;
	return true;
}

static bool honeycomb(const struct settings *s, struct otlp_settings *o)
{
	static const char endpoint[] = "HONEYCOMB_API_ENDPOINT";
	const char *key = settings_get(s->host, "HONEYCOMB_API_KEY");
	const char *set = settings_get(s->host, "HONEYCOMB_DATASET"), *base = settings_get(s->host, endpoint);
	o->label = "honeycomb";
	if (!key)
		return false;
	if (!is_printable(key) || (set && !is_printable(set))) {
		log_once(log_bit(endpoint), "HONEYCOMB_API_KEY or HONEYCOMB_DATASET holds a character that cannot be sent; "
		                            "nothing is sent to Honeycomb");
		return false;
	}
	if (is_classic(key) && !set) {
		log_once(log_bit(endpoint), "HONEYCOMB_API_KEY is a Classic key, which needs HONEYCOMB_DATASET as well; "
		                            "nothing is sent to Honeycomb");
		return false;
	}
	if (!set_url(o, base ? base : "https://api.honeycomb.io", true, endpoint))
		return false;
	/* With other keys Honeycomb takes the data set from service.name, and warns of the header. */
	return settings_header_add(&o->headers, "x-honeycomb-team", key, strlen(key)) &&
	       (!is_classic(key) || settings_header_add(&o->headers, "x-honeycomb-dataset", set, strlen(set)));
}

void settings_otlp(struct settings *s)
{
	bool (*const makers[])(const struct settings *, struct otlp_settings *) = {plain_otlp, honeycomb};
	for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
		struct otlp_settings *o = &s->otlp[s->n_otlp];
		if (makers[i](s, o)) {
			common(s, o);
			s->n_otlp++;
		} else {
			settings_otlp_free(o);
		}
	}
}

/* AWS_ENDPOINT_URL is the program's: a local DynamoDB, say. */
void settings_otlp_xray(struct settings *s)
{
	static const char var[] = "AWS_ENDPOINT_URL_XRAY";
	struct otlp_settings *o = &s->otlp[s->n_otlp];
	const char *url = settings_get(s->host, var), *ca = settings_get(s->host, "AWS_CA_BUNDLE");
	*o = (struct otlp_settings){.label = "xray", .aws = true, .aws_url = url ? strdup(url) : NULL};
	o->shown = url ? settings_url_shown(url) : strdup("https://xray.(region).amazonaws.com");
	o->ca = (struct named_file){ca ? strdup(ca) : NULL, "AWS_CA_BUNDLE"};
	common(s, o);
	o->protocol = OTLP_PROTOBUF;
	s->n_otlp++;
	if (o->shown && (!url || (o->aws_url && settings_url_ok(url) && !strpbrk(url, "?#@"))))
		return;
	if (o->shown)
		log_once(log_bit(var), "%s=%.200s is not an http:// or https:// URL; nothing is sent to X-Ray", var, o->shown);
	settings_otlp_free(o);
	s->n_otlp--;
}

const struct otlp_settings *settings_aws(const struct settings *s)
{
	for (unsigned i = 0; i < s->n_otlp; i++)
		if (s->otlp[i].aws)
			return &s->otlp[i];
	return NULL;
}

void settings_otlp_free(struct otlp_settings *o)
{
	free(o->url);
	free(o->shown);
	free(o->aws_url);
	settings_headers_free(o->headers);
	free(o->ca.path);
	free(o->client_cert.path);
	free(o->client_key.path);
	*o = (struct otlp_settings){0};
}
