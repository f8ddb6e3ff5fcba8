/* What CloudWatch Logs answers: JSON 1.1; a proxy or a mock may answer anything. */
#include "exporters/cloudwatch/log_batch.h"
#include <cjson/cJSON.h>
#include <string.h>

static void printable(char *to, size_t cap, const char *s, size_t n)
{
	size_t k = 0;
	for (size_t i = 0; i < n && k < cap - 1; i++)
		to[k++] = s[i] >= 0x20 && s[i] < 0x7f ? s[i] : ' ';
	to[k] = 0;
}

/* "com.amazonaws.logs#Name:http://.." */
static void type(struct log_answer *out, const char *s)
{
	const char *hash = strrchr(s, '#');
	s = hash ? hash + 1 : s;
	printable(out->type, sizeof out->type, s, strcspn(s, ":"));
}

static bool index_of(const cJSON *o, const char *name, uint32_t *out)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
	if (!cJSON_IsNumber(v) || !(v->valuedouble >= 0) || v->valuedouble > 1e6)
		return false;
	*out = (uint32_t)v->valuedouble;
	return true;
}

/* moto's errors come as XML when it checks signatures. */
static void read_xml(struct log_answer *out, const char *body, size_t n)
{
	static const char open[] = "<Code>", message[] = "<Message>";
	const char *end = body + n, *p = memmem(body, n, open, sizeof open - 1), *e;
	if (!p)
		return;
	p += sizeof open - 1;
	if (!(e = memchr(p, '<', (size_t)(end - p))))
		return;
	printable(out->type, sizeof out->type, p, (size_t)(e - p));
	p = memmem(body, n, message, sizeof message - 1);
	if (p && (e = memchr(p + 1, '<', (size_t)(end - p - 1)))) {
		p += sizeof message - 1;
		printable(out->message, sizeof out->message, p, (size_t)(e - p));
	}
}

void log_answer_read(struct log_answer *out, const char *body, size_t n)
{
	*out = (struct log_answer){.new_start = UINT32_MAX};
	cJSON *o = n ? cJSON_ParseWithLength(body, n) : NULL;
	if (!o) {
		read_xml(out, body, n);
		return;
	}
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "__type"));
	if (s)
		type(out, s);
	s = cJSON_GetStringValue(cJSON_GetObjectItem(o, "message")); /* in any case */
	if (s)
		printable(out->message, sizeof out->message, s, strlen(s));
	const cJSON *r = cJSON_GetObjectItemCaseSensitive(o, "rejectedLogEventsInfo");
	uint32_t k;
	if (index_of(r, "tooOldLogEventEndIndex", &k))
		out->old_end = k;
	if (index_of(r, "expiredLogEventEndIndex", &k) && k > out->old_end)
		out->old_end = k;
	if (index_of(r, "tooNewLogEventStartIndex", &k))
		out->new_start = k;
	cJSON_Delete(o);
}
