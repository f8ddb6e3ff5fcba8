/* The report of a crash file: real states of programs built here, frames and names checked. Skipped without gcc. */
#include "exporters/crash/report.h"
#include "exporters/crash/report_priv.h"
#include "unit.h"
#include <fcntl.h>
#undef si_pid
#undef si_uid
#undef si_addr

static void sections(struct buf *b, uint32_t type, int tid, uint64_t addr, const void *p, size_t n)
{
	struct crash_section s = {type, tid, addr, n};
	buf_add(b, &s, sizeof s);
	buf_add(b, p, n);
	buf_add(b, "\0\0\0\0\0\0\0", -n & 7);
}

/* This process' own code as the crashed one's: frames of functions of this file. */
struct captured {
	uint64_t regs[CR_REGS];
	char *stack;
	size_t n;
};
static struct captured captured;

__attribute__((noinline)) static void innermost(void)
{
	uint64_t *r = captured.regs;
	__asm__ volatile("lea 0(%%rip), %%rax\n mov %%rax, %0\n mov %%rsp, %1\n mov %%rbp, %2\n mov %%rbx, %3\n"
	                 "mov %%r12, %4\n mov %%r13, %5\n mov %%r14, %6\n mov %%r15, %7\n"
	                 : "=m"(r[CR_RIP]), "=m"(r[CR_RSP]), "=m"(r[CR_RBP]), "=m"(r[CR_RBX]), "=m"(r[CR_R12]), "=m"(r[CR_R13]),
	                   "=m"(r[CR_R14]), "=m"(r[CR_R15])::"rax");
	captured.n = 8192;
	captured.stack = malloc(captured.n);
	int fd = open("/proc/self/mem", O_RDONLY);
	OK(captured.stack && fd >= 0);
	ssize_t n = pread(fd, captured.stack, captured.n, (off_t)captured.regs[CR_RSP]);
	OK(n > 0);
	captured.n = (size_t)n;
	close(fd);
}
__attribute__((noinline)) static void middle(void)
{
	innermost();
	__asm__ volatile("" ::
	                     : "memory");
}
__attribute__((noinline)) static void outer(int n)
{
	if (n > 0)
		outer(n - 1);
	else
		middle();
	__asm__ volatile("" ::
	                     : "memory");
}

static struct crash_head head_of(int signo, int code, uint64_t addr)
{
	struct crash_head h = {.magic = CRASH_MAGIC, .layout = CRASH_LAYOUT, .done = 1, .pid = 71, .tid = 71};
	h.signo = signo;
	h.si_code = code;
	h.si_addr = addr;
	h.trapno = 14;
	h.err = 6;
	h.time_ns = (uint64_t)1 << 62;
	for (size_t i = 0; i < 16; i++)
		h.uuid[i] = (uint8_t)(i * 17);
	strcpy(h.comm, "worker-3");
	return h;
}

static struct report *made(int depth, const struct crash_head *from, bool maps)
{
	struct crash_head h = *from;
	struct buf b = {0};
	outer(depth);
	memcpy(h.regs, captured.regs, sizeof h.regs);
	buf_add(&b, &h, sizeof h);
	sections(&b, CRASH_SEC_STACK, h.tid, h.regs[CR_RSP], captured.stack, captured.n);
	static char text[1 << 20];
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t n = 0;
	ssize_t k;
	while ((k = read(fd, text + n, sizeof text - n)) > 0)
		n += (size_t)k;
	close(fd);
	if (maps)
		sections(&b, CRASH_SEC_MAPS, 0, 0, text, n);
	static const char process[] = "service.name=shop\0host.name=web4";
	sections(&b, CRASH_SEC_PROCESS, 0, 0, process, sizeof process);
	OK(!b.failed);
	/* Ends at a page that may not be read. */
	struct unit_guarded g = unit_at_end(b.p, b.n);
	const char *why = NULL;
	struct report *r = crash_report_make(g.p, b.n, &why);
	if (!r)
		unit_fail(__FILE__, __LINE__, "no report: %s", why);
	unit_unguard(g);
	buf_free(&b);
	free(captured.stack);
	return r;
}

TEST(frames_of_this_program)
{
	struct crash_head h = head_of(11, 1, 0);
	struct report *r = made(0, &h, true);
	const struct report_frame *f = r->threads[0].frames;
	OK(r->threads[0].n >= 4);
	EQ_STR(f[0].function, "innermost");
	EQ_STR(f[1].function, "middle");
	EQ_STR(f[2].function, "outer");
	OK(f[0].file && strstr(f[0].file, "test_crash_report.c") && f[0].line > 0 && f[0].in_app);
	EQ_STR(r->exceptions[0].type, "SIGSEGV");
	EQ_STR(r->exceptions[0].message, "Address not mapped to object at 0x0");
	EQ_STR(r->description, "write to NULL, thread worker-3 (tid 71)");
	EQ_STR(r->uuid, "00112233-4455-6677-8899-aabbccddeeff");
	EQ_STR(r->level, "critical");
	EQ_STR(r->language, "c");
	OK(strncmp(r->title, "SIGSEGV in innermost (test_crash_report.c:", 42) == 0);
	OK(strstr(r->text, "in middle ()") && r->complete && r->n_modules > 0);
	EQ_STR(r->process[0], "service.name=shop");
	EQ_STR(r->process[1], "host.name=web4");
	OK(r->process[2] == NULL);
	report_free(r);
}

TEST(recursion_is_folded_and_does_not_change_the_fingerprint)
{
	struct crash_head h = head_of(11, 1, 0);
	struct report *a = made(20, &h, true), *b = made(50, &h, true), *c = made(0, &h, true);
	EQ_STR(a->threads[0].frames[2].function, "outer");
	OK(a->threads[0].frames[2].repeated >= 18 && b->threads[0].frames[2].repeated > a->threads[0].frames[2].repeated);
	EQ_INT(a->threads[0].n, b->threads[0].n);
	EQ_STR(a->fingerprint, b->fingerprint);
	OK(strstr(b->text, "more times") && strcmp(a->fingerprint, "") != 0);
	report_free(a);
	report_free(b);
	report_free(c);
}

TEST(other_signals_other_fingerprints)
{
	struct crash_head h = head_of(11, 1, 0), g = head_of(8, 1, 0);
	g.trapno = 0;
	struct report *a = made(1, &h, true), *b = made(1, &g, true);
	OK(strcmp(a->fingerprint, b->fingerprint) != 0);
	EQ_STR(b->exceptions[0].type, "SIGFPE");
	OK(strncmp(b->description, "Integer divide by zero", 22) == 0);
	report_free(a);
	report_free(b);
}

TEST(jump_to_an_unmapped_place)
{
	struct crash_head h = head_of(11, 1, 0x10);
	h.err = 0x14;
	outer(0);
	/* As if innermost had been called there: its caller's address lies on top of the stack. */
	struct buf b = {0};
	h.regs[CR_RIP] = 0x10;
	h.regs[CR_RSP] = captured.regs[CR_RSP] - 8;
	h.regs[CR_RBP] = captured.regs[CR_RBP];
	h.cr2 = 0x10;
	char *stack = malloc(captured.n + 8);
	memcpy(stack, &captured.regs[CR_RIP], 8);
	memcpy(stack + 8, captured.stack, captured.n);
	static char text[1 << 20];
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t n = 0;
	ssize_t k;
	while ((k = read(fd, text + n, sizeof text - n)) > 0)
		n += (size_t)k;
	close(fd);
	buf_add(&b, &h, sizeof h);
	sections(&b, CRASH_SEC_STACK, h.tid, h.regs[CR_RSP], stack, captured.n + 8);
	sections(&b, CRASH_SEC_MAPS, 0, 0, text, n);
	struct report *r = crash_report_make(b.p, b.n, NULL);
	OK(r && r->threads[0].n >= 3);
	EQ_INT(r->threads[0].frames[0].ip, 0x10);
	EQ_STR(r->threads[0].frames[1].function, "innermost");
	EQ_STR(r->threads[0].frames[2].function, "middle");
	OK(strncmp(r->description, "jump to NULL+0x10", 17) == 0);
	report_free(r);
	free(stack);
	buf_free(&b);
}

TEST(without_maps_one_frame)
{
	struct crash_head h = head_of(11, 1, 0);
	struct report *r = made(0, &h, false);
	EQ_INT(r->threads[0].n, 1);
	OK(r->title && !r->threads[0].frames[0].function);
	report_free(r);
}

TEST(source_lines_only_when_asked_for)
{
	struct crash_head h = head_of(11, 1, 0);
	struct report *r = made(0, &h, true);
	OK(r->threads[0].frames[1].code == NULL);
	report_source(r);
	if (r->threads[0].frames[1].file[0] == '/' && access(r->threads[0].frames[1].file, R_OK) == 0) {
		OK(r->threads[0].frames[1].code && strstr(r->threads[0].frames[1].code, "innermost()"));
		OK(r->threads[0].frames[1].pre[0] && r->threads[0].frames[1].post[0]);
	}
	report_free(r);
}

TEST(words)
{
	static const struct {
		int signo, code;
		uint64_t addr, trapno, err;
		const char *message, *description;
	} rows[] = {
		{11, 1, 0x18, 14, 4, "Address not mapped to object at 0x18", "read from NULL+0x18, thread t (tid 5)"},
		{11, 2, 0x5000, 14, 6, "Invalid permissions for mapped object at 0x5000", "write to 0x5000, thread t (tid 5)"},
		{11, 128, 0, 13, 0, "General protection fault (address unknown)", "use of a non-canonical address, or a privileged instruction, thread t (tid 5)"},
		{7, 2, 0x7000, 14, 4, "Nonexistent physical address at 0x7000", "read from 0x7000, thread t (tid 5)"},
		{4, 2, 0x7000, 6, 0, "Illegal operand at 0x7000", "Illegal operand, thread t (tid 5)"},
		{6, -6, 0, 0, 0, "Sent by process 9 (uid 3)", "SIGABRT sent by another process, thread t (tid 5)"},
		{5, 128, 0, 3, 0, "Breakpoint", "SIGTRAP, thread t (tid 5)"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("row %zu", i);
		struct report *r = report_new(REPORT_SIGNAL);
		struct crash_head h = {.signo = rows[i].signo, .si_code = rows[i].code, .si_addr = rows[i].addr, .trapno = rows[i].trapno};
		h.err = rows[i].err;
		h.pid = h.tid = 5;
		h.si_pid = 9;
		h.si_uid = 3;
		EQ_STR(report_reason(r, &h), rows[i].message);
		EQ_STR(report_describe(r, &h, "t"), rows[i].description);
		report_free(r);
	}
}

static struct report_frame frame(const char *function)
{
	return (struct report_frame){.function = function, .in_app = true, .module = "/srv/app"};
}

TEST(folding)
{
	struct report_frame f[64];
	size_t n = 0;
	f[n++] = frame("a");
	for (int i = 0; i < 12; i++) {
		f[n++] = frame("b");
		f[n++] = frame("c");
	}
	f[n++] = frame("main");
	n = report_fold(f, n, 0, 0);
	EQ_INT(n, 4);
	EQ_STR(f[1].function, "b");
	EQ_STR(f[2].function, "c");
	EQ_INT(f[1].repeated, 11);
	EQ_STR(f[3].function, "main");
	n = 0;
	for (int i = 0; i < 5; i++)
		f[n++] = frame("b");
	EQ_INT(report_fold(f, n, 0, 0), 5);
}

TEST(in_app)
{
	static const struct {
		const char *module, *function;
		bool app;
	} rows[] = {
		{"/srv/app", "parse", true},
		{"/lib/x86_64-linux-gnu/libc.so.6", "qsort", false},
		{"/srv/app", "abort", false},
		{"/srv/app", "std::sort", false},
		{"/usr/bin/python3.11", "PyEval_EvalCode", false},
		{"[vdso]", NULL, false},
		{NULL, NULL, false},
		{"/srv/lib/liborder.so", NULL, true},
		{"/usr/bin/node", "node::Abort", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct report_frame f = {.module = rows[i].module, .function = rows[i].function};
		unit_case("row %zu", i);
		EQ_INT(frame_in_app(&f), rows[i].app);
	}
}
