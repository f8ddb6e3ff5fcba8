/* Nearly all text is ASCII: eight bytes are looked at in one step until a byte is not. */
#include "exporters/utf8.h"
#include <stdint.h>
#include <string.h>

/* Length of the leading run of ASCII without NUL, found in steps of eight (so possibly a little short). */
static size_t ascii_run(const char *p, size_t n)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	size_t i = 0;
	uint64_t w;
	for (; n - i >= 8; i += 8) {
		memcpy(&w, p + i, 8);
		if ((w | (w - ones)) & high) /* a byte above 0x7f, or a zero that borrows */
			return i;
	}
	if (i < n && n >= 8) { /* the rest, with some bytes again */
		memcpy(&w, p + n - 8, 8);
		return (w | (w - ones)) & high ? i : n;
	}
	for (; i < n; i++)
		if ((signed char)p[i] <= 0)
			return i;
	return n;
}

/*
 * Where in a character we are: how many bytes are to come, and the bounds of the next one (RFC 3629; the bounds of
 * the second byte keep out overlong forms, surrogates and what is above U+10FFFF).
 */
struct step {
	unsigned need;
	unsigned char lo, hi;
};

static bool lead(struct step *s, unsigned char c)
{
	s->lo = 0x80;
	s->hi = 0xbf;
	if (c >= 0xc2 && c <= 0xdf) {
		s->need = 1;
	} else if (c >= 0xe0 && c <= 0xef) {
		s->need = 2;
		if (c == 0xe0)
			s->lo = 0xa0;
		if (c == 0xed)
			s->hi = 0x9f;
	} else if (c >= 0xf0 && c <= 0xf4) {
		s->need = 3;
		if (c == 0xf0)
			s->lo = 0x90;
		if (c == 0xf4)
			s->hi = 0x8f;
	} else {
		return false;
	}
	return true;
}

bool utf8_valid(const char *p, size_t n)
{
	struct step s = {0, 0x80, 0xbf};
	for (size_t i = ascii_run(p, n); i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		if (s.need) {
			if (c < s.lo || c > s.hi)
				return false;
			s = (struct step){s.need - 1, 0x80, 0xbf};
		} else if (c == 0 || (c >= 0x80 && !lead(&s, c))) {
			return false;
		}
	}
	return s.need == 0;
}

static char *replacement(char *o)
{
	memcpy(o, "\xef\xbf\xbd", 3);
	return o + 3;
}

/*
 * Writes a character's bytes as they come and takes them back when one does not follow. Each input byte is looked at
 * once, since the input may be memory that another process changes meanwhile.
 */
static size_t repair(char *to, const char *p, size_t n)
{
	struct step s = {0, 0x80, 0xbf};
	char *o = to, *begin = to;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		if (s.need) {
			if (c >= s.lo && c <= s.hi) {
				*o++ = (char)c;
				s = (struct step){s.need - 1, 0x80, 0xbf};
				continue;
			}
			o = replacement(begin);
			s.need = 0;
		}
		begin = o;
		if (c && c < 0x80)
			*o++ = (char)c;
		else if (c && lead(&s, c))
			*o++ = (char)c;
		else
			o = replacement(o);
	}
	if (s.need)
		o = replacement(begin);
	return (size_t)(o - to);
}

size_t utf8_copy(char *to, const char *p, size_t n)
{
	if (n == 0)
		return 0;
	memcpy(to, p, n);
	size_t ok = ascii_run(to, n); /* the copy's: it holds still */
	return ok == n ? n : ok + repair(to + ok, p + ok, n - ok);
}

void utf8_add(struct buf *b, const char *p, size_t n)
{
	if (n && buf_reserve(b, n * UTF8_GROWTH))
		b->n += utf8_copy(b->p + b->n, p, n);
}

size_t utf8_prefix(const char *p, size_t n, size_t chars)
{
	if (n <= chars)
		return n;
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)p[i] & 0xc0) != 0x80 && chars-- == 0)
			return i;
	return n;
}
