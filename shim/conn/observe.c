#include "conn/observe.h"
#include "base/hot.h"
#include "base/clock.h"
#include "config.h"
#include "base/probe.h"
#include "conn/http.h"
#include "conn/names.h"
#include "log/text.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

/* The connection is no more; anything else (EAGAIN, EINTR, EFAULT ...) says nothing about it. */
bool io_fatal(int err)
{
	return err == ECONNRESET || err == EPIPE || err == ETIMEDOUT || err == ECONNABORTED || err == EHOSTUNREACH ||
	       err == ENETUNREACH || err == ENETDOWN || err == ECONNREFUSED;
}

/* ---- connects ---- */

static void connect_good(struct conn *c, int fd)
{
	c->connecting = false;
	conn_addresses(c, fd);
	if (c->peer.family)
		span_connect_good(&c->peer);
}

static void connect_failed(struct conn *c, int err, uint8_t error)
{
	c->connecting = false;
	if (c->peer.family)
		span_connect_failed(&c->peer, err, error, c->connect_ns, c->at_connect);
}

static bool is_stream(int fd)
{
	int type = 0;
	unsigned n = sizeof type;
	return sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)&type, (long)&n, 0) == 0 && type == SOCK_STREAM;
}

bool on_connect(int fd, const struct sockaddr *to, socklen_t n)
{
	uintptr_t word = fd_peek(fd);
	struct conn *c;
	if (!to || n < sizeof(sa_family_t) || !readable(to, n < 128 ? n : 128) ||
	    (to->sa_family != AF_INET && to->sa_family != AF_INET6 && to->sa_family != AF_UNIX))
		return false;
	if (word == FD_OPAQUE || (word == FD_UNKNOWN && !is_stream(fd)))
		return false;
	c = conn_lock(fd);
	/* A number that was closed unseen? */
	if (c && (c->used || c->first || c->req.head || c->req.in_body || c->role >= ROLE_SERVER)) {
		conn_unlock(c, fd);
		c = NULL;
	}
	if (!c && (!conn_new(fd, ROLE_CLIENT, NULL, 0) || !(c = conn_lock(fd))))
		return false;
	c->role = ROLE_CLIENT;
	if (!c->connecting) {
		conn_addr_set(&c->peer, to, n);
		c->connecting = true;
		c->connect_ns = real_ns();
		c->at_connect = span_current();
		c->cookie = conn_cookie(fd);
	}
	conn_unlock(c, fd);
	return true;
}

void on_connected(int fd, int r, int err)
{
	struct conn *c = conn_lock(fd);
	if (!c)
		return;
	if (r == 0)
		connect_good(c, fd);
	else if (err != EINPROGRESS && err != EINTR && err != EALREADY && err != EISCONN && err != EAGAIN && err != EBADF &&
	         err != EINVAL && err != EFAULT)
		connect_failed(c, err, ERR_ERRNO);
	conn_unlock(c, fd);
}

#define RESOLVED_MOST 8 /* addresses of one name that are looked at */

void on_resolved(const char *name, const struct addrinfo *list)
{
	size_t n = name ? strnlen(name, NAME_MOST + 1) : 0;
	struct rec_addr a;
	for (unsigned i = 0; n && n <= NAME_MOST && list && i < RESOLVED_MOST; i++, list = list->ai_next) {
		conn_addr_set(&a, list->ai_addr, list->ai_addrlen);
		names_add(&a, (struct slice){name, (uint32_t)n});
	}
}

void on_so_error(int fd, int err)
{
	struct conn *c = err ? conn_lock(fd) : NULL;
	if (!c)
		return;
	if (c->connecting)
		connect_failed(c, err, ERR_ERRNO);
	else if (io_fatal(err))
		http_failed(c, err);
	conn_unlock(c, fd);
}

/* Closed while connecting: how far had it come? Nobody will ask for SO_ERROR any more, so we may. */
static void connect_abandoned(struct conn *c, int fd)
{
	struct tcp_info info;
	unsigned n = sizeof info;
	int err = 0;
	if (sys6(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, (long)&info, (long)&n, 0) != 0)
		return;
	if (info.tcpi_state == TCP_SYN_SENT) {
		connect_failed(c, 0, ERR_TIMEOUT);
	} else if (info.tcpi_state == TCP_CLOSE) {
		n = sizeof err;
		sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, (long)&err, (long)&n, 0);
		connect_failed(c, err, err ? ERR_ERRNO : ERR_CLOSED);
	}
}

/* ---- bytes ---- */

static void rx_failed(struct conn *c, int err)
{
	if (!io_fatal(err))
		return;
	if (c->connecting)
		connect_failed(c, err, ERR_ERRNO);
	http_failed(c, err);
}

void tx_failed(struct conn *c, int err)
{
	if (!io_fatal(err))
		return;
	if (c->connecting)
		connect_failed(c, err, ERR_ERRNO);
	http_write_failed(c, err);
}

void on_rxv(int fd, const struct iovec *v, int count, ssize_t r, int err, int flags)
{
	if (flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
		return;
	struct conn *c = conn_lock(fd);
	if (!c)
		return;
	if (r > 0) {
		if (__builtin_expect(c->connecting, 0))
			connect_good(c, fd);
		if (flags & MSG_TRUNC) { /* TCP throws the bytes away */
			http_rx_unseen(c, (uint64_t)r);
			r = 0;
		}
		for (int i = 0; i < count && r > 0; i++) {
			size_t n = v[i].iov_len < (size_t)r ? v[i].iov_len : (size_t)r;
			if (n)
				http_rx(c, fd, v[i].iov_base, n, 0);
			r -= (ssize_t)n;
		}
	} else if (r == 0) {
		size_t asked = 0;
		for (int i = 0; i < count; i++)
			asked += v[i].iov_len;
		if (asked)
			http_eof(c);
	} else {
		rx_failed(c, err);
	}
	conn_unlock(c, fd);
}

HOT void on_rx(int fd, const void *p, size_t n, ssize_t r, int err, int flags)
{
	struct conn *c;
	if (__builtin_expect(r > 0 && !flags, 1)) {
		if (!(c = conn_lock(fd)))
			return;
		if (__builtin_expect(c->connecting, 0))
			connect_good(c, fd);
		http_rx(c, fd, p, (size_t)r < n ? (size_t)r : n, 0);
		conn_unlock(c, fd);
		return;
	}
	struct iovec v = {(void *)(uintptr_t)p, n};
	on_rxv(fd, &v, 1, r, err, flags);
}

HOT void on_txv(int fd, const struct iovec *v, int count, ssize_t r, int err)
{
	struct conn *c = conn_lock(fd);
	if (!c) {
		if (fd_peek(fd) == FD_TEXT && r > 0)
			text_wrote(fd, v, count, (size_t)r);
		return;
	}
	if (__builtin_expect(r > 0 && v->iov_len >= (size_t)r, 1)) { /* all of it out of the first */
		http_tx(c, fd, v->iov_base, (size_t)r, 0);
	} else if (r >= 0) {
		for (int i = 0; i < count && r > 0; i++) {
			size_t n = v[i].iov_len < (size_t)r ? v[i].iov_len : (size_t)r;
			if (n)
				http_tx(c, fd, v[i].iov_base, n, 0);
			r -= (ssize_t)n;
		}
	} else {
		tx_failed(c, err);
	}
	conn_unlock(c, fd);
}

void on_tx(int fd, const void *p, ssize_t r, int err)
{
	struct iovec v = {(void *)(uintptr_t)p, r > 0 ? (size_t)r : 0};
	on_txv(fd, &v, 1, r, err);
}

void on_tx_unseen(int fd, ssize_t r, int err)
{
	struct conn *c = r ? conn_lock(fd) : NULL;
	if (!c)
		return;
	if (r > 0)
		http_tx_unseen(c, (uint64_t)r);
	else
		tx_failed(c, err);
	conn_unlock(c, fd);
}

void on_rx_unseen(int fd, ssize_t r, int err)
{
	struct conn *c = conn_lock(fd);
	if (!c)
		return;
	if (r > 0)
		http_rx_unseen(c, (uint64_t)r);
	else if (r == 0)
		http_eof(c);
	else
		rx_failed(c, err);
	conn_unlock(c, fd);
}

bool tx_is_client(int fd)
{
	uintptr_t word = fd_peek(fd);
	struct conn *c = fd_conn(word);
	if (!c && word == FD_UNKNOWN && (c = conn_lock(fd)))
		conn_unlock(c, fd);
	return c && (c->role != ROLE_SERVER || c->tell);
}

/* ---- comings and goings ---- */

void on_control(const struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS || h->cmsg_len < CMSG_LEN(sizeof(int)))
			continue;
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			conn_set(fd, FD_UNKNOWN);
		}
	}
}

void on_socket(int fd, int domain, int type)
{
	bool stream = (type & 0xf) == SOCK_STREAM && (domain == AF_INET || domain == AF_INET6 || domain == AF_UNIX);
	conn_set(fd, stream ? FD_UNKNOWN : FD_OPAQUE);
}

void on_accept(int fd, const struct sockaddr *peer, socklen_t n)
{
	conn_new(fd, ROLE_SERVER, peer, n);
}

void on_listen(int fd)
{
	struct sockaddr_storage ss;
	unsigned n = sizeof ss;
	conn_set(fd, FD_OPAQUE);
	/* A server over IP: its children and successors find the arena that is made here. */
	if (sys3(SYS_getsockname, fd, &ss, &n) == 0 && (ss.ss_family == AF_INET || ss.ss_family == AF_INET6))
		process_arena();
}

void on_shutdown(int fd, int how)
{
	struct conn *c = how == SHUT_RD ? NULL : conn_lock(fd);
	if (!c)
		return;
	http_sent_all(c);
	conn_unlock(c, fd);
}

void on_close(int fd)
{
	struct conn *c = fd_conn(fd_peek(fd));
	if (c && c->connecting && (c = conn_lock(fd))) {
		if (atomic_load(&c->refs) == 1 && c->connecting && !c->used)
			connect_abandoned(c, fd);
		conn_unlock(c, fd);
	}
	conn_forget(fd);
}

static void close_one(int fd, fd_entry *e)
{
	(void)e;
	on_close(fd);
}

void on_close_range(unsigned first, unsigned last)
{
	fd_range(first, last, close_one);
}

void on_dup(int from, int to)
{
	conn_share(from, to);
}

uintptr_t on_replace(int to)
{
	fd_entry *e = fd_at(to);
	return e ? atomic_exchange(e, FD_UNKNOWN) : FD_UNKNOWN;
}

void on_replaced(int from, int to, uintptr_t old, bool done)
{
	if (done) {
		conn_share(from, to);
		conn_forget_word(old);
		return;
	}
	fd_entry *e = fd_at(to);
	uintptr_t unknown = FD_UNKNOWN;
	if (old != FD_UNKNOWN && (!e || !atomic_compare_exchange_strong(e, &unknown, old)))
		conn_forget_word(old);
}
