/*
 * Access tokens: the lines of ROLLBAR_ACCESS_TOKEN_FILE, then ROLLBAR_ACCESS_TOKEN. The file may change while we run:
 * a rotation puts the new token into the first line and leaves the old one in the second until it is revoked.
 */
#include "exporters/log.h"
#include "exporters/rollbar/rollbar.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "X-Rollbar-Access-Token: "
#define TOKEN_MOST 256
#define FILE_MOST 4096

struct tokens { /* a mapping of its own: left out of core files */
	const struct rollbar_settings *set;
	struct timespec mtime;
	ino_t ino;
	off_t size;
	bool told;
	unsigned n;
	char header[ROLLBAR_TOKENS][sizeof NAME + TOKEN_MOST];
};

static size_t tokens_size(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	return (sizeof(struct tokens) + FILE_MOST + page - 1) / page * page;
}

static void add(struct tokens *t, const char *p, size_t n)
{
	if (t->n == ROLLBAR_TOKENS || !settings_token_ok(p, n))
		return;
	char *h = t->header[t->n];
	memcpy(h, NAME, sizeof NAME - 1);
	memcpy(h + sizeof NAME - 1, p, n);
	h[sizeof NAME - 1 + n] = 0;
	for (unsigned i = 0; i < t->n; i++)
		if (strcmp(t->header[i], h) == 0)
			return;
	t->n++;
}

/* Into the room behind the struct. -1: errno. */
static ssize_t read_text(struct tokens *t, struct stat *st)
{
	int fd = open(t->set->token_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = -1;
	if (fd < 0)
		return -1;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		n = read(fd, (char *)(t + 1), FILE_MOST);
	else
		errno = EINVAL;
	int e = errno;
	close(fd);
	errno = e;
	return n;
}

static void read_file_tokens(struct tokens *t, struct stat *st, ssize_t n)
{
	char *text = (char *)(t + 1), *end = text + n;
	memset(t->header, 0, sizeof t->header);
	t->n = 0;
	for (char *p = text; p < end;) {
		char *nl = memchr(p, '\n', (size_t)(end - p)), *e = nl ? nl : end, *next = nl ? nl + 1 : end;
		while (p < e && strchr(" \t\r", *p))
			p++;
		while (e > p && strchr(" \t\r", e[-1]))
			e--;
		if (p < e && *p != '#')
			add(t, p, (size_t)(e - p));
		p = next;
	}
	explicit_bzero(text, (size_t)n);
	t->mtime = st->st_mtim;
	t->ino = st->st_ino;
	t->size = st->st_size;
}

bool tokens_refresh(struct tokens *t, bool force)
{
	char before[sizeof t->header];
	struct stat st;
	if (!t->set->token_file)
		return false;
	if (!force && stat(t->set->token_file, &st) == 0 && st.st_ino == t->ino && st.st_size == t->size &&
	    st.st_mtim.tv_sec == t->mtime.tv_sec && st.st_mtim.tv_nsec == t->mtime.tv_nsec)
		return false;
	memcpy(before, t->header, sizeof before);
	ssize_t n = read_text(t, &st);
	if (n < 0) { /* out of reach after a chroot, or between two renames: what we have stays */
		if (!t->told && !t->n)
			log_warn("ROLLBAR_ACCESS_TOKEN_FILE: cannot read %s: %s", t->set->token_file, strerror(errno));
		t->told = true;
		return false;
	}
	read_file_tokens(t, &st, n);
	if (!t->n && !t->told) {
		log_warn("ROLLBAR_ACCESS_TOKEN_FILE: %s holds no token (one per line)", t->set->token_file);
		t->told = true;
	}
	if (t->set->token)
		add(t, t->set->token, strlen(t->set->token));
	bool other = memcmp(before, t->header, sizeof before) != 0;
	explicit_bzero(before, sizeof before);
	return other;
}

struct tokens *tokens_new(const struct rollbar_settings *s)
{
	struct tokens *t = mmap(NULL, tokens_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		return NULL;
	madvise(t, tokens_size(), MADV_DONTDUMP);
	t->set = s;
	if (!tokens_refresh(t, true) && s->token)
		add(t, s->token, strlen(s->token));
	return t;
}

void tokens_delete(struct tokens *t)
{
	if (!t)
		return;
	explicit_bzero(t, tokens_size());
	munmap(t, tokens_size());
}

unsigned tokens_count(const struct tokens *t)
{
	return t->n;
}

const char *tokens_header(const struct tokens *t, unsigned i)
{
	return i < t->n ? t->header[i] : NULL;
}

void tokens_mask(const struct tokens *t, char *p, size_t n)
{
	for (unsigned i = 0; i < t->n; i++) {
		const char *token = t->header[i] + sizeof NAME - 1;
		size_t k = strlen(token);
		if (k < 8)
			continue; /* a word like any other */
		for (char *at = p, *end = p + n; (at = memmem(at, (size_t)(end - at), token, k)); at += k)
			memset(at, '*', k);
	}
}
