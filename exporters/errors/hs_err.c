/*
 * The report that a JVM writes before it dies, hs_err_pid42.log: beside the program, in /tmp, or where -XX:ErrorFile says.
 * What Java was doing becomes a second trace; of the rest only what names the crash goes along: the file has memory,
 * the command line and the environment in it.
 */
#include "exporters/errors/errors.h"
#include "exporters/errors/making.h"
#include "exporters/utf8.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_MOST (256 * 1024)
#define NAMED_MOST 1024
#define KEEP_MOST (16 * 1024)
#define SLACK_S 60 /* it may have been written so long before we look at the crash's time */

static const char first_line[] = "#\n# A fatal error has been detected by the Java Runtime Environment:";
static const char java_frames[] = "Java frames: ";

/* ---- the text ---- */

/* "j  T.poke()V+23", "J 12 c1 T.poke()V (23 bytes) @ 0x..": class and method. */
static void frame(struct making *m, struct slice l)
{
	struct slice t = after(l, 1), name;
	if (!starts(l, "j ") && !starts(l, "J "))
		return;
	size_t open = find(t, "(");
	if (open == SIZE_MAX)
		return;
	name = trim((struct slice){t.p, (uint32_t)open});
	size_t space = find_last(name, " "), dot;
	if (space != SIZE_MAX)
		name = after(name, space + 1);
	dot = find_last(name, ".");
	if (dot == SIZE_MAX)
		return;
	struct report_frame *f = make_frame(m, after(name, dot + 1), (struct slice){0}, 0);
	f->module = make_text(m, (struct slice){name.p, (uint32_t)dot});
	f->in_app = !starts(name, "java.") && !starts(name, "jdk.") && !starts(name, "sun.");
}

/* Up to an empty line. */
static struct slice cut_part(struct slice *text)
{
	size_t end = find(*text, "\n\n");
	struct slice part = {text->p, end == SIZE_MAX ? text->n : (uint32_t)end};
	*text = after(*text, end == SIZE_MAX ? text->n : end + 2);
	return part;
}

static bool is_kept(struct slice part)
{
	static const char *const kept[] = {"#", "Host: ", "Current thread", "Stack: ", "Native frames: ", "Java frames: ", "siginfo: ",
	                                   "VM state:", "Internal exceptions"};
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (starts(part, kept[i]))
			return true;
	return false;
}

static const char *problem(struct making *m, struct slice text)
{
	size_t at = find(text, "# Problematic frame:\n# ");
	if (at == SIZE_MAX)
		return NULL;
	text = after(text, at + 23);
	return make_text(m, trim(cut_line(&text)));
}

bool errors_hs_err_take(struct report *crash, struct slice text)
{
	struct making *m = calloc(1, sizeof *m);
	char *keep = malloc(KEEP_MOST + 2), *to = NULL;
	size_t n = 0, clean_n = 0;
	if (!m || !keep || !starts(text, first_line)) {
		free(m);
		free(keep);
		return false;
	}
	m->r = crash;
	make_exception(m, SLICE("Java frames"), (struct slice){0});
	for (struct slice rest = text; rest.n && n < KEEP_MOST;) {
		struct slice part = cut_part(&rest);
		if (!is_kept(part))
			continue;
		size_t k = part.n < KEEP_MOST - n ? part.n : KEEP_MOST - n;
		memcpy(keep + n, part.p, k);
		n += k;
		keep[n++] = '\n';
		if (starts(part, java_frames))
			for (cut_line(&part); part.n;)
				frame(m, cut_line(&part));
	}
	char *clean = scrub((struct slice){keep, (uint32_t)n}, true, &clean_n);
	if (clean && (to = report_alloc(crash, clean_n * UTF8_GROWTH + 1)))
		utf8_copy(to, clean, clean_n);
	crash->hs_err = to;
	struct made_exception *e = &m->e[0];
	size_t all = crash->n_exceptions + 1;
	struct report_exception *x = e->n && crash->n_exceptions ? report_alloc(crash, all * sizeof *x) : NULL;
	struct report_frame *f = x ? report_alloc(crash, e->n * sizeof *f) : NULL;
	if (f) {
		memcpy(x, crash->exceptions, crash->n_exceptions * sizeof *x);
		memcpy(f, e->frames, e->n * sizeof *f);
		x[all - 1] = (struct report_exception){.type = "JVM crash", .message = problem(m, text), .n = e->n, .frames = f};
		crash->exceptions = x;
		crash->n_exceptions = all;
		report_name(crash);
	}
	free(e->frames);
	free(m);
	free(clean);
	free(keep);
	return to != NULL;
}

/* ---- the file ---- */

/* Only a file that is surely the crashed process's own: whoever made the crash file may have named any. */
static char *read_file(const struct report *crash, const char *path, size_t *n)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char *p = NULL;
	*n = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == crash->head->uid &&
	    (uint64_t)st.st_mtim.tv_sec + SLACK_S >= crash->time_ns / 1000000000u && (p = malloc(READ_MOST)))
		for (ssize_t k = 1; k > 0 && *n<READ_MOST; *n += k> 0 ? (size_t)k : 0)
			k = read(fd, p + *n, READ_MOST - *n);
	close(fd);
	return p;
}

static bool look_at(struct report *crash, const char *path)
{
	size_t n;
	char *p = path && *path == '/' ? read_file(crash, path, &n) : NULL;
	bool good = p && errors_hs_err_take(crash, (struct slice){p, (uint32_t)n});
	free(p);
	if (good)
		crash->hs_err_path = report_str(crash, path, strlen(path));
	return good;
}

/* -XX:ErrorFile=/var/log/java_error%p.log */
static bool named(const struct report *crash, char out[NAMED_MOST])
{
	static const char option[] = "-XX:ErrorFile=";
	for (const char *const *p = crash->process; p && *p; p++) {
		const char *at = strncmp(*p, "args=", 5) == 0 ? strstr(*p, option) : NULL;
		if (!at)
			continue;
		size_t n = 0;
		for (at += sizeof option - 1; *at && *at != '\x1f' && n < NAMED_MOST - 16; at++) {
			if (at[0] == '%' && at[1] == 'p')
				n += (size_t)snprintf(out + n, 12, "%d", crash->pid);
			else
				out[n++] = *at;
			at += at[0] == '%' && (at[1] == 'p' || at[1] == '%');
		}
		out[n] = 0;
		return n != 0;
	}
	return false;
}

static bool is_jvm(const struct report *crash)
{
	for (size_t i = 0; i < crash->n_modules; i++) {
		const char *slash = crash->modules[i].path ? strrchr(crash->modules[i].path, '/') : NULL;
		if (slash && strcmp(slash, "/libjvm.so") == 0)
			return true;
	}
	return false;
}

void errors_hs_err(struct report *crash)
{
	char path[PATH_MAX], relative[NAMED_MOST];
	if (!crash->head || !is_jvm(crash) || look_at(crash, crash->hs_err_path))
		return;
	if (named(crash, relative)) {
		bool whole = *relative == '/' || !crash->cwd;
		snprintf(path, sizeof path, "%.2048s%s%s", whole ? "" : crash->cwd, whole ? "" : "/", relative);
		if (look_at(crash, path))
			return;
	}
	snprintf(path, sizeof path, "%s/hs_err_pid%d.log", crash->cwd ? crash->cwd : "", crash->pid);
	if (look_at(crash, path))
		return;
	snprintf(path, sizeof path, "/tmp/hs_err_pid%d.log", crash->pid);
	look_at(crash, path);
}
