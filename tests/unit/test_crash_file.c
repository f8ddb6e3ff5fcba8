/* The reader of crash files: every truncation, sizes that lie, bytes that are not aligned. */
#include "exporters/buf.h"
#include "exporters/crash/crash_file.h"
#include "unit.h"

static struct crash_file f;

static void put(struct buf *b, uint32_t type, int tid, uint64_t addr, const void *p, size_t n)
{
	struct crash_section s = {type, tid, addr, n};
	buf_add(b, &s, sizeof s);
	buf_add(b, p, n);
	buf_add(b, "\0\0\0\0\0\0\0", -n & 7);
}

static struct buf sample(void)
{
	struct crash_head h = {.magic = CRASH_MAGIC, .layout = CRASH_LAYOUT, .done = 1, .tid = 7};
	struct buf b = {0};
	buf_add(&b, &h, sizeof h);
	put(&b, CRASH_SEC_STACK, 7, 0x1000, "0123456789abcde", 15);
	put(&b, 999, 0, 0, "of a later version", 18);
	put(&b, CRASH_SEC_STACK, 8, 0x2000, "xyz", 3);
	return b;
}

TEST(whole)
{
	struct buf b = sample();
	OK(!crash_file_open(&f, b.p, b.n) && f.complete);
	EQ_INT(f.n, 3);
	size_t at = 0;
	const struct crash_part *p = crash_file_next(&f, CRASH_SEC_STACK, 8, &at);
	EQ_MEM(p->p, p->n, "xyz", 3);
	OK(!crash_file_next(&f, CRASH_SEC_STACK, 8, &at));
	char to[8];
	OK(crash_file_memory(&f, 0x1001, to, 8) && memcmp(to, "12345678", 8) == 0);
	OK(!crash_file_memory(&f, 0x1008, to, 8) && crash_file_memory(&f, 0x1007, to, 8));
	OK(!crash_file_memory(&f, 0xfff, to, 1) && !crash_file_memory(&f, UINT64_MAX, to, 8));
	buf_free(&b);
}

TEST(cut_off_anywhere)
{
	struct buf b = sample();
	for (size_t n = 0; n <= b.n; n++) {
		unit_case("%zu bytes", n);
		struct unit_guarded g = unit_at_end(b.p, n);
		const char *bad = crash_file_open(&f, g.p, n);
		EQ_INT(bad != NULL, n < sizeof f.head);
		if (!bad) {
			for (size_t i = 0; i < f.n; i++)
				OK(f.part[i].p + f.part[i].n <= (const uint8_t *)g.p + n);
			OK(f.complete == (n >= b.n - 5) || n == sizeof f.head || f.n < 3);
		}
		unit_unguard(g);
	}
	buf_free(&b);
}

TEST(sizes_that_lie)
{
	static const uint64_t sizes[] = {16, 4096, INT64_MAX, UINT64_MAX, UINT64_MAX - 7, UINT64_MAX - 40};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct buf b = sample();
		unit_case("size %llx", (unsigned long long)sizes[i]);
		memcpy(b.p + sizeof f.head + offsetof(struct crash_section, size), &sizes[i], 8);
		struct unit_guarded g = unit_at_end(b.p, b.n);
		OK(!crash_file_open(&f, g.p, b.n));
		for (size_t k = 0; k < f.n; k++)
			OK(f.part[k].p + f.part[k].n <= (const uint8_t *)g.p + b.n);
		unit_unguard(g);
		buf_free(&b);
	}
}

TEST(not_one)
{
	struct buf b = sample();
	b.p[0]++;
	OK(crash_file_open(&f, b.p, b.n));
	b.p[0]--;
	b.p[8]++;
	OK(crash_file_open(&f, b.p, b.n));
	buf_free(&b);
}
