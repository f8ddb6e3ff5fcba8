/* Ends in a crash of the kind that is named. Built in several ways by compare_gdb.py. flags: -pthread */
#define _GNU_SOURCE
#include <assert.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define STAYS __asm__ volatile("" :: \
	                               : "memory")
static int *volatile null;
static volatile int zero;
typedef void fn(void);

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
static inline __attribute__((always_inline)) int in3(int x)
{
	return *null + x;
}
static inline __attribute__((always_inline)) int in2(int x)
{
	return in3(x) * 3;
}
static inline __attribute__((always_inline)) int in1(int x)
{
	return in2(x + 1) + zero;
}
KEEP static void inlined(void)
{
	zero = in1(zero);
	STAYS;
}
KEEP static void call(fn *f)
{
	f();
	STAYS;
}
KEEP static void jump0(void)
{
	call(NULL);
	STAYS;
}
KEEP static void unmapped(void)
{
	call((fn *)0x41414141000);
	STAYS;
}
KEEP static void noncanonical(void)
{
	call((fn *)0x4141414141414141);
	STAYS;
}
KEEP static void nx(void)
{
	char buf[64];
	memset(buf, 0xc3, sizeof buf);
	call((fn *)(void *)buf);
	STAYS;
}
KEEP static int cmp(const void *x, const void *y)
{
	(void)x, (void)y;
	a();
	return 0;
}
KEEP static void do_qsort(void)
{
	int v[4] = {3, 1, 2, 0};
	qsort(v, 4, sizeof *v, cmp);
	STAYS;
}
KEEP static void do_bsearch(void)
{
	int v[4] = {0, 1, 2, 3}, k = 2;
	bsearch(&k, v, 4, sizeof *v, cmp);
	STAYS;
}
KEEP static void do_abort(void)
{
	abort();
}
KEEP static void do_assert(void)
{
	assert(zero == 1);
	STAYS;
}
KEEP static void do_raise(void)
{
	raise(SIGSEGV);
	STAYS;
}
KEEP static void do_kill(void)
{
	kill(getpid(), SIGSEGV);
	STAYS;
}
KEEP static void double_free(void)
{
	char *volatile p = malloc(100);
	free(p);
	free(p);
	STAYS;
}
KEEP static void top(void)
{
	char *volatile p = malloc(100);
	memset(p, 0xff, 4096);
	p = malloc(200000 - 100000);
	free(p);
	p = malloc(3000);
	STAYS;
}
KEEP static void copy(void)
{
	memcpy((char *)null + 1, "hallo hallo hallo hallo", (size_t)(zero + 20));
	STAYS;
}
KEEP static void do_strlen(void)
{
	zero = (int)strlen((char *)null + 1);
	STAYS;
}
KEEP static void do_printf(void)
{
	printf("%s\n", (char *)null + 1);
	STAYS;
}
KEEP static void fpe(void)
{
	zero = 7 / zero;
	STAYS;
}
KEEP static void ill(void)
{
	__asm__ volatile("ud2");
	STAYS;
}
KEEP static void int3(void)
{
	__asm__ volatile("int3");
	STAYS;
}
KEEP static void on_usr1(int s)
{
	(void)s;
	a();
	STAYS;
}
KEEP static void handler(void)
{
	signal(SIGUSR1, on_usr1);
	raise(SIGUSR1);
	STAYS;
}
KEEP static void on_alarm(int s, siginfo_t *i, void *u)
{
	(void)s, (void)i, (void)u;
	a();
	STAYS;
}
KEEP static void spin(void)
{
	for (;;)
		zero++;
}
KEEP static void async(void)
{
	struct sigaction k = {.sa_flags = SA_SIGINFO};
	k.sa_sigaction = on_alarm;
	sigaction(SIGALRM, &k, NULL);
	struct itimerval it = {.it_value = {0, 20000}};
	setitimer(ITIMER_REAL, &it, NULL);
	spin();
	STAYS;
}
KEEP static void nest2(int s)
{
	(void)s;
	a();
	STAYS;
}
KEEP static void nest1(int s)
{
	(void)s;
	signal(SIGUSR2, nest2);
	raise(SIGUSR2);
	STAYS;
}
KEEP static void nested(void)
{
	signal(SIGUSR1, nest1);
	raise(SIGUSR1);
	STAYS;
}
KEEP static void on_alt(int s)
{
	(void)s;
	a();
	STAYS;
}
KEEP static void altstack(void)
{
	static char room[65536];
	stack_t st = {.ss_sp = room, .ss_size = sizeof room};
	struct sigaction k = {.sa_handler = on_alt, .sa_flags = SA_ONSTACK};
	sigaltstack(&st, NULL);
	sigaction(SIGUSR1, &k, NULL);
	raise(SIGUSR1);
	STAYS;
}
KEEP static void *start(void *f)
{
	((fn *)f)();
	STAYS;
	return f;
}
KEEP static void in_thread(fn *f)
{
	pthread_t t;
	pthread_create(&t, NULL, start, (void *)f);
	pthread_join(t, NULL);
	STAYS;
}
KEEP static void thread(void)
{
	in_thread(a);
}
KEEP static void thread_abort(void)
{
	in_thread(do_abort);
}
KEEP static int deep(int n)
{
	volatile char room[200];
	room[n % 200] = 1;
	int r = n > 0 ? deep(n - 1) + room[n % 200] : (a(), 0);
	STAYS;
	return r;
}
KEEP static void deep20(void)
{
	deep(20);
}
KEEP static void deep200(void)
{
	deep(200);
}
KEEP static int forever(int n)
{
	volatile char room[500];
	room[n % 500] = 1;
	int r = forever(n + 1) + room[n % 500];
	STAYS;
	return r;
}
KEEP static void overflow(void)
{
	forever(0);
}
KEEP static void thread_overflow(void)
{
	in_thread(overflow);
}
KEEP static void sp10(void)
{
	__asm__ volatile("mov $0x10, %rsp; push %rax");
	STAYS;
}
KEEP static void badsyscall(void)
{
	syscall(SYS_tgkill, getpid(), gettid(), SIGSEGV);
	STAYS;
}
KEEP static void at_exit(void)
{
	atexit(a);
	exit(0);
}
KEEP static void realign(void)
{
	__attribute__((aligned(64))) volatile char v[128];
	v[zero] = 1;
	a();
	STAYS;
	zero = v[1];
}
KEEP static void vla(int n)
{
	volatile char v[n + zero];
	v[0] = 1;
	a();
	STAYS;
	zero = v[0];
}
KEEP static void alloca_(void)
{
	vla(100);
	STAYS;
}
KEEP static void longframe(void)
{
	volatile char v[100000];
	v[zero] = 1;
	a();
	STAYS;
	zero = v[1];
}
KEEP static long many(long p, long q, long r, long s, long t, long u, long v, long w)
{
	a();
	STAYS;
	return p + q * r - s + t * u + v * w;
}
KEEP static void args(void)
{
	zero = (int)many(zero, 2, 3, 4, 5, 6, 7, 8);
	STAYS;
}
KEEP static void smash2(char *p)
{
	memset(p, 0x41, 200);
	STAYS;
}
KEEP static void smash(void)
{
	char buf[16];
	smash2(buf);
	STAYS;
}
__attribute__((noreturn)) KEEP static void noret(void)
{
	a();
	abort();
}
KEEP static void noreturn_(void)
{
	noret();
}

static const struct {
	const char *name;
	fn *f;
} all[] = {
#define S(n)  \
	{         \
#n, n \
	}
	S(a),
	S(inlined),
	S(jump0),
	S(unmapped),
	S(noncanonical),
	S(nx),
	S(do_qsort),
	S(do_bsearch),
	S(do_abort),
	S(do_assert),
	S(do_raise),
	S(do_kill),
	S(double_free),
	S(top),
	S(copy),
	S(do_strlen),
	S(do_printf),
	S(fpe),
	S(ill),
	S(int3),
	S(handler),
	S(async),
	S(nested),
	S(altstack),
	S(thread),
	S(thread_abort),
	S(deep20),
	S(deep200),
	S(overflow),
	S(thread_overflow),
	S(sp10),
	S(badsyscall),
	S(at_exit),
	S(realign),
	S(alloca_),
	S(longframe),
	S(args),
	S(smash),
	S(noreturn_),
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if (argc < 2)
			puts(all[i].name);
		else if (strcmp(all[i].name, argv[1]) == 0)
			all[i].f();
	}
	STAYS;
	return 0;
}
