/* What kind of file is it? Headers put together by hand, cut everywhere, and files that are there. */
#include "exporters/cli/program.c" /* the launcher is not in the archive */
#include "unit.h"
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>

#ifdef __x86_64__
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

static struct {
	Elf64_Ehdr e;
	Elf64_Phdr p[4];
	char interp[64];
	Elf64_Dyn dyn[4];
	char strings[64];
} elf;

static void make(const char *interp, const char *needed)
{
	memset(&elf, 0, sizeof elf);
	memcpy(elf.e.e_ident, ELFMAG, SELFMAG);
	elf.e.e_ident[EI_CLASS] = ELFCLASS64;
	elf.e.e_machine = MACHINE;
	elf.e.e_phentsize = sizeof(Elf64_Phdr);
	elf.e.e_phoff = offsetof(__typeof__(elf), p);
	elf.p[elf.e.e_phnum++] = (Elf64_Phdr){.p_type = PT_LOAD, .p_vaddr = 0x400000, .p_filesz = sizeof elf};
	if (interp) {
		strcpy(elf.interp, interp);
		elf.p[elf.e.e_phnum++] =
			(Elf64_Phdr){.p_type = PT_INTERP, .p_offset = offsetof(__typeof__(elf), interp), .p_filesz = strlen(interp) + 1};
	}
	if (needed) {
		strcpy(elf.strings + 1, needed);
		elf.dyn[0] = (Elf64_Dyn){DT_NEEDED, {1}};
		elf.dyn[1] = (Elf64_Dyn){DT_STRTAB, {0x400000 + offsetof(__typeof__(elf), strings)}};
		elf.p[elf.e.e_phnum++] = (Elf64_Phdr){.p_type = PT_DYNAMIC, .p_offset = offsetof(__typeof__(elf), dyn), .p_filesz = sizeof elf.dyn};
	}
}

static struct program inspect(const void *p, size_t n)
{
	struct program out;
	struct unit_guarded g = unit_at_end(p, n);
	memset(&out, 0x55, sizeof out);
	program_inspect((unsigned char *)g.p, n, &out);
	unit_unguard(g);
	OK(memchr(out.interpreter, 0, sizeof out.interpreter) && memchr(out.asan, 0, sizeof out.asan));
	OK(out.kind <= PROGRAM_UNKNOWN);
	return out;
}

TEST(elf_files)
{
	struct program r;
	make("/lib64/ld-linux-x86-64.so.2", NULL);
	r = inspect(&elf, sizeof elf);
	EQ_INT(r.kind, PROGRAM_GLIBC);
	EQ_STR(r.asan, "");
	make("/lib/ld-musl-x86_64.so.1", NULL);
	EQ_INT(inspect(&elf, sizeof elf).kind, PROGRAM_MUSL);
	make(NULL, NULL);
	EQ_INT(inspect(&elf, sizeof elf).kind, PROGRAM_STATIC);
	make("/lib64/ld-linux-x86-64.so.2", "libasan.so.8");
	r = inspect(&elf, sizeof elf);
	EQ_INT(r.kind, PROGRAM_GLIBC);
	EQ_STR(r.asan, "libasan.so.8");
	make("/lib64/ld-linux-x86-64.so.2", "libasan.so");
	EQ_STR(inspect(&elf, sizeof elf).asan, "libasan.so");
	make("/lib64/ld-linux-x86-64.so.2", "libasan.s");
	EQ_STR(inspect(&elf, sizeof elf).asan, "");
	make("/lib64/ld-linux-x86-64.so.2", "libc.so.6");
	EQ_STR(inspect(&elf, sizeof elf).asan, "");
	make("/x", NULL);
	elf.e.e_ident[EI_CLASS] = ELFCLASS32;
	EQ_INT(inspect(&elf, sizeof elf).kind, PROGRAM_FOREIGN);
	make("/x", NULL);
	elf.e.e_machine = EM_RISCV;
	EQ_INT(inspect(&elf, sizeof elf).kind, PROGRAM_FOREIGN);
}

TEST(cut_and_bent)
{
	make("/lib64/ld-linux-x86-64.so.2", "libasan.so.8");
	for (size_t n = 0; n <= sizeof elf; n++)
		inspect(&elf, n);
	/* Each 8 bytes as something that overflows. */
	static const uint64_t bad[] = {0, 1, UINT64_MAX, UINT64_MAX - 15, INT64_MAX, 1u << 31, sizeof elf - 1, 0x400000};
	for (size_t at = 16; at + 8 <= offsetof(__typeof__(elf), strings); at++) {
		for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
			make("/lib64/ld-linux-x86-64.so.2", "libasan.so.8");
			memcpy((char *)&elf + at, &bad[i], 8);
			inspect(&elf, sizeof elf);
		}
	}
}

TEST(scripts)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{"#!/bin/sh\necho", "/bin/sh"},
		{"#! \t/usr/bin/env python3\n", "/usr/bin/env"},
		{"#!/bin/sh -e", "/bin/sh"},
		{"#!", ""},
		{"#!\n", ""},
		{"#!/bin/sh\r\n", "/bin/sh"},
		{"#!   ", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct program r = inspect(rows[i].in, strlen(rows[i].in));
		EQ_INT(r.kind, PROGRAM_SCRIPT);
		EQ_STR(r.interpreter, rows[i].want);
	}
	char big[1000];
	memset(big, 'x', sizeof big);
	memcpy(big, "#!", 2);
	EQ_INT(strlen(inspect(big, sizeof big).interpreter), 255);
	EQ_INT(inspect("", 0).kind, PROGRAM_UNKNOWN);
	EQ_INT(inspect("#", 1).kind, PROGRAM_UNKNOWN);
	EQ_INT(inspect("echo hello", 10).kind, PROGRAM_UNKNOWN);
	EQ_INT(inspect("\x7f"
	               "ELF",
	               4)
	           .kind,
	       PROGRAM_FOREIGN);
}

TEST(files_that_are_here)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	struct stat st;
	OK(fd >= 0 && fstat(fd, &st) == 0);
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	OK(p != MAP_FAILED);
	struct program r;
	program_inspect(p, (size_t)st.st_size, &r);
	EQ_INT(r.kind, PROGRAM_GLIBC);
#if defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
	OK(strncmp(r.asan, "libasan.so", 10) == 0);
#endif
}
