#include "span/text_tail.h"
#include "base/clock.h"
#include "base/sys.h"
#include "crash/record.h"
#include "span/process.h"
#include "span/span.h"
#include <string.h>

#define SIZE (64 * 1024)
#define WRITE_MOST (SIZE / 4)        /* of one write: its end */
#define PIECE_MOST 4096              /* writes of a thread that are put together ... */
#define PIECE_NS UINT64_C(100000000) /* ... and how far apart */
#define TRIES 100

/* When it is full the older half goes: what is in it lies in one piece for the handler. */
static struct {
	_Atomic int32_t owner; /* pid of who changes it, 0 = nobody; another pid was copied by a fork */
	int32_t pid;
	_Atomic uint32_t used;
	uint32_t last; /* where the newest begins */
	char bytes[SIZE] __attribute__((aligned(8)));
} tail;

static struct crash_words *words_at(uint32_t at)
{
	return (struct crash_words *)(tail.bytes + at);
}

static uint32_t padded(uint32_t n)
{
	return (uint32_t)sizeof(struct crash_words) + ((n + 7) & ~7u);
}

/* Bounded: a handler may have interrupted who has it. */
static bool take(int32_t pid)
{
	for (int i = 0; i < TRIES; i++) {
		int32_t who = 0;
		if (atomic_compare_exchange_strong_explicit(&tail.owner, &who, pid, memory_order_acquire, memory_order_relaxed) ||
		    (who != pid && atomic_compare_exchange_strong_explicit(&tail.owner, &who, pid, memory_order_acquire, memory_order_relaxed)))
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

static void make_room(uint32_t need)
{
	uint32_t from = 0, used = tail.used;
	while (from < used && (from < SIZE / 2 || used - from + need > SIZE)) {
		uint32_t n = words_at(from)->n;
		from = n < used - from ? from + padded(n) : used;
	}
	if (from > used)
		from = used;
	memmove(tail.bytes, tail.bytes + from, used - from);
	tail.used = used - from;
}

/* Bytes [from, from + n) of v. */
static void copy(char *to, const struct iovec *v, int count, size_t from, size_t n)
{
	for (int i = 0; i < count && n; i++) {
		size_t len = v[i].iov_len;
		if (from >= len) {
			from -= len;
			continue;
		}
		size_t k = len - from < n ? len - from : n;
		memcpy(to, (const char *)v[i].iov_base + from, k);
		to += k;
		n -= k;
		from = 0;
	}
}

void text_tail_add(int tid, const struct iovec *v, int count, size_t n)
{
	uint32_t k = n < WRITE_MOST ? (uint32_t)n : WRITE_MOST;
	int32_t pid = process.pid;
	if (!take(pid))
		return;
	if (tail.pid != pid) {
		tail.used = 0;
		tail.pid = pid;
	}
	uint64_t now = real_ns();
	struct crash_words *w = tail.used ? words_at(tail.last) : NULL;
	if (!w || w->tid != tid || now - w->time_ns > PIECE_NS || w->n + k > PIECE_MOST || tail.last + padded(w->n + k) > SIZE) {
		if (tail.used + padded(k) > SIZE)
			make_room(padded(k));
		tail.last = tail.used;
		w = words_at(tail.last);
		*w = (struct crash_words){.tid = tid, .time_ns = now};
	}
	copy((char *)(w + 1) + w->n, v, count, n - k, k);
	w->n += k;
	tail.used = tail.last + padded(w->n);
	atomic_store_explicit(&tail.owner, 0, memory_order_release);
}

const void *text_tail(size_t *n)
{
	for (int i = 0; i < TRIES && atomic_load(&tail.owner); i++)
		__builtin_ia32_pause();
	*n = tail.pid == sys_getpid() ? tail.used : 0;
	return *n ? tail.bytes : NULL;
}

void text_tail_saved(int tid)
{
	struct arena *a = atomic_load(&process.arena);
	struct span_rec *r = a && tail.pid == process.pid && tail.used ? arena_open(a, process.pid) : NULL;
	if (!r)
		return;
	r->tid = tid;
	r->proc = process_index(a);
	r->kind = SPAN_SAID;
	r->start_ns = r->end_ns = real_ns();
	arena_commit(a, r);
}
