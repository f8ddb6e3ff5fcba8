/* Finished traces on the host's stderr, for a person: one line a span. */
#include "exporters/batch_view.h"
#include "exporters/console_tree.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include "exporters/span_attrs.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGET_MOST 240 /* characters of a URL */

struct console {
	const struct export_host *host;
	struct settings limits; /* none: a line shows what it wants */
	struct tree tree;
	struct span_attrs attrs;
	struct buf out;
};

/* Whole lines in pieces below PIPE_BUF, so that nobody else's come between the parts of one. */
static void write_lines(struct console *c)
{
	const char *p = c->out.p, *e = p + c->out.n;
	while (p < e) {
		size_t n = (size_t)(e - p), most = 4096;
		if (n > most) {
			const char *nl = memrchr(p, '\n', most);
			n = nl ? (size_t)(nl + 1 - p) : most;
		}
		c->host->stderr_write(p, n); /* not written: nobody is there to be told */
		p += n;
	}
	c->out.n = 0;
	c->out.failed = false;
}

/* ---- the line ---- */

static const struct attr *find(const struct span_attrs *a, const char *key)
{
	for (uint32_t i = 0; i < a->n; i++)
		if (strcmp(a->attrs[i].key, key) == 0)
			return &a->attrs[i];
	return NULL;
}

static struct slice text_of(const struct span_attrs *a, const char *key)
{
	const struct attr *x = find(a, key);
	return x && x->type == ATTR_STRING ? (struct slice){x->str, (uint32_t)x->str_len} : (struct slice){NULL, 0};
}

static int64_t number_of(const struct span_attrs *a, const char *key)
{
	const struct attr *x = find(a, key);
	return x && x->type == ATTR_INT ? x->num : 0;
}

/* Characters that a terminal obeys become \xNN: what a client sends must not move the cursor. */
void console_escape(struct buf *b, struct slice s, size_t most)
{
	const char *end = s.p + s.n;
	size_t begin = b->n;
	for (const char *p = s.p; p < end; p++) {
		unsigned char c = (unsigned char)*p;
		/* C1 controls and the marks that turn the direction of text; strings are valid UTF-8 here. */
		bool two = c == 0xc2 && end - p > 1 && (unsigned char)p[1] < 0xa0;
		bool three = c == 0xe2 && end - p > 2 &&
		             ((p[1] == '\x80' && (unsigned char)p[2] >= 0x8e) || (p[1] == '\x81' && (unsigned char)p[2] >= 0xa6));
		if (c < 0xc0 && c >= 0x80 && b->n - begin < most + 3) {
			buf_add(b, p, 1); /* inside a character */
			continue;
		}
		if (b->n - begin >= most) {
			buf_add(b, "...", 3);
			return;
		}
		if (c < 0x20 || c == 0x7f || two || three) {
			for (int i = 0, n = three ? 3 : two ? 2
			                                    : 1;
			     i < n; i++) {
				char hex[5];
				snprintf(hex, sizeof hex, "\\x%02x", (unsigned char)p[i]);
				buf_add(b, hex, 4);
			}
			p += three ? 2 : two ? 1
			                     : 0;
			continue;
		}
		buf_add(b, p, 1);
	}
}

__attribute__((format(printf, 2, 3))) static void add(struct buf *b, const char *fmt, ...)
{
	char line[128];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (n > 0)
		buf_add(b, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void add_duration(struct buf *b, uint64_t ns)
{
	if (ns < 1000000)
		add(b, "%llu us", (unsigned long long)(ns / 1000));
	else if (ns < 1000000000)
		add(b, "%llu.%llu ms", (unsigned long long)(ns / 1000000), (unsigned long long)(ns / 100000 % 10));
	else
		add(b, "%llu.%02llu s", (unsigned long long)(ns / 1000000000), (unsigned long long)(ns / 10000000 % 100));
}

static void add_connect(struct buf *b, const struct span_attrs *a)
{
	struct slice to = text_of(a, "server.address");
	bool v6 = to.n && memchr(to.p, ':', to.n);
	buf_add(b, "connect ", 8);
	buf_add(b, "[", v6);
	console_escape(b, to, TARGET_MOST);
	buf_add(b, "]", v6);
	add(b, ":%d", (int)number_of(a, "server.port"));
}

static void add_request(struct buf *b, const struct span_attrs *a)
{
	struct slice method = text_of(a, "http.request.method_original"), url = text_of(a, "url.full");
	if (!method.n)
		method = text_of(a, "http.request.method");
	console_escape(b, method, 32);
	buf_add(b, " ", 1);
	if (url.n) {
		console_escape(b, url, TARGET_MOST);
		return;
	}
	struct slice query = text_of(a, "url.query");
	console_escape(b, text_of(a, "url.path"), TARGET_MOST);
	if (query.n) {
		buf_add(b, "?", 1);
		console_escape(b, query, TARGET_MOST);
	}
}

/* "SELECT * FROM t WHERE i = ?  postgresql" */
static void add_query(struct buf *b, const struct span_attrs *a, struct slice system)
{
	struct slice query = text_of(a, "db.query.text");
	if (query.n)
		console_escape(b, query, TARGET_MOST);
	else
		buf_add(b, a->name, a->name_len);
	buf_add(b, "  ", 2);
	buf_add(b, system.p, system.n);
}

/* "GET /a?b  200  1.2 ms  ECONNRESET": what stands in a line but for the indentation and the names. */
static void add_span(struct buf *b, const struct span_attrs *a)
{
	int64_t status = number_of(a, "http.response.status_code");
	struct slice error = text_of(a, "error.type"), system = text_of(a, "db.system.name");
	if (system.n)
		add_query(b, a, system);
	else if (strcmp(a->name, "connect") == 0)
		add_connect(b, a);
	else
		add_request(b, a);
	if (status)
		add(b, "  %d", (int)status);
	if (error.n && (system.n || error.p[0] < '0' || error.p[0] > '9')) { /* no status once more */
		buf_add(b, "  ", 2);
		console_escape(b, error, 64);
	}
	buf_add(b, "  ", 2);
	add_duration(b, a->end_ns - a->start_ns);
	if (text_of(a, "remora.parent").n)
		buf_add(b, "  (parent unknown)", 18);
}

/* ---- the destination ---- */

static uint32_t print(void *self, const struct batch *batch)
{
	struct console *c = self;
	uint64_t now = tree_now();
	for (uint32_t i = 0; i < batch->n; i++) {
		struct rec_view room;
		const struct rec_view *v = batch_view(batch, i, &room);
		struct buf line = {0};
		if (!v || !span_attrs_make(&c->attrs, v, &c->limits))
			continue;
		const struct span_rec *r = v->rec;
		add_span(&line, &c->attrs);
		const struct resource *res = resource_of(batch->resources, batch->arena, v);
		struct tree_span s = {
			.start_ns = c->attrs.start_ns,
			.line = line,
			.has_parent = c->attrs.has_parent,
			.remote = c->attrs.flags & 0x200,
		};
		memcpy(s.trace_id, r->trace_id, 16);
		memcpy(s.span_id, r->span_id, 8);
		memcpy(s.parent_id, r->parent_id, 8);
		span_attrs_free(&c->attrs);
		struct buf name = {0};
		console_escape(&name, (struct slice){res->service_name, (uint32_t)strlen(res->service_name)}, 64);
		buf_add(&name, "", 1);
		s.service = name.failed ? NULL : name.p;
		if (name.failed)
			buf_free(&name);
		tree_add(&c->tree, &s, now, &c->out);
	}
	write_lines(c);
	return 0;
}

static uint64_t tick(void *self, uint64_t now_ns, bool all)
{
	struct console *c = self;
	tree_print(&c->tree, now_ns, all, &c->out);
	if (c->out.n)
		write_lines(c);
	return tree_due(&c->tree);
}

static bool create(const struct settings *s, const char *which, void **out)
{
	(void)which;
	struct console *c = s->console ? calloc(1, sizeof *c) : NULL;
	if (!c)
		return false;
	c->host = s->host;
	c->limits.attr_count_limit = c->limits.attr_length_limit = UINT32_MAX;
	*out = c;
	return true;
}

static void destroy(void *self)
{
	struct console *c = self;
	tree_free(&c->tree);
	buf_free(&c->out);
	free(c);
}

const struct exporter_kind console_kind = {
	.name = "console",
	.create = create,
	.print = print,
	.tick = tick,
	.destroy = destroy,
};
