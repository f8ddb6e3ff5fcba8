/*
 * The file is durable: now somebody is to send it, and we wait for that, bounded.
 *
 *	A   the tree's exporter, if it lives in another process: told by the arena's word `crashes`, it takes the file by
 *	    renaming it (or unlinks it)
 *	B   the helper: `remora crash-helper FILE`, exec'd from here
 *	A'  our own exporter's thread, where B is not possible: the threads that we have parked, and the crashed one, may hold
 *	    locks that it needs
 *	C   the file stays for the next start
 */
#include "crash/crash_priv.h"
#include "base/clock.h"
#include "config.h"
#include "span/process.h"
#include "span/span.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#define ACCEPT_NS 300000000u
#define CHILD_STACK (32 * 1024)
#define ENV_MAX (CONFIG_ENV_MAX + 8)

static char child_stack[CHILD_STACK] __attribute__((aligned(64)));
static char helper_stack[CHILD_STACK] __attribute__((aligned(64)));
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

/* Until `f` is true; looks again when the exporter bumps the word, or every few milliseconds. */
static bool wait_until(bool (*f)(void), struct arena *a, uint64_t end)
{
	static _Atomic uint32_t nothing;
	_Atomic uint32_t *word = a ? &a->crashes_done : &nothing;
	for (;;) {
		uint32_t seen = atomic_load(word);
		uint64_t now = mono_ns();
		if (f())
			return true;
		if (now >= end)
			return false;
		struct timespec ts = {0, 4000000};
		sys_futex_wait(word, seen, &ts);
	}
}

/* ---- the helper ---- */

static char helper_path[PATH_MAX];
static const char *argv[4];
static const char *envp[ENV_MAX];

static bool beside(const char *library, const char *name)
{
	const char *slash = strrchr(library, '/');
	size_t n = slash ? (size_t)(slash + 1 - library) : 0;
	if (!n || n + strlen(name) + 1 > sizeof helper_path)
		return false;
	memcpy(helper_path, library, n);
	crash_text(helper_path + n, name);
	return sys6(SYS_faccessat, AT_FDCWD, (long)helper_path, 1 /* X_OK */, 0, 0, 0) == 0;
}

static int helper;

static int helper_main(void *unused)
{
	uint64_t none = 0;
	(void)unused;
	sys3(SYS_setsid, 0, 0, 0);
	int keep = crash_file.named ? 2 : crash_file.fd;
	if (keep > 3)
		sys3(SYS_close_range, 3, keep - 1, 0);
	sys3(SYS_close_range, keep + 1 > 3 ? keep + 1 : 3, ~0u, 0);
	/* Whoever reads the program's output must not wait for us. */
	int null = (int)sys_open("/dev/null", O_RDWR, 0);
	if (null >= 0) {
		for (int fd = 0; fd < (config.stderr_tty ? 2 : 3); fd++)
			if (fd != null && !(fd == crash_file.fd && !crash_file.named))
				sys3(SYS_dup3, null, fd, 0);
		if (null > 2)
			sys_close(null);
	}
	sys6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof none, 0, 0);
	sys3(SYS_execve, helper_path, argv, envp);
	return 127;
}

/*
 * Between: it ends at once, so that the helper is no child of the program's, which would get SIGCHLD for it (exec brings
 * that back, whatever clone said).
 */
static int between(void *unused)
{
	(void)unused;
	long pid = crash_clone(CLONE_VM | CLONE_VFORK, helper_stack + CHILD_STACK, helper_main, NULL);
	helper = pid > 0 ? (int)pid : 0;
	return 0;
}

static bool start_helper(const char *file)
{
	unsigned n = 0;
	helper = 0;
	if (!crash_export.library || !crash_export.library[0] ||
	    !(beside(crash_export.library, "remora") || beside(crash_export.library, "../../bin/remora")))
		return false;
	argv[0] = "remora";
	argv[1] = "crash-helper";
	argv[2] = file;
	argv[3] = NULL;
	for (unsigned i = 0; config.env[i] && n < ENV_MAX - 3; i++)
		envp[n++] = config.env[i];
	envp[n++] = "PATH=/usr/local/bin:/usr/bin:/bin";
	envp[n++] = "LC_ALL=C.UTF-8";
	envp[n] = NULL;
	int status;
	long pid = crash_clone(CLONE_VM | CLONE_VFORK, child_stack + CHILD_STACK, between, NULL);
	if (pid > 0)
		sys6(SYS_wait4, pid, (long)&status, __WALL, 0, 0, 0);
	return helper != 0;
}

static int helper_fd; /* pidfd; tells also of one that nobody has waited for yet */

static bool helper_gone(void)
{
	struct pollfd p = {helper_fd, POLLIN, 0};
	static const struct timespec at_once;
	if (helper_fd < 0)
		return sys3(SYS_kill, helper, 0, 0) == -ESRCH;
	return sys6(SYS_ppoll, (long)&p, 1, (long)&at_once, 0, 0, 0) == 1;
}

static void wait_for_helper(uint64_t end)
{
	uint64_t now = mono_ns();
	int fd = helper_fd;
	if (fd < 0) {
		wait_until(helper_gone, NULL, end);
	} else {
		struct pollfd p = {fd, POLLIN, 0};
		while (now < end) {
			struct timespec ts = {(time_t)((end - now) / 1000000000u), (long)((end - now) % 1000000000u)};
			if (sys6(SYS_ppoll, (long)&p, 1, (long)&ts, 0, 0, 0) != -EINTR)
				break;
			now = mono_ns();
		}
		sys_close(fd);
	}
	/* Where orphans become children of the program's, it is told after all. */
	uint64_t chld = SIG_BIT(SIGCHLD);
	static const struct timespec at_once;
	sys6(SYS_rt_sigtimedwait, (long)&chld, 0, (long)&at_once, sizeof chld, 0, 0);
}

static bool flushed(void)
{
	return crash_export.done();
}

/* ---- the spans ---- */

#define FLUSH_NS 500000000u

static bool spans_end; /* they are yet to be ended */

/* When whoever makes the report has had a chance to say what they end by. */
static void end_spans(bool own)
{
	if (!spans_end)
		return;
	spans_end = false;
	span_crashed(crash_file.head.signo);
	if (own && crash_export.ask)
		crash_export.ask(mono_ns() + FLUSH_NS);
}

static struct arena *left_in;
static uint32_t left_before;

static bool left_or_gone(void)
{
	return atomic_load(&left_in->crashes_done) != left_before || helper_gone();
}

/* ---- */

static bool lane_b(struct arena *a, bool own, uint64_t end)
{
	left_in = a;
	left_before = a ? atomic_load(&a->crashes_done) : 0;
	if (!start_helper(crash_file.path))
		return false;
	helper_fd = (int)sys3(SYS_pidfd_open, helper, 0, 0);
	uint64_t now = mono_ns();
	if (a && process.black_box && end > now) { /* it leaves the exception in the arena, then sends the report */
		uint64_t left = end - now;
		wait_until(left_or_gone, a, now + (left > 2 * FLUSH_NS ? left - FLUSH_NS : left / 2));
	}
	end_spans(own);
	wait_for_helper(end);
	return !crash_file.named || accepted();
}

static void announce(struct arena *a)
{
	if (!crash_file.named)
		return;
	atomic_fetch_add(&a->crashes, 1);
	arena_wake(a);
}

void crash_deliver(void)
{
	uint64_t start = mono_ns(), end = start + config.crash_wait_ms * 1000000ull;
	int pid = sys_getpid();
	bool first = pid == 1; /* with us die all others of the namespace */
	bool in_child = pid != process.pid;
	if (first && !config.crash_wait_set)
		end = start + 10000000000u;
	spans_end = !in_child;
	struct arena *a = in_child ? NULL : process_arena_found();
	bool alive = a && arena_lease_alive(a);
	bool own = alive && atomic_load(&a->lease_pid) == process.pid;
	crash_text(crash_text(taken, crash_file.path) - (sizeof CRASH_SUFFIX - 1), CRASH_TAKEN);
	if (a && !own)
		announce(a);
	uint64_t accept = start + ACCEPT_NS < end ? start + ACCEPT_NS : end;
	bool done = false;
	if (alive && !own && crash_file.named && wait_until(accepted, a, accept)) {
		end_spans(false); /* it reads no record before it has read the file */
		done = !first || wait_until(sent, a, end);
	}
	if (!done)
		done = lane_b(a, own, end);
	if (!done && own && crash_file.named) {
		announce(a);
		accept = mono_ns() + ACCEPT_NS;
		if (wait_until(accepted, a, accept < end ? accept : end))
			wait_until(sent, a, end);
	}
	end_spans(own);
	if (own && crash_export.done)
		wait_until(flushed, a, end < mono_ns() + FLUSH_NS ? end : mono_ns() + FLUSH_NS);
}
