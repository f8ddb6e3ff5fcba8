/* Names from .symtab and .dynsym, and of PLT entries. The tables are read in pieces, once for all addresses. */
#include "exporters/crash/symbols.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 512
#define SYMS_MAX 8000000
#define RELAS_MAX 1000000
#define NAMED_MAX 512
#define NAMED_SYMS_MAX 200000
#define NAMED_STRINGS_MAX (8u << 20)

static const Elf64_Shdr *section(const struct elf_file *e, const char *name)
{
	for (uint32_t i = 0; i < e->n_sh; i++)
		if (e->sh[i].sh_name < e->names_n && strcmp(e->names + e->sh[i].sh_name, name) == 0)
			return &e->sh[i];
	return NULL;
}

static bool is_code(const struct elf_file *e, const Elf64_Sym *s)
{
	unsigned type = ELF64_ST_TYPE(s->st_info);
	if (s->st_shndx == SHN_UNDEF || s->st_name == 0 || s->st_shndx >= SHN_LORESERVE || s->st_shndx >= e->n_sh)
		return false;
	if (type == STT_FUNC || type == STT_GNU_IFUNC)
		return true;
	return type == STT_NOTYPE && (e->sh[s->st_shndx].sh_flags & SHF_EXECINSTR);
}

static void offer(struct symtab_hit *h, const Elf64_Sym *s, uint64_t name)
{
	bool sized = s->st_size > 0;
	/* Of several names for one place the last in the table of strings, as gdb has it. */
	bool better = !h->name || sized > (h->size > 0) ||
	              (sized == (h->size > 0) && (s->st_value > h->value || (s->st_value == h->value && name > h->name)));
	if (better) {
		h->value = s->st_value;
		h->size = s->st_size;
		h->name = name;
	}
}

void symtab_find(struct modules *m, const struct elf_file *e, const char *table, struct symtab_hit *hits, size_t n)
{
	const Elf64_Shdr *t = section(e, table);
	if (!t || (t->sh_type != SHT_SYMTAB && t->sh_type != SHT_DYNSYM) || t->sh_link >= e->n_sh || n == 0)
		return;
	const Elf64_Shdr *str = &e->sh[t->sh_link];
	uint64_t count = t->sh_size / sizeof(Elf64_Sym);
	if (count > SYMS_MAX || str->sh_offset > e->size || str->sh_size > e->size - str->sh_offset)
		return;
	Elf64_Sym s[PIECE];
	for (uint64_t at = 0; at < count && !modules_late(m); at += PIECE) {
		size_t k = count - at < PIECE ? (size_t)(count - at) : PIECE;
		if (!elf_read(m, e, t->sh_offset + at * sizeof *s, s, k * sizeof *s))
			return;
		for (size_t i = 0; i < k; i++) {
			if (s[i].st_name >= str->sh_size || !is_code(e, &s[i]))
				continue;
			size_t lo = 0, hi = n;
			while (lo < hi) {
				size_t mid = lo + (hi - lo) / 2;
				if (hits[mid].addr < s[i].st_value)
					lo = mid + 1;
				else
					hi = mid;
			}
			uint64_t name = str->sh_offset + s[i].st_name;
			if (lo < n && s[i].st_size == 0)
				offer(&hits[lo], &s[i], name); /* it may go on over the next ones, below */
			for (; lo < n && s[i].st_size > 0 && hits[lo].addr - s[i].st_value < s[i].st_size; lo++)
				offer(&hits[lo], &s[i], name);
		}
	}
	/* A label without a size lasts until the next symbol. */
	for (size_t i = 1; i < n; i++) {
		const struct symtab_hit *b = &hits[i - 1];
		if (!hits[i].name && b->name && b->size == 0) {
			uint64_t addr = hits[i].addr;
			hits[i] = *b;
			hits[i].addr = addr;
		}
	}
}

bool symtab_name(struct modules *m, const struct elf_file *e, uint64_t off, char *out, size_t cap)
{
	size_t n = 0;
	while (n + 1 < cap && off < e->size) {
		size_t k = cap - 1 - n < 64 ? cap - 1 - n : 64;
		if (e->size - off < k)
			k = (size_t)(e->size - off);
		if (!elf_read(m, e, off, out + n, k))
			return false;
		size_t end = strnlen(out + n, k);
		n += end;
		off += k;
		if (end < k)
			break;
	}
	out[n] = 0;
	return n > 0;
}

bool symtab_by_name(struct modules *m, const struct elf_file *e, const char *table, const char *name, uint64_t *addr)
{
	const Elf64_Shdr *t = section(e, table);
	size_t len = strlen(name) + 1;
	if (!t || t->sh_link >= e->n_sh || len > NAMED_MAX)
		return false;
	const Elf64_Shdr *str = &e->sh[t->sh_link];
	uint64_t count = t->sh_size / sizeof(Elf64_Sym);
	if (count > NAMED_SYMS_MAX || str->sh_offset > e->size || str->sh_size > e->size - str->sh_offset ||
	    str->sh_size > NAMED_STRINGS_MAX)
		return false;
	char *all = malloc(str->sh_size + 1);
	bool found = false;
	Elf64_Sym s[PIECE];
	if (!all || !elf_read(m, e, str->sh_offset, all, str->sh_size))
		count = 0;
	for (uint64_t at = 0; at < count && !found && !modules_late(m); at += PIECE) {
		size_t k = count - at < PIECE ? (size_t)(count - at) : PIECE;
		if (!elf_read(m, e, t->sh_offset + at * sizeof *s, s, k * sizeof *s))
			break;
		for (size_t i = 0; i < k && !found; i++) {
			if (s[i].st_name >= str->sh_size || str->sh_size - s[i].st_name < len ||
			    memcmp(all + s[i].st_name, name, len) != 0 || !is_code(e, &s[i]) ||
			    ELF64_ST_TYPE(s[i].st_info) == STT_GNU_IFUNC)
				continue;
			*addr = s[i].st_value;
			found = true;
		}
	}
	free(all);
	return found;
}

/* ---- PLT */

static bool reloc_name(struct modules *m, const struct elf_file *e, const char *table, uint64_t got, char *out, size_t cap)
{
	const Elf64_Shdr *t = section(e, table), *syms = section(e, ".dynsym");
	if (!t || t->sh_type != SHT_RELA || !syms || syms->sh_link >= e->n_sh)
		return false;
	Elf64_Rela r;
	uint64_t n = t->sh_size / sizeof r;
	for (uint64_t i = 0; i < n && i < RELAS_MAX; i++) {
		if (!elf_read(m, e, t->sh_offset + i * sizeof r, &r, sizeof r))
			return false;
		if (r.r_offset != got)
			continue;
		Elf64_Sym s;
		uint64_t sym = ELF64_R_SYM(r.r_info);
		if (sym == 0 || sym >= syms->sh_size / sizeof s || !elf_read(m, e, syms->sh_offset + sym * sizeof s, &s, sizeof s))
			return false;
		return symtab_name(m, e, e->sh[syms->sh_link].sh_offset + s.st_name, out, cap);
	}
	return false;
}

bool symtab_plt(struct modules *m, const struct elf_file *e, uint64_t addr, char *out, size_t cap)
{
	static const char *const sections[] = {".plt", ".plt.sec", ".plt.got", ".iplt"};
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
		const Elf64_Shdr *s = section(e, sections[i]);
		if (!s || addr < s->sh_addr || addr - s->sh_addr >= s->sh_size)
			continue;
		uint64_t entry = s->sh_entsize >= 8 && s->sh_entsize <= 32 ? s->sh_entsize : 16;
		uint64_t at = (addr - s->sh_addr) / entry * entry, off = s->sh_offset + at;
		uint8_t c[16];
		size_t n = entry < sizeof c ? (size_t)entry : sizeof c;
		if (!elf_read(m, e, off, c, n))
			return false;
		for (size_t k = 0; k + 6 <= n; k++) {
			int32_t rel;
			if (c[k] != 0xff || c[k + 1] != 0x25)
				continue;
			memcpy(&rel, c + k + 2, sizeof rel);
			uint64_t got = s->sh_addr + at + k + 6 + (uint64_t)(int64_t)rel;
			if (cap < 8 || !(reloc_name(m, e, ".rela.plt", got, out, cap - 4) || reloc_name(m, e, ".rela.dyn", got, out, cap - 4)))
				return false;
			strcat(out, "@plt");
			return true;
		}
	}
	return false;
}
