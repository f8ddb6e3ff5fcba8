/* What was written last, in one piece and in order, whatever the writes were like. */
#include "span/text_tail.h"
#include "crash/record.h"
#include "span/process.h"
#include "unit.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>

static void add(int tid, const char *s, size_t n)
{
	struct iovec v[2] = {{(void *)(uintptr_t)s, n / 3}, {(void *)(uintptr_t)(s + n / 3), n - n / 3}};
	text_tail_add(tid, v, 2, n);
}

/* Of all threads, or one: appended to `out`. The number of pieces. */
static unsigned read_all(int tid, char *out, size_t *n)
{
	size_t size, at = 0;
	unsigned pieces = 0;
	const char *p = text_tail(&size);
	uint64_t before = 0;
	*n = 0;
	while (at < size) {
		struct crash_words w;
		OK(size - at >= sizeof w);
		memcpy(&w, p + at, sizeof w);
		at += sizeof w;
		OK(w.n > 0 && w.n <= size - at);
		OK(w.time_ns >= before);
		before = w.time_ns;
		if (!tid || w.tid == tid) {
			memcpy(out + *n, p + at, w.n);
			*n += w.n;
			pieces++;
		}
		at += (w.n + 7) & ~7u;
	}
	EQ_INT(at, size);
	return pieces;
}

static char got[128 * 1024];

TEST(small_writes_are_put_together)
{
	size_t n;
	process.pid = getpid();
	OK(!text_tail(&n));
	for (int i = 0; i < 100; i++)
		add(7, "abc", 3);
	OK(read_all(7, got, &n) < 50); /* by time */
	EQ_INT(n, 300);
	add(8, "x\n", 2);
	add(7, "end", 3);
	read_all(7, got, &n);
	EQ_MEM(got + 297, n - 297, "abcend", 6);
	EQ_INT(read_all(8, got, &n), 1);
}

TEST(the_newest_stays)
{
	char line[64];
	size_t n;
	process.pid = getpid();
	for (int i = 0; i < 20000; i++)
		add(1 + i % 3, line, (size_t)snprintf(line, sizeof line, "line %d\n", i));
	read_all(0, got, &n);
	OK(n > 8 * 1024 && n < 64 * 1024);
	got[n] = 0;
	EQ_STR(got + n - 11, "line 19999\n");
	/* One write that is larger than all: its end. */
	char *big = malloc(200000);
	memset(big, 'x', 200000);
	memcpy(big + 200000 - 4, "last", 4);
	add(1, big, 200000);
	read_all(1, got, &n);
	EQ_MEM(got + n - 4, 4, "last", 4);
	free(big);
}

TEST(a_fork_child_has_said_nothing)
{
	size_t n;
	process.pid = getpid();
	add(1, "parent", 6);
	pid_t pid = fork();
	if (pid == 0) {
		if (text_tail(&n))
			_exit(1);
		process.pid = getpid();
		add(1, "child", 5);
		_exit(!text_tail(&n) || read_all(0, got, &n) != 1 || n != 5);
	}
	int status;
	waitpid(pid, &status, 0);
	EQ_INT(status, 0);
}

static void *many(void *arg)
{
	int tid = (int)(intptr_t)arg;
	char line[32];
	for (int i = 0; i < 20000; i++)
		add(tid, line, (size_t)snprintf(line, sizeof line, "%d:%d\n", tid, i));
	return NULL;
}

TEST(threads)
{
	pthread_t t[4];
	size_t n;
	process.pid = getpid();
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, many, (void *)(intptr_t)(i + 1));
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (int tid = 1; tid <= 4; tid++) {
		if (!read_all(tid, got, &n))
			continue;
		got[n] = 0;
		int before = -1;
		for (char *p = strchr(got, '\n'); p && p[1]; p = strchr(p + 1, '\n')) { /* the first one may be cut */
			int who, number;
			EQ_INT(sscanf(p + 1, "%d:%d", &who, &number), 2);
			EQ_INT(who, tid);
			OK(number > before);
			before = number;
		}
	}
}
