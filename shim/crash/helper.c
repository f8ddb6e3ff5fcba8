/*
 * Lane B: `remora crash-helper FILE`, exec'd from the handler, in its own session and as nobody's child here. It gets the name
 * of the file, or the record itself: a memfd, or a socket that what lies in our memory is written to.
 */
#include "crash/crash_priv.h"
#include "base/clock.h"
#include "config.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#define CHILD_STACK (32 * 1024)
#define ENV_MAX (CONFIG_ENV_MAX + 8)

static char child_stack[CHILD_STACK] __attribute__((aligned(64)));
static char helper_stack[CHILD_STACK] __attribute__((aligned(64)));
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

static void close_all(int from, unsigned to)
{
	if (sys3(SYS_close_range, from, to, 0) != -ENOSYS)
		return;
	for (int fd = from; fd < 4096 && (unsigned)fd <= to; fd++) /* before Linux 5.9 */
		sys_close(fd);
}

static int helper_main(void *unused)
{
	uint64_t none = 0;
	(void)unused;
	sys3(SYS_setsid, 0, 0, 0);
	raise_limits();
	if (passed > 3)
		close_all(3, (unsigned)passed - 1);
	close_all(passed + 1 > 3 ? passed + 1 : 3, ~0u);
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

static bool start(const char *file)
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

static int pidfd; /* tells also of one that nobody has waited for yet */

bool crash_helper_start(uint64_t end)
{
	static char nameless[32];
	struct crash_file *f = &crash_file;
	int pair[2] = {-1, -1};
	if (f->mem && sys6(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, (long)pair, 0, 0) != 0)
		return false;
	passed = f->named ? -1 : f->fd;
	if (f->mem)
		passed = pair[0];
	if (!f->named)
		crash_number(crash_text(nameless, "/proc/self/fd/"), (uint64_t)passed);
	bool started = start(f->named ? f->path : nameless);
	if (f->mem) {
		sys_close(pair[0]);
		if (started)
			send_memory(pair[1], end);
		sys_close(pair[1]);
	}
	pidfd = started ? (int)sys3(SYS_pidfd_open, helper, 0, 0) : -1;
	return started;
}

bool crash_helper_gone(void)
{
	struct pollfd p = {pidfd, POLLIN, 0};
	static const struct timespec at_once;
	if (pidfd < 0)
		return sys3(SYS_kill, helper, 0, 0) == -ESRCH;
	return sys6(SYS_ppoll, (long)&p, 1, (long)&at_once, 0, 0, 0) == 1;
}

void crash_helper_wait(uint64_t end)
{
	uint64_t now = mono_ns();
	if (pidfd < 0) {
		for (; now < end && !crash_helper_gone(); now = mono_ns()) {
			struct timespec ts = {0, 4000000};
			sys6(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
		}
	} else {
		struct pollfd p = {pidfd, POLLIN, 0};
		while (now < end) {
			struct timespec ts = {(time_t)((end - now) / 1000000000u), (long)((end - now) % 1000000000u)};
			if (sys6(SYS_ppoll, (long)&p, 1, (long)&ts, 0, 0, 0) != -EINTR)
				break;
			now = mono_ns();
		}
		sys_close(pidfd);
	}
	if (crash_self.own) /* the program lives on, and SIGCHLD may be of a child of its own */
		return;
	/* Where orphans become children of the program's, it is told after all. */
	uint64_t chld = SIG_BIT(SIGCHLD);
	static const struct timespec at_once;
	sys6(SYS_rt_sigtimedwait, (long)&chld, 0, (long)&at_once, sizeof chld, 0, 0);
}
