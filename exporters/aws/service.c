#include "exporters/aws/service.h"
#include "base/clock.h"
#include "exporters/aws/endpoint.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define SKEW_S 60 /* of clocks, that is corrected */

static const char *region_of(const struct aws_service *s)
{
	return s->region ? s->region : credentials_region(s->credentials);
}

/* False: the region is not known (yet). A URL of one's own needs none if nobody knows it. */
static bool address(struct aws_service *s)
{
	const char *region = region_of(s);
	if (!region && !(s->own && credentials_hopeless(s->credentials)))
		return false;
	if (*s->base)
		return true;
	if (s->own) {
		snprintf(s->base, sizeof s->base, "%.2048s", s->own);
	} else {
		char host[AWS_HOST];
		aws_host(host, s->name, region, credentials_variants(s->credentials));
		snprintf(s->base, sizeof s->base, "https://%s", host);
	}
	size_t n = strlen(s->base);
	while (n && s->base[n - 1] == '/')
		s->base[--n] = 0;
	const char *h = strstr(s->base, "://") + 3;
	n = strcspn(h, "/");
	const char *port = strncasecmp(s->base, "https:", 6) == 0 ? ":443" : ":80";
	if (n > strlen(port) && memcmp(h + n - strlen(port), port, strlen(port)) == 0)
		n -= strlen(port); /* curl leaves it out too */
	snprintf(s->host, sizeof s->host, "%.*s", (int)(n < 290 ? n : 290), h);
	return true;
}

bool aws_service_known(struct aws_service *s)
{
	struct aws_keys keys;
	return !credentials_renewing(s->credentials) && credentials_keys(s->credentials, &keys) && address(s);
}

bool aws_service_ready(struct aws_service *s, uint64_t now, uint64_t *when)
{
	struct aws_keys keys;
	credentials_turn(s->credentials, now);
	*when = 0;
	if (aws_service_known(s))
		return true;
	if (!credentials_hopeless(s->credentials))
		return false;
	if (credentials_keys(s->credentials, &keys) && !region_of(s) && credentials_tell(28))
		log_warn("aws: no region: set AWS_REGION; nothing is sent to %s", s->name);
	*when = credentials_due(s->credentials);
	if (*when <= now)
		*when = now + AWS_LOCKED_NS;
	return false;
}

unsigned aws_service_sign(struct aws_service *s, struct request *r, const char *path, const char **headers)
{
	struct aws_keys keys;
	const char *region = region_of(s);
	unsigned n = 0;
	if (!credentials_keys(s->credentials, &keys) || !address(s))
		return 0;
	if (r->gzip && !r->gzipped)
		r->gzip = r->gzipped = http_compress(r);
	while (headers[n])
		n++;
	snprintf(s->url, sizeof s->url, "%s%s", s->base, path);
	r->url = s->url;
	s->keys = credentials_changes(s->credentials);
	sigv4_free(&s->lines);
	const char *h = strstr(s->url, "://") + 3;
	struct sigv4 call = {
		.method = "POST",
		.host = s->host,
		.path = h + strcspn(h, "/"),
		.headers = headers,
		.body = r->body.p,
		.body_n = r->body.n,
		.region = region ? region : "us-east-1", /* a URL of one's own, and nobody has said */
		.service = s->name,
		.keys = keys,
		.time_s = (uint64_t)((int64_t)(real_ns() / SECOND) + s->skew_s),
	};
	if (!sigv4_sign(&call, &s->lines))
		return 0;
	headers[n++] = s->lines.date;
	headers[n++] = s->lines.authorization.p;
	if (s->lines.token.n)
		headers[n++] = s->lines.token.p;
	headers[n] = NULL;
	return n;
}

bool aws_clock_by(const struct answer *a, int64_t *skew_s)
{
	int64_t skew = a->date_s ? (int64_t)a->date_s - (int64_t)(real_ns() / SECOND) : 0, off = skew - *skew_s;
	if (off <= SKEW_S && off >= -SKEW_S)
		return false;
	log_info("aws: this machine's clock is %lld s behind that of AWS: corrected in what is sent", (long long)skew);
	*skew_s = skew;
	return true;
}

bool aws_unauthorized(const struct answer *a, const struct aws_error *e)
{
	return a->status == 401 || a->status == 403 || aws_error_unauthorized(e) || aws_error_is(e, "AccessDeniedException|AccessDenied");
}

enum aws_refusal aws_service_refused(struct aws_service *s, const struct answer *a)
{
	if (!s->skewed && aws_clock_by(a, &s->skew_s)) {
		s->skewed = true;
		return AWS_CLOCK;
	}
	/* Another service's refusal may have brought new ones since. */
	bool anew = s->keys != credentials_changes(s->credentials) ||
	            (!s->refused && credentials_refused(s->credentials, mono_ns()));
	s->refused = true;
	return anew ? AWS_NEW_KEYS : AWS_LOCKED;
}

void aws_service_accepted(struct aws_service *s)
{
	s->skewed = s->refused = false;
}

void aws_service_free(struct aws_service *s)
{
	sigv4_free(&s->lines);
}
