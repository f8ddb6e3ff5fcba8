/*
 * A program that has served a request, so that remora's own thread runs in it, and then crashes: crash_served NAME.
 * It prints the same with and without remora; where it waits for remora's thread it does so only if there is one.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define STAYS __asm__ volatile("" :: \
	                               : "memory")
static int *volatile null;
static struct sockaddr_in at = {.sin_family = AF_INET};

KEEP static void fault(void)
{
	*null = 1;
	STAYS;
}

/* ---- an allocator with one lock, in which remora's thread can be made to stay ---- */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t k, size_t n);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int trap, caught;

static void enter(void)
{
	char name[16];
	pthread_mutex_lock(&lock);
	if (trap && prctl(PR_GET_NAME, name) == 0 && strcmp(name, "remora") == 0)
		for (caught = 1;;)
			trap == 1 ? (void)pause() : abort();
}
void *malloc(size_t n)
{
	enter();
	void *p = __libc_malloc(n);
	pthread_mutex_unlock(&lock);
	return p;
}
void *calloc(size_t k, size_t n)
{
	enter();
	void *p = __libc_calloc(k, n);
	pthread_mutex_unlock(&lock);
	return p;
}
void *realloc(void *old, size_t n)
{
	enter();
	void *p = __libc_realloc(old, n);
	pthread_mutex_unlock(&lock);
	return p;
}
void free(void *p)
{
	enter();
	__libc_free(p);
	pthread_mutex_unlock(&lock);
}

/* ---- what it serves ---- */

static void *serve(void *arg)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	char b[512];
	int c, s = *(int *)arg;
	while ((c = accept(s, NULL, NULL)) >= 0) {
		if (read(c, b, sizeof b) > 0 && write(c, answer, sizeof answer - 1) < 0)
			break;
		close(c);
	}
	return NULL;
}

static void ask(void)
{
	static const char request[] = "GET /order HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n";
	char b[512];
	int c = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(c, (struct sockaddr *)&at, sizeof at) != 0 || write(c, request, sizeof request - 1) < 0)
		_exit(95);
	while (read(c, b, sizeof b) > 0)
		;
	close(c);
}

static int traced(void)
{
	const char *e = getenv("LD_PRELOAD");
	return e && strstr(e, "remora");
}

static size_t contents(const char *path, char *to, size_t cap)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, to, cap - 1);
	if (fd >= 0)
		close(fd);
	to[n > 0 ? n : 0] = 0;
	return n > 0 ? (size_t)n : 0;
}

/* How many threads of that name there are, and what the kernel says of the last; without the allocator. */
static int remoras(char status[4096])
{
	char path[64], name[32];
	int n = 0, base = getpid();
	for (int tid = base; tid < base + 64; tid++) {
		snprintf(path, sizeof path, "/proc/self/task/%d/comm", tid);
		if (!contents(path, name, sizeof name) || strcmp(name, "remora\n") != 0)
			continue;
		snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
		if (status)
			contents(path, status, 4096);
		n++;
	}
	return n;
}

static void wait_for(int (*what)(void))
{
	for (int i = 0; traced() && !what() && i < 10000; i++)
		usleep(1000);
}
static int is_there(void)
{
	return remoras(NULL) > 0;
}
static int is_gone(void)
{
	return remoras(NULL) == 0;
}
/* It runs what it has loaded (faults are not blocked any more), and sleeps. */
static int is_idle(void)
{
	char status[4096] = "";
	unsigned long blocked = ~0ul;
	const char *p = remoras(status) ? strstr(status, "SigBlk:") : NULL;
	return p && sscanf(p, "SigBlk: %lx", &blocked) == 1 && !(blocked & 1 << (SIGSEGV - 1)) && strstr(status, "State:\tS");
}
/* A signal that nobody here takes came to it, and it has sent it on: it has it blocked from then on. */
static int is_passed(void)
{
	char status[4096] = "";
	unsigned long blocked = 0;
	sigset_t waits;
	const char *p = remoras(status) ? strstr(status, "SigBlk:") : NULL;
	return p && sscanf(p, "SigBlk: %lx", &blocked) == 1 && (blocked & 1 << (SIGFPE - 1)) && sigpending(&waits) == 0 &&
	       sigismember(&waits, SIGFPE);
}
static int is_caught(void)
{
	return caught;
}

/* Takes away memory whose file's name contains a text: what a runtime that unmaps "everything" does. */
static void take_away(const char *text, const char *rights, int (*how)(void *, size_t))
{
	char line[512];
	unsigned long lo, hi;
	FILE *f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof line, f))
		if (strstr(line, text) && strstr(line, rights) && sscanf(line, "%lx-%lx", &lo, &hi) == 2)
			how((void *)lo, hi - lo);
	if (f)
		fclose(f);
}
static int close_memory(void *p, size_t n)
{
	return mprotect(p, n, PROT_NONE);
}
static int open_memory(void *p, size_t n)
{
	return mprotect(p, n, PROT_READ | PROT_WRITE);
}

KEEP static void break_top(void)
{
	char *p = malloc(1000);
	__asm__ volatile(""
	                 : "+r"(p)::"memory");
	memset(p, 0xff, 1100);
	for (int i = 0; i < 100; i++) {
		p = malloc(5000);
		__asm__ volatile(""
		                 : "+r"(p)::"memory");
	}
}

/* Not for faults of others' threads. */
static void programs(int sig)
{
	(void)sig;
	_exit(96);
}

static pid_t sender;

static void who(int sig, siginfo_t *info, void *uc)
{
	(void)uc;
	printf("signal %d, code %d, from the child %d\n", sig, info->si_code, info->si_pid == sender);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	int s = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t n = sizeof at;
	pthread_t t;
	sigset_t fpe;
	alarm(30);
	sigemptyset(&fpe);
	sigaddset(&fpe, SIGFPE);
	if (strcmp(name, "waits") == 0 || strcmp(name, "passed_on") == 0) /* in all threads: who sends it finds nobody but sigwaitinfo */
		pthread_sigmask(SIG_BLOCK, &fpe, NULL);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(s, (struct sockaddr *)&at, n) != 0 || listen(s, 8) != 0 || getsockname(s, (struct sockaddr *)&at, &n) != 0)
		return 95;
	if (strcmp(name, "no_arena") == 0) { /* made by listen */
		take_away(getenv("REMORA_RUNTIME_DIR"), "rw-s", munmap);
		fault();
	}
	pthread_create(&t, NULL, serve, &s);
	ask();
	wait_for(is_there);
	if (strcmp(name, "fault") == 0)
		fault();
	else if (strcmp(name, "heap_top") == 0)
		break_top();
	else if (strcmp(name, "in_malloc") == 0) {
		trap = 1;
		ask();
		wait_for(is_caught);
		fault();
	} else if (strcmp(name, "ours_aborts") == 0) {
		trap = 2;
		ask();
		wait_for(is_caught);
		usleep(1000000);
	} else if (strcmp(name, "killed") == 0)
		kill(getpid(), SIGKILL);
	else if (strncmp(name, "ours_", 5) == 0) { /* ours_faults, ours_then_fault, ours_handled */
		if (strcmp(name, "ours_handled") == 0)
			signal(SIGSEGV, programs);
		wait_for(is_idle);
		take_away("libremora-export.so", "rw-p", close_memory);
		ask();
		wait_for(is_gone);
		take_away("libremora-export.so", "---p", open_memory);
		ask();
		puts("lives");
		fflush(stdout);
		if (strcmp(name, "ours_then_fault") == 0)
			fault();
	} else if (strcmp(name, "waits") == 0) {
		siginfo_t info;
		wait_for(is_idle);
		kill(getpid(), SIGFPE);
		wait_for(is_passed);
		printf("signal %d, ", sigwaitinfo(&fpe, &info));
		printf("code %d, from me %d\n", info.si_code, info.si_pid == getpid());
		sigqueue(getpid(), SIGFPE, (union sigval){.sival_int = 7});
		wait_for(is_passed);
		printf("signal %d, ", sigwaitinfo(&fpe, &info));
		printf("code %d, value %d\n", info.si_code, info.si_value.sival_int);
		fflush(stdout);
	} else if (strcmp(name, "passed_on") == 0) { /* nobody but our thread is there to take it: it is to come here as it was */
		struct sigaction a = {.sa_sigaction = who, .sa_flags = SA_SIGINFO};
		sigaction(SIGFPE, &a, NULL);
		wait_for(is_idle);
		sender = fork();
		if (sender == 0)
			_exit(kill(getppid(), SIGFPE));
		waitpid(sender, NULL, 0);
		wait_for(is_passed);
		pthread_sigmask(SIG_UNBLOCK, &fpe, NULL);
	} else
		return 97;
	return 0;
}
