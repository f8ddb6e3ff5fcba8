/* Memory that no core shows: as malloc's, wiped when it is given back, and marked. */
#include "exporters/secret.h"
#include "unit.h"
#include <stdbool.h>
#include <stdint.h>

static bool all_are(const unsigned char *p, size_t n, unsigned char c)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != c)
			return false;
	return true;
}

TEST(sizes)
{
	static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 33, 1000, 4096, 65519, 65520, 65521, 65536, 300000};
	enum { N = sizeof sizes / sizeof *sizes };
	unsigned char *p[N];
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++) {
			p[i] = secret_alloc(sizes[i]);
			OK(p[i] && (uintptr_t)p[i] % 16 == 0);
			memset(p[i], i + 1, sizes[i]);
		}
		for (int i = 0; i < N; i++)
			OK(all_are(p[i], sizes[i], (unsigned char)(i + 1)));
		for (int i = 0; i < N; i++)
			secret_free(p[i]);
	}
	secret_free(NULL);
	OK(!secret_calloc(SIZE_MAX / 2, 4) && !secret_alloc(SIZE_MAX - 4));
}

TEST(grows_and_shrinks)
{
	unsigned char *p = NULL;
	for (size_t n = 1; n < 500000; n = n * 3 + 1) {
		size_t before = p ? (n - 1) / 3 : 0;
		p = secret_realloc(p, n);
		OK(p && all_are(p, before, 7));
		memset(p, 7, n);
	}
	p = secret_realloc(p, 10);
	OK(p && all_are(p, 10, 7));
	secret_free(p);
	char *s = secret_strdup("hello");
	EQ_STR(s, "hello");
	secret_free(s);
	p = secret_calloc(10, 20);
	OK(p && all_are(p, 200, 0));
	secret_free(p);
}

TEST(is_wiped)
{
	unsigned char *p = secret_alloc(1000);
	memset(p, 'x', 1000);
	secret_free(p);
	OK(all_are(p, 1000, 0)); /* it stays mapped */
	OK(secret_alloc(1000) == p);
	memset(p, 'x', 1000);
	OK(secret_realloc(p, 500) == p && all_are(p + 500, 500, 0));
}

/* VmFlags of the mapping: "dd" is "do not dump". */
static bool is_dumped(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	bool here = false, dumped = true;
	while (f && fgets(line, sizeof line, f)) {
		unsigned long lo, hi;
		if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
			here = (uintptr_t)p >= lo && (uintptr_t)p < hi;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			dumped = !strstr(line, " dd");
	}
	OK(f);
	fclose(f);
	return dumped;
}

TEST(is_not_dumped)
{
	void *small = secret_alloc(10), *large = secret_alloc(1000000), *heap = malloc(10);
	OK(!is_dumped(small) && !is_dumped(large) && is_dumped(heap));
	free(heap);
}
