/* Call sites in DWARF (5, and GNU's before it). */
#include "exporters/crash/lines_priv.h"
#include <dwarf.h>
#include <stdlib.h>

struct sites {
	struct chain *c;
	uint64_t ret; /* wanted; 0: tail calls */
	struct line_call *out;
	size_t n, max;
};

static bool address_of(Dwarf_Die *die, unsigned attr, uint64_t *out)
{
	Dwarf_Attribute a;
	Dwarf_Addr v;
	if (!dwarf_attr(die, attr, &a) || dwarf_formaddr(&a, &v) != 0)
		return false;
	*out = v;
	return true;
}

static bool flag(Dwarf_Die *die, unsigned attr)
{
	Dwarf_Attribute a;
	bool v = false;
	return dwarf_attr(die, attr, &a) && dwarf_formflag(&a, &v) == 0 && v;
}

static void add(struct sites *s, Dwarf_Die *site, uint64_t ret)
{
	Dwarf_Attribute a;
	Dwarf_Die origin;
	struct line_call call = {.ret = ret};
	if (!dwarf_attr(site, DW_AT_call_origin, &a) && !dwarf_attr(site, DW_AT_abstract_origin, &a))
		return;
	if (!dwarf_formref_die(&a, &origin) || s->n == s->max)
		return;
	Dwarf_Addr low;
	if (!flag(&origin, DW_AT_declaration) && dwarf_entrypc(&origin, &low) == 0) {
		call.addr = low;
	} else {
		struct line_frame f = {0};
		lines_name(NULL, &f, &origin, false);
		call.name = f.linkage ? f.linkage : f.function;
		if (!call.name)
			return;
	}
	s->out[s->n++] = call;
}

static void collect(struct sites *s, Dwarf_Die *parent, unsigned depth)
{
	Dwarf_Die die;
	if (depth > DEPTH_MAX || dwarf_child(parent, &die) != 0)
		return;
	do {
		if (lines_tired(s->c) || s->n == s->max)
			return;
		uint64_t ret;
		switch (dwarf_tag(&die)) {
		case DW_TAG_call_site:
		case DW_TAG_GNU_call_site:
			if (!address_of(&die, DW_AT_call_return_pc, &ret) && !address_of(&die, DW_AT_low_pc, &ret))
				break;
			if (s->ret ? ret == s->ret : flag(&die, DW_AT_call_tail_call) || flag(&die, DW_AT_GNU_tail_call))
				add(s, &die, ret);
			break;
		case DW_TAG_lexical_block:
		case DW_TAG_inlined_subroutine:
			collect(s, &die, depth + 1);
			break;
		}
	} while (dwarf_siblingof(&die, &die) == 0);
}

static int look(struct lines *l, uint64_t addr, struct sites *s, uint64_t *entry, struct line_frame *name)
{
	Dwarf_Die unit;
	struct chain *c = calloc(1, sizeof *c);
	if (!c || !lines_unit(l, addr, &unit)) {
		free(c);
		return -1;
	}
	c->addr = addr;
	c->m = l->m;
	lines_chain(c, &unit, dwarf_srclang(&unit));
	Dwarf_Addr low;
	if (c->n == 0 || dwarf_entrypc(&c->die[0], &low) != 0) {
		free(c);
		return -1;
	}
	if (entry)
		*entry = low;
	if (name)
		lines_name(NULL, name, &c->die[0], false);
	s->c = c;
	collect(s, &c->die[0], 0);
	free(c);
	return (int)s->n;
}

static int guarded(struct lines *l, uint64_t addr, struct sites *s, uint64_t *entry, struct line_frame *name)
{
	if (l->broken || modules_late(l->m))
		return -1;
	if (setjmp(lines_no_memory)) {
		l->broken = true;
		return -1;
	}
	return look(l, addr, s, entry, name);
}

bool lines_call_at(struct lines *l, uint64_t ret, struct line_call *out)
{
	struct sites s = {.ret = ret, .out = out, .max = 1};
	return guarded(l, ret - 1, &s, NULL, NULL) == 1;
}

int lines_tail_calls(struct lines *l, uint64_t addr, uint64_t *entry, struct line_frame *name,
                     struct line_call out[LINES_TAILS])
{
	struct sites s = {.out = out, .max = LINES_TAILS};
	return guarded(l, addr, &s, entry, name);
}
