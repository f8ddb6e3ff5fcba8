/* What must not leave the machine. Errs towards too much. */
#include "exporters/rollbar/rollbar.h"
#include "proto/redact.h"
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define MASK "********"
#define URL_MOST 8192

/* Without '-' and '_', in lower case: pyrollbar's scrub_fields, and what it leaves in (cookies, keys). */
static const char *const secrets[] = {
	"pw",
	"passwd",
	"password",
	"secret",
	"confirmpassword",
	"passwordconfirmation",
	"accesstoken",
	"auth",
	"authentication",
	"authorization",
	"cookie",
	"setcookie",
	"xapikey",
	"apikey",
	"token",
	"privatekey",
	"secretkey",
	"accesskey",
	"sessionid",
	"csrftoken",
	"jwt",
	"signature",
	"credentials",
};

bool rollbar_is_secret(const char *key, size_t n)
{
	char plain[64];
	size_t len = 0;
	/* The end counts: of a long name the last characters. */
	for (size_t i = n > 128 ? n - 128 : 0; i < n; i++) {
		char c = key[i];
		if (c == '-' || c == '_')
			continue;
		if (len == sizeof plain) {
			memmove(plain, plain + 1, len - 1);
			len--;
		}
		plain[len++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
	}
	for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
		size_t k = strlen(secrets[i]);
		if (len >= k && memcmp(plain + len - k, secrets[i], k) == 0)
			return true;
	}
	return false;
}

static void mask(cJSON *value)
{
	if (cJSON_IsString(value)) {
		cJSON_SetValuestring(value, MASK);
	} else if (cJSON_IsNumber(value)) {
		value->type = (value->type & ~0xff) | cJSON_NULL;
	} else {
		for (cJSON *c = value->child; c; c = c->next)
			mask(c);
	}
}

static void redact_string(cJSON *value, size_t (*how)(struct slice, char *, size_t))
{
	static const size_t most = URL_MOST;
	size_t n = strlen(value->valuestring);
	char *out = malloc(most + 1);
	if (!out) {
		mask(value);
		return;
	}
	n = how((struct slice){value->valuestring, (uint32_t)n}, out, most);
	/* A cut may have left a part of a character. */
	while (n == most && n && ((unsigned char)out[n - 1] & 0x80))
		n--;
	out[n] = 0;
	if (strcmp(out, value->valuestring) != 0)
		cJSON_SetValuestring(value, out);
	free(out);
}

void rollbar_scrub(struct cJSON *tree)
{
	for (cJSON *c = tree ? tree->child : NULL; c; c = c->next) {
		if (c->string && rollbar_is_secret(c->string, strlen(c->string)))
			mask(c);
		else if (c->string && cJSON_IsString(c) && strcmp(c->string, "url") == 0)
			redact_string(c, redact_url);
		else if (c->string && cJSON_IsString(c) && strcmp(c->string, "query_string") == 0)
			redact_string(c, redact_query);
		else
			rollbar_scrub(c);
	}
}
