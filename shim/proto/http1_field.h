/* Between http1.c and http1_field.c only: what one field line means. Pure; any context. */
#ifndef REMORA_HTTP1_FIELD_H
#define REMORA_HTTP1_FIELD_H

#include "proto/http1.h"

struct http1_fields {
	struct http1_head *h;
	bool bad; /* the head is BAD, said when it is complete */
	bool upgrade_field, upgrade_option;
};

/*
 * [p, eol) is one field of a request, folded lines included; loads stay below `end`, the end of the input.
 */
void http1_request_field(struct http1_fields *f, const char *p, const char *eol, const char *end);

/* The fields both directions have: p[n] is the colon of a field that ends at eol. False = some other name. */
bool http1_framing_field(struct http1_fields *f, const char *p, size_t n, const char *eol);

#endif
