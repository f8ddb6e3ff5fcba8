/* Resource attributes of each process of the tree. exporter thread; strings owned by the cache. */
#ifndef REMORA_RESOURCE_H
#define REMORA_RESOURCE_H

#include "exporters/exporter.h"

enum attr_type {
	ATTR_STRING,
	ATTR_INT,
	ATTR_STRINGS,
};

struct attr {
	const char *key;
	uint32_t key_len;
	enum attr_type type;
	const char *str; /* ATTR_STRING: NUL-terminated valid UTF-8; ATTR_STRINGS: n strings, each with its NUL */
	size_t str_len;  /* ATTR_STRING: without the NUL; ATTR_STRINGS: all of it */
	uint32_t n;      /* ATTR_STRINGS */
	int64_t num;
};

struct resource {
	int32_t pid;
	uint32_t n;
	struct attr *attrs;
	const char *service_name; /* also in attrs */
};

struct resources *resources_new(const struct settings *s);
void resources_delete(struct resources *r);
/* The resource of a record's process; never NULL (a process that is not in the table has what is known of it). */
const struct resource *resource_of(struct resources *r, const struct arena *a, const struct rec_view *v);
/* Forget processes whose table entry is free or another process by now. */
void resources_trim(struct resources *r, const struct arena *a);

/* One warning for a malformed OTEL_RESOURCE_ATTRIBUTES; in log_once bits. */

#endif
