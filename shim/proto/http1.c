/*
 * Request and response heads. One pass finds the lines and looks at the names it needs; what is wrong in a field
 * line is reported when the head is complete, so that the answer for given bytes never depends on how they were cut.
 */
#include "proto/http1.h"
#include "base/hot.h"
#include "base/small.h"
#include "proto/http1_field.h"
#include "proto/scan.h"

#define METHOD_MAX 32
#define LEADING_MAX 16 /* bytes of empty lines tolerated before a request line */

/* ---- start lines ---- */

/* Target bytes: anything above 0x20 but DEL. The first byte of [p, e) that is not one, else e. */
HOT static const char *target_end(const char *p, const char *e)
{
	for (; e - p >= 16; p += 16) {
		unsigned m = mask_ctl(p);
		if (m)
			return p + __builtin_ctz(m);
	}
	while (p < e && (unsigned char)*p > 0x20 && *p != 0x7f)
		p++;
	return p;
}

static unsigned method_code(const char *p, size_t n)
{
	static const struct {
		char name[8];
		uint8_t n, code;
	} known[] = {
		{"GET", 3, HTTP1_GET},
		{"POST", 4, HTTP1_POST},
		{"HEAD", 4, HTTP1_HEAD},
		{"PUT", 3, HTTP1_PUT},
		{"DELETE", 6, HTTP1_DELETE},
		{"OPTIONS", 7, HTTP1_OPTIONS},
		{"PATCH", 5, HTTP1_PATCH},
		{"CONNECT", 7, HTTP1_CONNECT},
		{"TRACE", 5, HTTP1_TRACE},
	};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (n == known[i].n && memcmp(p, known[i].name, n) == 0)
			return known[i].code;
	return HTTP1_OTHER;
}

/* Length of the method token at p, or PROTO_BAD, or PROTO_PARTIAL if p[0..n) is all of it so far. */
static ssize_t method_len(const char *p, size_t n)
{
	size_t i = 0;
	while (i < n && i <= METHOD_MAX && is_tchar(p[i]))
		i++;
	if (i > METHOD_MAX)
		return PROTO_BAD;
	if (i == n)
		return PROTO_PARTIAL;
	return i > 0 && p[i] == ' ' ? (ssize_t)i : PROTO_BAD;
}

/* Does [p, e) begin "HTTP/1.<digit>"[CR], as far as it goes? */
static bool version_prefix(const char *p, const char *e)
{
	static const char want[] = "HTTP/1.";
	size_t n = (size_t)(e - p);
	if (n > 9 || memcmp(p, want, n < 7 ? n : 7) != 0)
		return false;
	return (n < 8 || is_digit(p[7])) && (n < 9 || p[8] == '\r');
}

/* A request line without its end yet: could it still become one? Targets are not looked at twice: see `seen`. */
static ssize_t request_prefix(const char *line, const char *end, const char *seen)
{
	ssize_t m = method_len(line, (size_t)(end - line));
	if (m < 0)
		return m;
	const char *t = line + m + 1, *from = t;
	if (seen - t > 16) /* a target that ended more than 16 bytes ago would have been refused by now */
		from = seen - 16;
	const char *e = target_end(from, end);
	if (e == end)
		return PROTO_PARTIAL;
	if (e == t || *e != ' ')
		return PROTO_BAD;
	return version_prefix(e + 1, end) ? PROTO_PARTIAL : PROTO_BAD;
}

/* [line, eol) is a whole request line without its line end. */
static bool request_line(const char *line, const char *eol, struct http1_head *h)
{
	if (eol - line < 12) /* "M / HTTP/1.1" */
		return false;
	const char *t = line + 4, *v = eol - 8;
	if (memcmp(line, "GET ", 4) == 0) {
		h->method = HTTP1_GET;
	} else {
		ssize_t m = method_len(line, (size_t)(eol - line));
		if (m < 0)
			return false;
		h->method = (uint8_t)method_code(line, (size_t)m);
		t = line + m + 1;
	}
	if (v - t < 2 || v[-1] != ' ' || memcmp(v, "HTTP/1.", 7) != 0 || !is_digit(v[7]))
		return false;
	if (target_end(t, eol) != v - 1)
		return false;
	h->minor = (uint8_t)(v[7] - '0');
	h->method_raw = (struct slice){line, (uint32_t)(t - 1 - line)};
	h->target = (struct slice){t, (uint32_t)(v - 1 - t)};
	return true;
}

static bool response_line(const char *line, const char *eol, struct http1_head *h)
{
	if (eol - line < 12)
		return false;
	if (load64(line) != load64("HTTP/1.1") && (memcmp(line, "HTTP/1.", 7) != 0 || !is_digit(line[7])))
		return false;
	if (line[8] != ' ' || line[9] < '1' || line[9] > '9' || !is_digit(line[10]) || !is_digit(line[11]))
		return false;
	if (eol - line > 12 && line[12] != ' ')
		return false;
	h->minor = (uint8_t)(line[7] - '0');
	h->status = (uint16_t)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
	return true;
}

static ssize_t response_prefix(const char *line, const char *end)
{
	static const char want[] = "HTTP/1.9 999 ";
	for (size_t i = 0; line + i < end && i < sizeof want - 1; i++) {
		char c = line[i];
		bool ok = want[i] == '9' ? is_digit(c) && (i != 9 || c != '0') : c == want[i] || (i == 12 && c == '\r');
		if (!ok)
			return PROTO_BAD;
	}
	return PROTO_PARTIAL;
}

/* ---- heads ---- */

static inline ssize_t not_yet(const struct lines *l, size_t len)
{
	if (l->nul)
		return PROTO_BAD;
	return len >= HTTP1_HEAD_MAX ? PROTO_BAD : PROTO_PARTIAL;
}

/* Only four names matter in a response: the length of the one that stands at p, or 0. */
static unsigned response_name(const char *p, const char *end)
{
	static const struct {
		char name[20];
		uint8_t n;
	} names[] = {{"content-length", 14}, {"connection", 10}, {"transfer-encoding", 17}, {"upgrade", 7}};
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t k = 0, n = names[i].n;
		if ((size_t)(end - p) <= n || p[n] != ':')
			continue;
		while (k < n && lower(p[k]) == names[i].name[k])
			k++;
		if (k == n)
			return (unsigned)n;
	}
	return 0;
}

/* A field that may matter, its line feeds from `l` on. What not_yet says, or 0. By value: the caller's stays in registers. */
static __attribute__((noinline)) ssize_t response_field(struct http1_fields *f, const char *p, struct lines l, size_t len)
{
	const char *nl;
	unsigned n = response_name(p, l.end);
	if (!n)
		return 0;
	do { /* lines that begin with a blank continue it */
		nl = lines_next(&l);
		if (!nl)
			return not_yet(&l, len);
	} while (nl + 1 < l.end && (nl[1] == ' ' || nl[1] == '\t'));
	http1_framing_field(f, p, n, nl - (nl[-1] == '\r'));
	return 0;
}

static inline bool ends_line(const char *p) /* and no fold follows? */
{
	return p[0] == '\r' && p[1] == '\n' && p[2] != ' ' && p[2] != '\t';
}

/*
 * What nearly every response has, "Content-Length: 123" and "Connection: keep-alive", read before its line end is looked
 * for; p has SHORTCUT bytes. 1: done; 0: a name that does not matter; -1: look closer.
 */
#define SHORTCUT 36
static inline __attribute__((always_inline)) int response_shortcut(struct http1_head *h, const char *p)
{
	if (eq8(p, "content-")) {
		const char *d = p + 16;
		uint64_t v = 0;
		if (!eq8(p + 7, "-length:"))
			return 0;
		for (; d < p + 33 && is_digit(*d); d++)
			v = v * 10 + (uint64_t)(*d - '0');
		if (p[15] != ' ' || d == p + 16 || h->has_length || !ends_line(d))
			return -1;
		h->has_length = true;
		h->length = v;
		return 1;
	}
	if (!eq8(p, "connecti") || !eq8(p + 8, "on: keep") || !eq8(p + 14, "ep-alive") || !ends_line(p + 22))
		return -1;
	h->keep_alive = true;
	return 1;
}

/* Initials of those names, and of the empty line: one bit test sends other lines away. */
#define BIT(c) (1u << ((c)&31))
#define INITIALS (BIT('c') | BIT('t') | BIT('u') | BIT('\r') | BIT('\n'))

/* Empty lines before a request line: their length, PROTO_PARTIAL, or PROTO_BAD. */
static ssize_t leading_lines(const char *buf, size_t len)
{
	size_t i = 0;
	while (i < len && (buf[i] == '\r' || buf[i] == '\n')) {
		if (i >= LEADING_MAX)
			return PROTO_BAD;
		if (buf[i] == '\r') {
			if (i + 1 == len)
				return PROTO_PARTIAL;
			if (buf[++i] != '\n')
				return PROTO_BAD;
		}
		i++;
	}
	return i == len ? PROTO_PARTIAL : (ssize_t)i;
}

/*
 * buf[0..seen) was PARTIAL and its start line is complete: does the head end in the new bytes? Values are left for
 * the final pass, so every byte is looked at twice in all.
 */
static ssize_t end_in_new(const char *buf, size_t len, size_t seen)
{
	struct lines l;
	const char *p, *end = buf + (len < HTTP1_HEAD_MAX ? len : HTTP1_HEAD_MAX);
	lines_start(&l, buf + seen, end);
	while ((p = lines_next(&l))) {
		if (p[-1] == '\n' || (p[-1] == '\r' && p[-2] == '\n'))
			return 1;
	}
	return not_yet(&l, len);
}

/*
 * The fields of a response, which begin behind the line feed at nl: a line feed is looked at for what follows it, and most
 * names need no more than their initial. > 0: where the head ends, counted from nl; else as parse().
 */
static inline __attribute__((always_inline)) ssize_t response_fields(struct http1_fields *f, struct lines *l, const char *nl,
                                                                     const char *end, size_t len)
{
	for (const char *from = nl;;) {
		const char *p = nl + 1;
		if (__builtin_expect(p == end, 0))
			return not_yet(l, len);
		unsigned c = (unsigned char)*p;
		if (INITIALS >> (c & 31) & 1) {
			if (c == '\n')
				return p + 1 - from;
			if (c == '\r') {
				if (end - p > 1 && p[1] == '\n')
					return p + 2 - from;
			} else if (end - p < SHORTCUT || response_shortcut(f->h, p) < 0) {
				ssize_t r = response_field(f, p, *l, len);
				if (r)
					return r;
			}
		}
		while (__builtin_expect(!l->mask, 0))
			if (!lines_more(l))
				return not_yet(l, len);
		nl = lines_take(l);
	}
}

/* The same of a request. */
static inline __attribute__((always_inline)) ssize_t request_fields(struct http1_fields *f, struct lines *l, const char *nl,
                                                                    const char *end, size_t len)
{
	const char *from = nl, *line = nl + 1;
	if (line < end && (*line == ' ' || *line == '\t'))
		f->bad = true; /* a fold of nothing: RFC 9112 2.2 has it refused or skipped */
	for (;;) {
		while (__builtin_expect(!l->mask, 0))
			if (!lines_more(l))
				return not_yet(l, len);
		nl = lines_take(l);
		const char *p = line;
		unsigned c = (unsigned char)*p;
		line = nl + 1;
		if (__builtin_expect(c <= ' ', 0)) {
			if (c == '\n' || (c == '\r' && nl == p + 1))
				return line - from;
			/* Else a fold of a field that did not matter, or rubbish. */
			if (c != ' ' && c != '\t')
				f->bad = true;
			continue;
		}
		/* Lines that begin with a blank continue this one. */
		while (__builtin_expect(line < end && (*line == ' ' || *line == '\t'), 0)) {
			nl = lines_next(l);
			if (!nl)
				return not_yet(l, len);
			line = nl + 1;
		}
		http1_request_field(f, p, nl - (nl[-1] == '\r'), end);
	}
}

static inline __attribute__((always_inline)) ssize_t parse(const char *buf, size_t len, size_t seen,
                                                           struct http1_head *h, const bool request)
{
	const char *end = buf + (len < HTTP1_HEAD_MAX ? len : HTTP1_HEAD_MAX), *line = buf;
	if (len == 0)
		return PROTO_PARTIAL;
	if (request && (*buf == '\r' || *buf == '\n')) {
		ssize_t skip = leading_lines(buf, len);
		if (skip < 0)
			return skip;
		line += skip;
	}

	struct lines l;
	lines_start(&l, line, end);
	const char *nl = lines_next(&l);
	if (!nl) {
		if (l.nul)
			return PROTO_BAD;
		ssize_t r = request ? request_prefix(line, end, buf + seen) : response_prefix(line, end);
		return r == PROTO_BAD ? r : not_yet(&l, len);
	}
	if (seen && nl < buf + seen) {
		ssize_t r = end_in_new(buf, len, seen);
		if (r < 0)
			return r;
	}

	/* The members up to `length` serve both directions, the slices behind them requests only. */
	if (request)
		small_clear(h, sizeof *h);
	else
		small_clear(h, offsetof(struct http1_head, method_raw));
	struct http1_fields f = {.h = h};
	const char *eol = nl - (nl > line && nl[-1] == '\r');
	if (request ? !request_line(line, eol, h) : !response_line(line, eol, h))
		return PROTO_BAD;
	h->line_end = (uint32_t)(nl + 1 - buf);
	ssize_t r = request ? request_fields(&f, &l, nl, end, len) : response_fields(&f, &l, nl, end, len);
	if (r <= 0)
		return r;
	if (f.bad)
		return PROTO_BAD;
	h->upgrade = f.upgrade_field && f.upgrade_option;
	h->framing_conflict = h->has_length && (h->chunked || h->te_other);
	h->len = (uint32_t)(nl + r - buf);
	return h->len;
}

HOT ssize_t http1_parse_request(const char *buf, size_t len, size_t seen, struct http1_head *h)
{
	return parse(buf, len, seen, h, true);
}

HOT ssize_t http1_parse_response(const char *buf, size_t len, size_t seen, struct http1_head *h)
{
	return parse(buf, len, seen, h, false);
}
