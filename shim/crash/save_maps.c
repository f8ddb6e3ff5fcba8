/* The modules of a crash file, and where stacks end: from /proc/self/maps. Of the one thread that captures (catch.c). */
#include "crash/save.h"
#include "base/probe.h"
#include <elf.h>
#include <string.h>

#define PAGE 4096u

#define BUILD_IDS 512
static struct crash_build_id ids[BUILD_IDS];
static unsigned n_ids;

static bool find_note(const char *p, size_t n, struct crash_build_id *out)
{
	while (n >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr h;
		memcpy(&h, p, sizeof h);
		size_t name = (h.n_namesz + 3u) & ~3u, desc = (h.n_descsz + 3u) & ~3u;
		if (name > n || desc > n || sizeof h + name + desc > n)
			return false;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && memcmp(p + sizeof h, "GNU", 4) == 0) {
			out->size = (uint8_t)(h.n_descsz < sizeof out->id ? h.n_descsz : sizeof out->id);
			memcpy(out->id, p + sizeof h + name, out->size);
			return true;
		}
		p += sizeof h + name + desc;
		n -= sizeof h + name + desc;
	}
	return false;
}

bool crash_build_id(uint64_t lo, uint64_t hi, struct crash_build_id *out)
{
	const char *base = (const char *)(uintptr_t)lo;
	const Elf64_Ehdr *e = (const Elf64_Ehdr *)base;
	if (hi - lo < PAGE || !readable(base, sizeof *e) || memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 ||
	    e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phoff > PAGE - sizeof(Elf64_Phdr))
		return false;
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(base + e->e_phoff);
	for (unsigned i = 0; i < e->e_phnum && e->e_phoff + (i + 1) * sizeof *ph <= PAGE; i++) {
		if (ph[i].p_type != PT_NOTE || ph[i].p_offset > hi - lo || ph[i].p_filesz > hi - lo - ph[i].p_offset ||
		    ph[i].p_filesz > PAGE)
			continue;
		const char *note = base + ph[i].p_offset;
		*out = (struct crash_build_id){.base = lo};
		if (readable(note, ph[i].p_filesz) && find_note(note, ph[i].p_filesz, out))
			return true;
	}
	return false;
}

struct map {
	uint64_t lo, hi, offset;
	bool readable, path;
};

static const char *hex(const char *p, uint64_t *out)
{
	uint64_t v = 0;
	for (;; p++) {
		if (*p >= '0' && *p <= '9')
			v = v << 4 | (unsigned)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			v = v << 4 | (unsigned)(*p - 'a' + 10);
		else
			break;
	}
	*out = v;
	return p;
}

/* "lo-hi rwxp offset dev inode    path", NUL-terminated. */
static bool parse_map(const char *p, struct map *m)
{
	p = hex(p, &m->lo);
	if (*p++ != '-')
		return false;
	p = hex(p, &m->hi);
	if (*p++ != ' ' || strnlen(p, 5) < 5)
		return false;
	m->readable = p[0] == 'r';
	hex(p + 5, &m->offset);
	m->path = strchr(p, '/') != NULL;
	return true;
}

/* The stack is what holds SP, or (it overflowed) what begins a little above. */
static void look_for_stack(const struct map *m, struct crash_stack *s)
{
	if (!m->readable || s->hi || !s->sp)
		return;
	if (s->sp < m->hi && (s->sp >= m->lo || m->lo - s->sp < (1u << 20))) {
		s->lo = m->lo;
		s->hi = m->hi;
	}
}

static void take_map(const char *line)
{
	struct map m;
	if (!parse_map(line, &m))
		return;
	look_for_stack(&m, &crash_stacks[0]);
	look_for_stack(&m, &crash_stacks[1]);
	uint64_t ip = crash_file.head.regs[CR_RIP];
	if (ip >= m.lo && ip < m.hi && strstr(line, "/libremora-export.so"))
		crash_file.in_export = true;
	if (m.path && m.offset == 0 && m.readable)
		n_ids += n_ids < BUILD_IDS && crash_build_id(m.lo, m.hi, &ids[n_ids]);
}

static void put_maps(void)
{
	static char buf[32768 + 1];
	struct crash_file *f = &crash_file;
	long fd = sys_open("/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	uint64_t size = 0;
	size_t have = 0;
	bool again = true;
	n_ids = 0;
	while (again) {
		long r = fd >= 0 ? sys_read((int)fd, buf + have, sizeof buf - 1 - have) : (long)crash_linkmap(buf, sizeof buf - 1);
		again = fd >= 0;
		if (r <= 0)
			break;
		size += crash_write_at(buf + have, (size_t)r, f->at + sizeof(struct crash_section) + size);
		have += (size_t)r;
		buf[have] = 0;
		char *line = buf, *end;
		while ((end = memchr(line, '\n', have - (size_t)(line - buf)))) {
			*end = 0;
			take_map(line);
			line = end + 1;
		}
		have -= (size_t)(line - buf);
		memmove(buf, line, have);
		if (have == sizeof buf - 1)
			have = 0; /* no line is so long */
	}
	if (fd >= 0)
		sys_close((int)fd);
	crash_close_section(CRASH_SEC_MAPS, 0, 0, size);
}

static bool overflowed(const struct crash_head *h)
{
	uint64_t sp = h->regs[CR_RSP], at = h->si_addr;
	if (h->signo != SIGSEGV || crash_sent(h->si_code) || h->si_code == SI_KERNEL || !h->stack_lo)
		return false;
	/* Below the stack, within what guards are wide, and where the stack pointer is. */
	return at < h->stack_lo + PAGE && h->stack_lo - at + PAGE < (1u << 20) && at + (64u << 10) > sp &&
	       at < sp + (1u << 20) && sp < h->stack_lo + (64u << 10);
}

static void put_far_end(const struct crash_stack *s)
{
	uint64_t seen = crash_below(s->sp) + CRASH_STACK, hi = crash_stack_end(s->sp, s->hi);
	if (s->end || hi <= seen)
		return;
	uint64_t from = hi - CRASH_FAR;
	crash_put_memory(CRASH_SEC_STACK, crash_file.head.tid, from > seen ? from : seen, hi);
}

void crash_save_modules(const struct crash_cause *c)
{
	struct crash_head *h = &crash_file.head;
	(void)c;
	put_maps();
	h->stack_lo = crash_stacks[0].lo;
	h->stack_hi = crash_stacks[0].hi;
	if (overflowed(h))
		h->flags |= CRASH_STACK_OVERFLOW;
	put_far_end(&crash_stacks[0]);
	put_far_end(&crash_stacks[1]);
	crash_write_head();
	crash_put(CRASH_SEC_BUILD_IDS, 0, 0, ids, n_ids * sizeof ids[0]);
	crash_put_unloaded();
}
