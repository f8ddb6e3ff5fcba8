/*
 * A busy server's response heads repeat: within a second, of one resource, byte for byte. What a head was parsed into is
 * kept with its bytes, and the same bytes need not be parsed again; scripts/bench shows what that saves. Pure: the caller
 * owns the memo, zeroed at first, and lets one thread at a time use it. Any context.
 */
#ifndef REMORA_HTTP1_MEMO_H
#define REMORA_HTTP1_MEMO_H

#include "proto/http1.h"
#include <stddef.h>

#define HTTP1_MEMO_MAX 320 /* longer heads are parsed */

struct http1_memo {
	uint16_t n;      /* length of the head in `bytes`, 0 = none */
	uint16_t misses; /* since it was of use */
	char result[offsetof(struct http1_head, method_raw)];
	char bytes[HTTP1_MEMO_MAX];
};

/* As http1_parse_response(buf, len, 0, h). */
ssize_t http1_memo_response(struct http1_memo *m, const char *buf, size_t len, struct http1_head *h);

#endif
