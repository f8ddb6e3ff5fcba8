/*
 * Source lines around a frame. Only when asked for: they leave the machine with the report. A name in debugging
 * information may be any path: what does not look like source is not read.
 */
#include "exporters/crash/report_priv.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE_MAX (4 << 20)
#define AROUND 4
#define LINE_LEN 500
#define FRAMES 64

static bool is_source(const char *path)
{
	static const char *const ends[] = {".c", ".h", ".cc", ".cpp", ".cxx", ".C", ".hh", ".hpp", ".hxx", ".inl", ".rs", ".go", ".S", ".s",
	                                   ".f90", ".d", ".zig", ".m", ".mm", ".pyx", ".y", ".l", NULL};
	const char *dot = strrchr(path, '.');
	for (size_t i = 0; dot && ends[i]; i++)
		if (strcmp(dot, ends[i]) == 0)
			return path[0] == '/';
	return false;
}

static char *read_file(const char *path, size_t *n)
{
	struct stat st;
	if (!is_source(path) || stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > SOURCE_MAX)
		return NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *p = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= SOURCE_MAX ? malloc((size_t)st.st_size + 1) : NULL;
	ssize_t got = p ? read(fd, p, (size_t)st.st_size) : -1;
	if (fd >= 0)
		close(fd);
	if (got < 0) {
		free(p);
		return NULL;
	}
	p[got] = 0;
	*n = (size_t)got;
	return p;
}

static void around(struct report *r, struct report_frame *f, const char *text, size_t n)
{
	const char **pre = report_alloc(r, (AROUND + 1) * sizeof *pre), **post = report_alloc(r, (AROUND + 1) * sizeof *post);
	size_t at = 0, n_pre = 0, n_post = 0;
	if (!pre || !post)
		return;
	for (uint64_t line = 1; at < n && line <= (uint64_t)f->line + AROUND; line++) {
		const char *end = memchr(text + at, '\n', n - at);
		size_t len = end ? (size_t)(end - text) - at : n - at, next = at + len + 1;
		if (len > 0 && text[at + len - 1] == '\r')
			len--;
		if (len > LINE_LEN)
			len = LINE_LEN;
		if (line + AROUND >= f->line) {
			const char *s = report_str(r, text + at, len);
			if (line < f->line)
				pre[n_pre++] = s;
			else if (line == f->line)
				f->code = s;
			else
				post[n_post++] = s;
		}
		at = next;
	}
	if (!f->code)
		return;
	f->pre = pre;
	f->post = post;
}

void report_source(struct report *r)
{
	for (size_t i = 0; i < r->n_exceptions; i++) {
		for (size_t k = 0; k < r->exceptions[i].n && k < FRAMES; k++) {
			struct report_frame *f = &r->exceptions[i].frames[k];
			size_t n;
			char *text = f->file && f->line ? read_file(f->file, &n) : NULL;
			if (text)
				around(r, f, text, n);
			free(text);
		}
	}
}
