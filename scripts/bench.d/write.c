/*
 * What an untracked call costs: write(2) of one byte to /dev/null, nanoseconds per call, one line per repeat.
 * usage: write CALLS REPEATS
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
	int fd = open("/dev/null", O_WRONLY), calls = argc > 1 ? atoi(argv[1]) : 200000, n = argc > 2 ? atoi(argv[2]) : 5;
	for (int i = 0; i <= n; i++) {
		double start = now();
		for (int k = 0; k < calls; k++)
			if (write(fd, "x", 1) != 1)
				return 1;
		if (i) /* the first one warms up */
			printf("%.3f\n", (now() - start) / calls);
	}
	return 0;
}
