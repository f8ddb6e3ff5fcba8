/* Writing the crash file. Of the one thread that captures (catch.c): static memory, raw system calls. */
#include "crash/crash_priv.h"
#include "base/clock.h"
#include "base/probe.h"
#include "config.h"
#include "span/process.h"
#include "span/span.h"
#include "span/text_tail.h"
#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define MOST (32u << 20)
#define LEAST (512u << 10) /* files that may not grow so far (RLIMIT_FSIZE) would cut the record */
#define RED_ZONE 128
#define ARGUMENTS_MOST (64u << 20)
#define RECENT_MOST (256u << 10)
#define PAGE 4096u

struct crash_file crash_file = {.fd = -1};
static struct stack { /* of the crashed thread; the second one under a handler's alternate stack */
	uint64_t sp, end, lo, hi;
} stacks[2];

char *crash_text(char *at, const char *s)
{
	while (*s)
		*at++ = *s++;
	*at = 0;
	return at;
}

char *crash_number(char *at, uint64_t n)
{
	char digits[20];
	int k = 0;
	do
		digits[k++] = (char)('0' + n % 10);
	while (n /= 10);
	while (k)
		*at++ = digits[--k];
	*at = 0;
	return at;
}

/* ---- bytes ---- */

/* Returns how many: less where memory is unreadable, or the file may not grow (beyond the limit lies SIGXFSZ). */
static size_t write_at(const void *p, size_t n, uint64_t at)
{
	struct crash_file *f = &crash_file;
	size_t done = 0;
	if ((f->fd < 0 && !f->mem) || at >= f->limit)
		return 0;
	if (n > f->limit - at)
		n = (size_t)(f->limit - at);
	if (f->mem)
		return crash_place_write(p, n, at);
	while (done < n) {
		long r = sys6(SYS_pwrite64, f->fd, (long)((const char *)p + done), (long)(n - done), (long)(at + done), 0, 0);
		if (r == -EINTR)
			continue;
		if ((r == -ENOSPC || r == -EDQUOT) && crash_place_move())
			return done + write_at((const char *)p + done, n - done, at + done);
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	return done;
}

static void close_section(enum crash_section_type type, int tid, uint64_t addr, uint64_t size)
{
	struct crash_section s = {type, tid, addr, size};
	if (size && write_at(&s, sizeof s, crash_file.at) == sizeof s)
		crash_file.at += sizeof s + ((size + 7) & ~(uint64_t)7);
}

void crash_put(enum crash_section_type type, int tid, uint64_t addr, const void *p, size_t n)
{
	/* The bytes first: a section that has a head is whole. */
	n = write_at(p, n, crash_file.at + sizeof(struct crash_section));
	close_section(type, tid, addr, n);
}

uint64_t crash_stack_end(uint64_t from, uint64_t to)
{
	if (config.argv_at && from >= config.argv_at && from - config.argv_at < ARGUMENTS_MOST)
		return from;
	return from < config.argv_at && to > config.argv_at ? config.argv_at : to;
}

void crash_put_memory(enum crash_section_type type, int tid, uint64_t from, uint64_t to)
{
	int holes = 0;
	if (type == CRASH_SEC_STACK)
		to = crash_stack_end(from, to);
	while (from < to && holes < 16 && (crash_file.fd >= 0 || crash_file.mem)) {
		size_t n = write_at((const void *)(uintptr_t)from, (size_t)(to - from), crash_file.at + sizeof(struct crash_section));
		close_section(type, tid, from, n);
		from += n;
		if (from < to) {
			from = (from & ~(uint64_t)(PAGE - 1)) + PAGE;
			holes++;
		}
	}
}

static void write_head(void)
{
	write_at(&crash_file.head, sizeof crash_file.head, 0);
}

/* ---- the file ---- */

/* No number is free: a table of our own, in which the last of the program's descriptors make room. */
static void make_room(void)
{
	struct rlimit rl;
	long fd = sys_open("/", O_PATH | O_CLOEXEC, 0);
	if (fd == -EMFILE) {
		crash_place_raise_nofile();
		fd = sys_open("/", O_PATH | O_CLOEXEC, 0);
	}
	if (fd >= 0)
		sys_close((int)fd);
	if (fd != -EMFILE || sys6(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&rl, 0, 0) != 0)
		return;
	sys3(SYS_unshare, CLONE_FILES, 0, 0);
	int room = 0;
	for (uint64_t fd_ = rl.rlim_cur; fd_-- > 3 && room < 4;)
		room += sys_close((int)fd_) == 0;
}

/* Raised for the time of writing, if it may be: what is beyond it would be SIGXFSZ. */
static struct rlimit file_size;
static bool raised;

static void file_size_begin(void)
{
	raised = false;
	if (sys6(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&file_size, 0, 0) != 0 || file_size.rlim_cur >= MOST)
		return;
	struct rlimit more = {file_size.rlim_max, file_size.rlim_max};
	if (more.rlim_cur > file_size.rlim_cur && sys6(SYS_prlimit64, 0, RLIMIT_FSIZE, (long)&more, 0, 0, 0) == 0)
		raised = true;
	uint64_t now = raised ? more.rlim_cur : file_size.rlim_cur;
	if (now < crash_file.limit)
		crash_file.limit = now;
}

static void file_size_end(void)
{
	if (raised)
		sys6(SYS_prlimit64, 0, RLIMIT_FSIZE, (long)&file_size, 0, 0, 0);
	raised = false;
}

static void name_it(int pid, uint64_t start, unsigned n)
{
	char *at = crash_text(crash_file.path, process.dir);
	*at++ = '/';
	at = crash_number(at, (uint64_t)pid);
	*at++ = '-';
	at = crash_number(at, start);
	*at++ = '-';
	at = crash_number(at, n);
	crash_text(at, CRASH_SUFFIX);
}

static bool make_file(int pid, uint64_t start)
{
	struct crash_file *f = &crash_file;
	f->at = sizeof f->head;
	f->limit = MOST;
	f->named = false;
	f->fd = -1;
	f->mem = NULL;
	file_size_begin();
	if (f->limit < LEAST && (crash_place_nameless(true) || f->limit < sizeof f->head))
		return f->mem;
	if (!process.dir[0])
		runtime_dir(config.runtime_dir, config.xdg_runtime_dir, process.dir, sizeof process.dir);
	for (unsigned n = 0; process.dir[0] && n < 8; n++) {
		name_it(pid, start, n);
		long fd = sys_open(f->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0) {
			f->fd = (int)fd;
			f->named = true;
			return true;
		}
		if (fd != -EEXIST)
			break;
	}
	return crash_place_nameless(false);
}

static void random_bytes(uint8_t *p, size_t n)
{
	if (sys3(SYS_getrandom, p, n, 1 /* GRND_NONBLOCK */) == (long)n)
		return;
	uint64_t x = real_ns() ^ (uint64_t)sys_gettid() << 40;
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		p[i] = (uint8_t)(x >> 24);
	}
}

void crash_regs(uint64_t out[CR_REGS], const greg_t *g)
{
	static const uint8_t from[CR_REGS] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP,
	                                      REG_RSP, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13,
	                                      REG_R14, REG_R15, REG_RIP, REG_EFL};
	for (int i = 0; i < CR_REGS; i++)
		out[i] = (uint64_t)g[from[i]];
}

static bool sent(int code)
{
	return code == SI_USER || code == SI_QUEUE || code == SI_TKILL;
}

static void fill_head(const struct crash_cause *c, uint64_t start)
{
	struct crash_head *h = &crash_file.head;
	memset(h, 0, sizeof *h);
	h->magic = CRASH_MAGIC;
	h->layout = CRASH_LAYOUT;
	random_bytes(h->uuid, sizeof h->uuid);
	h->uuid[6] = (uint8_t)((h->uuid[6] & 15) | 0x40);
	h->uuid[8] = (uint8_t)((h->uuid[8] & 0x3f) | 0x80);
	h->pid = sys_getpid();
	h->tid = sys_gettid();
	h->ppid = (int)sys3(SYS_getppid, 0, 0, 0);
	h->uid = (uint32_t)sys3(SYS_getuid, 0, 0, 0);
	h->start = start;
	h->time_ns = real_ns();
	uint64_t boot = clock_ns(CLOCK_BOOTTIME), began = start * 10000000u; /* USER_HZ is 100 */
	h->up_ns = start && boot > began ? boot - began : 0;
	h->signo = c->sig;
	h->end_signo = c->end_sig;
	h->si_code = c->info->si_code;
	h->si_errno = c->info->si_errno;
	if (sent(h->si_code)) {
		h->si_pid = info_pid(c->info);
		h->si_uid = info_uid(c->info);
	} else {
		h->si_addr = info_addr(c->info);
	}
	h->trapno = (uint64_t)c->regs[REG_TRAPNO];
	h->err = (uint64_t)c->regs[REG_ERR];
	h->cr2 = (uint64_t)c->regs[REG_CR2];
	crash_regs(h->regs, c->regs);
	h->slot = SLOT_NONE;
	h->config_hash = config.hash;
	h->flags = (c->on_alt ? CRASH_ON_ALTSTACK : 0) | (c->forked ? CRASH_IN_FORK_CHILD : 0) |
	           (c->vforked ? CRASH_IN_VFORK_CHILD : 0);
	sys3(SYS_prctl, PR_GET_NAME, h->comm, 0);
}

static uint64_t below(uint64_t sp)
{
	return (sp - RED_ZONE) & ~(uint64_t)7;
}

/* end: of what may be stack; 0: not known. */
static void look_for(struct stack *s, uint64_t sp, uint64_t end)
{
	uint64_t to = below(sp) + CRASH_STACK;
	*s = (struct stack){.sp = sp, .end = end};
	if (sp)
		crash_put_memory(CRASH_SEC_STACK, crash_file.head.tid, below(sp), end && end < to ? end : to);
}

void crash_save_begin(const struct crash_cause *c)
{
	struct crash_head *h = &crash_file.head;
	int pid = sys_getpid();
	crash_file.fd = -1;
	crash_file.mem = NULL;
	crash_file.in_export = false;
	if (crash_export.freeze && !c->vforked)
		crash_export.freeze();
	make_room();
	uint64_t start = proc_start_time(pid);
	fill_head(c, start);
	if (!make_file(pid, start)) {
		crash_lost(c->sig, "neither a file nor memory is to be had");
		return;
	}
	write_head();
	crash_put(CRASH_SEC_SIGINFO, h->tid, 0, c->info, sizeof *c->info);
	uint64_t before = crash_file.at;
	look_for(&stacks[0], h->regs[CR_RSP], c->over_end);
	uint64_t other = c->under;
	if (!other && crash_file.at == before) /* SP is lost; the frame pointer may still be good */
		other = h->regs[CR_RBP];
	look_for(&stacks[1], other, 0);
	uint64_t ip = h->regs[CR_RIP];
	crash_put_memory(CRASH_SEC_CODE, h->tid, ip - 64, ip + 64);
}

void crash_save_context(const struct crash_cause *c)
{
	struct crash_head *h = &crash_file.head;
	struct arena *a = atomic_load(&process.arena);
	uint32_t proc = atomic_load(&process.proc);
	random_bytes(h->instance, sizeof h->instance);
	if (a && proc < ARENA_PROCS)
		memcpy(h->instance, a->procs[proc].instance, sizeof h->instance);
	struct txn_ref r = c->vforked ? (struct txn_ref){0} : span_current();
	if (r.t) {
		memcpy(h->trace_id, r.t->trace_id, 16);
		memcpy(h->span_id, r.t->span_id, 8);
		memcpy(h->parent_id, r.t->parent_id, 8);
		h->trace_flags = r.t->flags;
		h->slot = r.t->slot;
	}
	write_head();
}

void crash_save_flags(uint32_t flags)
{
	crash_file.head.flags |= flags;
	write_head();
}

void crash_save_end(void)
{
	/* A write that found its memory unreadable may have left room behind the last section. */
	if (crash_file.fd >= 0)
		sys3(SYS_ftruncate, crash_file.fd, crash_file.at, 0);
	crash_file.head.done = 1;
	write_head();
	file_size_end();
}

/* ---- modules ---- */

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
static void look_for_stack(const struct map *m, struct stack *s)
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
	look_for_stack(&m, &stacks[0]);
	look_for_stack(&m, &stacks[1]);
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
		size += write_at(buf + have, (size_t)r, f->at + sizeof(struct crash_section) + size);
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
	close_section(CRASH_SEC_MAPS, 0, 0, size);
}

static bool overflowed(const struct crash_head *h)
{
	uint64_t sp = h->regs[CR_RSP], at = h->si_addr;
	if (h->signo != SIGSEGV || sent(h->si_code) || h->si_code == SI_KERNEL || !h->stack_lo)
		return false;
	/* Below the stack, within what guards are wide, and where the stack pointer is. */
	return at < h->stack_lo + PAGE && h->stack_lo - at + PAGE < (1u << 20) && at + (64u << 10) > sp &&
	       at < sp + (1u << 20) && sp < h->stack_lo + (64u << 10);
}

static void put_far_end(const struct stack *s)
{
	uint64_t seen = below(s->sp) + CRASH_STACK, hi = crash_stack_end(s->sp, s->hi);
	if (s->end || hi <= seen)
		return;
	uint64_t from = hi - CRASH_FAR;
	crash_put_memory(CRASH_SEC_STACK, crash_file.head.tid, from > seen ? from : seen, hi);
}

static void put_abort_message(void)
{
	struct {
		unsigned size;
		char text[];
	} const *m;
	if (!crash_libc.abort_msg || !(m = (const void *)*crash_libc.abort_msg) || !readable(m, sizeof *m))
		return;
	size_t n = m->size > sizeof *m && m->size < 65536 ? m->size - sizeof *m : 0; /* it counts whole pages */
	if (n > 4096)
		n = 4096;
	if (n && readable(m->text, n))
		crash_put(CRASH_SEC_ABORT_MSG, 0, 0, m->text, strnlen(m->text, n));
}

void crash_save_modules(const struct crash_cause *c)
{
	struct crash_head *h = &crash_file.head;
	(void)c;
	put_maps();
	h->stack_lo = stacks[0].lo;
	h->stack_hi = stacks[0].hi;
	if (overflowed(h))
		h->flags |= CRASH_STACK_OVERFLOW;
	put_far_end(&stacks[0]);
	put_far_end(&stacks[1]);
	write_head();
	crash_put(CRASH_SEC_BUILD_IDS, 0, 0, ids, n_ids * sizeof ids[0]);
	crash_put_unloaded();
}

void crash_save_process(const struct crash_cause *c)
{
	static char text[8192], scratch[4096];
	crash_put(CRASH_SEC_PROCESS, 0, 0, text, process_describe(text, sizeof text, scratch));
	long n = sys3(SYS_getcwd, text, sizeof text, 0);
	if (n > 1)
		crash_put(CRASH_SEC_CWD, 0, 0, text, (size_t)n);
	put_abort_message();
	uint64_t size = 0, at = crash_export.recent && !c->vforked ? crash_export.recent(&size) : 0;
	if (size && size <= RECENT_MOST)
		crash_put_memory(CRASH_SEC_RECENT, 0, at, at + size);
	size_t said;
	const void *words = text_tail(&said);
	if (words)
		crash_put(CRASH_SEC_WORDS, 0, 0, words, said);
}
