/* PEM files kept in memory: a chroot, set*id or unmount later does not matter. */
#include "exporters/http_file.h"
#include "exporters/http_ca.h"
#include "exporters/settings.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LIMIT (8 * 1024 * 1024) /* the bundles of the distributions are about 220 KB */

struct file {
	struct file *next;
	struct buf text;    /* of a client's certificate or key */
	struct http_ca *ca; /* else */
	char path[];
};

struct http_files {
	const struct export_host *host;
	struct file *first;
};

struct http_files *http_files_new(const struct export_host *host)
{
	struct http_files *f = calloc(1, sizeof *f);
	if (f)
		f->host = host;
	return f;
}

void http_files_delete(struct http_files *f)
{
	while (f && f->first) {
		struct file *next = f->first->next;
		if (f->first->text.n)
			explicit_bzero(f->first->text.p, f->first->text.n); /* it may be a key */
		buf_free(&f->first->text);
		http_ca_delete(f->first->ca);
		free(f->first);
		f->first = next;
	}
	free(f);
}

static bool read_all(int fd, struct buf *out)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return false;
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_LIMIT) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EFBIG;
		return false;
	}
	while (out->n <= FILE_LIMIT && buf_reserve(out, 65536)) {
		ssize_t n = read(fd, out->p + out->n, out->cap - out->n);
		if (n == 0) {
			errno = out->n ? 0 : ENODATA;
			return out->n > 0;
		}
		if (n < 0 && errno != EINTR)
			return false;
		out->n += n > 0 ? (size_t)n : 0;
	}
	errno = ENOMEM;
	return false;
}

/* As text or as authorities; NULL: errno. */
static struct file *get(struct http_files *f, const char *path, bool ca)
{
	for (struct file *e = f->first; e; e = e->next)
		if (strcmp(e->path, path) == 0 && (e->ca != NULL) == ca)
			return e;
	size_t n = strlen(path) + 1;
	struct file *e = calloc(1, sizeof *e + n);
	if (!e)
		return NULL;
	memcpy(e->path, path, n);
	/* A pipe must not hold us up: read_all refuses what is no regular file. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool ok = fd >= 0 && read_all(fd, &e->text);
	int err = errno;
	if (fd >= 0)
		close(fd);
	if (ok && ca) {
		e->ca = http_ca_new(&e->text);
		ok = e->ca != NULL;
		err = EINVAL;
		buf_free(&e->text);
	}
	if (!ok) {
		buf_free(&e->text);
		free(e);
		errno = err;
		return NULL;
	}
	e->next = f->first;
	f->first = e;
	return e;
}

const struct buf *http_files_get(struct http_files *f, const char *path)
{
	const struct file *e = get(f, path, false);
	return e ? &e->text : NULL;
}

struct http_ca *http_files_ca(struct http_files *f, const char *path)
{
	static const char *const places[] = {
		"/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine, Arch */
		"/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
		"/etc/ssl/ca-bundle.pem",             /* SUSE */
		"/etc/ssl/cert.pem",                  /* Alpine, BSDs */
	};
	const char *own = path ? path : settings_get(f->host, "SSL_CERT_FILE");
	const struct file *e = own ? get(f, own, true) : NULL;
	for (size_t i = 0; !e && !path && i < sizeof places / sizeof *places; i++)
		e = get(f, places[i], true);
	return e ? e->ca : NULL;
}
