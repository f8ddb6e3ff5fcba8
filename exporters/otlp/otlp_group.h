/* What both encodings share: spans in the order of their resources. exporter thread. */
#ifndef REMORA_OTLP_GROUP_H
#define REMORA_OTLP_GROUP_H

#include "exporters/span_attrs.h"

#define SCOPE_NAME "remora"

struct otlp_group { /* records of one resource */
	const struct resource *resource;
	uint32_t first, last, n; /* a chain through otlp_groups.next */
};

struct otlp_groups {
	struct otlp_group *group; /* in the order in which they first come */
	uint32_t n;
	uint32_t *next;        /* of each record of the batch the next of its group */
	struct otlp_cut *cuts; /* owned: resources that were too long */
};

bool otlp_group(struct otlp_groups *g, const struct batch *b); /* false: no memory */
void otlp_group_free(struct otlp_groups *g);

#endif
