/* Items: what a report becomes, what is masked, and how long ones are cut. */
#include "report_sample.h"
#include "exporters/log.h"
#include "unit.h"
#include "proto/db.h"
#include <cjson/cJSON.h>

static struct rollbar_settings set = {.environment = "production"};
static const struct host_facts host = {.name = "web4", .os_version = "6.1", .arch = "amd64"};

static cJSON *encode(const struct report *r, const struct item_facts *more)
{
	struct item_facts f = more ? *more : (struct item_facts){0};
	struct buf b = {0};
	f.set = &set;
	f.host = &host;
	OK(rollbar_encode(&b, r, &f));
	OK(b.n <= ROLLBAR_ITEM_MOST);
	struct item_id id;
	OK(rollbar_item_read(b.p, b.n, &id));
	EQ_STR(id.uuid, r->uuid);
	cJSON *item = cJSON_ParseWithLength(b.p, b.n);
	buf_free(&b);
	OK(item);
	return item;
}

/* "a.b.0.c" */
static const cJSON *at(const cJSON *o, const char *path)
{
	while (o && *path) {
		char key[64];
		size_t n = strcspn(path, ".");
		snprintf(key, sizeof key, "%.*s", (int)n, path);
		o = cJSON_IsArray(o) ? cJSON_GetArrayItem(o, atoi(key)) : cJSON_GetObjectItemCaseSensitive(o, key);
		path += n + (path[n] == '.');
	}
	return o;
}

static const char *str(const cJSON *o, const char *path)
{
	return cJSON_GetStringValue(at(o, path));
}

static int num(const cJSON *o, const char *path)
{
	return cJSON_IsNumber(at(o, path)) ? (int)cJSON_GetNumberValue(at(o, path)) : -1;
}

TEST(crash_item)
{
	struct report r = sample_crash();
	cJSON *item = encode(&r, NULL);
	static const char *const want[][2] = {
		{"data.environment", "staging"}, /* the process said so; production is but the default */
		{"data.level", "critical"},
		{"data.uuid", SAMPLE_UUID},
		{"data.language", "c"},
		{"data.platform", "linux"},
		{"data.framework", "remora"},
		{"data.code_version", "1.2.3"},
		{"data.title", "SIGSEGV in parse_order (order.c:41)"},
		{"data.fingerprint", "0123456789abcdef0123456789abcdef01234567"},
		{"data.body.trace.frames.0.filename", "/srv/app/main.c"},
		{"data.body.trace.frames.0.code", "/* repeated 3 times more */"},
		{"data.body.trace.frames.1.filename", "/usr/lib/libz.so.1"},
		{"data.body.trace.frames.1.method", "libz.so.1+0x1000"},
		{"data.body.trace.frames.2.method", "parse_order"},
		{"data.body.trace.frames.2.code", "*p = 1;"},
		{"data.body.trace.frames.2.class_name", "app"},
		{"data.body.trace.frames.2.context.pre.1", "{"},
		{"data.body.trace.frames.2.context.post.0", "}"},
		{"data.body.trace.exception.class", "SIGSEGV"},
		{"data.body.trace.exception.message", "Address not mapped to object at 0x0"},
		{"data.body.trace.exception.description", "write to NULL, thread worker-3 (tid 71)"},
		{"data.server.host", "web4"},
		{"data.server.root", "/srv/app"},
		{"data.server.argv.2", "80"},
		{"data.server.code_version", "1.2.3"},
		{"data.custom.trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"},
		{"data.custom.span_id", "00f067aa0ba902b7"},
		{"data.custom.xray_trace_id", "1-4bf92f35-77b34da6a3ce929d0e0e4736"},
		{"data.custom.source", "signal"},
		{"data.custom.service", "orders"},
		{"data.custom.si_addr", "0x0"},
		{"data.custom.registers.rip", "0x0"},
		{"data.custom.modules.1.build_id", "beef"},
		{"data.custom.threads.0.name", "worker-3"},
		{"data.custom.threads.1.frames.0", "0x555500002000 main (/srv/app/main.c:88)"},
		{"data.custom.unwind", "dwarf"},
		{"data.notifier.name", "remora"},
	};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		unit_case("%s", want[i][0]);
		EQ_STR(str(item, want[i][0]), want[i][1]);
	}
	unit_case(" ");
	EQ_INT(num(item, "data.timestamp"), 1780000000);
	EQ_INT(num(item, "data.body.trace.frames.2.lineno"), 41);
	EQ_INT(num(item, "data.body.trace.frames.2.colno"), 5);
	EQ_INT(num(item, "data.body.trace.frames.1.lineno"), -1);
	EQ_INT(num(item, "data.server.pid"), 70);
	EQ_INT(num(item, "data.custom.signal"), 11);
	EQ_INT(num(item, "data.custom.uptime_s"), 42);
	OK(cJSON_IsTrue(at(item, "data.custom.threads.0.crashed")));
	OK(!at(item, "data.request") && !at(item, "data.body.telemetry") && !at(item, "access_token"));
	cJSON_Delete(item);
}

TEST(variables_stand_before_what_was_found_out)
{
	struct report r = sample_crash();
	strcpy(set.environment, "qa");
	set.environment_set = true;
	strcpy(set.code_version, "abc");
	cJSON *item = encode(&r, NULL);
	EQ_STR(str(item, "data.environment"), "qa");
	EQ_STR(str(item, "data.code_version"), "abc");
	cJSON_Delete(item);
}

TEST(chain_and_message)
{
	struct report r = sample_crash();
	r.n_exceptions = 2;
	cJSON *item = encode(&r, NULL);
	OK(!at(item, "data.body.trace") && !at(item, "data.body.message"));
	EQ_STR(str(item, "data.body.trace_chain.0.exception.class"), "SIGSEGV");
	EQ_STR(str(item, "data.body.trace_chain.1.exception.class"), "Cause");
	cJSON_Delete(item);

	struct report_exception e = {.message = "Hello World!"};
	struct report m = {.source = REPORT_MESSAGE, .uuid = SAMPLE_UUID, .level = "warning", .n_exceptions = 1, .exceptions = &e};
	item = encode(&m, NULL);
	EQ_STR(str(item, "data.body.message.body"), "Hello World!");
	EQ_STR(str(item, "data.level"), "warning");
	OK(!at(item, "data.body.trace") && !at(item, "data.title"));
	cJSON_Delete(item);
}

TEST(almost_nothing_is_known)
{
	struct report_exception e = {0};
	struct report r = {.source = REPORT_STDERR, .uuid = SAMPLE_UUID, .n_exceptions = 1, .exceptions = &e};
	cJSON *item = encode(&r, NULL);
	EQ_STR(str(item, "data.level"), "error");
	EQ_STR(str(item, "data.body.trace.exception.class"), "Error");
	EQ_STR(str(item, "data.body.trace.frames.0.filename"), "unknown");
	cJSON_Delete(item);
	r.n_exceptions = 0;
	item = encode(&r, NULL);
	EQ_STR(str(item, "data.body.message.body"), "(empty)");
	cJSON_Delete(item);
}

static struct span_copy sample_query(uint8_t system, const char *text, const char *status)
{
	struct span_copy c = sample_span(SPAN_DB, "", 1780000000050);
	const char tags[] = {REC_DB, REC_QUERY, REC_DB_STATUS}, *strings[] = {"shop\nworf\n15.3\n", text, status};
	c.rec.method = system;
	c.rec.status = 0;
	c.rec.var_len = 0;
	for (int i = 0; i < 3; i++) {
		uint16_t n = (uint16_t)strlen(strings[i]);
		char *p = c.rec.var + c.rec.var_len;
		p[0] = tags[i];
		memcpy(p + 2, &n, 2);
		memcpy(p + 4, strings[i], n);
		c.rec.var_len += n ? 4u + n : 0;
	}
	return c;
}

/* A query in the timeline is told by its name and how it ended: no database is a server that speaks HTTP. */
TEST(queries_in_the_timeline)
{
	struct report r = sample_crash();
	struct span_copy c[] = {
		sample_query(DB_POSTGRESQL, "SELECT a FROM users WHERE name = ?", ""),
		sample_query(DB_MYSQL, "INSERT INTO t VALUES (?)", "1062"),
		sample_query(DB_MARIADB, "", "1045"),
		sample_query(DB_POSTGRESQL, "UPDATE t SET a = ?", ""),
		sample_query(DB_POSTGRESQL, "", ""),
		sample_query(DB_POSTGRESQL, "DELETE", ""),
	};
	const struct span_copy *recent[6];
	for (unsigned i = 0; i < 6; i++) {
		c[i].rec.start_ns += i * 1000000u;
		c[i].rec.end_ns += i * 1000000u;
		recent[i] = &c[i];
	}
	c[2].rec.minor = REC_DB_LOGIN;
	c[3].rec.end_ns = 0;
	c[4].rec.error = ERR_PEER_CLOSED;
	c[5].rec.bits |= REC_CUT; /* perhaps half a word */
	struct item_facts f = {.recent = recent, .n_recent = 6};
	cJSON *item = encode(&r, &f);
	EQ_STR(str(item, "data.body.telemetry.0.type"), "manual");
	EQ_STR(str(item, "data.body.telemetry.0.level"), "info");
	EQ_STR(str(item, "data.body.telemetry.1.level"), "error");
	EQ_STR(str(item, "data.body.telemetry.4.level"), "error");
	static const struct {
		const char *begin, *end;
	} want[] = {
		{"SELECT", ": 5 ms"},
		{"INSERT", ": 1062, 5 ms"},
		{"mariadb login", ": 1045, 5 ms"},
		{"UPDATE", ": no answer"},
		{"postgresql", ", 5 ms"},
		{"postgresql", ": 5 ms"},
	};
	for (unsigned i = 0; i < 6; i++) {
		char path[64];
		snprintf(path, sizeof path, "data.body.telemetry.%u.body.message", i);
		const char *line = str(item, path);
		unit_case("%s", line);
		OK(strncmp(line, want[i].begin, strlen(want[i].begin)) == 0);
		OK(strlen(line) > strlen(want[i].end) && strcmp(line + strlen(line) - strlen(want[i].end), want[i].end) == 0);
	}
	OK(!at(item, "data.body.telemetry.0.body.url") && !at(item, "data.body.telemetry.0.body.method"));
	cJSON_Delete(item);
}

TEST(request_and_timeline)
{
	struct report r = sample_crash();
	struct span_copy request = sample_span(SPAN_SERVER, "/orders/7?user=bob&password=hunter2&X-Api-Key=k", 1780000000100);
	struct span_copy call = sample_span(SPAN_CLIENT, "/charge?access_token=t0psecret", 1780000000050);
	struct span_copy log = sample_span(SPAN_TEXT, "", 1780000000080), old = sample_span(SPAN_CLIENT, "/old", 1779999000000);
	log.rec.var_len = (uint32_t)(stpcpy(log.rec.var, "retrying charge\n") - log.rec.var);
	log.rec.err_no = 2;
	call.rec.status = 500;
	const struct span_copy *recent[] = {&old, &log, &call, &request};
	static struct request_copy whole;
	request_copy_of(&request, &whole);
	struct item_facts f = {.request = &whole, .recent = recent, .n_recent = 4, .suppressed = 17};
	cJSON *item = encode(&r, &f);
	EQ_STR(str(item, "data.context"), "GET /orders/7");
	EQ_STR(str(item, "data.request.url"), "http://shop.example/orders/7?user=bob&password=REDACTED&X-Api-Key=REDACTED");
	EQ_STR(str(item, "data.request.method"), "GET");
	EQ_STR(str(item, "data.request.GET.user"), "bob");
	EQ_STR(str(item, "data.request.GET.password"), "********");
	EQ_STR(str(item, "data.request.GET.X-Api-Key"), "********");
	EQ_STR(str(item, "data.request.headers.User-Agent"), "curl/8");
	EQ_STR(str(item, "data.request.user_ip"), "203.0.113.9");
	EQ_INT(cJSON_GetArraySize(at(item, "data.body.telemetry")), 3); /* one is of another program that had the pid */
	EQ_STR(str(item, "data.body.telemetry.0.type"), "network");
	EQ_STR(str(item, "data.body.telemetry.0.level"), "error");
	EQ_STR(str(item, "data.body.telemetry.0.body.url"), "http://shop.example/charge?access_token=REDACTED");
	EQ_STR(str(item, "data.body.telemetry.0.body.status_code"), "500");
	EQ_STR(str(item, "data.body.telemetry.1.body.message"), "retrying charge");
	EQ_STR(str(item, "data.body.telemetry.2.body.message"), "answered GET /orders/7: 200, 5 ms");
	EQ_INT(num(item, "data.custom.suppressed"), 17);
	char *text = cJSON_PrintUnformatted(item);
	OK(!strstr(text, "hunter2") && !strstr(text, "t0psecret"));
	free(text);
	cJSON_Delete(item);
}

TEST(secret_names)
{
	static const char *const yes[] = {"password", "X-Auth", "Authorization", "PASSWD", "user_password", "confirm_password",
	                                  "passwordConfirmation", "accessToken", "x-api-key", "Cookie", "client_secret", "pw"};
	static const char *const no[] = {"user", "author", "passwords_sent", "url", "rip", "filename", "cookies_seen", ""};
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
		unit_case("%s", yes[i]);
		OK(rollbar_is_secret(yes[i], strlen(yes[i])));
	}
	for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
		unit_case("%s", no[i]);
		OK(!rollbar_is_secret(no[i], strlen(no[i])));
	}
	char longest[400];
	memset(longest, 'a', sizeof longest);
	memcpy(longest + sizeof longest - 8, "password", 8);
	OK(rollbar_is_secret(longest, sizeof longest));
}

/* Very many frames, threads and long strings: at most 512 KiB, and what matters most is still there. */
TEST(long_ones_are_cut)
{
	struct report r = sample_crash();
	enum { N = 4000,
		   LONG = 60000 };
	struct report_frame *frames = calloc(N, sizeof *frames);
	char *text = malloc(LONG + 1);
	memset(text, 'x', LONG);
	text[LONG] = 0;
	for (int i = 0; i < N; i++) {
		frames[i] = sample_frames[i % 3];
		frames[i].function = i == 0 ? "innermost" : i == N - 1 ? "outermost"
		                                                       : text + LONG - 3000;
	}
	struct report_exception e = {.type = "SIGSEGV", .message = text, .n = N, .frames = frames};
	struct report_thread threads[300];
	for (int i = 0; i < 300; i++)
		threads[i] = (struct report_thread){.tid = i, .name = "t", .n = N, .frames = frames};
	r.n_exceptions = 1;
	r.exceptions = &e;
	r.n_threads = 300;
	r.threads = threads;
	r.text = text;
	cJSON *item = encode(&r, NULL);
	const cJSON *list = at(item, "data.body.trace.frames");
	int n = cJSON_GetArraySize(list);
	OK(n > 0 && n <= 256);
	EQ_STR(str(cJSON_GetArrayItem(list, 0), "method"), "outermost");
	EQ_STR(str(cJSON_GetArrayItem(list, n - 1), "method"), "innermost");
	EQ_STR(str(item, "data.title"), r.title);
	OK(!at(item, "data.custom.threads")); /* the first to go */
	cJSON_Delete(item);
	free(frames);
	free(text);
}

TEST(hostile_text)
{
	struct report r = sample_crash();
	r.title = "bad \xff\xc0\x80 title \x01";
	sample_frames[0].function = "f\xed\xa0\x80";
	cJSON *item = encode(&r, NULL);
	OK(strstr(str(item, "data.title"), "\xef\xbf\xbd"));
	cJSON_Delete(item);
}

TEST(shrinking_stages)
{
	struct report r = sample_crash();
	struct item_facts f = {.set = &set, .host = &host};
	struct buf whole = {0};
	OK(rollbar_encode(&whole, &r, &f));
	for (size_t most = whole.n; most > 200; most -= 37) {
		struct buf b = {0};
		struct item_id id;
		buf_add(&b, whole.p, whole.n);
		if (!rollbar_shrink(&b, most)) {
			OK(most < 2000);
			EQ_INT(b.n, whole.n);
			OK(rollbar_failsafe(&b));
			OK(b.n < 1200);
		} else {
			OK(b.n <= most);
		}
		OK(rollbar_item_read(b.p, b.n, &id));
		EQ_STR(id.uuid, SAMPLE_UUID);
		EQ_STR(id.fingerprint, "0123456789abcdef0123456789abcdef01234567");
		buf_free(&b);
	}
	buf_free(&whole);
}

TEST(what_is_no_item)
{
	static const char *const bad[] = {
		"",
		"{}",
		"null",
		"[]",
		"{\"data\":{}}",
		"{\"data\":1}",
		"{\"data\":{\"environment\":\"e\",\"uuid\":\"" SAMPLE_UUID "\",\"body\":{}}}",
		"{\"data\":{\"environment\":\"e\",\"uuid\":\"x\",\"body\":{\"message\":{\"body\":\"b\"}}}}",
		"{\"data\":{\"environment\":\"e\",\"uuid\":\"" SAMPLE_UUID "\",\"body\":{\"message\":{},\"trace\":{}}}}",
		"{\"access_token\":\"t\",\"data\":{\"environment\":\"e\",\"uuid\":\"" SAMPLE_UUID "\",\"body\":{\"message\":{}}}}",
		"{\"data\":{\"environment\":\"e\",\"uuid\":\"" SAMPLE_UUID "\",\"body\":{\"message\":{}}}} trailing",
	};
	struct item_id id;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		unit_case("%s", bad[i]);
		OK(!rollbar_item_read(bad[i], strlen(bad[i]), &id));
	}
	static const char good[] = "{\"data\":{\"environment\":\"e\",\"uuid\":\"" SAMPLE_UUID "\",\"body\":{\"message\":{}}}}";
	OK(rollbar_item_read(good, sizeof good - 1, &id));
	EQ_STR(id.fingerprint, "");
}
