#include "exporters/rollbar/rollbar_put.h"
#include "exporters/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *item_clean(const char *s, size_t n, size_t chars)
{
	struct buf b = {0};
	if (n > PUT_TEXT_MOST)
		n = PUT_TEXT_MOST;
	utf8_add(&b, s, n);
	if (b.n > chars)
		b.n = utf8_prefix(b.p, b.n, chars);
	buf_add(&b, "", 1);
	if (b.failed)
		buf_free(&b);
	return b.p;
}

void item_most(cJSON *o, const char *key, const char *s, size_t chars)
{
	char *text = s && *s ? item_clean(s, strlen(s), chars) : NULL;
	if (text)
		cJSON_AddStringToObject(o, key, text);
	free(text);
}

void item_put(cJSON *o, const char *key, const char *s)
{
	item_most(o, key, s, PUT_TEXT_MOST);
}

void item_slice(cJSON *o, const char *key, struct slice s)
{
	char *text = s.n ? item_clean(s.p, s.n, PUT_TEXT_MOST) : NULL;
	if (text)
		cJSON_AddStringToObject(o, key, text);
	free(text);
}

void item_number(cJSON *o, const char *key, double v)
{
	cJSON_AddNumberToObject(o, key, v);
}

void item_address(cJSON *o, const char *key, uint64_t v)
{
	char text[24];
	snprintf(text, sizeof text, "0x%llx", (unsigned long long)v);
	cJSON_AddStringToObject(o, key, text);
}

bool item_hex(const uint8_t *id, size_t n, char *out)
{
	uint8_t any = 0;
	for (size_t i = 0; i < n; i++) {
		any |= id[i];
		snprintf(out + 2 * i, 3, "%02x", id[i]);
	}
	return any != 0;
}

const char *path_base(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	return slash ? slash + 1 : path;
}

const char *report_described(const struct report *r, const char *name)
{
	size_t n = strlen(name);
	for (const char *const *p = r->process; p && *p; p++)
		if (strncmp(*p, name, n) == 0 && (*p)[n] == '=')
			return (*p)[n + 1] ? *p + n + 1 : NULL;
	return NULL;
}

int32_t report_pid(const struct report *r)
{
	return r->pid ? r->pid : r->head ? r->head->pid
	                                 : 0;
}
