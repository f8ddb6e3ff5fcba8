/*
 * A call's note says whom it called, and the frame says who is running: where they differ, jumps lie between them.
 * What all ways from the one to the other have in common, from either end, was there (gdb's rule).
 */
#include "exporters/crash/tail.h"
#include "exporters/crash/lines.h"
#include "exporters/crash/symbols.h"
#include <string.h>

#define LONGEST 8
#define TRIES 200
#define MODULES_ASKED 64

struct way {
	struct modules *m;
	uint64_t to;            /* where the running function begins */
	uint64_t path[LONGEST]; /* return addresses of the jumps, outermost first */
	uint64_t found[LONGEST];
	size_t n_found, before, after; /* known from the caller's end, from the callee's */
	bool any;
	size_t tries;
};

static uint64_t resolve(struct modules *m, struct module *mod, const char *name)
{
	uint64_t at;
	struct elf_file *d = module_debug(m, mod);
	if (symtab_by_name(m, &mod->elf, ".symtab", name, &at) || (d && symtab_by_name(m, d, ".symtab", name, &at)))
		return at + mod->bias;
	for (size_t i = 0; i < m->n_mods && i < MODULES_ASKED && !modules_late(m); i++) {
		struct module *o = modules_at(m, m->mods[i].base);
		if (o && o->state == MODULE_GOOD && symtab_by_name(m, &o->elf, ".dynsym", name, &at))
			return at + o->bias;
	}
	return 0;
}

static uint64_t target_of(struct modules *m, struct module *mod, const struct line_call *c)
{
	return c->addr ? c->addr + mod->bias : resolve(m, mod, c->name);
}

static void candidate(struct way *w, size_t n)
{
	if (!w->any) {
		w->any = true;
		w->n_found = w->before = w->after = n;
		memcpy(w->found, w->path, sizeof w->found);
		return;
	}
	size_t least = n < w->n_found ? n : w->n_found, k = 0;
	while (k < w->before && k < least && w->found[k] == w->path[k])
		k++;
	w->before = k;
	for (k = 0; k < w->after && k < least && w->found[w->n_found - 1 - k] == w->path[n - 1 - k];)
		k++;
	w->after = k;
}

static void search(struct way *w, uint64_t from, size_t n)
{
	if (from == w->to) {
		if (n > 0)
			candidate(w, n);
		return;
	}
	struct module *mod = modules_at(w->m, from);
	struct lines *l = mod ? lines_of(w->m, mod) : NULL;
	struct line_call calls[LINES_TAILS];
	struct line_frame name = {0};
	uint64_t entry;
	if (!l || n == LONGEST || ++w->tries > TRIES)
		return;
	int k = lines_tail_calls(l, from - mod->bias, &entry, &name, calls);
	for (int i = 0; i < k && !(w->any && w->before == 0 && w->after == 0); i++) {
		uint64_t ret = calls[i].ret + mod->bias;
		bool seen = false;
		for (size_t p = 0; p < n; p++)
			seen |= w->path[p] == ret;
		if (seen)
			continue;
		w->path[n] = ret;
		uint64_t to = target_of(w->m, mod, &calls[i]);
		if (to)
			search(w, to, n + 1);
	}
}

/* How many lie between the two; their return addresses, innermost first. */
static size_t between(struct modules *m, const struct unwind_frame *callee, const struct unwind_frame *caller,
                      uint64_t out[LONGEST])
{
	if (callee->signal || caller->signal || caller->exact || callee->scanned || caller->scanned)
		return 0;
	uint64_t at = callee->exact ? callee->ip : callee->ip - 1, entry;
	struct module *mod = modules_at(m, caller->ip - 1), *its = modules_at(m, at);
	struct lines *l = mod ? lines_of(m, mod) : NULL, *li = its ? lines_of(m, its) : NULL;
	struct line_call call, tails[LINES_TAILS];
	struct line_frame name = {0};
	if (!l || !li || !lines_call_at(l, caller->ip - mod->bias, &call) ||
	    lines_tail_calls(li, at - its->bias, &entry, &name, tails) < 0)
		return 0;
	if (!call.addr && ((name.linkage && strcmp(name.linkage, call.name) == 0) ||
	                   (name.function && strcmp(name.function, call.name) == 0)))
		return 0;
	struct way w = {.m = m, .to = entry + its->bias};
	uint64_t from = target_of(m, mod, &call);
	if (!from || from == w.to)
		return 0;
	search(&w, from, 0);
	if (!w.any || w.tries > TRIES)
		return 0;
	size_t n = 0;
	for (size_t i = 0; i < w.after; i++)
		out[n++] = w.found[w.n_found - 1 - i];
	if (w.after < w.n_found)
		for (size_t i = w.before; i > 0 && n < LONGEST; i--)
			out[n++] = w.found[i - 1];
	return n;
}

void tail_frames(struct modules *m, struct unwind *u)
{
	uint64_t ret[LONGEST];
	for (size_t i = 0; i + 1 < u->n && !modules_late(m); i++) {
		if (u->gap && i + 1 == u->gap)
			continue;
		size_t n = between(m, &u->frame[i], &u->frame[i + 1], ret);
		if (n == 0 || u->n + n > UNWIND_FRAMES)
			continue;
		memmove(&u->frame[i + 1 + n], &u->frame[i + 1], (u->n - i - 1) * sizeof u->frame[0]);
		for (size_t k = 0; k < n; k++)
			u->frame[i + 1 + k] = (struct unwind_frame){.ip = ret[k], .sp = u->frame[i].sp, .tail = true};
		u->n += n;
		if (u->gap > i)
			u->gap += n;
		i += n;
	}
}
