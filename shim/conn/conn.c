#include "conn/conn.h"
#include "base/hot.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/sys.h"
#include "config.h"
#include "conn/db.h"
#include "conn/http.h"
#include "log/text.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Sections take about a microsecond, but their holder may be preempted. A pause takes 10 to 50 ns. */
#define SPIN 500
#define YIELDS 8

static struct pool conns = POOL(sizeof(struct conn), 64 * 1024, 512u << 20);
static struct pool small_heads = POOL(4096, 64 * 1024, 16u << 20);
static struct pool large_heads = POOL(HTTP1_HEAD_MAX, 256 * 1024, 32u << 20);

char *head_buffer(uint32_t want, uint32_t *cap)
{
	bool small = want <= 4096;
	*cap = small ? 4096 : HTTP1_HEAD_MAX;
	return want > HTTP1_HEAD_MAX ? NULL : pool_get(small ? &small_heads : &large_heads);
}

void head_buffer_free(char *p, uint32_t cap)
{
	if (p)
		pool_put(cap == 4096 ? &small_heads : &large_heads, p);
}

/* ---- the lock ---- */

/* It was held by a thread that did not come through the fork: what it was doing is half done. Lose it, touch nothing. */
static void torn(struct conn *c)
{
	atomic_fetch_add(&c->own.serial, 1);
	c->req = c->resp = (struct stream){0};
	c->first = c->last = c->body_of = NULL;
	c->n_txns = 0;
	c->rest = NULL;
	c->rest_n = 0;
	c->overlay = false;
	c->ready = NULL;
	c->ready_cap = 0;
	c->db = NULL;
	conn_opaque(c, COUNT_OPAQUE_UNSEEN);
}

/* A connection that came through a fork. */
static __attribute__((noinline)) void adopt(struct conn *c, bool was_held)
{
	c->fork_gen = process.fork_gen;
	c->poison = 0;
	c->connecting = false; /* what becomes of it is the parent's to tell */
	if (was_held)
		torn(c);
	else
		http_disown(c);
}

static __attribute__((noinline)) bool acquire(struct conn *c)
{
	uint64_t me = thread_word(&thread_self), gen = me & ~(uint64_t)UINT32_MAX, seen = 0;
	/* Who holds it beyond all patience is waited for once. */
	int yields = atomic_load_explicit(&c->poison, memory_order_relaxed) ? 0 : YIELDS;
	for (int i = 0;; i++) {
		bool stale = seen && (seen & ~(uint64_t)UINT32_MAX) != gen;
		if ((!seen || stale) && atomic_compare_exchange_weak_explicit(&c->lock, &seen, me, memory_order_acquire,
		                                                              memory_order_relaxed)) {
			if (__builtin_expect(c->fork_gen != process.fork_gen, 0))
				adopt(c, stale);
			return true;
		}
		if (seen == me) /* a signal handler within our own section */
			return false;
		if (i == SPIN) {
			if (yields-- == 0)
				return false;
			sys3(SYS_sched_yield, 0, 0, 0);
			i = 0;
		}
		cpu_relax();
		seen = atomic_load_explicit(&c->lock, memory_order_relaxed);
	}
}

static void release(struct conn *c)
{
	atomic_store_explicit(&c->lock, 0, memory_order_release);
}

/* ---- memory ---- */

static _Atomic(struct conn *) waiting; /* ended, but somebody was inside and did not leave */

static void destroy(struct conn *c) /* locked */
{
	head_buffer_free(c->req.head, c->req.head_cap);
	head_buffer_free(c->resp.head, c->resp.head_cap);
	head_buffer_free(c->rest, c->rest_cap);
	db_free(c);
	if (c->ready_cap)
		head_buffer_free((char *)c->ready, c->ready_cap);
	atomic_fetch_sub_explicit(&process.connections, 1, memory_order_relaxed);
	release(c);
	pool_put(&conns, c);
}

/* The last entry is gone. */
static void end(struct conn *c)
{
	if (acquire(c)) {
		http_closed(c);
		destroy(c);
		return;
	}
	void *first = atomic_load(&waiting);
	do
		c->pool = first;
	while (!atomic_compare_exchange_weak(&waiting, (struct conn **)&first, c));
}

static __attribute__((noinline)) void end_waiting(void)
{
	struct conn *next;
	for (struct conn *c = atomic_exchange(&waiting, NULL); c; c = next) {
		next = c->pool;
		end(c);
	}
}

static struct conn *make(enum role role)
{
	if (__builtin_expect(atomic_load_explicit(&waiting, memory_order_relaxed) != NULL, 0))
		end_waiting();
	struct conn *c = pool_get(&conns);
	if (c && !acquire(c)) { /* by somebody with an old pointer, who was stopped at that very moment */
		pool_put(&conns, c);
		c = NULL;
	}
	if (!c) {
		arena_count(process.arena, COUNT_DROP_TABLE, 1);
		return NULL;
	}
	memset((char *)c + offsetof(struct conn, poison), 0, offsetof(struct conn, own) - offsetof(struct conn, poison));
	c->serial++;
	c->role = (uint8_t)role;
	c->fork_gen = process.fork_gen;
	atomic_fetch_add_explicit(&process.connections, 1, memory_order_relaxed);
	return c;
}

static void made(struct conn *c)
{
	release(c);
	atomic_store(&c->refs, 1);
}

bool conn_new(int fd, enum role role, const void *peer, uint32_t peer_len)
{
	fd_entry *e = fd_make(fd);
	if (!e)
		return false;
	struct conn *c = make(role);
	if (c) {
		if (peer)
			conn_addr_set(&c->peer, peer, peer_len);
		made(c);
	}
	conn_forget_word(atomic_exchange(e, c ? (uintptr_t)c : FD_OPAQUE));
	return c;
}

void conn_unlock_slow(struct conn *c, int fd)
{
	if (atomic_load_explicit(&c->poison, memory_order_relaxed))
		conn_opaque(c, COUNT_OPAQUE_BUSY);
	bool opaque = c->opaque && !c->rest_n && !c->rest_out && !c->overlay; /* bytes that we owe the peer go out first */
	release(c);
	if (opaque) {
		fd_entry *e = fd_at(fd);
		uintptr_t word = (uintptr_t)c;
		if (e && atomic_compare_exchange_strong(e, &word, FD_OPAQUE))
			conn_forget_word(word);
	}
}

/* ---- classification ---- */

/* 1 yes, 0 no, -1 not open. */
static int stream_socket(int fd)
{
	int type = 0, domain = 0, listening = 0;
	unsigned n = sizeof type;
	long r = sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)&type, (long)&n, 0);
	if (r != 0 || type != SOCK_STREAM)
		return r == -EBADF ? -1 : 0;
	n = sizeof domain;
	if (sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, (long)&domain, (long)&n, 0) != 0 ||
	    (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX))
		return 0;
	n = sizeof listening;
	return sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, (long)&listening, (long)&n, 0) == 0 && !listening;
}

uint64_t conn_cookie(int fd)
{
	uint64_t cookie = 0;
	unsigned n = sizeof cookie;
	if (sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, (long)&cookie, (long)&n, 0) != 0)
		return 0;
	return cookie;
}

static struct conn *classify(int fd)
{
	fd_entry *e = fd_make(fd);
	if (!e)
		return NULL;
	bool text = text_is_log(fd);
	int stream = text ? 0 : stream_socket(fd);
	struct conn *c = stream > 0 ? make(ROLE_UNKNOWN) : NULL;
	uintptr_t unknown = FD_UNKNOWN;
	if (stream < 0)
		return NULL;
	if (c) {
		c->cookie = conn_cookie(fd);
		made(c);
	}
	uintptr_t word = text ? FD_TEXT : c ? (uintptr_t)c
	                                    : FD_OPAQUE;
	if (!atomic_compare_exchange_strong(e, &unknown, word)) {
		if (c)
			conn_forget_word((uintptr_t)c);
		return fd_conn(unknown); /* another thread was faster */
	}
	return c;
}

struct conn *conn_still(const fd_entry *e, struct conn *c)
{
	if (c->fork_gen != process.fork_gen)
		adopt(c, false);
	if (e && atomic_load_explicit(e, memory_order_acquire) == (uintptr_t)c)
		return c;
	release(c); /* closed, or another connection by now */
	return NULL;
}

struct conn *conn_lock_slow(int fd)
{
	uintptr_t word = fd_peek(fd);
	struct conn *c = fd_conn(word);
	if (!c) {
		if (word != FD_UNKNOWN || !(c = classify(fd)))
			return NULL;
	}
	if (!acquire(c)) {
		if (fd_peek(fd) == (uintptr_t)c)
			atomic_store(&c->poison, 1);
		return NULL;
	}
	return conn_still(fd_at(fd), c);
}

/* ---- leaving the table ---- */

void conn_opaque(struct conn *c, enum counter why)
{
	if (c->opaque)
		return;
	c->opaque = true;
	arena_count(process.arena, why, 1);
	http_give_up(c);
}

void conn_forget_word(uintptr_t word)
{
	struct conn *c = fd_conn(word);
	if (!c)
		return;
	if (atomic_fetch_sub(&c->refs, 1) == 1)
		end(c);
}

void conn_forget(int fd)
{
	fd_entry *e = fd_at(fd);
	/* What was opaque stays so: a socket that takes the number comes by a call that says so. */
	if (e && atomic_load_explicit(e, memory_order_relaxed) != FD_OPAQUE)
		conn_forget_word(atomic_exchange(e, FD_UNKNOWN));
}

void conn_set(int fd, uintptr_t word)
{
	fd_entry *e = word == FD_UNKNOWN ? fd_at(fd) : fd_make(fd);
	if (e)
		conn_forget_word(atomic_exchange(e, word));
}

/* The word with a reference of its own; FD_UNKNOWN if `from` is being closed. */
static uintptr_t share(int from)
{
	uintptr_t word = fd_peek(from);
	struct conn *c = fd_conn(word);
	if (!c)
		return word;
	uint32_t n = atomic_load(&c->refs);
	do {
		if (n == 0)
			return FD_UNKNOWN;
	} while (!atomic_compare_exchange_weak(&c->refs, &n, n + 1));
	if (fd_peek(from) == word)
		return word;
	conn_forget_word(word);
	return FD_UNKNOWN;
}

void conn_share(int from, int to)
{
	uintptr_t word = share(from);
	if (__builtin_expect(config.text_fds, 0) && (word == FD_TEXT || (word == FD_OPAQUE && (to == 1 || to == 2))))
		word = FD_UNKNOWN; /* it depends on the number, too */
	fd_entry *e = word == FD_UNKNOWN ? fd_at(to) : fd_make(to);
	conn_forget_word(e ? atomic_exchange(e, word) : word);
}

/* ---- addresses ---- */

void conn_addr_set(struct rec_addr *out, const void *sockaddr, uint32_t len)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	const struct sockaddr *sa = sockaddr;
	memset(out, 0, sizeof *out);
	if (!sa || len < sizeof(sa_family_t))
		return;
	if (sa->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		const struct sockaddr_in *in = sockaddr;
		out->family = 4;
		out->port = ntohs(in->sin_port);
		memcpy(out->ip, &in->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		const struct sockaddr_in6 *in6 = sockaddr;
		out->port = ntohs(in6->sin6_port);
		if (memcmp(&in6->sin6_addr, mapped, sizeof mapped) == 0) {
			out->family = 4;
			memcpy(out->ip, (const char *)&in6->sin6_addr + 12, 4);
		} else {
			out->family = 6;
			memcpy(out->ip, &in6->sin6_addr, 16);
		}
	}
}

HOT void conn_addresses(struct conn *c, int fd)
{
	struct sockaddr_storage ss;
	unsigned n = sizeof ss;
	if (c->addresses)
		return;
	c->addresses = true;
	if (sys3(SYS_getsockname, fd, &ss, &n) == 0)
		conn_addr_set(&c->local, &ss, n);
	n = sizeof ss;
	if (!c->peer.family && sys3(SYS_getpeername, fd, &ss, &n) == 0)
		conn_addr_set(&c->peer, &ss, n);
}
