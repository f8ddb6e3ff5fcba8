/* Of an item: the server and its process, and all that is known beside. */
#include "exporters/rollbar/rollbar_put.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES_MOST 256
#define THREADS_MOST 256
#define THREADS_TEXT (1024 * 1024) /* of all their frames: more would be cut again */
#define MODULES_MOST 1024

const char *rollbar_attr(const struct resource *res, const char *key)
{
	for (uint32_t i = 0; res && i < res->n; i++)
		if (res->attrs[i].type == ATTR_STRING && strcmp(res->attrs[i].key, key) == 0)
			return res->attrs[i].str;
	return NULL;
}

struct resource *rollbar_resource(const struct report *r, const struct item_facts *f)
{
	struct buf blob = {0};
	const char *bad;
	for (const char *const *p = r->process; p && *p; p++)
		buf_add(&blob, *p, strlen(*p) + 1);
	struct process_facts facts = {
		.pid = report_pid(r),
		.instance = r->head ? r->head->instance : NULL,
		.blob = blob.p ? blob.p : "",
		.blob_len = blob.n,
	};
	struct resource *res = resource_build(f->host, &facts, &bad);
	buf_free(&blob);
	return res;
}

void rollbar_put_server(cJSON *data, const struct report *r, const struct item_facts *f, const struct resource *res,
                        const char *version)
{
	cJSON *o = cJSON_AddObjectToObject(data, "server");
	const char *exe = report_described(r, "exe"), *root = report_described(r, "cwd");
	item_put(o, "host", rollbar_attr(res, "host.name"));
	if (root) {
		item_put(o, "root", root);
	} else if (exe && r->source == REPORT_SIGNAL && path_base(exe) > exe + 1) {
		char *dir = strndup(exe, (size_t)(path_base(exe) - exe - 1));
		item_put(o, "root", dir);
		free(dir);
	}
	if (report_pid(r))
		item_number(o, "pid", report_pid(r));
	const char *branch = *f->set->branch ? f->set->branch : rollbar_attr(res, "vcs.ref.head.name");
	item_most(o, "branch", branch, 255);
	item_put(o, "code_version", version);
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
		item_address(o, names[i], h->regs[i]);
}

static void add_signal(cJSON *custom, const struct crash_head *h)
{
	item_number(custom, "signal", h->signo);
	item_number(custom, "si_code", h->si_code);
	if (h->si_code <= 0) { /* sent by somebody: SI_USER, SI_TKILL, SI_QUEUE */
		item_number(custom, "si_pid", h->si_pid);
		item_number(custom, "si_uid", h->si_uid);
	} else if (h->si_code != 128) { /* SI_KERNEL: the address is not known */
		item_address(custom, "si_addr", h->si_addr);
	}
	item_number(custom, "tid", h->tid);
	char name[sizeof h->comm + 1];
	snprintf(name, sizeof name, "%.*s", (int)sizeof h->comm, h->comm);
	item_put(custom, "thread_name", name);
	item_number(custom, "uptime_s", (double)(h->up_ns / 1000000000u));
	add_registers(custom, h);
}

static void add_ids(cJSON *custom, const struct report *r)
{
	char trace[40] = "", span[24] = "", xray[40];
	if (!item_hex(r->trace_id, 16, trace) && !(r->head && item_hex(r->head->trace_id, 16, trace)))
		*trace = 0;
	if (!item_hex(r->span_id, 8, span) && !(r->head && item_hex(r->head->span_id, 8, span)))
		*span = 0;
	item_put(custom, "trace_id", trace);
	item_put(custom, "span_id", span);
	if (*trace) {
		snprintf(xray, sizeof xray, "1-%.8s-%.24s", trace, trace + 8);
		item_put(custom, "xray_trace_id", xray);
	}
}

static void add_modules(cJSON *custom, const struct report *r)
{
	cJSON *list = r->n_modules ? cJSON_AddArrayToObject(custom, "modules") : NULL;
	for (size_t i = 0; i < r->n_modules && i < MODULES_MOST; i++) {
		cJSON *o = cJSON_CreateObject();
		cJSON_AddItemToArray(list, o);
		item_put(o, "path", r->modules[i].path);
		item_put(o, "build_id", r->modules[i].build_id);
		item_address(o, "base", r->modules[i].base);
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
		char *text = n >= 0 ? item_clean(line, (size_t)n, 1000) : NULL;
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
		item_number(o, "tid", r->threads[i].tid);
		item_put(o, "name", r->threads[i].name);
		if (r->threads[i].crashed)
			cJSON_AddTrueToObject(o, "crashed");
		add_thread_frames(o, &r->threads[i], &room);
	}
}

void rollbar_put_custom(cJSON *data, const struct report *r, const struct item_facts *f, const struct resource *res)
{
	static const char *const sources[] = {"signal", "stderr", "message", "request"};
	cJSON *o = cJSON_AddObjectToObject(data, "custom"), *os;
	item_put(o, "source", sources[r->source <= REPORT_REQUEST ? r->source : REPORT_MESSAGE]);
	add_ids(o, r);
	if (r->process) {
		item_put(o, "service", rollbar_attr(res, "service.name"));
		item_put(o, "service_instance_id", rollbar_attr(res, "service.instance.id"));
		item_put(o, "executable", report_described(r, "exe"));
	}
	if (f->request && f->request->copy.rec.status) {
		const struct span_rec *rec = &f->request->copy.rec;
		item_number(o, "status_code", rec->status);
		if (rec->end_ns > rec->start_ns)
			item_number(o, "duration_ms", (double)((rec->end_ns - rec->start_ns) / 1000000u));
	}
	if (f->suppressed)
		item_number(o, "suppressed", f->suppressed);
	os = cJSON_AddObjectToObject(o, "os");
	item_put(os, "description", f->host->os_description);
	item_put(os, "kernel", f->host->os_version);
	item_put(os, "arch", f->host->arch);
	if (r->source == REPORT_MESSAGE)
		return;
	item_put(o, "unwind", r->unwind);
	if (r->source == REPORT_SIGNAL && !r->complete)
		cJSON_AddTrueToObject(o, "incomplete");
	item_put(o, "abort_message", r->abort_msg);
	if (r->head)
		add_signal(o, r->head);
	item_put(o, "hs_err_path", r->hs_err_path);
	item_put(o, "hs_err", r->hs_err);
	item_most(o, "text", r->text, 16 * 1024);
	add_modules(o, r);
	add_threads(o, r);
}
