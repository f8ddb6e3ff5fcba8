/* Sampling rules as X-Ray's API and its local files have them. Input is any bytes (fuzzed). exporter thread. */
#ifndef REMORA_XRAY_RULES_JSON_H
#define REMORA_XRAY_RULES_JSON_H

#include "span/xray_rules.h"
#include <stddef.h>

struct xray_rule_set {
	uint32_t n, skipped; /* skipped: for other services, of another version, or too many */
	uint32_t priority[XRAY_RULES];
	struct xray_rule rule[XRAY_RULES]; /* by priority, then name; counters zero */
};

/*
 * GetSamplingRules' answer, added to the set; *next: its NextToken, for free(), or NULL. False: it is none, *why says so.
 */
bool xray_rules_central(struct xray_rule_set *s, const char *json, size_t n, char **next, const char **why);
/*
 * A local file: version 1 or 2 of the SDKs' format, or what `aws xray create-sampling-rule --cli-input-json` takes (one,
 * or a list of them). False: *why says what is wrong.
 */
bool xray_rules_local(struct xray_rule_set *s, const char *json, size_t n, const char **why);

struct xray_target {
	char name[36];
	bool has_rate, has_quota, has_until;
	uint64_t rate, until;
	uint32_t quota, interval; /* interval 0: not told */
};
/* SamplingTargets' answer; how many (at most `cap`), -1: it is none. *modified: when rules changed last (seconds). */
int xray_targets(struct xray_target *out, int cap, const char *json, size_t n, uint64_t *modified);

#endif
