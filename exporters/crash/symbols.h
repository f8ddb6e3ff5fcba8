/* Names, files and lines of addresses in one module. exporter thread, or the remora command. */
#ifndef REMORA_CRASH_SYMBOLS_H
#define REMORA_CRASH_SYMBOLS_H

#include "exporters/crash/demangle.h"
#include "exporters/crash/modules.h"
#include "exporters/crash/report.h"

struct symbol_frame {
	const char *function, *file; /* the report's memory; NULL: unknown */
	uint32_t line, column;
};

struct symbol {
	uint64_t addr; /* as linked */
	size_t n;      /* innermost first; 0: nothing is known */
	struct symbol_frame *frame;
	enum mangling mangling; /* of the innermost name that had one */
	int language;           /* DW_LANG_*, 0: unknown */
};

/* Fills in all of them; syms are sorted by addr. */
void symbols_find(struct modules *m, struct module *mod, struct symbol *syms, size_t n, struct report *r);

/* symtab.c. A function's name from a table of symbols, at its linked addresses. */
struct symtab_hit {
	uint64_t addr; /* wanted; sorted */
	uint64_t value, size;
	uint64_t name; /* offset in the file; 0: none found */
};
void symtab_find(struct modules *m, const struct elf_file *e, const char *table, struct symtab_hit *hits, size_t n);
bool symtab_name(struct modules *m, const struct elf_file *e, uint64_t off, char *out, size_t cap);
/* A function by its name, in a table that is not too large to be searched. */
bool symtab_by_name(struct modules *m, const struct elf_file *e, const char *table, const char *name, uint64_t *addr);
/* The function that a PLT entry jumps to. */
bool symtab_plt(struct modules *m, const struct elf_file *e, uint64_t addr, char *out, size_t cap);

#endif
