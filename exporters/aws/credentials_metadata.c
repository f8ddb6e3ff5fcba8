/* Sources on link-local addresses, which no proxy is asked for: containers (ECS, EKS pod identity), instance metadata. */
#include "exporters/aws/credentials_priv.h"
#include <errno.h>

/* ---- containers ---- */

/* Plain http goes to the hosts that AWS names, and to ourselves. */
static bool may_ask(const char *url)
{
	static const char *const hosts[] = {"169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "localhost", "[::1]"};
	if (strncasecmp(url, "https://", 8) == 0)
		return settings_url_ok(url);
	if (strncasecmp(url, "http://", 7) != 0 || !settings_url_ok(url))
		return false;
	const char *h = url + 7;
	size_t n = *h == '[' ? strcspn(h, "]") + 1 : strcspn(h, ":/?#");
	if (memchr(h, '@', strcspn(h, "/?#")))
		return false;
	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
		if (strlen(hosts[i]) == n && strncasecmp(h, hosts[i], n) == 0)
			return true;
	return n > 4 && strncmp(h, "127.", 4) == 0 && strspn(h, "0123456789.") == n;
}

bool credentials_by_container(struct credentials *c)
{
	const char *relative = credentials_env(c, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
			   *full = credentials_env(c, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
			   *file = credentials_env(c, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), *token = credentials_env(c, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	struct buf b = {0};
	if (!relative && !full)
		return false;
	c->step = STEP_CONTAINER;
	if (relative)
		snprintf(c->url, sizeof c->url, "http://169.254.170.2%s%.2000s", *relative == '/' ? "" : "/", relative);
	else
		snprintf(c->url, sizeof c->url, "%.2000s", full);
	if (!may_ask(c->url)) {
		credentials_fail(c, "the container", "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http to this host or "
		                                     "169.254.170.2, 169.254.170.23, [fd00:ec2::23]");
		return true;
	}
	if (file && !credentials_read_small(file, &b, TOKEN_FILE_MOST)) {
		char why[300];
		snprintf(why, sizeof why, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=%.200s: %s", file, strerror(errno));
		credentials_wipe(&b);
		credentials_fail(c, "the container", why);
		return true;
	}
	if (!file && token)
		buf_add(&b, token, strlen(token));
	while (file && b.n && strchr("\r\n", b.p[b.n - 1]))
		b.n--;
	if (b.n && (memchr(b.p, '\r', b.n) || memchr(b.p, '\n', b.n) || memchr(b.p, 0, b.n))) {
		credentials_wipe(&b);
		credentials_fail(c, "the container", "its authorization token holds a line's end");
		return true;
	}
	credentials_wipe(&c->header);
	c->headers[0] = "Accept: application/json";
	c->headers[1] = NULL;
	if (b.n) {
		buf_add(&c->header, "Authorization: ", 15);
		buf_add(&c->header, b.p, b.n);
		buf_add(&c->header, "", 1);
		c->headers[1] = c->header.failed ? NULL : c->header.p;
		c->headers[2] = NULL;
	}
	credentials_wipe(&b);
	credentials_send(c, "GET", 2, true, STEP_CONTAINER);
	return true;
}

/* ---- instance metadata ---- */

static const char *imds(const struct credentials *c)
{
	const char *own = credentials_env(c, "AWS_EC2_METADATA_SERVICE_ENDPOINT"), *mode = credentials_env(c, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	if (own && settings_url_ok(own))
		return own;
	return mode && strcasecmp(mode, "IPv6") == 0 ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
}

static void imds_get(struct credentials *c, const char *method, const char *path, const char *rest, enum step step)
{
	const char *base = imds(c);
	size_t n = strlen(base);
	while (n && base[n - 1] == '/')
		n--;
	snprintf(c->url, sizeof c->url, "%.*s%s%s", (int)(n < 1000 ? n : 1000), base, path, rest);
	c->headers[0] = step == STEP_IMDS ? "X-aws-ec2-metadata-token-ttl-seconds: 21600" : c->header.n ? c->header.p
	                                                                                                : NULL;
	c->headers[1] = NULL;
	credentials_send(c, method, 1, true, step);
}

bool credentials_by_imds(struct credentials *c)
{
	if (credentials_true(credentials_env(c, "AWS_EC2_METADATA_DISABLED")))
		return false;
	credentials_wipe(&c->header);
	imds_get(c, "PUT", "/latest/api/token", "", STEP_IMDS);
	return true;
}

static void imds_role(struct credentials *c)
{
	if (!*c->region)
		imds_get(c, "GET", "/latest/meta-data/placement/region", "", STEP_IMDS_REGION);
	else if (c->have && c->source != STEP_IMDS_KEYS && !c->n_roles)
		c->step = STEP_END; /* only the region was missing */
	else
		imds_get(c, "GET", "/latest/meta-data/iam/security-credentials/", "", STEP_IMDS_ROLE);
}

static bool line_of(const struct answer *a, char *out, size_t cap)
{
	size_t n = 0;
	while (n < a->body_len && a->body[n] > 0x20 && a->body[n] < 0x7f)
		n++;
	if (a->status != 200 || !n || n >= cap || memchr(a->body, '/', n))
		return false;
	memcpy(out, a->body, n);
	out[n] = 0;
	return true;
}

void credentials_imds_answer(struct credentials *c, enum step step, const struct answer *a)
{
	struct aws_found f;
	const char *why;
	switch (step) {
	case STEP_IMDS:
		if (a->status == 200 && aws_word_ok(a->body, a->body_len, 2048)) {
			buf_add(&c->header, "X-aws-ec2-metadata-token: ", 26);
			buf_add(&c->header, a->body, a->body_len);
			buf_add(&c->header, "", 1);
		} else if (a->status == 400 || credentials_true(credentials_env(c, "AWS_EC2_METADATA_V1_DISABLED"))) {
			credentials_fail(c, "instance metadata", a->status ? "it refuses a token" : "it does not answer");
			return;
		} else if (!a->status && a->error && !strstr(a->error, "timed out") && !strstr(a->error, "imeout")) {
			credentials_none(c); /* nobody is there */
			return;
		}
		imds_role(c);
		return;
	case STEP_IMDS_REGION:
		if (!line_of(a, c->region, sizeof c->region)) {
			c->region[0] = 0;
			if (!a->status) {
				credentials_none(c);
				return;
			}
			if (c->have && c->source != STEP_IMDS_KEYS && !c->n_roles) {
				credentials_none(c);
				return;
			}
			imds_get(c, "GET", "/latest/meta-data/iam/security-credentials/", "", STEP_IMDS_ROLE);
			return;
		}
		imds_role(c);
		return;
	case STEP_IMDS_ROLE:
		if (line_of(a, c->role, sizeof c->role))
			imds_get(c, "GET", "/latest/meta-data/iam/security-credentials/", c->role, STEP_IMDS_KEYS);
		else if (!a->status)
			credentials_none(c);
		else
			credentials_fail(c, "instance metadata", "the instance has no role");
		return;
	default:
		why = a->status == 200 ? aws_json_read(&f, a->body, a->body_len) : "the role's keys are refused";
		if (why)
			credentials_fail(c, "instance metadata", why);
		else
			credentials_take(c, &f, STEP_IMDS_KEYS);
	}
}
