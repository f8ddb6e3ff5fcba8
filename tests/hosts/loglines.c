/*
 * loglines PROCESSES LINES PER_SECOND: numbered lines from each process, PER_SECOND in all (0: as fast as it goes), by
 * stdio with full and line buffers, and by write to fd 1 and 2 in turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void say(int p, int i)
{
	char line[200];
	int n = snprintf(line, sizeof line, "INFO p%d line %d of the proof, as long as lines usually are in a log file\n", p, i);
	if (p % 4 != 3)
		fwrite(line, 1, (size_t)n, stdout);
	else if (write(1 + i % 2, line, (size_t)n) != n)
		_exit(9);
}

int main(int argc, char **argv)
{
	int procs = argc > 1 ? atoi(argv[1]) : 1, n = argc > 2 ? atoi(argv[2]) : 1, bad = 0, st;
	double rate = argc > 3 ? atof(argv[3]) / procs : 0;
	for (int p = 0; p < procs; p++) {
		if (fork() != 0)
			continue;
		double start = now();
		setvbuf(stdout, NULL, p % 2 ? _IOLBF : _IOFBF, 4096);
		for (int i = 0; i < n; i++) {
			say(p, i);
			double wait = rate > 0 && i % 50 == 49 ? (i + 1) / rate - (now() - start) : 0;
			if (wait > 0)
				usleep((useconds_t)(wait * 1e6));
		}
		exit(0);
	}
	while (wait(&st) > 0)
		bad |= st;
	return bad != 0;
}
