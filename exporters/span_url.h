/* Taking a request's target and its Host apart. Pure; input is any bytes, results borrow from it. */
#ifndef REMORA_SPAN_URL_H
#define REMORA_SPAN_URL_H

#include "base/slice.h"

struct authority {
	struct slice text; /* without user information */
	struct slice host; /* without the brackets of an IPv6 address */
	uint32_t port;     /* 0 = none given */
};

/* "host", "host:port", "[v6]", "[v6]:port", and what should not be there: user information, a bare v6. */
struct authority authority_of(struct slice s);

struct target {
	struct slice scheme, authority, path, query; /* p NULL: not part of this form */
};

/* `connect`: anything without a leading slash is an authority. "*" is a path. */
struct target target_of(struct slice t, bool connect);

static inline struct slice from_to(const char *p, const char *e)
{
	return (struct slice){p, (uint32_t)(e - p)};
}

#endif
