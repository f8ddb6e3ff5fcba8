/*
 * Statements: a byte of which system and whether it is cut, a byte of how much room there is, and text. The text without its
 * literals and its summary stay within their room; less room gets a beginning; and what is harmless stays so.
 */
#include "exporters/sql_summary.h"
#include "fuzz.h"
#include "proto/sql.h"

static size_t sanitize(const char *p, size_t n, enum db_system system, char *out, size_t cap, bool *cut)
{
	size_t got = sql_sanitize((struct slice){p, (uint32_t)n}, system, out, cap, cut);
	HOLDS(got <= cap && got <= n);
	return got;
}

static bool begins(const char *all, size_t n, const char *p, size_t k)
{
	return k <= n && memcmp(all, p, k) == 0;
}

static bool word_char(char c)
{
	return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* No quotes but those of names, no digits but in names and parameters. */
static void harmless(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		HOLDS(p[i] != '\'' && p[i] != '\\');
		HOLDS(p[i] < '0' || p[i] > '9' || (i > 0 && word_char(p[i - 1])));
		if (p[i] != '"' && p[i] != '`')
			continue;
		const char *end = memchr(p + i + 1, p[i], n - i - 1);
		HOLDS(end || p[i] == '`'); /* to PostgreSQL no quote */
		for (; end && p + i < end; i++)
			HOLDS(p[i] != '\'' && p[i] != '\\');
	}
}

static void summarize(const char *p, size_t n, size_t cap)
{
	char *in = exact(p, n), *all = malloc(SQL_SUMMARY_MAX), *part = malloc(cap ? cap : 1);
	size_t got = sql_summary((struct slice){in, (uint32_t)n}, all, SQL_SUMMARY_MAX), k = sql_summary((struct slice){in, (uint32_t)n}, part, cap);
	HOLDS(got <= SQL_SUMMARY_MAX && k <= cap && begins(all, got, part, k));
	HOLDS(got == 0 || (all[0] != ' ' && all[got - 1] != ' '));
	HOLDS(k == got || k == 0 || all[k] == ' ');
	free(in);
	free(all);
	free(part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 1 << 14)
		return 0;
	enum db_system system = (data[0] & 3) % DB_SYSTEM_MAX;
	bool cut = data[0] & 4, less = cut, again;
	size_t cap = data[1], n = size - 2;
	char *text = exact(data + 2, n), *out = malloc(n ? n : 1), *part = malloc(cap ? cap : 1);
	size_t got = sanitize(text, n, system, out, n, &cut);
	HOLDS(system != DB_NONE || got == 0);
	harmless(out, got);
	size_t k = sanitize(text, n, system, part, cap, &less);
	HOLDS(less || k == got);
	harmless(part, k);
	summarize(out, got, cap);
	summarize(text, n, cap); /* whatever it is */

	char *clean = exact(out, got), *twice = malloc(got ? got : 1);
	again = cut;
	k = sanitize(clean, got, system, twice, got, &again);
	harmless(twice, k);
	free(text);
	free(out);
	free(part);
	free(clean);
	free(twice);
	return 0;
}
