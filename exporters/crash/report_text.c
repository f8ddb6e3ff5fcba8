/* A report as a debugger would print it. */
#include "exporters/crash/report_priv.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MOST (256 * 1024)

const char *report_printf(struct report *r, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	char *s = n >= 0 ? report_alloc(r, (size_t)n + 1) : NULL;
	if (s)
		vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return s;
}

static __attribute__((format(printf, 2, 3))) void say(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || b->n > TEXT_MOST || !buf_reserve(b, (size_t)n + 1))
		return;
	va_start(ap, fmt);
	vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
}

static void say_frame(struct buf *b, size_t i, const struct report_frame *f)
{
	say(b, "#%-3zu", i);
	if (f->signal) {
		say(b, "<signal handler called>\n");
		return;
	}
	if (f->scanned)
		say(b, "? ");
	if (!f->inlined && (f->ip || !f->function))
		say(b, "0x%016llx in ", (unsigned long long)f->ip);
	say(b, "%s", f->function ? f->function : "??");
	if (f->function && !strchr(f->function, '('))
		say(b, " ()");
	if (f->file && f->line)
		say(b, " at %s:%u", f->file, f->line);
	else if (f->file)
		say(b, " at %s", f->file);
	else if (f->module && f->function)
		say(b, " from %s", f->module);
	else if (f->module)
		say(b, " from %s+0x%llx%s%s%s", f->module, (unsigned long long)f->offset, f->build_id ? " (" : "",
		    f->build_id ? f->build_id : "", f->build_id ? ")" : "");
	if (f->unloaded)
		say(b, " (unloaded)");
	if (f->inlined)
		say(b, " (inlined)");
	say(b, "\n");
}

static void say_frames(struct buf *b, const struct report_frame *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (f[i].scanned && (i == 0 || !f[i - 1].scanned))
			say(b, "     (what follows was found by looking over the stack)\n");
		say_frame(b, i, &f[i]);
		if (f[i].repeated && (i + 1 == n || f[i + 1].repeated != f[i].repeated))
			say(b, "     (repeated %u more times)\n", f[i].repeated);
	}
}

void report_text(struct report *r)
{
	struct buf b = {0};
	const struct report_exception *e = &r->exceptions[0];
	say(&b, "%s: %s\n%s\n", e->type ? e->type : "?", e->message ? e->message : "", r->description ? r->description : "");
	if (!r->complete)
		say(&b, "(the capture was cut off: this is what there was)\n");
	for (size_t i = 1; i < r->n_exceptions; i++) {
		const struct report_exception *x = &r->exceptions[i];
		say(&b, "\n%s: %s\n", x->type ? x->type : "?", x->message ? x->message : "");
		say_frames(&b, x->frames, x->n);
	}
	for (size_t i = 0; i < r->n_threads; i++) {
		const struct report_thread *t = &r->threads[i];
		say(&b, "\nThread %d \"%s\"%s:\n", t->tid, t->name ? t->name : "", t->crashed ? " (crashed)" : "");
		say_frames(&b, t->frames, t->n);
		if (t->crashed && r->unwind && strcmp(r->unwind, "dwarf") != 0)
			say(&b, "     (%s)\n", strcmp(r->unwind, "partial") == 0 ? "what called it is not known" : "the stack is corrupt");
	}
	r->text = b.failed ? NULL : report_str(r, b.p ? b.p : "", b.n);
	buf_free(&b);
}
