/* Items as text: what a spool file must be, and how a long one is made shorter. */
#include "exporters/rollbar/rollbar.h"
#include "exporters/utf8.h"
#include "version.h"
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static cJSON *get(const cJSON *o, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(o, key);
}

static cJSON *object(const cJSON *o, const char *key)
{
	cJSON *x = get(o, key);
	return cJSON_IsObject(x) ? x : NULL;
}

static bool copy_text(const cJSON *o, const char *key, char *out, size_t cap)
{
	const char *s = cJSON_GetStringValue(get(o, key));
	if (!s || strlen(s) >= cap)
		return false;
	strcpy(out, s);
	return true;
}

static bool is_item(const cJSON *item)
{
	const cJSON *data = object(item, "data"), *body = object(data, "body");
	const char *uuid = cJSON_GetStringValue(get(data, "uuid"));
	int kinds = (object(body, "trace") != NULL) + cJSON_IsArray(get(body, "trace_chain")) + (object(body, "message") != NULL);
	return data && body && kinds == 1 && uuid && uuid_ok(uuid, strlen(uuid)) &&
	       cJSON_GetStringValue(get(data, "environment")) && !get(item, "access_token");
}

static cJSON *parse(const char *p, size_t n)
{
	/* The end that cJSON found must be the text's: a cut file is none of ours. */
	const char *end = NULL;
	if (n > 4 * LOCAL_FILE_MOST || !utf8_valid(p, n))
		return NULL;
	cJSON *item = cJSON_ParseWithLengthOpts(p, n, &end, false);
	if (item && end == p + n && is_item(item))
		return item;
	cJSON_Delete(item);
	return NULL;
}

bool rollbar_item_read(const char *p, size_t n, struct item_id *out)
{
	cJSON *item = parse(p, n);
	if (!item)
		return false;
	copy_text(object(item, "data"), "uuid", out->uuid, sizeof out->uuid);
	if (!copy_text(object(item, "data"), "fingerprint", out->fingerprint, sizeof out->fingerprint))
		*out->fingerprint = 0;
	cJSON_Delete(item);
	return true;
}

/* ---- making it shorter ---- */

/* The first `head` and the last `tail` stay. */
static void cut_middle(cJSON *array, int head, int tail)
{
	int n = cJSON_GetArraySize(array), i = 0;
	if (n <= head + tail)
		return;
	for (cJSON *c = array->child, *next; c; c = next, i++) {
		next = c->next;
		if (i >= head && i < n - tail)
			cJSON_Delete(cJSON_DetachItemViaPointer(array, c));
	}
}

static void each_trace(cJSON *body, void (*what)(cJSON *trace))
{
	cJSON *trace = object(body, "trace"), *chain = get(body, "trace_chain");
	if (trace)
		what(trace);
	for (cJSON *c = cJSON_IsArray(chain) ? chain->child : NULL; c; c = c->next)
		what(c);
}

static void few_frames(cJSON *trace)
{
	cJSON *frames = get(trace, "frames");
	if (cJSON_IsArray(frames))
		cut_middle(frames, 10, 10);
}

static void cut_strings(cJSON *tree, size_t most)
{
	for (cJSON *c = tree->child; c; c = c->next) {
		size_t n = cJSON_IsString(c) && c->valuestring ? strlen(c->valuestring) : 0;
		if (n > most) {
			while (most && ((unsigned char)c->valuestring[most] & 0xc0) == 0x80)
				most--;
			c->valuestring[most] = 0;
		}
		cut_strings(c, most);
	}
}

/* As the body and what groups and finds it; the rest goes. */
static void minimal(cJSON *data)
{
	static const char *const gone[] = {"custom", "request", "server", "person", "client", "context"};
	for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
		cJSON_DeleteItemFromObjectCaseSensitive(data, gone[i]);
	cJSON_DeleteItemFromObjectCaseSensitive(object(data, "body"), "telemetry");
}

#define STAGES 7

static void stage(cJSON *item, int n)
{
	cJSON *data = object(item, "data"), *body = object(data, "body"), *custom = object(data, "custom");
	switch (n) {
	case 0:
		cJSON_DeleteItemFromObjectCaseSensitive(body, "threads");
		cJSON_DeleteItemFromObjectCaseSensitive(custom, "threads");
		break;
	case 1:
		each_trace(body, few_frames);
		break;
	case 2:
		if (cJSON_IsArray(get(body, "telemetry")))
			cut_middle(get(body, "telemetry"), 0, 10);
		break;
	case 3:
		cut_strings(item, 1024);
		break;
	case 4:
		cut_strings(item, 512);
		cJSON_DeleteItemFromObjectCaseSensitive(custom, "modules");
		break;
	case 5:
		cut_strings(item, 256);
		break;
	default:
		minimal(data);
	}
}

/* Takes `text`, which cJSON allocated. */
static void replace(struct buf *item, char *text)
{
	buf_free(item);
	*item = (struct buf){.p = text, .n = strlen(text), .cap = strlen(text) + 1};
}

/* Cuts until it fits, from stage `i` on: -1 = perhaps it does as it is. */
static bool shrink(cJSON *tree, int i, size_t most, struct buf *out)
{
	for (; tree && i < STAGES; i++) {
		if (i >= 0)
			stage(tree, i);
		char *text = cJSON_PrintUnformatted(tree);
		if (text && strlen(text) <= most) {
			replace(out, text);
			return true;
		}
		free(text);
	}
	return false;
}

bool rollbar_print(struct cJSON *tree, size_t most, struct buf *out)
{
	if (!is_item(tree) || shrink(tree, -1, most, out))
		return out->n;
	minimal(object(tree, "data"));
	char *text = cJSON_PrintUnformatted(tree);
	if (!text)
		return false;
	replace(out, text);
	return rollbar_failsafe(out);
}

bool rollbar_shrink(struct buf *item, size_t most)
{
	cJSON *tree = parse(item->p, item->n);
	bool ok = shrink(tree, 0, most, item);
	cJSON_Delete(tree);
	return ok;
}

bool rollbar_failsafe(struct buf *item)
{
	static const char *const kept[] = {"environment", "level", "timestamp", "uuid", "language", "platform", "framework",
	                                   "code_version", "title", "fingerprint"};
	cJSON *old = parse(item->p, item->n), *from = object(old, "data");
	cJSON *tree = cJSON_CreateObject(), *data = cJSON_AddObjectToObject(tree, "data");
	for (size_t i = 0; from && i < sizeof kept / sizeof *kept; i++)
		if (get(from, kept[i]))
			cJSON_AddItemToObject(data, kept[i], cJSON_Duplicate(get(from, kept[i]), true));
	const char *title = cJSON_GetStringValue(get(from, "title"));
	struct buf text = {0};
	static const char rest[] = " (the report was too large for Rollbar; on its machine: remora crashes show ";
	buf_add(&text, title ? title : "item", strlen(title ? title : "item"));
	buf_add(&text, rest, sizeof rest - 1);
	const char *uuid = cJSON_GetStringValue(get(from, "uuid"));
	buf_add(&text, uuid ? uuid : "", uuid ? strlen(uuid) : 0);
	buf_add(&text, ")", 2);
	cJSON *message = cJSON_AddObjectToObject(cJSON_AddObjectToObject(data, "body"), "message");
	if (!text.failed)
		cJSON_AddStringToObject(message, "body", text.p);
	cJSON *notifier = cJSON_AddObjectToObject(data, "notifier");
	cJSON_AddStringToObject(notifier, "name", "remora");
	cJSON_AddStringToObject(notifier, "version", REMORA_VERSION);
	cut_strings(tree, 1024);
	char *out = from && !text.failed ? cJSON_PrintUnformatted(tree) : NULL;
	buf_free(&text);
	cJSON_Delete(old);
	cJSON_Delete(tree);
	if (out)
		replace(item, out);
	return out != NULL;
}
