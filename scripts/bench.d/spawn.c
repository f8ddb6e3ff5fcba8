/*
 * What a start costs: runs a program COUNT times plain and preloaded in turn, with posix_spawn, and prints for each
 * pair "plain_cpu plain_wall preloaded_cpu preloaded_wall" in nanoseconds. The CPU time is the child's own (wait4).
 * usage: spawn COUNT LIBRARY COMMAND ARG...     the environment is the caller's
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void once(char **argv, char **env, uint64_t *cpu, uint64_t *wall)
{
	struct rusage u;
	int status;
	pid_t pid;
	uint64_t start = now();
	if (posix_spawn(&pid, argv[0], NULL, NULL, argv, env) != 0 || wait4(pid, &status, 0, &u) != pid || status != 0) {
		fprintf(stderr, "spawn: %s failed\n", argv[0]);
		exit(1);
	}
	*wall = now() - start;
	*cpu = (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000u +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	size_t n = 0;
	while (environ[n])
		n++;
	char **env = calloc(n + 2, sizeof *env), *preload;
	if (!env || asprintf(&preload, "LD_PRELOAD=%s", argv[2]) < 0)
		return 1;
	memcpy(env, environ, n * sizeof *env);
	env[n] = preload;
	for (int i = 0; i < atoi(argv[1]); i++) {
		uint64_t v[4];
		once(argv + 3, environ, &v[0], &v[1]);
		once(argv + 3, env, &v[2], &v[3]);
		printf("%llu %llu %llu %llu\n", (unsigned long long)v[0], (unsigned long long)v[1], (unsigned long long)v[2],
		       (unsigned long long)v[3]);
	}
	return 0;
}
