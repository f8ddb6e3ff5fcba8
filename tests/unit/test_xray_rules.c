/* X-Ray's sampling: matching, reservoirs, quotas; rules from JSON. */
#include "exporters/xray/xray_rules_json.h"
#include "unit.h"

static struct slice text(const char *s)
{
	return (struct slice){s, (uint32_t)strlen(s)};
}

static struct xray_rules rules;

static void add(const char *name, const char *service, const char *host, const char *method, const char *path)
{
	uint32_t n = atomic_load(&rules.n[0]);
	struct xray_rule *r = &rules.table[0][n].rule;
	strcpy(r->name, name);
	strcpy(r->service, service);
	strcpy(r->type, "*");
	strcpy(r->host, host);
	strcpy(r->method, method);
	strcpy(r->path, path);
	atomic_store(&rules.n[0], n + 1);
	atomic_store(&rules.current, 1);
}

TEST(first_match)
{
	static const struct {
		const char *service, *host, *method, *path, *want;
	} rows[] = {
		{"backend-flask", "h", "GET", "/api/users/1", "users"},
		{"BACKEND-FLASK", "h", "get", "/API/users/1", "users"},
		{"backend-flask", "h", "POST", "/api/users/1", "any-of-backend"},
		{"other", "a.example.com:80", "GET", "/", "host"},
		{"other", "a.example.com", "GET", "/", "host"},
		{"other", "h", "GET", "/", ""},
		{"", "h", "GET", "/", "any-of-backend"},
	};
	strcpy(rules.fallback.name, "");
	add("users", "backend-flask", "*", "GET", "/api/users/?");
	add("any-of-backend", "backend-*", "*", "*", "*");
	add("host", "*", "*.example.com", "*", "*");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct xray_request q = {.service = text(rows[i].service), .host = text(rows[i].host), .method = text(rows[i].method), .path = text(rows[i].path)};
		unit_case("%s %s %s", rows[i].service, rows[i].host, rows[i].path);
		EQ_STR(xray_rules_match(&rules, &q, 1)->name, rows[i].want);
	}
	struct xray_request q = {.service = text("backend-flask"), .host = text("h"), .method = text("POST"), .path = text("/")};
	atomic_store(&rules.good_until, 100);
	EQ_STR(xray_rules_match(&rules, &q, 99)->name, "any-of-backend");
	EQ_STR(xray_rules_match(&rules, &q, 100)->name, ""); /* an hour after the last answer */
	atomic_store(&rules.current, 77);
	EQ_STR(xray_rules_match(&rules, &q, 1)->name, "");
}

TEST(memory_of_others)
{
	memset(rules.table, '*', sizeof rules.table); /* no end of a string anywhere */
	atomic_store(&rules.n[0], UINT32_MAX);
	atomic_store(&rules.current, 1);
	struct xray_request q = {.service = text("a"), .host = text("b:1"), .method = text("GET"), .path = text("/")};
	OK(xray_rules_match(&rules, &q, 1) == &rules.table[0][0].rule);
}

static uint32_t random32(void)
{
	static uint64_t x = 88172645463325252u;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32);
}

/* A day of 0 to 40 requests a second, as the published algorithm has it. */
TEST(a_simulated_day)
{
	struct xray_rule r = {.rate = XRAY_RATE_ONE / 10, .reservoir = 5};
	uint64_t want_reservoir = 0, rest = 0, got = 0;
	for (uint64_t s = 1000; s < 1000 + 86400; s++) {
		unsigned n = random32() % 41;
		want_reservoir += n < 5 ? n : 5;
		rest += n < 5 ? 0 : n - 5;
		for (unsigned i = 0; i < n; i++)
			got += xray_rule_take(&r, s, random32());
	}
	double expected = (double)want_reservoir + (double)rest / 10, variance = (double)rest * .1 * .9, off = (double)got - expected;
	unit_case("%g expected, %g seen", expected, (double)got);
	OK(off * off < 25 * variance); /* five standard deviations */
	EQ_INT((int)(atomic_load(&r.sampled) == got), 1);
	EQ_INT((int)atomic_load(&r.borrowed), 0);
}

TEST(quotas)
{
	struct xray_rule r = {.rate = 0, .reservoir = 50, .central = 1};
	int n = 0;
	for (int i = 0; i < 10; i++)
		n += xray_rule_take(&r, 100, 0xffffffff);
	EQ_INT(n, 1); /* no quota yet: one is borrowed */
	EQ_INT((int)atomic_load(&r.borrowed), 1);
	atomic_store(&r.quota, 3);
	atomic_store(&r.quota_until, 200);
	for (uint64_t s = 199; s <= 201; s++) {
		n = 0;
		for (int i = 0; i < 10; i++)
			n += xray_rule_take(&r, s, 0xffffffff);
		unit_case("second %d", (int)s);
		EQ_INT(n, s <= 200 ? 3 : 1); /* a stale one counts no more */
	}
	EQ_INT((int)atomic_load(&r.requests), 40);
	EQ_INT((int)atomic_load(&r.sampled), 6);
	EQ_INT((int)atomic_load(&r.borrowed), 2);
	struct xray_rule none = {.central = 1};
	OK(!xray_rule_take(&none, 1, 0)); /* nothing to borrow, rate 0 */
	struct xray_rule all = {.rate = XRAY_RATE_ONE};
	OK(xray_rule_take(&all, 1, UINT32_MAX));
}

/* 64 forked workers share one quota. */
TEST(forked_workers_share)
{
	struct shared {
		struct xray_rule r;
		_Atomic uint32_t taken[8];
		_Atomic uint64_t begun; /* the second it is, for all of them */
	} *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	m->r.reservoir = 100;
	for (int i = 0; i < 64; i++)
		if (fork() == 0) {
			for (uint64_t s = 0; s < 8; s++) {
				while (atomic_load(&m->begun) < s) /* nobody is more than a second behind */
					atomic_compare_exchange_strong(&m->begun, &(uint64_t){s - 1}, s);
				for (int k = 0; k < 500; k++)
					atomic_fetch_add(&m->taken[s], xray_rule_take(&m->r, atomic_load(&m->begun) + 5, UINT32_MAX));
			}
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	EQ_INT((int)atomic_load(&m->r.requests), 64 * 8 * 500);
	uint32_t all = 0;
	for (int s = 0; s < 8; s++)
		all += atomic_load(&m->taken[s]);
	EQ_INT((int)all, (int)atomic_load(&m->r.sampled));
	OK(all >= 100 && all <= 8 * 100); /* who is behind takes from the newest second */
}

/* ---- JSON ---- */

static const char *shown(const struct xray_rule_set *s)
{
	static char out[2000];
	int n = sprintf(out, "%u/%u", s->n, s->skipped);
	for (uint32_t i = 0; i < s->n; i++)
		n += sprintf(out + n, " %s:%s:%s:%s:%s:%u:%.3f%s", s->rule[i].name, s->rule[i].service, s->rule[i].host, s->rule[i].method,
		             s->rule[i].path, s->rule[i].reservoir, (double)s->rule[i].rate / (double)XRAY_RATE_ONE, s->rule[i].central ? "" : "!");
	return out;
}

TEST(local_files)
{
	static const struct {
		const char *json, *want;
	} rows[] = {
		{"{\"version\":2,\"rules\":[{\"description\":\"d\",\"host\":\"*\",\"http_method\":\"GET\",\"url_path\":\"/api/*\",\"fixed_target\":0,"
	     "\"rate\":0.05}],\"default\":{\"fixed_target\":1,\"rate\":0.1}}",
	     "2/0 local:*:*:GET:/api/*:0:0.050! local:*:*:*:*:1:0.100!"},
		{"{\"version\":1,\"rules\":[{\"service_name\":\"a.com\",\"http_method\":\"*\",\"url_path\":\"*\",\"fixed_target\":2,\"rate\":1}],"
	     "\"default\":{\"fixed_target\":0,\"rate\":0}}",
	     "2/0 local:*:a.com:*:*:2:1.000! local:*:*:*:*:0:0.000!"},
		{"{\"SamplingRule\":{\"RuleName\":\"Cruddur\",\"ResourceARN\":\"*\",\"Priority\":9000,\"FixedRate\":0.1,\"ReservoirSize\":5,"
	     "\"ServiceName\":\"backend-flask\",\"ServiceType\":\"*\",\"Host\":\"*\",\"HTTPMethod\":\"*\",\"URLPath\":\"*\",\"Version\":1}}",
	     "1/0 Cruddur:backend-flask:*:*:*:5:0.100!"},
		{"{", "it is no JSON"},
		{"[]", "0/0"},
		{"{\"version\":3}", "version is not 1 or 2"},
		{"{\"version\":2}", "it has no default rule"},
		{"{\"version\":2,\"default\":{\"fixed_target\":1,\"rate\":2}}", "default needs fixed_target and a rate from 0 to 1, and nothing else"},
		{"{\"version\":2,\"default\":{\"fixed_target\":1,\"rate\":1,\"host\":\"*\"}}",
	     "default needs fixed_target and a rate from 0 to 1, and nothing else"},
		{"{\"version\":2,\"rules\":[{\"host\":\"*\"}],\"default\":{\"fixed_target\":1,\"rate\":1}}",
	     "a rule needs host (service_name in version 1), http_method, url_path, fixed_target and a rate from 0 to 1"},
		{"{\"RuleName\":\"x\"}", "a SamplingRule needs RuleName, Priority, FixedRate and ReservoirSize"},
	};
	static struct xray_rule_set s;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *why;
		unit_case("%s", rows[i].json);
		EQ_STR(xray_rules_local(&s, rows[i].json, strlen(rows[i].json), &why) ? shown(&s) : why, rows[i].want);
	}
}

TEST(central_rules)
{
#define RULE(name, prio, more)                                                                                                \
	"{\"CreatedAt\":0,\"SamplingRule\":{\"RuleName\":\"" name "\",\"ResourceARN\":\"*\",\"Priority\":" prio                   \
	",\"FixedRate\":0.5,\"ReservoirSize\":1,\"ServiceName\":\"*\",\"ServiceType\":\"*\",\"Host\":\"*\",\"HTTPMethod\":\"*\"," \
	"\"URLPath\":\"*\"," more "}}"
	static const char json[] =
		"{\"NextToken\":null,\"SamplingRuleRecords\":["
		/* clang-format off */
		RULE("Default", "10000", "\"Version\":1,\"Attributes\":{}") ","
		RULE("b", "5", "\"Version\":1") ","
		RULE("a", "5", "\"Version\":1") ","
		RULE("v2", "1", "\"Version\":2") ","
		RULE("attr", "1", "\"Version\":1,\"Attributes\":{\"a\":\"b\"}")
		/* clang-format on */
		",{}]}";
	static struct xray_rule_set s;
	const char *why;
	char *next;
	OK(xray_rules_central(&s, json, strlen(json), &next, &why));
	OK(!next);
	EQ_STR(shown(&s), "3/3 a:*:*:*:*:1:0.500 b:*:*:*:*:1:0.500 Default:*:*:*:*:1:0.500");
	static const char page[] = "{\"NextToken\":\"more\",\"SamplingRuleRecords\":[]}";
	OK(xray_rules_central(&s, page, strlen(page), &next, &why));
	EQ_STR(next, "more");
	free(next);
	OK(!xray_rules_central(&s, "[1", 2, &next, &why) && !next);
	for (int i = 0; i < 60; i++) /* more than there is room for */
		OK(xray_rules_central(&s, json, strlen(json), &next, &why));
	EQ_INT((int)s.n, XRAY_RULES);
}

TEST(targets)
{
	static const char json[] = "{\"SamplingTargetDocuments\":[{\"RuleName\":\"a\",\"FixedRate\":0.25,\"ReservoirQuota\":7,\"ReservoirQuotaTTL\":1700000000.5,"
							   "\"Interval\":20},{\"RuleName\":\"b\",\"ReservoirQuota\":null},{\"RuleName\":5}],\"LastRuleModification\":1.7E9}";
	struct xray_target t[4];
	uint64_t modified;
	EQ_INT(xray_targets(t, 4, json, strlen(json), &modified), 2);
	OK(modified == 1700000000 && t[0].has_quota && t[0].quota == 7 && t[0].until == 1700000000 && t[0].interval == 20);
	OK(t[0].rate == XRAY_RATE_ONE / 4 && !t[1].has_quota && !t[1].has_rate && !t[1].has_until && t[1].interval == 0);
	EQ_INT(xray_targets(t, 1, json, strlen(json), &modified), 1);
	EQ_INT(xray_targets(t, 4, "{}", 2, &modified), -1);
}
