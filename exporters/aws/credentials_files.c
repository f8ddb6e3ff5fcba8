/* The sources at hand: environment, web identity (whose keys come by a request), shared files. */
#include "exporters/aws/credentials_priv.h"
#include "base/clock.h"
#include "exporters/aws/endpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MOST (256 * 1024)

bool credentials_read_small(const char *path, struct buf *out, size_t most)
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

bool credentials_by_env(struct credentials *c)
{
	const char *id = credentials_env(c, "AWS_ACCESS_KEY_ID"), *secret = credentials_env(c, "AWS_SECRET_ACCESS_KEY"),
			   *token = credentials_env(c, "AWS_SESSION_TOKEN");
	if (!token)
		token = credentials_env(c, "AWS_SECURITY_TOKEN");
	if (!id || !secret) {
		if ((id || secret) && credentials_tell(21))
			log_warn("aws: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must both be set; ignored");
		return false;
	}
	if (!aws_word_ok(id, strlen(id), 128) || !aws_word_ok(secret, strlen(secret), 512) ||
	    (token && !aws_word_ok(token, strlen(token), 16384))) {
		if (credentials_tell(22))
			log_warn("aws: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN holds a character that cannot be "
			         "sent; ignored");
		return false;
	}
	struct aws_found f = {strdup(id), strdup(secret), token ? strdup(token) : NULL, 0};
	bool ok = f.id && f.secret;
	if (ok)
		credentials_take(c, &f, STEP_ENV);
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

bool credentials_by_web(struct credentials *c)
{
	const char *file = credentials_env(c, "AWS_WEB_IDENTITY_TOKEN_FILE"), *role = credentials_env(c, "AWS_ROLE_ARN"),
			   *session = credentials_env(c, "AWS_ROLE_SESSION_NAME");
	char name[64];
	struct buf token = {0}, body = {0};
	if (!file || !role)
		return false;
	c->step = STEP_WEB;
	if (!credentials_read_small(file, &token, TOKEN_FILE_MOST) || !trimmed(&token)) {
		char why[300];
		snprintf(why, sizeof why, "AWS_WEB_IDENTITY_TOKEN_FILE=%.200s: %s", file, errno ? strerror(errno) : "holds no token");
		credentials_wipe(&token);
		credentials_fail(c, "web identity", why);
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
	credentials_wipe(&token);
	sts_url(c);
	c->headers[0] = "Content-Type: application/x-www-form-urlencoded; charset=utf-8";
	c->headers[1] = NULL;
	c->request.body = body;
	credentials_send(c, NULL, 10, false, STEP_WEB);
	return true;
}

/* ---- shared files ---- */

static char *home_path(const struct credentials *c, const char *var, const char *file)
{
	const char *v = credentials_env(c, var), *home = credentials_env(c, "HOME");
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
	if (path && credentials_read_small(path, &b, FILE_MOST))
		aws_profile_read(p, b.p, b.n, name, config);
	else if (path && (errno != ENOENT || credentials_env(c, var)) && credentials_tell(bit))
		log_warn("aws: cannot read %s: %s", path, strerror(errno));
	if (p->bad_line != before && credentials_tell(bit))
		log_warn("aws: %s, line %u: neither a section nor a setting", path, p->bad_line);
	credentials_wipe(&b);
	free(path);
}

bool credentials_by_files(struct credentials *c)
{
	struct aws_profile p = {0};
	const char *name = credentials_env(c, "AWS_PROFILE");
	if (!name)
		name = credentials_env(c, "AWS_DEFAULT_PROFILE");
	const char *wanted = name ? name : "default";
	read_profile(c, &p, "AWS_SHARED_CREDENTIALS_FILE", "credentials", wanted, false, 23);
	read_profile(c, &p, "AWS_CONFIG_FILE", "config", wanted, true, 24);
	if (p.region && !*c->region && !strpbrk(p.region, "/:@?#"))
		snprintf(c->region, sizeof c->region, "%s", p.region);
	bool ok = p.keys.id && p.keys.secret;
	if (ok)
		credentials_take(c, &p.keys, STEP_FILES);
	else if (p.unsupported && credentials_tell(25))
		log_warn("aws: profile %.100s: %s is not supported; give it keys, or the container or instance a role", wanted, p.unsupported);
	else if (name && !p.there && credentials_tell(26))
		log_warn("aws: there is no profile %.100s in the shared files", name);
	aws_profile_free(&p);
	return ok;
}

/* The region stands in the files even where the keys do not. */
void credentials_region_of_files(struct credentials *c)
{
	struct aws_profile p = {0};
	const char *name = credentials_env(c, "AWS_PROFILE");
	if (*c->region)
		return;
	read_profile(c, &p, "AWS_CONFIG_FILE", "config", name ? name : "default", true, 24);
	if (p.region && !strpbrk(p.region, "/:@?#"))
		snprintf(c->region, sizeof c->region, "%s", p.region);
	aws_profile_free(&p);
}
