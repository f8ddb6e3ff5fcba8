/*
 * From writes to records. A program that prints an error makes many small writes (Python: four for each frame), so a
 * thread's record stays open until a line is complete; and beyond that while nobody exports and much waits already, for
 * a long traceback must not fill the arena before its last line, which says what happened.
 */
#include "log/text.h"
#include "base/clock.h"
#include "base/stderr.h"
#include "base/sys.h"
#include "config.h"
#include "span/process.h"
#include "span/span.h"
#include "span/text_tail.h"
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define RECORD_MOST 4096 /* bytes, then the next record */
#define WRITE_MOST 32768 /* of one write: its beginning and its end */
#define WAITING 64       /* records, while nobody exports */
#define ROOM 16384       /* of stack, to attach an arena */
#define BUSY UINT64_C(1) /* end_ns of a record that its thread is writing to: span_exit lets it be */

bool text_is_log(int fd)
{
	struct stat in, err;
	int domain = 0;
	unsigned n = sizeof domain;
	if (!config.errors || fd != 2 || !stderr_same(2))
		return false;
	if (sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, (long)&domain, (long)&n, 0) != 0)
		return true;
	/* A socket: the journal's, or the connection that an inetd has put on 0, 1 and 2. */
	return domain == AF_UNIX && sys3(SYS_fstat, 2, &err, 0) == 0 &&
	       (sys3(SYS_fstat, 0, &in, 0) != 0 || in.st_dev != err.st_dev || in.st_ino != err.st_ino);
}

/* Is there no room to attach? Only a handler on a small alternate stack has so little. */
static __attribute__((noinline)) bool cramped(void)
{
	stack_t alt;
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
	return sys3(SYS_sigaltstack, 0, &alt, 0) == 0 && (alt.ss_flags & SS_ONSTACK) && sp - (uintptr_t)alt.ss_sp < ROOM;
}

static bool hold(struct span_rec *r)
{
	uint64_t none = 0;
	return __atomic_compare_exchange_n(&r->end_ns, &none, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* The record that this thread has open, held; NULL: none. */
static struct span_rec *open_one(struct arena *a, struct thread *t)
{
	if (!t->text_start || t->text_slot >= arena_slots(a))
		return NULL;
	struct span_rec *r = arena_slot(a, t->text_slot);
	/* Whoever shares the arena may have scribbled, or span_exit was here. */
	if (atomic_load_explicit(&r->state, memory_order_relaxed) == SLOT_OPEN && r->pid == process.pid &&
	    r->kind == SPAN_TEXT && r->start_ns == t->text_start && hold(r))
		return r;
	t->text_start = 0;
	return NULL;
}

static struct span_rec *new_one(struct arena *a, struct thread *t, int fd)
{
	struct span_rec *r = arena_open(a, process.pid);
	if (!r)
		return NULL;
	r->tid = thread_id(t);
	r->proc = process_index(a);
	r->kind = SPAN_TEXT;
	r->err_no = fd;
	r->end_ns = BUSY;
	span_ids(r->trace_id, r->span_id);
	r->start_ns = t->text_start = real_ns();
	t->text_slot = arena_index(a, r);
	atomic_fetch_add_explicit(&process.open_spans, 1, memory_order_relaxed);
	return r;
}

static void commit(struct arena *a, struct thread *t, struct span_rec *r)
{
	t->text_start = 0;
	r->end_ns = real_ns();
	atomic_fetch_sub_explicit(&process.open_spans, 1, memory_order_relaxed);
	arena_commit(a, r);
}

/* Bytes [from, from + n) of v. The last one, or 0. */
static char append(struct arena *a, struct span_rec *r, const struct iovec *v, int count, size_t from, size_t n)
{
	char last = 0;
	for (int i = 0; i < count && n; i++) {
		size_t len = v[i].iov_len;
		if (from >= len) {
			from -= len;
			continue;
		}
		size_t k = len - from < n ? len - from : n;
		const char *p = (const char *)v[i].iov_base + from;
		rec_append(a, r, (struct slice){p, (uint32_t)k});
		last = p[k - 1];
		n -= k;
		from = 0;
	}
	return last;
}

void text_wrote(int fd, const struct iovec *v, int count, size_t n)
{
	struct thread *t = &thread_self;
	struct arena *a = atomic_load_explicit(&process.arena, memory_order_acquire);
	if (!n)
		return;
	if (fd == 2 && config.crash_signals)
		text_tail_add(thread_id(t), v, count, n);
	if (__builtin_expect(!a || atomic_load_explicit(&process.proc, memory_order_relaxed) == ARENA_PROCS, 0) && cramped())
		return;
	if (!a && !(a = process_arena()))
		return;
	struct span_rec *r = open_one(a, t);
	if (r)
		r->bits |= REC_MERGED;
	uint32_t waiting = arena_pending(a);
	if (!r && (waiting > arena_slots(a) / 2 || !(r = new_one(a, t, fd)))) { /* the rest is for requests */
		arena_count(a, COUNT_DROP_TEXT, 1);
		return;
	}
	char last;
	if (__builtin_expect(n <= WRITE_MOST, 1)) {
		last = append(a, r, v, count, 0, n);
	} else {
		append(a, r, v, count, 0, WRITE_MOST / 2);
		last = append(a, r, v, count, n - WRITE_MOST / 2, WRITE_MOST / 2);
		r->bits |= REC_CUT;
	}
	bool line = last == '\n' && (waiting < WAITING || arena_lease_alive(a));
	if (line || r->var_len > RECORD_MOST)
		commit(a, t, r);
	else
		__atomic_store_n(&r->end_ns, 0, __ATOMIC_RELEASE);
}
