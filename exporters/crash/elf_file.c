/* ELF files of a crashed process: headers and bytes, every one of them hostile. */
#include "base/clock.h"
#include "exporters/crash/modules.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PH_MAX 512
#define SH_MAX 65536
#define NAMES_MAX (1 << 20)
#define NOTE_MAX 65536

bool modules_late(const struct modules *m)
{
	return mono_ns() >= m->deadline;
}

static bool read_plain(int fd, uint64_t off, void *to, size_t n)
{
	char *p = to;
	while (n > 0) {
		ssize_t r = pread(fd, p, n, (off_t)off);
		if (r <= 0)
			return false;
		p += r;
		off += (uint64_t)r;
		n -= (size_t)r;
	}
	return true;
}

static struct block *block_at(struct modules *m, const struct elf_file *e, uint64_t off)
{
	struct block *old = &m->block[0];
	for (size_t i = 0; i < BLOCKS; i++) {
		struct block *b = &m->block[i];
		if (b->p && b->id == e->id && b->off == off) {
			b->used = ++m->clock;
			return b;
		}
		if (b->used < old->used)
			old = b;
	}
	if (!old->p && !(old->p = malloc(BLOCK)))
		return NULL;
	uint64_t n = e->size - off < BLOCK ? e->size - off : BLOCK;
	old->id = 0;
	old->used = 0;
	if (!read_plain(e->fd, off, old->p, (size_t)n))
		return NULL;
	*old = (struct block){e->id, (uint32_t)n, off, ++m->clock, old->p};
	return old;
}

bool elf_read(struct modules *m, const struct elf_file *e, uint64_t off, void *to, size_t n)
{
	if (e->fd < 0 || off > e->size || n > e->size - off)
		return false;
	if (n > BLOCK)
		return read_plain(e->fd, off, to, n);
	char *p = to;
	while (n > 0) {
		uint64_t at = off % BLOCK;
		struct block *b = block_at(m, e, off - at);
		if (!b || at >= b->n)
			return false;
		size_t k = b->n - at < n ? b->n - at : n;
		memcpy(p, b->p + at, k);
		p += k;
		off += k;
		n -= k;
	}
	return true;
}

static void find_build_id(struct modules *m, struct elf_file *e, uint64_t off, uint64_t size)
{
	uint8_t *note = size <= NOTE_MAX ? malloc(size + 1) : NULL;
	if (!note || !elf_read(m, e, off, note, size)) {
		free(note);
		return;
	}
	for (uint64_t at = 0; size - at >= sizeof(Elf64_Nhdr);) {
		Elf64_Nhdr h;
		memcpy(&h, note + at, sizeof h);
		at += sizeof h;
		uint64_t name = ((uint64_t)h.n_namesz + 3) & ~3ull, desc = ((uint64_t)h.n_descsz + 3) & ~3ull;
		if (name > size - at || desc > size - at - name)
			break;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && memcmp(note + at, "GNU", 4) == 0 && h.n_descsz > 0) {
			e->build_id_n = (uint8_t)(h.n_descsz < sizeof e->build_id ? h.n_descsz : sizeof e->build_id);
			memcpy(e->build_id, note + at + name, e->build_id_n);
			break;
		}
		at += name + desc;
	}
	free(note);
}

static bool read_headers(struct modules *m, struct elf_file *e)
{
	Elf64_Ehdr h;
	if (!elf_read(m, e, 0, &h, sizeof h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
	    h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != EM_X86_64)
		return false;
	e->type = h.e_type;
	if (h.e_phnum > 0 && h.e_phnum <= PH_MAX && h.e_phentsize == sizeof *e->ph) {
		e->ph = calloc(h.e_phnum, sizeof *e->ph);
		if (e->ph && elf_read(m, e, h.e_phoff, e->ph, h.e_phnum * sizeof *e->ph))
			e->n_ph = h.e_phnum;
	}
	uint64_t n = h.e_shnum, str = h.e_shstrndx;
	Elf64_Shdr first;
	if (h.e_shoff && h.e_shentsize == sizeof first && elf_read(m, e, h.e_shoff, &first, sizeof first)) {
		if (n == 0)
			n = first.sh_size;
		if (str == SHN_XINDEX)
			str = first.sh_link;
		if (n > 0 && n <= SH_MAX && str < n && (e->sh = calloc(n, sizeof *e->sh))) {
			if (elf_read(m, e, h.e_shoff, e->sh, n * sizeof *e->sh))
				e->n_sh = (uint32_t)n;
		}
	}
	if (e->n_sh && e->sh[str].sh_type == SHT_STRTAB && e->sh[str].sh_size > 0 && e->sh[str].sh_size <= NAMES_MAX) {
		e->names_n = e->sh[str].sh_size;
		e->names = malloc(e->names_n);
		if (!e->names || !elf_read(m, e, e->sh[str].sh_offset, e->names, e->names_n))
			e->names_n = 0;
		else
			e->names[e->names_n - 1] = 0;
	}
	for (uint32_t i = 0; i < e->n_ph && !e->build_id_n; i++)
		if (e->ph[i].p_type == PT_NOTE)
			find_build_id(m, e, e->ph[i].p_offset, e->ph[i].p_filesz);
	for (uint32_t i = 0; i < e->n_sh && !e->build_id_n; i++) /* a file of debugging information alone */
		if (e->sh[i].sh_type == SHT_NOTE)
			find_build_id(m, e, e->sh[i].sh_offset, e->sh[i].sh_size);
	return true;
}

bool elf_open_fd(struct modules *m, struct elf_file *e, int fd)
{
	struct stat st;
	*e = (struct elf_file){.fd = fd, .id = ++m->next_id};
	if (fd < 0)
		return false;
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 500); /* low numbers are what a host expects to get next */
	if (high >= 0) {
		close(fd);
		e->fd = high;
	}
	if (fstat(e->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0) {
		elf_close(e);
		return false;
	}
	e->size = (uint64_t)st.st_size;
	if (!read_headers(m, e)) {
		elf_close(e);
		return false;
	}
	m->n_open++;
	return true;
}

bool elf_open(struct modules *m, struct elf_file *e, const char *path)
{
	struct stat st;
	*e = (struct elf_file){.fd = -1};
	/* Looked at before it is opened: opening a device or a pipe may do something. */
	if (m->n_open >= MODULES_OPEN || modules_late(m) || path[0] != '/' || strncmp(path, "/proc/", 6) == 0 ||
	    strncmp(path, "/sys/", 5) == 0 || strncmp(path, "/dev/", 5) == 0 || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	return elf_open_fd(m, e, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
}

void elf_close(struct elf_file *e)
{
	if (e->fd >= 0)
		close(e->fd);
	free(e->ph);
	free(e->sh);
	free(e->names);
	*e = (struct elf_file){.fd = -1};
}

bool elf_section(struct modules *m, const struct elf_file *e, const char *name, struct elf_part *out)
{
	*out = (struct elf_part){0};
	for (uint32_t i = 0; i < e->n_sh; i++) {
		const Elf64_Shdr *s = &e->sh[i];
		if (s->sh_name >= e->names_n || strcmp(e->names + s->sh_name, name) != 0 || s->sh_type == SHT_NOBITS)
			continue;
		if (s->sh_offset > e->size || s->sh_size > e->size - s->sh_offset || s->sh_size == 0)
			return false;
		*out = (struct elf_part){s->sh_addr, s->sh_offset, s->sh_size, 0};
		if (s->sh_flags & SHF_COMPRESSED) {
			Elf64_Chdr c;
			if (s->sh_size < sizeof c || !elf_read(m, e, s->sh_offset, &c, sizeof c))
				return false;
			out->raw = s->sh_size;
			out->size = c.ch_size;
		}
		return true;
	}
	return false;
}

uint64_t elf_offset(const struct elf_file *e, uint64_t addr, uint64_t *off)
{
	for (uint32_t i = 0; i < e->n_ph; i++) {
		const Elf64_Phdr *p = &e->ph[i];
		if (p->p_type != PT_LOAD || addr < p->p_vaddr || addr - p->p_vaddr >= p->p_filesz)
			continue;
		*off = p->p_offset + (addr - p->p_vaddr);
		return p->p_filesz - (addr - p->p_vaddr);
	}
	return 0;
}
