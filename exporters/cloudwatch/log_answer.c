/* What CloudWatch Logs answers: JSON 1.1; a proxy or a mock may answer anything. */
#include "exporters/cloudwatch/log_batch.h"
#include <cjson/cJSON.h>
#include <string.h>

static bool index_of(const cJSON *o, const char *name, uint32_t *out)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, name);
	if (!cJSON_IsNumber(v) || !(v->valuedouble >= 0) || v->valuedouble > 1e6)
		return false;
	*out = (uint32_t)v->valuedouble;
	return true;
}

void log_answer_read(struct log_answer *out, const char *header, const char *body, size_t n)
{
	*out = (struct log_answer){.new_start = UINT32_MAX};
	aws_error_read(&out->error, header, body, n);
	cJSON *o = n ? cJSON_ParseWithLength(body, n) : NULL;
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
