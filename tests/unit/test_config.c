/* What the constructor reads of the environment. */
#include "config.h"
#include "unit.h"

static void configure(char **env)
{
	memset(&config, 0, sizeof config);
	config_read(0, NULL, env);
}
#define CONFIGURE(...) configure((char *[]){__VA_ARGS__, "REMORA_INCLUDE=*", NULL})

TEST(globs)
{
	static const struct {
		const char *list, *path;
		bool want;
	} rows[] = {
		{"nginx", "/usr/sbin/nginx", true},
		{"nginx", "/usr/sbin/nginx-debug", false},
		{"nginx*", "/usr/sbin/nginx-debug", true},
		{"*nginx", "/usr/sbin/nginx", true},
		{"*", "/usr/sbin/nginx", true},
		{"/usr/*", "/usr/sbin/nginx", true},
		{"/usr/?bin/nginx", "/usr/sbin/nginx", true},
		{"/usr/bin/*", "/usr/sbin/nginx", false},
		{"a,b:nginx", "/usr/sbin/nginx", true},
		{" a , nginx ", "/usr/sbin/nginx", true},
		{",,::", "/usr/sbin/nginx", false},
		{"", "/usr/sbin/nginx", false},
		{"", "", false},
		{"*", "", true},
		{"?", "a", true},
		{"?", "", false},
		{"*sbin*", "/usr/sbin/nginx", true},
		{"*a*b*c", "/xaxbxc", true},
		{"*a*b*c", "/xaxbxd", false},
		{"python3*", "/usr/bin/python3.11", true},
		{"nginx", "nginx", true},
		{"NGINX", "/usr/sbin/nginx", false},
		{"a b", "/x/a b", true},
		{"***********************b", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s on %s", rows[i].list, rows[i].path);
		EQ_INT(glob_list(rows[i].list, rows[i].path), rows[i].want);
	}
	OK(!glob_list(NULL, "x"));
}

/* The name of a program is what /proc/self/exe says: here, of this test. */
TEST(inert)
{
	static const struct {
		const char *env[3], *why;
	} rows[] = {
		{{NULL}, NULL},
		{{"REMORA_DISABLED=1"}, "REMORA_DISABLED is set"},
		{{"REMORA_DISABLED=true"}, "REMORA_DISABLED is set"},
		{{"REMORA_DISABLED=On"}, "REMORA_DISABLED is set"},
		{{"REMORA_DISABLED=0"}, NULL},
		{{"REMORA_DISABLED=false"}, NULL},
		{{"REMORA_DISABLED="}, NULL},
		{{"OTEL_SDK_DISABLED=true"}, "OTEL_SDK_DISABLED is true"},
		{{"OTEL_SDK_DISABLED=TRUE"}, "OTEL_SDK_DISABLED is true"},
		{{"OTEL_SDK_DISABLED=1"}, NULL}, /* the specification: only "true" */
		{{"OTEL_SDK_DISABLED=yes"}, NULL},
		{{"REMORA_EXCLUDE=test_con*"}, "REMORA_EXCLUDE matches it"},
		{{"REMORA_EXCLUDE=other,*/test_config"}, "REMORA_EXCLUDE matches it"},
		{{"REMORA_EXCLUDE=other"}, NULL},
		{{"REMORA_INCLUDE=test_config"}, NULL},
		{{"REMORA_INCLUDE=other"}, "REMORA_INCLUDE does not match it"},
		{{"REMORA_INCLUDE=*", "REMORA_EXCLUDE=*"}, "REMORA_EXCLUDE matches it"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%zu: %s", i, rows[i].env[0] ? rows[i].env[0] : "nothing");
		configure((char **)(uintptr_t)rows[i].env);
		EQ_STR(config.inert, rows[i].why);
	}
	configure(NULL);
	EQ_STR(config.inert, NULL);
}

TEST(propagators)
{
	static const struct {
		const char *value;
		unsigned want;
	} rows[] = {
		{"tracecontext", PROP_TRACECONTEXT},
		{"tracecontext,baggage", PROP_TRACECONTEXT | PROP_BAGGAGE},
		{" B3 , b3multi,XRAY", PROP_B3 | PROP_B3MULTI | PROP_XRAY},
		{"none", 0},
		{"b3,none", 0},
		{"ottrace,unknown", 0},
		{"a-name-that-is-much-longer-than-any-known-one,b3", PROP_B3},
		{",,b3,,", PROP_B3},
		{"", PROP_TRACECONTEXT | PROP_BAGGAGE},
	};
	char text[256];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].value);
		snprintf(text, sizeof text, "OTEL_PROPAGATORS=%s", rows[i].value);
		CONFIGURE(text);
		EQ_INT(config.propagators, rows[i].want);
		config_read(0, NULL, (char *[]){text, NULL}); /* once more changes nothing */
		EQ_INT(config.propagators, rows[i].want);
	}
	configure((char *[]){NULL});
	EQ_INT(config.propagators, PROP_TRACECONTEXT | PROP_BAGGAGE);
}

TEST(numbers)
{
	static const struct {
		const char *value;
		uint32_t want;
	} rows[] = {
		{"0", 0},
		{"100", 100},
		{"60000", 60000},
		{"60001", 500},
		{"99999999999999999999999", 500},
		{"-1", 500},
		{"1s", 500},
		{"", 500},
		{" 5", 500},
	};
	char text[256];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].value);
		snprintf(text, sizeof text, "REMORA_EXIT_WAIT_MS=%s", rows[i].value);
		CONFIGURE(text);
		EQ_INT(config.exit_wait_ms, rows[i].want);
	}
	CONFIGURE("REMORA_ARENA_BYTES=65536");
	EQ_INT(config.arena_bytes, 65536);
	CONFIGURE("REMORA_ARENA_BYTES=x");
	EQ_INT(config.arena_bytes, 8 << 20);
}

TEST(log_level)
{
	static const struct {
		const char *env;
		int want;
	} rows[] = {
		{"REMORA_LOG=off", LOG_OFF},
		{"REMORA_LOG=ERROR", LOG_ERROR},
		{"REMORA_LOG=warn", LOG_WARN},
		{"REMORA_LOG=info", LOG_INFO},
		{"REMORA_LOG=debug", LOG_DEBUG},
		{"REMORA_LOG=all", LOG_WARN},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		memset(&config, 0, sizeof config);
		config.log_level = LOG_WARN; /* as initialised */
		config_read(0, NULL, (char *[]){(char *)(uintptr_t)rows[i].env, NULL});
		EQ_INT(config.log_level, rows[i].want);
	}
}

TEST(copies)
{
	char a[] = "OTEL_SERVICE_NAME=shop", b[] = "XDG_RUNTIME_DIR=/run/user/1", c[] = "PATH=/bin", d[] = "TRACEPARENTX=no";
	CONFIGURE(a, b, c, d, "OTEL_SERVICE_NAME=second", "", "=", "OTEL_X", "http_proxy=p");
	memset(a, 'x', sizeof a - 1); /* nginx writes its title there */
	memset(b, 'x', sizeof b - 1);
	EQ_STR(config.service_name, "shop");
	EQ_STR(config.xdg_runtime_dir, "/run/user/1");
	EQ_STR(config_get("http_proxy"), "p");
	EQ_STR(config_get("PATH"), NULL);
	EQ_STR(config_get("OTEL_X"), NULL);
	EQ_STR(config_get("TRACEPARENTX"), NULL);
	EQ_STR(config_get("OTEL_SERVICE"), NULL);
	EQ_STR(config.runtime_dir, NULL);
}

TEST(huge_environments)
{
	enum { N = 30000 };
	static char *env[N + 8], text[N][32];
	static char big[600 * 1024], wide[30 * 1024];
	size_t n = 0;
	for (int i = 0; i < N; i++) {
		env[n] = text[i];
		sprintf(env[n++], "SOME_VARIABLE_%d=value", i);
	}
	memset(big, 'b', sizeof big - 1);
	memcpy(big, "OTEL_RESOURCE_ATTRIBUTES=", 25);
	memset(wide, 'w', sizeof wide - 1);
	memcpy(wide, "OTEL_EXPORTER_OTLP_HEADERS=", 27);
	env[n++] = big;
	env[n++] = wide;
	env[n++] = "OTEL_SERVICE_NAME=last";
	configure(env);
	EQ_STR(config.service_name, "last");
	EQ_STR(config.resource_attributes, big + 25);
	EQ_STR(config_get("OTEL_EXPORTER_OTLP_HEADERS"), wide + 27);
	/* More of ours than there is room for. */
	n = 0;
	for (int i = 0; i < 300; i++) {
		env[n] = text[i];
		sprintf(env[n++], "OTEL_%d=v", i);
	}
	env[n] = NULL;
	configure(env);
	EQ_STR(config_get("OTEL_95"), "v");
	EQ_STR(config_get("OTEL_96"), NULL);
	OK(config.env[CONFIG_ENV_MAX] == NULL);
}

static uint64_t hash_of(char **env)
{
	configure(env);
	return config.hash;
}
#define HASH(...) hash_of((char *[]){__VA_ARGS__, NULL})

TEST(who_may_share)
{
	uint64_t h = HASH("OTEL_EXPORTER_OTLP_ENDPOINT=http://a", "OTEL_TRACES_SAMPLER=always_on");
	OK(h == HASH("OTEL_TRACES_SAMPLER=always_on", "PATH=/bin", "OTEL_EXPORTER_OTLP_ENDPOINT=http://a"));
	OK(h == HASH("OTEL_TRACES_SAMPLER=always_on", "OTEL_EXPORTER_OTLP_ENDPOINT=http://a", "OTEL_SERVICE_NAME=x", "TRACEPARENT=y", "REMORA_LOG=debug"));
	OK(h != HASH("OTEL_TRACES_SAMPLER=always_on", "OTEL_EXPORTER_OTLP_ENDPOINT=http://b"));
	OK(h != HASH("OTEL_EXPORTER_OTLP_ENDPOINT=http://a"));
}

TEST(text)
{
	CONFIGURE("PATH=/bin");
	OK(!config.text_fds && !config.lines && !config.errors);
	CONFIGURE("ROLLBAR_ACCESS_TOKEN=x");
	OK(config.text_fds == 1 << 2 && !config.lines && config.errors);
	CONFIGURE("REMORA_CLOUDWATCH_LOG_GROUP=g", "AWS_REGION=r");
	OK(config.text_fds == (1 << 1 | 1 << 2) && config.lines && !config.errors);
	EQ_STR(config_get("AWS_REGION"), "r");
	CONFIGURE("REMORA_CLOUDWATCH_LOG_GROUP=g", "REMORA_CLOUDWATCH_STREAMS=stdout");
	OK(config.text_fds == 1 << 1);
	CONFIGURE("REMORA_CLOUDWATCH_LOG_GROUP=g", "REMORA_CLOUDWATCH_STREAMS=stdout", "REMORA_ERRORS=1");
	OK(config.text_fds == (1 << 1 | 1 << 2));
	CONFIGURE("REMORA_CLOUDWATCH_LOG_GROUP=g", "REMORA_CLOUDWATCH_STREAMS=nonsense");
	OK(config.text_fds == (1 << 1 | 1 << 2));
	CONFIGURE("REMORA_CLOUDWATCH_LOG_GROUP=");
	OK(!config.text_fds && !config.lines);
}

TEST(parent)
{
#define TP "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	CONFIGURE(TP, "TRACESTATE=a=1,,b=2", "BAGGAGE=k=v");
	OK(config.parent.valid && config.parent.flags == 1 && config.parent.trace_id[0] == 0x0a);
	EQ_MEM(config.tracestate.p, config.tracestate.n, "a=1,b=2", 7);
	EQ_MEM(config.baggage.p, config.baggage.n, "k=v", 3);
	CONFIGURE("TRACEPARENT=nonsense", "TRACESTATE=a=1");
	OK(!config.parent.valid && !config.tracestate.n);
	CONFIGURE(TP, "OTEL_PROPAGATORS=b3");
	OK(!config.parent.valid && !config.baggage.n);
	CONFIGURE(TP, "OTEL_PROPAGATORS=none");
	OK(!config.parent.valid);
}

/* X-Ray's rules decide for X-Ray alone where no sampler is set; what it does not want is recorded if anybody else may. */
TEST(x_rays_own_sampling)
{
#define DAEMON "AWS_XRAY_DAEMON_ADDRESS=xray:2000"
	static const struct {
		const char *env[4];
		bool own, all;
	} rows[] = {
		{{"OTEL_SERVICE_NAME=x"}, false, true},
		{{DAEMON}, true, false},
		{{"OTEL_TRACES_EXPORTER=xray"}, true, false},
		{{"OTEL_TRACES_EXPORTER=xray", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"}, true, false},
		{{DAEMON, "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"}, true, true},
		{{DAEMON, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318"}, true, true},
		{{DAEMON, "HONEYCOMB_API_KEY=x"}, true, true},
		{{"OTEL_TRACES_EXPORTER=xray, otlp"}, true, true},
		{{"OTEL_TRACES_EXPORTER=xray,console"}, true, true},
		{{DAEMON, "ROLLBAR_ACCESS_TOKEN=x"}, true, true},
		{{DAEMON, "ROLLBAR_ACCESS_TOKEN_FILE=/x"}, true, true},
		{{DAEMON, "REMORA_CLOUDWATCH_ACCESS_LOG=1"}, true, true},
		{{DAEMON, "OTEL_TRACES_SAMPLER=xray"}, false, true},
		{{DAEMON, "OTEL_TRACES_SAMPLER=always_on"}, false, true},
		{{DAEMON, "OTEL_TRACES_SAMPLER="}, true, false},
		{{DAEMON, "OTEL_TRACES_EXPORTER=none"}, false, true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("row %zu", i);
		CONFIGURE((char *)rows[i].env[0], rows[i].env[1] ? (char *)rows[i].env[1] : "X=");
		EQ_INT(config.xray_own, rows[i].own);
		EQ_INT(config.record_flags, rows[i].all ? TRACE_FLAG_SAMPLED | TRACE_FLAG_XRAY : TRACE_FLAG_XRAY);
	}
}

TEST(arguments)
{
	static char long_one[5000];
	memset(long_one, 'x', sizeof long_one - 1);
	char *argv[] = {"prog", "", "b", NULL};
	memset(&config, 0, sizeof config);
	config_read(3, argv, (char *[]){NULL});
	EQ_MEM(config.args, config.args_len, "prog\0\0b\0", 8);
	memset(&config, 0, sizeof config);
	config_read(2, (char *[]){"prog", long_one, NULL}, (char *[]){NULL});
	EQ_MEM(config.args, config.args_len, "prog\0", 5);
	memset(&config, 0, sizeof config);
	config_read(9, (char *[]){"prog", NULL}, (char *[]){NULL});
	EQ_MEM(config.args, config.args_len, "prog\0", 5);
}
