#include "exporters/cloudwatch/log_batch.h"
#include "exporters/cloudwatch/line_text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct log_batch *log_batch_new(const char *stream, uint64_t now)
{
	struct log_batch *b = calloc(1, sizeof *b);
	if (!b)
		return NULL;
	b->stream = strdup(stream);
	b->since_ns = now;
	b->sorted = true;
	if (b->stream)
		return b;
	free(b);
	return NULL;
}

void log_batch_free(struct log_batch *b)
{
	free(b->events);
	buf_free(&b->text);
	free(b->stream);
	free(b);
}

bool log_batch_takes(const struct log_batch *b, uint64_t ns, size_t n)
{
	if (!b->n)
		return true;
	uint64_t min = ns < b->min_ns ? ns : b->min_ns, max = ns > b->max_ns ? ns : b->max_ns;
	return b->n < BATCH_EVENTS && b->bytes + n + BATCH_EACH <= BATCH_BYTES && max - min < BATCH_SPAN_NS;
}

bool log_batch_add(struct log_batch *b, const struct log_event *e, const char *message, size_t n)
{
	if (b->n == b->cap) {
		uint32_t cap = b->cap ? b->cap * 2 : 64;
		struct log_event *p = realloc(b->events, cap * sizeof *p);
		if (!p)
			return false;
		b->events = p;
		b->cap = cap;
	}
	size_t at = b->text.n;
	buf_add(&b->text, message, n);
	if (b->text.failed) {
		b->text.failed = false; /* the others stay */
		return false;
	}
	if (b->n && e->ns < b->events[b->n - 1].ns)
		b->sorted = false;
	b->min_ns = b->n && b->min_ns < e->ns ? b->min_ns : e->ns;
	b->max_ns = b->n && b->max_ns > e->ns ? b->max_ns : e->ns;
	struct log_event *to = &b->events[b->n++];
	*to = *e;
	to->at = (uint32_t)at;
	to->n = (uint32_t)n;
	b->bytes += n + BATCH_EACH;
	return true;
}

static int by_time(const void *a, const void *b)
{
	const struct log_event *x = a, *y = b;
	if (x->ns != y->ns)
		return x->ns < y->ns ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static void name(struct buf *b, const char *key, const char *value)
{
	buf_add(b, key, strlen(key));
	json_escape(b, value, strlen(value));
}

bool log_batch_encode(struct log_batch *b, const char *group, int64_t shift_ms, struct buf *out)
{
	char head[64];
	if (!b->sorted)
		qsort(b->events, b->n, sizeof *b->events, by_time);
	b->sorted = true;
	buf_reserve(out, b->text.n + b->n * 48u + 512);
	name(out, "{\"logGroupName\":\"", group);
	name(out, "\",\"logStreamName\":\"", b->stream);
	buf_add(out, "\",\"logEvents\":[", 15);
	for (uint32_t i = 0; i < b->n; i++) {
		const struct log_event *e = &b->events[i];
		int64_t ms = (int64_t)(e->ns / 1000000) + shift_ms;
		int n = snprintf(head, sizeof head, "%s{\"timestamp\":%lld,\"message\":\"", i ? "," : "", (long long)(ms > 0 ? ms : 0));
		buf_add(out, head, (size_t)n);
		json_escape(out, b->text.p + e->at, e->n);
		buf_add(out, "\"}", 2);
	}
	buf_add(out, "]}", 2);
	return !out->failed;
}
