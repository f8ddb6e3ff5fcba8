/* A log line: its level, and as JSON; what is read as an object, cJSON reads as one too. */
#include "exporters/cloudwatch/line_text.h"
#include "exporters/utf8.h"
#include "fuzz.h"
#include <cjson/cJSON.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *p = exact(data, size);
	struct slice line = {p, (uint32_t)size};
	struct json_line j;
	struct buf b = {0};
	HOLDS(level_guess(line) <= LEVEL_FATAL);
	HOLDS(level_named(p, size < 12 ? size : 12) <= LEVEL_FATAL);
	if (json_line_read(line, &j)) {
		HOLDS(j.close < size && p[j.close] == '}');
		cJSON *o = cJSON_ParseWithLength(p, size);
		HOLDS(o == NULL || cJSON_IsObject(o)); /* it refuses some escapes of surrogates */
		cJSON_Delete(o);
	}
	buf_add(&b, "\"", 1);
	json_escape(&b, p, size);
	buf_add(&b, "\"", 1);
	HOLDS(utf8_valid(b.p, b.n));
	cJSON *s = cJSON_ParseWithLength(b.p, b.n);
	HOLDS(cJSON_IsString(s));
	cJSON_Delete(s);
	buf_free(&b);
	free(p);
	return 0;
}
