/* Variables of any content, one a line. What comes out must be fit to be sent, and secrets must not be logged. */
#include "exporters/abi.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include "fuzz.h"

static bool on_stderr(const char *text, size_t n)
{
	HOLDS(n <= LOG_LINE && text[n - 1] == '\n');
	for (size_t i = 0; i + 1 < n; i++)
		HOLDS((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
	return true;
}

static void check_header(const char *h)
{
	HOLDS(strpbrk(h, ":;") && h[0] != ':' && h[0] != ';');
	for (; *h; h++)
		HOLDS((unsigned char)*h >= 0x20 || *h == '\t');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS",
		"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_TRACES_EXPORTER", "OTEL_PROPAGATORS",
		"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "HONEYCOMB_API_KEY", "HONEYCOMB_DATASET", "HONEYCOMB_API_ENDPOINT",
		"OTEL_EXPORTER_OTLP_CERTIFICATE", "REMORA_CLOUDWATCH_LOG_GROUP", "REMORA_CLOUDWATCH_LOG_STREAM",
		"REMORA_CLOUDWATCH_LEVEL", "REMORA_CLOUDWATCH_RETENTION_DAYS", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
		"REMORA_XRAY_PROTOCOL", "AWS_ENDPOINT_URL_XRAY"};
	enum { N = sizeof names / sizeof *names };
	char *env[N + 1] = {0};
	size_t n = 0, at = 0;
	if (size > 1 << 14 || memchr(data, 0, size))
		return 0;
	/* A line is the value of the variable that its first character chooses. */
	while (at < size && n < N) {
		const uint8_t *nl = memchr(data + at, '\n', size - at);
		size_t len = nl ? (size_t)(nl - data) - at : size - at;
		if (len) {
			const char *name = names[data[at] % N];
			env[n] = malloc(strlen(name) + 1 + len);
			sprintf(env[n++], "%s=%.*s", name, (int)(len - 1), (const char *)data + at + 1);
		}
		at += len + 1;
	}
	static struct arena arena;
	arena.warned = 0;
	struct export_host host = {.env = (const char *const *)env, .arena = &arena, .log_level = LOG_DEBUG, .stderr_write = on_stderr};
	struct settings s;
	log_init(&host);
	settings_parse(&s, &host);
	HOLDS(s.n_otlp <= 3 && s.max_batch >= 1 && (!s.max_queue || s.max_batch <= s.max_queue));
	for (unsigned i = 0; i < s.n_otlp; i++) {
		const struct otlp_settings *o = &s.otlp[i];
		HOLDS(o->url ? settings_url_ok(o->url) : o->aws && (!o->aws_url || settings_url_ok(o->aws_url)));
		HOLDS(!strpbrk(o->shown, "?#"));
		for (char **h = o->headers; h && *h; h++)
			check_header(*h);
	}
	settings_free(&s);
	for (size_t i = 0; i < n; i++)
		free(env[i]);
	return 0;
}
