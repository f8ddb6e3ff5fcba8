/*
 * AWS API calls by what stands on the wire: the credential scope of a signature, X-Amz-Target, the host, the path, the
 * query, the first bytes of the body. Works on heads and bodies of whatever stream they come from.
 * Pure functions, any context; input is any bytes, results borrow from it or are literals. What they return is made of
 * letters, digits and a few marks (tests/fuzz/fuzz_aws_call.c), so that it can go into names.
 */
#ifndef REMORA_AWS_CALL_H
#define REMORA_AWS_CALL_H

#include "base/slice.h"
#include "proto/http1.h"

enum aws_resource {
	AWS_NOTHING,
	AWS_TABLE = 't',
	AWS_QUEUE = 'q', /* URL */
	AWS_BUCKET = 'b',
	AWS_TOPIC = 'o', /* ARN */
	AWS_FUNCTION = 'f',
};

struct aws_call {
	struct slice service;   /* as it signs: "dynamodb"; never empty */
	struct slice region;    /* empty = unknown, like the next two */
	struct slice operation; /* "GetItem" */
	struct slice resource;
	uint8_t kind; /* enum aws_resource, of `resource` */
};

/* Could it be one? Cheap: what aws_call_of needs was found by the parser, or the host says so. */
static inline bool aws_call_likely(const struct http1_head *h)
{
	static const char cloud[] = "amazonaws.com";
	const uint32_t n = sizeof cloud - 1;
	return h->aws_auth.n || h->aws_target.n || (h->host.n > n && memcmp(h->host.p + h->host.n - n, cloud, n) == 0) ||
	       (h->target.n > 32 && memmem(h->target.p, h->target.n, "X-Amz-Credential=", 17));
}

/* From a request head. False: no AWS call. */
bool aws_call_of(const struct http1_head *h, struct aws_call *out);
/* What the first bytes of its body add: the operation of the query protocols, the table, queue or topic. */
void aws_call_body(struct slice body, struct slice service, struct aws_call *out);
/* The request id in a response head; empty = none. */
struct slice aws_request_id(const char *head, size_t n);

#endif
