/* Well-formed text passes as it is, every ill-formed part becomes one U+FFFD. */
#include "exporters/utf8.h"
#include "unit.h"

#define R "\xef\xbf\xbd"

static void check_copy(const char *in, size_t n, const char *want, size_t want_n)
{
	struct unit_guarded src = unit_at_end(in, n), dst = unit_at_end(NULL, n * UTF8_GROWTH);
	unit_case("%s", unit_show(in, n));
	size_t got = utf8_copy(dst.p, src.p, n);
	EQ_MEM(dst.p, got, want, want_n);
	OK(utf8_valid(want, want_n));
	EQ_INT(utf8_valid(src.p, n), n == want_n && memcmp(in, want, n) == 0);
	struct buf b = {0};
	buf_add(&b, "x", 1);
	utf8_add(&b, src.p, n);
	EQ_MEM(b.p + 1, b.n - 1, want, want_n);
	buf_free(&b);
	unit_unguard(src);
	unit_unguard(dst);
}

TEST(repairs)
{
#define ROW(in, want)                              \
	{                                              \
		in, sizeof(in) - 1, want, sizeof(want) - 1 \
	}
	static const struct {
		const char *in;
		size_t n;
		const char *want;
		size_t want_n;
	} rows[] = {
		ROW("", ""),
		ROW("plain", "plain"),
		ROW("more than eight bytes", "more than eight bytes"),
		ROW("\x7f\t\n\x01", "\x7f\t\n\x01"),
		ROW("\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa0", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa0"),
		ROW("\xef\xbf\xbf\xf4\x8f\xbf\xbf\xee\x80\x80\xed\x9f\xbf", "\xef\xbf\xbf\xf4\x8f\xbf\xbf\xee\x80\x80\xed\x9f\xbf"),
		ROW("a\0b", "a" R "b"),
		ROW("12345678\0", "12345678" R),
		ROW("\xff\xfe", R R),
		ROW("\x80\xbf", R R),
		ROW("\xc0\xaf", R R),
		ROW("\xc1\xbf", R R),
		ROW("\xe0\x80\xaf", R R R),
		ROW("\xed\xa0\x80", R R R),
		ROW("\xf0\x80\x80\x80", R R R R),
		ROW("\xf4\x90\x80\x80", R R R R),
		ROW("\xf5\x80", R R),
		ROW("\xc3", R),
		ROW("\xe2\x82", R),
		ROW("\xf0\x9f\x90", R),
		ROW("\xe2\x82x", R "x"),
		ROW("\xf0\x9f\xc3\xa9", R "\xc3\xa9"),
		ROW("\xf0\x9f\x90\xf0\x9f\x90\xa0", R "\xf0\x9f\x90\xa0"),
		ROW("\xe2\xe2\x82\xac", R "\xe2\x82\xac"),
		ROW("latin \xe9t\xe9 and more", "latin " R "t" R " and more"),
		/* Unicode 15, table 3-8 and below it */
		ROW("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", R R R R R R R R "A"),
		ROW("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A"),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_copy(rows[i].in, rows[i].n, rows[i].want, rows[i].want_n);
}

/* The steps of eight must not hide a byte at any place. */
TEST(bad_byte_anywhere)
{
	for (size_t n = 1; n < 40; n++)
		for (size_t i = 0; i < n; i++)
			for (int c = 0; c < 256; c += c ? 127 : 128) { /* 0, 128, 255 */
				char in[40], want[48];
				memset(in, 'a', n);
				in[i] = (char)c;
				memset(want, 'a', i);
				memcpy(want + i, R, 3);
				memset(want + i + 3, 'a', n - i - 1);
				check_copy(in, n, want, n + 2);
			}
}

TEST(prefix_counts_characters)
{
	static const char s[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa0z";
	static const size_t want[] = {0, 1, 3, 6, 10, 11, 11};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		EQ_INT(utf8_prefix(s, sizeof s - 1, i), want[i]);
	EQ_INT(utf8_prefix(s, sizeof s - 1, SIZE_MAX), sizeof s - 1);
}

TEST(no_memory)
{
	struct buf b = {.failed = true};
	utf8_add(&b, "x", 1);
	EQ_INT(b.n, 0);
}
