/* A report from a crash file: unwound, named, and said in words. */
#include "base/clock.h"
#include "exporters/crash/report_priv.h"
#include "exporters/crash/symbols.h"
#include "exporters/crash/tail.h"
#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 2000
#define DEBUG_MAX (128u << 20)
#define OTHER_FRAMES 64
#define MODULES_SHOWN 512
#define TEXT_MAX_ 4096
#define WORDS_MOST (256 * 1024)

struct walked {
	int32_t tid;
	char comm[17];
	struct unwind u;
};

struct making {
	struct crash_file file;
	struct modules m;
	struct report *r;
	struct walked *threads;
	size_t n_threads;
	struct place {
		int32_t mod;
		uint64_t addr;
		struct symbol *sym;
	} * places; /* sorted, each once */
	size_t n_places;
	struct symbol *syms;
	const char **paths, **ids; /* of the modules */
};

static uint64_t lookup_ip(const struct unwind_frame *f)
{
	return f->exact || f->signal ? f->ip : f->ip - 1;
}

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	if (x->mod != y->mod)
		return x->mod < y->mod ? -1 : 1;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static bool place_of(struct making *k, const struct unwind_frame *f, struct place *p)
{
	const struct module *mod = modules_at(&k->m, lookup_ip(f));
	if (!mod)
		return false;
	*p = (struct place){(int32_t)(mod - k->m.mods), module_offset(mod, lookup_ip(f)), NULL};
	return true;
}

static void comm_of(char to[17], const char from[16])
{
	memcpy(to, from, 16);
	to[16] = 0;
}

static bool is_fetch(const struct crash_head *h)
{
	return h->trapno == 14 && (h->err & 0x10) && h->cr2 == h->regs[CR_RIP];
}

static bool walk_threads(struct making *k)
{
	const struct crash_head *h = &k->file.head;
	const struct crash_part *p;
	size_t n = 1;
	for (size_t at = 0; crash_file_next(&k->file, CRASH_SEC_THREAD, 0, &at);)
		n++;
	k->threads = calloc(n, sizeof *k->threads);
	if (!k->threads)
		return false;
	struct walked *t = &k->threads[k->n_threads++];
	t->tid = h->tid;
	comm_of(t->comm, h->comm);
	unwind_thread(&k->m, h->tid, h->regs, is_fetch(h), &t->u);
	tail_frames(&k->m, &t->u);
	for (size_t at = 0; k->n_threads < n && (p = crash_file_next(&k->file, CRASH_SEC_THREAD, 0, &at));) {
		struct crash_thread ct;
		if (p->n < sizeof ct)
			continue;
		memcpy(&ct, p->p, sizeof ct);
		t = &k->threads[k->n_threads++];
		t->tid = ct.tid;
		comm_of(t->comm, ct.comm);
		if (!(ct.flags & 1) || modules_late(&k->m))
			continue;
		unwind_thread(&k->m, ct.tid, ct.regs, false, &t->u);
		if (t->u.n > OTHER_FRAMES)
			t->u.n = OTHER_FRAMES;
	}
	return true;
}

/* All addresses, by module: each file is read once. The crashed thread's come first if time is short. */
static bool name_places(struct making *k)
{
	size_t total = 0;
	for (size_t i = 0; i < k->n_threads; i++)
		total += k->threads[i].u.n;
	k->places = calloc(total + 1, sizeof *k->places);
	k->syms = calloc(total + 1, sizeof *k->syms);
	if (!k->places || !k->syms)
		return false;
	for (size_t i = 0; i < k->n_threads; i++)
		for (size_t f = 0; f < k->threads[i].u.n; f++)
			k->n_places += place_of(k, &k->threads[i].u.frame[f], &k->places[k->n_places]);
	qsort(k->places, k->n_places, sizeof *k->places, by_place);
	size_t n = 0;
	for (size_t i = 0; i < k->n_places; i++)
		if (n == 0 || by_place(&k->places[n - 1], &k->places[i]) != 0)
			k->places[n++] = k->places[i];
	k->n_places = n;
	for (size_t i = 0; i < n; i++) {
		k->syms[i].addr = k->places[i].addr;
		k->places[i].sym = &k->syms[i];
	}
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i; end < n && k->places[end].mod == k->places[i].mod;)
			end++;
		symbols_find(&k->m, &k->m.mods[k->places[i].mod], &k->syms[i], end - i, k->r);
	}
	return true;
}

static const char *hex_id(struct report *r, const uint8_t *id, size_t n)
{
	char s[41];
	for (size_t i = 0; i < n && i < 20; i++)
		snprintf(s + 2 * i, 3, "%02x", id[i]);
	return n ? report_str(r, s, strlen(s)) : NULL;
}

static void name_modules(struct making *k)
{
	struct report *r = k->r;
	k->paths = report_alloc(r, (k->m.n_mods + 1) * sizeof *k->paths);
	k->ids = report_alloc(r, (k->m.n_mods + 1) * sizeof *k->ids);
	r->modules = report_alloc(r, (k->m.n_mods + 1) * sizeof *r->modules);
	if (!k->paths || !k->ids || !r->modules)
		return;
	bool *code = calloc(k->m.n_mods + 1, sizeof *code);
	for (size_t i = 0; code && i < k->m.n_maps; i++)
		if (k->m.maps[i].mod >= 0 && (k->m.maps[i].x || k->m.mods[k->m.maps[i].mod].unloaded))
			code[k->m.maps[i].mod] = true;
	for (size_t i = 0; code && i < k->m.n_mods; i++) {
		const struct module *mod = &k->m.mods[i];
		if (!code[i])
			continue;
		k->paths[i] = report_str(r, mod->path, strlen(mod->path));
		k->ids[i] = hex_id(r, mod->build_id, mod->build_id_n);
		if (r->n_modules < MODULES_SHOWN)
			r->modules[r->n_modules++] = (struct report_module){k->paths[i], k->ids[i], mod->base};
	}
	free(code);
}

static size_t expand(struct making *k, const struct unwind_frame *u, struct report_frame *out, struct symbol **sym)
{
	struct place want, *p = NULL;
	struct report_frame f = {.ip = u->ip, .signal = u->signal, .scanned = u->scanned, .offset = u->ip};
	*sym = NULL;
	if (place_of(k, u, &want)) {
		p = bsearch(&want, k->places, k->n_places, sizeof *p, by_place);
		f.module = k->paths ? k->paths[want.mod] : NULL;
		f.build_id = k->ids ? k->ids[want.mod] : NULL;
		f.offset = module_offset(&k->m.mods[want.mod], u->ip);
		f.unloaded = k->m.mods[want.mod].unloaded;
	}
	size_t n = p && !u->signal && p->sym->n ? p->sym->n : 1;
	if (u->tail)
		n = 1; /* what it is inlined into gdb does not show */
	for (size_t i = 0; out && i < n; i++) {
		out[i] = f;
		if (p && !u->signal && p->sym->n) {
			const struct symbol_frame *s = &p->sym->frame[i];
			out[i].function = s->function;
			out[i].file = s->file;
			out[i].line = s->line;
			out[i].column = s->column;
			out[i].inlined = i + 1 < n;
			*sym = p->sym;
		}
		out[i].in_app = frame_in_app(&out[i]);
	}
	return n;
}

static bool is_main(const struct making *k, const struct report_frame *f)
{
	if (!f->function || strcmp(f->function, "main") != 0 || f->inlined || f->scanned || !f->module || !k->paths)
		return false;
	for (size_t i = 0; i < k->m.n_mods; i++)
		if (k->paths[i] && !k->m.mods[i].vdso) /* the lowest is the program */
			return f->module == k->paths[i];
	return false;
}

static size_t frames_of(struct making *k, struct walked *t, struct report_frame **out)
{
	size_t n = 0, gap = 0;
	struct symbol *sym;
	for (size_t i = 0; i < t->u.n; i++)
		n += expand(k, &t->u.frame[i], NULL, &sym);
	struct report_frame *f = *out = report_alloc(k->r, (n + 1) * sizeof *f);
	if (!f)
		return 0;
	n = 0;
	for (size_t i = 0; i < t->u.n; i++) {
		if (i == t->u.gap)
			gap = n;
		n += expand(k, &t->u.frame[i], f + n, &sym);
		/* What called main is libc's, and no debugger shows it. */
		if (is_main(k, &f[n - 1]) && (i >= t->u.gap))
			break;
	}
	n = report_fold(f, n, gap, t->u.left_out);
	return n < UNWIND_FRAMES ? n : UNWIND_FRAMES;
}

static const char *language_of(struct making *k)
{
	const struct unwind *u = &k->threads[0].u;
	const struct report_frame *culprit = report_culprit(k->r);
	for (size_t i = 0; culprit && i < u->n; i++) {
		struct place want, *p;
		if (u->frame[i].ip != culprit->ip || !place_of(k, &u->frame[i], &want) ||
		    !(p = bsearch(&want, k->places, k->n_places, sizeof *p, by_place)))
			continue;
		if (p->sym->mangling != MANGLED_NOT)
			return p->sym->mangling == MANGLED_RUST ? "rust" : "c++";
		switch (p->sym->language) {
		case DW_LANG_C_plus_plus:
		case DW_LANG_C_plus_plus_03:
		case DW_LANG_C_plus_plus_11:
		case DW_LANG_C_plus_plus_14:
			return "c++";
		case DW_LANG_Rust:
			return "rust";
		case DW_LANG_Go:
			return "go";
		}
		break;
	}
	return "c";
}

/* Text from the crash file: one line, without control characters. */
static const char *text_part(struct making *k, uint32_t type)
{
	size_t at = 0;
	const struct crash_part *p = crash_file_next(&k->file, type, 0, &at);
	size_t n = p ? strnlen((const char *)p->p, p->n < TEXT_MAX_ ? p->n : TEXT_MAX_) : 0;
	while (n > 0 && (p->p[n - 1] == '\n' || p->p[n - 1] == ' '))
		n--;
	char *s = n ? report_alloc(k->r, n + 1) : NULL;
	for (size_t i = 0; s && i < n; i++)
		s[i] = p->p[i] < ' ' || p->p[i] == 0x7f ? ' ' : (char)p->p[i];
	return s;
}

static void read_process(struct making *k)
{
	size_t at = 0, n = 0;
	const struct crash_part *p = crash_file_next(&k->file, CRASH_SEC_PROCESS, 0, &at);
	char *s = p ? report_alloc(k->r, p->n + 1) : NULL;
	if (!s)
		return;
	memcpy(s, p->p, p->n);
	for (size_t i = 0; i < p->n; i++)
		n += s[i] == 0;
	const char **list = report_alloc(k->r, (n + 2) * sizeof *list);
	for (size_t i = 0, count = 0; list && i < p->n; i += strlen(s + i) + 1)
		if (s[i])
			list[count++] = s + i;
	k->r->process = list;
}

static void read_words(struct making *k)
{
	size_t at = 0;
	const struct crash_part *p = crash_file_next(&k->file, CRASH_SEC_WORDS, 0, &at);
	void *words = p && p->n && p->n <= WORDS_MOST ? report_alloc(k->r, p->n) : NULL;
	if (!words)
		return;
	memcpy(words, p->p, p->n);
	k->r->words = words;
	k->r->n_words = p->n;
}

static void read_cxx(struct making *k, struct report_exception *e)
{
	size_t at = 0;
	char name[DEMANGLED_MAX];
	const struct crash_part *p = crash_file_next(&k->file, CRASH_SEC_CXX, 0, &at);
	if (!p || p->n == 0)
		return;
	char *s = report_alloc(k->r, p->n + 2);
	if (!s)
		return;
	memcpy(s, p->p, p->n);
	if (!s[0])
		return;
	size_t n = strlen(s) < DEMANGLED_MAX - 8 ? strlen(s) : DEMANGLED_MAX - 8;
	char mangled[DEMANGLED_MAX] = "_Z";
	memcpy(mangled + 2, s, n);
	mangled[n + 2] = 0;
	/* As std::type_info has it: a type's name, which demangles as a function's would ("_Z" 3Foo). */
	e->type = demangle(mangled, name) == MANGLED_CXX ? report_str(k->r, name, strlen(name)) : s;
	const char *what = s + strlen(s) + 1;
	e->message = *what && what < s + p->n ? what : e->message;
	k->r->language = "c++";
}

static bool make_threads(struct making *k)
{
	struct report *r = k->r;
	r->threads = report_alloc(r, k->n_threads * sizeof *r->threads);
	r->exceptions = report_alloc(r, sizeof *r->exceptions);
	if (!r->threads || !r->exceptions)
		return false;
	for (size_t i = 0; i < k->n_threads; i++) {
		struct report_thread *t = &r->threads[i];
		t->tid = k->threads[i].tid;
		t->name = report_str(r, k->threads[i].comm, strlen(k->threads[i].comm));
		t->crashed = i == 0;
		t->n = frames_of(k, &k->threads[i], &t->frames);
		r->n_threads++;
	}
	r->n_exceptions = 1;
	r->exceptions[0].n = r->threads[0].n;
	r->exceptions[0].frames = r->threads[0].frames;
	return true;
}

static void fill_in(struct making *k, const struct crash_report_opts *o)
{
	static const char *const ends[] = {"dwarf", "partial", "stack_corrupt"};
	struct report *r = k->r;
	struct crash_head *h = report_alloc(r, sizeof *h);
	if (!h)
		return;
	*h = k->file.head;
	r->head = h;
	r->time_ns = h->time_ns;
	r->pid = h->pid;
	r->tid = h->tid;
	memcpy(r->trace_id, h->trace_id, sizeof r->trace_id);
	memcpy(r->span_id, h->span_id, sizeof r->span_id);
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", digits[] = "0123456789abcdef";
	for (size_t i = 0, b = 0; i < 36; i++, b += shape[i - 1] == 'x')
		r->uuid[i] = shape[i] == '-' ? '-' : digits[h->uuid[b / 2] >> (b % 2 ? 0 : 4) & 15];
	r->level = "critical";
	r->complete = k->file.complete && !(h->flags & CRASH_NESTED);
	r->fatal = true;
	r->abort_msg = text_part(k, CRASH_SEC_ABORT_MSG);
	r->cwd = text_part(k, CRASH_SEC_CWD);
	r->unwind = ends[k->threads[0].u.end];
	read_process(k);
	struct report_exception *e = &r->exceptions[0];
	r->language = language_of(k);
	e->type = signal_name(h->signo);
	e->message = r->abort_msg && h->signo == 6 ? r->abort_msg : report_reason(r, h);
	read_cxx(k, e);
	r->description = report_describe(r, h, r->threads[0].name);
	const struct report_frame *f = r->threads[0].n ? r->threads[0].frames : NULL;
	if (f && f->unloaded && f->module && r->description)
		r->description = report_printf(r, "%s; %s had been unloaded", r->description, f->module);
	read_words(k);
	if (o->source)
		report_source(r);
	report_name(r);
}

struct report *crash_report_make_with(const void *file, size_t n, const struct crash_report_opts *o, const char **why)
{
	struct making *k = calloc(1, sizeof *k);
	const char *bad = "no memory";
	struct report *r = NULL;
	if (!k)
		goto out;
	bad = crash_file_open(&k->file, file, n);
	if (bad)
		goto out;
	bad = "no memory";
	k->m.deadline = mono_ns() + (o->ms ? o->ms : MS) * 1000000ull;
	k->m.debug_dir = o->debug_dir ? o->debug_dir : "/usr/lib/debug";
	k->m.debug_max = o->debug_max ? o->debug_max : DEBUG_MAX;
	k->r = report_new(REPORT_SIGNAL);
	if (!k->r || !modules_read(&k->m, &k->file) || !walk_threads(k) || !name_places(k))
		goto out;
	name_modules(k);
	if (!make_threads(k))
		goto out;
	fill_in(k, o);
	if (k->r->head && k->r->title && k->r->text) {
		r = k->r;
		k->r = NULL;
		bad = NULL;
	}
out:
	if (k) {
		report_free(k->r);
		modules_free(&k->m);
		free(k->threads);
		free(k->places);
		free(k->syms);
		free(k);
	}
	if (why)
		*why = bad;
	return r;
}

struct report *crash_report_make(const void *file, size_t n, const char **why)
{
	return crash_report_make_with(file, n, &(struct crash_report_opts){0}, why);
}
