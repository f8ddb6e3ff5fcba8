/* Between save.c and save_maps.c only. Of the one thread that captures (catch.c). */
#ifndef REMORA_CRASH_SAVE_H
#define REMORA_CRASH_SAVE_H

#include "crash/crash_priv.h"

#define RED_ZONE 128

/* Of the crashed thread; the second one under a handler's alternate stack. */
struct crash_stack {
	uint64_t sp, end, lo, hi;
};
extern struct crash_stack crash_stacks[2];

/* Returns how many: less where memory is unreadable, or the file may not grow (beyond the limit lies SIGXFSZ). */
size_t crash_write_at(const void *p, size_t n, uint64_t at);
/* Writes the head of the section whose `size` bytes stand there already. */
void crash_close_section(enum crash_section_type type, int tid, uint64_t addr, uint64_t size);
void crash_write_head(void);

static inline uint64_t crash_below(uint64_t sp)
{
	return (sp - RED_ZONE) & ~(uint64_t)7;
}

static inline bool crash_sent(int code)
{
	return code == SI_USER || code == SI_QUEUE || code == SI_TKILL;
}

#endif
