/*
 * Programs for what crash capture costs: one that crashes, and hosts that live on signals and threads.
 * usage: crash run COUNT DIRECTORY THREADS COMMAND...   the COMMAND, run with "die FD THREADS" added, as its caller's environment
 *                                                  says; for each: nanoseconds from the fault to its death, of wall and of
 *                                                  CPU, and the time of the fault (CLOCK_MONOTONIC); DIRECTORY is emptied
 *        crash trap|null|jump|threads COUNT        ns of CPU and of wall an iteration, after a warm-up
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

struct shared { /* written right before the fault */
	volatile uint64_t wall, cpu;
};

static uint64_t now(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void null(void)
{
	__asm__ volatile("xorl %%eax, %%eax\n\tmovl %%eax, (%%rax)" ::: "rax", "memory");
}

static void *wait_for_ever(void *arg)
{
	pthread_barrier_wait(arg);
	for (;;)
		pause();
	return NULL;
}

static __attribute__((noinline)) int die(int fd, int threads)
{
	struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pthread_barrier_t all;
	pthread_t t;
	pthread_barrier_init(&all, NULL, (unsigned)threads + 1);
	for (int i = 0; i < threads; i++)
		if (pthread_create(&t, NULL, wait_for_ever, &all) != 0)
			return 1;
	pthread_barrier_wait(&all);
	struct timespec ms = {0, 2000000};
	nanosleep(&ms, NULL); /* all of them wait */
	s->cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	s->wall = now(CLOCK_MONOTONIC);
	null();
	return 1;
}

static void empty(const char *path)
{
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d)) != NULL;)
		if (e->d_type == DT_REG)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static int run(int count, const char *dir, const char *threads, char **command)
{
	struct rlimit none = {0, 0};
	char *args[16];
	int n = 0, fd = memfd_create("crash", 0);
	struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char number[12];
	if (fd < 0 || ftruncate(fd, 4096) != 0 || s == MAP_FAILED)
		return 1;
	setrlimit(RLIMIT_CORE, &none);
	snprintf(number, sizeof number, "%d", fd);
	while (command[n] && n < 12) {
		args[n] = command[n];
		n++;
	}
	args[n++] = "die";
	args[n++] = number;
	args[n++] = (char *)(uintptr_t)threads;
	args[n] = NULL;
	for (int i = 0; i < count; i++) {
		struct rusage u;
		int status;
		s->wall = s->cpu = 0;
		pid_t pid = fork();
		if (pid == 0) {
			execv(args[0], args);
			_exit(127);
		}
		if (wait4(pid, &status, 0, &u) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV || !s->wall) {
			fprintf(stderr, "crash: %s ended with status %x\n", args[0], status);
			return 1;
		}
		uint64_t end = now(CLOCK_MONOTONIC);
		uint64_t cpu = (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000u +
		               (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
		printf("%llu %llu %llu\n", (unsigned long long)(end - s->wall), (unsigned long long)(cpu > s->cpu ? cpu - s->cpu : 0),
		       (unsigned long long)s->wall);
		empty(dir);
	}
	return 0;
}

/* ---- hosts that live on signals ---- */

static sigjmp_buf back;

static void skip(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)info;
	((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP] += 2; /* ud2, and "mov %eax, (%rax)" */
}

static void jump(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

static void *nothing(void *arg)
{
	return arg;
}

static void trap(void)
{
	__asm__ volatile("ud2");
}

static void recover(void)
{
	if (sigsetjmp(back, 1) == 0)
		null();
}

static void make_thread(void)
{
	pthread_t t;
	if (pthread_create(&t, NULL, nothing, NULL) == 0)
		pthread_join(t, NULL);
}

static int loop(const char *what, long n)
{
	struct sigaction a = {0};
	void (*f)(void);
	if (strcmp(what, "trap") == 0 || strcmp(what, "null") == 0) {
		a.sa_flags = SA_SIGINFO;
		a.sa_sigaction = skip;
		f = *what == 't' ? trap : null;
	} else if (strcmp(what, "jump") == 0) {
		a.sa_handler = jump;
		f = recover;
	} else if (strcmp(what, "threads") == 0) {
		f = make_thread;
	} else {
		return 2;
	}
	if (f != make_thread && (sigaction(SIGSEGV, &a, NULL) || sigaction(SIGILL, &a, NULL)))
		return 1;
	for (long i = 0; i < n / 10; i++)
		f();
	uint64_t cpu = now(CLOCK_PROCESS_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
	for (long i = 0; i < n; i++)
		f();
	printf("%.1f %.1f\n", (double)(now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)n, (double)(now(CLOCK_MONOTONIC) - wall) / (double)n);
	return 0;
}

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc > 5 && strcmp(argv[1], "run") == 0)
		return run(atoi(argv[2]), argv[3], argv[4], argv + 5);
	if (argc > 3 && strcmp(argv[1], "die") == 0)
		return die(atoi(argv[2]), atoi(argv[3]));
	return argc > 2 ? loop(argv[1], atol(argv[2])) : 2;
}
