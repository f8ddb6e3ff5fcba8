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
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#define ACCEPT_NS 300000000u
#define LOCKED_NS 50000000u /* our exporter's thread in a lock: nobody will open it */
#define SPANS_NS 500000000u
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

static int helper, passed = -1; /* its pid; the descriptor that it gets */
static bool no_exec;            /* the two below write it: they run in our memory */

/* What is limited for the program's sake is not meant for the helper. */
static void raise_limits(void)
{
	static const int all[] = {RLIMIT_AS, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_STACK, RLIMIT_CPU};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		struct rlimit rl;
		if (sys6(SYS_prlimit64, 0, all[i], 0, (long)&rl, 0, 0) == 0 && rl.rlim_cur != rl.rlim_max) {
			rl.rlim_cur = rl.rlim_max;
			sys6(SYS_prlimit64, 0, all[i], (long)&rl, 0, 0, 0);
		}
	}
}

static int helper_main(void *unused)
{
	uint64_t none = 0;
	(void)unused;
	sys3(SYS_setsid, 0, 0, 0);
	raise_limits();
	if (passed > 3)
		sys3(SYS_close_range, 3, passed - 1, 0);
	sys3(SYS_close_range, passed + 1 > 3 ? passed + 1 : 3, ~0u, 0);
	/* Whoever reads the program's output must not wait for us. */
	int null = (int)sys_open("/dev/null", O_RDWR, 0);
	if (null >= 0) {
		for (int fd = 0; fd < (config.stderr_tty ? 2 : 3); fd++)
			if (fd != null && fd != passed)
				sys3(SYS_dup3, null, fd, 0);
		if (null > 2)
			sys_close(null);
	}
	if (passed >= 0)
		sys3(SYS_fcntl, passed, F_SETFD, 0);
	sys6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof none, 0, 0);
	sys3(SYS_execve, helper_path, argv, envp);
	no_exec = true;
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
	no_exec = false;
	if (!(crash_calls & CALLS_HELPER) || !crash_export.library || !crash_export.library[0] ||
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
	return helper != 0 && !no_exec;
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
		wait_until(helper_gone, NULL, end, false);
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
	return atomic_load(&left_in->crashes_done) != left_before || helper_gone();
}

/* ---- */

/* Memory of ours, to the helper. */
static void send_memory(int fd, uint64_t end)
{
	for (uint64_t at = 0, now; at < crash_file.at && (now = mono_ns()) < end;) {
		struct timespec ts = {(time_t)((end - now) / 1000000000u), (long)((end - now) % 1000000000u)};
		struct pollfd p = {fd, POLLOUT, 0};
		long n = sys6(SYS_sendto, fd, (long)(crash_file.mem + at), (long)(crash_file.at - at), MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
		if (n > 0)
			at += (uint64_t)n;
		else if (n == -EAGAIN)
			sys6(SYS_ppoll, (long)&p, 1, (long)&ts, 0, 0, 0);
		else if (n != -EINTR)
			break;
	}
}

static bool lane_b(struct arena *a, bool own, uint64_t end)
{
	static char nameless[32];
	struct crash_file *f = &crash_file;
	int pair[2] = {-1, -1};
	if (f->mem && sys6(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, (long)pair, 0, 0) != 0)
		return false;
	left_in = a;
	left_before = a ? atomic_load(&a->crashes_done) : 0;
	passed = f->named ? -1 : f->mem ? pair[0] : f->fd;
	if (!f->named)
		crash_number(crash_text(nameless, "/proc/self/fd/"), (uint64_t)passed);
	bool started = start_helper(f->named ? f->path : nameless);
	if (f->mem) {
		sys_close(pair[0]);
		if (started)
			send_memory(pair[1], end);
		sys_close(pair[1]);
	}
	if (!started)
		return false;
	helper_fd = (int)sys3(SYS_pidfd_open, helper, 0, 0);
	uint64_t now = mono_ns();
	if (a && process.black_box && end > now) { /* it leaves the exception in the arena, then sends the report */
		uint64_t left = end - now;
		wait_until(left_or_gone, a, now + (left > 2 * SPANS_NS ? left - SPANS_NS : left / 2), false);
	}
	end_spans(own);
	wait_for_helper(end);
	return !f->named || accepted();
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
