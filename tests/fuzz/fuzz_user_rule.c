/* The first line is REMORA_USER and REMORA_CAPTURE_HEADERS, the rest a request's head. */
#include "fuzz.h"
#include "proto/head_field.h"
#include "proto/user_rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl = size ? memchr(data, '\n', size) : NULL;
	struct user_rules r;
	struct slice bad = {NULL, 0};
	struct http1_head h;
	if (!nl || size > 1 << 14)
		return 0;
	size_t n = (size_t)(nl - data), left = size - n - 1;
	char *rules = malloc(n + 1), *head = exact(nl + 1, left);
	HOLDS(rules);
	memcpy(rules, data, n);
	rules[n] = 0;
	bool good = user_rules_parse(&r, rules, &bad);
	HOLDS(r.n <= USER_RULES && (good || (bad.p >= rules && bad.p + bad.n <= rules + n)));
	if (http1_parse_request(head, left, 0, &h) > 0) {
		struct slice got = user_rules_find(&r, &h);
		HOLDS(!got.n || (got.p >= head && got.p + got.n <= head + left && got.n <= USER_MOST));
		struct header_names l;
		header_names_parse(&l, rules, &bad);
		for (size_t cap = 0; cap < 300; cap += 37) {
			char *out = malloc(cap ? cap : 1);
			HOLDS(header_names_write(&l, &h, out, cap) <= cap);
			free(out);
		}
	}
	free(rules);
	free(head);
	return 0;
}
