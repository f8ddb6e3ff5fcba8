/* Answers of receivers, of proxies, and of nobody we would want to talk to. */
#include "exporters/otlp/otlp.h"
#include "unit.h"

#define PB 0
#define JSON 1

static struct otlp_reply parse(int json, int success, const char *body, size_t n)
{
	struct unit_guarded g = unit_at_end(body, n);
	struct otlp_reply r;
	unit_case("%s %s", json ? "json" : "protobuf", unit_show(body, n));
	otlp_reply_parse(json, success, g.p, n, &r);
	unit_unguard(g);
	return r;
}

TEST(answers)
{
#define BODY(s) s, sizeof(s) - 1
	static const struct {
		int json, success;
		const char *body;
		size_t n;
		uint64_t rejected;
		const char *message;
	} rows[] = {
		{PB, 1, BODY(""), 0, ""},
		{JSON, 1, BODY(""), 0, ""},
		{JSON, 1, BODY("{}"), 0, ""},
		{PB, 1, BODY("\x0a\x00"), 0, ""},
		{PB, 1, BODY("\x0a\x07\x08\x02\x12\003bad"), 2, "bad"},
		{PB, 1, BODY("\x0a\x05\x12\003bad"), 0, "bad"},
		{PB, 1, BODY("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 0, ""}, /* -1 */
		{PB, 1, BODY("\x0a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), INT64_MAX, ""},
		{PB, 1, BODY("\x10\x01\x0a\x02\x08\x05\x1a\x01x\0451234\05112345678"), 5, ""}, /* unknown fields */
		{PB, 0, BODY("\x08\x03\x12\003bad"), 0, "bad"},
		{PB, 0, BODY("\x12\013two\r\n words"), 0, "two words"},
		{PB, 0, BODY("\x12\005caf\xc3\xa9"), 0, "caf?"},
		{PB, 0, BODY("\x12\x04\x1b[2J"), 0, "?[2J"},
		{JSON, 1, BODY("{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"bad\"}}"), 2, "bad"},
		{JSON, 1, BODY("{\"partialSuccess\":{\"rejectedSpans\":2}}"), 2, ""},
		{JSON, 1, BODY("{\"partialSuccess\":{\"rejectedSpans\":-2}}"), 0, ""},
		{JSON, 1, BODY("{\"partialSuccess\":{\"rejectedSpans\":1e300}}"), INT64_MAX, ""},
		{JSON, 1, BODY("{\"partialSuccess\":{\"rejectedSpans\":\"99999999999999999999999\"}}"), INT64_MAX, ""},
		{JSON, 1, BODY("{\"partialSuccess\":{\"rejectedSpans\":\"x\"}}"), 0, ""},
		{JSON, 1, BODY("{\"partialSuccess\":{}}"), 0, ""},
		{JSON, 1, BODY("{\"partialSuccess\":null}"), 0, ""},
		{JSON, 1, BODY("[]"), 0, ""},
		{JSON, 0, BODY("{\"code\":3,\"message\":\"bad \\u00e9\\n\"}"), 0, "bad ?"},
		{JSON, 0, BODY("{\"error\":\"unknown key\"}"), 0, "{\"error\":\"unknown key\"}"},
		/* not OTLP */
		{PB, 0, BODY("404 page not found\n"), 0, "404 page not found"},
		{JSON, 0, BODY("<html>\n <title>502 Bad Gateway</title>"), 0, "<html> <title>502 Bad Gateway</title>"},
		{PB, 1, BODY("OK"), 0, ""},
		{JSON, 1, BODY("OK"), 0, ""},
		{PB, 0, BODY("\x12\177short"), 0, ""},
		{PB, 0, BODY("\x0b\x0c"), 0, ""},
		{PB, 0, BODY("\x00\x00"), 0, ""},
		{PB, 1, BODY("\x0a\x04\x08\x02\x12\x7f"), 0, ""},
		{PB, 1, BODY("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 0, ""},
		{PB, 1, BODY("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 0, ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct otlp_reply r = parse(rows[i].json, rows[i].success, rows[i].body, rows[i].n);
		EQ_INT(r.rejected, rows[i].rejected);
		EQ_STR(r.message, rows[i].message);
	}
}

TEST(deep_nesting_and_long_messages)
{
	static char deep[1 << 20], message[5000];
	memset(deep, '[', sizeof deep);
	EQ_STR(parse(JSON, 1, deep, sizeof deep).message, "");
	memset(message, 'x', sizeof message);
	struct otlp_reply r = parse(PB, 0, message, sizeof message);
	EQ_INT(strlen(r.message), sizeof r.message - 1);
}
