/* What CloudWatch Logs, or somebody in its place, answers. */
#include "exporters/cloudwatch/log_batch.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct log_answer a;
	char *p = exact(data, size);
	log_answer_read(&a, NULL, p, size);
	HOLDS(strnlen(a.error.type, sizeof a.error.type) < sizeof a.error.type);
	HOLDS(strnlen(a.error.message, sizeof a.error.message) < sizeof a.error.message);
	for (const char *c = a.error.message; *c; c++)
		HOLDS(*c >= 0x20 && *c < 0x7f);
	HOLDS(a.old_end <= 1000000);
	free(p);
	return 0;
}
