/* Message bodies: where they end (RFC 9112 6 and 7). */
#include "proto/http1.h"
#include "base/hot.h"

/* Bounds on what a peer may send beside the payload, so that a broken stream is noticed instead of followed. */
#define SIZE_LINE_MAX 4096
#define TRAILERS_MAX (64 * 1024)

enum chunk_state {
	SIZE_FIRST, /* the first digit is due */
	SIZE_DIGITS,
	SIZE_EXT, /* blanks and extensions up to the line end */
	SIZE_LF,
	DATA,
	DATA_CR, /* the line end behind the data */
	DATA_LF,
	TRAILER_FIRST, /* at the beginning of a trailer line, or of the empty one */
	TRAILER_LINE,
	TRAILER_LF, /* the empty line's LF */
};

static void start(struct http1_body *b, enum http1_body_kind kind, uint64_t length)
{
	*b = (struct http1_body){.kind = (uint8_t)kind, .state = SIZE_FIRST};
	if (kind == HTTP1_BODY_LENGTH)
		b->left = length;
	b->done = kind == HTTP1_BODY_NONE || (kind == HTTP1_BODY_LENGTH && length == 0);
}

HOT void http1_body_of_request(struct http1_body *b, const struct http1_head *h)
{
	if (h->chunked)
		start(b, HTTP1_BODY_CHUNKED, 0);
	else if (h->te_other)
		start(b, HTTP1_BODY_CLOSE, 0); /* cannot be framed: servers answer 400 and close */
	else if (h->has_length)
		start(b, HTTP1_BODY_LENGTH, h->length);
	else
		start(b, HTTP1_BODY_NONE, 0);
}

HOT void http1_body_of_response(struct http1_body *b, const struct http1_head *h, uint8_t request_method)
{
	if (h->status == 101 || (request_method == HTTP1_CONNECT && h->status / 100 == 2))
		start(b, HTTP1_BODY_TUNNEL, 0);
	else if (request_method == HTTP1_HEAD || h->status < 200 || h->status == 204 || h->status == 304)
		start(b, HTTP1_BODY_NONE, 0);
	else if (h->chunked)
		start(b, HTTP1_BODY_CHUNKED, 0);
	else if (h->te_other || !h->has_length)
		start(b, HTTP1_BODY_CLOSE, 0);
	else
		start(b, HTTP1_BODY_LENGTH, h->length);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of framing; false = broken. */
static bool chunk_byte(struct http1_body *b, char c)
{
	int v;
	switch ((enum chunk_state)b->state) {
	case SIZE_FIRST:
	case SIZE_DIGITS:
		v = hex_value(c);
		if (v >= 0) {
			if (b->left > (INT64_MAX >> 4) || b->framing++ >= SIZE_LINE_MAX)
				return false;
			b->left = b->left << 4 | (unsigned)v;
			b->state = SIZE_DIGITS;
			return true;
		}
		if (b->state == SIZE_FIRST || (c != '\r' && c != '\n' && c != ';' && c != ' ' && c != '\t'))
			return false;
		b->state = SIZE_EXT;
		/* fall through */
	case SIZE_EXT:
		if (c != '\r' && c != '\n') {
			b->state = SIZE_EXT;
			return c != 0 && b->framing++ < SIZE_LINE_MAX;
		}
		b->state = SIZE_LF;
		if (c == '\r')
			return true;
		/* fall through */
	case SIZE_LF:
		if (c != '\n')
			return false;
		b->state = b->left ? DATA : TRAILER_FIRST;
		b->framing = 0;
		return true;
	case DATA_CR:
		if (c == '\r') {
			b->state = DATA_LF;
			return true;
		}
		/* fall through */
	case DATA_LF:
		b->state = SIZE_FIRST;
		return c == '\n';
	case TRAILER_FIRST:
		if (c == '\n') {
			b->done = true;
			return true;
		}
		b->state = c == '\r' ? TRAILER_LF : TRAILER_LINE;
		return c != 0 && b->framing++ < TRAILERS_MAX;
	case TRAILER_LINE:
		if (c == '\n')
			b->state = TRAILER_FIRST;
		return c != 0 && b->framing++ < TRAILERS_MAX;
	case TRAILER_LF:
		b->done = true;
		return c == '\n';
	case DATA:
		break;
	}
	return false;
}

static size_t take(struct http1_body *b, uint64_t n)
{
	if (n > b->left)
		n = b->left;
	b->left -= n;
	b->size += n;
	return (size_t)n;
}

static ssize_t feed_chunked(struct http1_body *b, const char *p, size_t n)
{
	size_t i = 0;
	while (i < n && !b->done) {
		if (b->state == DATA) {
			i += take(b, n - i);
			if (b->left == 0)
				b->state = DATA_CR;
		} else if (!chunk_byte(b, p[i++])) {
			b->done = false;
			return PROTO_BAD;
		}
	}
	return (ssize_t)i;
}

HOT ssize_t http1_body_feed(struct http1_body *b, const char *p, size_t n)
{
	if (b->kind == HTTP1_BODY_CHUNKED)
		return feed_chunked(b, p, n);
	return http1_body_skip(b, n);
}

HOT ssize_t http1_body_skip(struct http1_body *b, uint64_t n)
{
	if (b->done || n == 0)
		return 0;
	switch ((enum http1_body_kind)b->kind) {
	case HTTP1_BODY_LENGTH:
		n = take(b, n);
		b->done = b->left == 0;
		return (ssize_t)n;
	case HTTP1_BODY_CHUNKED:
		if (b->state != DATA || n > b->left)
			return PROTO_BAD;
		take(b, n);
		if (b->left == 0)
			b->state = DATA_CR;
		return (ssize_t)n;
	case HTTP1_BODY_CLOSE:
	case HTTP1_BODY_TUNNEL:
		b->size += n;
		return (ssize_t)n;
	case HTTP1_BODY_NONE:
		break;
	}
	return 0;
}

bool http1_body_payload_done(const struct http1_body *b)
{
	return b->done || (b->kind == HTTP1_BODY_CHUNKED && b->state >= TRAILER_FIRST);
}

bool http1_body_eof(const struct http1_body *b)
{
	return b->done || b->kind == HTTP1_BODY_CLOSE || b->kind == HTTP1_BODY_TUNNEL;
}
