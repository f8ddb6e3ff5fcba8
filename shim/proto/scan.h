/*
 * Walking the lines of a buffer 16 bytes at a time, and unaligned loads. Pure; any context; never reads
 * outside [begin, end). Used by the parsers of this folder only.
 */
#ifndef REMORA_SCAN_H
#define REMORA_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline uint64_t load64(const char *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint32_t load32(const char *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

/*
 * Is p[0..8) the lower-case literal `lit`, ASCII case aside? Letters of a lower-case header name have bit 0x40,
 * its digits and '-' have not, so the mask folds case only where a letter is expected.
 */
static inline __attribute__((always_inline)) bool eq8(const char *p, const char *lit)
{
	uint64_t want = load64(lit), fold = (want >> 1) & 0x2020202020202020u;
	return (load64(p) | fold) == want;
}

static inline __attribute__((always_inline)) bool eq4(const char *p, const char *lit)
{
	uint32_t want = load32(lit), fold = (want >> 1) & 0x20202020u;
	return (load32(p) | fold) == want;
}

static inline char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Header names by length class; `n` is the literal's length, a constant, so all of this folds. */
static inline __attribute__((always_inline)) bool eq_name(const char *p, const char *lit, size_t n)
{
	if (n >= 8)
		return eq8(p, lit) && eq8(p + n - 8, lit + n - 8) && (n <= 16 || lower(p[8]) == lit[8]);
	if (n >= 4)
		return eq4(p, lit) && eq4(p + n - 4, lit + n - 4);
	for (size_t i = 0; i < n; i++)
		if (lower(p[i]) != lit[i])
			return false;
	return true;
}
#define NAME_IS(p, lit) eq_name((p), (lit), sizeof(lit) - 1)

/* Mask of the bytes of p[0..16) that are `c`. */
static inline unsigned mask_of(const char *p, char c)
{
#ifdef __SSE2__
	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8(c)));
#else
	unsigned m = 0;
	for (int i = 0; i < 16; i++)
		m |= (unsigned)(p[i] == c) << i;
	return m;
#endif
}

/* Mask of blanks, controls and DEL. */
static inline unsigned mask_ctl(const char *p)
{
#ifdef __SSE2__
	__m128i x = _mm_loadu_si128((const __m128i *)p);
	return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x20)), x),
	                                                _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f))));
#else
	unsigned m = 0;
	for (int i = 0; i < 16; i++)
		m |= (unsigned)((unsigned char)p[i] <= 0x20 || p[i] == 0x7f) << i;
	return m;
#endif
}

/* RFC 9110 5.6.2 token characters, one bit each. */
static inline bool is_tchar(char c)
{
	static const uint32_t tchar_bits[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff, 0, 0, 0, 0};
	unsigned u = (unsigned char)c;
	return tchar_bits[u >> 5] >> (u & 31) & 1;
}

static inline bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * The line feeds of a buffer in order, found 64 bytes at a time. A NUL ends the walk: no head may hold one.
 * Fields are private but `nul`.
 */
struct lines {
	const char *begin, *end;
	const char *block; /* the 64 bytes whose line feeds `mask` still holds */
	uint64_t mask;
	bool nul;
};

static inline __attribute__((always_inline)) uint64_t mask64(const char *p, char c)
{
	return mask_of(p, c) | (uint64_t)mask_of(p + 16, c) << 16 | (uint64_t)mask_of(p + 32, c) << 32 |
	       (uint64_t)mask_of(p + 48, c) << 48;
}

static inline bool has_nul64(const char *p)
{
#ifdef __SSE2__
	const __m128i *v = (const __m128i *)p;
	__m128i a = _mm_min_epu8(_mm_loadu_si128(v), _mm_loadu_si128(v + 1));
	__m128i b = _mm_min_epu8(_mm_loadu_si128(v + 2), _mm_loadu_si128(v + 3));
	return _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(a, b), _mm_setzero_si128())) != 0;
#else
	return mask64(p, 0) != 0;
#endif
}

static inline bool has_nul32(const char *p)
{
#ifdef __SSE2__
	const __m128i *v = (const __m128i *)p;
	return _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(_mm_loadu_si128(v), _mm_loadu_si128(v + 1)), _mm_setzero_si128()));
#else
	return mask_of(p, 0) | mask_of(p + 16, 0);
#endif
}

/* Cut the walk at the first of these NULs. */
static inline void lines_cut(struct lines *l, uint64_t nuls)
{
	l->nul = true;
	l->end = l->block + __builtin_ctzll(nuls);
	l->mask &= (nuls & -nuls) - 1;
}

/* Blocks shorter than 64 bytes are put together from loads that overlap and stay inside. */
static inline uint64_t mask_short(const char *p, size_t n, char c)
{
	const char *e = p + n;
	uint64_t m = 0;
	if (n >= 32)
		return mask_of(p, c) | (uint64_t)mask_of(p + 16, c) << 16 |
		       (mask_of(e - 32, c) | (uint64_t)mask_of(e - 16, c) << 16) << (n - 32);
	if (n >= 16)
		return mask_of(p, c) | (uint64_t)mask_of(e - 16, c) << (n - 16);
	for (size_t i = 0; i < n; i++)
		m |= (uint64_t)(p[i] == c) << i;
	return m;
}

static inline __attribute__((always_inline)) void lines_fill(struct lines *l)
{
	const char *p = l->block;
	ptrdiff_t left = l->end - p;
	uint64_t nuls = 0;
	if (left >= 64) {
		l->mask = mask64(p, '\n');
		if (__builtin_expect(has_nul64(p), 0))
			nuls = mask64(p, 0);
	} else if (p != l->begin) { /* there are 64 bytes before the end: shift out those already seen */
		p = l->end - 64;
		l->mask = mask64(p, '\n') >> (64 - left);
		if (__builtin_expect(has_nul64(p), 0))
			nuls = mask64(p, 0) >> (64 - left);
	} else {
		l->mask = mask_short(p, (size_t)left, '\n');
		if (left < 32 || has_nul32(p) || has_nul32(l->end - 32))
			nuls = mask_short(p, (size_t)left, 0);
	}
	if (__builtin_expect(nuls != 0, 0))
		lines_cut(l, nuls);
}

static inline __attribute__((always_inline)) void lines_start(struct lines *l, const char *begin, const char *end)
{
	*l = (struct lines){.begin = begin, .end = end, .block = begin};
	if (begin < end)
		lines_fill(l);
}

/* Another 64 bytes; false: there are none, or l->nul. */
static inline __attribute__((always_inline)) bool lines_more(struct lines *l)
{
	if (l->end - l->block <= 64)
		return false;
	l->block += 64;
	lines_fill(l);
	return true;
}

/* The next line feed; only while l->mask is not empty. */
static inline __attribute__((always_inline)) const char *lines_take(struct lines *l)
{
	const char *p = l->block + (unsigned)__builtin_ctzll(l->mask);
	l->mask &= l->mask - 1;
	return p;
}

/* The next line feed. NULL: none before the end or, if l->nul, before a NUL. */
static inline __attribute__((always_inline)) const char *lines_next(struct lines *l)
{
	while (__builtin_expect(!l->mask, 0))
		if (!lines_more(l))
			return NULL;
	return lines_take(l);
}

#endif
