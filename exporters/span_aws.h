/* The AWS call that a record tells of (proto/aws_call.h wrote it). Pure; results borrow from the record. */
#ifndef REMORA_SPAN_AWS_H
#define REMORA_SPAN_AWS_H

#include "exporters/span_url.h"
#include "proto/aws_call.h"
#include "span/arena.h"

struct span_aws {
	struct slice service, region, operation, resource;
	char kind; /* enum aws_resource */
};

/* The next line; empty at the end. */
static inline struct slice span_aws_line(struct slice *s)
{
	const char *nl = s->n ? memchr(s->p, '\n', s->n) : NULL;
	struct slice line = {s->p, nl ? (uint32_t)(nl - s->p) : s->n};
	s->p += line.n + (nl != NULL);
	s->n -= line.n + (nl != NULL);
	return line;
}

static inline void span_aws_add(struct span_aws *o, struct slice s)
{
	struct slice service = span_aws_line(&s), region = span_aws_line(&s), operation = span_aws_line(&s), resource = span_aws_line(&s);
	if (!o->service.n)
		o->service = service;
	if (!o->region.n)
		o->region = region;
	if (!o->operation.n)
		o->operation = operation;
	if (!o->resource.n && resource.n > 1) {
		o->kind = *resource.p;
		o->resource = from_to(resource.p + 1, resource.p + resource.n);
	}
}

/* False: none. */
static inline bool span_aws_read(const struct rec_view *v, struct span_aws *o)
{
	*o = (struct span_aws){0};
	if (!rec_str(v, REC_AWS).n)
		return false;
	span_aws_add(o, rec_str(v, REC_AWS));
	if (rec_str(v, REC_AWS_MORE).n)
		span_aws_add(o, rec_str(v, REC_AWS_MORE));
	return o->service.n != 0;
}

#endif
