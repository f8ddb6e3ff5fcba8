/* A process' description, and the files of /proc and /etc that resources are made of. */
#include "exporters/resource_detect.h"
#include "exporters/utf8.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct host_facts host = {.name = "h"};
	if (size > 1 << 14)
		return 0;
	char *in = exact(data, size), text[80];
	const char *bad;
	struct process_facts f = {.pid = 1, .blob = in, .blob_len = size};
	struct resource *r = resource_build(&host, &f, &bad);
	HOLDS(r && r->n && r->service_name[0]);
	for (uint32_t i = 0; i < r->n; i++) {
		const struct attr *a = &r->attrs[i];
		HOLDS(strlen(a->key) == a->key_len && a->key_len && utf8_valid(a->key, a->key_len));
		for (uint32_t k = 0; k < i; k++)
			HOLDS(strcmp(a->key, r->attrs[k].key) != 0);
		if (a->type == ATTR_STRING)
			HOLDS(strlen(a->str) == a->str_len && utf8_valid(a->str, a->str_len));
		if (a->type != ATTR_STRINGS)
			continue;
		const char *p = a->str;
		for (uint32_t k = 0; k < a->n; k++, p += strlen(p) + 1)
			HOLDS(utf8_valid(p, strlen(p)));
		HOLDS(p == a->str + a->str_len);
	}
	free(r);
	if (container_of_cgroup(in, size, text))
		HOLDS(strlen(text) >= 34 && strlen(text) <= 64);
	if (container_of_mountinfo(in, size, text))
		HOLDS(strlen(text) >= 34 && strlen(text) <= 64);
	if (name_of_uid(in, size, 0, text, 8))
		HOLDS(strlen(text) > 0 && strlen(text) < 8);
	free(in);
	return 0;
}
