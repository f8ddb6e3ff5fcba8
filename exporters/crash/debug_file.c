/* Files that carry a module's debugging information: found by build-id, then by .gnu_debuglink. */
#include "exporters/crash/modules.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define PATH_LEN 4096
#define CRC_MAX (64u << 20)

bool elf_section_bytes(struct modules *m, const struct elf_file *e, const char *name, size_t max, struct buf *out)
{
	struct elf_part p;
	if (!elf_section(m, e, name, &p) || p.size == 0 || p.size > max || !buf_reserve(out, p.size))
		return false;
	if (!p.raw) {
		if (!elf_read(m, e, p.off, out->p, p.size))
			return false;
		out->n = p.size;
		return true;
	}
	Elf64_Chdr c;
	if (p.raw > max || !elf_read(m, e, p.off, &c, sizeof c) || c.ch_type != ELFCOMPRESS_ZLIB)
		return false;
	uint64_t n = p.raw - sizeof c;
	Bytef *packed = malloc(n + 1);
	uLongf got = p.size;
	bool ok = packed && elf_read(m, e, p.off + sizeof c, packed, n) &&
	          uncompress((Bytef *)out->p, &got, packed, n) == Z_OK && got == p.size;
	free(packed);
	out->n = ok ? got : 0;
	return ok;
}

bool elf_open_build_id(struct modules *m, struct elf_file *e, const uint8_t *id, size_t n, char *path, size_t cap)
{
	char hex[41] = "";
	e->fd = -1;
	if (n < 2 || n > 20)
		return false;
	for (size_t i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
	if ((size_t)snprintf(path, cap, "%s/.build-id/%.2s/%s.debug", m->debug_dir, hex, hex + 2) >= cap || !elf_open(m, e, path))
		return false;
	if (e->build_id_n == n && memcmp(e->build_id, id, n) == 0)
		return true;
	elf_close(e);
	return false;
}

static bool crc_is(struct modules *m, const struct elf_file *e, uint32_t want)
{
	static const size_t step = 65536;
	uint8_t *p = e->size <= CRC_MAX ? malloc(step) : NULL;
	uLong crc = crc32(0, NULL, 0);
	uint64_t at = 0;
	while (p && at < e->size && !modules_late(m)) {
		ssize_t n = pread(e->fd, p, step, (off_t)at);
		if (n <= 0)
			break;
		crc = crc32(crc, p, (uInt)n);
		at += (uint64_t)n;
	}
	free(p);
	return p && at == e->size && crc == want;
}

static bool try_link(struct modules *m, const struct module *mod, struct elf_file *e, const char *path, uint32_t crc)
{
	if (!elf_open(m, e, path))
		return false;
	bool same = mod->elf.build_id_n && e->build_id_n
	                ? mod->elf.build_id_n == e->build_id_n && memcmp(mod->elf.build_id, e->build_id, e->build_id_n) == 0
	                : crc_is(m, e, crc);
	if (!same)
		elf_close(e);
	return same;
}

static bool by_link(struct modules *m, const struct module *mod, struct elf_file *e, char *path)
{
	struct elf_part p;
	char link[512], dir[PATH_LEN];
	uint32_t crc;
	if (!elf_section(m, &mod->elf, ".gnu_debuglink", &p) || p.raw || p.size < 8 || p.size > sizeof link ||
	    !elf_read(m, &mod->elf, p.off, link, p.size))
		return false;
	size_t n = strnlen(link, p.size);
	if (n == 0 || ((n + 4) & ~3u) + 4 > p.size || strchr(link, '/') || strlen(mod->path) >= sizeof dir)
		return false;
	memcpy(&crc, link + ((n + 4) & ~3u), sizeof crc);
	strcpy(dir, mod->path);
	char *slash = strrchr(dir, '/');
	if (!slash)
		return false;
	*slash = 0;
	static const char *const pre[] = {"", "", NULL}, *const mid[] = {"/", "/.debug/", "/"};
	for (int i = 0; i < 3; i++) {
		int k = snprintf(path, PATH_LEN, "%s%s%s%s", pre[i] ? pre[i] : m->debug_dir, dir, mid[i], link);
		if (k < PATH_LEN && strcmp(path, mod->path) != 0 && try_link(m, mod, e, path, crc))
			return true;
	}
	return false;
}

struct elf_file *module_debug(struct modules *m, struct module *mod)
{
	if (mod->debug_looked || mod->state != MODULE_GOOD)
		return mod->debug;
	mod->debug_looked = true;
	struct elf_file *e = calloc(1, sizeof *e);
	char *path = malloc(PATH_LEN);
	if (e && path && (elf_open_build_id(m, e, mod->elf.build_id, mod->elf.build_id_n, path, PATH_LEN) || by_link(m, mod, e, path))) {
		mod->debug = e;
		mod->debug_path = path;
		return e;
	}
	free(e);
	free(path);
	return NULL;
}
