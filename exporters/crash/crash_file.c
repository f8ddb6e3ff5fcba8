/* Reading a crash file: every byte of it is hostile. */
#include "exporters/crash/crash_file.h"
#include <string.h>

const char *crash_file_open(struct crash_file *f, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	f->n = 0;
	f->complete = false;
	if (n < sizeof f->head)
		return "shorter than a crash file's head";
	memcpy(&f->head, p, sizeof f->head);
	if (f->head.magic != CRASH_MAGIC)
		return "not a crash file";
	if (f->head.layout != CRASH_LAYOUT)
		return "a crash file of another layout";
	bool whole = f->head.done == 1;
	size_t at = sizeof f->head;
	while (at < n) {
		struct crash_section s;
		if (n - at < sizeof s) {
			whole = false;
			break;
		}
		memcpy(&s, p + at, sizeof s);
		at += sizeof s;
		if (f->n == CRASH_SECTIONS_MAX) {
			whole = false;
			break;
		}
		struct crash_part *part = &f->part[f->n++];
		*part = (struct crash_part){s.type, s.tid, s.addr, p + at, s.size};
		if (s.size > n - at) {
			part->n = n - at;
			whole = false;
			break;
		}
		at += s.size;
		size_t pad = -s.size & 7;
		at = pad > n - at ? n : at + pad;
	}
	f->complete = whole;
	return NULL;
}

const struct crash_part *crash_file_next(const struct crash_file *f, uint32_t type, int32_t tid, size_t *at)
{
	while (*at < f->n) {
		const struct crash_part *p = &f->part[(*at)++];
		if (p->type == type && (!tid || p->tid == tid))
			return p;
	}
	return NULL;
}

bool crash_file_memory(const struct crash_file *f, uint64_t addr, void *to, size_t n)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct crash_part *p = &f->part[i];
		if (p->type != CRASH_SEC_STACK && p->type != CRASH_SEC_CODE)
			continue;
		if (addr < p->addr || addr - p->addr >= p->n || n > p->n - (addr - p->addr))
			continue;
		memcpy(to, p->p + (addr - p->addr), n);
		return true;
	}
	return false;
}
