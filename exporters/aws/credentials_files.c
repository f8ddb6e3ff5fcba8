/* The sources at hand: environment, shared files. */
#include "exporters/aws/credentials_priv.h"
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

const char *credentials_profile(const struct credentials *c)
{
	const char *name = credentials_env(c, "AWS_PROFILE");
	if (!name)
		name = credentials_env(c, "AWS_DEFAULT_PROFILE");
	return name ? name : "default";
}

void credentials_read_profile(struct credentials *c, struct aws_profile *p, const char *name)
{
	read_profile(c, p, "AWS_SHARED_CREDENTIALS_FILE", "credentials", name, false, 23);
	read_profile(c, p, "AWS_CONFIG_FILE", "config", name, true, 24);
}

bool credentials_by_files(struct credentials *c)
{
	struct aws_profile p = {0};
	const char *wanted = credentials_profile(c);
	bool named = credentials_env(c, "AWS_PROFILE") || credentials_env(c, "AWS_DEFAULT_PROFILE");
	credentials_read_profile(c, &p, wanted);
	if (p.region && !*c->region && aws_region_ok(p.region))
		snprintf(c->region, sizeof c->region, "%s", p.region);
	bool ok = p.keys.id && p.keys.secret;
	if (ok)
		credentials_take(c, &p.keys, STEP_FILES);
	else if (p.unsupported && credentials_tell(25))
		log_warn("aws: profile %.100s: %s is not supported; give it keys or a role, or the container or instance a role", wanted,
		         p.unsupported);
	else if (named && !p.there && credentials_tell(26))
		log_warn("aws: there is no profile %.100s in the shared files", wanted);
	aws_profile_free(&p);
	return ok;
}

/* The region stands in the files even where the keys do not. */
void credentials_region_of_files(struct credentials *c)
{
	struct aws_profile p = {0};
	if (*c->region)
		return;
	read_profile(c, &p, "AWS_CONFIG_FILE", "config", credentials_profile(c), true, 24);
	if (p.region && aws_region_ok(p.region))
		snprintf(c->region, sizeof c->region, "%s", p.region);
	aws_profile_free(&p);
}
