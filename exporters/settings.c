/* The variables: what all of them have in common, and those of the schedule, the limits and the sampler. */
#include "exporters/settings.h"
#include "exporters/abi.h"
#include "exporters/log.h"
#include <stdlib.h>
#include <strings.h>

#define MS UINT64_C(1000000)
#define COUNT_LIMIT INT32_MAX
#define RETRY_NS (300 * 1000 * MS) /* the SDKs' 30 s would drop what a collector's restart takes */
#define BATCH_MOST 8192            /* more does not fit a request anyway */

const char *settings_get(const struct export_host *h, const char *name)
{
	size_t n = strlen(name);
	for (const char *const *e = h->env; e && *e; e++)
		if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
			return (*e)[n + 1] ? *e + n + 1 : NULL;
	return NULL;
}

int settings_choice(const char *value, size_t n, const char *names)
{
	for (int i = 0;; i++) {
		size_t len = strcspn(names, "|");
		if (len == n && strncasecmp(names, value, n) == 0)
			return i;
		if (!names[len])
			return -1;
		names += len + 1;
	}
}

bool settings_number(const char *value, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;
	const char *p = value;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');
		if (n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	if (p == value || *p)
		return false;
	*out = n;
	return true;
}

/* Values of these variables are no secrets; still they are cut, a line is short. */
static uint64_t number(const struct settings *s, const char *name, uint64_t max, uint64_t fallback)
{
	const char *v = settings_get(s->host, name);
	uint64_t n;
	if (!v)
		return fallback;
	if (settings_number(v, max, &n))
		return n;
	log_once(log_bit(name), "%s=%.40s is not a whole number from 0 to %llu; ignored", name, v, (unsigned long long)max);
	return fallback;
}

static uint64_t duration(const struct settings *s, const char *name, uint64_t fallback_ms)
{
	return number(s, name, COUNT_LIMIT, fallback_ms) * MS;
}

static uint32_t limit(const struct settings *s, const char *specific, const char *general, uint32_t fallback)
{
	uint32_t n = (uint32_t)number(s, general, COUNT_LIMIT, fallback);
	return (uint32_t)number(s, specific, COUNT_LIMIT, n);
}

static void schedule(struct settings *s)
{
	s->schedule_delay_ns = duration(s, "OTEL_BSP_SCHEDULE_DELAY", 5000);
	s->export_timeout_ns = RETRY_NS;
	if (settings_get(s->host, "OTEL_BSP_EXPORT_TIMEOUT"))
		s->export_timeout_ns = duration(s, "OTEL_BSP_EXPORT_TIMEOUT", RETRY_NS / MS);
	s->max_queue = (uint32_t)number(s, "OTEL_BSP_MAX_QUEUE_SIZE", COUNT_LIMIT, 0);
	s->max_batch = (uint32_t)number(s, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", COUNT_LIMIT, 512);
	if (s->max_batch == 0)
		s->max_batch = 512;
	if (s->max_queue && s->max_batch > s->max_queue)
		s->max_batch = s->max_queue;
	if (s->max_batch > BATCH_MOST)
		s->max_batch = BATCH_MOST;
}

/* The next member of a comma list, spaces trimmed; false at the end. Empty members are skipped. */
static bool member(const char **list, const char **p, size_t *n)
{
	while (**list) {
		const char *from = *list, *e = from + strcspn(from, ",");
		*list = *e ? e + 1 : e;
		while (from < e && (*from == ' ' || *from == '\t'))
			from++;
		while (e > from && (e[-1] == ' ' || e[-1] == '\t'))
			e--;
		if (e > from) {
			*p = from;
			*n = (size_t)(e - from);
			return true;
		}
	}
	return false;
}

static int shown(size_t n)
{
	return n < 40 ? (int)n : 40;
}

/* Propagators and samplers are applied by the shim; here only what is wrong with them is told. */
static void propagators(const struct settings *s)
{
	static const char name[] = "OTEL_PROPAGATORS";
	const char *list = settings_get(s->host, name), *p;
	size_t n;
	while (list && member(&list, &p, &n))
		if (settings_choice(p, n, "tracecontext|baggage|b3|b3multi|xray|none") < 0)
			log_once(log_bit(name), "%s: %.*s is not one of tracecontext, baggage, b3, b3multi, xray, none; ignored",
			         name, shown(n), p);
}

/* A decimal number from 0 to 1. Not strtod: the host's locale may want a comma. */
static bool is_ratio(const char *p)
{
	double v = 0, unit = 1;
	bool digits = false;
	for (; *p >= '0' && *p <= '9' && v < 2; p++, digits = true)
		v = v * 10 + (*p - '0');
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9'; p++, digits = true)
			v += (unit /= 10) * (*p - '0');
	if (digits && (*p == 'e' || *p == 'E') && p[1] == '-' && p[2] >= '0' && p[2] <= '9')
		for (p += 2; *p >= '0' && *p <= '9'; p++) /* makes it smaller: 0 to 1 stays so */
			;
	return digits && !*p && v <= 1;
}

static void sampler(struct settings *s)
{
	static const char name[] = "OTEL_TRACES_SAMPLER", arg_name[] = "OTEL_TRACES_SAMPLER_ARG";
	const char *v = settings_get(s->host, name), *arg = settings_get(s->host, arg_name);
	if (!v && (s->xray.on || s->xray.direct))
		settings_xray_sampler(s, NULL);
	if (!v)
		return;
	int k = settings_choice(v, strlen(v), "traceidratio|parentbased_traceidratio|always_on|always_off|"
	                                      "parentbased_always_on|parentbased_always_off|xray");
	if (k < 0)
		log_once(log_bit(name), "%s=%.40s is not known here; using parentbased_always_on", name, v);
	else if (k == 6)
		settings_xray_sampler(s, arg);
	else if (k < 2 && arg && !is_ratio(arg))
		log_once(log_bit(arg_name), "%s=%.40s is not a number from 0 to 1; using 1", arg_name, arg);
}

/* Which destinations: the list if there is one, else what has an address, else a terminal, else localhost. */
static void exporters(struct settings *s)
{
	static const char name[] = "OTEL_TRACES_EXPORTER";
	static const char *const addresses[] = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
	                                        "HONEYCOMB_API_KEY"};
	const char *list = settings_get(s->host, name), *p;
	bool otlp = false, xray = false, none = false;
	size_t n;
	if (!list) {
		xray = settings_xray_wanted(s);
		for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
			otlp |= settings_get(s->host, addresses[i]) != NULL;
		s->console = !otlp && !xray && s->host->stderr_tty;
		otlp |= !s->console && !xray;
	}
	while (list && member(&list, &p, &n))
		switch (settings_choice(p, n, "otlp|console|none|xray")) {
		case 0:
			otlp = true;
			break;
		case 1:
			s->console = true;
			break;
		case 2:
			none = true;
			break;
		case 3:
			xray = true;
			break;
		default:
			log_once(log_bit(name), "%s: %.*s is not one of otlp, console, xray, none; ignored", name, shown(n), p);
		}
	if (!none)
		settings_xray(s, xray);
	if (otlp)
		settings_otlp(s);
	if (s->xray.direct)
		settings_otlp_xray(s);
}

void settings_parse(struct settings *s, const struct export_host *host)
{
	*s = (struct settings){.host = host};
	if (settings_get(host, "OTEL_CONFIG_FILE"))
		log_once(log_bit("OTEL_CONFIG_FILE"), "OTEL_CONFIG_FILE is not supported; the other OTEL_* variables are in force");
	schedule(s);
	s->attr_count_limit = limit(s, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT", 128);
	s->attr_length_limit =
		limit(s, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", UINT32_MAX);
	propagators(s);
	exporters(s);
	sampler(s);
	settings_rollbar(s);
	settings_cloudwatch(s);
}

void settings_free(struct settings *s)
{
	for (unsigned i = 0; i < s->n_otlp; i++)
		settings_otlp_free(&s->otlp[i]);
	settings_rollbar_free(s);
	settings_cloudwatch_free(s);
	*s = (struct settings){0};
}
