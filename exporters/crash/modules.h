/*
 * The mappings of a crashed process and the files behind them. exporter thread, or the remora command.
 * Files are opened by the paths that the crash file names, looked at only if they still are what was mapped (build-id;
 * inode or time where there is none), and read with pread through a small cache: never mapped, since a file that is
 * cut short under a mapping is a SIGBUS in the host. Their contents are hostile. All of it is bounded in time by
 * `deadline` and in memory by the constants below.
 */
#ifndef REMORA_CRASH_MODULES_H
#define REMORA_CRASH_MODULES_H

#include "exporters/crash/crash_file.h"
#include "exporters/buf.h"
#include <elf.h>

#define MAPS_MAX 65536
#define MODULES_MAX 4096
#define UNLOADED_MAX 16
#define MODULES_OPEN 256 /* files open at a time: ours, in the host's table */
#define BLOCK 16384
#define BLOCKS 64

enum module_state {
	MODULE_NEW,     /* not looked at yet */
	MODULE_GOOD,    /* the file is the one that was mapped */
	MODULE_GONE,    /* deleted, or not to be opened */
	MODULE_CHANGED, /* another file has its name now */
	MODULE_NOT_ELF,
};

struct elf_part {
	uint64_t addr, off, size; /* size 0: there is none. addr: as linked; sections that are not loaded have none */
	uint64_t raw;             /* compressed: the size in the file, else 0 */
};

struct elf_file { /* one that is open: a module's, or one with its debugging information */
	int fd;       /* -1: none */
	uint64_t size;
	uint32_t id; /* names it in the block cache */
	uint16_t type;
	uint32_t n_ph, n_sh;
	Elf64_Phdr *ph; /* owned */
	Elf64_Shdr *sh; /* owned; NULL if the table is bad or missing */
	char *names;    /* of the sections; owned */
	size_t names_n;
	uint8_t build_id[20];
	uint8_t build_id_n;
};

struct module {
	const char *path; /* owned by the modules; "[vdso]" */
	uint64_t base;    /* of its first mapping */
	uint64_t ino;
	uint64_t bias; /* address in the process less address as linked */
	bool bias_known;
	bool deleted, vdso;
	bool unloaded; /* it is not mapped any more: its file gives names, not memory */
	enum module_state state;
	uint8_t build_id[20]; /* of what was mapped, if known */
	uint8_t build_id_n;
	struct elf_file elf;
	struct elf_part eh_frame_hdr, eh_frame; /* addr: as linked */
	struct elf_file *debug;                 /* separate debugging information; owned, NULL: none */
	char *debug_path;
	bool debug_looked;
	struct fde_entry *fdes; /* cfi.c: its own table where there is no header; owned */
	size_t n_fdes;
	bool fdes_looked;
	struct buf debug_frame; /* .debug_frame, unpacked */
	struct lines *lines;    /* lines.c; owned */
	bool lines_looked;
};

struct map {
	uint64_t lo, hi, off;
	bool r, w, x;
	bool stack;  /* [stack] */
	int32_t mod; /* index, -1: no file */
};

struct modules {
	const struct crash_file *file;
	uint64_t deadline;     /* mono_ns() */
	const char *debug_dir; /* "/usr/lib/debug" */
	uint64_t debug_max;    /* bytes of debugging information that are still read */
	struct map *maps;
	size_t n_maps;
	struct module *mods;
	size_t n_mods;
	size_t n_open;
	size_t last_map;
	uint32_t next_id;
	char *text; /* the paths */
	char *paths[UNLOADED_MAX];
	struct block {
		uint32_t id;
		uint32_t n;
		uint64_t off;
		uint64_t used;
		uint8_t *p;
	} block[BLOCKS];
	uint64_t clock;
};

bool modules_read(struct modules *m, const struct crash_file *f);
void modules_free(struct modules *m);
bool modules_late(const struct modules *m); /* past the deadline */

const struct map *modules_map(struct modules *m, uint64_t addr); /* NULL: unmapped */
/* The module that addr is in, its file opened and checked; NULL: not in one. */
struct module *modules_at(struct modules *m, uint64_t addr);
/* Memory of the process as its files have it. Writable mappings too: what relocation changed is not known. */
bool modules_memory(struct modules *m, uint64_t addr, void *to, size_t n);
/* An address as objdump shows it for that module. */
uint64_t module_offset(const struct module *mod, uint64_t addr);

/* ---- files */

bool elf_open(struct modules *m, struct elf_file *e, const char *path);
bool elf_open_fd(struct modules *m, struct elf_file *e, int fd); /* takes fd */
void elf_close(struct elf_file *e);
/* Short reads are false. Through the cache if n is small. */
bool elf_read(struct modules *m, const struct elf_file *e, uint64_t off, void *to, size_t n);
/* The section of that name, checked against the file's size. */
bool elf_section(struct modules *m, const struct elf_file *e, const char *name, struct elf_part *out);
/* Where the file's bytes of a linked address are; how many follow in its segment. 0: nowhere. */
uint64_t elf_offset(const struct elf_file *e, uint64_t addr, uint64_t *off);
/* The whole section, unpacked if it is compressed; false: none, too large, or bad. */
bool elf_section_bytes(struct modules *m, const struct elf_file *e, const char *name, size_t max, struct buf *out);
/* A file that carries debugging information for it: by build-id, then by .gnu_debuglink. NULL: none. */
struct elf_file *module_debug(struct modules *m, struct module *mod);

/* debug_dir/.build-id/xx/yy.debug, opened. False: there is none, or it is another. */
bool elf_open_build_id(struct modules *m, struct elf_file *e, const uint8_t *id, size_t n, char *path, size_t cap);

#endif
