/* The variables: defaults, precedence, what is refused, and that no secret comes into a message. */
#include "export_host.h"
#include "exporters/settings.h"

static struct settings s;

static void parse(void)
{
	fake_host(64 << 10);
	settings_parse(&s, &fake.host);
}
static void parse_one(const char *var)
{
	fake_env_clear();
	fake_env("%s", var);
	parse();
}
static unsigned lines(void)
{
	unsigned n = 0;
	for (const char *p = fake_text(); *p; p++)
		n += *p == '\n';
	return n;
}

TEST(defaults)
{
	parse();
	EQ_INT(s.n_otlp, 1);
	EQ_STR(s.otlp[0].url, "http://localhost:4318/v1/traces");
	EQ_INT(s.otlp[0].protocol, OTLP_PROTOBUF);
	EQ_INT(s.otlp[0].timeout_ns, 10000 * MS);
	OK(!s.otlp[0].gzip && !s.otlp[0].headers && !s.console);
	EQ_INT(s.schedule_delay_ns, 5000 * MS);
	EQ_INT(s.max_batch, 512);
	EQ_INT(s.max_queue, 0);
	EQ_INT(s.attr_count_limit, 128);
	EQ_INT(s.attr_length_limit, UINT32_MAX);
	EQ_STR(fake_text(), "");
	settings_free(&s);
}

TEST(a_terminal_without_configuration)
{
	fake_host(64 << 10);
	fake.host.stderr_tty = true;
	settings_parse(&s, &fake.host);
	OK(s.console && s.n_otlp == 0);
	settings_free(&s);
	fake_env("OTEL_EXPORTER_OTLP_ENDPOINT=http://h");
	settings_parse(&s, &fake.host);
	OK(!s.console && s.n_otlp == 1);
	settings_free(&s);
}

TEST(urls)
{
	static const struct {
		const char *var, *url;
	} rows[] = {
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h", "http://h/v1/traces"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h/", "http://h/v1/traces"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://h:1/a", "https://h:1/a/v1/traces"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://h:1/a/?k=v", "https://h:1/a/v1/traces?k=v"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=HTTP://[::1]:1", "HTTP://[::1]:1/v1/traces"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://h/custom", "http://h/custom"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://h", "http://h"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:p@h", "http://u:p@h/v1/traces"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=", "http://localhost:4318/v1/traces"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4317", NULL},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=ftp://h", NULL},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://", NULL},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http:///x", NULL},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://h x", NULL},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://u@", NULL},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=unix:///tmp/x", NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].var);
		parse_one(rows[i].var);
		EQ_INT(s.n_otlp, rows[i].url != NULL);
		if (rows[i].url)
			EQ_STR(s.otlp[0].url, rows[i].url);
		EQ_INT(lines(), rows[i].url == NULL);
		if (!rows[i].url)
			OK(strstr(fake_text(), "OTEL_EXPORTER_OTLP_ENDPOINT"));
		settings_free(&s);
	}
}

TEST(shown_urls_hide_what_may_be_secret)
{
	static const char *const rows[][2] = {
		{"http://h/a", "http://h/a"},
		{"http://u:p@h:1/a?token=x#y", "http://h:1/a"},
		{"http://u:p@q@h", "http://h"},
		{"http://h/a@b", "http://h/a@b"},
		{"u:p@h", "h"},
		{"", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *got = settings_url_shown(rows[i][0]);
		EQ_STR(got, rows[i][1]);
		free(got);
	}
	parse_one("OTEL_EXPORTER_OTLP_ENDPOINT=grpc://user:s3cret@h?key=s3cret");
	EQ_INT(lines(), 1);
	OK(!strstr(fake_text(), "s3cret"));
}

TEST(headers)
{
	static const struct {
		const char *value, *want; /* joined with '|' */
		unsigned warnings;
	} rows[] = {
		{"a=1", "a: 1", 0},
		{"a=1,b=2", "a: 1|b: 2", 0},
		{" a = 1 , b = x=y ", "a: 1|b: x=y", 0},
		{"authorization=Bearer%20abc%3D%2c", "authorization: Bearer abc=,", 0},
		{"a=1,A=2", "A: 2", 0},
		{"a=", "a;", 0},
		{",,a=1,", "a: 1", 0},
		{"secret", "", 1},
		{"=secret", "", 1},
		{"a b=secret", "", 1},
		{"a=secret%0d%0aX: y", "", 1},
		{"a=secret%00", "", 1},
		{"a=secret%zz,b=1", "b: 1", 1},
		{"a=secret%4", "", 1},
		{"Content-Type=secret", "", 1},
		{"content-length=5,x=1", "x: 1", 1},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char var[256], got[512] = "";
		snprintf(var, sizeof var, "OTEL_EXPORTER_OTLP_HEADERS=%s", rows[i].value);
		unit_case("%s", var);
		parse_one(var);
		for (char **h = s.otlp[0].headers; h && *h; h++)
			snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", *got ? "|" : "", *h);
		EQ_STR(got, rows[i].want);
		EQ_INT(lines(), rows[i].warnings);
		OK(!strstr(fake_text(), "secret"));
		settings_free(&s);
	}
}

TEST(signal_variables_win)
{
	fake_env("OTEL_EXPORTER_OTLP_HEADERS=a=1");
	fake_env("OTEL_EXPORTER_OTLP_TRACES_HEADERS=b=2");
	fake_env("OTEL_EXPORTER_OTLP_ENDPOINT=http://h");
	fake_env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://t/");
	fake_env("OTEL_EXPORTER_OTLP_PROTOCOL=http/json");
	fake_env("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=GZIP");
	fake_env("OTEL_EXPORTER_OTLP_TIMEOUT=5");
	fake_env("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=0");
	fake_env("OTEL_EXPORTER_OTLP_CERTIFICATE=/a");
	fake_env("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE=/b");
	fake_env("OTEL_EXPORTER_OTLP_CLIENT_KEY=/k");
	parse();
	struct otlp_settings *o = &s.otlp[0];
	EQ_STR(o->url, "http://t/");
	EQ_STR(o->headers[0], "b: 2");
	OK(!o->headers[1] && o->gzip && o->protocol == OTLP_JSON && o->timeout_ns == 0);
	EQ_STR(o->ca.path, "/b");
	EQ_STR(o->ca.var, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE");
	EQ_STR(o->client_key.path, "/k");
	EQ_STR(o->client_key.var, "OTEL_EXPORTER_OTLP_CLIENT_KEY");
	OK(!o->client_cert.path);
	settings_free(&s);
}

TEST(bad_values_warn_once)
{
	static const char *const rows[] = {
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
		"OTEL_EXPORTER_OTLP_COMPRESSION=zstd",
		"OTEL_EXPORTER_OTLP_TIMEOUT=-1",
		"OTEL_EXPORTER_OTLP_TIMEOUT=1s",
		"OTEL_BSP_SCHEDULE_DELAY=soon",
		"OTEL_BSP_EXPORT_TIMEOUT=-5",
		"OTEL_BSP_MAX_QUEUE_SIZE=1.5",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=99999999999999999999999",
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=x",
		"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT=x",
		"OTEL_PROPAGATORS=tracecontext,pigeon",
		"OTEL_TRACES_SAMPLER=sometimes",
		"OTEL_TRACES_EXPORTER=otlp,pigeon",
		"OTEL_CONFIG_FILE=/x.yaml",
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char name[64];
		snprintf(name, sizeof name, "%.*s", (int)strcspn(rows[i], "="), rows[i]);
		unit_case("%s", rows[i]);
		parse_one(rows[i]);
		EQ_INT(lines(), 1);
		OK(strstr(fake_text(), name));
		EQ_INT(s.n_otlp, 1);
		EQ_INT(s.schedule_delay_ns, 5000 * MS);
		EQ_INT(s.max_batch, 512);
		struct settings again;
		settings_parse(&again, &fake.host); /* the same tree */
		EQ_INT(lines(), 1);
		settings_free(&again);
		settings_free(&s);
	}
}

TEST(good_values_do_not_warn)
{
	static const char *const rows[] = {
		"OTEL_PROPAGATORS=tracecontext, baggage,B3,b3multi,xray,none",
		"OTEL_TRACES_SAMPLER=ALWAYS_ON",
		"OTEL_TRACES_SAMPLER=parentbased_always_off",
		"OTEL_TRACES_SAMPLER_ARG=junk", /* without a sampler it is not used */
		"OTEL_BSP_SCHEDULE_DELAY=0",
		"OTEL_EXPORTER_OTLP_PROTOCOL=HTTP/JSON",
		"OTEL_TRACES_EXPORTER=OTLP",
		"OTEL_TRACES_EXPORTER=none",
		"OTEL_TRACES_EXPORTER=,",
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i]);
		parse_one(rows[i]);
		EQ_STR(fake_text(), "");
		settings_free(&s);
	}
}

TEST(sampler_arguments)
{
	static const struct {
		const char *arg;
		bool good;
	} rows[] = {
		{"0", 1},
		{"1", 1},
		{"0.25", 1},
		{".5", 1},
		{"1.0", 1},
		{"1e-3", 1},
		{"many", 0},
		{"2", 0},
		{"-1", 0},
		{"0,5", 0},
		{"0.5x", 0},
		{".", 0},
		{"nan", 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char var[64];
		snprintf(var, sizeof var, "OTEL_TRACES_SAMPLER_ARG=%s", rows[i].arg);
		unit_case("%s", var);
		parse_one(var);
		settings_free(&s);
		fake_env("OTEL_TRACES_SAMPLER=traceidratio");
		settings_parse(&s, &fake.host);
		EQ_INT(lines(), !rows[i].good);
		settings_free(&s);
	}
}

TEST(exporter_lists)
{
	static const struct {
		const char *list;
		unsigned otlp;
		bool console;
	} rows[] = {{"otlp", 1, 0}, {"console", 0, 1}, {"otlp,console", 1, 1}, {"none", 0, 0}, {" Console ,", 0, 1}, {"x", 0, 0}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char var[64];
		snprintf(var, sizeof var, "OTEL_TRACES_EXPORTER=%s", rows[i].list);
		unit_case("%s", var);
		parse_one(var);
		EQ_INT(s.n_otlp, rows[i].otlp);
		EQ_INT(s.console, rows[i].console);
		settings_free(&s);
	}
}

TEST(xray_itself)
{
	static const struct {
		const char *env[4], *label, *url, *aws_url, *region;
		bool daemon, said;
	} rows[] = {
		{{"REMORA_XRAY_PROTOCOL=otlp"}, "xray", NULL, NULL, "", 0, 0},
		{{"REMORA_XRAY_PROTOCOL=otlp", "AWS_XRAY_DAEMON_ADDRESS=d:2000", "AWS_ENDPOINT_URL=http://program"}, "xray", NULL, NULL, "", 0, 0},
		{{"REMORA_XRAY_PROTOCOL=OTLP", "OTEL_TRACES_EXPORTER=xray", "AWS_ENDPOINT_URL_XRAY=http://x/"}, "xray", NULL, "http://x/", "", 0, 0},
		{{"REMORA_XRAY_PROTOCOL=otlp", "AWS_ENDPOINT_URL_XRAY=x"}, NULL, NULL, NULL, NULL, 0, 1},
		{{"REMORA_XRAY_PROTOCOL=otlp", "OTEL_TRACES_EXPORTER=none"}, NULL, NULL, NULL, NULL, 0, 0},
		{{"REMORA_XRAY_PROTOCOL=daemon", "OTEL_TRACES_EXPORTER=xray"}, NULL, NULL, NULL, NULL, 1, 0},
		{{"REMORA_XRAY_PROTOCOL=grpc", "OTEL_TRACES_EXPORTER=xray"}, NULL, NULL, NULL, NULL, 1, 1},
#define GIVEN(url) {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" url}, "otlp", url
#define XRAY_IE "https://xray.eu-west-1.amazonaws.com"
		{GIVEN(XRAY_IE "/v1/traces"), XRAY_IE, "eu-west-1", 0, 0},
		{GIVEN("https://xray.cn-north-1.amazonaws.com.cn/v1/traces"), "https://xray.cn-north-1.amazonaws.com.cn", "cn-north-1", 0, 0},
		{GIVEN("https://xray-fips.us-east-1.api.aws/v1/traces"), "https://xray-fips.us-east-1.api.aws", "us-east-1", 0, 0},
		{{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" XRAY_IE "/v1/traces", "OTEL_EXPORTER_OTLP_HEADERS=Authorization=mine"},
	     "otlp",
	     XRAY_IE "/v1/traces",
	     NULL,
	     NULL,
	     0,
	     0},
		{GIVEN("http://xray.eu-west-1.amazonaws.com/v1/traces"), NULL, NULL, 0, 0},
		{GIVEN(XRAY_IE ".evil.example/v1/traces"), NULL, NULL, 0, 0},
		{GIVEN(XRAY_IE ":443/v1/traces"), NULL, NULL, 0, 0},
		{GIVEN("https://xray..amazonaws.com/v1/traces"), NULL, NULL, 0, 0},
		{GIVEN(XRAY_IE "/v1/traces?x"), NULL, NULL, 0, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%zu", i);
		fake_env_clear();
		for (int k = 0; k < 4 && rows[i].env[k]; k++)
			fake_env("%s", rows[i].env[k]);
		parse();
		const struct otlp_settings *o = settings_aws(&s);
		EQ_INT(s.n_otlp, rows[i].label != NULL);
		EQ_INT(s.xray.on, rows[i].daemon);
		EQ_INT(lines(), rows[i].said);
		if (rows[i].label) {
			EQ_STR(s.otlp[0].label, rows[i].label);
			OK(rows[i].url ? s.otlp[0].url && strcmp(s.otlp[0].url, rows[i].url) == 0 : !s.otlp[0].url);
		}
		EQ_INT(o != NULL, rows[i].region != NULL);
		if (o) {
			OK(rows[i].aws_url ? o->aws_url && strcmp(o->aws_url, rows[i].aws_url) == 0 : !o->aws_url);
			EQ_STR(o->aws_region, rows[i].region);
		}
		settings_free(&s);
	}
	fake_env_clear();
}

TEST(batch_and_queue)
{
	static const struct {
		const char *queue, *batch;
		unsigned max_queue, max_batch;
	} rows[] = {{"", "", 0, 512}, {"64", "16", 64, 16}, {"64", "", 64, 64}, {"", "0", 0, 512}, {"10", "20", 10, 10}, {"", "2000000000", 0, 8192}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%zu", i);
		fake_env_clear();
		fake_env("OTEL_BSP_MAX_QUEUE_SIZE=%s", rows[i].queue);
		fake_env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE=%s", rows[i].batch);
		parse();
		EQ_INT(s.max_queue, rows[i].max_queue);
		EQ_INT(s.max_batch, rows[i].max_batch);
		settings_free(&s);
	}
}

#define CLASSIC "0123456789abcdef0123456789abcdef"
#define INGEST "hcaik_01hqk4k20cjeh63wca8vva5stw70nft6m5n8wr8f5mjx3762s8269j50wc"
#define CLASSIC_INGEST "hcxic_01hqk4k20cjeh63wca8vva5stw70nft6m5n8wr8f5mjx3762s8269j50w0"

TEST(honeycomb)
{
	static const struct {
		const char *key, *set, *endpoint, *url;
		unsigned headers, warnings;
	} rows[] = {
		{INGEST, "", "", "https://api.honeycomb.io/v1/traces", 1, 0},
		{INGEST, "x", "", "https://api.honeycomb.io/v1/traces", 1, 0},
		{CLASSIC, "x", "http://h/", "http://h/v1/traces", 2, 0},
		{CLASSIC_INGEST, "x", "", "https://api.honeycomb.io/v1/traces", 2, 0},
		{CLASSIC, "", "", NULL, 0, 1},
		{CLASSIC_INGEST, "", "", NULL, 0, 1},
		{INGEST, "", "api.eu1.honeycomb.io", NULL, 0, 1},
		{"a\r\nX: y", "", "", NULL, 0, 1},
		{"", "x", "", "http://localhost:4318/v1/traces", 0, 0}, /* no key: not Honeycomb */
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned n = 0;
		unit_case("%zu", i);
		fake_env_clear();
		fake_env("HONEYCOMB_API_KEY=%s", rows[i].key);
		fake_env("HONEYCOMB_DATASET=%s", rows[i].set);
		fake_env("HONEYCOMB_API_ENDPOINT=%s", rows[i].endpoint);
		parse();
		EQ_INT(s.n_otlp, rows[i].url != NULL);
		EQ_INT(lines(), rows[i].warnings);
		if (rows[i].url) {
			EQ_STR(s.otlp[0].url, rows[i].url);
			while (s.otlp[0].headers && s.otlp[0].headers[n])
				n++;
			EQ_INT(n, rows[i].headers);
		}
		OK(!strstr(fake_text(), CLASSIC) && !strstr(fake_text(), INGEST));
		settings_free(&s);
	}
}

TEST(honeycomb_beside_a_collector)
{
	fake_env("HONEYCOMB_API_KEY=" INGEST);
	fake_env("OTEL_EXPORTER_OTLP_ENDPOINT=http://h");
	fake_env("OTEL_EXPORTER_OTLP_HEADERS=a=1");
	fake_env("OTEL_EXPORTER_OTLP_PROTOCOL=http/json");
	fake_env("OTEL_EXPORTER_OTLP_CERTIFICATE=/mine.pem");
	parse();
	EQ_INT(s.n_otlp, 2);
	EQ_STR(s.otlp[0].label, "otlp");
	EQ_STR(s.otlp[0].headers[0], "a: 1");
	EQ_STR(s.otlp[1].label, "honeycomb");
	EQ_STR(s.otlp[1].headers[0], "x-honeycomb-team: " INGEST);
	OK(!s.otlp[0].headers[1] && !s.otlp[1].headers[1] && !s.otlp[1].ca.path);
	EQ_INT(s.otlp[1].protocol, OTLP_JSON);
	settings_free(&s);
}

TEST(rollbar_settings)
{
	fake_host(64 << 10);
	fake_env("HOME=/home/u");
	settings_parse(&s, &fake.host);
	OK(!s.rollbar.on && s.crash);
	settings_free(&s);
	fake_env("ROLLBAR_ACCESS_TOKEN=0123456789abcdef0123456789abcdef");
	fake_env("REMORA_STATE_DIR=/srv/state//");
	fake_env("REMORA_CRASH=off");
	fake_env("ROLLBAR_CODE_VERSION=3da5415");
	settings_parse(&s, &fake.host);
	OK(s.rollbar.on && !s.crash && !s.rollbar.environment_set);
	EQ_STR(s.rollbar.url, "https://api.rollbar.com/api/1/item/");
	EQ_STR(s.rollbar.environment, "production");
	EQ_STR(s.rollbar.code_version, "3da5415");
	EQ_STR(s.state_dir, "/srv/state");
	EQ_STR(fake_text(), "");
	settings_free(&s);
}

TEST(rollbar_settings_that_are_bad)
{
	static const char *const rows[] = {"ROLLBAR_ACCESS_TOKEN=a b", "ROLLBAR_ENDPOINT=ftp://user:pw@h/x", "REMORA_STATE_DIR=rel",
	                                   "ROLLBAR_CODE_VERSION=0123456789012345678901234567890123456789x",
	                                   "ROLLBAR_ENVIRONMENT=\xff"};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i]);
		fake_env_clear();
		fake_host(64 << 10);
		fake_env("%s", rows[i]);
		fake_env("ROLLBAR_ACCESS_TOKEN=0123456789abcdef0123456789abcdef");
		fake_env("OTEL_TRACES_EXPORTER=none");
		fake_env("XDG_STATE_HOME=/x/state");
		settings_parse(&s, &fake.host);
		OK(s.rollbar.on == (i > 1));
		EQ_STR(s.state_dir, "/x/state/remora");
		OK(strstr(fake_text(), "REMORA") || strstr(fake_text(), "ROLLBAR"));
		OK(!strstr(fake_text(), "pw@") && !strstr(fake_text(), "a b"));
		settings_free(&s);
	}
}

TEST(cloudwatch_settings)
{
	fake_host(64 << 10);
	fake_env("OTEL_TRACES_EXPORTER=none");
	fake_env("AWS_ENDPOINT_URL=http://dynamodb-local:8000");
	settings_parse(&s, &fake.host);
	OK(!s.cloudwatch.on);
	settings_free(&s);
	fake_env("REMORA_CLOUDWATCH_LOG_GROUP=cruddur");
	settings_parse(&s, &fake.host);
	OK(s.cloudwatch.on && !s.cloudwatch.url && !s.cloudwatch.stream && !s.cloudwatch.json && s.cloudwatch.gzip);
	OK(!s.cloudwatch.access && !s.cloudwatch.emf && !s.cloudwatch.level && !s.cloudwatch.rate && !s.cloudwatch.retention_days);
	EQ_INT(s.cloudwatch.delay_ns, 1000000000);
	settings_free(&s);
	fake_env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=http://localhost:5000");
	fake_env("REMORA_CLOUDWATCH_LOG_STREAM=a/b");
	fake_env("REMORA_CLOUDWATCH_LEVEL=Warning");
	fake_env("REMORA_CLOUDWATCH_RATE=7");
	fake_env("REMORA_CLOUDWATCH_RETENTION_DAYS=3653");
	fake_env("REMORA_CLOUDWATCH_ACCESS_LOG=on");
	fake_env("REMORA_CLOUDWATCH_METRICS=off");
	fake_env("REMORA_CLOUDWATCH_COMPRESSION=none");
	fake_env("OTEL_BLRP_SCHEDULE_DELAY=20");
	settings_parse(&s, &fake.host);
	EQ_STR(s.cloudwatch.url, "http://localhost:5000/");
	EQ_STR(s.cloudwatch.stream, "a/b");
	OK(s.cloudwatch.access && !s.cloudwatch.emf && !s.cloudwatch.gzip);
	EQ_INT(s.cloudwatch.level, 4);
	EQ_INT(s.cloudwatch.rate, 7);
	EQ_INT(s.cloudwatch.retention_days, 3653);
	EQ_INT(s.cloudwatch.delay_ns, 20000000);
	EQ_STR(fake_text(), "");
	settings_free(&s);
}

TEST(cloudwatch_settings_that_are_bad)
{
	static const char *const rows[] = {"REMORA_CLOUDWATCH_LOG_GROUP=aws/x", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=http://u:pw@h/",
	                                   "REMORA_CLOUDWATCH_LOG_STREAM=a*b", "REMORA_CLOUDWATCH_RATE=-1",
	                                   "REMORA_CLOUDWATCH_ACCESS_LOG=2", "OTEL_BLRP_SCHEDULE_DELAY=soon"};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i]);
		fake_env_clear();
		fake_host(64 << 10);
		fake_env("%s", rows[i]);
		fake_env("REMORA_CLOUDWATCH_LOG_GROUP=g");
		fake_env("OTEL_TRACES_EXPORTER=none");
		settings_parse(&s, &fake.host);
		OK(s.cloudwatch.on == (i > 1));
		OK(!s.cloudwatch.stream && !s.cloudwatch.rate && !s.cloudwatch.access);
		OK(strstr(fake_text(), "remora: ") && !strstr(fake_text(), "pw"));
		settings_free(&s);
	}
}

TEST(log_lines)
{
	char long_text[3000];
	fake_host(64 << 10);
	memset(long_text, 'x', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = 0;
	log_warn("a\nb\x1b[0m\x7f");
	EQ_STR(fake_text(), "remora: a?b?[0m?\n");
	fake.n = 0;
	log_warn("%s", long_text);
	EQ_INT(strlen(fake_text()), LOG_LINE - 1);
	EQ_INT(fake_text()[LOG_LINE - 2], '\n');
	fake.n = 0;
	*fake.text = 0;
	log_info("no");
	EQ_STR(fake_text(), "");
	fake.host.log_level = LOG_ERROR;
	log_once(3, "no");
	fake.host.log_level = LOG_WARN;
	log_once(3, "yes");
	log_once(3, "no");
	EQ_STR(fake_text(), "remora: yes\n");
}
