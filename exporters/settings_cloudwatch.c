/* REMORA_CLOUDWATCH_*, and where CloudWatch Logs is. */
#include "exporters/abi.h"
#include "exporters/cloudwatch/line_text.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include <stdlib.h>
#include <string.h>

static const char *get(const struct settings *s, const char *name)
{
	return settings_get(s->host, name);
}

static bool is_group(const char *p)
{
	size_t n = strlen(p);
	return n <= 512 && strncmp(p, "aws/", 4) != 0 &&
	       strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/.#") == n;
}

static bool is_stream(const char *p)
{
	for (const char *c = p; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == ':' || *c == '*')
			return false;
	return strlen(p) <= 512;
}

static int choice(const struct settings *s, const char *name, const char *names, int fallback)
{
	const char *v = get(s, name);
	int k = v ? settings_choice(v, strlen(v), names) : fallback;
	if (k >= 0)
		return k;
	log_once(log_bit(name), "%s=%.40s is not one of %s; ignored", name, v, names);
	return fallback;
}

static bool is_on(const struct settings *s, const char *name)
{
	int k = choice(s, name, "0|1|true|yes|on|false|no|off", 0);
	return k >= 1 && k <= 4;
}

static uint32_t number(const struct settings *s, const char *name)
{
	const char *v = get(s, name);
	uint64_t n = 0;
	if (v && !settings_number(v, INT32_MAX, &n))
		log_once(log_bit(name), "%s=%.40s is not a whole number; ignored", name, v);
	return (uint32_t)n;
}

static uint32_t retention(const struct settings *s)
{
	static const uint16_t days[] = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180,
	                                365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653};
	static const char name[] = "REMORA_CLOUDWATCH_RETENTION_DAYS";
	uint32_t n = number(s, name);
	for (size_t i = 0; i < sizeof days / sizeof *days; i++)
		if (days[i] == n)
			return n;
	if (n)
		log_once(log_bit(name), "%s=%u is not one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, "
		                        "1827, 2192, 2557, 2922, 3288, 3653; ignored",
		         name, n);
	return 0;
}

static void streams(const struct settings *s)
{
	static const char name[] = "REMORA_CLOUDWATCH_STREAMS";
	const char *v = get(s, name);
	if (v && !strstr(v, "stdout") && !strstr(v, "stderr"))
		log_once(log_bit(name), "%s=%.40s names neither stdout nor stderr; both are sent", name, v);
}

/* AWS_ENDPOINT_URL is the program's: a local DynamoDB, say. */
static bool endpoint(const struct settings *s, struct cloudwatch_settings *c)
{
	static const char name[] = "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS";
	const char *v = get(s, name);
	if (!v)
		return true;
	size_t n = strlen(v);
	c->url = malloc(n + 2);
	c->shown = settings_url_shown(v);
	if (!c->url || !c->shown)
		return false;
	memcpy(c->url, v, n + 1);
	if (!settings_url_ok(v) || strpbrk(v, "?#@")) {
		log_once(log_bit(name), "%s=%.200s is not an http:// or https:// URL; no lines are sent", name, c->shown);
		return false;
	}
	if (v[n - 1] != '/')
		strcpy(c->url + n, "/");
	return true;
}

void settings_cloudwatch(struct settings *s)
{
	struct cloudwatch_settings *c = &s->cloudwatch;
	static const char group[] = "REMORA_CLOUDWATCH_LOG_GROUP", stream[] = "REMORA_CLOUDWATCH_LOG_STREAM",
					  level[] = "REMORA_CLOUDWATCH_LEVEL", delay[] = "OTEL_BLRP_SCHEDULE_DELAY";
	const char *v = get(s, level);
	c->group = get(s, group);
	if (!c->group)
		return;
	if (!is_group(c->group)) {
		log_once(log_bit(group), "%s=%.200s is no name of a log group (letters, digits, _-/.#, not aws/...); no lines are sent",
		         group, c->group);
		return;
	}
	c->stream = get(s, stream);
	if (c->stream && !is_stream(c->stream)) {
		log_once(log_bit(stream), "%s=%.200s holds ':', '*' or is too long; the default is used", stream, c->stream);
		c->stream = NULL;
	}
	streams(s);
	c->json = choice(s, "REMORA_CLOUDWATCH_FORMAT", "text|json", 0) == 1;
	c->gzip = choice(s, "REMORA_CLOUDWATCH_COMPRESSION", "none|gzip", 1) == 1;
	c->access = is_on(s, "REMORA_CLOUDWATCH_ACCESS_LOG");
	c->emf = is_on(s, "REMORA_CLOUDWATCH_METRICS");
	c->rate = number(s, "REMORA_CLOUDWATCH_RATE");
	c->retention_days = retention(s);
	if (v && !(c->level = level_named(v, strlen(v))))
		log_once(log_bit(level), "%s=%.40s is no level (trace, debug, info, warn, error, fatal); ignored", level, v);
	v = get(s, delay);
	uint64_t ms = 1000;
	if (v && !settings_number(v, INT32_MAX, &ms))
		log_once(log_bit(delay), "%s=%.40s is not a whole number of milliseconds; using 1000", delay, v);
	c->delay_ns = ms * 1000000;
	c->on = endpoint(s, c);
}

void settings_cloudwatch_free(struct settings *s)
{
	free(s->cloudwatch.url);
	free(s->cloudwatch.shown);
}
