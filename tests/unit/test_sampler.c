/* OTEL_TRACES_SAMPLER: thresholds, who decides, tracestate. */
#include "config.h"
#include "span/span.h"
#include "unit.h"

static void configure(const char *sampler, const char *arg)
{
	char a[128], b[128], *env[] = {a, b, "REMORA_INCLUDE=*", NULL};
	snprintf(a, sizeof a, "OTEL_TRACES_SAMPLER=%s", sampler);
	snprintf(b, sizeof b, "OTEL_TRACES_SAMPLER_ARG=%s", arg);
	memset(&config, 0, sizeof config);
	config_read(0, NULL, env);
}

TEST(thresholds)
{
	static const struct {
		const char *arg, *th;
		uint8_t sampler;
	} rows[] = {
		{"1", "0", SAMPLER_RATIO},
		{"1.0", "0", SAMPLER_RATIO},
		{"0.5", "8", SAMPLER_RATIO},
		{".5", "8", SAMPLER_RATIO},
		{"0.25", "c", SAMPLER_RATIO},
		{"0.75", "4", SAMPLER_RATIO},
		{"0.1", "e666", SAMPLER_RATIO},
		{"1e-1", "e666", SAMPLER_RATIO},
		{"0.05", "f3333", SAMPLER_RATIO},
		{"0.01", "fd70a", SAMPLER_RATIO},
		{"1E-2", "fd70a", SAMPLER_RATIO},
		{"0.001", "ffbe77", SAMPLER_RATIO},
		{"0.0001", "fff9724", SAMPLER_RATIO},
		{"0.3333333333", "aaab", SAMPLER_RATIO},
		{"0.99999999", "0", SAMPLER_RATIO},
		{"10e-1", "0", SAMPLER_RATIO},
		{"0", "", SAMPLER_OFF},
		{"0.0", "", SAMPLER_OFF},
		{"1e-300", "", SAMPLER_OFF},
		/* nonsense counts as 1 */
		{"", "0", SAMPLER_RATIO},
		{"1.1", "0", SAMPLER_RATIO},
		{"-0.5", "0", SAMPLER_RATIO},
		{"abc", "0", SAMPLER_RATIO},
		{"0.5x", "0", SAMPLER_RATIO},
		{"nan", "0", SAMPLER_RATIO},
		{".", "0", SAMPLER_RATIO},
		{"1e", "0", SAMPLER_RATIO},
		{"0,5", "0", SAMPLER_RATIO},
		{"1e999", "0", SAMPLER_RATIO},
		{"0.5 ", "0", SAMPLER_RATIO},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].arg);
		configure("parentbased_traceidratio", rows[i].arg);
		EQ_INT(config.sampler, rows[i].sampler);
		EQ_STR(config.th, rows[i].th);
		if (!rows[i].th[0])
			continue;
		/* The decision uses what is told. */
		char full[15] = "00000000000000";
		memcpy(full, config.th, strlen(config.th));
		EQ_INT(config.threshold, strtoull(full, NULL, 16));
	}
}

TEST(names)
{
	static const struct {
		const char *name;
		uint8_t sampler;
		bool parent_based;
	} rows[] = {
		{"always_on", SAMPLER_ON, false},
		{"always_off", SAMPLER_OFF, false},
		{"traceidratio", SAMPLER_RATIO, false},
		{"parentbased_always_on", SAMPLER_ON, true},
		{"parentbased_always_off", SAMPLER_OFF, true},
		{"PARENTBASED_TraceIdRatio", SAMPLER_RATIO, true},
		{"", SAMPLER_ON, true},
		{"unknown", SAMPLER_ON, true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].name);
		configure(rows[i].name, "0.5");
		EQ_INT(config.sampler, rows[i].sampler);
		EQ_INT(config.parent_based, rows[i].parent_based);
	}
}

static bool decide(uint64_t low, int parent, const char *state)
{
	uint8_t id[16] = {0};
	struct trace_ctx up = {.valid = true, .sampled_known = true, .flags = parent > 0};
	for (int i = 0; i < 8; i++)
		id[15 - i] = (uint8_t)(low >> (i * 8));
	return sampler_decide(id, parent < 0 ? NULL : &up, (struct slice){state, (uint32_t)strlen(state)});
}

TEST(decisions)
{
	const uint64_t half = 0x80000000000000;
	configure("always_on", "");
	OK(decide(0, -1, "") && decide(0, 0, "") && decide(0, 1, ""));
	configure("always_off", "");
	OK(!decide(0, -1, "") && !decide(0, 0, "") && !decide(0, 1, ""));
	configure("parentbased_always_on", "");
	OK(decide(0, -1, "") && !decide(0, 0, "") && decide(0, 1, ""));
	configure("parentbased_always_off", "");
	OK(!decide(0, -1, "") && !decide(0, 0, "") && decide(0, 1, ""));
	configure("parentbased_traceidratio", "0.5");
	OK(decide(half, -1, "") && !decide(half - 1, -1, "") && !decide(half, 0, "") && decide(half - 1, 1, ""));
	OK(decide(half | 0x1200000000000000, -1, "") && !decide(0xff00000000000000, -1, "")); /* 56 bits only */
	configure("traceidratio", "0.5");
	OK(decide(half, 0, "") && !decide(half - 1, 1, ""));
	/* rv: is the randomness if it is there, and well formed */
	OK(decide(0, -1, "ot=rv:80000000000000") && !decide(half, -1, "ot=rv:7fffffffffffff"));
	OK(decide(0, -1, "a=b,ot=th:c;rv:80000000000000,z=1"));
	OK(!decide(0, -1, "ot=rv:8000000000000") && !decide(0, -1, "ot=rv:800000000000000") && !decide(0, -1, "ot=rv:8000000000000x"));
	OK(!decide(0, -1, "ot=xrv:80000000000000") && !decide(0, -1, "xot=rv:80000000000000") && !decide(0, -1, "ot=RV:80000000000000"));
}

TEST(sampled_in_proportion)
{
	static const double rates[] = {.5, .25, .1, .01};
	for (size_t i = 0; i < 4; i++) {
		char arg[16];
		snprintf(arg, sizeof arg, "%g", rates[i]);
		configure("traceidratio", arg);
		unsigned n = 0;
		for (int k = 0; k < 100000; k++) {
			uint8_t id[16], span[8];
			ids_root(id, span, 0);
			n += sampler_decide(id, NULL, (struct slice){0});
		}
		unit_case("%s: %u", arg, n);
		OK(n > 100000 * rates[i] * .85 && n < 100000 * rates[i] * 1.15);
	}
}

TEST(tracestate)
{
	static const struct {
		const char *arg, *in;
		bool sampled;
		const char *want;
	} rows[] = {
		{"0.5", "", true, "ot=th:8"},
		{"0.5", "", false, ""},
		{"0.5", "a=1,b=2", true, "ot=th:8,a=1,b=2"},
		{"0.5", "a=1,b=2", false, "a=1,b=2"},
		{"0.5", "a=1,ot=th:c,b=2", true, "ot=th:8,a=1,b=2"},
		{"0.5", "a=1,ot=th:c,b=2", false, "a=1,b=2"},
		{"0.5", "a=1,ot=th:c;rv:80000000000000;x:y", true, "ot=th:8;rv:80000000000000;x:y,a=1"},
		{"0.5", "a=1,ot=rv:80000000000000;th:c", false, "ot=rv:80000000000000,a=1"},
		{"0.5", "ot=p:8;r:62", true, "ot=th:8;p:8;r:62"},
		{"0.5", ", a=1 ,,b=2", true, "ot=th:8,a=1 ,b=2"},
		{"0.5", "ot=;;th:1;;a:b", true, "ot=th:8;a:b"},
		{"1", "a=1", true, "ot=th:0,a=1"},
	};
	char out[512];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s %d", rows[i].in, rows[i].sampled);
		configure("traceidratio", rows[i].arg);
		size_t n = sampler_tracestate((struct slice){rows[i].in, (uint32_t)strlen(rows[i].in)}, rows[i].sampled, out, sizeof out);
		EQ_MEM(out, n, rows[i].want, strlen(rows[i].want));
	}
	/* Whole members or none, whatever the room. */
	static const char in[] = "a=1,bb=22,ccc=333,ot=rv:80000000000000";
	configure("traceidratio", "0.1");
	for (size_t cap = 0; cap < 64; cap++) {
		struct unit_guarded g = unit_at_end(NULL, cap);
		size_t n = sampler_tracestate((struct slice){in, sizeof in - 1}, true, g.p, cap);
		OK(n <= cap && (n == 0 || g.p[n - 1] != ','));
		unit_unguard(g);
	}
	configure("always_on", "");
	EQ_INT(sampler_tracestate((struct slice){0}, true, out, sizeof out), 0);
	EQ_INT(sampler_decides(true), 1);
	configure("parentbased_always_on", "");
	EQ_INT(sampler_decides(true), 0);
	EQ_INT(sampler_decides(false), 1);
}
