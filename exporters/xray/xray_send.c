/*
 * Datagrams to the daemon. The name is looked up by c-ares (getaddrinfo in this thread would hold locks that a fork
 * copies) and again every minute, since a container that is started anew has another address; meanwhile the old one
 * serves. The daemon's socket buffer holds about ninety documents and loses the rest without a word; so they go out at a
 * pace, slow enough for a daemon that has to wait for a CPU, and faster the longer there is no end of them.
 */
#include "base/clock.h"
#include "exporters/http.h"
#include "exporters/log.h"
#include "exporters/xray/xray.h"
#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define BURST 4     /* documents a millisecond, doubled thrice under a lasting load */
#define LASTING 256 /* milliseconds */
#define LOOK_AGAIN (60 * SECOND)
#define LOOK_SOON (5 * SECOND) /* after a failure */
#define LOOKING (5 * MS)       /* how often a lookup under way is looked after */

struct xray_sender {
	struct xray_address to;
	bool numeric;
	struct sockaddr_storage address;
	socklen_t address_n; /* 0 = not known */
	int fd;
	ares_channel channel; /* NULL: none could be made */
	bool looking, failed; /* failed: the last lookup was, and there is no older address */
	uint64_t look_ns;     /* when the name is to be looked up again */
	uint64_t pace_ns;     /* when the next burst may begin */
	uint32_t left;        /* of the burst */
	uint32_t streak;      /* bursts on end that were used up */
	uint32_t refused;
	bool told;
};

/* ---- the name ---- */

/* c-ares' sockets as ours are: high, known by their cookie. */
static ares_socket_t open_socket(int family, int type, int protocol, void *ctx)
{
	(void)ctx;
	return http_fd_open(family, type | SOCK_NONBLOCK, protocol);
}

static int close_socket(ares_socket_t fd, void *ctx)
{
	(void)ctx;
	http_fd_close(fd);
	return 0;
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *a, ares_socklen_t n, void *ctx)
{
	(void)ctx;
	return connect(fd, a, n);
}

static ares_ssize_t receive(ares_socket_t fd, void *p, size_t n, int flags, struct sockaddr *a, ares_socklen_t *an, void *ctx)
{
	(void)ctx;
	return recvfrom(fd, p, n, flags, a, an);
}

static ares_ssize_t transmit(ares_socket_t fd, const struct iovec *v, int n, void *ctx)
{
	(void)ctx;
	return sendmsg(fd, &(struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n}, MSG_NOSIGNAL);
}

static void open_channel(struct xray_sender *s)
{
	static const struct ares_socket_functions calls = {open_socket, close_socket, connect_socket, receive, transmit};
	struct ares_options o = {.timeout = 1000, .tries = 2};
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
	    ares_init_options(&s->channel, &o, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES) != ARES_SUCCESS) {
		s->channel = NULL;
		return;
	}
	ares_set_socket_functions(s->channel, &calls, s);
}

static void disconnect(struct xray_sender *s)
{
	if (s->fd >= 0)
		http_fd_close(s->fd);
	s->fd = -1;
}

static void use(struct xray_sender *s, const struct sockaddr *a, socklen_t n)
{
	if (n > sizeof s->address || (n == s->address_n && memcmp(a, &s->address, n) == 0))
		return;
	memcpy(&s->address, a, n);
	s->address_n = n;
	disconnect(s);
}

static void looked_up(void *ctx, int status, int timeouts, struct ares_addrinfo *info)
{
	struct xray_sender *s = ctx;
	const struct ares_addrinfo_node *n = info ? info->nodes : NULL, *first = n;
	(void)timeouts;
	if (status == ARES_EDESTRUCTION)
		return;
	s->looking = false;
	for (; n; n = n->ai_next) /* the daemon listens on IPv4 unless told otherwise */
		if (n->ai_family == AF_INET) {
			first = n;
			break;
		}
	s->failed = !first;
	if (first)
		use(s, first->ai_addr, first->ai_addrlen);
	else if (s->address_n == 0 && !s->told) {
		s->told = true;
		log_once(log_bit("AWS_XRAY_DAEMON_ADDRESS"), "AWS_XRAY_DAEMON_ADDRESS: %s cannot be looked up (%s); segments are lost "
		                                             "until it can",
		         s->to.host, ares_strerror(status));
	}
	s->look_ns = mono_ns() + (first ? LOOK_AGAIN : LOOK_SOON);
	if (info)
		ares_freeaddrinfo(info);
}

/* Sockets that the program took away belong to it now: c-ares must not touch them, not even to close. */
static bool sockets_ours(struct xray_sender *s, ares_socket_t *fds, int bits)
{
	for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++)
		if ((ARES_GETSOCK_READABLE(bits, i) || ARES_GETSOCK_WRITABLE(bits, i)) && !http_fd_ours(fds[i])) {
			s->channel = NULL; /* leaked */
			s->looking = false;
			return false;
		}
	return true;
}

static void look_after(struct xray_sender *s, uint64_t now)
{
	ares_socket_t fds[ARES_GETSOCK_MAXNUM];
	int bits = s->looking && s->channel ? ares_getsock(s->channel, fds, ARES_GETSOCK_MAXNUM) : 0;
	if (s->looking && s->channel && sockets_ours(s, fds, bits)) {
		for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
			bool in = ARES_GETSOCK_READABLE(bits, i), out = ARES_GETSOCK_WRITABLE(bits, i);
			struct pollfd p = {.fd = fds[i], .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0))};
			if ((in || out) && poll(&p, 1, 0) > 0)
				ares_process_fd(s->channel, p.revents & ~POLLOUT ? fds[i] : ARES_SOCKET_BAD,
				                p.revents & POLLOUT ? fds[i] : ARES_SOCKET_BAD);
		}
		if (s->looking)
			ares_process_fd(s->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* time-outs */
	}
	if (s->numeric || s->looking || now < s->look_ns)
		return;
	if (!s->channel)
		open_channel(s);
	s->looking = s->channel != NULL;
	s->failed = !s->looking;
	s->look_ns = now + LOOK_SOON;
	if (!s->looking)
		return;
	char port[8];
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = ARES_AI_NUMERICSERV};
	snprintf(port, sizeof port, "%u", s->to.port);
	ares_getaddrinfo(s->channel, s->to.host, port, &hints, looked_up, s);
}

static bool numeric(struct xray_sender *s)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(s->to.port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(s->to.port)};
	if (inet_pton(AF_INET, s->to.host, &v4.sin_addr) == 1)
		use(s, (struct sockaddr *)&v4, sizeof v4);
	else if (inet_pton(AF_INET6, s->to.host, &v6.sin6_addr) == 1)
		use(s, (struct sockaddr *)&v6, sizeof v6);
	return s->address_n != 0;
}

/* ---- datagrams ---- */

struct xray_sender *xray_sender_new(const struct xray_address *to)
{
	struct xray_sender *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->to = *to;
	s->fd = -1;
	s->numeric = numeric(s);
	look_after(s, mono_ns()); /* now: files of the resolver may be out of reach later */
	return s;
}

void xray_sender_delete(struct xray_sender *s)
{
	ares_socket_t fds[ARES_GETSOCK_MAXNUM];
	if (s->channel && sockets_ours(s, fds, ares_getsock(s->channel, fds, ARES_GETSOCK_MAXNUM)))
		ares_destroy(s->channel);
	disconnect(s);
	free(s);
}

uint32_t xray_sender_room(struct xray_sender *s, uint64_t now, uint64_t *when)
{
	look_after(s, now);
	if (!s->address_n && s->looking) {
		*when = now + LOOKING;
		return 0;
	}
	if (now >= s->pace_ns) {
		s->streak = s->left == 0 && now - s->pace_ns < 4 * MS ? s->streak + 1 : 0;
		s->left = BURST << (s->streak < 3 * LASTING ? s->streak / LASTING : 3);
		s->pace_ns = now + MS;
	}
	*when = s->pace_ns;
	return s->left;
}

static bool connected(struct xray_sender *s)
{
	if (s->fd >= 0 && http_fd_ours(s->fd))
		return true;
	if (!s->address_n)
		return false;
	disconnect(s);
	s->fd = http_fd_open(s->address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (s->fd >= 0 && connect(s->fd, (struct sockaddr *)&s->address, s->address_n) == 0)
		return true;
	disconnect(s);
	return false;
}

static void nobody_there(struct xray_sender *s)
{
	s->refused++;
	if (s->look_ns > mono_ns() + LOOK_SOON)
		s->look_ns = mono_ns() + LOOK_SOON; /* it may have moved */
	if (s->told)
		return;
	s->told = true;
	log_once(log_bit("AWS_XRAY_DAEMON_ADDRESS"), "xray: nobody listens at %s:%u; segments are lost (said once)", s->to.host,
	         s->to.port);
}

bool xray_sender_send(struct xray_sender *s, const char *doc, size_t n)
{
	static const char header[] = XRAY_HEADER;
	struct iovec v[] = {{(char *)(uintptr_t)header, sizeof header - 1}, {(char *)(uintptr_t)doc, n}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
	if (s->left)
		s->left--;
	for (int i = 0; i < 2 && connected(s); i++) {
		if (sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return true;
		if (errno == ECONNREFUSED) /* what the last one met; this one has not been sent */
			nobody_there(s);
		else if (errno == EAGAIN || errno == EMSGSIZE || errno == ENOBUFS)
			return false;
		else
			disconnect(s);
	}
	return false;
}

uint32_t xray_sender_refused(struct xray_sender *s)
{
	uint32_t n = s->refused;
	s->refused = 0;
	return n;
}
