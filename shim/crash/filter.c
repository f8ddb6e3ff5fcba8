/*
 * A seccomp filter that the program installs: does it let our calls pass? One that it answers with death or SIGSYS would
 * change what the process dies of. So the filter is run here for each of them, before the kernel has it; the arguments
 * are those that filters look at. Calls that merely fail are fine. Where it is only the helper that could not be started,
 * the capture goes on without. host.
 */
#include "crash/crash_priv.h"
#include "base/probe.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static const struct {
	uint32_t whose; /* enum crash_calls */
	int nr;
	uint64_t args[3];
} calls[] = {
	{CALLS_CAPTURE, SYS_getpid, {0}},
	{CALLS_CAPTURE, SYS_gettid, {0}},
	{CALLS_CAPTURE, SYS_getppid, {0}},
	{CALLS_CAPTURE, SYS_getuid, {0}},
	{CALLS_CAPTURE, SYS_geteuid, {0}},
	{CALLS_CAPTURE, SYS_rt_sigaction, {SIGSEGV}},
	{CALLS_CAPTURE, SYS_rt_sigprocmask, {0}},
	{CALLS_CAPTURE, SYS_rt_sigreturn, {0}},
	{CALLS_CAPTURE, SYS_rt_tgsigqueueinfo, {0}},
	{CALLS_CAPTURE, SYS_sigaltstack, {0}},
	{CALLS_CAPTURE, SYS_openat, {(uint64_t)AT_FDCWD, 0, O_RDONLY | O_CLOEXEC}},
	{CALLS_CAPTURE, SYS_openat, {(uint64_t)AT_FDCWD, 0, O_RDWR | O_CREAT | O_EXCL}},
	{CALLS_CAPTURE, SYS_close, {0}},
	{CALLS_CAPTURE, SYS_read, {0}},
	{CALLS_CAPTURE, SYS_pwrite64, {0}},
	{CALLS_CAPTURE, SYS_ftruncate, {0}},
	{CALLS_CAPTURE, SYS_getdents64, {0}},
	{CALLS_CAPTURE, SYS_newfstatat, {0}},
	{CALLS_CAPTURE, SYS_fstat, {0}},
	{CALLS_CAPTURE, SYS_fstatfs, {0}},
	{CALLS_CAPTURE, SYS_statfs, {0}},
	{CALLS_CAPTURE, SYS_mkdirat, {0}},
	{CALLS_CAPTURE, SYS_readlinkat, {0}},
	{CALLS_CAPTURE, SYS_getcwd, {0}},
	{CALLS_CAPTURE, SYS_getrandom, {0}},
	{CALLS_CAPTURE, SYS_clock_gettime, {0}},
	{CALLS_CAPTURE, SYS_prctl, {PR_GET_NAME}},
	{CALLS_CAPTURE, SYS_prctl, {PR_GET_DUMPABLE}},
	{CALLS_CAPTURE, SYS_prlimit64, {0}},
	{CALLS_CAPTURE, SYS_fcntl, {3, F_DUPFD_CLOEXEC}},
	{CALLS_CAPTURE, SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE}},
	{CALLS_CAPTURE, SYS_munmap, {0}},
	{CALLS_CAPTURE, SYS_mprotect, {0, 4096, PROT_READ | PROT_WRITE}},
	{CALLS_CAPTURE, SYS_madvise, {0}},
	{CALLS_CAPTURE, SYS_futex, {0}},
	{CALLS_CAPTURE, SYS_nanosleep, {0}},
	{CALLS_CAPTURE, SYS_unshare, {CLONE_FILES}},

	{CALLS_HELPER, SYS_faccessat, {0}},
	{CALLS_HELPER, SYS_clone, {CLONE_VM | CLONE_VFORK}},
	{CALLS_HELPER, SYS_wait4, {0}},
	{CALLS_HELPER, SYS_setsid, {0}},
	{CALLS_HELPER, SYS_close_range, {0}},
	{CALLS_HELPER, SYS_dup3, {0}},
	{CALLS_HELPER, SYS_fcntl, {3, F_SETFD}},
	{CALLS_HELPER, SYS_execve, {0}},
	{CALLS_HELPER, SYS_exit_group, {0}},
	{CALLS_HELPER, SYS_pidfd_open, {0}},
	{CALLS_HELPER, SYS_ppoll, {0}},
	{CALLS_HELPER, SYS_kill, {0}},
	{CALLS_HELPER, SYS_rt_sigtimedwait, {0}},
	{CALLS_HELPER, SYS_socketpair, {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC}},
	{CALLS_HELPER, SYS_sendto, {0}},

	{CALLS_PLACE, SYS_memfd_create, {0}},
	{CALLS_PLACE, SYS_pread64, {0}},
	{CALLS_PLACE, SYS_unlinkat, {0}},
	{CALLS_PLACE, SYS_ppoll, {0}},
	{CALLS_PLACE, SYS_ioctl, {2, TCGETS}},
	{CALLS_PLACE, SYS_write, {2}},
	{CALLS_PLACE, SYS_pselect6, {3}},
};

uint32_t crash_calls = CALLS_CAPTURE | CALLS_HELPER | CALLS_PLACE;

/* What the filter answers. Only forward jumps, as the kernel demands; what it would refuse ends the run. */
static uint32_t run(const struct sock_filter *f, unsigned n, const struct seccomp_data *d)
{
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = {0};
	for (unsigned pc = 0; pc < n; pc++) {
		uint32_t k = f[pc].k, v = BPF_SRC(f[pc].code) == BPF_X ? x : k;
		bool yes;
		switch (BPF_CLASS(f[pc].code)) {
		case BPF_LD:
		case BPF_LDX:
			switch (BPF_MODE(f[pc].code)) {
			case BPF_ABS:
				if (k > sizeof *d - 4)
					return SECCOMP_RET_KILL_PROCESS;
				memcpy(&v, (const char *)d + k, 4);
				break;
			case BPF_MEM:
				v = k < BPF_MEMWORDS ? mem[k] : 0;
				break;
			case BPF_LEN:
				v = sizeof *d;
				break;
			default:
				v = k;
			}
			*(BPF_CLASS(f[pc].code) == BPF_LD ? &a : &x) = v;
			break;
		case BPF_ST:
		case BPF_STX:
			if (k < BPF_MEMWORDS)
				mem[k] = BPF_CLASS(f[pc].code) == BPF_ST ? a : x;
			break;
		case BPF_ALU:
			switch (BPF_OP(f[pc].code)) {
			case BPF_ADD:
				a += v;
				break;
			case BPF_SUB:
				a -= v;
				break;
			case BPF_MUL:
				a *= v;
				break;
			case BPF_DIV:
				a = v ? a / v : 0;
				break;
			case BPF_OR:
				a |= v;
				break;
			case BPF_AND:
				a &= v;
				break;
			case BPF_XOR:
				a ^= v;
				break;
			case BPF_LSH:
				a = v < 32 ? a << v : 0;
				break;
			case BPF_RSH:
				a = v < 32 ? a >> v : 0;
				break;
			case BPF_NEG:
				a = -a;
				break;
			default:
				return SECCOMP_RET_KILL_PROCESS;
			}
			break;
		case BPF_JMP:
			switch (BPF_OP(f[pc].code)) {
			case BPF_JA:
				pc += k < n ? k : n;
				continue;
			case BPF_JEQ:
				yes = a == v;
				break;
			case BPF_JGT:
				yes = a > v;
				break;
			case BPF_JGE:
				yes = a >= v;
				break;
			case BPF_JSET:
				yes = (a & v) != 0;
				break;
			default:
				return SECCOMP_RET_KILL_PROCESS;
			}
			pc += yes ? f[pc].jt : f[pc].jf;
			break;
		case BPF_RET:
			return BPF_RVAL(f[pc].code) == BPF_A ? a : k;
		case BPF_MISC:
			if (BPF_MISCOP(f[pc].code) == BPF_TAX)
				x = a;
			else
				a = x;
			break;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

bool crash_filter_admits(const void *program)
{
	const struct sock_fprog *p = program;
	if (!readable(p, sizeof *p) || p->len > BPF_MAXINSNS || !readable(p->filter, p->len * sizeof *p->filter))
		return false;
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		struct seccomp_data d = {.nr = calls[i].nr, .arch = AUDIT_ARCH_X86_64, .args = {calls[i].args[0], calls[i].args[1], calls[i].args[2]}};
		uint32_t r = run(p->filter, p->len, &d) & SECCOMP_RET_ACTION_FULL;
		if (r != SECCOMP_RET_ALLOW && r != SECCOMP_RET_ERRNO && r != SECCOMP_RET_LOG)
			crash_calls &= ~calls[i].whose;
	}
	return crash_calls & CALLS_CAPTURE;
}
