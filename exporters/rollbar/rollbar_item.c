/* A report as an item. Field by field: https://docs.rollbar.com/reference/create-item; what is cut is cut here. */
#include "exporters/rollbar/rollbar_put.h"
#include "version.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TITLE_MOST 255
#define FRAMES_MOST 256

static void add_lines(cJSON *o, const char *key, const char *const *lines)
{
	cJSON *list = lines && *lines ? cJSON_AddArrayToObject(o, key) : NULL;
	for (int i = 0; list && lines[i] && i < 32; i++) {
		char *text = item_clean(lines[i], strlen(lines[i]), 1000);
		cJSON_AddItemToArray(list, cJSON_CreateString(text ? text : ""));
		free(text);
	}
}

static cJSON *frame(const struct report_frame *f)
{
	cJSON *o = cJSON_CreateObject();
	char text[512];
	item_put(o, "filename", f->file && *f->file ? f->file : f->module && *f->module ? f->module
	                                                                                : "unknown");
	if (f->file && f->line)
		item_number(o, "lineno", f->line);
	if (f->file && f->column)
		item_number(o, "colno", f->column);
	/* Never an address that changes from run to run: it would be another group each time. */
	if (f->signal) {
		item_put(o, "method", "<signal handler called>");
	} else if (f->function && *f->function) {
		item_put(o, "method", f->function);
	} else if (f->module && *f->module) {
		snprintf(text, sizeof text, "%.400s+0x%llx", path_base(f->module), (unsigned long long)f->offset);
		item_put(o, "method", text);
	} else {
		item_put(o, "method", "??");
	}
	if (f->module)
		item_put(o, "class_name", path_base(f->module));
	snprintf(text, sizeof text, "/* repeated %u times more */", f->repeated);
	if (f->repeated && f->code) {
		char *both = NULL;
		if (asprintf(&both, "%.1000s %s", f->code, text) >= 0)
			item_put(o, "code", both);
		free(both);
	} else if (f->repeated) {
		item_put(o, "code", text);
	} else {
		item_most(o, "code", f->code, 1000);
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
	item_most(x, "class", e->type && *e->type ? e->type : "Error", 255);
	item_put(x, "message", e->message);
	if (first)
		item_put(x, "description", r->description);
}

static void add_body(cJSON *data, const struct report *r)
{
	cJSON *body = cJSON_AddObjectToObject(data, "body");
	if (r->source == REPORT_MESSAGE || r->n_exceptions == 0) {
		const char *text = r->n_exceptions && r->exceptions[0].message ? r->exceptions[0].message : r->title;
		item_put(cJSON_AddObjectToObject(body, "message"), "body", text && *text ? text : "(empty)");
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

bool rollbar_encode(struct buf *out, const struct report *r, const struct item_facts *f)
{
	struct resource *res = rollbar_resource(r, f);
	cJSON *item = cJSON_CreateObject(), *data = cJSON_AddObjectToObject(item, "data");
	/* What the process itself was told stands before what we were. */
	const char *version = report_described(r, "code_version");
	if (!version && *f->set->code_version)
		version = f->set->code_version;
	if (!version)
		version = rollbar_attr(res, "service.version");
	const char *environment = f->set->environment, *deployed = rollbar_attr(res, "deployment.environment.name");
	if (!f->set->environment_set)
		environment = deployed && *deployed ? deployed : rollbar_attr(res, "deployment.environment");
	if (!environment || !*environment)
		environment = f->set->environment;
	item_most(data, "environment", environment, 255);
	item_put(data, "level", r->level ? r->level : r->source == REPORT_SIGNAL ? "critical"
	                                          : r->source == REPORT_MESSAGE  ? "info"
	                                                                         : "error");
	item_number(data, "timestamp", (double)(r->time_ns / 1000000000u));
	item_put(data, "uuid", r->uuid);
	item_put(data, "language", r->language ? r->language : "c");
	item_put(data, "platform", "linux");
	item_put(data, "framework", "remora");
	item_most(data, "code_version", version, 40);
	if (r->source != REPORT_MESSAGE) /* a message's body is its title */
		item_most(data, "title", r->title, TITLE_MOST);
	item_most(data, "fingerprint", r->fingerprint, 40);
	add_body(data, r);
	rollbar_put_telemetry(data, r, f);
	if (f->request)
		rollbar_put_request(data, f);
	rollbar_put_server(data, r, f, res, version);
	rollbar_put_custom(data, r, f, res);
	cJSON *notifier = cJSON_AddObjectToObject(data, "notifier");
	item_put(notifier, "name", "remora");
	item_put(notifier, "version", REMORA_VERSION);
	rollbar_scrub(item);
	free(res);

	bool ok = cJSON_GetObjectItemCaseSensitive(data, "notifier") && rollbar_print(item, ROLLBAR_ITEM_MOST, out);
	cJSON_Delete(item);
	return ok;
}
