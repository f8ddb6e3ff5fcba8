/*
 * One stream socket of this process: its role, its two byte streams, its requests in flight.
 *
 * Lifetime: made at accept, connect or first use; one reference per fd-table entry (dup shares it); ended when the last
 * entry is taken out, which close does before the real call. Memory comes from a pool and keeps its type.
 * A thread that still holds a pointer to an ended one may lock it for a moment, and then sees that no entry leads there.
 * Access: conn_lock() (bounded: a thread that cannot have it makes the connection opaque), then the entry is looked at
 * again. Never held across a real call. host, any context.
 */
#ifndef REMORA_CONN_H
#define REMORA_CONN_H

#include "base/hot.h"
#include "conn/fdtab.h"
#include "proto/http1.h"
#include "span/span.h"
#include <sys/uio.h>

enum role { ROLE_UNKNOWN,
	        ROLE_CLIENT,
	        ROLE_SERVER,
	        ROLE_DB }; /* a client that speaks a database's protocol: conn.db */

#define PIPELINE_MAX 1024 /* requests in flight on one connection */

struct stream { /* one direction: heads and bodies in turn */
	struct http1_body body;
	bool in_body;
	bool dead;  /* requests: framing broke; what is in flight is still followed */
	char *head; /* bytes of a head that is not whole yet; NULL = none */
	uint32_t head_n, head_cap;
	uint64_t first_ns; /* when its first byte passed */
};

struct conn {
	void *pool;            /* the free list's, or that of conns that wait for their lock to be freed */
	_Atomic uint64_t lock; /* thread_word() of the holder, 0 free; one from before a fork is not held */
	_Atomic uint32_t refs; /* fd-table entries */
	uint32_t serial;       /* of the connection that this memory is now */
	/* What follows is zeroed when a connection is made. */
	_Atomic uint32_t poison; /* somebody could not wait: opaque at the next unlock */
	uint32_t fork_gen;
	_Atomic uint8_t role;    /* enum role; written under the lock, like the next two */
	_Atomic bool tell;       /* server: a request asks what X-Ray's rules said, or bytes of the answer are due (inject.c) */
	_Atomic bool connecting; /* connect is under way, nothing known of it yet */
	bool peer_closed;        /* end of file was read */
	bool used;               /* bytes have passed */
	bool addresses;          /* peer and local are known */
	bool opaque;             /* nothing for us any more: entries that lead here are replaced as they are used */
	int write_err;           /* client: errno of a write that failed; the answer may still come */
	uint32_t n_txns;
	struct stream req, resp;
	struct txn *first, *last; /* in flight, oldest first */
	struct txn *body_of;      /* whose request body is passing; NULL = nobody's that matters */
	bool aws_body;            /* its first bytes tell more of an AWS call */
	struct db *db;            /* ROLE_DB: never NULL then */
	struct rec_addr peer, local;
	uint64_t cookie;     /* SO_COOKIE, 0 = not known: no bytes are edited */
	uint64_t connect_ns; /* CLOCK_REALTIME, when connect was called */
	struct txn_ref at_connect;
	/* What the next write has to do first: bytes of an injected header the kernel did not take. */
	char *rest;
	uint32_t rest_n, rest_at, rest_cap;
	bool rest_out; /* a write has it in hand */
	/* Span id replaced in place in a head that went out in pieces: position of its first byte in the next write. */
	int32_t overlay_at;
	bool overlay;
	char overlay_id[16];
	/*
	 * Context of the request that is being written, its header already sent: the caller's during a write, a head
	 * buffer of `ready_cap` bytes between the writes of a head that goes out in pieces.
	 */
	struct span_ctx *ready;
	uint32_t ready_cap;
	/* Not zeroed. The request in flight, if there was none before it; its serial counts on with the memory. */
	struct txn own __attribute__((aligned(64)));
};

/* Sets the table's entry; false: counted, entry opaque. peer may be NULL. */
bool conn_new(int fd, enum role role, const void *peer, uint32_t peer_len);
COLD struct conn *conn_lock_slow(int fd);
COLD struct conn *conn_still(const fd_entry *e, struct conn *c); /* is it, locked, what the entry leads to? Else NULL, unlocked */
/* The connection of an fd, classified if unknown; locked. NULL: nothing for us. */
static inline struct conn *conn_lock(int fd)
{
	fd_entry *e = fd_at(fd);
	struct conn *c = e ? fd_conn(atomic_load_explicit(e, memory_order_acquire)) : NULL;
	uint64_t none = 0, me = thread_self.id;
	/* Nearly always known and free, of this process, and the same when it is ours. */
	if (__builtin_expect(!c || me >> 32 != (uint32_t)(process.fork_gen + 1) ||
	                         !atomic_compare_exchange_strong_explicit(&c->lock, &none, me, memory_order_acquire,
	                                                                  memory_order_relaxed),
	                     0))
		return conn_lock_slow(fd);
	if (__builtin_expect(c->fork_gen == process.fork_gen && atomic_load_explicit(e, memory_order_acquire) == (uintptr_t)c, 1))
		return c;
	return conn_still(e, c);
}

COLD void conn_unlock_slow(struct conn *c, int fd);
static inline void conn_unlock(struct conn *c, int fd)
{
	if (__builtin_expect(atomic_load_explicit(&c->poison, memory_order_relaxed) || c->opaque, 0))
		conn_unlock_slow(c, fd);
	else
		atomic_store_explicit(&c->lock, 0, memory_order_release);
}

/* Make it nothing for us, from the unlock on: counts `why`, forgets its requests. Locked; stays locked. */
COLD void conn_opaque(struct conn *c, enum counter why);
/* Take an entry out of the table before its fd goes; ends the connection with its last entry. */
void conn_forget(int fd);
void conn_forget_word(uintptr_t word);
void conn_set(int fd, uintptr_t word); /* forget, then set FD_UNKNOWN or FD_OPAQUE */
void conn_share(int from, int to);     /* dup */
void conn_addresses(struct conn *c, int fd);
void conn_addr_set(struct rec_addr *out, const void *sockaddr, uint32_t len);
uint64_t conn_cookie(int fd); /* 0 = unknown */

/* Head buffers: 4 KiB, then 64 KiB. NULL: none left. */
char *head_buffer(uint32_t want, uint32_t *cap);
void head_buffer_free(char *p, uint32_t cap);

#endif
