/* Repaired text is well-formed, well-formed text is left alone; what is well-formed says a second, plain decoder. */
#include "exporters/utf8.h"
#include "fuzz.h"

static bool plainly_valid(const unsigned char *p, size_t n)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	for (size_t i = 0; i < n;) {
		unsigned c = p[i++], more = c < 0x80 ? 0 : c >> 5 == 6 ? 1
		                                       : c >> 4 == 14  ? 2
		                                       : c >> 3 == 30  ? 3
		                                                       : 4;
		if (c == 0 || more == 4 || more > n - i)
			return false;
		uint32_t v = more ? c & (0x3fu >> more) : c;
		for (unsigned k = 0; k < more; k++, i++) {
			if (p[i] >> 6 != 2)
				return false;
			v = v << 6 | (p[i] & 0x3f);
		}
		if (v < least[more] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
			return false;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 << 14)
		return 0;
	char *in = exact(data, size), *out = malloc(size * UTF8_GROWTH + 1), *again = malloc(size * UTF8_GROWTH * UTF8_GROWTH + 1);
	bool valid = plainly_valid(data, size);
	HOLDS(utf8_valid(in, size) == valid);
	size_t n = utf8_copy(out, in, size);
	HOLDS(n <= size * UTF8_GROWTH);
	HOLDS(plainly_valid((unsigned char *)out, n) && utf8_valid(out, n));
	HOLDS(!valid || (n == size && memcmp(in, out, n) == 0));
	HOLDS(utf8_copy(again, out, n) == n && memcmp(out, again, n) == 0);
	for (size_t chars = 0; chars < 20; chars++) {
		size_t cut = utf8_prefix(out, n, chars);
		HOLDS(cut <= n && cut <= 4 * chars && utf8_valid(out, cut));
	}
	HOLDS(utf8_prefix(out, n, n) == n);
	struct buf b = {0};
	utf8_add(&b, in, size);
	HOLDS(b.n == n && (n == 0 || memcmp(b.p, out, n) == 0));
	buf_free(&b);
	free(in);
	free(out);
	free(again);
	return 0;
}
