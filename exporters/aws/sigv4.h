/* AWS Signature Version 4: a request in, its Authorization header out. Pure but for memory. exporter thread. */
#ifndef REMORA_AWS_SIGV4_H
#define REMORA_AWS_SIGV4_H

#include "exporters/buf.h"

struct aws_keys { /* borrowed, NUL-terminated; token NULL or "": not temporary */
	const char *id, *secret, *token;
};

#define SIGV4_HEADERS 32 /* that are signed, ours included */

struct sigv4 {
	const char *method, *host;  /* host: with a port that is not the scheme's */
	const char *path, *query;   /* as in the request line; "" = none */
	const char *const *headers; /* "Name: value" as sent, all of them signed; NULL at the end */
	const void *body;
	size_t body_n;
	const char *region, *service;
	struct aws_keys keys;
	uint64_t time_s; /* since 1970, of the server's clock */
};

struct sigv4_lines {                   /* to be sent besides, owned: see sigv4_free */
	char date[32];                     /* "X-Amz-Date: 20260102T030405Z" */
	struct buf authorization, token;   /* whole lines with a NUL; token empty: none */
	char canonical[65], signature[65]; /* hex, for tests */
};

/* False: no memory, or more headers than are signed. */
bool sigv4_sign(const struct sigv4 *r, struct sigv4_lines *out);
void sigv4_free(struct sigv4_lines *l); /* wipes the token */

#endif
