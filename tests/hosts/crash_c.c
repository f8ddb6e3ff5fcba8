/* flags: -w -fstack-protector-explicit */
/* Crashes of plain C programs, by name: crash_c NAME. What they print is the same in every run. */
#define _GNU_SOURCE
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define STAYS __asm__ volatile("" :: \
	                               : "memory")
#define HIDE(p) __asm__ volatile("" \
	                             : "+r"(p)::"memory") /* what it points to is not the compiler's to know */
static volatile int zero;
static int *volatile null;
static pthread_barrier_t bar;

KEEP static void c(void)
{
	*null = 1;
	STAYS;
}
KEEP static void b(void)
{
	c();
	STAYS;
}
KEEP static void a(void)
{
	b();
	STAYS;
}

KEEP static int deeper(int n)
{
	volatile char room[1000];
	room[n % 1000] = 1;
	int r = deeper(n + 1) + room[n % 1000];
	STAYS;
	return r;
}

static void *thread_a(void *p)
{
	a();
	return p;
}
static void *thread_deeper(void *p)
{
	pthread_setname_np(pthread_self(), "diver");
	deeper(0);
	return p;
}
static int c11_deeper(void *p)
{
	(void)p;
	return deeper(0);
}
static void *sleeper(void *p)
{
	pthread_barrier_wait(&bar);
	for (;;)
		pause();
	return p;
}
static void *crowd(void *p)
{
	pthread_barrier_wait(&bar);
	if ((long)p % 2)
		abort();
	a();
	return p;
}

/* In pages; the kernel counts in batches. */
static long resident(void)
{
	char b[64] = "";
	long size = 0, n = 0;
	int fd = open("/proc/self/statm", O_RDONLY);
	if (read(fd, b, sizeof b - 1) > 0)
		sscanf(b, "%ld %ld", &size, &n);
	close(fd);
	return n;
}

/* One byte too many, where the compiler watches. */
KEEP __attribute__((stack_protect)) static void watched(int n)
{
	volatile char here[16];
	for (int i = 0; i < n; i++)
		here[i + zero] = 'A';
	STAYS;
}

/* Memory runs out: what a program does that does not look. */
KEEP static void run_out(void)
{
	struct rlimit rl = {256 << 20, 256 << 20};
	int *p;
	setrlimit(RLIMIT_AS, &rl);
	do {
		p = malloc(1 << 20);
		HIDE(p);
	} while (p);
	*p = 1;
	STAYS;
}

/* Double free, in a function that stays. */
KEEP static void twice(void *p, void *between)
{
	HIDE(between);
	HIDE(p);
	free(p);
	HIDE(p);
	free(p);
	STAYS;
}

/* The allocator finds it out while it holds the arena's lock. */
KEEP static void break_top(void)
{
	char *p = malloc(1000);
	HIDE(p);
	memset(p, 0xff, 1100);
	for (int i = 0; i < 100; i++) {
		p = malloc(5000);
		HIDE(p);
	}
}

/* Deep in its stack, a signal is handled on another one. */
KEEP static int dive(int n)
{
	volatile char room[1000];
	room[n % 1000] = 1;
	if (n == 0)
		raise(SIGUSR1);
	int r = n ? dive(n - 1) + room[n % 1000] : 0;
	STAYS;
	return r;
}
static void *diver(void *alt)
{
	stack_t ss = {.ss_sp = alt, .ss_size = 65536};
	sigaltstack(&ss, NULL);
	dive(600);
	return alt;
}

static void join(void *(*f)(void *), void *arg)
{
	pthread_t t;
	pthread_create(&t, NULL, f, arg);
	pthread_join(t, NULL);
}

static void say(const char *s)
{
	if (write(1, s, strlen(s)) < 0)
		_exit(99);
}

static void own_recover(int sig, siginfo_t *i, void *uc)
{
	(void)sig, (void)i;
	say("handler\n");
	signal(SIGSEGV, SIG_DFL);
	(void)uc;
}
static void own_plain(int sig)
{
	say(sig == SIGSEGV ? "plain SEGV\n" : "plain other\n");
	if (sig == SIGSEGV)
		raise(SIGUSR2);
	signal(sig, SIG_DFL);
}
static void own_raise(int sig)
{
	say("raises\n");
	signal(sig, SIG_DFL);
	raise(sig);
}
static void own_abort(int sig)
{
	(void)sig;
	say("aborts\n");
	abort();
}
static void crash_in_handler(int sig)
{
	(void)sig;
	a();
	STAYS;
}
static sigjmp_buf jb;
static void jump(int sig)
{
	siglongjmp(jb, sig);
}

static int iterate(struct dl_phdr_info *i, size_t n, void *p)
{
	(void)i, (void)n, (void)p;
	a();
	return 0;
}

static int iterate_sleep(struct dl_phdr_info *i, size_t n, void *p)
{
	(void)i, (void)n;
	sleeper(p);
	return 0;
}
static void *iterates(void *p)
{
	dl_iterate_phdr(iterate_sleep, p);
	return p;
}

static void at_exit(void)
{
	a();
	STAYS;
}

static void filter_sys(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {4, f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p);
	getpgid(0);
}

static void many(int n)
{
	pthread_t t[64];
	pthread_barrier_init(&bar, NULL, (unsigned)n);
	for (long i = 0; i < n; i++)
		pthread_create(&t[i], NULL, crowd, (void *)(i * 2));
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

static void mixed(int n)
{
	pthread_t t[64];
	pthread_barrier_init(&bar, NULL, (unsigned)n);
	for (long i = 0; i < n; i++)
		pthread_create(&t[i], NULL, crowd, (void *)i);
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

static void report(pid_t pid)
{
	int st;
	char line[100];
	waitpid(pid, &st, 0);
	snprintf(line, sizeof line, "child: signal %d core %d exit %d\n", WIFSIGNALED(st) ? WTERMSIG(st) : 0, WIFSIGNALED(st) && WCOREDUMP(st),
	         WIFEXITED(st) ? WEXITSTATUS(st) : 0);
	say(line);
}

/* In pause(), or the core shows it in fork(). */
static void until_asleep(int pid)
{
	char path[40], text[256] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	for (int i = 0; i < 2000 && !strstr(text, ") S"); i++, usleep(1000)) {
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, text, sizeof text - 1);
		text[n > 0 ? n : 0] = 0;
		close(fd);
	}
}

static int act(const char *name)
{
	struct sigaction sa = {0};
	char *p;
	pid_t pid;
#define IS(x) (strcmp(name, x) == 0)
	if (IS("null"))
		a();
	else if (IS("memcpy"))
		memset((char *)1 + zero, 1, 100000);
	else if (IS("overflow"))
		return deeper(0);
	else if (IS("overflow_thread"))
		join(thread_deeper, NULL);
	else if (IS("overflow_c11")) {
		thrd_t t;
		thrd_create(&t, c11_deeper, NULL);
		thrd_join(t, NULL);
	} else if (IS("jump0"))
		((void (*)(void))(long)zero)();
	else if (IS("jump_unmapped"))
		((void (*)(void))(0x1234567000 + zero))();
	else if (IS("jump_noncanonical"))
		((void (*)(void))(0x8000000000000000 + (unsigned)zero))();
	else if (IS("jump_stack")) {
		char code[16] = {(char)0xc3};
		__asm__ volatile("call *%0" ::"r"(code)
		                 : "memory");
	} else if (IS("thread"))
		join(thread_a, NULL);
	else if (IS("abort"))
		abort();
	else if (IS("assert"))
		assert(zero == 1);
	else if (IS("double_free")) {
		p = malloc(2000);
		twice(p, malloc(10));
	} else if (IS("heap_top")) {
		pthread_t t;
		pthread_barrier_init(&bar, NULL, 2);
		pthread_create(&t, NULL, sleeper, NULL);
		pthread_barrier_wait(&bar);
		break_top();
	} else if (IS("heap_all")) {
		char *first = malloc(10);
		for (int i = 0; i < 1000; i++) {
			p = malloc(100);
			HIDE(p);
		}
		memset(first - 512, 0x41, 100000);
		HIDE(first);
		a();
	} else if (IS("smash")) {
		volatile char here[16]; /* up to the environment's strings, argv among it */
		long all = environ[0] - here;
		for (long i = 0; i < all; i++)
			here[i + zero] = 'A';
		a();
	} else if (IS("watched"))
		watched(26);
	else if (IS("oom"))
		run_out();
	else if (IS("sp16"))
		__asm__ volatile("mov $0x10, %%rsp; push %%rax" ::
		                     : "memory");
	else if (IS("fpe"))
		zero = 1000 / zero;
	else if (IS("ud2"))
		__builtin_trap();
	else if (IS("bus")) {
		int fd = memfd_create("x", 0);
		(void)!ftruncate(fd, 4096);
		p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
		(void)!ftruncate(fd, 0);
		return p[zero];
	} else if (IS("int3"))
		__asm__ volatile("int3");
	else if (IS("sys"))
		filter_sys();
	else if (IS("raise"))
		raise(SIGSEGV);
	else if (IS("kill"))
		kill(getpid(), SIGSEGV);
	else if (IS("raise_sys"))
		raise(SIGSYS);
	else if (IS("other_kill")) {
		pid = getpid();
		if (fork() == 0) {
			until_asleep(pid);
			kill(pid, SIGSEGV);
			_exit(0);
		}
		pause();
	} else if (IS("crowd"))
		many(8);
	else if (IS("mixed"))
		mixed(8);
	else if (IS("in_handler")) {
		signal(SIGUSR1, crash_in_handler);
		raise(SIGUSR1);
	} else if (IS("in_alt_handler")) {
		static char alt[65536];
		stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
		sigaltstack(&ss, NULL);
		sa.sa_handler = crash_in_handler;
		sa.sa_flags = SA_ONSTACK;
		sigaction(SIGUSR1, &sa, NULL);
		raise(SIGUSR1);
	} else if (IS("deep_alt_handler")) { /* the alternate stack lies above the thread's */
		sa.sa_handler = crash_in_handler;
		sa.sa_flags = SA_ONSTACK;
		sigaction(SIGUSR1, &sa, NULL);
		join(diver, mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	} else if (IS("iterate"))
		dl_iterate_phdr(iterate, NULL);
	else if (IS("iterate_other")) { /* another thread sits in the loader's lock */
		pthread_t t;
		pthread_barrier_init(&bar, NULL, 2);
		pthread_create(&t, NULL, iterates, NULL);
		pthread_barrier_wait(&bar);
		a();
	} else if (IS("atexit"))
		atexit(at_exit);
	else if (IS("fork_child")) {
		if ((pid = fork()) == 0)
			a();
		report(pid);
	} else if (IS("fork_parent")) {
		if ((pid = fork()) == 0)
			_exit(3);
		report(pid);
		a();
	} else if (IS("fork_thread_child")) {
		if ((pid = fork()) == 0) {
			join(thread_deeper, NULL);
			_exit(0);
		}
		report(pid);
	} else if (IS("vfork_child")) {
		if ((pid = vfork()) == 0) {
			a();
			_exit(0);
		}
		report(pid);
		a();
	} else if (IS("recover")) {
		sa.sa_sigaction = own_recover;
		sa.sa_flags = SA_SIGINFO;
		sigaction(SIGSEGV, &sa, NULL);
		a();
	} else if (IS("plain_handler")) {
		signal(SIGUSR2, own_plain);
		signal(SIGSEGV, own_plain);
		a();
	} else if (IS("reraise")) {
		sa.sa_handler = own_raise;
		sa.sa_flags = SA_NODEFER;
		sigaction(SIGSEGV, &sa, NULL);
		a();
	} else if (IS("handler_aborts")) {
		signal(SIGSEGV, own_abort);
		a();
	} else if (IS("save_restore")) { /* SA_SIGINFO is lost on the way */
		sa.sa_sigaction = own_recover;
		sa.sa_flags = SA_SIGINFO;
		sigaction(SIGSEGV, &sa, NULL);
		signal(SIGSEGV, signal(SIGSEGV, SIG_IGN));
		a();
	} else if (IS("resethand")) {
		sa.sa_handler = own_plain;
		sa.sa_flags = (int)SA_RESETHAND;
		sigaction(SIGSEGV, &sa, NULL);
		signal(SIGUSR2, own_plain);
		a();
	} else if (IS("ignore_sent")) {
		signal(SIGSEGV, SIG_IGN);
		raise(SIGSEGV);
		say("lives\n");
	} else if (IS("ignore_fault")) {
		signal(SIGSEGV, SIG_IGN);
		a();
	} else if (IS("ignore_exec")) {
		signal(SIGFPE, SIG_IGN);
		execl("/bin/grep", "grep", "SigIgn", "/proc/self/status", NULL);
	} else if (IS("jump_loop")) {
		signal(SIGSEGV, jump);
		long before = resident();
		for (volatile int i = 0; i < 1000; i++)
			if (!sigsetjmp(jb, 1))
				a();
		say(resident() - before > 512 ? "grew\n" : "recovered\n");
	} else if (IS("jump_overflow")) {
		static char alt[65536];
		stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
		sigaltstack(&ss, NULL);
		sa.sa_handler = jump;
		sa.sa_flags = SA_ONSTACK;
		sigaction(SIGSEGV, &sa, NULL);
		for (volatile int i = 0; i < 20; i++)
			if (!sigsetjmp(jb, 1))
				deeper(0);
		say("recovered\n");
	} else if (IS("onstack_overflow")) { /* SA_ONSTACK, but no alternate stack: the handler cannot run */
		sa.sa_handler = own_plain;
		sa.sa_flags = SA_ONSTACK;
		sigaction(SIGSEGV, &sa, NULL);
		deeper(0);
	} else if (IS("small_altstack")) {
		static char alt[8192];
		stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
		if (sigaltstack(&ss, NULL) != 0)
			say("no altstack\n");
		deeper(0);
	} else if (IS("no_fds")) {
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
		int fd = open("data", O_RDWR | O_CREAT, 0600), two = dup(fd); /* 3 and 4 */
		(void)!write(two, "0123456789", 10);
		a();
	} else if (IS("closed_std")) {
		close(0), close(1), close(2);
		a();
	} else if (IS("full_fds")) {
		struct rlimit rl = {64, 64};
		setrlimit(RLIMIT_NOFILE, &rl);
		while (open("/dev/null", O_RDONLY) >= 0)
			;
		a();
	} else if (IS("fsize0")) {
		struct rlimit rl = {0, 0};
		setrlimit(RLIMIT_FSIZE, &rl);
		a();
	} else if (IS("as")) {
		struct rlimit rl = {1, 1};
		setrlimit(RLIMIT_AS, &rl);
		a();
	} else if (IS("cwd_gone")) {
		p = strdup("/tmp/remora-cwd-XXXXXX");
		if (mkdtemp(p) && chdir(p) == 0)
			rmdir(p);
		a();
	} else if (IS("threads")) {
		pthread_t t;
		pthread_barrier_init(&bar, NULL, 21);
		for (int i = 0; i < 20; i++)
			pthread_create(&t, NULL, sleeper, NULL);
		pthread_barrier_wait(&bar);
		usleep(20000);
		a();
	} else if (IS("sleep_then_exit")) { /* the main thread would go on to exit(0) if it were disturbed */
		pthread_t t;
		pthread_barrier_init(&bar, NULL, 2);
		pthread_create(&t, NULL, crowd, NULL);
		pthread_barrier_wait(&bar);
		usleep(1000000);
		return 0;
	} else
		return 98;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 97;
	alarm(30);
	int r = act(argv[1]);
	STAYS;
	return r;
}
