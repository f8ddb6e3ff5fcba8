/*
 * One step at a time: registers in, libunwind's step with the table of that place, registers out. So what libunwind
 * would guess where a table is missing is ours to decide, and a bad step loses one frame, not the way to it.
 */
#include "exporters/crash/unwind.h"
#include <libunwind-x86_64.h>
#include <stdlib.h>
#include <string.h>

#define READS_STEP 200000 /* words that one step may read: hostile tables loop */
#define READS_ALL 40000000
#define FRAME_MAX (1 << 20) /* a frame found by its frame pointer is not larger */
#define SCAN_WORDS 4096

/* libunwind's, hidden but linkable: proc-info from an FDE at a given address. */
int _Ux86_64_dwarf_extract_proc_info_from_fde(unw_addr_space_t as, unw_accessors_t *a, unw_word_t *addrp,
                                              unw_proc_info_t *pi, unw_word_t base, int need_unwind_info,
                                              int is_debug_frame, void *arg);

struct walk {
	struct modules *m;
	int32_t tid;
	uint64_t regs[CR_REGS]; /* of the frame that is being left */
	bool have[CR_REGS];
	unw_addr_space_t as;
	unw_accessors_t acc;
	uint64_t reads, reads_all;
	bool no_info; /* there is no table for it */
	bool missing; /* stack that was not saved was wanted */
	const struct crash_part *last;
};

/* ---- memory */

static bool saved(struct walk *w, uint64_t addr, void *to, size_t n)
{
	const struct crash_part *p = w->last;
	if (p && addr >= p->addr && addr - p->addr < p->n && n <= p->n - (addr - p->addr)) {
		memcpy(to, p->p + (addr - p->addr), n);
		return true;
	}
	const struct crash_file *f = w->m->file;
	for (size_t at = 0; (p = crash_file_next(f, CRASH_SEC_STACK, 0, &at));) {
		if (addr >= p->addr && addr - p->addr < p->n && n <= p->n - (addr - p->addr)) {
			w->last = p;
			memcpy(to, p->p + (addr - p->addr), n);
			return true;
		}
	}
	return crash_file_memory(f, addr, to, n);
}

static bool peek(struct walk *w, uint64_t addr, void *to, size_t n)
{
	if (++w->reads > READS_STEP || ++w->reads_all > READS_ALL || ((w->reads_all & 1023) == 0 && modules_late(w->m)))
		return false;
	if (addr >= DEBUG_FRAME_BASE && addr < DEBUG_FRAME_BASE + ((uint64_t)MODULES_MAX << DEBUG_FRAME_SHIFT))
		return cfi_debug_frame(w->m, addr, to, n);
	const struct map *map = modules_map(w->m, addr);
	if (map && map->mod >= 0 && !map->w && modules_memory(w->m, addr, to, n))
		return true;
	if (saved(w, addr, to, n))
		return true;
	if (map && map->mod >= 0 && modules_memory(w->m, addr, to, n))
		return true;
	if (map && map->w)
		w->missing = true;
	return false;
}

static bool word(struct walk *w, uint64_t addr, uint64_t *out)
{
	return peek(w, addr, out, sizeof *out);
}

static bool executable(struct walk *w, uint64_t ip)
{
	const struct map *map = modules_map(w->m, ip);
	return map && map->x;
}

/* Is ip behind a call instruction, as a return address is? */
static bool after_call(struct walk *w, uint64_t ip)
{
	uint8_t c[7];
	if (!peek(w, ip - 7, c, sizeof c))
		return false;
	if (c[2] == 0xe8)
		return true;
	static const struct {
		uint8_t at, sib;
		int8_t mod;
	} forms[] = {
		{5, 0, 3},
		{5, 0, 0},
		{4, 0, 1},
		{4, 1, 0},
		{3, 1, 1},
		{1, 0, 0},
		{1, 0, 2},
		{0, 1, 2},
	};
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		uint8_t at = forms[i].at, modrm = c[at + 1];
		if (c[at] == 0xff && (modrm >> 3 & 7) == 2 && modrm >> 6 == forms[i].mod &&
		    (modrm >> 6 == 3 || ((modrm & 7) == 4) == forms[i].sib))
			return true;
	}
	return false;
}

/* mov $15, %rax; syscall: what a signal handler returns to. */
static bool is_trampoline(struct walk *w, uint64_t ip)
{
	static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05}, musl[] = {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05};
	uint8_t c[sizeof code];
	return peek(w, ip, c, sizeof c) && (memcmp(c, code, sizeof code) == 0 || memcmp(c, musl, sizeof musl) == 0);
}

/* ---- accessors */

static int parse_fde(void *arg, uint64_t *fde, uint64_t base, bool debug_frame, uint64_t *start, uint64_t *end)
{
	struct walk *w = arg;
	unw_proc_info_t pi;
	unw_word_t at = *fde;
	memset(&pi, 0, sizeof pi);
	w->reads = 0; /* per entry */
	int r = _Ux86_64_dwarf_extract_proc_info_from_fde(w->as, &w->acc, &at, &pi, base, 0, debug_frame, w);
	*fde = at;
	*start = pi.start_ip;
	*end = pi.end_ip;
	return r;
}

static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *pi, int need, void *arg)
{
	struct walk *w = arg;
	struct fde_entry e;
	(void)as;
	if (!cfi_find(w->m, ip, parse_fde, w, &e)) {
		w->no_info = true;
		return -UNW_ENOINFO;
	}
	memset(pi, 0, sizeof *pi);
	w->reads = 0;
	unw_word_t at = e.fde;
	uint64_t base = e.debug_frame ? e.fde & ~((1ull << DEBUG_FRAME_SHIFT) - 1) : 0;
	int r = _Ux86_64_dwarf_extract_proc_info_from_fde(w->as, &w->acc, &at, pi, base, need, e.debug_frame, w);
	pi->start_ip = e.start;
	pi->end_ip = e.end;
	return r;
}

static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *pi, void *arg)
{
	(void)as, (void)pi, (void)arg;
}

static int get_dyn_info_list_addr(unw_addr_space_t as, unw_word_t *addr, void *arg)
{
	(void)as, (void)addr, (void)arg;
	return -UNW_ENOINFO;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *val, int write, void *arg)
{
	(void)as;
	return !write && word(arg, addr, val) ? 0 : -UNW_EINVAL;
}

static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *val, int write, void *arg)
{
	struct walk *w = arg;
	(void)as;
	if (write || reg < 0 || reg > CR_RIP)
		return -UNW_EBADREG;
	*val = w->regs[reg];
	return 0;
}

static int access_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *val, int write, void *arg)
{
	(void)as, (void)reg, (void)val, (void)write, (void)arg;
	return -UNW_EBADREG;
}

static int resume(unw_addr_space_t as, unw_cursor_t *c, void *arg)
{
	(void)as, (void)c, (void)arg;
	return -UNW_EINVAL;
}

static int get_proc_name(unw_addr_space_t as, unw_word_t ip, char *buf, size_t n, unw_word_t *off, void *arg)
{
	(void)as, (void)ip, (void)buf, (void)n, (void)off, (void)arg;
	return -UNW_ENOINFO;
}

/* ---- steps */

enum step { STEP_OK,
	        STEP_END,
	        STEP_NO_INFO,
	        STEP_BAD };

/* x86-64 registers have DWARF's numbers here and there (UNW_X86_64_RAX is 0 ... RIP 16). */
static enum step step_table(struct walk *w, bool exact)
{
	unw_cursor_t c;
	uint64_t ip = w->regs[CR_RIP];
	w->no_info = false;
	w->reads = 0;
	w->regs[CR_RIP] = exact ? ip : ip - 1;
	int r = unw_init_remote(&c, w->as, w);
	if (r >= 0)
		r = unw_step(&c);
	w->regs[CR_RIP] = ip;
	if (w->no_info)
		return STEP_NO_INFO;
	if (r < 0)
		return STEP_BAD;
	if (r == 0)
		return STEP_END;
	uint64_t next[CR_REGS] = {0};
	for (int i = CR_RAX; i <= CR_RIP; i++) {
		unw_word_t v = 0;
		bool have = unw_get_reg(&c, i, &v) >= 0;
		if (!have && i == CR_RIP)
			return STEP_END;
		next[i] = have ? v : 0;
	}
	next[CR_RFLAGS] = w->regs[CR_RFLAGS];
	memcpy(w->regs, next, sizeof next);
	return STEP_OK;
}

/* Nothing was pushed yet since the call: RIP=*(RSP). */
static bool step_leaf(struct walk *w, bool check)
{
	uint64_t ip;
	if (!word(w, w->regs[CR_RSP], &ip) || !executable(w, ip) || (check && !after_call(w, ip)))
		return false;
	w->regs[CR_RIP] = ip;
	w->regs[CR_RSP] += 8;
	return true;
}

static bool step_frame_pointer(struct walk *w)
{
	uint64_t bp = w->regs[CR_RBP], sp = w->regs[CR_RSP], up, ip;
	if (bp < sp || bp - sp > FRAME_MAX || bp & 7 || !word(w, bp, &up) || !word(w, bp + 8, &ip) || !executable(w, ip))
		return false;
	w->regs[CR_RBP] = up;
	w->regs[CR_RSP] = bp + 16;
	w->regs[CR_RIP] = ip;
	return true;
}

static enum step step(struct walk *w, bool first, bool exact)
{
	uint64_t ip = w->regs[CR_RIP], sp = w->regs[CR_RSP];
	w->missing = false;
	w->reads = 0;
	if (!executable(w, ip))
		return first && step_leaf(w, false) ? STEP_OK : STEP_BAD;
	enum step r = step_table(w, exact);
	if (r == STEP_OK && w->regs[CR_RIP] == 0)
		return STEP_END;
	if (r != STEP_NO_INFO)
		return r == STEP_OK && w->regs[CR_RSP] == sp && w->regs[CR_RIP] == ip ? STEP_BAD : r;
	/* Code without a table: JIT, assembly, a file that is gone. */
	if ((exact && step_leaf(w, true)) || step_frame_pointer(w))
		return STEP_OK;
	return STEP_NO_INFO;
}

/* ---- a thread */

static void scan(struct walk *w, uint64_t sp, struct unwind *out)
{
	w->reads = 0;
	sp = (sp + 7) & ~7ull;
	for (size_t i = 0, found = 0; i < SCAN_WORDS && found < UNWIND_SCAN && out->n < UNWIND_FRAMES; i++) {
		uint64_t v;
		if (!saved(w, sp + i * 8, &v, sizeof v))
			return;
		const struct map *map = modules_map(w->m, v);
		w->reads = 0;
		if (!map || !map->x || map->mod < 0 || !after_call(w, v))
			continue;
		out->frame[out->n++] = (struct unwind_frame){.ip = v, .sp = sp + i * 8 + 8, .scanned = true};
		found++;
	}
}

/* Walks from the registers on. Frames that do not fit go round in the last UNWIND_FAR places. */
static enum unwind_end go(struct walk *w, bool first, struct unwind *out, size_t room)
{
	bool exact = first;
	size_t total = out->n, ring = room > UNWIND_FAR ? room - UNWIND_FAR : 0;
	enum unwind_end end = UNWIND_PARTIAL;
	for (size_t steps = 0; steps < UNWIND_STEPS && !modules_late(w->m); steps++) {
		struct unwind_frame f = {.ip = w->regs[CR_RIP], .sp = w->regs[CR_RSP], .exact = exact};
		f.signal = is_trampoline(w, f.ip);
		size_t at = total < room ? total : ring + (total - ring) % UNWIND_FAR;
		out->frame[at] = f;
		total++;
		enum step r = step(w, first, exact || f.signal);
		first = false;
		if (r != STEP_OK) {
			end = r == STEP_END ? UNWIND_DONE : w->missing || r == STEP_NO_INFO ? UNWIND_PARTIAL
			                                                                    : UNWIND_CORRUPT;
			break;
		}
		if (!f.signal && w->regs[CR_RSP] <= f.sp) {
			end = UNWIND_CORRUPT;
			break;
		}
		if (!executable(w, w->regs[CR_RIP])) {
			end = UNWIND_CORRUPT;
			break;
		}
		exact = f.signal;
	}
	out->n = total < room ? total : room;
	if (total > room) {
		/* The ring, in order again. */
		struct unwind_frame far[UNWIND_FAR];
		for (size_t i = 0; i < UNWIND_FAR; i++)
			far[i] = out->frame[ring + (total - ring + i) % UNWIND_FAR];
		memcpy(out->frame + ring, far, sizeof far);
		out->gap = ring;
		out->left_out = total - room;
	}
	return end;
}

/*
 * The far end of a stack whose middle was not saved: the first word in it that looks like a return address and from
 * which the walk comes to the thread's beginning.
 */
static bool far_end(struct walk *w, uint64_t sp, struct unwind *out)
{
	const struct crash_part *p, *far = NULL;
	struct unwind *try = malloc(sizeof *try);
	bool found = false;
	for (size_t at = 0; (p = crash_file_next(w->m->file, CRASH_SEC_STACK, w->tid, &at));)
		if (p->addr > sp && (!far || p->addr < far->addr)) /* farther ones may be other stacks: a handler's */
			far = p;
	for (size_t i = 1, tries = 0; try && far && (i + 1) * 8 <= far->n && tries < 64 && !found; i++) {
		uint64_t v[2];
		memcpy(v, far->p + (i - 1) * 8, sizeof v);
		w->reads = 0;
		if (!executable(w, v[1]) || !after_call(w, v[1]))
			continue;
		tries++;
		memset(w->regs, 0, sizeof w->regs);
		w->regs[CR_RBP] = v[0]; /* a saved frame pointer lies just below */
		w->regs[CR_RIP] = v[1];
		w->regs[CR_RSP] = far->addr + (i + 1) * 8;
		try->n = 0;
		try->gap = try->left_out = 0;
		if (go(w, false, try, UNWIND_WALK) != UNWIND_DONE || try->n < 2)
			continue;
		/* Beginning in the midst of things, the first was a guess. */
		size_t n = try->n < UNWIND_FAR ? try->n : UNWIND_FAR;
		size_t keep = out->n + n <= UNWIND_WALK ? out->n : UNWIND_WALK - n;
		for (size_t k = 0; k < n; k++)
			out->frame[keep + k] = try->frame[try->n - n + k];
		out->n = keep + n;
		out->gap = keep;
		out->left_out = 0;
		found = true;
	}
	free(try);
	return found;
}

static const unw_accessors_t accessors = {
	find_proc_info,
	put_unwind_info,
	get_dyn_info_list_addr,
	access_mem,
	access_reg,
	access_fpreg,
	resume,
	get_proc_name,
};

void unwind_thread(struct modules *m, int32_t tid, const uint64_t regs[CR_REGS], bool fetch, struct unwind *out)
{
	struct walk w = {.m = m, .tid = tid, .acc = accessors};
	out->n = out->gap = out->left_out = 0;
	out->end = UNWIND_PARTIAL;
	w.as = unw_create_addr_space(&w.acc, 0);
	if (!w.as)
		return;
	unw_set_caching_policy(w.as, UNW_CACHE_NONE);
	memcpy(w.regs, regs, sizeof w.regs);
	bool first = true;
	if (fetch && executable(&w, regs[CR_RIP])) {
		/* The mapping changed since, or its page could not be read: go on as if it had just been called. */
		out->frame[out->n++] = (struct unwind_frame){.ip = regs[CR_RIP], .sp = regs[CR_RSP], .exact = true};
		first = !step_leaf(&w, true);
		if (first)
			out->n = 0;
	}
	out->end = go(&w, first, out, UNWIND_WALK);
	uint64_t sp = w.regs[CR_RSP];
	if (out->end == UNWIND_PARTIAL && w.missing && far_end(&w, sp, out))
		out->end = UNWIND_DONE;
	if (out->n > 0 && (out->end == UNWIND_CORRUPT || (out->end == UNWIND_PARTIAL && !w.missing)))
		scan(&w, out->frame[out->n - 1].sp, out);
	unw_destroy_addr_space(w.as);
}
