/*
 * web N THREADS: N exchanges in each of THREADS threads (0: in main alone), with memory allocated and freed
 * between them. The workhorse of the tests of limits, allocators and missing directories; the ASan tests compile it their own way.
 */
#include "host.h"

static int count;

static void *work(void *arg)
{
	static _Thread_local void *keep[16];
	unsigned seed = (unsigned)(long)arg + 1;
	for (int i = 0; i < count; i++) {
		int p[2];
		tcp_pair(p);
		exchange(p, "/web");
		free(keep[i % 16]);
		seed = seed * 1664525 + 1013904223;
		size_t n = 1 + (seed >> 8) % 5000;
		CHECK((keep[i % 16] = malloc(n)));
		memset(keep[i % 16], 0x5a, n);
		close(p[0]);
		close(p[1]);
	}
	for (int i = 0; i < 16; i++)
		free(keep[i]);
	return arg;
}

int main(int argc, char **argv)
{
	CHECK(argc >= 3);
	alarm(40);
	count = atoi(argv[1]);
	int threads = atoi(argv[2]);
	pthread_t t[64];
	for (int i = 0; i < threads; i++)
		MUST(-pthread_create(&t[i], NULL, work, (void *)(long)i));
	if (!threads)
		work(NULL);
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	printf("%d x %d\n", threads, count);
	fprintf(stderr, "to stderr\n");
	return 11;
}
