/* The store of reports: a developer's catchsegv. */
#include "exporters/local/local.h"
#include "exporters/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- text ---- */

/* Everything printable, or a space; line ends only where `lines`. What a program leaves must not move a cursor. */
static void add_text(struct buf *b, const char *s, size_t n, bool lines)
{
	size_t from = b->n;
	utf8_add(b, s, n);
	for (size_t i = from; i < b->n; i++) {
		unsigned char c = (unsigned char)b->p[i];
		if ((c < 0x20 && !(lines && (c == '\n' || c == '\t'))) || c == 0x7f)
			b->p[i] = ' ';
		else if (c == 0xc2 && i + 1 < b->n && (unsigned char)b->p[i + 1] < 0xa0) /* C1 controls */
			b->p[i] = b->p[i + 1] = ' ';
	}
}

__attribute__((format(printf, 2, 3))) static void add(struct buf *b, const char *fmt, ...)
{
	char *line = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&line, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->failed = true;
		return;
	}
	add_text(b, line, (size_t)n, false);
	buf_add(b, "\n", 1);
	free(line);
}

static void utc(uint64_t ns, bool compact, char out[21])
{
	time_t t = (time_t)(ns / 1000000000u);
	struct tm tm;
	gmtime_r(&t, &tm);
	strftime(out, 21, compact ? "%Y%m%dT%H%M%SZ" : "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static bool add_hex(struct buf *b, const char *name, const uint8_t *id, size_t n)
{
	char hex[33];
	uint8_t any = 0;
	for (size_t i = 0; i < n; i++) {
		any |= id[i];
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
	}
	if (any)
		add(b, "%s: %s", name, hex);
	return any;
}

static void add_frames(struct buf *b, const struct report_frame *f, size_t n)
{
	for (size_t i = 0; i < n; i++, f++) {
		char where[600] = "";
		if (f->file)
			snprintf(where, sizeof where, " at %s:%u", f->file, f->line);
		else if (f->module)
			snprintf(where, sizeof where, " from %s+0x%llx", f->module, (unsigned long long)f->offset);
		add(b, "#%zu  %s%s%s", i, f->signal ? "<signal handler called>" : f->function ? f->function
		                                                                              : "??",
		    where,
		    f->inlined ? " (inlined)" : f->scanned ? " (guessed)"
		                                           : "");
		if (f->repeated)
			add(b, "    ... repeated %u times more", f->repeated);
	}
}

void local_text(struct buf *b, const struct report *r, const char *program)
{
	char time[21];
	utc(r->time_ns, false, time);
	add(b, "%s", r->title ? r->title : "crash");
	add(b, "program: %s", program);
	add(b, "time: %s", time);
	add(b, "uuid: %s", r->uuid);
	const struct crash_head *h = r->head;
	if (r->pid || h)
		add(b, "pid: %d, thread %d", r->pid ? r->pid : h->pid, r->pid ? r->tid : h->tid);
	if (!add_hex(b, "trace", r->trace_id, 16) && h)
		add_hex(b, "trace", h->trace_id, 16);
	if (!add_hex(b, "span", r->span_id, 8) && h)
		add_hex(b, "span", h->span_id, 8);
	if (r->n_exceptions && r->exceptions[0].message)
		add(b, "reason: %s", r->exceptions[0].message);
	if (r->description)
		add(b, "description: %s", r->description);
	if (r->unwind)
		add(b, "unwind: %s", r->unwind);
	if (r->source == REPORT_SIGNAL && !r->complete)
		add(b, "note: the record was not complete");
	buf_add(b, "\n", 1);
	if (r->text) {
		add_text(b, r->text, strlen(r->text), true);
		buf_add(b, "\n", 1);
		return;
	}
	for (size_t i = 0; i < r->n_exceptions; i++) {
		const struct report_exception *e = &r->exceptions[i];
		add(b, "%s%s%s%s", i ? "caused by " : "", e->type ? e->type : "", e->message ? ": " : "", e->message ? e->message : "");
		add_frames(b, e->frames, e->n);
	}
}

/* ---- files ---- */

static void safe_name(const char *program, char out[65])
{
	const char *slash = strrchr(program, '/');
	size_t n = 0;
	for (const char *p = slash ? slash + 1 : program; *p && n < 64; p++) {
		bool fine = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("._+", *p);
		out[n++] = fine ? *p : '_';
	}
	if (!n)
		out[n++] = '_';
	out[n] = 0;
}

static void trim(struct local *l)
{
	size_t n, texts = 0;
	struct local_entry e;
	char **names = local_names(l, LOCAL_CRASHES, &n), json[LOCAL_NAME + 8];
	for (size_t i = 0; names && i < n; i++)
		texts += local_entry_name(names[i], &e);
	for (size_t i = 0; names && i < n && texts > LOCAL_CRASHES_MOST; i++)
		if (local_entry_name(names[i], &e)) {
			local_remove(l, LOCAL_CRASHES, names[i]);
			snprintf(json, sizeof json, "%s.json", e.name);
			local_remove(l, LOCAL_CRASHES, json);
			texts--;
		}
	local_names_free(names);
}

bool local_keep(struct local *l, const struct report *r, const char *program, const struct buf *json)
{
	char time[21], safe[65], name[LOCAL_NAME];
	struct buf text = {0};
	utc(r->time_ns, true, time);
	safe_name(program, safe);
	local_text(&text, r, program);
	snprintf(name, sizeof name, "%s-%s-%s.json", time, safe, r->uuid);
	bool ok = !text.failed;
	if (json && json->n)
		ok = ok && local_write(l, LOCAL_CRASHES, name, json->p, json->n);
	/* The text comes last: what is listed is whole. */
	snprintf(name, sizeof name, "%s-%s-%s.txt", time, safe, r->uuid);
	ok = ok && local_write(l, LOCAL_CRASHES, name, text.p, text.n);
	buf_free(&text);
	if (ok)
		trim(l);
	return ok;
}

/* ---- reading ---- */

bool local_entry_name(const char *name, struct local_entry *out)
{
	size_t n = strlen(name);
	*out = (struct local_entry){0};
	/* 20260102T030405Z - program - uuid .txt */
	if (n < 16 + 1 + 1 + 1 + 36 + 4 || n >= LOCAL_NAME || strcmp(name + n - 4, ".txt") != 0)
		return false;
	const char *uuid = name + n - 4 - 36, *program = name + 17;
	size_t len = (size_t)(uuid - 1 - program);
	if (name[16] != '-' || uuid[-1] != '-' || !uuid_ok(uuid, 36) || len > 64)
		return false;
	for (int i = 0; i < 16; i++) {
		char want = "ddddddddTddddddZ"[i];
		if (want == 'd' ? name[i] < '0' || name[i] > '9' : name[i] != want)
			return false;
	}
	for (size_t i = 0; i < len; i++)
		if (program[i] <= 0x20 || program[i] > 0x7e || program[i] == '/')
			return false;
	memcpy(out->name, name, n - 4);
	snprintf(out->time, sizeof out->time, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", name, name + 4, name + 6, name + 9, name + 11,
	         name + 13);
	memcpy(out->program, program, len);
	memcpy(out->uuid, uuid, 36);
	return true;
}

void local_entry_title(const char *text, size_t n, struct local_entry *out)
{
	const char *nl = n ? memchr(text, '\n', n) : NULL;
	struct buf b = {0};
	if (nl)
		n = (size_t)(nl - text);
	if (n > 80)
		n = 80;
	add_text(&b, text, n, false);
	if (b.n >= sizeof out->title)
		b.n = sizeof out->title - 1;
	if (b.n)
		memcpy(out->title, b.p, b.n);
	out->title[b.n] = 0;
	buf_free(&b);
}
