/* The writer against bytes that Google's protobuf made, and a batch's shape. tests/e2e/test_encoding.py decodes. */
#include "exporters/otlp/otlp.h"
#include "exporters/otlp/pb.h"
#include "span_sample.h"

static void check_hex(const struct buf *b, const char *want)
{
	static char hex[8192];
	OK(!b->failed && b->n * 2 < sizeof hex);
	for (size_t i = 0; i < b->n; i++)
		sprintf(hex + 2 * i, "%02x", (unsigned char)b->p[i]);
	EQ_STR(hex, want);
}

static void add_to(struct buf *b, const char *raw, char *end)
{
	buf_add(b, raw, (size_t)(end - raw));
}

/* A KeyValue with an integer as field `field`, or with text. */
static void key_value(struct buf *b, unsigned field, const char *key, const char *text, int64_t n)
{
	char raw[256];
	struct pb_open kv = pb_open(b, field, 0);
	add_to(b, raw, pb_bytes(raw, 1, key, strlen(key)));
	struct pb_open value = pb_open(b, 2, 0);
	add_to(b, raw, text ? pb_bytes(raw, 1, text, strlen(text)) : pb_uint(raw, 3, (uint64_t)n));
	pb_close(b, value);
	pb_close(b, kv);
}

/* Lengths are not known beforehand: wrong guesses must not show. */
TEST(golden_span)
{
	static const uint8_t trace[] = {0x57, 0x59, 0xe9, 0x88, 0xbd, 0x86, 0x2e, 0x3f, 0xe1, 0xbe, 0x46, 0xa9, 0x94, 0x27, 0x27, 0x93};
	static const uint8_t id[] = {0x53, 0x99, 0x5c, 0x3f, 0x42, 0xcd, 0x8a, 0xd8};
	for (size_t guess = 0; guess < 1u << 28; guess = guess * 2 + 1) {
		struct buf b = {0};
		char raw[256], *p = raw;
		unit_case("guess %zu", guess);
		struct pb_open resource_spans = pb_open(&b, 1, guess), resource = pb_open(&b, 1, guess);
		key_value(&b, 1, "service.name", "backend-flask", 0);
		pb_close(&b, resource);
		struct pb_open scope_spans = pb_open(&b, 2, guess), scope = pb_open(&b, 1, guess);
		add_to(&b, raw, pb_bytes(raw, 1, "remora", 6));
		pb_close(&b, scope);
		struct pb_open span = pb_open(&b, 2, guess);
		p = pb_bytes(p, 1, trace, sizeof trace);
		p = pb_bytes(p, 2, id, sizeof id);
		p = pb_bytes(p, 5, "GET /x", 6);
		p = pb_uint(p, 6, 2);
		p = pb_fixed64(p, 7, 1700000000000000000u);
		p = pb_fixed64(p, 8, 1700000000010000000u);
		add_to(&b, raw, p);
		key_value(&b, 9, "http.response.status_code", NULL, 200);
		add_to(&b, raw, pb_fixed32(raw, 16, 0x101));
		pb_close(&b, span);
		pb_close(&b, scope_spans);
		pb_close(&b, resource_spans);
		check_hex(&b,
		          "0a91010a210a1f0a0c736572766963652e6e616d65120f0a0d6261636b656e642d666c61736b126c0a080a0672656d6f72"
		          "6112600a105759e988bd862e3fe1be46a994272793120853995c3f42cd8ad82a06474554202f7830023900002a36fe9c97"
		          "17418096c236fe9c97174a200a19687474702e726573706f6e73652e7374617475735f636f6465120318c8018501010100"
		          "00");
		buf_free(&b);
	}
}

TEST(golden_log)
{
	struct buf b = {0};
	char raw[256], *p = raw;
	struct pb_open logs = pb_open(&b, 1, 0), scope = pb_open(&b, 2, 0), record = pb_open(&b, 2, 0);
	p = pb_fixed64(p, 1, 1);
	p = pb_uint(p, 2, 9);
	p = pb_bytes(p, 3, "INFO", 4);
	add_to(&b, raw, p);
	struct pb_open body = pb_open(&b, 5, 0);
	add_to(&b, raw, pb_bytes(raw, 1, "hi", 2));
	pb_close(&b, body);
	key_value(&b, 6, "n", NULL, -1);
	add_to(&b, raw, pb_fixed64(raw, 11, 2));
	pb_close(&b, record);
	pb_close(&b, scope);
	pb_close(&b, logs);
	check_hex(&b, "0a361234123209010000000000000010091a04494e464f2a040a02686932100a016e120b18ffffffffffffffffff0159"
	              "0200000000000000");
	buf_free(&b);
}

TEST(lengths_at_the_borders)
{
	static const size_t sizes[] = {0, 1, 127, 128, 16383, 16384, 2097151, 2097152};
	char *bytes = calloc(1, 2097152);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
			struct buf b = {0};
			char want[16], *end = pb_varint(pb_tag(want, 3, PB_BYTES), sizes[i]);
			unit_case("%zu bytes, guess %zu", sizes[i], sizes[k]);
			struct pb_open o = pb_open(&b, 3, sizes[k]);
			buf_add(&b, bytes, sizes[i]);
			pb_close(&b, o);
			EQ_INT(b.n, (size_t)(end - want) + sizes[i]);
			EQ_MEM(b.p, end - want, want, end - want);
			EQ_INT(pb_width(sizes[i]), end - want - 1);
			buf_free(&b);
		}
	free(bytes);
}

TEST(copies_of_every_length)
{
	char from[80], to[90];
	for (int i = 0; i < 80; i++)
		from[i] = (char)(i + 1);
	for (size_t n = 0; n < 80; n++) {
		struct unit_guarded src = unit_at_end(from, n), dst = unit_at_end(NULL, n);
		unit_case("%zu", n);
		OK(pb_copy(dst.p, src.p, n) == dst.p + n);
		EQ_MEM(dst.p, n, from, n);
		memset(to, 0, sizeof to);
		pb_copy(to, from, n);
		OK(to[n] == 0);
		unit_unguard(src);
		unit_unguard(dst);
	}
}

/* ---- batches ---- */

static unsigned count(const struct buf *b, const char *text)
{
	unsigned n = 0;
	size_t len = strlen(text);
	for (size_t i = 0; i + len <= b->n; i++)
		n += memcmp(b->p + i, text, len) == 0;
	return n;
}

TEST(spans_are_grouped_by_process)
{
	struct rec_view views[6];
	struct resources *r = resources_new(&no_limits);
	for (int i = 0; i < 6; i++) {
		struct sample s = sample_new(SPAN_SERVER);
		s.rec->pid = 100 + i % 3;
		views[i] = s.view;
	}
	struct batch batch = {.views = views, .n = 6, .resources = r, .settings = &no_limits};
	struct buf b = {0};
	OK(otlp_protobuf(&b, &batch));
	EQ_INT(count(&b, "service.name"), 3);
	EQ_INT(count(&b, "shop.test"), 6);
	EQ_INT(count(&b, "schemas/1.44.0"), 6);
	size_t n = b.n;
	OK(otlp_protobuf(&b, &batch)); /* appends */
	EQ_INT(b.n, 2 * n);
	EQ_MEM(b.p, n, b.p + n, n);
	buf_free(&b);
	resources_delete(r);
}

/* X-Ray's limits: the longest attributes of a resource go, and a span that is too long goes and is counted. */
TEST(limits_of_a_receiver)
{
	struct rec_view views[2];
	struct resources *r = resources_new(&no_limits);
	static char target[3000] = "/";
	memset(target + 1, 'x', sizeof target - 2);
	struct sample a = sample_new(SPAN_SERVER), b = sample_new(SPAN_SERVER);
	sample_set(&b, REC_TARGET, target, sizeof target - 1);
	views[0] = a.view;
	views[1] = b.view;
	uint32_t left_out = 0;
	struct batch batch = {.views = views, .n = 2, .resources = r, .settings = &no_limits, .left_out = &left_out};
	struct buf out = {0};
	OK(otlp_protobuf(&out, &batch));
	size_t whole = count(&out, "process.pid") + count(&out, "telemetry.sdk.name");
	EQ_INT(whole, 2);
	EQ_INT(count(&out, "shop.test"), 2);
	for (unsigned k = 0; k < 2; k++) {
		out.n = 0;
		batch.resource_most = 40;
		batch.span_most = 2000;
		OK((k ? otlp_json : otlp_protobuf)(&out, &batch));
		size_t left = count(&out, "service.name") + count(&out, "process.pid") + count(&out, "telemetry.sdk.name");
		OK(left <= 1);
		if (!k) {
			EQ_INT(count(&out, "shop.test"), 1);
			EQ_INT(left_out, 1);
		}
	}
	buf_free(&out);
	resources_delete(r);
}

TEST(nothing_of_unfit_records)
{
	struct sample bad = sample_new(SPAN_SERVER), good = sample_new(SPAN_SERVER);
	memset(bad.rec->trace_id, 0, 16);
	bad.rec->pid = 1;
	struct rec_view views[] = {bad.view, good.view, bad.view};
	struct batch batch = {.views = views, .n = 3, .settings = &no_limits};
	struct buf b = {0};
	OK(otlp_protobuf(&b, &batch));
	EQ_INT(count(&b, "shop.test"), 1);
	buf_free(&b);
	struct resources *r = resources_new(&no_limits); /* now the bad ones are a group of their own */
	batch.resources = r;
	OK(otlp_protobuf(&b, &batch));
	EQ_INT(count(&b, "service.name"), 1);
	batch.n = 1;
	b.n = 0;
	OK(otlp_protobuf(&b, &batch));
	EQ_INT(b.n, 0);
	batch.n = 0;
	OK(otlp_protobuf(&b, &batch));
	EQ_INT(b.n, 0);
	buf_free(&b);
	b.failed = true;
	batch.n = 3;
	OK(!otlp_protobuf(&b, &batch));
	resources_delete(r);
}
