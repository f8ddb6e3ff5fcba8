/*
 * Reading a crash file (shim/crash/record.h). exporter thread, or the remora command.
 * The file's bytes are hostile and stay the caller's: sections point into them. Nothing here trusts a size, an address
 * or alignment. A truncated file is read as far as it goes.
 */
#ifndef REMORA_CRASH_FILE_H
#define REMORA_CRASH_FILE_H

#include "shim/crash/record.h"
#include <stdbool.h>
#include <stddef.h>

#define CRASH_SECTIONS_MAX (4 * CRASH_THREADS_MAX + 64)

struct crash_part {
	uint32_t type;
	int32_t tid;
	uint64_t addr;
	const uint8_t *p; /* not aligned */
	size_t n;
};

struct crash_file {
	struct crash_head head;
	bool complete; /* the head says done, and no section is cut off */
	size_t n;
	struct crash_part part[CRASH_SECTIONS_MAX];
};

/* NULL, or what is wrong with it. A newer layout is refused; an unknown type of section is kept and ignored. */
const char *crash_file_open(struct crash_file *f, const void *bytes, size_t n);

/* The next section of that type after *at (start with 0), or NULL. tid 0: of any thread. */
const struct crash_part *crash_file_next(const struct crash_file *f, uint32_t type, int32_t tid, size_t *at);

/* n bytes of the memory that was saved: a thread's stack, code. False: not all of them were. */
bool crash_file_memory(const struct crash_file *f, uint64_t addr, void *to, size_t n);

#endif
