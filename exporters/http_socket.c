/* Sockets that the host may take away: see http.h. */
#include "exporters/http.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Hosts count on low numbers for themselves. Within 64 the kernel's first table does: to grow a table that threads share
 * takes it 7 to 15 ms (synchronize_rcu), in which every open() of the host waits.
 */
#define FLOOR 40

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

/* Static, so that a forked child finds what it inherited. Only the one exporter thread of a process uses it. */
static struct {
	pid_t pid;
	unsigned n;
	struct http_fd fd[HTTP_FDS];
} list;

static uint64_t cookie_of(int fd)
{
	uint64_t c = 0;
	socklen_t n = sizeof c;
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &c, &n) == 0 ? c : 0;
}

static struct http_fd *find(int fd)
{
	for (unsigned i = 0; i < list.n; i++)
		if (list.fd[i].fd == fd)
			return &list.fd[i];
	return NULL;
}

static void drop(struct http_fd *f)
{
	*f = list.fd[--list.n];
}

static bool is_ours(const struct http_fd *f)
{
	return cookie_of(f->fd) == f->cookie;
}

static bool remember(int fd, bool dns)
{
	struct http_fd *f = find(fd);
	if (!f && list.n == HTTP_FDS)
		return false;
	if (!f)
		f = &list.fd[list.n++];
	*f = (struct http_fd){.fd = fd, .dns = dns, .cookie = cookie_of(fd)};
	return true;
}

void http_fds_begin(void)
{
	pid_t pid = getpid();
	if (list.pid != pid) {
		/* The parent goes on with these connections: no TLS goodbye, only our copy of the number goes. */
		for (unsigned i = 0; i < list.n; i++)
			if (is_ours(&list.fd[i]))
				close(list.fd[i].fd);
		list.n = 0;
	}
	list.pid = pid;
}

int http_fd_open(int family, int type, int protocol)
{
	if (list.n == HTTP_FDS)
		return -1;
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return -1;
	int high = fcntl(fd, F_DUPFD_CLOEXEC, FLOOR);
	if (high >= 0) {
		close(fd);
		fd = high;
	}
	remember(fd, false);
	return fd;
}

void http_fd_seen(int fd)
{
	if (!find(fd))
		remember(fd, true);
}

void http_fd_unseen(int fd)
{
	struct http_fd *f = find(fd);
	if (f && f->dns)
		drop(f);
}

void http_fd_close(int fd)
{
	struct http_fd *f = find(fd);
	if (!f)
		return;
	if (is_ours(f))
		close(fd);
	drop(f);
}

bool http_fd_ours(int fd)
{
	const struct http_fd *f = find(fd);
	return f && is_ours(f);
}

void http_fds_cork(bool on)
{
	int value = on;
	for (unsigned i = 0; i < list.n; i++)
		if (!list.fd[i].dns && is_ours(&list.fd[i]))
			setsockopt(list.fd[i].fd, IPPROTO_TCP, TCP_CORK, &value, sizeof value);
}

bool http_fds_ours(void)
{
	for (unsigned i = 0; i < list.n; i++)
		if (!is_ours(&list.fd[i]))
			return false;
	return true;
}

void http_fds_forget(void)
{
	/* What is still ours can at least be closed: libcurl will not touch it any more. */
	for (unsigned i = 0; i < list.n; i++)
		if (is_ours(&list.fd[i]))
			close(list.fd[i].fd);
	list.n = 0;
}
