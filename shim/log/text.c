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

#define RECORD_MOST 4096  /* bytes, then the next record */
#define WRITE_MOST 32768  /* of one write, where only errors are wanted: its beginning and its end */
#define PIECE 16384       /* of one write at a time, where all lines are */
#define LINE_MOST 1048576 /* of one line in one write: no destination takes more */
#define WAITING 64        /* records, while nobody exports */
#define ROOM 16384        /* of stack, to attach an arena */
#define BUSY UINT64_C(1)  /* end_ns of a record that its thread is writing to: span_exit lets it be */

bool text_is_log(int fd)
{
	struct stat in, out;
	int domain = 0;
	unsigned n = sizeof domain;
	if ((unsigned)fd > 2 || !(config.text_fds >> fd & 1) || !(fd == 1 ? stdout_same(1) : stderr_same(2)))
		return false;
	if (sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, (long)&domain, (long)&n, 0) != 0)
		return true;
	/* A socket: the journal's, or the connection that an inetd has put on 0, 1 and 2. */
	return domain == AF_UNIX && sys3(SYS_fstat, fd, &out, 0) == 0 &&
	       (sys3(SYS_fstat, 0, &in, 0) != 0 || in.st_dev != out.st_dev || in.st_ino != out.st_ino);
}

void (*text_on_commit)(int fd);

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
	struct span_rec *r = arena_open_text(a, process.pid);
	if (!r)
		return NULL;
	r->tid = thread_id(t);
	r->proc = process_index(a);
	r->kind = SPAN_TEXT;
	r->err_no = fd;
	if (t->text_gap)
		r->bits |= REC_GAP;
	t->text_gap = t->text_whole = false;
	r->end_ns = BUSY;
	span_ids(r->trace_id, r->span_id);
	r->start_ns = t->text_start = real_ns();
	t->text_slot = arena_index(a, r);
	atomic_fetch_add_explicit(&process.open_spans, 1, memory_order_relaxed);
	return r;
}

static void commit(struct arena *a, struct thread *t, struct span_rec *r)
{
	int fd = r->err_no;
	t->text_start = 0;
	r->end_ns = real_ns();
	atomic_fetch_sub_explicit(&process.open_spans, 1, memory_order_relaxed);
	arena_commit(a, r);
	if (text_on_commit)
		text_on_commit(fd);
}

/* f gets the bytes [from, from + n) of v, piece by piece. */
struct cut {
	struct arena *a;
	struct span_rec *r; /* appends to it; NULL: counts lines */
	uint32_t lines;
	char last;
};

static void each(struct cut *c, const struct iovec *v, int count, size_t from, size_t n)
{
	for (int i = 0; i < count && n; i++) {
		size_t len = v[i].iov_len;
		if (from >= len) {
			from -= len;
			continue;
		}
		size_t k = len - from < n ? len - from : n;
		const char *p = (const char *)v[i].iov_base + from, *end = p + k;
		if (c->r)
			rec_append(c->a, c->r, (struct slice){p, (uint32_t)k});
		else
			for (const char *q = p; (q = memchr(q, '\n', (size_t)(end - q))); q++)
				c->lines++;
		c->last = end[-1];
		n -= k;
		from = 0;
	}
}

/* What is not kept is counted in lines, and the next record says that there was more before it. */
static void lose(struct arena *a, struct thread *t, const struct iovec *v, int count, size_t from, size_t n)
{
	struct cut c = {0};
	each(&c, v, count, from, n);
	t->text_gap = true;
	arena_count(a, COUNT_DROP_TEXT, c.lines ? c.lines : 1);
}

static char append(struct arena *a, struct thread *t, struct span_rec *r, const struct iovec *v, int count, size_t from, size_t n)
{
	struct cut c = {.a = a, .r = r};
	uint32_t before = r->var_len, now;
	each(&c, v, count, from, n);
	now = r->var_len;
	if (config.lines && now - before < n) /* the arena is full */
		lose(a, t, v, count, from + (now - before), n - (now - before));
	return c.last;
}

/* Lines of another request, or for another fd, do not go into the record that is open. */
static bool other(const struct thread *t, const struct span_rec *r, int fd)
{
	uint8_t trace[16], span[8];
	if (r->err_no != fd)
		return true;
	if (!t->text_whole)
		return false;
	span_ids(trace, span);
	return memcmp(span, r->span_id, sizeof span) != 0;
}

/* The record to write to, held; NULL: too much waits, the rest of the memory is for requests. */
static struct span_rec *record(struct arena *a, struct thread *t, int fd)
{
	struct span_rec *r = open_one(a, t);
	if (r && other(t, r, fd)) {
		commit(a, t, r);
		r = NULL;
	}
	if (r)
		r->bits |= REC_MERGED;
	else if (atomic_load_explicit(&a->text, memory_order_relaxed) <= (config.lines ? arena_slots(a) / 2 : arena_slots(a) - arena_slots(a) / 8))
		r = new_one(a, t, fd);
	return r;
}

static void wrote(struct arena *a, struct thread *t, struct span_rec *r, char last)
{
	uint32_t waiting = arena_pending(a);
	t->text_whole = last == '\n';
	if (span_ended() || (t->text_whole && (waiting < WAITING || arena_lease_alive(a))) || r->var_len > RECORD_MOST)
		commit(a, t, r);
	else
		__atomic_store_n(&r->end_ns, 0, __ATOMIC_RELEASE);
}

/* Everything, but for the rest of a line that is longer than can be sent. */
static void wrote_much(struct arena *a, struct thread *t, int fd, const struct iovec *v, int count, size_t n)
{
	size_t run = 0; /* bytes of the line under way */
	for (size_t from = 0; from < n;) {
		size_t k = n - from < PIECE ? n - from : PIECE;
		struct cut c = {0};
		each(&c, v, count, from, k);
		if (!c.lines && run > LINE_MOST) {
			from += k;
			continue;
		}
		struct span_rec *r = record(a, t, fd);
		if (!r) {
			lose(a, t, v, count, from, n - from);
			return;
		}
		if (run > LINE_MOST)
			r->bits |= REC_CUT;
		wrote(a, t, r, append(a, t, r, v, count, from, k));
		run = c.lines ? 0 : run + k;
		from += k;
	}
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
	if (config.lines && n > PIECE) {
		wrote_much(a, t, fd, v, count, n);
		return;
	}
	struct span_rec *r = record(a, t, fd);
	if (!r) {
		lose(a, t, v, count, 0, n);
		return;
	}
	if (__builtin_expect(n <= WRITE_MOST, 1)) {
		wrote(a, t, r, append(a, t, r, v, count, 0, n));
		return;
	}
	append(a, t, r, v, count, 0, WRITE_MOST / 2);
	r->bits |= REC_CUT;
	wrote(a, t, r, append(a, t, r, v, count, n - WRITE_MOST / 2, WRITE_MOST / 2));
}
