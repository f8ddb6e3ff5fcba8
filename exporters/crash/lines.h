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

/* The module's own, opened when first wanted. NULL: none. */
struct lines *lines_of(struct modules *m, struct module *mod);

/* ---- lines_calls.c: calls, as the compiler wrote them down. For tail calls, which leave no frame. */

#define LINES_TAILS 32

struct line_call {
	uint64_t addr;    /* of the function called, as linked; 0: only its name is known */
	const char *name; /* as the linker knows it */
	uint64_t ret;     /* where it would return to */
};

/* What the call that returns to ret calls. False: not known. */
bool lines_call_at(struct lines *l, uint64_t ret, struct line_call *out);
/* The function that addr is in: where it begins, what it is called, which tail calls it makes. -1: no function. */
int lines_tail_calls(struct lines *l, uint64_t addr, uint64_t *entry, struct line_frame *name,
                     struct line_call out[LINES_TAILS]);

#endif
