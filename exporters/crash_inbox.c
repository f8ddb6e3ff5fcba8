#include "exporters/crash_inbox.h"
#include "base/clock.h"
#include "base/sys.h"
#include "exporters/crash/report.h"
#include "exporters/log.h"
#include "span/arena.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define WRITING (10 * SECOND) /* no handler works on its file for longer */
#define LOOK_AGAIN (10 * MS)  /* at a file that is being written */
#define NAMES 256

struct inbox {
	char *dir;
	uint64_t hash;
	int fd; /* of dir; the host may close it and use the number: proved before each use */
	dev_t dev;
	ino_t ino;
	uint32_t seen;     /* the word at the last scan */
	uint64_t again_ns; /* CLOCK_MONOTONIC */
	bool scanned, more;
};

struct claim { /* at the end of the head's reserve */
	uint64_t start;
	int32_t pid;
	uint32_t unused;
};
#define CLAIM_AT (sizeof(struct crash_head) - sizeof(struct claim))
_Static_assert(CLAIM_AT >= offsetof(struct crash_head, reserved), "the head has room for a claim");

struct inbox *inbox_new(const char *dir, uint64_t hash)
{
	struct inbox *i = calloc(1, sizeof *i);
	if (!i)
		return NULL;
	i->fd = -1;
	i->hash = hash;
	i->dir = strdup(dir);
	if (i->dir)
		return i;
	free(i);
	return NULL;
}

static bool still_ours(const struct inbox *i)
{
	struct stat st;
	return i->fd >= 0 && fstat(i->fd, &st) == 0 && st.st_dev == i->dev && st.st_ino == i->ino;
}

void inbox_delete(struct inbox *i)
{
	if (!i)
		return;
	if (still_ours(i))
		close(i->fd);
	free(i->dir);
	free(i);
}

static int dir_of(struct inbox *i)
{
	struct stat st;
	if (!*i->dir)
		return -1;
	if (still_ours(i))
		return i->fd;
	int low = open(i->dir, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	i->fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, 500);
	if (low >= 0 && i->fd >= 0)
		close(low);
	else
		i->fd = low;
	if (i->fd >= 0 && (fstat(i->fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 077))) {
		close(i->fd);
		i->fd = -1;
	}
	if (i->fd >= 0) {
		i->dev = st.st_dev;
		i->ino = st.st_ino;
	}
	return i->fd;
}

/* ---- names ---- */

static bool digits(const char **p, uint64_t *out)
{
	uint64_t v = 0;
	const char *from = *p;
	for (; **p >= '0' && **p <= '9' && *p - from < 19; ++*p)
		v = v * 10 + (uint64_t)(**p - '0');
	*out = v;
	return *p > from;
}

bool inbox_name_read(const char *name, char base[INBOX_NAME], bool *taken)
{
	const char *p = name;
	uint64_t v;
	if (!digits(&p, &v) || *p++ != '-' || !digits(&p, &v) || *p++ != '-' || !digits(&p, &v))
		return false;
	size_t n = (size_t)(p - name);
	memcpy(base, name, n);
	base[n] = 0;
	*taken = strcmp(p, CRASH_TAKEN) == 0;
	return *taken || strcmp(p, CRASH_SUFFIX) == 0;
}

/* ---- looking ---- */

bool inbox_stirred(const struct inbox *i, uint32_t word, uint64_t now, uint64_t *due)
{
	*due = i->again_ns;
	return !i->scanned || i->more || word != i->seen || (i->again_ns && now >= i->again_ns);
}

static void again(struct inbox *i, uint64_t at)
{
	if (!i->again_ns || at < i->again_ns)
		i->again_ns = at;
}

static bool is_ours(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
}

static uint64_t age_of(int fd)
{
	struct stat st;
	uint64_t now = real_ns();
	if (fstat(fd, &st) != 0)
		return 0;
	uint64_t at = (uint64_t)st.st_mtim.tv_sec * SECOND + (uint64_t)st.st_mtim.tv_nsec;
	return now > at ? now - at : 0;
}

static bool is_claimed(struct inbox *i, int fd, uint64_t now)
{
	struct claim c;
	if (pread(fd, &c, sizeof c, CLAIM_AT) == (ssize_t)sizeof c && c.pid > 0)
		return proc_alive(c.pid, c.start);
	if (age_of(fd) >= WRITING)
		return false;
	again(i, now + WRITING); /* between its new name and the claim lie microseconds, or a kill */
	return true;
}

/* Is it one that somebody ought to take now? */
static bool is_fit(struct inbox *i, int fd, uint64_t now, bool any, unsigned *foreign)
{
	struct crash_head h;
	bool head = pread(fd, &h, sizeof h, 0) == (ssize_t)sizeof h && h.magic == CRASH_MAGIC;
	if ((!head || !h.done) && age_of(fd) < WRITING && !(head && !proc_alive(h.pid, h.start))) {
		again(i, now + LOOK_AGAIN); /* it is being written */
		return false;
	}
	if (head && h.config_hash != i->hash && !any) {
		++*foreign;
		return false;
	}
	return true;
}

/* The one whose rename finds the file has it. */
static bool take(int dir, int fd, const char *name, const char *base, struct inbox_file *out)
{
	struct stat st, at;
	struct claim c = {.start = proc_start_time(getpid()), .pid = getpid()};
	snprintf(out->name, sizeof out->name, "%s%s", base, CRASH_TAKEN);
	out->bytes = NULL;
	out->n = 0;
	if (strcmp(name, out->name) != 0 && renameat(dir, name, dir, out->name) != 0)
		return false;
	return fstat(fd, &st) == 0 && fstatat(dir, out->name, &at, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == at.st_ino &&
	       pwrite(fd, &c, sizeof c, CLAIM_AT) == (ssize_t)sizeof c;
}

/* Names first: the directory changes while files are taken. */
static unsigned list(int dir, char (*names)[INBOX_NAME], unsigned most)
{
	unsigned n = 0;
	int fd = openat(dir, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		close(fd);
	for (struct dirent *e; d && n < most && (e = readdir(d));) {
		char base[INBOX_NAME];
		bool taken;
		if (strlen(e->d_name) < INBOX_NAME && inbox_name_read(e->d_name, base, &taken))
			strcpy(names[n++], e->d_name);
	}
	if (d)
		closedir(d);
	return n;
}

static int open_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && is_ours(fd))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

unsigned inbox_scan(struct inbox *i, uint32_t word, uint64_t now, bool any, struct inbox_file out[INBOX_AT_A_TIME],
                    unsigned *foreign)
{
	unsigned done = 0, n;
	int dir = dir_of(i);
	char(*names)[INBOX_NAME] = malloc(NAMES * sizeof *names);
	*foreign = 0;
	i->again_ns = 0;
	i->scanned = true;
	i->seen = word;
	i->more = false;
	n = dir >= 0 && names ? list(dir, names, NAMES) : 0;
	for (unsigned k = 0; k < n; k++) {
		char base[INBOX_NAME];
		bool taken;
		if (done == INBOX_AT_A_TIME) {
			i->more = true;
			break;
		}
		int fd = open_file(dir, names[k]);
		if (fd < 0 || !inbox_name_read(names[k], base, &taken))
			continue;
		if (!(taken && is_claimed(i, fd, now)) && is_fit(i, fd, now, any, foreign))
			done += take(dir, fd, names[k], base, &out[done]);
		else if (age_of(fd) > INBOX_DAYS * 86400u * SECOND)
			unlinkat(dir, names[k], 0);
		close(fd);
	}
	free(names);
	return done;
}

bool inbox_claim(struct inbox *i, const char *name, struct inbox_file *out)
{
	char base[INBOX_NAME];
	bool taken;
	int dir = dir_of(i);
	if (dir < 0 || strlen(name) >= INBOX_NAME || !inbox_name_read(name, base, &taken) || taken)
		return false;
	int fd = open_file(dir, name);
	bool ok = fd >= 0 && take(dir, fd, name, base, out);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* All `size` bytes of fd, which is closed. */
static bool take_bytes(int fd, size_t size, struct inbox_file *f)
{
	f->n = 0;
	f->bytes = size ? malloc(size) : NULL;
	while (f->bytes && f->n < size) {
		ssize_t k = pread(fd, (char *)f->bytes + f->n, size - f->n, (off_t)f->n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		f->n += (size_t)k;
	}
	if (fd >= 0)
		close(fd);
	return f->bytes;
}

bool inbox_read(struct inbox *i, struct inbox_file *f)
{
	struct stat st;
	int dir = dir_of(i), fd = dir < 0 ? -1 : open_file(dir, f->name);
	bool ok = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= INBOX_FILE_MOST;
	return take_bytes(fd, ok ? (size_t)st.st_size : 0, f);
}

bool inbox_fetch(uint64_t offer, struct inbox_file *f)
{
	struct stat st;
	int pid = (int)(offer >> 32), from = (int)(uint32_t)(offer - 1);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, from, 0);
	if (pidfd >= 0)
		close(pidfd);
	/* Seals: only memory has them. Another process says which descriptor it is. */
	bool ok = fd >= 0 && fcntl(fd, F_GET_SEALS) >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	          st.st_size >= (off_t)sizeof(struct crash_head) && st.st_size <= INBOX_FILE_MOST;
	snprintf(f->name, sizeof f->name, "(memory of %d)", pid);
	return take_bytes(fd, ok ? (size_t)st.st_size : 0, f);
}

void inbox_done(struct inbox *i, const char *taken)
{
	int dir = dir_of(i);
	if (dir >= 0)
		unlinkat(dir, taken, 0);
}

void inbox_back(struct inbox *i, const char *taken)
{
	char base[INBOX_NAME], name[INBOX_NAME + 8];
	bool is_taken;
	int dir = dir_of(i);
	if (dir < 0 || !inbox_name_read(taken, base, &is_taken))
		return;
	snprintf(name, sizeof name, "%s%s", base, CRASH_SUFFIX);
	renameat(dir, taken, dir, name);
}
