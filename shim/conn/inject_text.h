/* The header lines that inject.c puts into heads. Pure but for span.h; host, any context. */
#ifndef REMORA_INJECT_TEXT_H
#define REMORA_INJECT_TEXT_H

#include "proto/http1.h"
#include "span/span.h"

struct inject_text {
	char *p;
	uint32_t n, cap;
	bool full;
	const char *eol; /* as the program ends its lines */
};

static inline const char *inject_eol(const char *head, const struct http1_head *h)
{
	return head[h->line_end - 2] == '\r' ? "\r\n" : "\n";
}

/* Context of a request, as the propagators say; nothing that the head has already. Whole lines, as many as there is room for. */
void inject_headers(struct inject_text *t, const struct span_ctx *c, const struct http1_head *h);
/* X-Amzn-Trace-Id of a response: what was decided for the request that asked. */
void inject_answer(struct inject_text *t, const struct txn *asked);
/* Has the response one of the program's own? */
bool inject_has_amzn(const char *head, const struct http1_head *h);

#endif
