/*
 * dlsym(RTLD_NEXT) for programs whose libc keeps dlsym in a library that they do not load (glibc before 2.34): the
 * next definition behind this object, in the order in which the loader searches. Takes the loader's lock as dlsym does.
 */
#include "hooks/elf_next.h"
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct search {
	const char *name;
	uint32_t hash;
	bool behind_us;
	void *found;
};

static uint32_t gnu_hash(const char *s)
{
	uint32_t h = 5381;
	for (; *s; s++)
		h = h * 33 + (unsigned char)*s;
	return h;
}

/* Addresses in the dynamic section are relocated by glibc, but not by everybody (vDSO). */
static const void *address(const struct dl_phdr_info *o, uintptr_t v)
{
	return (const void *)(v < o->dlpi_addr ? v + o->dlpi_addr : v);
}

static void *look(const struct dl_phdr_info *o, const ElfW(Dyn) * d, const struct search *s)
{
	const ElfW(Sym) *symbols = NULL;
	const char *strings = NULL;
	const uint16_t *versions = NULL;
	const uint32_t *h = NULL;
	for (; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			symbols = address(o, d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			strings = address(o, d->d_un.d_ptr);
		else if (d->d_tag == DT_VERSYM)
			versions = address(o, d->d_un.d_ptr);
		else if (d->d_tag == DT_GNU_HASH)
			h = address(o, d->d_un.d_ptr);
	}
	if (!symbols || !strings || !h || !h[0])
		return NULL;
	const uint32_t *buckets = (const uint32_t *)((const ElfW(Addr) *)(h + 4) + h[2]), *chain = buckets + h[0];
	uint32_t i = buckets[s->hash % h[0]];
	if (i < h[1])
		return NULL;
	for (;; i++) {
		uint32_t c = chain[i - h[1]];
		const ElfW(Sym) *y = &symbols[i];
		/* A hidden version is an old one, for programs linked long ago. */
		if ((c | 1) == (s->hash | 1) && y->st_shndx != SHN_UNDEF && !(versions && versions[i] & 0x8000) &&
		    strcmp(strings + y->st_name, s->name) == 0)
			return (void *)(o->dlpi_addr + y->st_value);
		if (c & 1)
			return NULL;
	}
}

static bool is_ours(const struct dl_phdr_info *o)
{
	uintptr_t here = (uintptr_t)elf_next;
	for (int i = 0; i < o->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &o->dlpi_phdr[i];
		if (h->p_type == PT_LOAD && here - (o->dlpi_addr + h->p_vaddr) < h->p_memsz)
			return true;
	}
	return false;
}

static int visit(struct dl_phdr_info *o, size_t size, void *arg)
{
	struct search *s = arg;
	const ElfW(Dyn) *dynamic = NULL;
	(void)size;
	for (int i = 0; i < o->dlpi_phnum; i++)
		if (o->dlpi_phdr[i].p_type == PT_DYNAMIC)
			dynamic = (const void *)(o->dlpi_addr + o->dlpi_phdr[i].p_vaddr);
	if (s->behind_us && dynamic)
		s->found = look(o, dynamic, s);
	s->behind_us |= is_ours(o);
	return s->found != NULL;
}

static int note_path(struct dl_phdr_info *o, size_t size, void *path)
{
	(void)size;
	if (!is_ours(o))
		return 0;
	*(const char **)path = o->dlpi_name;
	return 1;
}

const char *elf_own_path(void)
{
	const char *path = NULL;
	dl_iterate_phdr(note_path, &path);
	return path;
}

void *elf_next(const char *name)
{
	struct search s = {.name = name, .hash = gnu_hash(name)};
	dl_iterate_phdr(visit, &s);
	return s.found;
}
