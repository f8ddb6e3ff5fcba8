/* Heads and bodies as AWS calls: what comes out is short and of harmless characters, whatever went in. */
#include "fuzz.h"
#include "proto/aws_call.h"

static void harmless(struct slice s, uint32_t most, const char *more)
{
	HOLDS(s.n <= most);
	for (uint32_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		HOLDS((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr(more, c)));
	}
}

static void check(const struct aws_call *c)
{
	harmless(c->service, 64, "-_.");
	harmless(c->region, 64, "-_");
	harmless(c->operation, 64, "-_");
	harmless(c->resource, 256, "-_.:/");
	HOLDS((c->resource.n != 0) == (c->kind != AWS_NOTHING));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 << 14)
		return 0;
	char *p = exact(data, size);
	struct aws_call c;
	struct http1_head h;
	if (http1_parse_request(p, size, 0, &h) > 0 && aws_call_of(&h, &c)) {
		HOLDS(c.service.n);
		check(&c);
	}
	aws_call_body((struct slice){p, (uint32_t)size}, (struct slice){NULL, 0}, &c);
	check(&c);
	harmless(aws_request_id(p, size), 128, "-_=+/");
	free(p);
	return 0;
}
