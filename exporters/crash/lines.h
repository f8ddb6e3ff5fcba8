/*
 * Functions, inlined calls and lines from DWARF. exporter thread, or the remora command. The only user of elfutils.
 * The file is hostile: what is larger than the limits is not looked at, walks are bounded by a count and by the
 * deadline. Strings live as long as the struct.
 */
#ifndef REMORA_CRASH_LINES_H
#define REMORA_CRASH_LINES_H

#include "exporters/crash/modules.h"

#define LINES_DEPTH 32 /* inlined calls at one address */

struct line_frame {
	const char *function, *linkage; /* as the source has it; mangled. NULL: unknown */
	const char *file;
	uint32_t line, column;
};

struct lines;

/* path: of e, for what its names are relative to. NULL: no DWARF, too much of it, or no memory. */
struct lines *lines_open(struct modules *m, const struct elf_file *e, const char *path);
void lines_close(struct lines *l);
/* Innermost first; all but the last are inlined. Address as linked. 0: nothing known. *language: DW_LANG_* or 0. */
size_t lines_at(struct lines *l, uint64_t addr, struct line_frame out[LINES_DEPTH], int *language);

#endif
