/* Between span.c and context.c only. */
#ifndef REMORA_SPAN_PRIVATE_H
#define REMORA_SPAN_PRIVATE_H

#include "span/span.h"

void context_opened(struct txn *t); /* a server request */
void context_closed(struct txn *t);
bool context_any(void); /* is a server request open? */
#define CARRY_SIZE (CARRY_TRACESTATE + CARRY_BAGGAGE)
char *context_carry_new(void); /* CARRY_SIZE bytes, NULL: none left */
void context_carry_free(char *carry);

#endif
