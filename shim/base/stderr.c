#include "base/stderr.h"
#include "base/sys.h"
#include <asm/unistd.h>
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static struct stat start, start_out;
static bool known, known_out;

void stderr_init(void)
{
	known = sys3(SYS_fstat, 2, &start, 0) == 0;
	known_out = sys3(SYS_fstat, 1, &start_out, 0) == 0;
}

static bool same(int fd, const struct stat *then)
{
	struct stat now;
	return sys3(SYS_fstat, fd, &now, 0) == 0 && now.st_dev == then->st_dev && now.st_ino == then->st_ino &&
	       now.st_rdev == then->st_rdev && (now.st_mode & S_IFMT) == (then->st_mode & S_IFMT);
}

bool stderr_same(int fd)
{
	return known && same(fd, &start);
}

bool stdout_same(int fd)
{
	return known_out && same(fd, &start_out);
}

static bool raw_terminal(int fd)
{
	struct termios t;
	return sys3(SYS_ioctl, fd, TCGETS, &t) == 0 && !(t.c_lflag & ICANON);
}

/* Without waiting. poll refuses one descriptor where RLIMIT_NOFILE is 0; select does not. */
static bool writable(int fd)
{
	struct pollfd p = {fd, POLLOUT, 0};
	struct timespec none = {0, 0};
	long r = sys6(SYS_ppoll, (long)&p, 1, (long)&none, 0, 0, 0);
	if (r == -EINVAL && fd < 64) {
		uint64_t set[16] = {1ull << fd};
		return sys6(SYS_pselect6, fd + 1, 0, (long)set, 0, (long)&none, 0) == 1;
	}
	return r == 1 && (p.revents & POLLOUT);
}

bool stderr_write(const char *text, size_t n, bool own_files)
{
	int fd = 2;
	bool all = false;
	if (own_files) {
		int pidfd = (int)sys3(SYS_pidfd_open, sys_getpid(), 0, 0);
		fd = pidfd < 0 ? -1 : (int)sys3(SYS_pidfd_getfd, pidfd, 2, 0);
		if (pidfd >= 0)
			sys_close(pidfd);
		if (fd < 0) /* before Linux 5.6; a socket cannot be opened so, and gets no text then */
			fd = (int)sys_open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0);
		if (fd < 0)
			return false;
	}
	if (!stderr_same(fd) || raw_terminal(fd))
		goto out;
	while (n) {
		size_t k = n < 4096 ? n : 4096; /* PIPE_BUF: a pipe that is ready takes so much whole */
		if (!writable(fd))
			goto out;
		long r = sys_write(fd, text, k);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			goto out;
		text += r;
		n -= (size_t)r;
	}
	all = true;
out:
	if (own_files)
		sys_close(fd);
	return all;
}
