/* A report's memory: a list of blocks, freed together. */
#include "base/clock.h"
#include "base/sys.h"
#include "exporters/crash/report.h"
#include <stdlib.h>
#include <string.h>

struct report_mem {
	struct report_mem *next;
	max_align_t bytes[];
};

static void make_uuid(char out[37])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t b[16];
	if (sys3(SYS_getrandom, b, sizeof b, 0) != sizeof b) {
		uint64_t seed[2] = {real_ns(), mono_ns() ^ (uint64_t)(uintptr_t)out << 20 ^ (uint64_t)sys_getpid()};
		memcpy(b, seed, sizeof b);
	}
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = hex[b[i] >> 4];
		*out++ = hex[b[i] & 15];
	}
	*out = 0;
}

struct report *report_new(enum report_source source)
{
	struct report *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->source = source;
	r->time_ns = real_ns();
	make_uuid(r->uuid);
	return r;
}

void *report_alloc(struct report *r, size_t n)
{
	struct report_mem *m = calloc(1, sizeof *m + n);
	if (!m)
		return NULL;
	m->next = r->mem;
	r->mem = m;
	return m->bytes;
}

const char *report_str(struct report *r, const char *s, size_t n)
{
	char *p = s ? report_alloc(r, n + 1) : NULL;
	if (p)
		memcpy(p, s, n);
	return p;
}

void report_absorb(struct report *to, struct report *from)
{
	struct report_mem **end = &to->mem;
	while (*end)
		end = &(*end)->next;
	*end = from->mem;
	free(from);
}

void report_free(struct report *r)
{
	while (r && r->mem) {
		struct report_mem *next = r->mem->next;
		free(r->mem);
		r->mem = next;
	}
	free(r);
}
