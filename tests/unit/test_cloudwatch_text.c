/* What a line says of itself. */
#include "exporters/cloudwatch/line_text.h"
#include "exporters/cloudwatch/log_batch.h"
#include "exporters/utf8.h"
#include "unit.h"

static struct slice text(const char *p)
{
	return (struct slice){p, (uint32_t)strlen(p)};
}

TEST(levels)
{
	static const struct {
		const char *line;
		enum level level;
	} rows[] = {
		{"2026-01-02 03:04:05,123 - app - ERROR - no", LEVEL_ERROR},
		{"WARNING:root:x", LEVEL_WARN},
		{"[2026-01-02 03:04:05 +0000] [7] [INFO] Booting", LEVEL_INFO},
		{"2026/01/02 03:04:05 [warn] 7#7: x", LEVEL_WARN},
		{"[error] x", LEVEL_ERROR},
		{"error: cannot open x", LEVEL_ERROR},
		{"ts=1 level=debug msg=x", LEVEL_DEBUG},
		{"ts=1 lvl=\"crit\" msg=x", LEVEL_FATAL},
		{"E0102 03:04:05.1 7 f.go:1] x", LEVEL_ERROR},
		{"I0102 03:04:05.1 7 f.go:1] no error", LEVEL_INFO},
		{"<3>x", LEVEL_ERROR},
		{"<6>x", LEVEL_INFO},
		{"03:04:05.123 [main] TRACE a.B - x", LEVEL_TRACE},
		{"CRITICAL x", LEVEL_FATAL},
		{"LOG:  checkpoint", LEVEL_INFO},
		{"an error happened", LEVEL_UNKNOWN},
		{"GET /ERROR/x", LEVEL_UNKNOWN},
		{"MY_ERROR=1", LEVEL_UNKNOWN},
		{"TERROR", LEVEL_UNKNOWN},
		{"informational", LEVEL_UNKNOWN},
		{"first\nERROR", LEVEL_UNKNOWN},
		{"", LEVEL_UNKNOWN},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].line);
		EQ_INT(level_guess(text(rows[i].line)), rows[i].level);
	}
	EQ_INT(level_named("Warning", 7), LEVEL_WARN);
	EQ_INT(level_named("50", 2), LEVEL_ERROR);
	EQ_INT(level_named("e", 1), LEVEL_ERROR);
	EQ_INT(level_named("", 0), LEVEL_UNKNOWN);
	EQ_INT(level_named("\0", 1), LEVEL_UNKNOWN);
}

TEST(json)
{
	static const struct {
		const char *line;
		bool ok;
		enum level level;
		bool trace, span, empty;
	} rows[] = {
		{"{}", true, LEVEL_UNKNOWN, false, false, true},
		{" { \"level\" : \"error\" , \"a\":[1,2,{\"level\":\"x\"}],\"b\":{\"trace_id\":1}} \r", true, LEVEL_ERROR, false, false, false},
		{"{\"trace_id\":\"x\",\"span_id\":null}", true, LEVEL_UNKNOWN, true, true, false},
		{"{\"severity\":\"WARNING\"}", true, LEVEL_WARN, false, false, false},
		{"{\"level\":30,\"x\":-1.5e+3,\"y\":true,\"z\":\"\\u00e4\\\"\\\\\"}", true, LEVEL_INFO, false, false, false},
		{"{\"a\":[[[]],{}]}", true, LEVEL_UNKNOWN, false, false, false},
		{"{\"a\":1}x", false, 0, false, false, false},
		{"{\"a\":1", false, 0, false, false, false},
		{"{\"a\":01}", false, 0, false, false, false},
		{"{\"a\":1,}", false, 0, false, false, false},
		{"{\"a\"}", false, 0, false, false, false},
		{"{\"a\":}", false, 0, false, false, false},
		{"{a:1}", false, 0, false, false, false},
		{"{\"a\":[1}]", false, 0, false, false, false},
		{"{\"a\":\"\\x\"}", false, 0, false, false, false},
		{"{\"a\":\"\\u12\"}", false, 0, false, false, false},
		{"{\"a\":nul}", false, 0, false, false, false},
		{"{\"a\":1.}", false, 0, false, false, false},
		{"[1]", false, 0, false, false, false},
		{"", false, 0, false, false, false},
		{"{", false, 0, false, false, false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct json_line j;
		size_t n = strlen(rows[i].line);
		struct unit_guarded g = unit_at_end(rows[i].line, n);
		unit_case("%s", rows[i].line);
		EQ_INT(json_line_read((struct slice){g.p, (uint32_t)n}, &j), rows[i].ok);
		if (rows[i].ok) {
			EQ_INT(j.level, rows[i].level);
			EQ_INT(j.trace_id, rows[i].trace);
			EQ_INT(j.span_id, rows[i].span);
			EQ_INT(j.empty, rows[i].empty);
			EQ_INT(rows[i].line[j.close], '}');
		}
		unit_unguard(g);
	}
	char deep[300] = "{\"a\":";
	memset(deep + 5, '[', 200);
	struct json_line j;
	OK(!json_line_read((struct slice){deep, 205}, &j));
}

TEST(escape)
{
	struct buf b = {0};
	json_escape(&b, "a\"\\\n\t\x01\x7f\0\xff\xc3\xa4", 11);
	EQ_MEM(b.p, b.n, "a\\\"\\\\\\n\\t\\u0001\\u007f\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4", 29);
	buf_free(&b);
}

TEST(batch_limits)
{
	struct log_batch *b = log_batch_new("s", 1);
	static char big[MESSAGE_MOST];
	memset(big, 'x', sizeof big);
	const uint64_t day = UINT64_C(86400000000000), t = 100 * day;
	OK(log_batch_takes(b, t, MESSAGE_MOST));
	OK(log_batch_add(b, &(struct log_event){.ns = t}, "a", 1));
	OK(log_batch_takes(b, t, BATCH_BYTES - 2 * BATCH_EACH - 1));
	OK(!log_batch_takes(b, t, BATCH_BYTES - 2 * BATCH_EACH));
	OK(log_batch_takes(b, t + day - 1, 1));
	OK(!log_batch_takes(b, t + day, 1));
	OK(!log_batch_takes(b, t - day, 1));
	for (int i = 1; i < BATCH_EVENTS; i++)
		OK(log_batch_add(b, &(struct log_event){.ns = t}, "a", 1));
	OK(!log_batch_takes(b, t, 1));
	log_batch_free(b);
}

TEST(batch_in_order)
{
	struct log_batch *b = log_batch_new("s\"t", 1);
	struct buf out = {0};
	const uint64_t ms = 1000000;
	log_batch_add(b, &(struct log_event){.ns = 7000 * ms}, "c", 1);
	log_batch_add(b, &(struct log_event){.ns = 5000 * ms}, "a\n", 2);
	log_batch_add(b, &(struct log_event){.ns = 7000 * ms}, "d", 1);
	log_batch_add(b, &(struct log_event){.ns = 6000 * ms}, "b", 1);
	OK(log_batch_encode(b, "g", -5500, &out));
	buf_add(&out, "", 1);
	EQ_STR(out.p, "{\"logGroupName\":\"g\",\"logStreamName\":\"s\\\"t\",\"logEvents\":[{\"timestamp\":0,\"message\":\"a\\n\"},"
	              "{\"timestamp\":500,\"message\":\"b\"},{\"timestamp\":1500,\"message\":\"c\"},{\"timestamp\":1500,\"message\":\"d\"}]}");
	buf_free(&out);
	log_batch_free(b);
}

TEST(answers)
{
	static const struct {
		const char *body, *type, *message;
		uint32_t old_end, new_start;
	} rows[] = {
		{"", "", "", 0, UINT32_MAX},
		{"{}", "", "", 0, UINT32_MAX},
		{"{\"__type\":\"com.amazonaws.logs#ThrottlingException:http://x\",\"Message\":\"Rate\\nexceeded\"}", "ThrottlingException", "Rate exceeded", 0, UINT32_MAX},
		{"{\"__type\":\"ResourceNotFoundException\",\"message\":5}", "ResourceNotFoundException", "", 0, UINT32_MAX},
		{"{\"rejectedLogEventsInfo\":{\"tooOldLogEventEndIndex\":2,\"expiredLogEventEndIndex\":3,\"tooNewLogEventStartIndex\":9}}", "", "", 3, 9},
		{"{\"rejectedLogEventsInfo\":{\"tooOldLogEventEndIndex\":-2,\"tooNewLogEventStartIndex\":1e300}}", "", "", 0, UINT32_MAX},
		{"{\"rejectedLogEventsInfo\":[]}", "", "", 0, UINT32_MAX},
		{"<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error>", "InvalidClientTokenId", "no", 0, UINT32_MAX},
		{"<Code>", "", "", 0, UINT32_MAX},
		{"<Code>a", "", "", 0, UINT32_MAX},
		{"<html>", "", "", 0, UINT32_MAX},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct log_answer a;
		size_t n = strlen(rows[i].body);
		struct unit_guarded g = unit_at_end(rows[i].body, n);
		unit_case("%s", rows[i].body);
		log_answer_read(&a, NULL, g.p, n);
		EQ_STR(a.error.type, rows[i].type);
		EQ_STR(a.error.message, rows[i].message);
		EQ_INT(a.old_end, rows[i].old_end);
		EQ_INT(a.new_start, rows[i].new_start);
		unit_unguard(g);
	}
}
