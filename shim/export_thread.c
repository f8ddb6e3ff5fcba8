#include "export_thread_priv.h"
#include "base/hot.h"
#include "base/clock.h"
#include "config.h"
#include "base/sys.h"
#include "base/stderr.h"
#include "crash/crash.h"
#include "hooks/elf_next.h"
#include "hooks/guard.h"
#include "hooks/real.h"
#include "span/process.h"
#include "span/span.h"
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif

#define STACK (512 * 1024)
#define SLOTS_AT_START 4096
#define PARK_NS 500000000u   /* a fork waits so long for us to stand aside */
#define LATE_NS 1000000000u  /* records may wait so long for a safe place */
#define RETRY_NS 1000000000u /* after a thread could not be made */

/* glibc before 2.34 has these in libdl, which a program need not load. */
#pragma weak dladdr
#pragma weak dlsym
#pragma weak dlerror

/* pthread_atfork stands in libpthread on old systems; what it calls is in libc everywhere. */
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);
extern int __cxa_at_quick_exit(void (*f)(void *), void *dso);
extern void *__dso_handle __attribute__((visibility("hidden")));

enum { OWN_TIME = 1,
	   FORK = 2 /* times the forks under way */ };

_Atomic uint32_t export_thread_state;
struct export_thread export_thread;
static _Atomic uint32_t run;
static _Atomic uint64_t retry_ns, waiting_ns;
static uint64_t start_mask;     /* of the constructor's thread: whoever has the same one is in no signal handler */
static _Atomic uint32_t parked; /* in a forking process: was the fork waited for? */
static _Atomic bool at_fork;
static bool own_files; /* it has an fd table of its own */
static int (*entry)(const struct export_host *);
static char library[PATH_MAX];

/* ---- its side ---- */

static void run_enter(void)
{
	uint32_t v = atomic_load(&run);
	for (;;) {
		if (v >= FORK)
			sys_futex_wait(&run, v, NULL);
		else if (atomic_compare_exchange_strong(&run, &v, v | OWN_TIME))
			return;
		v = atomic_load(&run);
	}
}

static void run_leave(void)
{
	if (atomic_fetch_and(&run, ~(uint32_t)OWN_TIME) >= FORK)
		sys_futex_wake(&run, INT_MAX);
	if (atomic_load(&export_thread.leaves) < 2 && atomic_fetch_add(&export_thread.leaves, 1) == 1)
		sys_futex_wake(&export_thread.leaves, INT_MAX);
}

static void answer(void)
{
	atomic_fetch_add(&export_thread.answers, 1);
	sys_futex_wake(&export_thread.answers, INT_MAX);
}

static void flushed(void)
{
	uint32_t flush = REQUEST_FLUSH;
	atomic_compare_exchange_strong(&export_thread.request, &flush, REQUEST_NONE);
	answer();
}

static bool busy(void)
{
	return atomic_load(&process.connections) > 0;
}

static bool write_stderr(const char *text, size_t n)
{
	return stderr_write(text, n, own_files);
}

/* Taken before the library is loaded, then handed over. Our thread's own. */
static bool lease_held, lease_takeover;

static bool lease_try(struct arena *a, bool *takeover)
{
	if (!lease_held)
		return arena_lease_try(a, takeover);
	lease_held = false;
	*takeover = lease_takeover;
	return true;
}

static struct export_host host = {
	.version = EXPORT_ABI,
	.env = config.env,
	.program = config.exe,
	.agent = "remora/0.1.0",
	.busy = busy,
	.run_enter = run_enter,
	.run_leave = run_leave,
	.request = &export_thread.request,
	.deadline_ns = &export_thread.deadline_ns,
	.flushed = flushed,
	.lease_try = lease_try,
	.lease_release = arena_lease_release,
	.stderr_write = write_stderr,
	.recent = &export_thread.recent,
};

/* Loading is one step that a fork waits out: the loader's lock must not be copied while it is held. */
static bool load(void)
{
	if (entry)
		return true;
	void *lib = REAL(dlopen)(library, RTLD_NOW | RTLD_LOCAL);
	if (lib)
		entry = (int (*)(const struct export_host *))(uintptr_t)dlsym(lib, "remora_export_main");
	if (entry)
		return true;
	const char *why = dlerror ? dlerror() : NULL;
	char line[768] = "remora: nothing is exported, for ";
	size_t n = strlen(line);
	for (const char *p = why ? why : library; *p && n < sizeof line - 1; p++)
		line[n++] = *p;
	line[n++] = '\n';
	if (config.log_level >= LOG_ERROR)
		write_stderr(line, n);
	return false;
}

static void *thread_main(void *arg)
{
	(void)arg;
	struct thread *t = &thread_self;
	t->guard = GUARD_LIFE;
	atomic_store(&export_thread.tid, sys_gettid());
	sys3(SYS_prctl, PR_SET_NAME, "remora", 0);
	/*
	 * An fd table of its own: the program's closefrom cannot take our sockets, none of ours stands where it expects
	 * the lowest free number, a forked child inherits none. Under a seccomp filter the usual calls must do.
	 */
	own_files = sys3(SYS_prctl, PR_GET_SECCOMP, 0, 0) == 0 &&
	            sys3(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) == 0;
	/* The starter has put us into our own time. */
	lease_held = arena_lease_try(host.arena, &lease_takeover);
	/* A busy server fills the first slots while the library is loaded. */
	while (lease_held && arena_slots(host.arena) < (config.lines ? 2 : 1) * SLOTS_AT_START && arena_grow(host.arena))
		;
	bool good = lease_held && load();
	run_leave();
	int why = lease_held ? EXPORT_UNFIT : EXPORT_NO_LEASE;
	if (good && !crash_own_run((int (*)(const void *))(void (*)(void))entry, &host, &why)) {
		static const char line[] = "remora: the exporter's thread has crashed and is gone; nothing more is exported from here; "
								   "see: remora crashes\n";
		run_leave();
		why = EXPORT_UNFIT;
		if (config.log_level >= LOG_ERROR)
			write_stderr(line, sizeof line - 1);
	}
	if (lease_held) /* nobody took it over from us */
		arena_lease_release(host.arena);
	lease_held = false;
	atomic_store(&export_thread.leaves, 2);
	sys_futex_wake(&export_thread.leaves, INT_MAX);
	atomic_store(&export_thread.request, REQUEST_NONE);
	atomic_store(&export_thread_state, why == EXPORT_UNFIT ? THREAD_NEVER : THREAD_NONE);
	answer();
	return NULL;
}

/* ---- fork ---- */

static void before_fork(void)
{
	atomic_store(&parked, 1);
	if (thread_self.guard == GUARD_LIFE)
		return;
	atomic_fetch_add(&run, FORK);
	if (atomic_load(&export_thread_state) != THREAD_RUNNING)
		return;
	uint64_t end = mono_ns() + PARK_NS * (entry ? 1 : 10);
	for (;;) {
		uint32_t v = atomic_load(&run);
		if (!(v & OWN_TIME))
			return;
		uint64_t now = mono_ns();
		if (now >= end)
			break;
		struct timespec ts = {(time_t)((end - now) / 1000000000u), (long)((end - now) % 1000000000u)};
		sys_futex_wait(&run, v, &ts);
	}
	atomic_store(&parked, 0);
}

static void after_fork_parent(void)
{
	if (thread_self.guard == GUARD_LIFE)
		return;
	atomic_fetch_sub(&run, FORK);
	sys_futex_wake(&run, INT_MAX);
}

static void after_fork_child(void)
{
	if (process.pid != sys_getpid())
		process_forked();
}

void export_thread_forked(void)
{
	/* Libraries copied in mid-operation cannot be used again, nor loaded twice. */
	bool usable = atomic_load(&export_thread_state) != THREAD_RUNNING || atomic_load(&parked);
	if (atomic_load(&export_thread_state) != THREAD_NEVER)
		atomic_store(&export_thread_state, usable ? THREAD_NONE : THREAD_NEVER);
	atomic_store(&parked, 0);
	atomic_store(&run, 0);
	atomic_store(&export_thread.request, REQUEST_NONE);
	atomic_store(&export_thread.tid, 0);
	atomic_store(&export_thread.leaves, 0);
	atomic_store(&export_thread.recent.size, 0);
	atomic_store(&export_thread.recent.frozen, 0);
	export_thread.prepared = false;
	span_forked();
}

/* ---- starting ---- */

/* glibc before 2.34 has them in libpthread; a program without it has one thread, and we have none. */
static struct {
	__typeof__(&pthread_create) create;
	__typeof__(&pthread_attr_init) attr_init;
	__typeof__(&pthread_attr_destroy) attr_destroy;
	__typeof__(&pthread_attr_setstacksize) attr_setstacksize;
	__typeof__(&pthread_attr_setdetachstate) attr_setdetachstate;
} threads;

static bool threads_found(void)
{
	if (!threads.create) {
		threads.attr_init = (__typeof__(threads.attr_init))real_find("pthread_attr_init");
		threads.attr_destroy = (__typeof__(threads.attr_destroy))real_find("pthread_attr_destroy");
		threads.attr_setstacksize = (__typeof__(threads.attr_setstacksize))real_find("pthread_attr_setstacksize");
		threads.attr_setdetachstate = (__typeof__(threads.attr_setdetachstate))real_find("pthread_attr_setdetachstate");
		threads.create = (__typeof__(threads.create))real_find("pthread_create");
	}
	return threads.create && threads.attr_init && threads.attr_destroy && threads.attr_setstacksize &&
	       threads.attr_setdetachstate;
}

static void quick_exit_begins(void *arg)
{
	struct thread *t = &thread_self;
	(void)arg;
	if (atomic_load(&process.active) && enter(t)) {
		export_thread_exit();
		leave(t);
	}
}

bool export_thread_start(void)
{
	struct arena *a = process_arena();
	uint32_t none = THREAD_NONE;
	uint64_t now = mono_ns(), all = ~0ull, mask;
	if (!a || !dlsym || !threads_found() || !library[0] || now < atomic_load(&retry_ns))
		return false;
	if (!atomic_compare_exchange_strong(&export_thread_state, &none, THREAD_RUNNING))
		return none == THREAD_RUNNING;
	if (!atomic_exchange(&at_fork, true)) {
		__register_atfork(before_fork, after_fork_parent, after_fork_child, &__dso_handle);
		__cxa_at_quick_exit(quick_exit_begins, &__dso_handle);
	}
	host.arena = a;
	host.dir = process.black_box ? process.dir : "";
	host.stderr_tty = config.stderr_tty;
	host.log_level = config.log_level;
	atomic_store(&export_thread.leaves, 0);
	run_enter();

	pthread_attr_t attr;
	pthread_t thread;
	threads.attr_init(&attr);
	threads.attr_setstacksize(&attr, STACK);
	threads.attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* All signals but glibc's own two (32 and 33, for cancellation and set*id). */
	all &= ~(3ull << 31);
	sys6(SYS_rt_sigprocmask, SIG_BLOCK, (long)&all, (long)&mask, 8, 0, 0);
	int r = threads.create(&thread, &attr, thread_main, NULL);
	sys6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, 8, 0, 0);
	threads.attr_destroy(&attr);
	if (r == 0)
		return true;
	run_leave();
	atomic_store(&retry_ns, now + RETRY_NS);
	atomic_store(&export_thread_state, THREAD_NONE);
	return false;
}

bool export_thread_wanted(const struct arena *a)
{
	return a && atomic_load_explicit(&export_thread_state, memory_order_relaxed) == THREAD_NONE && !arena_lease_alive(a);
}

bool export_thread_waiting(const struct arena *a)
{
	/* Marked by the kernel: the last exporter died, and may have had records in hand. */
	return arena_pending(a) ||
	       (atomic_load_explicit(&a->lease, memory_order_relaxed) & FUTEX_OWNER_DIED);
}

static uint64_t signal_mask(void)
{
	uint64_t mask = 0;
	sys6(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&mask, 8, 0, 0);
	return mask;
}

void export_thread_poke(void)
{
	struct thread *t = &thread_self;
	struct arena *a = atomic_load_explicit(&process.arena, memory_order_acquire);
	if (!t->sigmask_known && busy() && atomic_load_explicit(&export_thread_state, memory_order_relaxed) == THREAD_NONE) {
		t->sigmask = signal_mask();
		t->sigmask_known = true;
	}
	if (export_thread_wanted(a) && (busy() || export_thread_waiting(a)))
		export_thread_start();
}

/* What waits takes a good part of the memory: soon there is room for no more. */
static bool crowded(const struct arena *a)
{
	return arena_pending(a) > arena_slots(a) / 4;
}

HOT void export_thread_poke_late(void)
{
	struct arena *a = atomic_load_explicit(&process.arena, memory_order_acquire);
	if (!export_thread_wanted(a) || !export_thread_waiting(a))
		return;
	uint64_t now = mono_ns(), since = atomic_load(&waiting_ns);
	if ((!since || now - since > 30 * LATE_NS) && !crowded(a)) {
		atomic_store(&waiting_ns, now);
	} else if ((now - since > LATE_NS || crowded(a)) && thread_self.sigmask_known && signal_mask() == thread_self.sigmask) {
		/* A handler has its signal blocked, so this is none. */
		atomic_store(&waiting_ns, 0);
		export_thread_start();
	}
}

void export_thread_poke_made(void)
{
	struct arena *a = atomic_load_explicit(&process.arena, memory_order_acquire);
	if (!export_thread_wanted(a) || !export_thread_waiting(a))
		return;
	uint64_t now = mono_ns(), since = atomic_load(&waiting_ns);
	if (!since || now - since > 30 * LATE_NS) {
		atomic_store(&waiting_ns, now);
	} else if (now - since > LATE_NS) {
		atomic_store(&waiting_ns, 0);
		export_thread_start();
	}
}

void export_thread_poke_text(int fd)
{
	struct arena *a = atomic_load_explicit(&process.arena, memory_order_acquire);
	if (fd == 1 && export_thread_wanted(a) && export_thread_waiting(a) && signal_mask() == (thread_self.sigmask_known ? thread_self.sigmask : start_mask))
		export_thread_start();
}

/* ---- told ---- */

const char *export_thread_library(void)
{
	return library;
}

int export_thread_tid(void)
{
	return atomic_load(&export_thread_state) == THREAD_RUNNING ? atomic_load(&export_thread.tid) : 0;
}

uint64_t export_thread_recent(uint64_t *size)
{
	*size = atomic_load(&export_thread.recent.size);
	return atomic_load(&export_thread.recent.at);
}

void export_thread_freeze(void)
{
	atomic_store(&export_thread.recent.frozen, 1);
}

void export_thread_init(void)
{
	static const char name[] = "libremora-export.so";
	Dl_info info;
	start_mask = signal_mask();
	const char *path = dladdr && dladdr((void *)export_thread_init, &info) ? info.dli_fname : elf_own_path();
	if (!path)
		return;
	size_t n = 0, len;
	if (path[0] != '/') {
		long r = sys3(SYS_getcwd, library, sizeof library, 0);
		if (r <= 1)
			return;
		n = (size_t)r - 1;
		library[n++] = '/';
	}
	const char *slash = strrchr(path, '/');
	len = slash ? (size_t)(slash + 1 - path) : 0;
	if (n + len + sizeof name > sizeof library) {
		library[0] = 0;
		return;
	}
	memcpy(library + n, path, len);
	memcpy(library + n + len, name, sizeof name);
}
