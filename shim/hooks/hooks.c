/* Expands hooks.def: the real call, the guard, errno. No policy here. */
#include "base/hot.h"
#include "config.h"
#include "conn/fdtab.h"
#include "conn/inject.h"
#include "conn/observe.h"
#include "export_thread.h"
#include "base/probe.h"
#include "hooks/guard.h"
#include "hooks/hooks.h"
#include "hooks/real.h"

#define EXPORT __attribute__((visibility("default")))
#define OBSERVE(call)                        \
	do {                                     \
		int err = errno;                     \
		struct thread *self_ = &thread_self; \
		if (enter(self_)) {                  \
			call;                            \
			leave(self_);                    \
		}                                    \
		errno = err;                         \
	} while (0)

/* The same for bytes on an fd: what cannot be seen (no room on a signal stack) must not be followed any further. */
#define OBSERVE_BYTES(word, fd, call)                                \
	do {                                                             \
		int err = errno;                                             \
		struct thread *self_ = &thread_self;                         \
		if ((!fd_conn(word) || guard_room(self_)) && enter(self_)) { \
			call;                                                    \
			leave(self_);                                            \
		} else {                                                     \
			unseen_bytes(fd, self_);                                 \
		}                                                            \
		errno = err;                                                 \
	} while (0)

/* A call that failed: EAGAIN and its like, the usual ones, say nothing of the connection. */
#define OBSERVE_FAILURE(fd, call)                                                \
	do {                                                                         \
		if (io_fatal(errno) && fd_conn(fd_peek(fd)) && guard_room(&thread_self)) \
			OBSERVE(call);                                                       \
	} while (0)

#define SOCKADDR_OF(arg) ((arg).__sockaddr__)
#define TO_MSGHDR(to, len) ((to).__sockaddr__ ? &(struct msghdr){.msg_name = (void *)(uintptr_t)(to).__sockaddr__, .msg_namelen = (len)} : NULL)

/* Which connection an fd was before a call that may have waited: closed and reused meanwhile, its bytes are another's. */
struct stamp {
	uintptr_t word;
	uint32_t serial;
};

static inline struct stamp stamp(int fd)
{
	struct stamp s = {fd_peek(fd), 0};
	if (fd_conn(s.word))
		s.serial = __atomic_load_n(&fd_conn(s.word)->serial, __ATOMIC_RELAXED);
	return s;
}

/* Its word now; FD_OPAQUE: nothing for us, or another connection by now. */
static inline uintptr_t unmoved(int fd, struct stamp before)
{
	uintptr_t word = watched_word(fd);
	bool same = before.word == FD_UNKNOWN || (word == before.word && (!fd_conn(word) ||
	                                                                  __atomic_load_n(&fd_conn(word)->serial, __ATOMIC_RELAXED) == before.serial));
	return same ? word : FD_OPAQUE;
}

COLD static __attribute__((noinline)) void unseen_bytes(int fd, struct thread *t)
{
	struct conn *c = fd_conn(fd_peek(fd));
	if (c && t->guard != GUARD_LIFE && !t->in_vfork)
		atomic_store_explicit(&c->poison, 1, memory_order_relaxed);
}

/* ---- observers that need a look at the arguments first ---- */

static void observe_sendmmsg(int fd, struct mmsghdr *m, int r, int err)
{
	(void)err;
	for (int i = 0; i < r; i++)
		on_txv(fd, m[i].msg_hdr.msg_iov, (int)m[i].msg_hdr.msg_iovlen, m[i].msg_len, 0);
}

static void observe_accept(int fd, const struct sockaddr *peer, const socklen_t *n)
{
	on_accept(fd, n ? peer : NULL, n ? *n : 0);
	export_thread_poke();
}

static void observe_getaddrinfo(int r, const char *name, struct addrinfo *const *list)
{
	if (r == 0)
		on_resolved(name, *list);
}

static void observe_getsockopt(int fd, int level, int name, const void *value, const socklen_t *n)
{
	if (level == SOL_SOCKET && name == SO_ERROR && value && n && *n >= sizeof(int))
		on_so_error(fd, *(const int *)value);
}

/* Is there anything to forget? */
static inline bool known(int fd)
{
	return atomic_load_explicit(&process.active, memory_order_relaxed) && fd_peek(fd) > FD_OPAQUE;
}

/* A close in a signal handler that interrupted us must not be missed; only our own thread's are none of our business. */
static __attribute__((noinline)) void close_fd(int fd)
{
	struct thread *t = &thread_self;
	uint8_t guard = t->guard;
	if (guard == GUARD_LIFE || process_in_vfork_child(t))
		return;
	int e = errno;
	if (fd_conn(fd_peek(fd)) && !guard_room(t)) { /* whoever gets the number next replaces the entry */
		unseen_bytes(fd, t);
		errno = e;
		return;
	}
	if (process_is_new())
		process_forked();
	t->guard = GUARD_BUSY;
	on_close(fd);
	t->guard = guard;
	errno = e;
}

static void close_fds(unsigned first, unsigned last, int flags)
{
	int e = errno;
	struct thread *t = &thread_self;
	/* With flags the fds stay (CLOEXEC), or stay for other threads (UNSHARE). */
	if (flags == 0 && first <= last && enter(t)) {
		on_close_range(first, last);
		leave(t);
	}
	errno = e;
}

void hooks_close(int fd)
{
	if (known(fd))
		close_fd(fd);
}

void hooks_close_range(unsigned first, unsigned last, int flags)
{
	if (atomic_load_explicit(&process.active, memory_order_relaxed))
		close_fds(first, last, flags);
}

/* Before a write: is it a client's, that goes through inject.h? */
static __attribute__((noinline)) bool client_or_unknown(int fd)
{
	struct thread *t = &thread_self;
	int e = errno;
	bool yes = (!fd_conn(fd_peek(fd)) || guard_room(t)) && enter(t);
	if (yes) {
		yes = tx_is_client(fd);
		leave(t);
	}
	errno = e;
	return yes;
}

static inline bool client(uintptr_t word, int fd)
{
	const struct conn *c = fd_conn(word);
	if (c && __builtin_expect(atomic_load_explicit(&c->role, memory_order_relaxed) == ROLE_SERVER &&
	                              !atomic_load_explicit(&c->tell, memory_order_relaxed),
	                          1))
		return false;
	return client_or_unknown(fd);
}

COLD static __attribute__((noinline)) void poke(void)
{
	if (!thread_self.guard)
		OBSERVE(export_thread_poke());
}

static inline void polling(void)
{
	if (atomic_load_explicit(&process.active, memory_order_relaxed) && !atomic_load_explicit(&export_thread_state, memory_order_relaxed))
		poke();
}

/* ---- the hooks ---- */

/* What servers call for each request. */
#define HOT_HOOK(name) extern __typeof__(name) name HOT
HOT_HOOK(read);
HOT_HOOK(recv);
HOT_HOOK(recvmsg);
HOT_HOOK(write);
HOT_HOOK(writev);
HOT_HOOK(send);
HOT_HOOK(sendmsg);
HOT_HOOK(poll);
HOT_HOOK(epoll_wait);
HOT_HOOK(epoll_pwait);

/* After a failure the arguments prove nothing: a bad pointer is what may have failed. */
#define RX(ret, name, params, args, fd, observer)                          \
	EXPORT ret name params;                                                \
	EXPORT ret name params                                                 \
	{                                                                      \
		struct stamp s_ = stamp(fd);                                       \
		if (__builtin_expect(s_.word == FD_OPAQUE, 1))                     \
			return REAL(name) args;                                        \
		ret r = REAL(name) args;                                           \
		uintptr_t word_ = unmoved(fd, s_);                                 \
		if (__builtin_expect(word_ == FD_OPAQUE, 0))                       \
			return r;                                                      \
		if (r >= 0)                                                        \
			OBSERVE_BYTES(word_, fd, observer; export_thread_poke_late()); \
		else                                                               \
			OBSERVE_FAILURE(fd, on_rx(fd, NULL, 0, -1, err, 0));           \
		return r;                                                          \
	}

#define OUT(ret, name, params, args, fd, observer)             \
	EXPORT ret name params;                                    \
	EXPORT ret name params                                     \
	{                                                          \
		ret r = REAL(name) args;                               \
		uintptr_t word_ = watched_word(fd);                    \
		if (__builtin_expect(word_ != FD_OPAQUE, 0)) {         \
			if (r >= 0)                                        \
				OBSERVE_BYTES(word_, fd, observer);            \
			else                                               \
				OBSERVE_FAILURE(fd, on_tx(fd, NULL, -1, err)); \
		}                                                      \
		return r;                                              \
	}

/* The client's half is a function of its own: its frame is too large for a call that has no use for it. */
#define TX(ret, name, params, args, fd, valid, pieces, count, original, flags_, observer)              \
	static __attribute__((noinline)) ret client_##name params                                          \
	{                                                                                                  \
		struct tx t;                                                                                   \
		bool edit = false, begun = false;                                                              \
		struct iovec one_ = {0};                                                                       \
		(void)one_;                                                                                    \
		OBSERVE(begun = valid; edit = begun && inject_begin(&t, fd, pieces, count, original, flags_)); \
		ret r = edit ? REAL(sendmsg)(fd, &t.msg, flags_) : REAL(name) args;                            \
		int err_ = errno;                                                                              \
		if (begun)                                                                                     \
			OBSERVE(r = inject_end(&t, fd, r, &err_, flags_));                                         \
		errno = err_;                                                                                  \
		return r;                                                                                      \
	}                                                                                                  \
	EXPORT ret name params;                                                                            \
	EXPORT ret name params                                                                             \
	{                                                                                                  \
		uintptr_t word_ = watched_word(fd);                                                            \
		if (__builtin_expect(word_ == FD_OPAQUE, 1))                                                   \
			return REAL(name) args;                                                                    \
		if (client(word_, fd))                                                                         \
			return client_##name args;                                                                 \
		ret r = REAL(name) args;                                                                       \
		if (r >= 0)                                                                                    \
			OBSERVE_BYTES(word_, fd, observer);                                                        \
		else                                                                                           \
			OBSERVE_FAILURE(fd, on_tx(fd, NULL, -1, err));                                             \
		return r;                                                                                      \
	}

#define AFTER(ret, name, params, args, observer)                                   \
	EXPORT ret name params;                                                        \
	EXPORT ret name params                                                         \
	{                                                                              \
		ret r = REAL(name) args;                                                   \
		if (r >= 0 && atomic_load_explicit(&process.active, memory_order_relaxed)) \
			OBSERVE(observer);                                                     \
		return r;                                                                  \
	}

#define CLOSE(ret, name, params, args, observer)                         \
	EXPORT ret name params;                                              \
	EXPORT ret name params                                               \
	{                                                                    \
		if (atomic_load_explicit(&process.active, memory_order_relaxed)) \
			observer;                                                    \
		return REAL(name) args;                                          \
	}

#define POLL(ret, name, params, args)              \
	EXPORT ret name params;                        \
	EXPORT ret name params                         \
	{                                              \
		polling();                                 \
		ret r = REAL(name) args;                   \
		if (__builtin_expect(thread_self.loop, 0)) \
			span_polled();                         \
		return r;                                  \
	}

/* Programs that only write and sleep. */
#define PAUSE(ret, name, params, args)                                                                           \
	EXPORT ret name params;                                                                                      \
	EXPORT ret name params                                                                                       \
	{                                                                                                            \
		if (__builtin_expect(config.text_fds, 0) && atomic_load_explicit(&process.active, memory_order_relaxed)) \
			OBSERVE(export_thread_poke_text(1));                                                                 \
		return REAL(name) args;                                                                                  \
	}

#define SPECIAL(...)

/* Messages may bring fds, whatever the socket they come by is to us. */
static void observe_message(int fd, struct msghdr *m, ssize_t n, int flags)
{
	if (m->msg_controllen)
		OBSERVE(on_control(m));
	/* A result flag may say MSG_TRUNC of a datagram; only the asked-for flag throws bytes of a stream away. */
	uintptr_t word = watched_word(fd);
	if (__builtin_expect(word != FD_OPAQUE, 0))
		OBSERVE_BYTES(word, fd, on_rxv(fd, m->msg_iov, (int)m->msg_iovlen, n, err, flags); export_thread_poke_late());
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags);
EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t r = REAL(recvmsg)(fd, m, flags);
	if (!atomic_load_explicit(&process.active, memory_order_relaxed))
		return r;
	if (r >= 0)
		observe_message(fd, m, r, flags);
	else
		OBSERVE_FAILURE(fd, on_rx(fd, NULL, 0, -1, err, 0));
	return r;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *m, unsigned count, int flags, struct timespec *timeout);
EXPORT int recvmmsg(int fd, struct mmsghdr *m, unsigned count, int flags, struct timespec *timeout)
{
	int r = REAL(recvmmsg)(fd, m, count, flags, timeout);
	if (!atomic_load_explicit(&process.active, memory_order_relaxed))
		return r;
	for (int i = 0; i < r; i++)
		observe_message(fd, &m[i].msg_hdr, m[i].msg_len, flags);
	return r;
}

#pragma GCC diagnostic ignored "-Wredundant-decls"

#include "hooks/hooks.def"
