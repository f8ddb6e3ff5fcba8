/* Rollbar's variables, and what crash reports need beside: REMORA_CRASH and REMORA_STATE_DIR. */
#include "exporters/abi.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include "exporters/utf8.h"
#include "proto/head_field.h"
#include "proto/user_rule.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_MOST 256

bool settings_token_ok(const char *p, size_t n)
{
	if (n == 0 || n > TOKEN_MOST)
		return false;
	for (size_t i = 0; i < n; i++)
		if (p[i] <= 0x20 || p[i] > 0x7e)
			return false;
	return true;
}

/* As long as Rollbar takes it; in characters, and well-formed. */
static bool take(const struct settings *s, const char *name, size_t most, char *out, size_t cap)
{
	const char *v = settings_get(s->host, name);
	size_t n = v ? strlen(v) : 0;
	if (!v || n >= cap || !utf8_valid(v, n) || utf8_prefix(v, n, most) != n) {
		if (v)
			log_once(log_bit(name), "%s=%.40s... is not text of at most %zu characters; ignored", name, v, most);
		return false;
	}
	memcpy(out, v, n + 1);
	return true;
}

static bool is_no(const char *v)
{
	return settings_choice(v, strlen(v), "0|false|no|off") >= 0;
}

static enum capture_ip capture_ip(const struct settings *s)
{
	static const char name[] = "REMORA_ROLLBAR_CAPTURE_IP";
	const char *v = settings_get(s->host, name);
	if (!v)
		return IP_WHOLE;
	switch (settings_choice(v, strlen(v), "1|true|yes|on|anonymize|0|false|no|off")) {
	case 0 ... 3:
		return IP_WHOLE;
	case 4:
		return IP_ANONYMIZED;
	case -1: /* who sets it wants less */
		log_once(log_bit(name), "%s=%.40s is none of 1, anonymize, 0; addresses are not sent", name, v);
	}
	return IP_NONE;
}

/* The shim has parsed them as well, and is silent. */
static void header_names(const struct settings *s)
{
	static const char name[] = "REMORA_CAPTURE_HEADERS";
	struct header_names l;
	struct slice bad = {NULL, 0};
	if (!header_names_parse(&l, settings_get(s->host, name), &bad))
		log_once(log_bit(name), "%s: %.*s is left out: it is no name, carries a credential, or is more than the %dth", name,
		         (int)(bad.n < 80 ? bad.n : 80), bad.p, HEADERS_MOST);
}

static void user_rules(const struct settings *s)
{
	static const char name[] = "REMORA_USER";
	struct user_rules r;
	struct slice bad = {NULL, 0};
	if (!user_rules_parse(&r, settings_get(s->host, name), &bad))
		log_once(log_bit(name),
		         "%s: %.*s is not one of at most %d of header:NAME, cookie:NAME, query:NAME, baggage:NAME, path:/before/{}; ignored",
		         name, (int)(bad.n < 80 ? bad.n : 80), bad.p, USER_RULES);
}

static void rollbar(struct settings *s)
{
	static const char endpoint[] = "ROLLBAR_ENDPOINT";
	struct rollbar_settings *r = &s->rollbar;
	const char *url = settings_get(s->host, endpoint);
	r->token = settings_get(s->host, "ROLLBAR_ACCESS_TOKEN");
	r->token_file = settings_get(s->host, "ROLLBAR_ACCESS_TOKEN_FILE");
	if (r->token && !settings_token_ok(r->token, strlen(r->token))) {
		log_once(log_bit("ROLLBAR_ACCESS_TOKEN"), "ROLLBAR_ACCESS_TOKEN holds a character that cannot be sent; ignored");
		r->token = NULL;
	}
	r->environment_set = take(s, "ROLLBAR_ENVIRONMENT", 255, r->environment, sizeof r->environment);
	if (!r->environment_set)
		strcpy(r->environment, "production");
	take(s, "ROLLBAR_CODE_VERSION", 40, r->code_version, sizeof r->code_version);
	take(s, "ROLLBAR_BRANCH", 255, r->branch, sizeof r->branch);
	r->capture_ip = capture_ip(s);
	const char *failed = settings_get(s->host, "REMORA_ROLLBAR_5XX");
	r->failed_requests = failed && !is_no(failed);
	r->url = strdup(url ? url : "https://api.rollbar.com/api/1/item/");
	r->shown = r->url ? settings_url_shown(r->url) : NULL;
	if (!r->shown || !(r->token || r->token_file))
		return;
	r->on = settings_url_ok(r->url);
	if (!r->on)
		log_once(log_bit(endpoint), "%s=%.200s is not an http:// or https:// URL; nothing is sent to Rollbar", endpoint,
		         r->shown);
}

static char *join(const char *dir, const char *rest)
{
	char *out = NULL;
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/')
		n--;
	return asprintf(&out, "%.*s%s", (int)n, dir, rest) < 0 ? NULL : out;
}

/* Relative paths are refused: the host changes its directory when it likes. */
static char *state_dir(const struct settings *s)
{
	static const char name[] = "REMORA_STATE_DIR";
	const char *v = settings_get(s->host, name);
	if (v && *v == '/')
		return join(v, "");
	if (v)
		log_once(log_bit(name), "%s=%.200s is no absolute path; the default is used", name, v);
	v = settings_get(s->host, "XDG_STATE_HOME");
	if (v && *v == '/')
		return join(v, "/remora");
	if (geteuid() == 0)
		return strdup("/var/lib/remora");
	v = settings_get(s->host, "HOME");
	return v && *v == '/' ? join(v, "/.local/state/remora") : NULL;
}

void settings_rollbar(struct settings *s)
{
	const char *crash = settings_get(s->host, "REMORA_CRASH");
	s->crash = !crash || !is_no(crash);
	const char *source = settings_get(s->host, "REMORA_CRASH_SOURCE");
	s->crash_source = source && *source && !is_no(source);
	s->state_dir = state_dir(s);
	rollbar(s);
	header_names(s);
	user_rules(s);
}

void settings_rollbar_free(struct settings *s)
{
	free(s->rollbar.url);
	free(s->rollbar.shown);
	free(s->state_dir);
}
