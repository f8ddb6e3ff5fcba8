/* flags: -w */
/*
 * Crashes with a lock held: crash_lock LOCK MODE PLUGIN. MODE: plain; serve: a request before, so that this process has
 * an exporter; fork: its parent has, and this is a worker; stopped: the parent is stopped meanwhile. Prints the moment of the crash, on CLOCK_MONOTONIC.
 */
#define _GNU_SOURCE
#include "crash_serve.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define STAYS __asm__ volatile("" :: \
	                               : "memory")
#define IS(x) (strcmp(lock, x) == 0)

static int *volatile null;
static pthread_barrier_t bar;

static void say(const char *what, long long n)
{
	char line[64];
	int k = snprintf(line, sizeof line, "%s %lld\n", what, n);
	if (write(1, line, (size_t)k) != k)
		_exit(99);
}

static long long now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

KEEP static void fault(void)
{
	*null = 1;
	STAYS;
}

static int stay(struct dl_phdr_info *i, size_t n, void *p)
{
	pthread_barrier_wait(&bar);
	for (;;)
		pause();
}

static int fault_there(struct dl_phdr_info *i, size_t n, void *p)
{
	fault();
	return 0;
}

static void *other(void *lock_)
{
	const char *lock = lock_;
	if (IS("iterate_other"))
		dl_iterate_phdr(stay, NULL);
	if (IS("stdio_other")) {
		flockfile(stdout);
		flockfile(stderr);
	}
	stay(NULL, 0, NULL);
	return NULL;
}

KEEP static void act(const char *lock, const char *plugin)
{
	say("crash", now());
	if (IS("malloc")) {           /* abort() with the arena's lock held */
		char *p = malloc(100000); /* from the top: no freed block is so large */
		memset(p + 100000, 0xff, 100);
		(void)!malloc(100000);
	} else if (IS("dlopen")) {
		if (!dlopen(plugin, RTLD_NOW))
			say(dlerror(), 0);
	} else if (IS("iterate")) {
		dl_iterate_phdr(fault_there, NULL);
	} else if (IS("stdio")) {
		flockfile(stdout);
		flockfile(stderr);
	}
	fault();
}

static int state_of(pid_t pid)
{
	char path[64], line[256] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "r");
	if (f && fgets(line, sizeof line, f) && strrchr(line, ')'))
		line[0] = strrchr(line, ')')[2];
	if (f)
		fclose(f);
	return line[0];
}

int main(int argc, char **argv)
{
	const char *lock = argv[1], *mode = argv[2];
	int l = -1, go[2], status = 0;
	pid_t child = 0;
	pthread_t t;
	alarm(60);
	if (strcmp(mode, "plain") != 0)
		l = listener();
	if (strcmp(mode, "fork") == 0 || strcmp(mode, "stopped") == 0) {
		char c;
		if (pipe(go) != 0 || (child = fork()) < 0)
			return 98;
		if (child == 0 && read(go[0], &c, 1) != 1)
			return 94;
		while (child == 0 && strcmp(mode, "stopped") == 0 && state_of(getppid()) != 'T')
			usleep(1000);
	}
	if (child || strcmp(mode, "serve") == 0)
		serve(l, 1);
	if (child) {
		if (write(go[1], "x", 1) != 1)
			return 93;
		if (strcmp(mode, "stopped") == 0)
			raise(SIGSTOP);
		waitpid(child, &status, 0);
		say("ended", now());
		say("signal", WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status));
		return 0;
	}
	pthread_barrier_init(&bar, NULL, 2);
	pthread_create(&t, NULL, other, argv[1]);
	pthread_barrier_wait(&bar);
	act(lock, argv[3]);
	return 92;
}
