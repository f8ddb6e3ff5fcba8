#include "exporters/cli/program.h"
#include <elf.h>
#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

static void script(const unsigned char *p, size_t n, struct program *out)
{
	size_t i = 2, k = 0;
	while (i < n && (p[i] == ' ' || p[i] == '\t'))
		i++;
	while (i < n && k < sizeof out->interpreter - 1 && p[i] > ' ')
		out->interpreter[k++] = (char)p[i++];
	out->interpreter[k] = 0;
	out->kind = PROGRAM_SCRIPT;
}

/* n bytes at offset lie within the file? */
static bool within(size_t size, uint64_t offset, uint64_t n)
{
	return offset <= size && n <= size - offset;
}

/* File offset of a virtual address, or SIZE_MAX. */
static size_t offset_of(const unsigned char *p, size_t n, const Elf64_Ehdr *e, uint64_t address)
{
	for (unsigned i = 0; i < e->e_phnum; i++) {
		Elf64_Phdr h;
		uint64_t at = e->e_phoff + (uint64_t)i * sizeof h;
		if (!within(n, at, sizeof h))
			break;
		memcpy(&h, p + at, sizeof h);
		if (h.p_type == PT_LOAD && address >= h.p_vaddr && address - h.p_vaddr < h.p_filesz)
			return (size_t)(address - h.p_vaddr + h.p_offset);
	}
	return SIZE_MAX;
}

static void find_asan(const unsigned char *p, size_t n, const Elf64_Ehdr *e, const Elf64_Phdr *dynamic, struct program *out)
{
	uint64_t strings = 0;
	for (int pass = 0; pass < 2; pass++) {
		for (uint64_t at = dynamic->p_offset; within(n, at, sizeof(Elf64_Dyn)); at += sizeof(Elf64_Dyn)) {
			Elf64_Dyn d;
			memcpy(&d, p + at, sizeof d);
			if (d.d_tag == DT_NULL || at - dynamic->p_offset > dynamic->p_filesz)
				break;
			if (pass == 0 && d.d_tag == DT_STRTAB)
				strings = offset_of(p, n, e, d.d_un.d_ptr);
			if (pass == 0 || d.d_tag != DT_NEEDED || !strings || strings >= n || d.d_un.d_val >= n - strings)
				continue;
			const char *name = (const char *)p + strings + d.d_un.d_val;
			size_t len = strnlen(name, n - strings - d.d_un.d_val);
			if (len > 9 && len < sizeof out->asan && memcmp(name, "libasan.so", 10) == 0) {
				memcpy(out->asan, name, len);
				out->asan[len] = 0;
			}
		}
	}
}

void program_inspect(const unsigned char *p, size_t n, struct program *out)
{
	Elf64_Ehdr e;
	memset(out, 0, sizeof *out);
	out->kind = PROGRAM_UNKNOWN;
	if (n >= 2 && p[0] == '#' && p[1] == '!') {
		script(p, n, out);
		return;
	}
	if (n < SELFMAG || memcmp(p, ELFMAG, SELFMAG) != 0)
		return;
	out->kind = PROGRAM_FOREIGN;
	if (n < sizeof e)
		return;
	memcpy(&e, p, sizeof e);
	if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_machine != MACHINE || e.e_phentsize != sizeof(Elf64_Phdr))
		return;
	out->kind = PROGRAM_STATIC;
	for (unsigned i = 0; i < e.e_phnum; i++) {
		Elf64_Phdr h;
		uint64_t at = e.e_phoff + (uint64_t)i * sizeof h;
		if (!within(n, at, sizeof h))
			return;
		memcpy(&h, p + at, sizeof h);
		if (h.p_type == PT_DYNAMIC)
			find_asan(p, n, &e, &h, out);
		if (h.p_type != PT_INTERP || !within(n, h.p_offset, h.p_filesz))
			continue;
		const char *name = (const char *)p + h.p_offset;
		size_t len = strnlen(name, h.p_filesz);
		out->kind = memmem(name, len, "ld-musl", 7) ? PROGRAM_MUSL : PROGRAM_GLIBC;
	}
}
