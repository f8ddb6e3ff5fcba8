/* Names of segments. */
#include "exporters/utf8.h"
#include "exporters/xray/xray.h"

/*
 * Letters beyond ASCII are whatever Unicode says; X-Ray refuses a document for one that is none. So only runs of code
 * points are let through that consist of letters alone.
 */
static bool is_letter(uint32_t c)
{
	static const struct {
		uint32_t from, to;
	} runs[] = {
		{0xc0, 0xd6},
		{0xd8, 0xf6},
		{0xf8, 0x2c1},
		{0x388, 0x38a},
		{0x38e, 0x3a1},
		{0x3a3, 0x3f5},
		{0x3f7, 0x481},
		{0x48a, 0x52f},
		{0x531, 0x556},
		{0x561, 0x587},
		{0x5d0, 0x5ea},
		{0x620, 0x64a},
		{0x671, 0x6d3},
		{0x904, 0x939},
		{0xe01, 0xe30},
		{0x10d0, 0x10fa},
		{0x1e00, 0x1f15},
		{0x3041, 0x3096},
		{0x30a1, 0x30fa},
		{0x3400, 0x4db5},
		{0x4e00, 0x9fd5},
		{0xac00, 0xd7a3},
	};
	for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
		if (c >= runs[i].from && c <= runs[i].to)
			return true;
	return false;
}

/* The character at p, which is well-formed UTF-8; its length in *n. */
static uint32_t character(const char *p, unsigned *n)
{
	unsigned char c = (unsigned char)*p;
	*n = c < 0x80 ? 1 : c < 0xe0 ? 2
	                : c < 0xf0   ? 3
	                             : 4;
	uint32_t v = *n == 1 ? c : c & (0xffu >> (*n + 1));
	for (unsigned i = 1; i < *n; i++)
		v = v << 6 | ((unsigned char)p[i] & 0x3f);
	return v;
}

size_t xray_name_clean(struct slice s, char out[static XRAY_NAME_MOST * 4 + 1])
{
	struct buf b = {0};
	size_t n = 0, chars = 0;
	utf8_add(&b, s.p, s.n < 4 * XRAY_NAME_MOST ? s.n : 4 * XRAY_NAME_MOST);
	for (size_t i = 0; i < b.n && chars < XRAY_NAME_MOST;) {
		unsigned len;
		uint32_t c = character(b.p + i, &len);
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		             (c && c < 0x80 && strchr(" _.:/%&#=+\\-@", (int)c));
		if (plain || is_letter(c)) {
			memcpy(out + n, b.p + i, len);
			n += len;
			chars++;
		}
		i += len;
	}
	buf_free(&b);
	if (n == 0) {
		memcpy(out, "unknown", 7);
		n = 7;
	}
	out[n] = 0;
	return n;
}
