#include "proto/http1_memo.h"
#include "base/hot.h"
#include "base/small.h"
#include "proto/scan.h"

#define AT_ONCE 4 /* misses after each of which the head is kept */
#define SELDOM 16 /* then after one in so many: where no head comes twice, keeping them is work for nothing */

typedef uint64_t __attribute__((vector_size(16), aligned(1), may_alias)) block;

/* n >= 16. Nearly always equal, so there is one look at the end. */
static inline __attribute__((always_inline)) bool same(const char *a, const char *b, size_t n)
{
	block differ = {0};
	for (size_t i = 0; i + 16 < n; i += 16)
		differ |= *(const block *)(a + i) ^ *(const block *)(b + i);
	differ |= *(const block *)(a + n - 16) ^ *(const block *)(b + n - 16);
	return !(differ[0] | differ[1]);
}

/* A cookie is the client's: it neither comes again nor is it to lie about. */
static bool sets_cookie(const char *p, size_t n)
{
	for (size_t i = 0; i + 11 < n; i++)
		if (p[i] == '\n' && NAME_IS(p + i + 1, "set-cookie"))
			return true;
	return false;
}

static __attribute__((noinline)) ssize_t parse(struct http1_memo *m, const char *buf, size_t len, struct http1_head *h)
{
	ssize_t n = http1_parse_response(buf, len, 0, h);
	if (n < 16 || n > HTTP1_MEMO_MAX)
		return n;
	m->misses++;
	if ((m->misses > AT_ONCE && m->misses % SELDOM) || sets_cookie(buf, (size_t)n))
		return n;
	m->n = (uint16_t)n;
	small_copy(m->bytes, buf, (size_t)n);
	small_copy(m->result, h, sizeof m->result);
	return n;
}

HOT ssize_t http1_memo_response(struct http1_memo *m, const char *buf, size_t len, struct http1_head *h)
{
	if (!m->n || len < m->n || !same(buf, m->bytes, m->n))
		return parse(m, buf, len, h);
	m->misses = 0;
	small_copy(h, m->result, sizeof m->result);
	return m->n;
}
