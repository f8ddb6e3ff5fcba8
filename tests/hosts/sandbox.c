/*
 * sandbox MODE: a seccomp filter that allows next to nothing is installed after start, while spans are on their way;
 * then one more exchange over a connection made before, and the program ends with its status.
 *	strict strict_seccomp filter filter_seccomp filter_tsync filter_syscall filter_errno
 *	exec PROG ARGS...	installs a filter as a service manager does, then execs
 */
#include "host.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static struct sock_filter code[64];
static unsigned short len;

static void add(struct sock_filter f)
{
	code[len++] = f;
}

static void program(const int *calls, int n, unsigned hit, unsigned miss)
{
	len = 0;
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
	for (int i = 0; i < n; i++) {
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1));
		add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, hit));
	}
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, miss));
}

int main(int argc, char **argv)
{
	CHECK(argc >= 2);
	alarm(20);
	static const int few[] = {SYS_read, SYS_write, SYS_exit, SYS_exit_group, SYS_rt_sigreturn};
	static const int odd[] = {SYS_ptrace, SYS_kcmp, SYS_process_vm_readv, SYS_process_vm_writev, SYS_perf_event_open,
	                          SYS_userfaultfd, SYS_bpf, SYS_io_uring_setup, SYS_keyctl, SYS_add_key, SYS_unshare, SYS_setns,
	                          SYS_mount, SYS_reboot, SYS_chroot, SYS_pivot_root, SYS_personality, SYS_mbind};
	const char *m = argv[1];
	struct sock_fprog f = {.filter = code};
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (is(m, "exec")) {
		program(odd, sizeof odd / sizeof *odd, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW);
		f.len = len;
		MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f, 0, 0));
		execv(argv[2], argv + 2);
		die("exec", __LINE__);
	}
	int p[2];
	tcp_pair(p);
	for (int i = 0; i < 20; i++) {
		exchange_new("/before");
		exchange(p, "/before");
	}
	request(p[0], "/open");
	program(few, sizeof few / sizeof *few, SECCOMP_RET_ALLOW,
	        is(m, "filter_errno") ? SECCOMP_RET_ERRNO | ENOSYS : SECCOMP_RET_KILL_PROCESS);
	f.len = len;
	int r;
	if (is(m, "strict"))
		r = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	else if (is(m, "strict_seccomp"))
		r = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
	else if (is(m, "filter_seccomp"))
		r = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f);
	else if (is(m, "filter_tsync"))
		r = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &f);
	else if (is(m, "filter_syscall"))
		r = (int)syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f, 0, 0);
	else
		r = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f, 0, 0);
	if (r != 0)
		puts_fd(1, "refused\n");
	serve(p[1], "/open");
	read_answer(p[0]);
	exchange(p, "/after");
	puts_fd(1, "done\n");
	if (!strncmp(m, "strict", 6))
		syscall(SYS_exit, 13);
	exit(13); /* handlers run: they may do nothing that the filter forbids */
}
