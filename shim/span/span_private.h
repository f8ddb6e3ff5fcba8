/* Between span.c and context.c only. */
#ifndef REMORA_SPAN_PRIVATE_H
#define REMORA_SPAN_PRIVATE_H

#include "span/span.h"

void context_opened(struct txn *t); /* a server request */
void context_closed(struct txn *t);
void context_carry_free(char *carry);

#endif
