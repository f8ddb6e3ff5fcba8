/* Messages without their secrets: bounded, idempotent enough, and what is planted in a URL does not survive. */
#include "exporters/errors/making.h"
#include "fuzz.h"

static int holds_secret(const char *p, size_t n)
{
	return n >= 6 && memmem(p, n, "Qz!7kW", 6) != NULL;
}

static void planted(const uint8_t *data, size_t size, const char *with)
{
	size_t k = strlen(with), n;
	char *in = malloc(size + k + 1);
	HOLDS(in);
	memcpy(in, data, size);
	in[size] = ' ';
	memcpy(in + size + 1, with, k);
	char *out = scrub((struct slice){in, (uint32_t)(size + k + 1)}, true, &n);
	HOLDS(out && !holds_secret(out, n));
	free(out);
	free(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n;
	if (size > 1 << 13)
		return 0;
	char *own = exact(data, size);
	for (int pairs = 0; pairs < 2; pairs++) {
		char *out = scrub((struct slice){own, (uint32_t)size}, pairs, &n);
		HOLDS(out && n <= size * 20 + 64 && out[n] == 0);
		free(out);
	}
	free(own);
	if (size > 4096 || holds_secret((const char *)data, size))
		return 0;
	planted(data, size, "postgres://u:Qz!7kW@db/x");
	planted(data, size, "\nhttps://h/p?token=Qz!7kW");
	planted(data, size, "\npassword=Qz!7kW");
	planted(data, size, "\n{'password': 'Qz!7kW'}");
	return 0;
}
