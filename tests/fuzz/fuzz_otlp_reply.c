/* What a receiver answers. First byte: JSON or protobuf, success or failure. */
#include "exporters/otlp/otlp.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct otlp_reply r, again;
	bool json = data[0] & 1, success = data[0] & 2;
	size_t n = size - 1;
	char *body = exact(data + 1, n);
	memset(&r, 0xff, sizeof r);
	otlp_reply_parse(json, success, body, n, &r);
	size_t len = strnlen(r.message, sizeof r.message);
	HOLDS(len < sizeof r.message);
	for (size_t i = 0; i < len; i++)
		HOLDS(r.message[i] >= ' ' && r.message[i] < 0x7f);
	HOLDS(r.rejected <= INT64_MAX);
	HOLDS(success || r.rejected == 0);
	otlp_reply_parse(json, success, body, n, &again);
	HOLDS(again.rejected == r.rejected && strcmp(again.message, r.message) == 0);
	free(body);
	return 0;
}
