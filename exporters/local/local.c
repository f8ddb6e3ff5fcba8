/* Directories and files. Everything is reached from one directory's descriptor, which is proved before each use. */
#include "exporters/local/local.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TRIES 2000 /* a storm of helpers: without the lock each would count for itself */
#define LOCK_PAUSE_US 500

struct local {
	char *path;
	int fd; /* of path, -1 = not open. The host may close it (close_range) and use the number for a file of its own */
	dev_t dev;
	ino_t ino;
};

static const char *const places[] = {".", "crashes", "spool"};
_Static_assert(sizeof places / sizeof *places == LOCAL_PLACES, "one name each");

struct local *local_new(const char *dir)
{
	struct local *l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	l->fd = -1;
	l->path = dir ? strdup(dir) : NULL;
	return l;
}

static bool still_ours(const struct local *l)
{
	struct stat st;
	return l->fd >= 0 && fstat(l->fd, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino;
}

void local_delete(struct local *l)
{
	if (!l)
		return;
	if (still_ours(l))
		close(l->fd);
	free(l->path);
	free(l);
}

const char *local_path(const struct local *l)
{
	return l->path ? l->path : "";
}

/* A directory for nobody but its owner, who is us (root may read everybody's). */
static bool is_private(int fd, bool for_writing)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return false;
	if (S_ISDIR(st.st_mode) && (st.st_mode & 077) == 0 &&
	    (st.st_uid == geteuid() || (!for_writing && geteuid() == 0)))
		return true;
	errno = EPERM;
	return false;
}

static bool make_parents(char *path)
{
	for (char *p = path + 1; *p; p++)
		if (*p == '/') {
			*p = 0;
			int r = mkdir(path, 0700);
			*p = '/';
			if (r != 0 && errno != EEXIST)
				return false;
		}
	return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static int root(struct local *l, bool create)
{
	struct stat st;
	if (!l->path) {
		errno = ENOENT;
		return -1;
	}
	if (!still_ours(l)) {
		l->fd = -1;
		if (create && !make_parents(l->path))
			return -1;
		int low = open(l->path, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		/* High, where nobody looks for the lowest free number. */
		int fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, 500);
		if (fd >= 0)
			close(low);
		else
			fd = low;
		if (fd < 0)
			return -1;
		if (fstat(fd, &st) != 0 || !is_private(fd, create)) {
			int e = errno;
			close(fd);
			errno = e;
			return -1;
		}
		l->fd = fd;
		l->dev = st.st_dev;
		l->ino = st.st_ino;
	} else if (create && !is_private(l->fd, true)) {
		return -1;
	}
	return l->fd;
}

/* To be closed; -1: errno. */
static int place(struct local *l, enum local_place p, bool create)
{
	int top = root(l, create);
	if (top < 0)
		return -1;
	if (create && p != LOCAL_ROOT && mkdirat(top, places[p], 0700) != 0 && errno != EEXIST)
		return -1;
	int fd = openat(top, places[p], O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && !is_private(fd, create)) {
		int e = errno;
		close(fd);
		errno = e;
		fd = -1;
	}
	return fd;
}

void local_open(struct local *l)
{
	root(l, false);
}

static bool close_with(int fd, int dir, bool ok)
{
	int e = errno;
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	errno = e;
	return ok;
}

static bool write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

bool local_write(struct local *l, enum local_place p, const char *name, const void *data, size_t n)
{
	char part[LOCAL_NAME + 32];
	int dir = place(l, p, true);
	if (dir < 0)
		return false;
	snprintf(part, sizeof part, ".%d-%s", (int)getpid(), name);
	unlinkat(dir, part, 0);
	int fd = openat(dir, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && fchmod(fd, 0600) == 0 && write_all(fd, data, n) && renameat(dir, part, dir, name) == 0;
	int e = errno;
	if (!ok && fd >= 0)
		unlinkat(dir, part, 0);
	errno = e;
	return close_with(fd, dir, ok);
}

bool local_read(struct local *l, enum local_place p, const char *name, struct buf *out)
{
	struct stat st;
	int dir = place(l, p, false);
	/* A pipe must not hold us up. */
	int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		return close_with(fd, dir, false);
	if (!S_ISREG(st.st_mode) || st.st_size > LOCAL_FILE_MOST || st.st_size < 0) {
		errno = EFBIG;
		return close_with(fd, dir, false);
	}
	size_t most = (size_t)st.st_size;
	while (out->n < most && buf_reserve(out, most - out->n)) {
		ssize_t k = read(fd, out->p + out->n, most - out->n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		out->n += (size_t)k;
	}
	return close_with(fd, dir, !out->failed && buf_reserve(out, 1));
}

bool local_rename(struct local *l, enum local_place p, const char *from, const char *to)
{
	int dir = place(l, p, false);
	return close_with(-1, dir, dir >= 0 && renameat(dir, from, dir, to) == 0);
}

bool local_remove(struct local *l, enum local_place p, const char *name)
{
	int dir = place(l, p, false);
	return close_with(-1, dir, dir >= 0 && unlinkat(dir, name, 0) == 0);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char **local_names(struct local *l, enum local_place p, size_t *n)
{
	size_t cap = 64;
	char **names = calloc(cap + 1, sizeof *names);
	int fd = place(l, p, false);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	*n = 0;
	if (fd >= 0 && !d)
		close(fd);
	for (struct dirent *e; names && d && *n < LOCAL_LIST_MOST && (e = readdir(d));) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= LOCAL_NAME)
			continue;
		if (*n == cap) {
			char **more = realloc(names, (2 * cap + 1) * sizeof *names);
			if (!more)
				break;
			names = more;
			cap *= 2;
		}
		if (!(names[*n] = strdup(e->d_name)))
			break;
		++*n;
	}
	if (d)
		closedir(d);
	if (names) {
		names[*n] = NULL;
		qsort(names, *n, sizeof *names, by_name);
	}
	return names;
}

void local_names_free(char **names)
{
	for (char **p = names; p && *p; p++)
		free(*p);
	free(names);
}

bool local_lock(struct local *l)
{
	int fd = root(l, true);
	for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		usleep(LOCK_PAUSE_US);
	}
	return false;
}

void local_unlock(struct local *l)
{
	if (still_ours(l))
		flock(l->fd, LOCK_UN);
}
