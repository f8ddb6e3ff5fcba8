/* What AWS says when it refuses: JSON, XML, or a header; a proxy or a mock may answer anything. Pure (fuzzed). */
#ifndef REMORA_AWS_ERROR_H
#define REMORA_AWS_ERROR_H

#include <stdbool.h>
#include <stddef.h>

struct aws_error {
	char type[64];     /* "ResourceNotFoundException"; "" = none */
	char message[160]; /* printable */
};

/* `header`: X-Amzn-ErrorType, which has the type where the body has none; NULL = none. */
void aws_error_read(struct aws_error *out, const char *header, const char *body, size_t n);
/* Is its type one of the names (divided by '|')? */
bool aws_error_is(const struct aws_error *e, const char *names);
/* Too much at a time, or a fault of theirs: later. */
bool aws_error_busy(const struct aws_error *e);
/* The signature, the keys, or the clock. */
bool aws_error_unauthorized(const struct aws_error *e);

#endif
