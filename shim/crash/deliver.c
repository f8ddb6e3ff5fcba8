/*
 * The record is written: now somebody is to send it, and we wait for that, bounded.
 *
 *	A   the tree's exporter, if it lives in another process: told by the arena's word `crashes`, it takes the file by
 *	    renaming it (or unlinks it); a memfd is offered in `crash_fd`
 *	B   the helper: `remora crash-helper FILE`, exec'd from here
 *	A'  our own exporter's thread, where B is not possible: the threads that we have parked, and the crashed one, may hold
 *	    locks that it needs. Seen to sleep in one, it is waited for no longer
 *	C   the file stays for the next start; what is no file is lost then, and that is said
 */
#include "crash/crash_priv.h"
#include "base/clock.h"
#include "config.h"
#include "span/process.h"
#include "span/span.h"
#include "span/text_tail.h"
#include <string.h>
#include <sys/stat.h>

#define ACCEPT_NS 300000000u
#define LOCKED_NS 50000000u /* our exporter's thread in a lock: nobody will open it */
#define SPANS_NS 500000000u

static char taken[sizeof crash_file.path + 8];

static bool is_there(const char *path)
{
	struct stat st;
	return sys6(SYS_newfstatat, AT_FDCWD, (long)path, (long)&st, AT_SYMLINK_NOFOLLOW, 0, 0) == 0;
}

static bool accepted(void)
{
	return !is_there(crash_file.path);
}

static bool sent(void)
{
	return !is_there(crash_file.path) && !is_there(taken);
}

/* Does our exporter's thread sleep in a lock? Else it runs, polls, or sleeps on the arena's word. */
static bool in_lock(const struct arena *a)
{
	static const char call[] = "202 0x"; /* futex */
	char path[64], text[64];
	crash_text(crash_number(crash_text(path, "/proc/self/task/"), (uint64_t)crash_export.tid()), "/syscall");
	long fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0), n;
	if (fd < 0)
		return false;
	n = sys_read((int)fd, text, sizeof text - 1);
	sys_close((int)fd);
	text[n > 0 ? n : 0] = 0;
	if (strncmp(text, call, sizeof call - 1) != 0)
		return false;
	uintptr_t word = 0;
	for (const char *p = text + sizeof call - 1; (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'); p++)
		word = word << 4 | (unsigned)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
	return word != (uintptr_t)&a->wake;
}

/*
 * Until `f` is true; looks again when the exporter bumps the word, or every few milliseconds. own: it is for our own
 * exporter's thread.
 */
static bool wait_until(bool (*f)(void), struct arena *a, uint64_t end, bool own)
{
	static _Atomic uint32_t nothing;
	_Atomic uint32_t *word = a ? &a->crashes_done : &nothing;
	uint64_t since = 0; /* that it was seen in a lock */
	for (;;) {
		uint32_t seen = atomic_load(word);
		uint64_t now = mono_ns();
		if (f())
			return true;
		if (own && in_lock(a))
			since = since ? since : now;
		else
			since = 0;
		if (now >= end || (since && now - since >= LOCKED_NS))
			return false;
		struct timespec ts = {0, 4000000};
		sys_futex_wait(word, seen, &ts);
	}
}

static bool flushed(void)
{
	return crash_export.done();
}

/* ---- the spans ---- */

static bool spans_end; /* they are yet to be ended */

/* When whoever makes the report has had a chance to say what they end by. */
static void end_spans(bool own)
{
	if (!spans_end)
		return;
	spans_end = false;
	text_tail_saved(crash_file.head.tid);
	span_crashed(crash_file.head.signo);
	if (own && crash_export.ask)
		crash_export.ask(mono_ns() + SPANS_NS);
}

static struct arena *left_in;
static uint32_t left_before;

static bool left_or_gone(void)
{
	return atomic_load(&left_in->crashes_done) != left_before || crash_helper_gone();
}

/* ---- */

static bool lane_b(struct arena *a, bool own, uint64_t end)
{
	left_in = a;
	left_before = a ? atomic_load(&a->crashes_done) : 0;
	if (!crash_helper_start(end))
		return false;
	uint64_t now = mono_ns();
	if (a && process.black_box && end > now) { /* it leaves the exception in the arena, then sends the report */
		uint64_t left = end - now;
		wait_until(left_or_gone, a, now + (left > 2 * SPANS_NS ? left - SPANS_NS : left / 2), false);
	}
	end_spans(own);
	crash_helper_wait(end);
	return !crash_file.named || accepted();
}

static void announce(struct arena *a)
{
	atomic_fetch_add(&a->crashes, 1);
	arena_wake(a);
}

/* ---- an exporter ---- */

static struct arena *offered_to;
static uint64_t offer;

static bool answered(void)
{
	return atomic_load(&offered_to->crash_fd) != offer;
}

/* A record that is a memfd. True: the exporter has a copy. */
static bool offer_fd(struct arena *a, uint64_t end, bool own)
{
	uint64_t none = 0;
	if (crash_file.fd < 0)
		return false;
	offered_to = a;
	offer = (uint64_t)(uint32_t)sys_getpid() << 32 | ((uint32_t)crash_file.fd + 1);
	while (!atomic_compare_exchange_strong(&a->crash_fd, &none, offer))
		if (none != CRASH_FD_REFUSED)
			return false; /* another crash */
	announce(a);
	bool got = wait_until(answered, a, end, own);
	uint64_t seen = offer;
	if (!got)
		got = !atomic_compare_exchange_strong(&a->crash_fd, &seen, 0);
	seen = CRASH_FD_REFUSED;
	return got && !atomic_compare_exchange_strong(&a->crash_fd, &seen, 0);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool lane_a(struct arena *a, uint64_t end, bool all)
{
	uint64_t accept = sooner(mono_ns() + ACCEPT_NS, end);
	if (crash_file.named ? !wait_until(accepted, a, accept, false) : !offer_fd(a, accept, false))
		return false;
	end_spans(false); /* it reads no record before it has read the file */
	return !all || !crash_file.named || wait_until(sent, a, end, false);
}

static bool lane_a_own(struct arena *a, uint64_t end)
{
	uint64_t accept = sooner(mono_ns() + ACCEPT_NS, end);
	if (!crash_file.named) {
		if (!crash_export.ask || !offer_fd(a, accept, true))
			return false;
		crash_export.ask(end);
		return wait_until(flushed, a, end, true);
	}
	announce(a);
	return wait_until(accepted, a, accept, true) && wait_until(sent, a, end, true);
}

uint64_t crash_wait_ns(void)
{
	/* With the first process of a namespace die all others. */
	return sys_getpid() == 1 && !config.crash_wait_set ? 10000000000u : config.crash_wait_ms * 1000000ull;
}

void crash_deliver(void)
{
	uint64_t end = mono_ns() + crash_wait_ns();
	int pid = sys_getpid();
	bool in_child = pid != process.pid;
	/* The arena may be what faulted; where it was our own thread, no exporter is left to tell, and no request ends. */
	bool hurt = (crash_file.head.flags & CRASH_NESTED) || crash_self.own;
	spans_end = !in_child && !hurt;
	struct arena *a = in_child || hurt ? NULL : process_arena_found();
	bool alive = a && arena_lease_alive(a);
	bool own = alive && atomic_load(&a->lease_pid) == process.pid;
	if (crash_file.named) {
		crash_text(crash_text(taken, crash_file.path) - (sizeof CRASH_SUFFIX - 1), CRASH_TAKEN);
		if (a && !own)
			announce(a);
	}
	bool done = alive && !own && lane_a(a, end, pid == 1);
	done = done || lane_b(a, own, end);
	done = done || (own && lane_a_own(a, end));
	if (!done && !crash_file.named)
		crash_lost(crash_file.head.signo, "it has no file in the runtime directory, and neither exporter nor helper could take it");
	end_spans(own);
	if (own && crash_export.done)
		wait_until(flushed, a, sooner(end, mono_ns() + SPANS_NS), true);
	crash_place_end();
}
