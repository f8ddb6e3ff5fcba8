/* Objects of one size, from many threads. */
#include "base/pool.h"
#include "unit.h"
#include <pthread.h>

TEST(get_and_put)
{
	static struct pool p = POOL(100, 4096, 3 * 4096);
	char *all[128];
	unsigned n = 0;
	EQ_INT(p.size, 128);
	while (n < 128 && (all[n] = pool_get(&p)))
		n++;
	EQ_INT(n, 3 * 32);
	EQ_INT(p.mapped, 3 * 4096);
	for (unsigned i = 0; i < n; i++) {
		OK(((uintptr_t)all[i] & 63) == 0);
		for (unsigned k = 0; k < 128; k++)
			OK(all[i][k] == 0 || k < 8);
		memset(all[i], (int)i + 1, 128);
	}
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 128; k++)
			OK(all[i][k] == (char)(i + 1));
	pool_put(&p, all[5]);
	EQ_INT(all[5][8], 6); /* keeps its content */
	OK(pool_get(&p) == all[5]);
	OK(!pool_get(&p));
	for (unsigned i = 0; i < n; i++)
		pool_put(&p, all[i]);
	for (unsigned i = 0; i < n; i++)
		OK(pool_get(&p));
	OK(!pool_get(&p));
	EQ_INT(p.mapped, 3 * 4096);
}

TEST(one_object_to_a_chunk)
{
	static struct pool p = POOL(64 * 1024, 64 * 1024, 128 * 1024);
	void *a = pool_get(&p), *b = pool_get(&p);
	OK(a && b && a != b && !pool_get(&p));
	pool_put(&p, a);
	OK(pool_get(&p) == a);
}

TEST(no_memory_at_all)
{
	static struct pool p = POOL(64, 4096, 4095);
	OK(!pool_get(&p) && !pool_get(&p));
	EQ_INT(p.mapped, 0);
}

static struct pool shared = POOL(64, 4096, 8192);

static void *worker(void *arg)
{
	uintptr_t *mine[40], me = (uintptr_t)arg;
	for (int round = 0; round < 20000; round++) {
		unsigned n = (unsigned)round % 40, got = 0;
		while (got < n && (mine[got] = pool_get(&shared))) {
			mine[got][0] = me;
			mine[got][7] = me;
			got++;
		}
		for (unsigned i = 0; i < got; i++)
			if (mine[i][0] != me || mine[i][7] != me)
				return "two have it";
		while (got)
			pool_put(&shared, mine[--got]);
	}
	return NULL;
}

TEST(threads)
{
	pthread_t t[4];
	for (uintptr_t i = 0; i < 4; i++)
		OK(pthread_create(&t[i], NULL, worker, (void *)(i + 1)) == 0);
	for (int i = 0; i < 4; i++) {
		void *r;
		pthread_join(t[i], &r);
		EQ_STR((const char *)r, NULL);
	}
	unsigned n = 0;
	while (pool_get(&shared))
		n++;
	EQ_INT(n, shared.mapped / 64);
}
