/* DWARF by way of libdw. What libdw would open by itself (.dwo, dwz files) it is not let: we open it, or nobody does. */
#include "exporters/crash/lines_priv.h"
#include <dwarf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RANGES_MAX 2000000
#define UNITS_MAX 200000
#define DIES_MAX 4000000        /* per address */
#define LINE_UNIT_MAX (4 << 20) /* a row may take one byte of the program and 60 of memory */
#define SCOPE_MAX 1024

__thread jmp_buf lines_no_memory;

static __attribute__((noreturn)) void out_of_memory(void)
{
	longjmp(lines_no_memory, 1);
}

/* Sizes of all debugging sections, unpacked; UINT64_MAX: of a kind that is not read. */
static uint64_t debug_size(struct modules *m, const struct elf_file *e, bool *info)
{
	uint64_t sum = 0;
	*info = false;
	for (uint32_t i = 0; i < e->n_sh; i++) {
		const Elf64_Shdr *s = &e->sh[i];
		const char *name = s->sh_name < e->names_n ? e->names + s->sh_name : "";
		if (s->sh_type == SHT_NOBITS)
			continue;
		if (strncmp(name, ".zdebug", 7) == 0)
			return UINT64_MAX;
		uint64_t size = s->sh_size;
		if (s->sh_flags & SHF_COMPRESSED) {
			Elf64_Chdr c;
			if (s->sh_size < sizeof c || !elf_read(m, e, s->sh_offset, &c, sizeof c) || c.ch_type != ELFCOMPRESS_ZLIB)
				return UINT64_MAX;
			size = c.ch_size;
		}
		if (strncmp(name, ".debug_", 7) != 0 && strncmp(name, ".gnu_debug", 10) != 0)
			continue;
		*info |= strcmp(name, ".debug_info") == 0;
		if (size > m->debug_max || (sum += size) > m->debug_max)
			return UINT64_MAX;
	}
	return sum;
}

static Elf *begin(struct modules *m, const struct elf_file *e)
{
	bool info;
	uint64_t size;
	if (e->fd < 0 || e->type == ET_REL || (size = debug_size(m, e, &info)) == UINT64_MAX || !info || modules_late(m))
		return NULL;
	m->debug_max -= size;
	elf_version(EV_CURRENT);
	return elf_begin(e->fd, ELF_C_READ, NULL); /* reads sections when they are wanted, maps nothing */
}

/* dwz: names and types that several files share. */
static void open_alt(struct lines *l, const struct elf_file *e, const char *path)
{
	struct elf_part p;
	char link[1024], full[4096];
	l->alt_file.fd = -1;
	dwarf_setalt(l->dw, (Dwarf *)-1); /* do not look yourself */
	if (!elf_section(l->m, e, ".gnu_debugaltlink", &p) || p.raw || p.size > sizeof link ||
	    !elf_read(l->m, e, p.off, link, p.size))
		return;
	size_t n = strnlen(link, p.size);
	if (n + 3 > p.size)
		return;
	const uint8_t *id = (const uint8_t *)link + n + 1;
	size_t id_n = p.size - n - 1;
	if (!elf_open_build_id(l->m, &l->alt_file, id, id_n, full, sizeof full)) {
		const char *slash = strrchr(path, '/');
		size_t dir = link[0] == '/' || !slash ? 0 : (size_t)(slash - path) + 1;
		if (dir + n >= sizeof full)
			return;
		memcpy(full, path, dir);
		memcpy(full + dir, link, n + 1);
		if (!elf_open(l->m, &l->alt_file, full))
			return;
		if (l->alt_file.build_id_n != id_n || memcmp(l->alt_file.build_id, id, id_n) != 0) {
			elf_close(&l->alt_file);
			return;
		}
	}
	l->alt_elf = begin(l->m, &l->alt_file);
	l->alt = l->alt_elf ? dwarf_begin_elf(l->alt_elf, DWARF_C_READ, NULL) : NULL;
	if (!l->alt)
		return;
	dwarf_new_oom_handler(l->alt, out_of_memory);
	dwarf_setalt(l->alt, (Dwarf *)-1);
	dwarf_setalt(l->dw, l->alt);
}

static int by_lo(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static void find_ranges(struct lines *l)
{
	Dwarf_CU *cu = NULL;
	Dwarf_Die die;
	size_t cap = 0;
	uint8_t type;
	for (size_t n = 0; n < UNITS_MAX && !modules_late(l->m); n++) {
		if (dwarf_get_units(l->dw, cu, &cu, NULL, &type, &die, NULL) != 0)
			break;
		if (type != DW_UT_compile && type != DW_UT_skeleton && type != 0)
			continue;
		Dwarf_Addr base, lo, hi;
		ptrdiff_t at = 0;
		while (l->n_ranges < RANGES_MAX && (at = dwarf_ranges(&die, at, &base, &lo, &hi)) > 0) {
			if (lo >= hi)
				continue;
			if (l->n_ranges == cap) {
				struct range *more = realloc(l->ranges, (cap = cap ? cap * 2 : 64) * sizeof *more);
				if (!more)
					return;
				l->ranges = more;
			}
			l->ranges[l->n_ranges++] = (struct range){lo, hi, dwarf_dieoffset(&die)};
		}
	}
	if (l->n_ranges)
		qsort(l->ranges, l->n_ranges, sizeof *l->ranges, by_lo);
}

static Elf_Data *section_data(Elf *elf, const char *name)
{
	size_t str;
	Elf_Scn *s = NULL;
	if (elf_getshdrstrndx(elf, &str) != 0)
		return NULL;
	while ((s = elf_nextscn(elf, s))) {
		Elf64_Shdr *h = elf64_getshdr(s);
		const char *is = h ? elf_strptr(elf, str, h->sh_name) : NULL;
		if (is && strcmp(is, name) == 0 && h->sh_type != SHT_NOBITS)
			return elf_rawdata(s, NULL);
	}
	return NULL;
}

static void read_units(struct lines *l, const struct elf_file *e, const char *path)
{
	if (setjmp(lines_no_memory)) {
		l->broken = true;
		return;
	}
	open_alt(l, e, path);
	l->line_data = section_data(l->elf, ".debug_line");
	find_ranges(l);
}

struct lines *lines_open(struct modules *m, const struct elf_file *e, const char *path)
{
	struct lines *l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	l->m = m;
	l->alt_file.fd = -1;
	l->elf = begin(m, e);
	l->dw = l->elf ? dwarf_begin_elf(l->elf, DWARF_C_READ, NULL) : NULL;
	if (l->dw) {
		dwarf_new_oom_handler(l->dw, out_of_memory);
		read_units(l, e, path);
	}
	if (l->broken || l->n_ranges == 0) {
		lines_close(l);
		return NULL;
	}
	return l;
}

void lines_close(struct lines *l)
{
	if (!l)
		return;
	if (!l->broken) {
		if (l->dw)
			dwarf_end(l->dw);
		if (l->alt)
			dwarf_end(l->alt);
		if (l->elf)
			elf_end(l->elf);
		if (l->alt_elf)
			elf_end(l->alt_elf);
	}
	elf_close(&l->alt_file);
	for (size_t i = 0; i < l->n_names; i++)
		free(l->names[i]);
	free(l->names);
	free(l->ranges);
	free(l);
}

bool lines_unit(struct lines *l, uint64_t addr, Dwarf_Die *die)
{
	size_t lo = 0, hi = l->n_ranges;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (l->ranges[mid].lo <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (size_t back = 0; lo > 0 && back < 16; lo--, back++)
		if (addr < l->ranges[lo - 1].hi)
			return dwarf_offdie(l->dw, l->ranges[lo - 1].die, die) != NULL;
	return false;
}

/* ---- functions */

bool lines_tired(struct chain *c)
{
	return ++c->dies > DIES_MAX || ((c->dies & 4095) == 0 && modules_late(c->m));
}

static bool descend(struct chain *c, Dwarf_Die *parent, unsigned depth, bool deep)
{
	Dwarf_Die die;
	if (depth > DEPTH_MAX || dwarf_child(parent, &die) != 0)
		return false;
	do {
		if (lines_tired(c))
			return false;
		bool into = false;
		switch (dwarf_tag(&die)) {
		case DW_TAG_subprogram:
		case DW_TAG_inlined_subroutine:
			if (dwarf_haspc(&die, c->addr) > 0) {
				if (c->assembly) { /* aliases, one after the other: the last one is what gdb shows */
					c->die[0] = die;
					c->n = 1;
					break;
				}
				if (c->n < LINES_DEPTH)
					c->die[c->n++] = die;
				descend(c, &die, depth + 1, false);
				return true;
			}
			into = deep;
			break;
		case DW_TAG_lexical_block:
		case DW_TAG_try_block:
		case DW_TAG_catch_block:
			/* One without addresses belongs to what is around it. */
			into = dwarf_haspc(&die, c->addr) > 0 ||
			       (!dwarf_hasattr(&die, DW_AT_low_pc) && !dwarf_hasattr(&die, DW_AT_ranges));
			break;
		case DW_TAG_namespace:
		case DW_TAG_module:
		case DW_TAG_structure_type:
		case DW_TAG_class_type:
		case DW_TAG_union_type:
		case DW_TAG_enumeration_type:
			into = c->n == 0;
			break;
		}
		if (into && descend(c, &die, depth + 1, deep))
			return true;
	} while (dwarf_siblingof(&die, &die) == 0);
	return false;
}

void lines_chain(struct chain *c, Dwarf_Die *unit, int language)
{
	c->assembly = language == DW_LANG_Mips_Assembler;
	if (!descend(c, unit, 0, false) && c->n == 0 && c->dies <= DIES_MAX)
		descend(c, unit, 0, true);
}

static const char *string_of(Dwarf_Die *die, unsigned attr)
{
	Dwarf_Attribute a;
	return dwarf_formstring(dwarf_attr_integrate(die, attr, &a));
}

/* The DIE whose name it has, in another place: the declaration of a member, what an inlined function is made from. */
static Dwarf_Die origin_of(Dwarf_Die die)
{
	Dwarf_Attribute a;
	for (int i = 0; i < 8; i++) {
		Dwarf_Die next;
		if (!dwarf_attr(&die, DW_AT_abstract_origin, &a) && !dwarf_attr(&die, DW_AT_specification, &a))
			break;
		if (!dwarf_formref_die(&a, &next))
			break;
		die = next;
	}
	return die;
}

/*
 * The namespaces and classes around a DIE, each with "::". DIEs stand in the file in the order of the tree, so the
 * parent at each level is the last one that begins before it. No recursion: files are hostile.
 */
static void add_scopes(struct lines *l, Dwarf_Die *die, struct buf *out)
{
	Dwarf_Die at, child, best;
	Dwarf_Off want = dwarf_dieoffset(die);
	if (!dwarf_diecu(die, &at, NULL, NULL))
		return;
	for (size_t depth = 0, dies = 0; depth < DEPTH_MAX; depth++) {
		bool any = false;
		if (dwarf_child(&at, &child) != 0)
			return;
		do {
			Dwarf_Off off = dwarf_dieoffset(&child);
			if (off > want)
				break;
			best = child;
			any = true;
			if (++dies > DIES_MAX || ((dies & 4095) == 0 && modules_late(l->m)))
				return;
		} while (dwarf_siblingof(&child, &child) == 0);
		if (!any || dwarf_dieoffset(&best) == want)
			return;
		at = best;
		const char *name = dwarf_diename(&at);
		switch (dwarf_tag(&at)) {
		case DW_TAG_namespace:
			name = name ? name : "(anonymous namespace)";
			break;
		case DW_TAG_structure_type:
		case DW_TAG_class_type:
		case DW_TAG_union_type:
			if (name && name[0] == '<') /* a lambda */
				name = NULL;
			break;
		default:
			name = NULL;
		}
		if (!name) {
			out->n = 0;
			continue;
		}
		buf_add(out, name, strnlen(name, SCOPE_MAX));
		buf_add(out, "::", 2);
		if (out->n > SCOPE_MAX)
			return;
	}
}

static uint32_t number_of(Dwarf_Die *die, unsigned attr)
{
	Dwarf_Attribute a;
	Dwarf_Word w;
	return dwarf_formudata(dwarf_attr(die, attr, &a), &w) == 0 && w <= UINT32_MAX ? (uint32_t)w : 0;
}

void lines_name(struct lines *l, struct line_frame *f, Dwarf_Die *die, bool scoped)
{
	f->linkage = string_of(die, DW_AT_linkage_name);
	if (!f->linkage)
		f->linkage = string_of(die, DW_AT_MIPS_linkage_name);
	f->function = string_of(die, DW_AT_name);
	if (f->linkage || !f->function || !scoped)
		return;
	/* What is local to a file has no linkage name. */
	Dwarf_Die origin = origin_of(*die);
	struct buf b = {0};
	add_scopes(l, &origin, &b);
	if (b.n == 0)
		return;
	buf_add(&b, f->function, strlen(f->function) + 1);
	char **more = b.failed ? NULL : realloc(l->names, (l->n_names + 1) * sizeof *more);
	if (!more) {
		buf_free(&b);
		return;
	}
	l->names = more;
	l->names[l->n_names++] = b.p;
	f->function = b.p;
}

/* Is the unit's line program small enough to be unpacked? */
static bool lines_fit(struct lines *l, Dwarf_Die *unit)
{
	Dwarf_Attribute a;
	Dwarf_Word off;
	if (!l->line_data || !dwarf_attr(unit, DW_AT_stmt_list, &a) || dwarf_formudata(&a, &off) != 0)
		return false;
	const uint8_t *p = l->line_data->d_buf;
	size_t n = l->line_data->d_size;
	uint32_t len;
	uint64_t len64;
	if (!p || off > n || n - off < 12)
		return false;
	memcpy(&len, p + off, sizeof len);
	memcpy(&len64, p + off + 4, sizeof len64);
	return (len == 0xffffffff ? len64 : len) <= LINE_UNIT_MAX;
}

static void line_frame(Dwarf_Die *unit, uint64_t addr, struct line_frame *f)
{
	Dwarf_Line *line = dwarf_getsrc_die(unit, addr);
	int n = 0;
	if (!line)
		return;
	f->file = dwarf_linesrc(line, NULL, NULL);
	if (dwarf_lineno(line, &n) == 0 && n > 0)
		f->line = (uint32_t)n;
	if (dwarf_linecol(line, &n) == 0 && n > 0)
		f->column = (uint32_t)n;
}

static bool is_cxx(int language)
{
	return language == DW_LANG_C_plus_plus || language == DW_LANG_C_plus_plus_03 || language == DW_LANG_C_plus_plus_11 ||
	       language == DW_LANG_C_plus_plus_14 || language == DW_LANG_Rust || language == 0x2b /* C++17 */ || language == 0x21;
}

static size_t look(struct lines *l, uint64_t addr, struct line_frame out[LINES_DEPTH], int *language)
{
	Dwarf_Die unit;
	struct chain *c = calloc(1, sizeof *c);
	if (!c || !lines_unit(l, addr, &unit)) {
		free(c);
		return 0;
	}
	c->addr = addr;
	c->m = l->m;
	*language = dwarf_srclang(&unit);
	if (*language < 0)
		*language = 0;
	lines_chain(c, &unit, *language);
	bool scoped = is_cxx(*language);
	size_t n = c->n ? c->n : 1;
	bool fit = lines_fit(l, &unit);
	Dwarf_Files *files = NULL;
	size_t n_files = 0;
	if (fit && c->n > 1 && dwarf_getsrcfiles(&unit, &files, &n_files) != 0)
		files = NULL;
	for (size_t i = 0; i < n; i++) {
		struct line_frame *f = &out[i];
		*f = (struct line_frame){0};
		if (c->n)
			lines_name(l, f, &c->die[n - 1 - i], scoped);
		if (i == 0) {
			if (fit)
				line_frame(&unit, addr, f);
			continue;
		}
		/* Where it called what is inlined. */
		Dwarf_Die *callee = &c->die[n - i];
		f->line = number_of(callee, DW_AT_call_line);
		f->column = number_of(callee, DW_AT_call_column);
		if (files)
			f->file = dwarf_filesrc(files, number_of(callee, DW_AT_call_file), NULL, NULL);
	}
	free(c);
	return n;
}

size_t lines_at(struct lines *l, uint64_t addr, struct line_frame out[LINES_DEPTH], int *language)
{
	*language = 0;
	if (l->broken || modules_late(l->m))
		return 0;
	if (setjmp(lines_no_memory)) {
		l->broken = true;
		return 0;
	}
	return look(l, addr, out, language);
}

struct lines *lines_of(struct modules *m, struct module *mod)
{
	if (mod->lines_looked || mod->state != MODULE_GOOD)
		return mod->lines;
	mod->lines_looked = true;
	mod->lines = lines_open(m, &mod->elf, mod->path);
	struct elf_file *d = mod->lines ? NULL : module_debug(m, mod);
	if (d)
		mod->lines = lines_open(m, d, mod->debug_path);
	return mod->lines;
}
