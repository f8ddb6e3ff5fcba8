/* Records with any strings, through both encodings. Strings of the input are divided by 0xfe bytes. */
#include "exporters/otlp/otlp.h"
#include "exporters/settings.h"
#include "exporters/span_attrs.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char slot[SLOT_SIZE] __attribute__((aligned(8)));
	static struct span_attrs a;
	struct span_rec *r = (struct span_rec *)slot;
	const size_t head = 8;
	if (size < head || size > 1 << 14)
		return 0;
	memset(slot, 0, sizeof slot);
	memset(r->trace_id, 1, 16);
	memset(r->span_id, 1, 8);
	r->kind = data[0];
	r->method = data[1];
	r->status = (uint16_t)(data[2] * 4);
	r->error = data[3] & 15;
	r->bits = data[4];
	r->peer.family = data[5] & 7;
	r->peer.port = data[6];
	r->minor = data[7] & 3;
	struct rec_view v = {.rec = r};
	char *held[REC_TAG_MAX] = {0};
	const uint8_t *p = data + head, *e = data + size;
	for (int tag = 1; tag < REC_TAG_MAX && p < e; tag++) {
		const uint8_t *end = memchr(p, 0xfe, (size_t)(e - p));
		size_t n = (size_t)((end ? end : e) - p);
		held[tag] = exact(p, n);
		v.str[tag] = (struct slice){held[tag], (uint32_t)n};
		p += n + 1;
	}
	struct settings s = {.attr_count_limit = UINT32_MAX, .attr_length_limit = UINT32_MAX};
	if (span_attrs_make(&a, &v, &s)) {
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
	struct batch b = {.views = &v, .n = 1, .settings = &s};
	struct buf out = {0};
	HOLDS(otlp_protobuf(&out, &b));
	HOLDS(otlp_json(&out, &b));
	buf_free(&out);
	for (int tag = 1; tag < REC_TAG_MAX; tag++)
		free(held[tag]);
	return 0;
}
