/*
 * The other threads. Each gets a signal that the program does not use, notes its registers, and stays in our handler
 * until the process is dead: without us it would have been dead at once, and a thread that runs on may answer requests,
 * see EINTR or end the process with another status. Our own exporter's thread goes on. A thread that has the signal
 * blocked is told of without registers; nobody waits longer than the 200 ms of the whole.
 */
#include "crash/crash_priv.h"
#include "base/clock.h"
#include "config.h"
#include "span/process.h"
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#define ALL_STACKS (8u << 20)
#define RED_ZONE 128

static struct parked {
	_Atomic int tid; /* 0 = free */
	_Atomic uint32_t here;
	uint64_t regs[CR_REGS];
	char comm[16];
} threads[CRASH_THREADS_MAX];
static _Atomic uint32_t arrived;
static uint64_t until; /* CLOCK_MONOTONIC: the process should be dead long before */

static void park(int sig, siginfo_t *info, void *uc_)
{
	const ucontext_t *uc = uc_;
	unsigned i = (unsigned)info->si_value.sival_int;
	(void)sig;
	if (info->si_code != SI_QUEUE || info_pid(info) != process.pid || i >= CRASH_THREADS_MAX || threads[i].tid != sys_gettid())
		return;
	crash_regs(threads[i].regs, uc->uc_mcontext.gregs);
	sys3(SYS_prctl, PR_GET_NAME, threads[i].comm, 0);
	atomic_store(&threads[i].here, 1);
	atomic_fetch_add(&arrived, 1);
	sys_futex_wake(&arrived, 1);
	for (uint64_t now; (now = mono_ns()) < until;) {
		struct timespec ts = {(time_t)((until - now) / 1000000000u), (long)((until - now) % 1000000000u)};
		sys6(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
	}
}

void crash_thread_waits(int sig, const ucontext_t *uc)
{
	int tid = sys_gettid();
	(void)sig;
	for (unsigned i = 0; i < CRASH_THREADS_MAX; i++) {
		int none = 0;
		if (threads[i].tid != tid && !atomic_compare_exchange_strong(&threads[i].tid, &none, tid))
			continue;
		crash_regs(threads[i].regs, uc->uc_mcontext.gregs);
		sys3(SYS_prctl, PR_GET_NAME, threads[i].comm, 0);
		atomic_store(&threads[i].here, 1);
		atomic_fetch_add(&arrived, 1);
		sys_futex_wake(&arrived, 1);
		return;
	}
}

/* A real-time signal with the default action; 0: none. */
static int free_signal(void)
{
	struct sigaction k;
	for (int sig = 62; sig > 40; sig--)
		if (crash_libc.sigaction(sig, NULL, &k) == 0 && k.sa_handler == SIG_DFL)
			return sig;
	return 0;
}

static int number(const char *s)
{
	int n = 0;
	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (*s - '0');
	return n;
}

static unsigned call_all(int sig, int pid, int self)
{
	static char buf[8192] __attribute__((aligned(8)));
	long fd = sys_open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), n;
	unsigned called = 0;
	int exporter = crash_export.tid ? crash_export.tid() : 0;
	if (fd < 0)
		return 0;
	while ((n = sys3(SYS_getdents64, fd, buf, sizeof buf)) > 0) {
		for (long at = 0; at < n; at += *(unsigned short *)(void *)(buf + at + 16)) {
			int tid = number(buf + at + 19);
			siginfo_t info = {.si_signo = sig, .si_code = SI_QUEUE};
			if (!tid || tid == self || tid == exporter)
				continue;
			unsigned i = 0;
			int none = 0;
			while (i < CRASH_THREADS_MAX && threads[i].tid != tid) {
				if (atomic_compare_exchange_strong(&threads[i].tid, &none, tid))
					break;
				none = 0;
				i++;
			}
			if (i == CRASH_THREADS_MAX || threads[i].here)
				continue;
			info_set_pid(&info, pid);
			info.si_value.sival_int = (int)i;
			if (sys6(SYS_rt_tgsigqueueinfo, pid, tid, sig, (long)&info, 0, 0) == 0)
				called++;
			else
				atomic_store(&threads[i].tid, 0);
		}
	}
	sys_close((int)fd);
	return called;
}

static char *task_path(char *at, int tid, const char *file)
{
	return crash_text(crash_number(crash_text(at, "/proc/self/task/"), (uint64_t)tid), file);
}

static long read_task(int tid, const char *file, char *buf, size_t cap)
{
	char path[64];
	task_path(path, tid, file);
	long fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	long n = sys_read((int)fd, buf, cap - 1);
	sys_close((int)fd);
	buf[n > 0 ? n : 0] = 0;
	return n;
}

/* Will it not come? The signal is blocked there, or the thread is gone. */
static bool deaf(int tid, int sig)
{
	char buf[4096];
	if (read_task(tid, "/status", buf, sizeof buf) <= 0)
		return true;
	const char *p = strstr(buf, "\nSigBlk:\t");
	uint64_t mask = 0;
	for (p = p ? p + 9 : ""; (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'); p++)
		mask = mask << 4 | (unsigned)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
	return mask & SIG_BIT(sig);
}

static bool missing(int sig, bool look)
{
	for (unsigned i = 0; i < CRASH_THREADS_MAX; i++)
		if (threads[i].tid && !threads[i].here && !(look && deaf(threads[i].tid, sig)))
			return true;
	return false;
}

static void wait_all(int sig, uint64_t end)
{
	uint64_t start = mono_ns(), now;
	bool look = false;
	for (;;) {
		uint32_t seen = atomic_load(&arrived);
		if (!missing(sig, look))
			return;
		if ((now = mono_ns()) >= end) {
			crash_file.head.flags |= CRASH_NO_TIME;
			return;
		}
		look = now - start > 5000000; /* the asleep come within microseconds */
		struct timespec ts = {0, 2000000};
		sys_futex_wait(&arrived, seen, &ts);
	}
}

void crash_threads_save(uint64_t end_ns)
{
	int pid = process.pid, self = sys_gettid();
	int sig = free_signal();
	if (!sig)
		return;
	for (unsigned i = 0; i < CRASH_THREADS_MAX; i++)
		if (!threads[i].here)
			threads[i].tid = 0;
	struct sigaction k = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	k.sa_sigaction = park;
	memset(&k.sa_mask, 0xff, sizeof k.sa_mask);
	until = mono_ns() + config.crash_wait_ms * 1000000ull + 12000000000u;
	if (crash_libc.sigaction(sig, &k, NULL) != 0)
		return;
	unsigned n = call_all(sig, pid, self);
	if (n)
		wait_all(sig, end_ns);
	unsigned all = 1;
	for (unsigned i = 0; i < CRASH_THREADS_MAX; i++)
		all += threads[i].here != 0;
	uint64_t each = ALL_STACKS / all < CRASH_OTHER_STACK ? ALL_STACKS / all : CRASH_OTHER_STACK;
	for (unsigned i = 0; i < CRASH_THREADS_MAX; i++) {
		struct crash_thread t = {.tid = threads[i].tid};
		if (!t.tid)
			continue;
		if (threads[i].here) {
			t.flags = 1;
			memcpy(t.regs, threads[i].regs, sizeof t.regs);
			memcpy(t.comm, threads[i].comm, sizeof t.comm); /* it has asked itself: a file of /proc takes longer */
		} else {
			long len = read_task(t.tid, "/comm", t.comm, sizeof t.comm);
			if (len > 0 && t.comm[len - 1] == '\n')
				t.comm[len - 1] = 0;
		}
		crash_put(CRASH_SEC_THREAD, t.tid, 0, &t, sizeof t);
		if (t.flags & 1) {
			uint64_t sp = (t.regs[CR_RSP] - RED_ZONE) & ~(uint64_t)7;
			/* A hole is its end: behind the guard lies the next one's, whose untouched pages would all be made for us. */
			crash_put(CRASH_SEC_STACK, t.tid, sp, (const void *)(uintptr_t)sp, crash_stack_end(sp, sp + each) - sp);
		}
		if (mono_ns() > end_ns) {
			crash_file.head.flags |= CRASH_NO_TIME;
			break;
		}
	}
}
