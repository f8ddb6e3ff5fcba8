#include "exporters/console_tree.h"
#include "exporters/reports_priv.h"
#include <stdio.h>

#define CONSOLE_FRAMES 8

void reports_show(const struct export_host *host, const struct report *rep, const char *program)
{
	struct buf b = {0};
	const struct report_exception *e = rep->n_exceptions ? &rep->exceptions[0] : NULL;
	char line[600];
	const char *title = rep->title ? rep->title : "crash";
	console_escape(&b, (struct slice){program, (uint32_t)strlen(program)}, 200);
	buf_add(&b, ": ", 2);
	console_escape(&b, (struct slice){title, (uint32_t)strlen(title)}, 400);
	buf_add(&b, "\n", 1);
	for (size_t i = 0; e && i < e->n && i < CONSOLE_FRAMES; i++) {
		const struct report_frame *f = &e->frames[i];
		const char *name = f->signal ? "<signal handler called>" : f->function ? f->function
		                                                                       : "??";
		int n;
		if (f->file)
			n = snprintf(line, sizeof line, "#%zu %s at %s:%u", i, name, f->file, f->line);
		else
			n = snprintf(line, sizeof line, "#%zu %s from %s+0x%llx", i, name, f->module ? f->module : "?",
			             (unsigned long long)f->offset);
		buf_add(&b, "    ", 4);
		console_escape(&b, (struct slice){line, (uint32_t)(n < (int)sizeof line ? n : (int)sizeof line - 1)}, 400);
		buf_add(&b, "\n", 1);
	}
	if (!b.failed && b.n < 4096)
		host->stderr_write(b.p, b.n);
	buf_free(&b);
}
