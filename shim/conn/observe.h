/*
 * "This happened on this fd": the boundary between the hooks and what it means. Each is called inside the guard, on
 * the host's thread, before or after the real call as its name says; errno is the hooks' business.
 */
#ifndef REMORA_OBSERVE_H
#define REMORA_OBSERVE_H

#include "conn/conn.h"
#include <sys/socket.h>

/* After a call that read r bytes of n asked for (r < 0: err). flags: MSG_*. */
void on_rx(int fd, const void *p, size_t n, ssize_t r, int err, int flags);
void on_rxv(int fd, const struct iovec *v, int count, ssize_t r, int err, int flags);
/* After a call that wrote, where nothing was edited (inject.h has the other case). */
void on_tx(int fd, const void *p, ssize_t r, int err);
void on_txv(int fd, const struct iovec *v, int count, ssize_t r, int err);
void on_tx_unseen(int fd, ssize_t r, int err); /* sendfile, splice */
void on_rx_unseen(int fd, ssize_t r, int err);
void tx_failed(struct conn *c, int err); /* locked; for inject.c */
void on_control(const struct msghdr *m); /* after recvmsg: fds may have come with it */

bool io_fatal(int err);                                           /* is the connection no more? Pure */
void on_socket(int fd, int domain, int type);                     /* after */
void on_accept(int fd, const struct sockaddr *peer, socklen_t n); /* after; peer may be NULL */
void on_listen(int fd);                                           /* after */
/* Around connect. False: not a stream socket that we follow. */
bool on_connect(int fd, const struct sockaddr *to, socklen_t n);
void on_connected(int fd, int r, int err);
struct addrinfo;
void on_resolved(const char *name, const struct addrinfo *list); /* after getaddrinfo */
void on_so_error(int fd, int err);                               /* after getsockopt(SO_ERROR) */
void on_shutdown(int fd, int how);                               /* after */
void on_close(int fd);                                           /* before */
void on_close_range(unsigned first, unsigned last);              /* before */
void on_dup(int from, int to);                                   /* after */
/* dup2 onto `to`: taken out before the call, put back if that failed. */
uintptr_t on_replace(int to);
void on_replaced(int from, int to, uintptr_t old, bool done);

/* Does the next write on this fd begin or continue a client's request? Then it goes through inject.h. */
bool tx_is_client(int fd);

#endif
