/*
 * Writing trace context into outgoing request heads. A head is edited only when it is whole in one write, at a place
 * where a request must begin, on a descriptor that is provably the socket we followed (SO_COOKIE). What the kernel
 * does not take of our bytes is sent before the program's next write.
 *
 * host. The order: inject_begin (guard on), the real call (guard off), inject_end (guard on).
 */
#ifndef REMORA_INJECT_H
#define REMORA_INJECT_H

#include "conn/conn.h"
#include <sys/socket.h>

#define TX_IOV 40 /* pieces of a write that is edited; more are left alone */

struct tx {
	enum { TX_PLAIN,
		   TX_INSERT,
		   TX_REPLACE,
		   TX_REST } how;
	const struct iovec *host; /* the program's own pieces */
	int host_count;
	struct msghdr msg; /* to be sent instead, unless TX_PLAIN */
	struct iovec iov[TX_IOV];
	char *text; /* our bytes: a head buffer, or id */
	uint32_t text_n, text_cap;
	char id[16]; /* TX_REPLACE */
	size_t at;   /* TX_INSERT, TX_REPLACE: where, counted in the program's bytes */
	bool has_ctx;
	const struct conn *conn; /* when it began: the fd may lead to another one at the end */
	uint32_t serial;
	uint64_t start_ns;
	struct span_ctx ctx;
};

/* True: send t->msg with the program's flags instead of its own call. `original` = its msghdr, or NULL. */
bool inject_begin(struct tx *t, int fd, const struct iovec *v, int count, const struct msghdr *original, int flags);
/* The program's result for r and *err (changed where our bytes make the difference). */
ssize_t inject_end(struct tx *t, int fd, ssize_t r, int *err, int flags);

#endif
