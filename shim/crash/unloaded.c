/*
 * Libraries that the program has closed: a pointer that was kept into one is a jump to nowhere, and only the name of what
 * lay there says whose. Noted before dlclose, whether it will be unmapped or not: the reader leaves out what still is.
 * host, any thread: a ring without a lock, whose oldest entry goes.
 */
#include "crash/crash_priv.h"
#include "base/probe.h"
#include <elf.h>
#include <link.h>
#include <string.h>

#define KEPT 16

static struct crash_unloaded kept[KEPT];
static _Atomic uint32_t next;

static uint64_t end_of(uint64_t base)
{
	const Elf64_Ehdr *e = (const Elf64_Ehdr *)base;
	uint64_t end = 0;
	if (!readable(e, sizeof *e) || memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 || e->e_phentsize != sizeof(Elf64_Phdr))
		return 0;
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(base + e->e_phoff);
	if (e->e_phoff > 4096 || !readable(ph, e->e_phnum * sizeof *ph))
		return 0;
	for (unsigned i = 0; i < e->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_vaddr + ph[i].p_memsz > end)
			end = ph[i].p_vaddr + ph[i].p_memsz;
	return end && end < UINT32_MAX ? base + ((end + 4095) & ~(uint64_t)4095) : 0;
}

void crash_module_closes(const void *handle)
{
	const struct link_map *l = handle;
	uint64_t base, end;
	if (!readable(l, sizeof *l) || !readable(l->l_name, 1) || l->l_name[0] != '/')
		return;
	base = l->l_addr;
	for (int i = 0; i < KEPT; i++)
		if (kept[i].lo == base && strncmp(kept[i].path, l->l_name, sizeof kept[i].path - 1) == 0)
			return;
	if (!(end = end_of(base)))
		return;
	struct crash_unloaded *to = &kept[atomic_fetch_add(&next, 1) % KEPT];
	to->hi = 0; /* not whole */
	to->lo = base;
	strncpy(to->path, l->l_name, sizeof to->path - 1);
	to->id.size = 0;
	crash_build_id(base, end, &to->id);
	to->hi = end;
}

void crash_put_unloaded(void)
{
	uint32_t n = atomic_load(&next);
	crash_put(CRASH_SEC_UNLOADED, 0, 0, kept, (n < KEPT ? n : KEPT) * sizeof kept[0]);
}
