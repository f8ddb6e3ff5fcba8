/* Writing the crash file. Of the one thread that captures (catch.c): static memory, raw system calls. */
#include "crash/save.h"
#include "base/clock.h"
#include "base/probe.h"
#include "config.h"
#include "span/process.h"
#include "span/span.h"
#include "span/text_tail.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define MOST (32u << 20)
#define LEAST (512u << 10) /* files that may not grow so far (RLIMIT_FSIZE) would cut the record */
#define ARGUMENTS_MOST (64u << 20)
#define RECENT_MOST (256u << 10)
#define PAGE 4096u

struct crash_file crash_file = {.fd = -1};
struct crash_stack crash_stacks[2];

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
size_t crash_write_at(const void *p, size_t n, uint64_t at)
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
			return done + crash_write_at((const char *)p + done, n - done, at + done);
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	return done;
}

void crash_close_section(enum crash_section_type type, int tid, uint64_t addr, uint64_t size)
{
	struct crash_section s = {type, tid, addr, size};
	if (size && crash_write_at(&s, sizeof s, crash_file.at) == sizeof s)
		crash_file.at += sizeof s + ((size + 7) & ~(uint64_t)7);
}

void crash_put(enum crash_section_type type, int tid, uint64_t addr, const void *p, size_t n)
{
	/* The bytes first: a section that has a head is whole. */
	n = crash_write_at(p, n, crash_file.at + sizeof(struct crash_section));
	crash_close_section(type, tid, addr, n);
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
		size_t n = crash_write_at((const void *)(uintptr_t)from, (size_t)(to - from), crash_file.at + sizeof(struct crash_section));
		crash_close_section(type, tid, from, n);
		from += n;
		if (from < to) {
			from = (from & ~(uint64_t)(PAGE - 1)) + PAGE;
			holes++;
		}
	}
}

void crash_write_head(void)
{
	crash_write_at(&crash_file.head, sizeof crash_file.head, 0);
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
	if (crash_sent(h->si_code)) {
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

/* end: of what may be stack; 0: not known. */
static void look_for(struct crash_stack *s, uint64_t sp, uint64_t end)
{
	uint64_t to = crash_below(sp) + CRASH_STACK;
	*s = (struct crash_stack){.sp = sp, .end = end};
	if (sp)
		crash_put_memory(CRASH_SEC_STACK, crash_file.head.tid, crash_below(sp), end && end < to ? end : to);
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
	crash_write_head();
	crash_put(CRASH_SEC_SIGINFO, h->tid, 0, c->info, sizeof *c->info);
	uint64_t before = crash_file.at;
	look_for(&crash_stacks[0], h->regs[CR_RSP], c->over_end);
	uint64_t other = c->under;
	if (!other && crash_file.at == before) /* SP is lost; the frame pointer may still be good */
		other = h->regs[CR_RBP];
	look_for(&crash_stacks[1], other, 0);
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
	crash_write_head();
}

void crash_save_flags(uint32_t flags)
{
	crash_file.head.flags |= flags;
	crash_write_head();
}

void crash_save_end(void)
{
	/* A write that found its memory unreadable may have left room behind the last section. */
	if (crash_file.fd >= 0)
		sys3(SYS_ftruncate, crash_file.fd, crash_file.at, 0);
	crash_file.head.done = 1;
	crash_write_head();
	file_size_end();
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
