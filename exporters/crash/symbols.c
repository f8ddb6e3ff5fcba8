/* Names, files and lines: from DWARF, else from the tables of symbols. */
#include "exporters/crash/symbols.h"
#include "exporters/crash/lines.h"
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_ 4096

static const char *nice(struct report *r, const char *name, struct symbol *s)
{
	char out[DEMANGLED_MAX];
	enum mangling k = demangle(name, out);
	if (s->mangling == MANGLED_NOT)
		s->mangling = k;
	return report_str(r, out, strlen(out));
}

static void add_frame(struct symbol *s, struct report *r, size_t n)
{
	s->frame = report_alloc(r, n * sizeof *s->frame);
	s->n = s->frame ? n : 0;
}

static void from_lines(struct lines *l, struct symbol *s, struct report *r)
{
	struct line_frame f[LINES_DEPTH];
	size_t n = lines_at(l, s->addr, f, &s->language);
	add_frame(s, r, n);
	for (size_t i = 0; i < s->n; i++) {
		/* In C the linkage name is what the linker sees (__GI_raise), and what gdb shows. */
		const char *name = f[i].linkage ? f[i].linkage : f[i].function;
		s->frame[i] = (struct symbol_frame){
			.function = name ? nice(r, name, s) : NULL,
			.file = f[i].file ? report_str(r, f[i].file, strnlen(f[i].file, NAME_MAX_)) : NULL,
			.line = f[i].line,
			.column = f[i].column,
		};
	}
}

static bool unnamed(const struct symbol *s)
{
	return !s->n || !s->frame[s->n - 1].function;
}

static void from_table(struct modules *m, const struct elf_file *e, const char *table, struct symbol *syms, size_t n,
                       struct symtab_hit *h, struct report *r)
{
	char name[NAME_MAX_];
	size_t k = 0;
	for (size_t i = 0; i < n; i++)
		if (unnamed(&syms[i]))
			h[k++] = (struct symtab_hit){.addr = syms[i].addr};
	if (k == 0)
		return;
	if (table)
		symtab_find(m, e, table, h, k);
	for (size_t i = 0, at = 0; i < n; i++) {
		struct symbol *s = &syms[i];
		if (!unnamed(s))
			continue;
		const struct symtab_hit *hit = &h[at++];
		if (table ? !hit->name || !symtab_name(m, e, hit->name, name, sizeof name) : !symtab_plt(m, e, s->addr, name, sizeof name))
			continue;
		if (!s->n)
			add_frame(s, r, 1);
		if (s->n)
			s->frame[s->n - 1].function = nice(r, name, s);
	}
}

static void from_tables(struct modules *m, struct module *mod, struct symbol *syms, size_t n, struct report *r)
{
	struct symtab_hit *h = calloc(n, sizeof *h);
	if (!h)
		return;
	struct elf_file *d = module_debug(m, mod);
	from_table(m, &mod->elf, ".symtab", syms, n, h, r);
	if (d)
		from_table(m, d, ".symtab", syms, n, h, r);
	from_table(m, &mod->elf, ".dynsym", syms, n, h, r);
	from_table(m, &mod->elf, NULL, syms, n, h, r);
	free(h);
}

void symbols_find(struct modules *m, struct module *mod, struct symbol *syms, size_t n, struct report *r)
{
	if (mod->state != MODULE_GOOD || n == 0)
		return;
	struct lines *l = lines_of(m, mod);
	for (size_t i = 0; l && i < n && !modules_late(m); i++)
		from_lines(l, &syms[i], r);
	from_tables(m, mod, syms, n, r);
}
