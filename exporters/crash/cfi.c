/* Where the unwinding table of an address is: .eh_frame_hdr, else .eh_frame or .debug_frame from end to end. */
#include "exporters/crash/unwind.h"
#include <stdlib.h>
#include <string.h>

#define FDES_MAX 400000
#define DEBUG_FRAME_MAX (32 << 20)

struct hdr {
	uint8_t version, ptr, count, table;
};

/* The usual header only: counts of 4 bytes, a table of pairs relative to the header. */
static bool find_in_hdr(struct modules *m, const struct module *mod, uint64_t ip, uint64_t *fde)
{
	const struct elf_part *p = &mod->eh_frame_hdr;
	struct hdr h;
	uint32_t n;
	uint64_t off = p->off;
	if (p->size < 12 || !elf_read(m, &mod->elf, off, &h, sizeof h) || h.version != 1 || h.count != 0x03 ||
	    h.table != 0x3b || (h.ptr & 0x0f) != 0x0b)
		return false;
	if (!elf_read(m, &mod->elf, off + 8, &n, sizeof n) || n > (p->size - 12) / 8)
		return false;
	uint64_t at = mod->bias + p->addr;
	uint32_t lo = 0, hi = n;
	int32_t pair[2];
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (!elf_read(m, &mod->elf, off + 12 + (uint64_t)mid * 8, pair, sizeof pair))
			return false;
		if ((int64_t)(ip - at) < pair[0])
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo == 0 || !elf_read(m, &mod->elf, off + 12 + (uint64_t)(lo - 1) * 8, pair, sizeof pair))
		return false;
	*fde = at + (uint64_t)(int64_t)pair[1];
	return true;
}

static int by_start(const void *a, const void *b)
{
	const struct fde_entry *x = a, *y = b;
	return x->start < y->start ? -1 : x->start > y->start;
}

static void read_all(struct modules *m, struct module *mod, uint64_t at, uint64_t size, bool debug_frame,
                     fde_parse *parse, void *arg)
{
	size_t cap = mod->n_fdes;
	uint64_t base = at, end = at + size;
	while (at < end && mod->n_fdes < FDES_MAX && !modules_late(m)) {
		struct fde_entry e = {.fde = at, .debug_frame = debug_frame};
		uint64_t before = at;
		int r = parse(arg, &at, base, debug_frame, &e.start, &e.end);
		if (at <= before)
			break;
		if (r < 0 || e.end <= e.start)
			continue;
		if (debug_frame) {
			e.start += mod->bias;
			e.end += mod->bias;
		}
		if (mod->n_fdes == cap) {
			cap = cap ? cap * 2 : 64;
			struct fde_entry *more = realloc(mod->fdes, cap * sizeof *more);
			if (!more)
				break;
			mod->fdes = more;
		}
		mod->fdes[mod->n_fdes++] = e;
	}
}

static void make_table(struct modules *m, struct module *mod, fde_parse *parse, void *arg)
{
	mod->fdes_looked = true;
	if (mod->eh_frame.size)
		read_all(m, mod, mod->bias + mod->eh_frame.addr, mod->eh_frame.size, false, parse, arg);
	struct buf *b = &mod->debug_frame;
	if (!elf_section_bytes(m, &mod->elf, ".debug_frame", DEBUG_FRAME_MAX, b)) {
		struct elf_file *d = module_debug(m, mod);
		if (d)
			elf_section_bytes(m, d, ".debug_frame", DEBUG_FRAME_MAX, b);
	}
	if (b->n)
		read_all(m, mod, DEBUG_FRAME_BASE + ((uint64_t)(mod - m->mods) << DEBUG_FRAME_SHIFT), b->n, true, parse, arg);
	if (mod->n_fdes)
		qsort(mod->fdes, mod->n_fdes, sizeof *mod->fdes, by_start);
}

static bool find_in_table(const struct module *mod, uint64_t ip, struct fde_entry *out)
{
	size_t lo = 0, hi = mod->n_fdes;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (mod->fdes[mid].start <= ip)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || ip >= mod->fdes[lo - 1].end)
		return false;
	*out = mod->fdes[lo - 1];
	return true;
}

bool cfi_find(struct modules *m, uint64_t ip, fde_parse *parse, void *arg, struct fde_entry *out)
{
	struct module *mod = modules_at(m, ip);
	if (!mod || mod->state != MODULE_GOOD)
		return false;
	if (find_in_hdr(m, mod, ip, &out->fde)) {
		uint64_t at = out->fde;
		out->debug_frame = false;
		out->start = out->end = 0;
		if (parse(arg, &at, 0, false, &out->start, &out->end) >= 0 && ip >= out->start && ip < out->end)
			return true;
	}
	if (!mod->fdes_looked)
		make_table(m, mod, parse, arg);
	return find_in_table(mod, ip, out);
}

bool cfi_debug_frame(struct modules *m, uint64_t addr, void *to, size_t n)
{
	uint64_t rel = addr - DEBUG_FRAME_BASE, mod = rel >> DEBUG_FRAME_SHIFT, off = rel & ((1ull << DEBUG_FRAME_SHIFT) - 1);
	if (mod >= m->n_mods)
		return false;
	const struct buf *b = &m->mods[mod].debug_frame;
	if (off >= b->n)
		return false;
	size_t have = b->n - off < n ? b->n - off : n;
	memset(to, 0, n);
	memcpy(to, b->p + off, have);
	return true;
}
