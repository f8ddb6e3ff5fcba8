#include "conn/conn.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/sys.h"
#include "conn/http.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SPIN 4000 /* some ten microseconds: sections are shorter, but their holder may be preempted */

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

static struct conn *make(enum role role)
{
	struct conn *c = pool_get(&conns);
	if (!c) {
		arena_count(process.arena, COUNT_DROP_TABLE, 1);
		return NULL;
	}
	memset((char *)c + offsetof(struct conn, lock), 0, sizeof *c - offsetof(struct conn, lock));
	c->role = (uint8_t)role;
	c->fork_gen = process.fork_gen;
	c->refs = 1;
	atomic_fetch_add_explicit(&process.connections, 1, memory_order_relaxed);
	return c;
}

static void destroy(struct conn *c)
{
	head_buffer_free(c->req.head, c->req.head_cap);
	head_buffer_free(c->resp.head, c->resp.head_cap);
	head_buffer_free(c->rest, c->rest_cap);
	if (c->ready_cap)
		head_buffer_free((char *)c->ready, c->ready_cap);
	atomic_fetch_sub_explicit(&process.connections, 1, memory_order_relaxed);
	pool_put(&conns, c);
}

struct conn *conn_new(int fd, enum role role)
{
	fd_entry *e = fd_make(fd);
	if (!e)
		return NULL;
	struct conn *c = make(role);
	uintptr_t old = atomic_exchange(e, c ? (uintptr_t)c : FD_OPAQUE);
	conn_forget_word(old);
	return c;
}

/* ---- the lock ---- */

static bool acquire(struct conn *c)
{
	uint32_t me = (uint32_t)thread_id(&thread_self), seen = 0;
	for (int i = 0; i < SPIN; i++) {
		if (atomic_compare_exchange_weak_explicit(&c->lock, &seen, me, memory_order_acquire, memory_order_relaxed))
			return true;
		if (seen == me) /* a signal handler within our own section */
			break;
		seen = 0;
		cpu_relax();
	}
	return false;
}

void conn_unlock(struct conn *c, int fd)
{
	if (__builtin_expect(atomic_load_explicit(&c->poison, memory_order_relaxed), 0))
		conn_opaque(c, COUNT_OPAQUE_BUSY);
	bool opaque = c->opaque && !c->rest_n; /* bytes that we owe the peer go out first */
	atomic_store_explicit(&c->lock, 0, memory_order_release);
	if (__builtin_expect(opaque, 0)) {
		fd_entry *e = fd_at(fd);
		uintptr_t word = (uintptr_t)c;
		if (e && atomic_compare_exchange_strong(e, &word, FD_OPAQUE))
			conn_forget_word(word);
	}
}

/* A connection that came through a fork: its lock may have been held by a thread that is not here. */
static void adopt(struct conn *c)
{
	c->fork_gen = process.fork_gen;
	atomic_store(&c->lock, 0);
	http_disown(c);
}

/* ---- classification ---- */

static bool stream_socket(int fd)
{
	int type = 0, domain = 0, listening = 0;
	unsigned n = sizeof type;
	if (sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)&type, (long)&n, 0) != 0 || type != SOCK_STREAM)
		return false;
	n = sizeof domain;
	if (sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, (long)&domain, (long)&n, 0) != 0 ||
	    (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX))
		return false;
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
	struct conn *c = stream_socket(fd) ? make(ROLE_UNKNOWN) : NULL;
	uintptr_t unknown = FD_UNKNOWN;
	if (!atomic_compare_exchange_strong(e, &unknown, c ? (uintptr_t)c : FD_OPAQUE)) {
		if (c)
			destroy(c);
		return NULL; /* another thread was faster; its connection, if any, is found at the next call */
	}
	if (c)
		c->cookie = conn_cookie(fd);
	return c;
}

struct conn *conn_lock(int fd)
{
	uintptr_t word = fd_peek(fd);
	struct conn *c = fd_conn(word);
	if (!c) {
		if (word != FD_UNKNOWN || !(c = classify(fd)))
			return NULL;
	}
	if (__builtin_expect(c->fork_gen != process.fork_gen, 0))
		adopt(c);
	if (!acquire(c)) {
		atomic_store(&c->poison, 1);
		return NULL;
	}
	if (fd_peek(fd) != (uintptr_t)c) { /* closed, or another connection by now */
		atomic_store_explicit(&c->lock, 0, memory_order_release);
		return NULL;
	}
	return c;
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
	if (c->fork_gen != process.fork_gen)
		adopt(c);
	if (atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	/* No entry leads here any more, but a thread may be inside. It is not waited for in vain: sections are short. */
	for (int i = 0; i < 1000 && !acquire(c); i++)
		if (atomic_load(&c->lock) == (uint32_t)thread_id(&thread_self))
			return; /* closed by a signal handler within our section: the memory is lost, rather than the program */
	http_closed(c);
	atomic_store_explicit(&c->lock, 0, memory_order_release);
	destroy(c);
}

void conn_forget(int fd)
{
	fd_entry *e = fd_at(fd);
	if (e)
		conn_forget_word(atomic_exchange(e, FD_UNKNOWN));
}

void conn_set(int fd, uintptr_t word)
{
	fd_entry *e = word == FD_UNKNOWN ? fd_at(fd) : fd_make(fd);
	if (e)
		conn_forget_word(atomic_exchange(e, word));
}

void conn_share(int from, int to)
{
	uintptr_t word = fd_peek(from);
	struct conn *c = fd_conn(word);
	if (c)
		atomic_fetch_add(&c->refs, 1);
	fd_entry *e = word == FD_UNKNOWN ? fd_at(to) : fd_make(to);
	if (e)
		conn_forget_word(atomic_exchange(e, word));
	else if (c)
		atomic_fetch_sub(&c->refs, 1);
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

void conn_addresses(struct conn *c, int fd)
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
