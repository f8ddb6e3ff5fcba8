/* Sampling rules from JSON. */
#include "exporters/xray/xray_rules_json.h"
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const cJSON *member(const cJSON *o, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(o, key);
}

/* "" is no pattern; absent: `otherwise`. False: neither text nor absent, or too long. */
static bool text(const cJSON *o, const char *key, const char *otherwise, char *out, size_t cap)
{
	const cJSON *j = member(o, key);
	const char *s = j ? cJSON_GetStringValue(j) : otherwise;
	size_t n = s ? strlen(s) : 0;
	if (n == 0 || n >= cap)
		return false;
	memcpy(out, s, n + 1);
	return true;
}

static bool number(const cJSON *o, const char *key, double most, double *out)
{
	const cJSON *j = member(o, key);
	if (!cJSON_IsNumber(j) || !(j->valuedouble >= 0) || j->valuedouble > most)
		return false;
	*out = j->valuedouble;
	return true;
}

static uint64_t parts(double rate)
{
	return (uint64_t)(rate * (double)XRAY_RATE_ONE);
}

/* In order of priority, then name; of too many the last go. */
static void insert(struct xray_rule_set *s, const struct xray_rule *r, uint32_t priority)
{
	uint32_t at = 0;
	while (at < s->n && (s->priority[at] < priority || (s->priority[at] == priority && strcmp(s->rule[at].name, r->name) <= 0)))
		at++;
	s->skipped += s->n == XRAY_RULES;
	if (at == XRAY_RULES)
		return;
	uint32_t last = s->n < XRAY_RULES ? s->n++ : XRAY_RULES - 1;
	memmove(&s->rule[at + 1], &s->rule[at], (last - at) * sizeof s->rule[0]);
	memmove(&s->priority[at + 1], &s->priority[at], (last - at) * sizeof s->priority[0]);
	s->rule[at] = *r;
	s->priority[at] = priority;
}

/* One of the API's rules. False: not a fit one. */
static bool api_rule(struct xray_rule_set *s, const cJSON *j, bool central)
{
	struct xray_rule r = {0};
	const cJSON *version = member(j, "Version"), *arn = member(j, "ResourceARN"), *attributes = member(j, "Attributes");
	double priority, rate, size;
	if (!text(j, "RuleName", NULL, r.name, sizeof r.name) || !text(j, "ServiceName", "*", r.service, sizeof r.service) ||
	    !text(j, "ServiceType", "*", r.type, sizeof r.type) || !text(j, "Host", "*", r.host, sizeof r.host) ||
	    !text(j, "HTTPMethod", "*", r.method, sizeof r.method) || !text(j, "URLPath", "*", r.path, sizeof r.path) ||
	    !number(j, "Priority", 10000, &priority) || !number(j, "FixedRate", 1, &rate) || !number(j, "ReservoirSize", INT32_MAX, &size))
		return false;
	/* What a later version, or a rule for one resource, means is not known. */
	if ((version && (!cJSON_IsNumber(version) || version->valuedouble != 1)) || (cJSON_IsString(arn) && strcmp(arn->valuestring, "*") != 0) ||
	    (cJSON_IsObject(attributes) && attributes->child)) {
		s->skipped++;
		return true;
	}
	r.rate = parts(rate);
	r.reservoir = (uint32_t)size;
	r.central = central;
	insert(s, &r, (uint32_t)priority);
	return true;
}

bool xray_rules_central(struct xray_rule_set *s, const char *json, size_t n, char **next, const char **why)
{
	cJSON *j = cJSON_ParseWithLength(json, n);
	const cJSON *list = member(j, "SamplingRuleRecords"), *token = member(j, "NextToken"), *item;
	*next = NULL;
	*why = cJSON_IsArray(list) ? NULL : "it has no SamplingRuleRecords";
	if (*why)
		list = NULL;
	cJSON_ArrayForEach(item, list)
	{
		if (!api_rule(s, member(item, "SamplingRule"), true))
			s->skipped++;
	}
	if (!*why && cJSON_IsString(token) && *token->valuestring)
		*next = strdup(token->valuestring);
	cJSON_Delete(j);
	return !*why;
}

/* ---- local files ---- */

static bool sdk_rule(struct xray_rule_set *s, const cJSON *j, bool v1, bool is_default, uint32_t priority)
{
	struct xray_rule r = {0};
	double target, rate;
	const char *host = v1 ? "service_name" : "host";
	bool fit = is_default ? !member(j, host) && !member(j, "http_method") && !member(j, "url_path") && text(j, "", "*", r.host, sizeof r.host) &&
	                            text(j, "", "*", r.method, sizeof r.method) && text(j, "", "*", r.path, sizeof r.path)
	                      : text(j, host, NULL, r.host, sizeof r.host) && text(j, "http_method", NULL, r.method, sizeof r.method) &&
	                            text(j, "url_path", NULL, r.path, sizeof r.path);
	if (!fit || !number(j, "fixed_target", INT32_MAX, &target) || !number(j, "rate", 1, &rate))
		return false;
	r.service[0] = r.type[0] = '*';
	strcpy(r.name, "local");
	r.rate = parts(rate);
	r.reservoir = (uint32_t)target;
	insert(s, &r, priority);
	return true;
}

static const char *sdk_file(struct xray_rule_set *s, const cJSON *j)
{
	double version;
	const cJSON *rules = member(j, "rules"), *otherwise = member(j, "default"), *item;
	uint32_t priority = 0;
	if (!number(j, "version", 2, &version) || (version != 1 && version != 2))
		return "version is not 1 or 2";
	if (!otherwise)
		return "it has no default rule";
	cJSON_ArrayForEach(item, rules)
	{
		if (!sdk_rule(s, item, version == 1, false, priority++))
			return "a rule needs host (service_name in version 1), http_method, url_path, fixed_target and a rate from 0 to 1";
	}
	return sdk_rule(s, otherwise, version == 1, true, UINT32_MAX) ? NULL : "default needs fixed_target and a rate from 0 to 1, and nothing else";
}

bool xray_rules_local(struct xray_rule_set *s, const char *json, size_t n, const char **why)
{
	cJSON *j = cJSON_ParseWithLength(json, n);
	static const char unfit[] = "a SamplingRule needs RuleName, Priority, FixedRate and ReservoirSize";
	const cJSON *item;
	*s = (struct xray_rule_set){0};
	*why = NULL;
	if (!j)
		*why = "it is no JSON";
	else if (member(j, "SamplingRule") || member(j, "RuleName"))
		*why = api_rule(s, member(j, "SamplingRule") ? member(j, "SamplingRule") : j, false) ? NULL : unfit;
	else if (cJSON_IsArray(j))
		cJSON_ArrayForEach(item, j)
		{
			if (!api_rule(s, member(item, "SamplingRule") ? member(item, "SamplingRule") : item, false))
				*why = unfit;
		}
	else
		*why = sdk_file(s, j);
	cJSON_Delete(j);
	return !*why;
}

/* ---- targets ---- */

int xray_targets(struct xray_target *out, int cap, const char *json, size_t n, uint64_t *modified)
{
	cJSON *j = cJSON_ParseWithLength(json, n);
	const cJSON *list = member(j, "SamplingTargetDocuments"), *item;
	double v;
	int k = cJSON_IsArray(list) ? 0 : -1;
	*modified = k == 0 && number(j, "LastRuleModification", 1e12, &v) ? (uint64_t)v : 0;
	if (k)
		list = NULL;
	cJSON_ArrayForEach(item, list)
	{
		struct xray_target t = {0};
		if (k == cap || !text(item, "RuleName", NULL, t.name, sizeof t.name))
			continue;
		if ((t.has_rate = number(item, "FixedRate", 1, &v)))
			t.rate = parts(v);
		if ((t.has_quota = number(item, "ReservoirQuota", INT32_MAX, &v)))
			t.quota = (uint32_t)v;
		if ((t.has_until = number(item, "ReservoirQuotaTTL", 1e12, &v)))
			t.until = (uint64_t)v;
		if (number(item, "Interval", 86400, &v))
			t.interval = (uint32_t)v;
		out[k++] = t;
	}
	cJSON_Delete(j);
	return k;
}
