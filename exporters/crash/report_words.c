/* What a signal means, in words, and what a crash is called. */
#include "exporters/crash/report_priv.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* The crash file has fields of these names. */
#undef si_pid
#undef si_uid
#undef si_addr

#ifndef SI_TKILL
#define SI_TKILL -6
#endif
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif
#define NEAR_NULL 4096u

const char *signal_name(int signo)
{
	static const struct {
		int signo;
		const char *name;
	} names[] = {
		{SIGSEGV, "SIGSEGV"},
		{SIGBUS, "SIGBUS"},
		{SIGILL, "SIGILL"},
		{SIGFPE, "SIGFPE"},
		{SIGABRT, "SIGABRT"},
		{SIGTRAP, "SIGTRAP"},
		{SIGSYS, "SIGSYS"},
		{SIGQUIT, "SIGQUIT"},
		{SIGXCPU, "SIGXCPU"},
		{SIGXFSZ, "SIGXFSZ"},
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].signo == signo)
			return names[i].name;
	return "signal";
}

static const char *code_words(int signo, int code)
{
	static const struct {
		int signo, code;
		const char *words;
	} all[] = {
		{SIGSEGV, SEGV_MAPERR, "Address not mapped to object"},
		{SIGSEGV, SEGV_ACCERR, "Invalid permissions for mapped object"},
		{SIGSEGV, SEGV_PKUERR, "Protection key checking failure"},
		{SIGBUS, BUS_ADRALN, "Invalid address alignment"},
		{SIGBUS, BUS_ADRERR, "Nonexistent physical address"},
		{SIGBUS, BUS_OBJERR, "Object-specific hardware error"},
		{SIGBUS, BUS_MCEERR_AR, "Hardware memory error"},
		{SIGFPE, FPE_INTDIV, "Integer divide by zero"},
		{SIGFPE, FPE_INTOVF, "Integer overflow"},
		{SIGFPE, FPE_FLTDIV, "Floating-point divide by zero"},
		{SIGFPE, FPE_FLTOVF, "Floating-point overflow"},
		{SIGFPE, FPE_FLTUND, "Floating-point underflow"},
		{SIGFPE, FPE_FLTRES, "Floating-point inexact result"},
		{SIGFPE, FPE_FLTINV, "Invalid floating-point operation"},
		{SIGFPE, FPE_FLTSUB, "Subscript out of range"},
		{SIGILL, ILL_ILLOPC, "Illegal opcode"},
		{SIGILL, ILL_ILLOPN, "Illegal operand"},
		{SIGILL, ILL_ILLADR, "Illegal addressing mode"},
		{SIGILL, ILL_ILLTRP, "Illegal trap"},
		{SIGILL, ILL_PRVOPC, "Privileged opcode"},
		{SIGILL, ILL_PRVREG, "Privileged register"},
		{SIGILL, ILL_COPROC, "Coprocessor error"},
		{SIGILL, ILL_BADSTK, "Internal stack error"},
		{SIGTRAP, TRAP_BRKPT, "Breakpoint"},
		{SIGTRAP, TRAP_TRACE, "Trace trap"},
		{SIGSYS, SYS_SECCOMP, "System call refused by seccomp"},
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].signo == signo && all[i].code == code)
			return all[i].words;
	return NULL;
}

static bool sent(const struct crash_head *h)
{
	return h->si_code == SI_USER || h->si_code == SI_TKILL || h->si_code == SI_QUEUE;
}

static bool has_addr(const struct crash_head *h)
{
	return h->si_code > 0 && h->si_code != SI_KERNEL &&
	       (h->signo == SIGSEGV || h->signo == SIGBUS || h->signo == SIGFPE || h->signo == SIGILL);
}

const char *report_reason(struct report *r, const struct crash_head *h)
{
	const char *words = code_words(h->signo, h->si_code);
	if (sent(h)) {
		if (h->si_pid == h->pid)
			return h->signo == SIGABRT ? "Aborted" : report_printf(r, "Raised by the process itself");
		return report_printf(r, "Sent by process %d (uid %u)", h->si_pid, h->si_uid);
	}
	if (h->si_code == SI_KERNEL && h->signo == SIGSEGV)
		return "General protection fault (address unknown)";
	if (!words)
		return h->signo == SIGTRAP ? "Breakpoint" : report_printf(r, "si_code %d", h->si_code);
	if (has_addr(h))
		return report_printf(r, "%s at 0x%llx", words, (unsigned long long)h->si_addr);
	return words;
}

const char *report_describe(struct report *r, const struct crash_head *h, const char *thread)
{
	char where[64] = "", what[128] = "";
	if (h->si_addr < NEAR_NULL)
		snprintf(where, sizeof where, h->si_addr ? "NULL+0x%llx" : "NULL", (unsigned long long)h->si_addr);
	else
		snprintf(where, sizeof where, "0x%llx", (unsigned long long)h->si_addr);
	if (h->flags & CRASH_STACK_OVERFLOW)
		snprintf(what, sizeof what, "stack overflow");
	else if (sent(h))
		snprintf(what, sizeof what, "%s sent by %s", signal_name(h->signo),
		         h->si_pid == h->pid ? "the process itself" : "another process");
	else if (h->trapno == 14 && has_addr(h))
		snprintf(what, sizeof what, "%s %s", h->err & 0x10 ? "jump to" : h->err & 2 ? "write to"
		                                                                            : "read from",
		         where);
	else if (h->signo == SIGSEGV && h->si_code == SI_KERNEL)
		snprintf(what, sizeof what, "use of a non-canonical address, or a privileged instruction");
	else
		snprintf(what, sizeof what, "%s", code_words(h->signo, h->si_code) ? code_words(h->signo, h->si_code) : signal_name(h->signo));
	return report_printf(r, "%s, thread %s (tid %d)", what, thread && *thread ? thread : "?", h->tid);
}

static const char *make_title(struct report *r, const char *type)
{
	const struct report_frame *f = report_culprit(r);
	if (!f)
		return type;
	if (f->signal)
		return report_printf(r, "%s in a signal handler's return", type);
	const char *file = f->file ? strrchr(f->file, '/') : NULL, *mod = f->module ? strrchr(f->module, '/') : NULL;
	file = file ? file + 1 : f->file;
	mod = mod ? mod + 1 : f->module;
	if (f->function && file && f->line)
		return report_printf(r, "%s in %s (%s:%u)", type, f->function, file, f->line);
	if (f->function && mod)
		return report_printf(r, "%s in %s (%s)", type, f->function, mod);
	if (mod)
		return report_printf(r, "%s in %s+0x%llx", type, mod, (unsigned long long)f->offset);
	return report_printf(r, "%s at 0x%llx", type, (unsigned long long)f->ip);
}

void report_name(struct report *r)
{
	r->title = make_title(r, r->exceptions[0].type);
	report_fingerprint(r);
	report_text(r);
}
