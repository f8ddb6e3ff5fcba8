/* The mappings of a crashed process: text of /proc/PID/maps, as the crash file has it. */
#include "exporters/crash/modules.h"
#include "exporters/crash/lines.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAPS_TEXT (16 << 20)
#define PAGE 4096u
#ifndef MFD_CLOEXEC /* glibc 2.27 */
#define MFD_CLOEXEC 1u
#endif

static uint64_t hex(const char **s)
{
	uint64_t n = 0;
	for (;; (*s)++) {
		char c = **s;
		if (c >= '0' && c <= '9')
			n = n << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			n = n << 4 | (uint64_t)(c - 'a' + 10);
		else
			return n;
	}
}

static uint64_t decimal(const char **s)
{
	uint64_t n = 0;
	for (; **s >= '0' && **s <= '9'; (*s)++)
		n = n * 10 + (uint64_t)(**s - '0');
	return n;
}

static const char *blanks(const char *s)
{
	while (*s == ' ')
		s++;
	return s;
}

/* The kernel writes a newline in a name as \012. */
static void unescape(char *s)
{
	char *to = s;
	while (*s) {
		if (strncmp(s, "\\012", 4) == 0) {
			*to++ = '\n';
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/* A mapping belongs to the module before it if it goes on in the same file; offset 0 begins one. */
static int32_t module_of(struct modules *m, char *path, const struct map *map, uint64_t ino)
{
	bool vdso = strcmp(path, "[vdso]") == 0;
	if (path[0] != '/' && !vdso)
		return -1;
	for (size_t i = m->n_mods; i-- > 0 && m->n_mods - i <= 64;) {
		struct module *mod = &m->mods[i];
		if (mod->ino == ino && strcmp(mod->path, path) == 0) {
			if (map->off == 0 && m->n_maps > 0 && m->maps[m->n_maps - 1].mod != (int32_t)i)
				break; /* the same file once more */
			return (int32_t)i;
		}
	}
	if (m->n_mods == MODULES_MAX)
		return -1;
	if ((m->n_mods & (m->n_mods - 1)) == 0) {
		size_t cap = m->n_mods ? m->n_mods * 2 : 1;
		struct module *more = realloc(m->mods, cap * sizeof *more);
		if (!more)
			return -1;
		m->mods = more;
	}
	m->mods[m->n_mods] = (struct module){.path = path, .base = map->lo, .ino = ino, .vdso = vdso, .elf.fd = -1};
	return (int32_t)m->n_mods++;
}

static void mark_deleted(struct module *mod)
{
	static const char gone[] = " (deleted)";
	char *path = (char *)mod->path;
	size_t n = strlen(path), k = sizeof gone - 1;
	if (n > k && strcmp(path + n - k, gone) == 0) {
		path[n - k] = 0;
		mod->deleted = true;
	}
}

static bool read_line(struct modules *m, char *line)
{
	struct map map = {.mod = -1};
	const char *s = line;
	map.lo = hex(&s);
	if (*s++ != '-')
		return false;
	map.hi = hex(&s);
	if (*s++ != ' ' || map.lo >= map.hi || strlen(s) < 4)
		return false;
	map.r = s[0] == 'r', map.w = s[1] == 'w', map.x = s[2] == 'x';
	s = blanks(s + 4);
	map.off = hex(&s);
	s = blanks(s);
	hex(&s);
	if (*s == ':')
		s++;
	hex(&s);
	s = blanks(s);
	uint64_t ino = decimal(&s);
	s = blanks(s);
	/* Ordered, as the kernel gives them: what is not is left out, and the search stays right. */
	if (m->n_maps > 0 && map.lo < m->maps[m->n_maps - 1].hi)
		return false;
	map.stack = strcmp(s, "[stack]") == 0;
	unescape((char *)s);
	map.mod = *s ? module_of(m, (char *)s, &map, ino) : -1;
	m->maps[m->n_maps++] = map;
	return true;
}

static void read_build_ids(struct modules *m, const struct crash_file *f)
{
	const struct crash_part *p;
	for (size_t at = 0; (p = crash_file_next(f, CRASH_SEC_BUILD_IDS, 0, &at));) {
		for (size_t i = 0; (i + 1) * sizeof(struct crash_build_id) <= p->n; i++) {
			struct crash_build_id id;
			memcpy(&id, p->p + i * sizeof id, sizeof id);
			if (id.size == 0 || id.size > sizeof id.id)
				continue;
			for (size_t k = 0; k < m->n_mods; k++) {
				if (m->mods[k].base != id.base)
					continue;
				memcpy(m->mods[k].build_id, id.id, id.size);
				m->mods[k].build_id_n = id.size;
			}
		}
	}
}

/* Ranges that are free now: they get the module that lay there. */
static void read_unloaded(struct modules *m, const struct crash_file *f)
{
	struct crash_unloaded u;
	size_t at = 0;
	const struct crash_part *p = crash_file_next(f, CRASH_SEC_UNLOADED, 0, &at);
	for (size_t i = 0; p && i < UNLOADED_MAX && (i + 1) * sizeof u <= p->n; i++) {
		memcpy(&u, p->p + i * sizeof u, sizeof u);
		u.path[sizeof u.path - 1] = 0;
		size_t k = 0;
		while (k < m->n_maps && m->maps[k].hi <= u.lo)
			k++;
		if (u.lo >= u.hi || u.path[0] != '/' || (k < m->n_maps && m->maps[k].lo < u.hi))
			continue;
		struct map map = {.lo = u.lo, .hi = u.hi, .mod = -1};
		char *path = m->paths[i] = strdup(u.path);
		map.mod = path ? module_of(m, path, &map, UINT64_MAX) : -1;
		if (map.mod < 0)
			continue;
		struct module *mod = &m->mods[map.mod];
		mod->unloaded = mod->bias_known = true;
		mod->bias = u.lo;
		if (u.id.size > 0 && u.id.size <= sizeof u.id.id) {
			memcpy(mod->build_id, u.id.id, u.id.size);
			mod->build_id_n = u.id.size;
		}
		memmove(&m->maps[k + 1], &m->maps[k], (m->n_maps - k) * sizeof map);
		m->maps[k] = map;
		m->n_maps++;
	}
}

bool modules_read(struct modules *m, const struct crash_file *f)
{
	size_t at = 0;
	const struct crash_part *p = crash_file_next(f, CRASH_SEC_MAPS, 0, &at);
	m->file = f;
	if (!p)
		return true;
	size_t n = p->n < MAPS_TEXT ? p->n : MAPS_TEXT, lines = 1;
	m->text = malloc(n + 1);
	if (!m->text)
		return false;
	memcpy(m->text, p->p, n);
	m->text[n] = 0;
	for (size_t i = 0; i < n; i++) {
		lines += m->text[i] == '\n';
		if (m->text[i] == 0)
			m->text[i] = '?';
	}
	if (lines > MAPS_MAX)
		lines = MAPS_MAX;
	m->maps = calloc(lines + UNLOADED_MAX, sizeof *m->maps);
	if (!m->maps)
		return false;
	for (char *line = m->text; line && m->n_maps < lines;) {
		char *end = strchr(line, '\n');
		if (end)
			*end++ = 0;
		read_line(m, line);
		line = end;
	}
	for (size_t i = 0; i < m->n_mods; i++)
		mark_deleted(&m->mods[i]);
	read_build_ids(m, f);
	read_unloaded(m, f);
	return true;
}

void modules_free(struct modules *m)
{
	for (size_t i = 0; i < m->n_mods; i++) {
		lines_close(m->mods[i].lines);
		elf_close(&m->mods[i].elf);
		if (m->mods[i].debug)
			elf_close(m->mods[i].debug);
		free(m->mods[i].debug);
		free(m->mods[i].fdes);
		buf_free(&m->mods[i].debug_frame);
		free(m->mods[i].debug_path);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		free(m->block[i].p);
	free(m->mods);
	free(m->maps);
	free(m->text);
	for (size_t i = 0; i < UNLOADED_MAX; i++)
		free(m->paths[i]);
}

const struct map *modules_map(struct modules *m, uint64_t addr)
{
	if (m->last_map < m->n_maps && addr >= m->maps[m->last_map].lo && addr < m->maps[m->last_map].hi)
		return &m->maps[m->last_map];
	size_t lo = 0, hi = m->n_maps;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (addr >= m->maps[mid].hi)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == m->n_maps || addr < m->maps[lo].lo)
		return NULL;
	m->last_map = lo;
	return &m->maps[lo];
}

/* The vdso has no file. Ours is the same one as long as the kernel is: its build-id tells. */
static int open_vdso(void)
{
	const char *p = (const char *)getauxval(AT_SYSINFO_EHDR); /* NOLINT */
	if (!p)
		return -1;
	const Elf64_Ehdr *h = (const Elf64_Ehdr *)p;
	size_t n = h->e_shoff + (size_t)h->e_shnum * h->e_shentsize;
	int fd = n <= 16 * PAGE ? (int)syscall(SYS_memfd_create, "remora-vdso", MFD_CLOEXEC) : -1;
	if (fd >= 0 && write(fd, p, n) != (ssize_t)n) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool same_file(struct modules *m, const struct module *mod)
{
	struct stat st;
	if (mod->build_id_n && mod->elf.build_id_n)
		return mod->build_id_n == mod->elf.build_id_n && memcmp(mod->build_id, mod->elf.build_id, mod->build_id_n) == 0;
	if (mod->build_id_n)
		return false;
	if (mod->vdso)
		return true;
	if (mod->unloaded)
		return false;
	/* No build-id is known: the inode, or on file systems whose maps show another one, a file not written since. */
	if (fstat(mod->elf.fd, &st) != 0)
		return false;
	const struct crash_head *h = &m->file->head;
	uint64_t began = h->up_ns && h->up_ns < h->time_ns ? h->time_ns - h->up_ns : h->time_ns;
	uint64_t written = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
	return written <= (mod->ino == st.st_ino ? h->time_ns : began);
}

static void find_bias(struct modules *m, struct module *mod)
{
	int32_t index = (int32_t)(mod - m->mods);
	for (size_t i = 0; i < m->n_maps; i++) {
		const struct map *map = &m->maps[i];
		if (map->mod != index)
			continue;
		for (uint32_t k = 0; k < mod->elf.n_ph; k++) {
			const Elf64_Phdr *p = &mod->elf.ph[k];
			uint64_t start = p->p_offset & ~(uint64_t)(PAGE - 1);
			if (p->p_type != PT_LOAD || map->off < start || map->off - start > p->p_filesz + PAGE ||
			    map->x != ((p->p_flags & PF_X) != 0))
				continue;
			mod->bias = map->lo - (map->off - start) - (p->p_vaddr & ~(uint64_t)(PAGE - 1));
			mod->bias_known = true;
			return;
		}
	}
}

static void find_frames(struct modules *m, struct module *mod)
{
	for (uint32_t i = 0; i < mod->elf.n_ph; i++)
		if (mod->elf.ph[i].p_type == PT_GNU_EH_FRAME)
			mod->eh_frame_hdr = (struct elf_part){mod->elf.ph[i].p_vaddr, mod->elf.ph[i].p_offset, mod->elf.ph[i].p_memsz, 0};
	elf_section(m, &mod->elf, ".eh_frame", &mod->eh_frame);
	if (mod->eh_frame.raw || !mod->eh_frame.addr)
		mod->eh_frame.size = 0;
}

static void look_at(struct modules *m, struct module *mod)
{
	if (mod->vdso ? !elf_open_fd(m, &mod->elf, open_vdso()) : !elf_open(m, &mod->elf, mod->path)) {
		mod->state = MODULE_GONE;
		return;
	}
	if (!same_file(m, mod)) {
		mod->state = mod->deleted ? MODULE_GONE : MODULE_CHANGED;
		elf_close(&mod->elf);
		return;
	}
	mod->state = MODULE_GOOD;
	if (!mod->build_id_n) {
		mod->build_id_n = mod->elf.build_id_n;
		memcpy(mod->build_id, mod->elf.build_id, mod->build_id_n);
	}
	if (!mod->unloaded)
		find_bias(m, mod);
	if (!mod->bias_known)
		mod->state = MODULE_NOT_ELF;
	else
		find_frames(m, mod);
}

struct module *modules_at(struct modules *m, uint64_t addr)
{
	const struct map *map = modules_map(m, addr);
	if (!map || map->mod < 0)
		return NULL;
	struct module *mod = &m->mods[map->mod];
	if (mod->state == MODULE_NEW)
		look_at(m, mod);
	return mod;
}

bool modules_memory(struct modules *m, uint64_t addr, void *to, size_t n)
{
	const struct map *map = modules_map(m, addr);
	struct module *mod = map ? modules_at(m, addr) : NULL;
	if (!mod || mod->unloaded || mod->elf.fd < 0 || n > map->hi - addr)
		return false;
	return elf_read(m, &mod->elf, addr - map->lo + (mod->vdso ? 0 : map->off), to, n);
}

uint64_t module_offset(const struct module *mod, uint64_t addr)
{
	return addr - (mod->bias_known ? mod->bias : mod->base);
}
