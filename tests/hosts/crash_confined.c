/* flags: -w */
/* Crashes where little is left to work with: crash_confined WHAT [DIRECTORY]. */
#define _GNU_SOURCE
#include "crash_serve.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define STAYS __asm__ volatile("" :: \
	                               : "memory")
#define IS(x) (strcmp(what, x) == 0)
#define LENGTH(a) (sizeof(a) / sizeof *(a))

static int *volatile null;

KEEP static void fault(void)
{
	*null = 1;
	STAYS;
}

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		_exit(99);
	}
}

static void limit(int resource, rlim_t soft, rlim_t hard)
{
	struct rlimit rl = {soft, hard};
	need(setrlimit(resource, &rl) == 0, "setrlimit");
}

/* What a sandbox forbids that wants no new programs and no looking into others. */
static void filter(unsigned action)
{
	static const int calls[] = {SYS_clone, SYS_clone3, SYS_fork, SYS_vfork, SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv};
	struct sock_filter f[LENGTH(calls) + 3];
	unsigned n = 0;
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < LENGTH(calls); i++)
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], (unsigned char)(LENGTH(calls) - i), 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	struct sock_fprog p = {n, f};
	need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) == 0, "seccomp");
}

/* Nothing but what a fault needs. */
static void filter_all(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {LENGTH(f), f};
	need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) == 0, "seccomp");
}

static void confine(const char *what, const char *dir)
{
	if (IS("chroot")) {
		need(chroot(dir) == 0 && chdir("/") == 0, "chroot");
	} else if (IS("fsize")) {
		limit(RLIMIT_FSIZE, 0, 0);
	} else if (IS("fsize_soft")) {
		limit(RLIMIT_FSIZE, 0, RLIM_INFINITY);
	} else if (IS("nproc")) {
		limit(RLIMIT_NPROC, 0, 0);
	} else if (IS("as")) {
		limit(RLIMIT_AS, 1, 1);
	} else if (IS("as_soft")) {
		limit(RLIMIT_AS, 1, RLIM_INFINITY);
	} else if (IS("nofile")) {
		limit(RLIMIT_NOFILE, 0, 0);
	} else if (IS("nofile_soft")) {
		limit(RLIMIT_NOFILE, 0, 1024);
	} else if (IS("full_table")) {
		limit(RLIMIT_NOFILE, 64, 64);
		while (open("/dev/null", O_RDONLY) >= 0)
			;
	} else if (IS("no_std")) {
		close(0), close(1), close(2);
	} else if (IS("no_cwd")) {
		char path[] = "/tmp/remora-cwd-XXXXXX";
		need(mkdtemp(path) && chdir(path) == 0 && rmdir(path) == 0, "mkdtemp");
	} else if (IS("no_dump")) {
		need(prctl(PR_SET_DUMPABLE, 0) == 0, "prctl");
	} else if (IS("setuid")) {
		need(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0, "setuid");
	} else if (IS("seccomp_errno")) {
		filter(SECCOMP_RET_ERRNO | EPERM);
	} else if (IS("seccomp_trap")) {
		filter(SECCOMP_RET_TRAP);
	} else if (IS("seccomp_kill")) {
		filter(SECCOMP_RET_KILL_PROCESS);
	} else if (IS("seccomp_all")) {
		filter_all();
	} else if (IS("abort")) {
		abort();
	} else {
		need(IS("null"), what);
	}
}

/* WHAT, or serve:WHAT, or fork:WHAT (a worker is confined, its parent exports) */
int main(int argc, char **argv)
{
	const char *colon = strchr(argv[1], ':'), *what = colon ? colon + 1 : argv[1];
	int go[2], status;
	pid_t child = 0;
	alarm(60);
	if (colon) {
		int l = listener();
		need(pipe(go) == 0, "pipe");
		if (argv[1][0] == 'f')
			child = fork();
		if (child || argv[1][0] == 's')
			serve(l, 1);
		if (child) {
			need(write(go[1], "x", 1) == 1 && waitpid(child, &status, 0) == child, "child");
			dprintf(1, "child: signal %d core %d exit %d\n", WTERMSIG(status), WCOREDUMP(status) != 0, WEXITSTATUS(status));
			return 0;
		}
		char c;
		if (argv[1][0] == 'f')
			need(read(go[0], &c, 1) == 1, "go");
	}
	confine(what, argc > 2 ? argv[2] : NULL);
	fault();
	return 92;
}
