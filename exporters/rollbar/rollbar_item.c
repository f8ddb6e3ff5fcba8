/* A report as an item. Field by field: https://docs.rollbar.com/reference/create-item; what is cut is cut here. */
#include "exporters/rollbar/rollbar.h"
#include "exporters/span_url.h"
#include "exporters/utf8.h"
#include "proto/http1.h"
#include "version.h"
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TITLE_MOST 255
#define FRAMES_MOST 256
#define THREADS_MOST 256
#define THREADS_TEXT (1024 * 1024) /* of all their frames: more would be cut again */
#define MODULES_MOST 1024
#define TEXT_MOST (64 * 1024) /* of any string */

/* ---- writing ---- */

static char *clean(const char *s, size_t n, size_t chars)
{
	struct buf b = {0};
	if (n > TEXT_MOST)
		n = TEXT_MOST;
	utf8_add(&b, s, n);
	if (b.n > chars)
		b.n = utf8_prefix(b.p, b.n, chars);
	buf_add(&b, "", 1);
	if (b.failed)
		buf_free(&b);
	return b.p;
}

static void add_most(cJSON *o, const char *key, const char *s, size_t chars)
{
	char *text = s && *s ? clean(s, strlen(s), chars) : NULL;
	if (text)
		cJSON_AddStringToObject(o, key, text);
	free(text);
}

static void add(cJSON *o, const char *key, const char *s)
{
	add_most(o, key, s, TEXT_MOST);
}

static void add_slice(cJSON *o, const char *key, struct slice s)
{
	char *text = s.n ? clean(s.p, s.n, TEXT_MOST) : NULL;
	if (text)
		cJSON_AddStringToObject(o, key, text);
	free(text);
}

static void add_number(cJSON *o, const char *key, double v)
{
	cJSON_AddNumberToObject(o, key, v);
}

static void add_address(cJSON *o, const char *key, uint64_t v)
{
	char text[24];
	snprintf(text, sizeof text, "0x%llx", (unsigned long long)v);
	cJSON_AddStringToObject(o, key, text);
}

static bool hex(const uint8_t *id, size_t n, char *out)
{
	uint8_t any = 0;
	for (size_t i = 0; i < n; i++) {
		any |= id[i];
		snprintf(out + 2 * i, 3, "%02x", id[i]);
	}
	return any != 0;
}

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	return slash ? slash + 1 : path;
}

/* Of the process' description; NULL. */
static const char *described(const struct report *r, const char *name)
{
	size_t n = strlen(name);
	for (const char *const *p = r->process; p && *p; p++)
		if (strncmp(*p, name, n) == 0 && (*p)[n] == '=')
			return (*p)[n + 1] ? *p + n + 1 : NULL;
	return NULL;
}

static int32_t pid_of(const struct report *r)
{
	return r->pid ? r->pid : r->head ? r->head->pid
	                                 : 0;
}

/* ---- frames ---- */

static void add_lines(cJSON *o, const char *key, const char *const *lines)
{
	cJSON *list = lines && *lines ? cJSON_AddArrayToObject(o, key) : NULL;
	for (int i = 0; list && lines[i] && i < 32; i++) {
		char *text = clean(lines[i], strlen(lines[i]), 1000);
		cJSON_AddItemToArray(list, cJSON_CreateString(text ? text : ""));
		free(text);
	}
}

static cJSON *frame(const struct report_frame *f)
{
	cJSON *o = cJSON_CreateObject();
	char text[512];
	add(o, "filename", f->file && *f->file ? f->file : f->module && *f->module ? f->module
	                                                                           : "unknown");
	if (f->file && f->line)
		add_number(o, "lineno", f->line);
	if (f->file && f->column)
		add_number(o, "colno", f->column);
	/* Never an address that changes from run to run: it would be another group each time. */
	if (f->signal) {
		add(o, "method", "<signal handler called>");
	} else if (f->function && *f->function) {
		add(o, "method", f->function);
	} else if (f->module && *f->module) {
		snprintf(text, sizeof text, "%.400s+0x%llx", base_name(f->module), (unsigned long long)f->offset);
		add(o, "method", text);
	} else {
		add(o, "method", "??");
	}
	if (f->module)
		add(o, "class_name", base_name(f->module));
	snprintf(text, sizeof text, "/* repeated %u times more */", f->repeated);
	if (f->repeated && f->code) {
		char *both = NULL;
		if (asprintf(&both, "%.1000s %s", f->code, text) >= 0)
			add(o, "code", both);
		free(both);
	} else if (f->repeated) {
		add(o, "code", text);
	} else {
		add_most(o, "code", f->code, 1000);
	}
	if ((f->pre && *f->pre) || (f->post && *f->post)) {
		cJSON *context = cJSON_AddObjectToObject(o, "context");
		add_lines(context, "pre", f->pre);
		add_lines(context, "post", f->post);
	}
	return o;
}

/* The most recent call last. A trace needs a frame: without one an empty place stands there. */
static void add_frames(cJSON *trace, const struct report_frame *f, size_t n)
{
	static const struct report_frame nowhere = {0};
	cJSON *list = cJSON_AddArrayToObject(trace, "frames");
	size_t first = n > FRAMES_MOST ? FRAMES_MOST : n;
	/* Innermost and outermost ones when there are too many. */
	for (size_t i = n; i > 0; i--)
		if (i <= first / 2 || i > n - (first - first / 2))
			cJSON_AddItemToArray(list, frame(&f[i - 1]));
	if (n == 0)
		cJSON_AddItemToArray(list, frame(&nowhere));
}

static void add_trace(cJSON *o, const struct report *r, const struct report_exception *e, bool first)
{
	add_frames(o, e->frames, e->n);
	cJSON *x = cJSON_AddObjectToObject(o, "exception");
	add_most(x, "class", e->type && *e->type ? e->type : "Error", 255);
	add(x, "message", e->message);
	if (first)
		add(x, "description", r->description);
}

static void add_body(cJSON *data, const struct report *r)
{
	cJSON *body = cJSON_AddObjectToObject(data, "body");
	if (r->source == REPORT_MESSAGE || r->n_exceptions == 0) {
		const char *text = r->n_exceptions && r->exceptions[0].message ? r->exceptions[0].message : r->title;
		add(cJSON_AddObjectToObject(body, "message"), "body", text && *text ? text : "(empty)");
	} else if (r->n_exceptions == 1) {
		add_trace(cJSON_AddObjectToObject(body, "trace"), r, &r->exceptions[0], true);
	} else {
		cJSON *chain = cJSON_AddArrayToObject(body, "trace_chain");
		for (size_t i = 0; i < r->n_exceptions && i < 32; i++) {
			cJSON *trace = cJSON_CreateObject();
			cJSON_AddItemToArray(chain, trace);
			add_trace(trace, r, &r->exceptions[i], i == 0);
		}
	}
}

/* ---- requests ---- */

static const char *method_of(const struct span_copy *c, char text[64])
{
	static const char *const names[] = {"", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
	if (c->rec.method && c->rec.method < sizeof names / sizeof *names)
		return names[c->rec.method];
	struct slice s = span_copy_str(c, REC_METHOD);
	snprintf(text, 64, "%.*s", (int)(s.n < 63 ? s.n : 63), s.p ? s.p : "");
	return *text ? text : "HTTP";
}

static bool address(const struct rec_addr *a, char *out, size_t cap)
{
	return (a->family == 4 && inet_ntop(AF_INET, a->ip, out, (socklen_t)cap)) ||
	       (a->family == 6 && inet_ntop(AF_INET6, a->ip, out, (socklen_t)cap));
}

static char *url_of(const struct span_copy *c)
{
	char ip[INET6_ADDRSTRLEN + 8] = "", peer[INET6_ADDRSTRLEN] = "", *out = NULL;
	struct slice target = span_copy_str(c, REC_TARGET), host = span_copy_str(c, REC_HOST);
	struct target t = target_of(target, c->rec.method == HTTP1_CONNECT);
	const struct rec_addr *a = c->rec.kind == SPAN_SERVER ? &c->rec.local : &c->rec.peer;
	int r;
	if (t.scheme.n)
		return strndup(target.p, target.n);
	if (!host.n && address(a, peer, sizeof peer)) {
		snprintf(ip, sizeof ip, a->family == 6 ? "[%s]:%u" : "%s:%u", peer, a->port);
		host = (struct slice){ip, (uint32_t)strlen(ip)};
	}
	if (t.authority.n)
		r = asprintf(&out, "%.*s", (int)t.authority.n, t.authority.p);
	else
		r = asprintf(&out, "%s://%.*s%.*s", c->rec.bits & REC_HTTPS ? "https" : "http", (int)host.n, host.p ? host.p : "",
		             (int)target.n, target.p ? target.p : "");
	return r < 0 ? NULL : out;
}

static void add_query(cJSON *request, struct slice query)
{
	cJSON *get = NULL;
	add_slice(request, "query_string", query);
	const char *p = query.p, *end = p + query.n;
	for (int i = 0; query.n && p < end && i < 64; i++) {
		const char *amp = memchr(p, '&', (size_t)(end - p)), *e = amp ? amp : end;
		const char *eq = memchr(p, '=', (size_t)(e - p)), *name_end = eq ? eq : e;
		char *name = clean(p, (size_t)(name_end - p), 200), *value = clean(eq ? eq + 1 : e, eq ? (size_t)(e - eq - 1) : 0, 1000);
		if (!get)
			get = cJSON_AddObjectToObject(request, "GET");
		if (name && value && *name && !cJSON_GetObjectItemCaseSensitive(get, name))
			cJSON_AddStringToObject(get, name, value);
		free(name);
		free(value);
		p = e + 1;
	}
}

static void add_request(cJSON *data, const struct span_copy *c)
{
	char text[64], ip[INET6_ADDRSTRLEN];
	struct target t = target_of(span_copy_str(c, REC_TARGET), false);
	struct slice route = span_copy_str(c, REC_ROUTE), where = route.n ? route : t.path;
	const char *method = method_of(c, text);
	char *context = NULL, *url = url_of(c);
	if (asprintf(&context, "%s %.*s", method, (int)where.n, where.p ? where.p : "") >= 0)
		add_most(data, "context", context, 255);
	free(context);
	cJSON *o = cJSON_AddObjectToObject(data, "request"), *headers;
	add(o, "url", url);
	free(url);
	add(o, "method", method);
	headers = cJSON_AddObjectToObject(o, "headers");
	add_slice(headers, "Host", span_copy_str(c, REC_HOST));
	add_slice(headers, "User-Agent", span_copy_str(c, REC_USER_AGENT));
	add_query(o, t.query);
	if (span_copy_str(c, REC_CLIENT_ADDR).n)
		add_slice(o, "user_ip", span_copy_str(c, REC_CLIENT_ADDR));
	else if (address(&c->rec.peer, ip, sizeof ip))
		add(o, "user_ip", ip);
}

/* ---- the timeline ---- */

static const char *level_of(const struct span_copy *c)
{
	if (c->rec.error != ERR_NONE || c->rec.status >= 500)
		return "error";
	return c->rec.status >= 400 ? "warning" : "info";
}

static void add_span(cJSON *list, const struct span_copy *c)
{
	const struct span_rec *r = &c->rec;
	char text[64], status[16];
	const char *error = r->error == ERR_NONE ? NULL : rec_error_name(r->error, r->err_no);
	cJSON *o = cJSON_CreateObject(), *body;
	char *url = r->kind == SPAN_TEXT ? NULL : url_of(c);
	double start = (double)(r->start_ns / 1000000), end = (double)(r->end_ns / 1000000);
	cJSON_AddItemToArray(list, o);
	if (r->kind == SPAN_TEXT) {
		struct slice line = span_copy_text(c);
		free(url);
		add(o, "level", r->err_no == 2 ? "warning" : "info");
		add(o, "type", "log");
		add(o, "source", "server");
		add_number(o, "timestamp_ms", start);
		add_slice(cJSON_AddObjectToObject(o, "body"), "message", line);
		return;
	}
	add(o, "level", level_of(c));
	add(o, "type", r->kind == SPAN_SERVER ? "manual" : "network");
	add(o, "source", "server");
	add_number(o, "timestamp_ms", start);
	body = cJSON_AddObjectToObject(o, "body");
	snprintf(status, sizeof status, "%u", r->status);
	if (r->kind == SPAN_SERVER) { /* a network entry is a call that was made; this one was answered */
		char *line = NULL;
		struct target t = target_of(span_copy_str(c, REC_TARGET), false);
		if (asprintf(&line, "answered %s %.*s: %s, %llu ms", method_of(c, text), (int)t.path.n, t.path.p ? t.path.p : "",
		             error ? error : r->status ? status
		                                       : "no status",
		             (unsigned long long)(r->end_ns > r->start_ns ? (r->end_ns - r->start_ns) / 1000000 : 0)) >= 0)
			add(body, "message", line);
		free(line);
	} else {
		add(body, "subtype", "http");
		add(body, "method", r->kind == SPAN_CONNECT ? "CONNECT" : method_of(c, text));
		add(body, "url", url);
		add(body, "status_code", r->status ? status : error ? error
		                                                    : "0");
		add_number(body, "start_timestamp_ms", start);
		if (r->end_ns)
			add_number(body, "end_timestamp_ms", end);
	}
	free(url);
}

static int by_start(const void *a, const void *b)
{
	uint64_t x = (*(const struct span_copy *const *)a)->rec.start_ns, y = (*(const struct span_copy *const *)b)->rec.start_ns;
	return x < y ? -1 : x > y;
}

/* The lines that the report was made of tell nothing more. */
static bool is_own_text(const struct report *r, const struct span_copy *c)
{
	struct slice s = c->rec.kind == SPAN_TEXT ? span_copy_text(c) : (struct slice){NULL, 0};
	return s.n && r->text && memmem(r->text, strlen(r->text), s.p, s.n);
}

static void add_telemetry(cJSON *data, const struct report *r, const struct item_facts *f)
{
	const struct span_copy *use[ROLLBAR_TELEMETRY_MOST];
	unsigned n = 0;
	/* The pid may have been another program's before. */
	uint64_t since = r->head && r->head->up_ns < r->head->time_ns ? r->head->time_ns - r->head->up_ns : 0;
	for (unsigned i = 0; i < f->n_recent && n < ROLLBAR_TELEMETRY_MOST; i++)
		if (f->recent[i]->rec.start_ns + UINT64_C(1000000000) >= since && !is_own_text(r, f->recent[i]))
			use[n++] = f->recent[i];
	if (!n)
		return;
	qsort(use, n, sizeof *use, by_start);
	/* Beside the body, as Rollbar's SDKs send it. */
	cJSON *list = cJSON_AddArrayToObject(cJSON_GetObjectItemCaseSensitive(data, "body"), "telemetry");
	for (unsigned i = 0; i < n; i++)
		add_span(list, use[i]);
}

/* ---- the process ---- */

static const char *attr_of(const struct resource *res, const char *key)
{
	for (uint32_t i = 0; res && i < res->n; i++)
		if (res->attrs[i].type == ATTR_STRING && strcmp(res->attrs[i].key, key) == 0)
			return res->attrs[i].str;
	return NULL;
}

static struct resource *resource_for(const struct report *r, const struct item_facts *f)
{
	struct buf blob = {0};
	const char *bad;
	for (const char *const *p = r->process; p && *p; p++)
		buf_add(&blob, *p, strlen(*p) + 1);
	struct process_facts facts = {
		.pid = pid_of(r),
		.instance = r->head ? r->head->instance : NULL,
		.blob = blob.p ? blob.p : "",
		.blob_len = blob.n,
	};
	struct resource *res = resource_build(f->host, &facts, &bad);
	buf_free(&blob);
	return res;
}

static void add_server(cJSON *data, const struct report *r, const struct resource *res, const char *version)
{
	cJSON *o = cJSON_AddObjectToObject(data, "server");
	const char *exe = described(r, "exe"), *root = described(r, "cwd");
	add(o, "host", attr_of(res, "host.name"));
	if (root) {
		add(o, "root", root);
	} else if (exe && r->source == REPORT_SIGNAL && base_name(exe) > exe + 1) {
		char *dir = strndup(exe, (size_t)(base_name(exe) - exe - 1));
		add(o, "root", dir);
		free(dir);
	}
	if (pid_of(r))
		add_number(o, "pid", pid_of(r));
	add(o, "code_version", version);
	for (uint32_t i = 0; res && i < res->n; i++) {
		const struct attr *a = &res->attrs[i];
		if (a->type != ATTR_STRINGS || strcmp(a->key, "process.command_args") != 0)
			continue;
		cJSON *argv = cJSON_AddArrayToObject(o, "argv");
		const char *p = a->str;
		for (uint32_t k = 0; k < a->n && k < 256; k++, p += strlen(p) + 1)
			cJSON_AddItemToArray(argv, cJSON_CreateString(p));
	}
}

/* ---- custom ---- */

static void add_registers(cJSON *custom, const struct crash_head *h)
{
	static const char *const names[CR_REGS] = {"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8",
	                                           "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags"};
	cJSON *o = cJSON_AddObjectToObject(custom, "registers");
	for (int i = 0; i < CR_REGS; i++)
		add_address(o, names[i], h->regs[i]);
}

static void add_signal(cJSON *custom, const struct crash_head *h)
{
	add_number(custom, "signal", h->signo);
	add_number(custom, "si_code", h->si_code);
	if (h->si_code <= 0) { /* sent by somebody: SI_USER, SI_TKILL, SI_QUEUE */
		add_number(custom, "si_pid", h->si_pid);
		add_number(custom, "si_uid", h->si_uid);
	} else if (h->si_code != 128) { /* SI_KERNEL: the address is not known */
		add_address(custom, "si_addr", h->si_addr);
	}
	add_number(custom, "tid", h->tid);
	char name[sizeof h->comm + 1];
	snprintf(name, sizeof name, "%.*s", (int)sizeof h->comm, h->comm);
	add(custom, "thread_name", name);
	add_number(custom, "uptime_s", (double)(h->up_ns / 1000000000u));
	add_registers(custom, h);
}

static void add_ids(cJSON *custom, const struct report *r)
{
	char trace[40] = "", span[24] = "", xray[40];
	if (!hex(r->trace_id, 16, trace) && !(r->head && hex(r->head->trace_id, 16, trace)))
		*trace = 0;
	if (!hex(r->span_id, 8, span) && !(r->head && hex(r->head->span_id, 8, span)))
		*span = 0;
	add(custom, "trace_id", trace);
	add(custom, "span_id", span);
	if (*trace) {
		snprintf(xray, sizeof xray, "1-%.8s-%.24s", trace, trace + 8);
		add(custom, "xray_trace_id", xray);
	}
}

static void add_modules(cJSON *custom, const struct report *r)
{
	cJSON *list = r->n_modules ? cJSON_AddArrayToObject(custom, "modules") : NULL;
	for (size_t i = 0; i < r->n_modules && i < MODULES_MOST; i++) {
		cJSON *o = cJSON_CreateObject();
		cJSON_AddItemToArray(list, o);
		add(o, "path", r->modules[i].path);
		add(o, "build_id", r->modules[i].build_id);
		add_address(o, "base", r->modules[i].base);
	}
}

static void add_thread_frames(cJSON *thread, const struct report_thread *t, size_t *room)
{
	cJSON *list = cJSON_AddArrayToObject(thread, "frames");
	for (size_t i = 0; i < t->n && i < FRAMES_MOST && *room; i++) {
		const struct report_frame *f = &t->frames[i];
		char *line = NULL;
		int n;
		const char *name = f->signal ? "<signal handler called>" : f->function ? f->function
		                                                                       : "??";
		if (f->file)
			n = asprintf(&line, "0x%llx %s (%s:%u)", (unsigned long long)f->ip, name, f->file, f->line);
		else if (f->module)
			n = asprintf(&line, "0x%llx %s (%s+0x%llx%s%s)", (unsigned long long)f->ip, name, f->module,
			             (unsigned long long)f->offset, f->build_id ? ", build-id " : "", f->build_id ? f->build_id : "");
		else
			n = asprintf(&line, "0x%llx %s", (unsigned long long)f->ip, name);
		char *text = n >= 0 ? clean(line, (size_t)n, 1000) : NULL;
		size_t len = text ? strlen(text) : 0;
		*room -= len < *room ? len : *room;
		cJSON_AddItemToArray(list, cJSON_CreateString(text ? text : ""));
		free(text);
		free(line);
	}
}

static void add_threads(cJSON *custom, const struct report *r)
{
	cJSON *list = r->n_threads ? cJSON_AddArrayToObject(custom, "threads") : NULL;
	size_t room = THREADS_TEXT;
	for (size_t i = 0; i < r->n_threads && i < THREADS_MOST; i++) {
		cJSON *o = cJSON_CreateObject();
		cJSON_AddItemToArray(list, o);
		add_number(o, "tid", r->threads[i].tid);
		add(o, "name", r->threads[i].name);
		if (r->threads[i].crashed)
			cJSON_AddTrueToObject(o, "crashed");
		add_thread_frames(o, &r->threads[i], &room);
	}
}

static void add_custom(cJSON *data, const struct report *r, const struct item_facts *f, const struct resource *res)
{
	static const char *const sources[] = {"signal", "stderr", "message"};
	cJSON *o = cJSON_AddObjectToObject(data, "custom"), *os;
	add(o, "source", sources[r->source <= REPORT_MESSAGE ? r->source : REPORT_MESSAGE]);
	add_ids(o, r);
	if (r->process) {
		add(o, "service", attr_of(res, "service.name"));
		add(o, "service_instance_id", attr_of(res, "service.instance.id"));
		add(o, "executable", described(r, "exe"));
	}
	if (f->suppressed)
		add_number(o, "suppressed", f->suppressed);
	os = cJSON_AddObjectToObject(o, "os");
	add(os, "description", f->host->os_description);
	add(os, "kernel", f->host->os_version);
	add(os, "arch", f->host->arch);
	if (r->source == REPORT_MESSAGE)
		return;
	add(o, "unwind", r->unwind);
	if (r->source == REPORT_SIGNAL && !r->complete)
		cJSON_AddTrueToObject(o, "incomplete");
	add(o, "abort_message", r->abort_msg);
	if (r->head)
		add_signal(o, r->head);
	add_most(o, "text", r->text, 16 * 1024);
	add_modules(o, r);
	add_threads(o, r);
}

/* ---- */

bool rollbar_encode(struct buf *out, const struct report *r, const struct item_facts *f)
{
	struct resource *res = resource_for(r, f);
	cJSON *item = cJSON_CreateObject(), *data = cJSON_AddObjectToObject(item, "data");
	/* What the process itself was told stands before what we were. */
	const char *version = described(r, "code_version");
	if (!version && *f->set->code_version)
		version = f->set->code_version;
	if (!version)
		version = attr_of(res, "service.version");
	const char *environment = f->set->environment, *deployed = attr_of(res, "deployment.environment.name");
	if (!f->set->environment_set)
		environment = deployed && *deployed ? deployed : attr_of(res, "deployment.environment");
	if (!environment || !*environment)
		environment = f->set->environment;
	add_most(data, "environment", environment, 255);
	add(data, "level", r->level ? r->level : r->source == REPORT_SIGNAL ? "critical"
	                                     : r->source == REPORT_MESSAGE  ? "info"
	                                                                    : "error");
	add_number(data, "timestamp", (double)(r->time_ns / 1000000000u));
	add(data, "uuid", r->uuid);
	add(data, "language", r->language ? r->language : "c");
	add(data, "platform", "linux");
	add(data, "framework", "remora");
	add_most(data, "code_version", version, 40);
	if (r->source != REPORT_MESSAGE) /* a message's body is its title */
		add_most(data, "title", r->title, TITLE_MOST);
	add_most(data, "fingerprint", r->fingerprint, 40);
	add_body(data, r);
	add_telemetry(data, r, f);
	if (f->request)
		add_request(data, f->request);
	add_server(data, r, res, version);
	add_custom(data, r, f, res);
	cJSON *notifier = cJSON_AddObjectToObject(data, "notifier");
	add(notifier, "name", "remora");
	add(notifier, "version", REMORA_VERSION);
	rollbar_scrub(item);
	free(res);

	bool ok = cJSON_GetObjectItemCaseSensitive(data, "notifier") && rollbar_print(item, ROLLBAR_ITEM_MOST, out);
	cJSON_Delete(item);
	return ok;
}
