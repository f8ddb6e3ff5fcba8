/*
 * Central sampling: rules and quotas by way of the daemon's TCP port (it signs), into the arena, where host threads of the
 * whole tree match. GetSamplingRules every five minutes and when the answer to the targets says that they changed;
 * SamplingTargets every ten seconds while there is something to report. Until there are central rules, and when they are
 * older than an hour, a local file decides, else one a second and 5 %.
 */
#include "base/clock.h"
#include "base/sys.h"
#include "exporters/aws/service.h"
#include "exporters/http.h"
#include "exporters/log.h"
#include "exporters/resource_detect.h"
#include "exporters/xray/xray.h"
#include "exporters/xray/xray_rules_json.h"
#include "exporters/xray/xray_sampling.h"
#include "exporters/xray/xray_json.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND UINT64_C(1000000000)
#define TARGETS_EVERY (10 * SECOND)
#define GOOD_FOR 3600       /* seconds, of central rules */
#define AGAIN (10 * SECOND) /* after a failure */
#define FILE_MOST (64 * 1024)
#define REPORT_MOST 25 /* rules in one report, as the API takes them */

struct xray_sampling {
	struct xray_rules *rules; /* in the arena */
	struct http *http;
	char base[300];                          /* "http://host:port" */
	uint64_t every_ns, rules_ns, targets_ns; /* when they are due */
	uint64_t asked_s, rules_s;               /* when they were asked for, and those in force; seconds, 0 = not yet */
	bool local, dynamic;                     /* a file's rules are in force; segments may be named after hosts */
	struct xray_rule_set set;                /* being put together */
	unsigned pages;
	/* The request under way. */
	struct http_call *call;
	struct request request;
	char url[320];
	struct aws_service *aws; /* X-Ray itself, signed; NULL: the daemon signs */
	const char *headers[1 + AWS_LINES];
	char *next; /* token of the next page */
	bool is_targets;
	uint32_t reported[XRAY_RULES][3]; /* by rule of the table in force: what the report took from its counters */
	uint32_t interval[XRAY_RULES];    /* seconds */
	uint64_t due_ns[XRAY_RULES];      /* of the rule's next report */
};

static uint64_t seconds(void)
{
	return real_ns() / SECOND;
}

/* ---- the table ---- */

static struct xray_slot *table(struct xray_sampling *s, uint32_t *n)
{
	uint32_t current = atomic_load(&s->rules->current);
	*n = 0;
	if (current != 1 && current != 2)
		return NULL;
	*n = atomic_load(&s->rules->n[current - 1]);
	if (*n > XRAY_RULES)
		*n = XRAY_RULES;
	return s->rules->table[current - 1];
}

/* What is known of a rule by its name stays with it. */
static void carry_over(struct xray_rule *to, const struct xray_slot *from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct xray_rule *f = &from[i].rule;
		if (!atomic_load(&f->central) || strncmp(f->name, to->name, sizeof to->name) != 0)
			continue;
		atomic_store(&to->quota, atomic_load(&f->quota));
		atomic_store(&to->quota_until, atomic_load(&f->quota_until));
		atomic_store(&to->taken, atomic_load(&f->taken));
		atomic_store(&to->requests, atomic_load(&f->requests));
		atomic_store(&to->sampled, atomic_load(&f->sampled));
		atomic_store(&to->borrowed, atomic_load(&f->borrowed));
		return;
	}
}

static void install(struct xray_sampling *s, uint64_t good_until)
{
	uint32_t n, current = atomic_load(&s->rules->current);
	const struct xray_slot *old = table(s, &n);
	uint32_t other = current == 1 ? 1 : 0;
	for (uint32_t i = 0; i < s->set.n; i++) {
		if (s->set.rule[i].central)
			carry_over(&s->set.rule[i], old, n);
		s->rules->table[other][i].rule = s->set.rule[i];
	}
	atomic_store(&s->rules->n[other], s->set.n);
	atomic_store(&s->rules->good_until, good_until);
	atomic_store(&s->rules->current, other + 1);
	memset(s->due_ns, 0, sizeof s->due_ns);
}

static void load_file(struct xray_sampling *s, const char *path)
{
	static const char var[] = "REMORA_XRAY_SAMPLING_RULES";
	char *json = malloc(FILE_MOST);
	const char *why;
	size_t n = json ? read_file(path, json, FILE_MOST) : 0;
	if (n == 0)
		log_once(log_bit(var), "%s: %.200s cannot be read, or is empty; one request a second and 5 %% are sampled", var, path);
	else if (n == FILE_MOST || !xray_rules_local(&s->set, json, n, &why))
		log_once(log_bit(var), "%s: %.200s: %s; one request a second and 5 %% are sampled", var, path,
		         n == FILE_MOST ? "it is longer than 64 KB" : why);
	else if (atomic_load(&s->rules->current) == 0) {
		install(s, 0);
		s->local = true;
		log_debug("xray: %u sampling rules from %s", s->set.n, path);
	}
	free(json);
}

/* ---- calls ---- */

static void answered(void *ctx, const struct answer *a);

static void call(struct xray_sampling *s, const char *path, bool targets)
{
	s->headers[0] = "Content-Type: application/json";
	s->headers[1] = NULL;
	snprintf(s->url, sizeof s->url, "%s/%s", s->base, path);
	s->request.url = s->url;
	s->request.headers = s->headers;
	s->request.timeout_ns = 5 * SECOND;
	s->is_targets = targets;
	if (s->aws)
		s->request.body.failed |= !aws_service_sign(s->aws, &s->request, s->url + strlen(s->base), s->headers);
	s->call = s->request.body.failed ? NULL : http_post(s->http, &s->request, answered, s);
	if (!s->call)
		buf_free(&s->request.body);
}

static void fetch_rules(struct xray_sampling *s)
{
	struct json j = {&s->request.body, false};
	j_raw(&j, "{", 1);
	if (s->next) {
		j_text(&j, "NextToken", (struct slice){s->next, (uint32_t)strlen(s->next)});
	} else {
		s->set = (struct xray_rule_set){0};
		s->pages = 0;
		s->asked_s = seconds();
	}
	j_raw(&j, "}", 1);
	free(s->next);
	s->next = NULL;
	call(s, "GetSamplingRules", false);
}

static bool has_report(struct xray_sampling *s, uint64_t now)
{
	uint32_t n;
	const struct xray_slot *r = table(s, &n);
	for (uint32_t i = 0; i < n; i++)
		if (atomic_load(&r[i].rule.central) && now >= s->due_ns[i] && atomic_load(&r[i].rule.requests))
			return true;
	return false;
}

/* Who asks: one for the tree, whichever process exports. */
static const char *client_id(struct xray_sampling *s)
{
	uint8_t random[12];
	struct buf b = {0};
	struct json j = {&b, false};
	if (!s->rules->client[0] && sys3(SYS_getrandom, random, sizeof random, 0) == (long)sizeof random) {
		j_hex(&j, random, sizeof random);
		if (b.n == 24)
			memcpy(s->rules->client, b.p, 24);
		buf_free(&b);
	}
	s->rules->client[sizeof s->rules->client - 1] = 0;
	return s->rules->client;
}

static void report(struct xray_sampling *s, uint64_t now)
{
	static const char *const names[] = {"RequestCount", "SampledCount", "BorrowCount"};
	uint32_t n, k = 0;
	struct xray_slot *r = table(s, &n);
	struct json j = {&s->request.body, false};
	const char *client = client_id(s);
	memset(s->reported, 0, sizeof s->reported);
	j_raw(&j, "{", 1);
	j_open(&j, "SamplingStatisticsDocuments", '[');
	for (uint32_t i = 0; i < n && k < REPORT_MOST; i++) {
		_Atomic uint32_t *const counters[] = {&r[i].rule.requests, &r[i].rule.sampled, &r[i].rule.borrowed};
		if (!atomic_load(&r[i].rule.central) || now < s->due_ns[i] || !atomic_load(counters[0]))
			continue;
		j_open(&j, NULL, '{');
		j_text(&j, "RuleName", (struct slice){r[i].rule.name, (uint32_t)strnlen(r[i].rule.name, sizeof r[i].rule.name)});
		j_text(&j, "ClientID", (struct slice){client, (uint32_t)strlen(client)});
		j_int(&j, "Timestamp", (int64_t)seconds());
		for (int c = 0; c < 3; c++) {
			s->reported[i][c] = atomic_exchange(counters[c], 0);
			j_int(&j, names[c], s->reported[i][c]);
		}
		j_close(&j, '}');
		s->due_ns[i] = now + (s->interval[i] ? s->interval[i] * SECOND : TARGETS_EVERY);
		k++;
	}
	j_close(&j, ']');
	j_raw(&j, "}", 1);
	call(s, "SamplingTargets", true);
}

/* ---- answers ---- */

static void failed(struct xray_sampling *s, const struct answer *a, const char *why, uint64_t now)
{
	uint32_t n;
	struct xray_slot *r = table(s, &n);
	log_debug("xray: %s: %s, status %d", s->url, why ? why : a->error ? a->error
	                                                                  : "refused",
	          a->status);
	if (!s->is_targets) {
		s->rules_ns = now + AGAIN;
		return;
	}
	for (uint32_t i = 0; i < n; i++) { /* what could not be told is told next time */
		atomic_fetch_add(&r[i].rule.requests, s->reported[i][0]);
		atomic_fetch_add(&r[i].rule.sampled, s->reported[i][1]);
		atomic_fetch_add(&r[i].rule.borrowed, s->reported[i][2]);
	}
}

static void got_targets(struct xray_sampling *s, const struct answer *a, uint64_t now)
{
	struct xray_target t[XRAY_RULES];
	uint64_t modified;
	uint32_t n;
	struct xray_slot *r = table(s, &n);
	int k = xray_targets(t, XRAY_RULES, a->body, a->body_len, &modified);
	if (k < 0) {
		failed(s, a, "no SamplingTargetDocuments in the answer", now);
		return;
	}
	for (int i = 0; i < k; i++)
		for (uint32_t x = 0; x < n; x++) {
			if (strncmp(r[x].rule.name, t[i].name, sizeof r[x].rule.name) != 0 || !atomic_load(&r[x].rule.central))
				continue;
			if (t[i].has_rate)
				r[x].rule.rate = t[i].rate;
			if (t[i].has_quota)
				atomic_store(&r[x].rule.quota, t[i].quota);
			if (t[i].has_until)
				atomic_store(&r[x].rule.quota_until, t[i].until);
			if (t[i].interval) {
				s->interval[x] = t[i].interval;
				s->due_ns[x] = now + t[i].interval * SECOND;
			}
		}
	if (s->rules_s && modified >= s->rules_s) /* in the same second: nobody knows which came first */
		s->rules_ns = now;
}

/* Names that no rule can match: with dynamic naming a segment is called after the host. */
static void warn_of_names(struct xray_sampling *s)
{
	bool any = false;
	for (uint32_t i = 0; i < s->set.n; i++)
		any |= strcmp(s->set.rule[i].service, "*") == 0 && strcmp(s->set.rule[i].name, "Default") != 0;
	for (uint32_t i = 0; i < s->set.n && !any; i++)
		if (strcmp(s->set.rule[i].service, "*") != 0)
			log_once(log_bit("REMORA_XRAY_DYNAMIC_NAMING"), "REMORA_XRAY_DYNAMIC_NAMING: segments are named after their host, so the sampling rule "
			                                                "%s for service %s will not match them",
			         s->set.rule[i].name, s->set.rule[i].service);
}

/* The signature was, and another may do better. */
static bool is_refused(struct xray_sampling *s, const struct answer *a)
{
	struct aws_error e;
	aws_error_read(&e, a->aws_error, a->body, a->body_len);
	return s->aws && a->status != 200 && a->status && aws_unauthorized(a, &e) && aws_service_refused(s->aws, a) != AWS_LOCKED;
}

static void answered(void *ctx, const struct answer *a)
{
	struct xray_sampling *s = ctx;
	uint64_t now = mono_ns();
	const char *why = NULL;
	s->call = NULL;
	buf_free(&s->request.body);
	if (is_refused(s, a)) {
		failed(s, a, "signed anew", now);
		*(s->is_targets ? &s->targets_ns : &s->rules_ns) = now;
	} else if (a->status != 200) {
		failed(s, a, NULL, now);
	} else if (s->is_targets) {
		got_targets(s, a, now);
	} else if (!xray_rules_central(&s->set, a->body, a->body_len, &s->next, &why)) {
		failed(s, a, why, now);
	} else if (s->next && ++s->pages < 10) {
		s->rules_ns = now;
	} else {
		if (s->aws)
			aws_service_accepted(s->aws);
		install(s, seconds() + GOOD_FOR);
		s->rules_s = s->asked_s;
		s->rules_ns = now + s->every_ns;
		log_debug("xray: %u central sampling rules, %u not for us", s->set.n, s->set.skipped);
		if (s->dynamic)
			warn_of_names(s);
	}
}

/* ---- */

struct xray_sampling *xray_sampling_new(const struct settings *set, struct http *h, struct credentials *keys)
{
	const char *file = settings_get(set->host, "REMORA_XRAY_SAMPLING_RULES");
	struct xray_rules *rules = set->xray.sampler ? arena_xray_rules(set->host->arena) : NULL;
	struct xray_sampling *s = rules ? calloc(1, sizeof *s) : NULL;
	if (!s)
		return NULL;
	s->rules = rules;
	s->http = h;
	s->dynamic = set->xray.dynamic != NULL;
	s->every_ns = set->xray.polling_ns;
	snprintf(s->base, sizeof s->base, "%s", set->xray.endpoint);
	const struct otlp_settings *direct = set->xray.sampler_usual && keys ? settings_aws(set) : NULL;
	if (direct && (s->aws = calloc(1, sizeof *s->aws))) {
		*s->aws = (struct aws_service){.name = "xray", .own = direct->aws_url, .credentials = keys};
		s->aws->region = *direct->aws_region ? direct->aws_region : NULL;
		*s->base = 0;
		s->request.ca_file = direct->ca.path;
	}
	if (file)
		load_file(s, file);
	return s;
}

void xray_sampling_delete(struct xray_sampling *s)
{
	if (!s)
		return;
	if (s->call)
		http_cancel(s->http, s->call);
	buf_free(&s->request.body);
	if (s->aws)
		aws_service_free(s->aws);
	free(s->aws);
	free(s->next);
	free(s);
}

void xray_sampling_turn(struct xray_sampling *s, uint64_t now, bool ending)
{
	uint64_t when;
	if (!s || s->call || ending)
		return;
	bool rules = now >= s->rules_ns, targets = !rules && now >= s->targets_ns && has_report(s, now);
	if (s->aws && (rules || targets) && !aws_service_ready(s->aws, now, &when))
		return;
	if (rules) {
		s->rules_ns = now + AGAIN;
		fetch_rules(s);
	} else if (targets) {
		s->targets_ns = now + SECOND;
		report(s, now);
	}
}

uint64_t xray_sampling_due(struct xray_sampling *s)
{
	uint32_t n;
	uint64_t due = 0;
	const struct xray_slot *r = s && !s->call ? table(s, &n) : NULL;
	if (!r) /* the first rules are asked for when something happens */
		return 0;
	/* Nobody is woken for rules that nobody uses. */
	for (uint32_t i = 0; i < n; i++)
		if (atomic_load(&r[i].rule.central) && atomic_load(&r[i].rule.requests) && (!due || s->due_ns[i] < due))
			due = s->due_ns[i] > s->targets_ns ? s->due_ns[i] : s->targets_ns;
	return due;
}
