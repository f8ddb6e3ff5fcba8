/* Inside of lines*.c. */
#ifndef REMORA_CRASH_LINES_PRIV_H
#define REMORA_CRASH_LINES_PRIV_H

#include "exporters/crash/lines.h"
#include <elfutils/libdw.h>
#include <setjmp.h>

#define DEPTH_MAX 64

struct range {
	uint64_t lo, hi;
	Dwarf_Off die;
};

struct lines {
	struct modules *m;
	Elf *elf, *alt_elf;
	Dwarf *dw, *alt;
	struct elf_file alt_file;
	Elf_Data *line_data;
	struct range *ranges; /* sorted by lo */
	size_t n_ranges;
	char **names; /* that were put together; owned, each */
	size_t n_names;
	bool broken; /* memory ran out inside libdw: what it holds is not touched again */
};

struct chain {
	uint64_t addr;
	size_t n; /* outermost first: the function, then what is inlined into it */
	Dwarf_Die die[LINES_DEPTH];
	size_t dies;
	bool assembly;
	struct modules *m;
};

/* Where libdw goes when memory ran out: set it before every way into libdw, and then set `broken`. */
extern __thread jmp_buf lines_no_memory;

bool lines_unit(struct lines *l, uint64_t addr, Dwarf_Die *die);
bool lines_tired(struct chain *c);
void lines_chain(struct chain *c, Dwarf_Die *unit, int language); /* the functions around c->addr */
void lines_name(struct lines *l, struct line_frame *f, Dwarf_Die *die, bool scoped);

#endif
