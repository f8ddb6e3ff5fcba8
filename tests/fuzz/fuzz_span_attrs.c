/* Records with any strings, through both encodings. Strings of the input are divided by 0xfe bytes. */
#include "exporters/otlp/otlp.h"
#include "exporters/settings.h"
#include "exporters/span_attrs.h"
#include "fuzz_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_record f;
	static struct span_attrs a;
	const size_t head = FUZZ_RECORD_HEAD;
	if (size < head || size > 1 << 14)
		return 0;
	fuzz_record_make(&f, data, data + head, data + size);
	struct settings s = {.attr_count_limit = UINT32_MAX, .attr_length_limit = UINT32_MAX};
	if (span_attrs_make(&a, &f.view, &s)) {
		HOLDS(strlen(a.name) == a.name_len && utf8_valid(a.name, a.name_len));
		HOLDS(strlen(a.trace_state) == a.trace_state_len && utf8_valid(a.trace_state, a.trace_state_len));
		for (uint32_t i = 0; i < a.n; i++) {
			const struct attr *t = &a.attrs[i];
			HOLDS(strlen(t->key) == t->key_len);
			if (t->type == ATTR_STRING)
				HOLDS(strlen(t->str) == t->str_len && t->str_len && utf8_valid(t->str, t->str_len));
			for (uint32_t k = 0; k < i; k++)
				HOLDS(strcmp(t->key, a.attrs[k].key) != 0);
		}
		span_attrs_free(&a);
	}
	struct batch b = {.views = &f.view, .n = 1, .settings = &s};
	struct buf out = {0};
	HOLDS(otlp_protobuf(&out, &b));
	HOLDS(otlp_json(&out, &b));
	buf_free(&out);
	fuzz_record_free(&f);
	return 0;
}
