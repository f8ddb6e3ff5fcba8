/*
 * Keys that STS gives for others: to who shows a token (web identity), or to who has keys that may assume a role. Profiles
 * name where those come from, which may be a role again.
 */
#include "base/clock.h"
#include "exporters/aws/credentials_priv.h"
#include "exporters/aws/endpoint.h"
#include "exporters/aws/error.h"
#include "exporters/aws/service.h"
#include <errno.h>

/* Without blanks around; false: nothing fit for a header. */
static bool trimmed(struct buf *b)
{
	size_t from = 0;
	while (b->n && strchr(" \t\r\n", b->p[b->n - 1]))
		b->n--;
	while (from < b->n && strchr(" \t\r\n", b->p[from]))
		from++;
	if (from)
		memmove(b->p, b->p + from, b->n - from);
	b->n -= from;
	return aws_word_ok(b->p, b->n, TOKEN_FILE_MOST);
}

/* ---- calls ---- */

static void form(struct buf *b, const char *name, const char *p, size_t n)
{
	static const char digit[] = "0123456789ABCDEF";
	if (b->n)
		buf_add(b, "&", 1);
	buf_add(b, name, strlen(name));
	buf_add(b, "=", 1);
	for (size_t i = 0; i < n; i++) {
		unsigned char ch = (unsigned char)p[i];
		bool plain = (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') || (ch && strchr("-_.~", ch));
		char e[3] = {'%', digit[ch >> 4], digit[ch & 15]};
		buf_add(b, plain ? (const char *)&p[i] : e, plain ? 1 : 3);
	}
}

/* STS of the region, or AWS_ENDPOINT_URL_STS; its host for a signature. */
static void sts_url(struct credentials *c)
{
	const char *own = credentials_env(c, "AWS_ENDPOINT_URL_STS");
	char host[AWS_HOST] = "sts.amazonaws.com";
	if (own && settings_url_ok(own) && !strpbrk(own, "?#@")) {
		snprintf(c->url, sizeof c->url, "%.2000s%s", own, own[strlen(own) - 1] == '/' ? "" : "/");
		return;
	}
	if (own && credentials_tell(29))
		log_warn("aws: AWS_ENDPOINT_URL_STS is not an http:// or https:// URL; ignored");
	if (*c->region)
		aws_host(host, "sts", c->region, credentials_variants(c));
	snprintf(c->url, sizeof c->url, "https://%s/", host);
}

static void call_begins(struct credentials *c, const char *action, const char *role, const char *session)
{
	char name[64];
	credentials_wipe(&c->request.body);
	snprintf(name, sizeof name, "remora-%llu", (unsigned long long)(real_ns() / SECOND));
	if (!session)
		session = name;
	form(&c->request.body, "Action", action, strlen(action));
	form(&c->request.body, "Version", "2011-06-15", 10);
	form(&c->request.body, "RoleArn", role, strlen(role));
	form(&c->request.body, "RoleSessionName", session, strlen(session));
	sts_url(c);
	c->headers[0] = "Content-Type: application/x-www-form-urlencoded; charset=utf-8";
	c->headers[1] = NULL;
}

/* ---- web identity ---- */

bool credentials_by_web(struct credentials *c)
{
	struct aws_profile p = {0};
	struct buf token = {0};
	const char *file = credentials_env(c, "AWS_WEB_IDENTITY_TOKEN_FILE"), *role = credentials_env(c, "AWS_ROLE_ARN"),
			   *session = credentials_env(c, "AWS_ROLE_SESSION_NAME");
	credentials_read_profile(c, &p, credentials_profile(c));
	file = file ? file : p.token_file;
	role = role ? role : p.role_arn;
	session = session ? session : p.session;
	bool wanted = file && role;
	if (wanted) {
		c->step = STEP_WEB;
		errno = 0;
		if (!credentials_read_small(file, &token, TOKEN_FILE_MOST) || !trimmed(&token)) {
			char why[300];
			snprintf(why, sizeof why, "AWS_WEB_IDENTITY_TOKEN_FILE=%.200s: %s", file, errno ? strerror(errno) : "holds no token");
			credentials_fail(c, "web identity", why);
		} else {
			call_begins(c, "AssumeRoleWithWebIdentity", role, session);
			form(&c->request.body, "WebIdentityToken", token.p, token.n);
			credentials_send(c, NULL, 10, false, STEP_WEB);
		}
	}
	credentials_wipe(&token);
	aws_profile_free(&p);
	return wanted;
}

/* ---- roles ---- */

void credentials_roles_free(struct credentials *c)
{
	for (unsigned i = 0; i < c->n_roles; i++)
		aws_profile_free(&c->roles[i]);
	c->n_roles = 0;
	c->skewed = false;
	explicit_bzero(&c->store[STORE_BASE], sizeof *c->store);
}

void credentials_assume(struct credentials *c)
{
	const struct aws_profile *r = &c->roles[c->n_roles - 1];
	const struct store *base = &c->store[STORE_BASE];
	call_begins(c, "AssumeRole", r->role_arn, r->session);
	struct buf *b = &c->request.body;
	if (r->external_id)
		form(b, "ExternalId", r->external_id, strlen(r->external_id));
	if (r->duration)
		form(b, "DurationSeconds", r->duration, strlen(r->duration));
	const char *host = strstr(c->url, "://") + 3;
	size_t n = strcspn(host, "/");
	char name[300];
	const char *port = strncasecmp(c->url, "https:", 6) == 0 ? ":443" : ":80";
	if (n > strlen(port) && memcmp(host + n - strlen(port), port, strlen(port)) == 0)
		n -= strlen(port);
	snprintf(name, sizeof name, "%.*s", (int)(n < 290 ? n : 290), host);
	sigv4_free(&c->lines);
	struct sigv4 call = {
		.method = "POST",
		.host = name,
		.path = host + strcspn(host, "/"),
		.headers = c->headers,
		.body = b->p,
		.body_n = b->n,
		.region = *c->region ? c->region : "us-east-1",
		.service = "sts",
		.keys = {base->id, base->secret, base->token},
		.time_s = (uint64_t)((int64_t)(real_ns() / SECOND) + c->skew_s),
	};
	c->step = STEP_ROLE;
	if (b->failed || !sigv4_sign(&call, &c->lines)) {
		credentials_fail(c, "a role", "no memory");
		return;
	}
	c->headers[1] = c->lines.date;
	c->headers[2] = c->lines.authorization.p;
	c->headers[3] = c->lines.token.n ? c->lines.token.p : NULL;
	c->headers[4] = NULL;
	credentials_send(c, NULL, 10, false, STEP_ROLE);
}

/* What it said instead of keys. */
void credentials_role_refused(struct credentials *c, const struct answer *a, const char *why)
{
	struct aws_error e;
	char what[200], text[400];
	aws_error_read(&e, a->aws_error, a->body, a->body_len);
	if (!c->skewed && aws_error_unauthorized(&e) && aws_clock_by(a, &c->skew_s)) {
		c->skewed = true;
		credentials_assume(c);
		return;
	}
	snprintf(what, sizeof what, "the role %.150s", c->roles[c->n_roles - 1].role_arn);
	snprintf(text, sizeof text, "%s%s%s%s%s", why, *e.type ? ", " : "", e.type, *e.message ? ": " : "", e.message);
	credentials_mask(c, text, strlen(text));
	credentials_fail(c, what, text);
}

/* Keys for the first of the roles. False: nothing is under way, *why. */
static bool base_keys(struct credentials *c, struct aws_profile *p, const char **why)
{
	const char *from = p->source;
	if (!from) {
		credentials_take(c, &p->keys, STEP_FILES);
		return true;
	}
	*why = "its credential_source is not EcsContainer or Ec2InstanceMetadata";
	if (strcmp(from, "EcsContainer") == 0) {
		*why = "its credential_source is EcsContainer, and this is none";
		return credentials_by_container(c);
	}
	if (strcmp(from, "Ec2InstanceMetadata") == 0) {
		*why = "its credential_source is Ec2InstanceMetadata, and AWS_EC2_METADATA_DISABLED is set";
		return credentials_by_imds(c);
	}
	if (strcmp(from, "Environment") == 0) /* keys there would have been used before */
		*why = "its credential_source is Environment, which has no keys";
	return false;
}

bool credentials_by_role(struct credentials *c)
{
	char *name = strdup(credentials_profile(c)), what[120];
	const char *why = NULL;
	bool under_way = false;
	credentials_roles_free(c);
	while (name && !why && !under_way) {
		struct aws_profile p = {0};
		credentials_read_profile(c, &p, name);
		snprintf(what, sizeof what, "profile %.100s", name);
		bool keys = p.keys.id && p.keys.secret;
		free(name);
		name = NULL;
		c->step = STEP_ROLE;
		if (c->n_roles && keys) {
			free(p.source);
			p.source = NULL;
			under_way = base_keys(c, &p, &why);
			aws_profile_free(&p);
			break;
		}
		if (!p.role_arn || (!c->n_roles && p.token_file)) {
			if (c->n_roles) /* whose source it is */
				why = !p.there ? "there is no such profile" : "it has neither keys nor a role, and is the source_profile of a role";
			aws_profile_free(&p);
			break;
		}
		if (p.mfa)
			why = "its role wants mfa_serial, and nobody is here to ask for a code";
		else if (!p.source_profile == !p.source)
			why = "its role needs one of source_profile and credential_source";
		else if (c->n_roles == AWS_ROLES)
			why = "its roles lead to each other, or are more than four";
		if (why) {
			aws_profile_free(&p);
			break;
		}
		c->roles[c->n_roles++] = p;
		name = p.source_profile ? strdup(p.source_profile) : NULL;
		if (p.source)
			under_way = base_keys(c, &p, &why);
	}
	free(name);
	if (!under_way && why)
		credentials_fail(c, what, why);
	return under_way || why;
}
