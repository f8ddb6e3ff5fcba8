/* URLs and command lines (arguments divided by line ends): bounded output, and a short buffer gets a beginning. */
#include "fuzz.h"
#include "proto/redact.h"

static void url(size_t (*f)(struct slice, char *, size_t), struct slice s, size_t cap)
{
	size_t room = (size_t)s.n * 20 + 64;
	char *whole = malloc(room), *part, *twice = malloc(2 * room);
	size_t n = f(s, whole, room);
	HOLDS(n < room);
	struct slice red = {whole, (uint32_t)n};
	size_t again = f(red, twice, 2 * room);
	HOLDS(again <= 2 * room);
	if (cap > n)
		cap = n;
	part = malloc(cap ? cap : 1);
	HOLDS(f(s, part, cap) == cap && memcmp(part, whole, cap) == 0);
	free(whole);
	free(part);
	free(twice);
}

static int holds_secret(const char *p, size_t n)
{
	for (size_t i = 0; i + 6 <= n; i++)
		if (memcmp(p + i, "Qz!7kW", 6) == 0)
			return 1;
	return 0;
}

/* A secret behind whatever the input is must not survive as a value of its own pair. */
static void planted(struct slice s)
{
	static const char pair[] = "&token=Qz!7kW";
	size_t n = s.n + sizeof pair - 1, room = n * 20 + 64;
	if (holds_secret(s.p, s.n))
		return;
	char *in = malloc(n), *out = malloc(room);
	memcpy(in, s.p, s.n);
	memcpy(in + s.n, pair, sizeof pair - 1);
	size_t len = redact_query((struct slice){in, (uint32_t)n}, out, room);
	HOLDS(!holds_secret(out, len));
	free(in);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 1 << 13)
		return 0;
	size_t cap = data[0], n = size - 1;
	char *p = exact(data + 1, n);
	struct slice s = {p, (uint32_t)n};
	url(redact_url, s, cap);
	url(redact_query, s, cap);
	planted(s);

	struct redact_args a = {0};
	const char *from = p;
	for (size_t i = 0; i <= n; i++) {
		if (i < n && p[i] != '\n')
			continue;
		size_t len = (size_t)(p + i - from), room = len * 20 + 64, short_cap;
		char *arg = exact(from, len), *whole = malloc(room), *part;
		struct redact_args before = a;
		size_t got = redact_arg(&a, (struct slice){arg, (uint32_t)len}, whole, room);
		HOLDS(got < room);
		short_cap = cap < got ? cap : got;
		part = malloc(short_cap ? short_cap : 1);
		HOLDS(redact_arg(&before, (struct slice){arg, (uint32_t)len}, part, short_cap) == short_cap);
		HOLDS(memcmp(part, whole, short_cap) == 0);
		free(arg);
		free(whole);
		free(part);
		from = p + i + 1;
	}
	free(p);
	return 0;
}
