/* Retry-After as a receiver may send it: never more than a day, and digits mean seconds. */
#include "exporters/http.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t now = 0;
	if (size < 8 || size > 4096)
		return 0;
	memcpy(&now, data, 8);
	char *text = malloc(size - 8 + 1);
	memcpy(text, data + 8, size - 8);
	text[size - 8] = 0;
	uint64_t got = http_retry_after(text, now);
	HOLDS(got <= UINT64_C(86400) * 1000000000);
	if (strspn(text, "0123456789") == strlen(text) && *text)
		HOLDS(got == http_retry_after(text, 0));
	free(text);
	return 0;
}
