/*
 * Where /proc is not mounted (a chroot, as a rule): what the dynamic linker has loaded, told as /proc/self/maps would.
 * Its list is read without its lock, every pointer proved first: should it be in the middle of a change, a module is
 * missing. Without modules there were no frames at all.
 */
#include "crash/crash_priv.h"
#include "base/probe.h"
#include "config.h"
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#define PAGE 4096u
#define SEGMENTS 512
#define MODULES 256

static struct segment {
	uint64_t lo, hi, off;
	uint32_t flags;
	const char *path;
} segments[SEGMENTS];
static unsigned n;

static bool is_path(const char *s)
{
	for (size_t i = 0; i < PATH_MAX; i++) {
		if ((i == 0 || ((uintptr_t)(s + i) & (PAGE - 1)) == 0) && !readable(s + i, 1))
			return false;
		if (!s[i])
			return i && s[0] == '/';
		if (s[i] == '\n')
			return false;
	}
	return false;
}

/* In order of address. */
static void add(struct segment s)
{
	unsigned i = n;
	if (n == SEGMENTS || s.lo >= s.hi)
		return;
	for (; i && segments[i - 1].lo > s.lo; i--)
		segments[i] = segments[i - 1];
	segments[i] = s;
	n++;
}

static void add_module(uint64_t bias, const Elf64_Phdr *ph, size_t count, const char *path)
{
	if (count > 64 || !readable(ph, count * sizeof *ph))
		return;
	for (size_t i = 0; i < count; i++)
		if (ph[i].p_type == PT_LOAD)
			add((struct segment){
				.lo = (bias + ph[i].p_vaddr) & ~(uint64_t)(PAGE - 1),
				.hi = (bias + ph[i].p_vaddr + ph[i].p_memsz + PAGE - 1) & ~(uint64_t)(PAGE - 1),
				.off = ph[i].p_offset & ~(uint64_t)(PAGE - 1),
				.flags = ph[i].p_flags,
				.path = path,
			});
}

static char *put_hex(char *at, uint64_t v)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		if (v >> shift || shift == 0)
			*at++ = "0123456789abcdef"[v >> shift & 15];
	return at;
}

size_t crash_linkmap(char *out, size_t cap)
{
	const struct r_debug *d = crash_libc.r_debug;
	char *at = out;
	n = 0;
	if (!d || !readable(d, sizeof *d))
		return 0;
	const struct link_map *m = d->r_map;
	for (unsigned i = 0; i < MODULES && m && readable(m, sizeof *m); i++, m = m->l_next) {
		if (i == 0) { /* the program, perhaps not at l_addr */
			add_module(m->l_addr, (const Elf64_Phdr *)getauxval(AT_PHDR), getauxval(AT_PHNUM), config.exe);
			continue;
		}
		const Elf64_Ehdr *e = (const Elf64_Ehdr *)m->l_addr;
		if (is_path(m->l_name) && readable(e, sizeof *e) && memcmp(e->e_ident, ELFMAG, SELFMAG) == 0 &&
		    e->e_phoff < PAGE && e->e_phentsize == sizeof(Elf64_Phdr))
			add_module(m->l_addr, (const Elf64_Phdr *)((const char *)e + e->e_phoff), e->e_phnum, m->l_name);
	}
	for (unsigned i = 0; i < n; i++) {
		const struct segment *s = &segments[i];
		if ((size_t)(at - out) + 100 + strlen(s->path) > cap)
			break;
		at = put_hex(at, s->lo);
		*at++ = '-';
		at = put_hex(at, s->hi);
		*at++ = ' ';
		*at++ = s->flags & PF_R ? 'r' : '-';
		*at++ = s->flags & PF_W ? 'w' : '-';
		*at++ = s->flags & PF_X ? 'x' : '-';
		at = crash_text(at, "p ");
		at = put_hex(at, s->off);
		at = crash_text(crash_text(crash_text(at, " 00:00 0 "), s->path), "\n");
	}
	return (size_t)(at - out);
}
