/*
 * The chain as a machine: each step either has keys at once, or begins a request whose answer goes on. A source that
 * was good is asked again before its keys expire; if that fails, the old ones serve until they do.
 */
#include "exporters/aws/credentials.h"
#include "base/clock.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define EARLY_S (15 * 60)           /* before they expire they are asked for again */
#define RETRY_NS (30 * SECOND)      /* after a failure, while there are keys or the chain found none */
#define AGAIN_NS (60 * SECOND)      /* between two refusals that make us look anew */
#define FILE_AGAIN_NS (300 * SECOND) /* files may be rewritten by whoever keeps them fresh */
#define FILE_MOST (256 * 1024)
#define TOKEN_FILE_MOST (32 * 1024)
#define CONTAINER_TRIES 3

enum step {
	STEP_ENV,
	STEP_WEB,
	STEP_FILES,
	STEP_CONTAINER,
	STEP_IMDS, /* its token */
	STEP_IMDS_REGION,
	STEP_IMDS_ROLE,
	STEP_IMDS_KEYS,
	STEP_END,
};

struct store { /* a mapping of its own: left out of core files */
	char id[132], secret[516], token[16388];
};

struct credentials {
	const struct settings *settings;
	struct http *http;
	struct store *store;
	bool have;
	uint64_t expires_s; /* of those in the store, 0 = never */
	enum step source;   /* that they are of */
	char region[65];
	enum step step; /* of the search under way, STEP_END: none */
	struct http_call *call;
	struct request request;
	char url[2200];
	const char *headers[4];
	struct buf header; /* "Authorization: ..", "X-aws-ec2-metadata-token: .." */
	char role[260];
	unsigned tries;
	uint64_t due_ns, refused_ns;
	bool searched; /* once to its end */
	bool loaded;
};

static _Atomic unsigned told; /* bits of messages, once in a process */

static bool tell(unsigned bit)
{
	return !(atomic_fetch_or(&told, 1u << bit) & 1u << bit);
}

static const char *env(const struct credentials *c, const char *name)
{
	return settings_get(c->settings->host, name);
}

static bool is_true(const char *v)
{
	return v && strcasecmp(v, "true") == 0;
}

struct credentials *credentials_new(const struct settings *s, struct http *h)
{
	struct credentials *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->settings = s;
	c->http = h;
	c->step = STEP_END;
	c->due_ns = 1;
	c->store = mmap(NULL, sizeof *c->store, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->store == MAP_FAILED) {
		free(c);
		return NULL;
	}
	madvise(c->store, sizeof *c->store, MADV_DONTDUMP);
	const char *region = env(c, "AWS_REGION");
	if (!region)
		region = env(c, "AWS_DEFAULT_REGION");
	if (region && aws_word_ok(region, strlen(region), sizeof c->region - 1) && !strpbrk(region, "/:@?#"))
		strcpy(c->region, region);
	else if (region && tell(0))
		log_warn("AWS_REGION=%.40s is no region; ignored", region);
	return c;
}

static void wipe_header(struct credentials *c)
{
	if (c->header.p)
		explicit_bzero(c->header.p, c->header.cap);
	buf_free(&c->header);
}

static void request_free(struct credentials *c)
{
	if (c->request.body.p)
		explicit_bzero(c->request.body.p, c->request.body.cap);
	buf_free(&c->request.body);
	c->request = (struct request){0};
}

void credentials_delete(struct credentials *c)
{
	if (!c)
		return;
	if (c->call)
		http_cancel(c->http, c->call);
	request_free(c);
	wipe_header(c);
	explicit_bzero(c->store, sizeof *c->store);
	munmap(c->store, sizeof *c->store);
	free(c);
}

/* ---- outcomes ---- */

static void take(struct credentials *c, struct aws_found *f, enum step source)
{
	snprintf(c->store->id, sizeof c->store->id, "%s", f->id);
	snprintf(c->store->secret, sizeof c->store->secret, "%s", f->secret);
	snprintf(c->store->token, sizeof c->store->token, "%s", f->token ? f->token : "");
	c->expires_s = f->expires_s;
	c->have = true;
	c->source = source;
	c->searched = true;
	c->step = STEP_END;
	c->tries = 0;
	c->due_ns = source == STEP_FILES ? mono_ns() + FILE_AGAIN_NS : 0;
	if (f->expires_s) {
		uint64_t now_s = real_ns() / SECOND, at = f->expires_s > EARLY_S ? f->expires_s - EARLY_S : 0;
		uint64_t left = f->expires_s > now_s ? f->expires_s - now_s : 0;
		uint64_t in = at > now_s ? at - now_s : left / 2;
		c->due_ns = mono_ns() + (in ? in : 1) * SECOND;
	}
	aws_found_free(f);
	static const char *const names[] = {"the environment", "web identity", "the shared files", "the container", "",
	                                    "", "", "instance metadata"};
	log_debug("aws: credentials of %s%s", names[source], c->expires_s ? ", which expire" : "");
}

static void search(struct credentials *c, enum step from);

static void fail(struct credentials *c, const char *what, const char *why)
{
	uint64_t now = mono_ns();
	if (tell(1 + (unsigned)c->step))
		log_warn("aws: no credentials from %s: %s", what, why);
	c->step = STEP_END;
	c->searched = true;
	c->due_ns = now + RETRY_NS;
}

static void none(struct credentials *c)
{
	c->step = STEP_END;
	c->searched = true;
	c->due_ns = mono_ns() + RETRY_NS;
	if (!c->have && tell(20))
		log_warn("aws: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the "
		         "container or instance a role");
}

/* ---- requests ---- */

static void answered(void *ctx, const struct answer *a);

static void send(struct credentials *c, const char *method, uint64_t timeout_s, bool direct, enum step step)
{
	c->step = step;
	c->request.url = c->url;
	c->request.method = method;
	c->request.direct = direct;
	c->request.headers = c->headers;
	c->request.timeout_ns = timeout_s * SECOND;
	c->call = http_post(c->http, &c->request, answered, c);
	if (!c->call)
		fail(c, "the network", "no memory");
}

static bool read_small(const char *path, struct buf *out, size_t most)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool ok = fd >= 0 && fstat(fd, &st) == 0;
	if (ok && (!S_ISREG(st.st_mode) || (size_t)st.st_size > most)) {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
		ok = false;
	}
	while (ok && buf_reserve(out, 4096) && out->n <= most) {
		ssize_t n = read(fd, out->p + out->n, out->cap - out->n);
		if (n <= 0) {
			ok = n == 0;
			break;
		}
		out->n += (size_t)n;
	}
	int e = errno;
	if (fd >= 0)
		close(fd);
	errno = e;
	return ok && !out->failed;
}

static void wipe(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf_free(b);
}

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

/* ---- the environment ---- */

static bool by_env(struct credentials *c)
{
	const char *id = env(c, "AWS_ACCESS_KEY_ID"), *secret = env(c, "AWS_SECRET_ACCESS_KEY"),
	           *token = env(c, "AWS_SESSION_TOKEN");
	if (!token)
		token = env(c, "AWS_SECURITY_TOKEN");
	if (!id || !secret) {
		if ((id || secret) && tell(21))
			log_warn("aws: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must both be set; ignored");
		return false;
	}
	if (!aws_word_ok(id, strlen(id), 128) || !aws_word_ok(secret, strlen(secret), 512) ||
	    (token && !aws_word_ok(token, strlen(token), 16384))) {
		if (tell(22))
			log_warn("aws: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN holds a character that cannot be "
			         "sent; ignored");
		return false;
	}
	struct aws_found f = {strdup(id), strdup(secret), token ? strdup(token) : NULL, 0};
	bool ok = f.id && f.secret;
	if (ok)
		take(c, &f, STEP_ENV);
	return ok;
}

/* ---- web identity ---- */

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

static const char *domain(const char *region)
{
	return strncmp(region, "cn-", 3) == 0 ? "amazonaws.com.cn" : "amazonaws.com";
}

static bool by_web(struct credentials *c)
{
	const char *file = env(c, "AWS_WEB_IDENTITY_TOKEN_FILE"), *role = env(c, "AWS_ROLE_ARN"),
	           *session = env(c, "AWS_ROLE_SESSION_NAME"), *own = env(c, "AWS_ENDPOINT_URL_STS");
	char name[64];
	struct buf token = {0}, body = {0};
	if (!file || !role)
		return false;
	c->step = STEP_WEB;
	if (!read_small(file, &token, TOKEN_FILE_MOST) || !trimmed(&token)) {
		char why[300];
		snprintf(why, sizeof why, "AWS_WEB_IDENTITY_TOKEN_FILE=%.200s: %s", file, errno ? strerror(errno) : "holds no token");
		wipe(&token);
		fail(c, "web identity", why);
		return true;
	}
	snprintf(name, sizeof name, "remora-%llu", (unsigned long long)(real_ns() / SECOND));
	if (!session)
		session = name;
	form(&body, "Action", "AssumeRoleWithWebIdentity", 25);
	form(&body, "Version", "2011-06-15", 10);
	form(&body, "RoleArn", role, strlen(role));
	form(&body, "RoleSessionName", session, strlen(session));
	form(&body, "WebIdentityToken", token.p, token.n);
	wipe(&token);
	if (own && settings_url_ok(own))
		snprintf(c->url, sizeof c->url, "%.2000s%s", own, own[strlen(own) - 1] == '/' ? "" : "/");
	else if (*c->region)
		snprintf(c->url, sizeof c->url, "https://sts.%s.%s/", c->region, domain(c->region));
	else
		strcpy(c->url, "https://sts.amazonaws.com/");
	c->headers[0] = "Content-Type: application/x-www-form-urlencoded; charset=utf-8";
	c->headers[1] = NULL;
	c->request.body = body;
	send(c, NULL, 10, false, STEP_WEB);
	return true;
}

/* ---- shared files ---- */

static char *home_path(const struct credentials *c, const char *var, const char *file)
{
	const char *v = env(c, var), *home = env(c, "HOME");
	char *out = NULL;
	bool tilde = v && v[0] == '~' && v[1] == '/';
	if (v && !tilde)
		return strdup(v);
	if (!home)
		return NULL;
	int n = tilde ? asprintf(&out, "%s%s", home, v + 1) : asprintf(&out, "%s/.aws/%s", home, file);
	return n < 0 ? NULL : out;
}

static void read_profile(struct credentials *c, struct aws_profile *p, const char *var, const char *file, const char *name,
                         bool config, unsigned bit)
{
	char *path = home_path(c, var, file);
	struct buf b = {0};
	unsigned before = p->bad_line;
	if (path && read_small(path, &b, FILE_MOST))
		aws_profile_read(p, b.p, b.n, name, config);
	else if (path && (errno != ENOENT || env(c, var)) && tell(bit))
		log_warn("aws: cannot read %s: %s", path, strerror(errno));
	if (p->bad_line != before && tell(bit))
		log_warn("aws: %s, line %u: neither a section nor a setting", path, p->bad_line);
	wipe(&b);
	free(path);
}

static bool by_files(struct credentials *c)
{
	struct aws_profile p = {0};
	const char *name = env(c, "AWS_PROFILE");
	if (!name)
		name = env(c, "AWS_DEFAULT_PROFILE");
	const char *wanted = name ? name : "default";
	read_profile(c, &p, "AWS_SHARED_CREDENTIALS_FILE", "credentials", wanted, false, 23);
	read_profile(c, &p, "AWS_CONFIG_FILE", "config", wanted, true, 24);
	if (p.region && !*c->region && !strpbrk(p.region, "/:@?#"))
		snprintf(c->region, sizeof c->region, "%s", p.region);
	bool ok = p.keys.id && p.keys.secret;
	if (ok)
		take(c, &p.keys, STEP_FILES);
	else if (p.unsupported && tell(25))
		log_warn("aws: profile %.100s: %s is not supported; give it keys, or the container or instance a role", wanted, p.unsupported);
	else if (name && !p.there && tell(26))
		log_warn("aws: there is no profile %.100s in the shared files", name);
	aws_profile_free(&p);
	return ok;
}

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

static bool by_container(struct credentials *c)
{
	const char *relative = env(c, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
	           *full = env(c, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
	           *file = env(c, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), *token = env(c, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	struct buf b = {0};
	if (!relative && !full)
		return false;
	c->step = STEP_CONTAINER;
	if (relative)
		snprintf(c->url, sizeof c->url, "http://169.254.170.2%s%.2000s", *relative == '/' ? "" : "/", relative);
	else
		snprintf(c->url, sizeof c->url, "%.2000s", full);
	if (!may_ask(c->url)) {
		fail(c, "the container", "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http to this host or "
		                         "169.254.170.2, 169.254.170.23, [fd00:ec2::23]");
		return true;
	}
	if (file && !read_small(file, &b, TOKEN_FILE_MOST)) {
		char why[300];
		snprintf(why, sizeof why, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=%.200s: %s", file, strerror(errno));
		wipe(&b);
		fail(c, "the container", why);
		return true;
	}
	if (!file && token)
		buf_add(&b, token, strlen(token));
	while (file && b.n && strchr("\r\n", b.p[b.n - 1]))
		b.n--;
	if (b.n && (memchr(b.p, '\r', b.n) || memchr(b.p, '\n', b.n) || memchr(b.p, 0, b.n))) {
		wipe(&b);
		fail(c, "the container", "its authorization token holds a line's end");
		return true;
	}
	wipe_header(c);
	c->headers[0] = "Accept: application/json";
	c->headers[1] = NULL;
	if (b.n) {
		buf_add(&c->header, "Authorization: ", 15);
		buf_add(&c->header, b.p, b.n);
		buf_add(&c->header, "", 1);
		c->headers[1] = c->header.failed ? NULL : c->header.p;
		c->headers[2] = NULL;
	}
	wipe(&b);
	send(c, "GET", 2, true, STEP_CONTAINER);
	return true;
}

/* ---- instance metadata ---- */

static const char *imds(const struct credentials *c)
{
	const char *own = env(c, "AWS_EC2_METADATA_SERVICE_ENDPOINT"), *mode = env(c, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
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
	send(c, method, 1, true, step);
}

static bool by_imds(struct credentials *c)
{
	if (is_true(env(c, "AWS_EC2_METADATA_DISABLED")))
		return false;
	wipe_header(c);
	imds_get(c, "PUT", "/latest/api/token", "", STEP_IMDS);
	return true;
}

static void imds_role(struct credentials *c)
{
	if (!*c->region)
		imds_get(c, "GET", "/latest/meta-data/placement/region", "", STEP_IMDS_REGION);
	else if (c->have && c->source != STEP_IMDS_KEYS)
		c->step = STEP_END; /* only the region was missing */
	else
		imds_get(c, "GET", "/latest/meta-data/iam/security-credentials/", "", STEP_IMDS_ROLE);
}

/* ---- answers ---- */

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

static void imds_answer(struct credentials *c, enum step step, const struct answer *a)
{
	struct aws_found f;
	const char *why;
	switch (step) {
	case STEP_IMDS:
		if (a->status == 200 && aws_word_ok(a->body, a->body_len, 2048)) {
			buf_add(&c->header, "X-aws-ec2-metadata-token: ", 26);
			buf_add(&c->header, a->body, a->body_len);
			buf_add(&c->header, "", 1);
		} else if (a->status == 400 || is_true(env(c, "AWS_EC2_METADATA_V1_DISABLED"))) {
			fail(c, "instance metadata", a->status ? "it refuses a token" : "it does not answer");
			return;
		} else if (!a->status && a->error && !strstr(a->error, "timed out") && !strstr(a->error, "imeout")) {
			none(c); /* nobody is there */
			return;
		}
		imds_role(c);
		return;
	case STEP_IMDS_REGION:
		if (!line_of(a, c->region, sizeof c->region)) {
			c->region[0] = 0;
			if (!a->status) {
				none(c);
				return;
			}
			if (c->have && c->source != STEP_IMDS_KEYS) {
				none(c);
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
			none(c);
		else
			fail(c, "instance metadata", "the instance has no role");
		return;
	default:
		why = a->status == 200 ? aws_json_read(&f, a->body, a->body_len) : "the role's keys are refused";
		if (why)
			fail(c, "instance metadata", why);
		else
			take(c, &f, STEP_IMDS_KEYS);
	}
}

static void answered(void *ctx, const struct answer *a)
{
	struct credentials *c = ctx;
	enum step step = c->step;
	struct aws_found f;
	const char *why = NULL;
	char text[80];
	c->call = NULL;
	request_free(c);
	if (step != STEP_WEB && step != STEP_CONTAINER) {
		imds_answer(c, step, a);
		return;
	}
	if (!a->status) {
		why = a->error ? a->error : "no answer";
	} else if (a->status != 200) {
		snprintf(text, sizeof text, "status %d", a->status);
		why = text;
	} else {
		why = step == STEP_WEB ? aws_xml_read(&f, a->body, a->body_len) : aws_json_read(&f, a->body, a->body_len);
	}
	if (!why) {
		take(c, &f, step);
	} else if (step == STEP_CONTAINER && ++c->tries < CONTAINER_TRIES) {
		log_debug("aws: the container's credentials: %s; again in a second", why);
		c->step = STEP_END;
		c->searched = true; /* a flush does not wait for that */
		c->due_ns = mono_ns() + SECOND;
	} else {
		c->tries = 0;
		fail(c, step == STEP_WEB ? "web identity" : "the container", why);
	}
}

/* ---- outside ---- */

/* The region stands in the files even where the keys do not. */
static void region_of_files(struct credentials *c)
{
	struct aws_profile p = {0};
	const char *name = env(c, "AWS_PROFILE");
	if (*c->region)
		return;
	read_profile(c, &p, "AWS_CONFIG_FILE", "config", name ? name : "default", true, 24);
	if (p.region && !strpbrk(p.region, "/:@?#"))
		snprintf(c->region, sizeof c->region, "%s", p.region);
	aws_profile_free(&p);
}

static void search(struct credentials *c, enum step from)
{
	static bool (*const steps[])(struct credentials *) = {by_env, by_web, by_files, by_container, by_imds};
	region_of_files(c);
	for (unsigned i = from; i <= STEP_IMDS; i++)
		if (steps[i](c))
			return;
	none(c);
}

void credentials_turn(struct credentials *c, uint64_t now)
{
	if (c->call || !c->due_ns || now < c->due_ns)
		return;
	c->due_ns = 0;
	if (!c->loaded) { /* while the file is surely there */
		http_load(c->http, NULL, true);
		c->loaded = true;
	}
	if (c->have && c->expires_s && c->expires_s <= real_ns() / SECOND)
		c->have = false;
	search(c, STEP_ENV);
	/* Keys without a region: the instance may know it. */
	if (c->have && !*c->region && !c->call && c->source != STEP_IMDS_KEYS && !is_true(env(c, "AWS_EC2_METADATA_DISABLED")) && tell(27))
		by_imds(c);
}

uint64_t credentials_due(const struct credentials *c)
{
	return c->call ? 0 : c->due_ns;
}

bool credentials_keys(const struct credentials *c, struct aws_keys *out)
{
	if (!c->have || (c->expires_s && c->expires_s <= real_ns() / SECOND))
		return false;
	*out = (struct aws_keys){c->store->id, c->store->secret, c->store->token};
	return true;
}

const char *credentials_region(const struct credentials *c)
{
	return *c->region ? c->region : NULL;
}

bool credentials_hopeless(const struct credentials *c)
{
	return !c->call && c->searched && (c->due_ns == 0 || c->due_ns > mono_ns());
}

bool credentials_refused(struct credentials *c, uint64_t now)
{
	if (c->call)
		return true;
	if (c->refused_ns && now - c->refused_ns < AGAIN_NS)
		return false;
	c->refused_ns = now;
	c->due_ns = 1;
	return true;
}

void credentials_mask(const struct credentials *c, char *p, size_t n)
{
	const char *const secrets[] = {c->store->secret, c->store->token};
	for (int i = 0; i < 2; i++) {
		size_t k = strlen(secrets[i]);
		for (char *at = p, *end = p + n; k >= 8 && (at = memmem(at, (size_t)(end - at), secrets[i], k)); at += k)
			memset(at, '*', k);
	}
}
