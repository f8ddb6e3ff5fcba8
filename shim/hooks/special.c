/* Hooks that a line of hooks.def cannot say: variable arguments, two fds, processes. */
#include "config.h"
#include "base/sys.h"
#include "conn/inject.h"
#include "conn/observe.h"
#include "crash/crash.h"
#include "export_thread.h"
#include "hooks/guard.h"
#include "hooks/hooks.h"
#include "hooks/real.h"
#include <alloca.h>
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>

#define EXPORT __attribute__((visibility("default")))
#define SPECIAL(ret, name, params) EXPORT ret name params;
#define RX(...)
#define OUT(...)
#define TX(...)
#define AFTER(...)
#define CLOSE(...)
#define POLL(...)
#define PAUSE(...)
#pragma GCC diagnostic ignored "-Wredundant-decls"
#undef _exit
#include "hooks/hooks.def"

static inline bool active(void)
{
	return atomic_load_explicit(&process.active, memory_order_relaxed);
}

#define INSIDE(call)                         \
	do {                                     \
		int e_ = errno;                      \
		struct thread *self_ = &thread_self; \
		if (active() && enter(self_)) {      \
			call;                            \
			leave(self_);                    \
		}                                    \
		errno = e_;                          \
	} while (0)

/* ---- sockets and fds ---- */

static int connect_with(real_connect_t real, int fd, CONST_SOCKADDR_ARG to, socklen_t n)
{
	bool ours = false;
	INSIDE(ours = on_connect(fd, to.__sockaddr__, n));
	int r = real(fd, to, n), err = errno;
	if (ours)
		INSIDE(on_connected(fd, r, err); export_thread_poke());
	return r;
}

EXPORT int connect(int fd, CONST_SOCKADDR_ARG to, socklen_t n)
{
	return connect_with(REAL(connect), fd, to, n);
}

EXPORT int __connect(int fd, CONST_SOCKADDR_ARG to, socklen_t n)
{
	return connect_with((real_connect_t)REAL(__connect), fd, to, n);
}

EXPORT ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t n, unsigned flags)
{
	ssize_t r = REAL(splice)(from, from_at, to, to_at, n, flags);
	int err = errno;
	if (watched(from))
		INSIDE(on_rx_unseen(from, r, err));
	if (watched(to))
		INSIDE(on_tx_unseen(to, r, err));
	return r;
}

EXPORT int dup2(int from, int to)
{
	uintptr_t old = FD_UNKNOWN;
	bool swap = false;
	if (from != to)
		INSIDE(swap = true; old = on_replace(to));
	int r = REAL(dup2)(from, to);
	if (swap)
		INSIDE(on_replaced(from, to, old, r >= 0));
	return r;
}

EXPORT int dup3(int from, int to, int flags)
{
	uintptr_t old = FD_UNKNOWN;
	bool swap = false;
	if (from != to)
		INSIDE(swap = true; old = on_replace(to));
	int r = REAL(dup3)(from, to, flags);
	if (swap)
		INSIDE(on_replaced(from, to, old, r >= 0));
	return r;
}

/* Every command takes at most one argument of a register's size. */
#define FCNTL(name)                                               \
	EXPORT int name(int fd, int cmd, ...)                         \
	{                                                             \
		va_list ap;                                               \
		va_start(ap, cmd);                                        \
		void *arg = va_arg(ap, void *);                           \
		va_end(ap);                                               \
		int r = REAL(name)(fd, cmd, arg);                         \
		if (r >= 0 && (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)) \
			INSIDE(on_dup(fd, r));                                \
		return r;                                                 \
	}
FCNTL(fcntl)
FCNTL(fcntl64)

/* ---- processes ---- */

EXPORT pid_t fork(void)
{
	pid_t r = REAL(fork)();
	if (r == 0 && active() && !process_in_vfork_child(&thread_self) && process.pid != sys_getpid())
		process_forked(); /* kernels without MADV_WIPEONFORK, and no fork handler yet */
	return r;
}

EXPORT pid_t _Fork(void)
{
	if (real_table[REAL__Fork] == NULL)
		real_lookup(REAL__Fork);
	pid_t r = REAL(_Fork)();
	if (r == 0 && active())
		process_forked(); /* nobody was asked to stand aside: this process never exports */
	return r;
}

/* For tail.S: what to do before the call, and where to jump. */
__attribute__((visibility("hidden"))) void *hooks_vfork(void);
void *hooks_vfork(void)
{
	if (active())
		thread_self.in_vfork = true;
	return (void *)REAL(vfork);
}

__attribute__((visibility("hidden"))) void *hooks_clone(int flags);
void *hooks_clone(int flags)
{
	if (active() && (flags & CLONE_VM) && !(flags & CLONE_THREAD))
		thread_self.in_vfork = true;
	return (void *)REAL(clone);
}

__attribute__((visibility("hidden"))) void *hooks_dlopen(int *mode);
void *hooks_dlopen(int *mode)
{
	/* PHP loads its extensions with it; they would bind past us. */
	if (active() && !thread_self.guard)
		*mode &= ~RTLD_DEEPBIND;
	return (void *)REAL(dlopen);
}

__attribute__((visibility("hidden"))) void *hooks_dlclose(void *lib);
void *hooks_dlclose(void *lib)
{
	if (active() && crash_on())
		crash_module_closes(lib);
	return (void *)REAL(dlclose);
}

/* program: struct sock_fprog; NULL = strict mode. */
static void before_filter(const void *program)
{
	INSIDE(export_thread_never());
	/* What the filter admits is unknown, and one call too many is the program's death. */
	if (!thread_self.guard && !process_in_vfork_child(&thread_self))
		atomic_store(&process.active, false);
	if (!thread_self.guard && crash_on() && !process_in_vfork_child(&thread_self) && !(program && crash_filter_admits(program)))
		crash_end();
}

static bool wants_one_thread(unsigned long flags)
{
	return flags & (CLONE_NEWUSER | CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | 0x00000080 /* CLONE_NEWTIME */);
}

__attribute__((visibility("hidden"))) void *hooks_syscall(long n, long a, long b, long c);
void *hooks_syscall(long n, long a, long b, long c)
{
	switch (n) {
	case SYS_close: /* libuv */
		hooks_close((int)a);
		break;
	case SYS_close_range:
		hooks_close_range((unsigned)a, (unsigned)b, (int)c);
		break;
	case SYS_prctl:
		if (a == PR_SET_SECCOMP)
			before_filter(b == SECCOMP_MODE_FILTER ? (const void *)c : NULL);
		break;
	case SYS_seccomp:
		if (a == SECCOMP_SET_MODE_STRICT || a == SECCOMP_SET_MODE_FILTER)
			before_filter(a == SECCOMP_SET_MODE_FILTER ? (const void *)c : NULL);
		break;
	case SYS_unshare:
		if (wants_one_thread((unsigned long)a))
			INSIDE(export_thread_end());
		break;
	case SYS_setns:
		INSIDE(export_thread_end());
		break;
	case SYS_exit_group:
		INSIDE(export_thread_last());
		break;
#ifdef SYS_vfork
	case SYS_vfork:
		hooks_vfork();
		break;
#endif
	}
	return (void *)REAL(syscall);
}

EXPORT int prctl(int option, ...)
{
	va_list ap;
	unsigned long a[4];
	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (option == PR_SET_SECCOMP)
		before_filter(a[0] == SECCOMP_MODE_FILTER ? (const void *)a[1] : NULL);
	return REAL(prctl)(option, a[0], a[1], a[2], a[3]);
}

EXPORT int unshare(int flags)
{
	if (wants_one_thread((unsigned)flags))
		INSIDE(export_thread_end());
	return REAL(unshare)(flags);
}

EXPORT int setns(int fd, int type)
{
	INSIDE(export_thread_end());
	return REAL(setns)(fd, type);
}

EXPORT int chroot(const char *path)
{
	INSIDE(export_thread_prepare());
	return REAL(chroot)(path);
}

/* Keys that only the present user can read. */
#define SET_ID(name, params, args)           \
	EXPORT int name params                   \
	{                                        \
		if (config.private_files)            \
			INSIDE(export_thread_prepare()); \
		return REAL(name) args;              \
	}
SET_ID(setuid, (uid_t id), (id))
SET_ID(setgid, (gid_t id), (id))
SET_ID(seteuid, (uid_t id), (id))
SET_ID(setegid, (gid_t id), (id))
SET_ID(setreuid, (uid_t r, uid_t e), (r, e))
SET_ID(setregid, (gid_t r, gid_t e), (r, e))
SET_ID(setresuid, (uid_t r, uid_t e, uid_t s), (r, e, s))
SET_ID(setresgid, (gid_t r, gid_t e, gid_t s), (r, e, s))

EXPORT void _exit(int status)
{
	INSIDE(export_thread_last());
	REAL(_exit)
	(status);
	for (;;)
		sys3(SYS_exit_group, status, 0, 0);
}

EXPORT void _Exit(int status)
{
	INSIDE(export_thread_last());
	REAL(_Exit)
	(status);
	for (;;)
		sys3(SYS_exit_group, status, 0, 0);
}

/* ---- exec: an open request is told to the child as TRACEPARENT ---- */

#define ENV_MAX 2000 /* pointers copied to the stack; larger environments are left alone */
#define TP_NAME "TRACEPARENT="
#define TP_SIZE (sizeof TP_NAME + TRACEPARENT_LEN)

static size_t env_count(char *const envp[])
{
	size_t n = 0;
	while (n <= ENV_MAX && envp[n])
		n++;
	return n;
}

/* Fills text; false: leave the environment as it is. Also in a vfork child: reads only. */
static bool child_context(char *const envp[], size_t n, char text[TP_SIZE])
{
	struct trace_ctx c;
	if (!active() || thread_self.guard || !envp || n > ENV_MAX || !span_child_env(&c))
		return false;
	const char *mine = config_get("TRACEPARENT");
	for (size_t i = 0; i < n; i++) {
		if (strncmp(envp[i], TP_NAME, sizeof TP_NAME - 1) == 0 &&
		    (!mine || strcmp(envp[i] + sizeof TP_NAME - 1, mine) != 0))
			return false; /* the program says it itself */
	}
	memcpy(text, TP_NAME, sizeof TP_NAME - 1);
	traceparent_format(&c, text + sizeof TP_NAME - 1);
	text[TP_SIZE - 1] = 0;
	return true;
}

static void put_context(char *const envp[], size_t n, char *text, char **out)
{
	size_t k = 0;
	out[k++] = text;
	for (size_t i = 0; i < n; i++)
		if (strncmp(envp[i], TP_NAME, sizeof TP_NAME - 1) != 0)
			out[k++] = envp[i];
	out[k] = NULL;
}

/* `env` becomes the environment to use. The memory must live until the call: the caller's frame. */
#define WITH_CONTEXT(env)                                \
	char text_[TP_SIZE];                                 \
	size_t n_ = (env) ? env_count(env) : 0;              \
	if (child_context(env, n_, text_)) {                 \
		char **out_ = alloca((n_ + 2) * sizeof(char *)); \
		put_context(env, n_, text_, out_);               \
		env = out_;                                      \
	}

static void before_exec(void)
{
	INSIDE(export_thread_flush());
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	before_exec();
	WITH_CONTEXT(envp)
	return REAL(execve)(path, argv, envp);
}

EXPORT int execv(const char *path, char *const argv[])
{
	char *const *env = environ;
	before_exec();
	WITH_CONTEXT(env)
	return REAL(execve)(path, argv, env);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	before_exec();
	WITH_CONTEXT(envp)
	return REAL(execvpe)(file, argv, envp);
}

EXPORT int execvp(const char *file, char *const argv[])
{
	char *const *env = environ;
	before_exec();
	WITH_CONTEXT(env)
	return REAL(execvpe)(file, argv, env);
}

/* The list of arguments as an array on the stack; glibc does the same. */
#define ARGUMENTS(ap, first)                            \
	size_t argc_ = 1;                                   \
	va_start(ap, first);                                \
	while (va_arg(ap, const char *))                    \
		argc_++;                                        \
	va_end(ap);                                         \
	char **argv = alloca((argc_ + 1) * sizeof(char *)); \
	argv[0] = (char *)(uintptr_t)(first);               \
	va_start(ap, first);                                \
	for (size_t i_ = 1; i_ <= argc_; i_++)              \
		argv[i_] = va_arg(ap, char *);

EXPORT int execl(const char *path, const char *arg, ...)
{
	va_list ap;
	ARGUMENTS(ap, arg)
	va_end(ap);
	return execv(path, argv);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	va_list ap;
	ARGUMENTS(ap, arg)
	va_end(ap);
	return execvp(file, argv);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	va_list ap;
	ARGUMENTS(ap, arg)
	char *const *envp = va_arg(ap, char *const *);
	va_end(ap);
	return execve(path, argv, envp);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	before_exec();
	WITH_CONTEXT(envp)
	return REAL(fexecve)(fd, argv, envp);
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	before_exec();
	WITH_CONTEXT(envp)
	return REAL(execveat)(dir, path, argv, envp, flags);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	WITH_CONTEXT(envp)
	return REAL(posix_spawn)(pid, path, actions, attr, argv, envp);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	WITH_CONTEXT(envp)
	return REAL(posix_spawnp)(pid, file, actions, attr, argv, envp);
}
