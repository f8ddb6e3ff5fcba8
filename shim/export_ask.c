/* What host threads ask of our thread: to send all, to stop, to be gone; and how long they wait for it. */
#include "export_thread_priv.h"
#include "base/clock.h"
#include "base/sys.h"
#include "config.h"
#include "span/process.h"
#include "span/span.h"
#include <sys/wait.h>

/* Waits until `word` differs from `seen`, or the end. */
static bool wait_word(_Atomic uint32_t *word, uint32_t seen, uint64_t end)
{
	for (;;) {
		uint64_t now = mono_ns();
		if (atomic_load(word) != seen)
			return true;
		if (now >= end)
			return false;
		struct timespec ts = {(time_t)((end - now) / 1000000000u), (long)((end - now) % 1000000000u)};
		sys_futex_wait(word, seen, &ts);
	}
}

static void ask(uint32_t what)
{
	struct arena *a = atomic_load(&process.arena);
	uint64_t end = mono_ns() + config.exit_wait_ms * 1000000ull, grace = end + 100000000u;
	if (!a)
		return;
	atomic_store(&export_thread.deadline_ns, end);
	atomic_store(&export_thread.request, what);
	arena_wake(a);
	for (;;) {
		uint32_t seen = atomic_load(&export_thread.answers);
		if (atomic_load(&export_thread_state) != THREAD_RUNNING || (what == REQUEST_FLUSH && atomic_load(&export_thread.request) == REQUEST_NONE))
			return;
		if (!wait_word(&export_thread.answers, seen, grace))
			return;
	}
}

void export_thread_ask(uint64_t end)
{
	struct arena *a = atomic_load(&process.arena);
	if (!a || atomic_load(&export_thread_state) != THREAD_RUNNING)
		return;
	atomic_store(&export_thread.recent.frozen, 0);
	atomic_store(&export_thread.deadline_ns, end);
	atomic_store(&export_thread.request, REQUEST_FLUSH);
	arena_wake(a);
}

bool export_thread_answered(void)
{
	return atomic_load(&export_thread_state) != THREAD_RUNNING || atomic_load(&export_thread.request) == REQUEST_NONE;
}

void export_thread_flush(void)
{
	if (atomic_load(&export_thread_state) == THREAD_RUNNING)
		ask(REQUEST_FLUSH);
}

void export_thread_last(void)
{
	if (atomic_load(&export_thread_state) == THREAD_RUNNING)
		ask(REQUEST_STOP);
}

void export_thread_exit(void)
{
	struct arena *a = atomic_load(&process.arena);
	span_exit();
	if (a && atomic_load(&export_thread_state) != THREAD_RUNNING && export_thread_wanted(a) && (export_thread_waiting(a) || arena_next_held(a))) {
		atomic_store(&export_thread.deadline_ns, mono_ns() + config.exit_wait_ms * 1000000ull);
		atomic_store(&export_thread.request, REQUEST_STOP);
		if (!export_thread_start())
			atomic_store(&export_thread.request, REQUEST_NONE);
	}
	export_thread_last();
}

/*
 * Until the kernel has forgotten it: right after its last word it still counts. A tid is gone a moment before what threads
 * share is given up (1 unshare of 500 still failed), but under one lock: waitid, which here takes nothing, waits for that.
 */
static void wait_gone(void)
{
	int tid = atomic_load(&export_thread.tid);
	for (int i = 0; tid && i < 20000; i++) {
		struct timespec ts = {0, 50000};
		if (sys3(SYS_tgkill, process.pid, tid, 0) < 0)
			break;
		sys6(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
	}
	if (tid)
		sys6(SYS_waitid, P_ALL, 0, 0, WEXITED | WNOHANG | WNOWAIT, 0, 0);
	atomic_store(&export_thread.tid, 0);
}

void export_thread_end(void)
{
	if (atomic_load(&export_thread_state) == THREAD_RUNNING)
		ask(REQUEST_PAUSE);
	if (atomic_load(&export_thread_state) != THREAD_RUNNING)
		wait_gone();
}

void export_thread_never(void)
{
	uint32_t none = THREAD_NONE;
	export_thread_end();
	if (!atomic_compare_exchange_strong(&export_thread_state, &none, THREAD_NEVER) && none == THREAD_RUNNING)
		atomic_store(&export_thread.request, REQUEST_STOP); /* it did not make it in time; it ends as soon as it can */
}

void export_thread_prepare(void)
{
	struct arena *a = atomic_load(&process.arena);
	if (export_thread.prepared || (atomic_load(&export_thread_state) != THREAD_RUNNING && (!export_thread_wanted(a) || !export_thread_start())))
		return;
	export_thread.prepared = true; /* perhaps begun a moment ago: then it has yet to load */
	uint64_t end = mono_ns() + 2000000000u;
	for (uint32_t seen; (seen = atomic_load(&export_thread.leaves)) < 2;)
		if (!wait_word(&export_thread.leaves, seen, end))
			return;
}
