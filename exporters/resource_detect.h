/* What is found out about a machine and a process. Parsers are pure; their input is whatever a file held. */
#ifndef REMORA_RESOURCE_DETECT_H
#define REMORA_RESOURCE_DETECT_H

#include "exporters/resource.h"

struct host_facts { /* NUL-terminated, "" = unknown */
	char name[65], os_version[65], os_description[200], arch[65];
	char container[80];
};

/* Reads files under /proc, so do it before the program may chroot. exporter. */
void host_facts_read(struct host_facts *f);

bool container_of_cgroup(const char *text, size_t n, char out[80]);    /* /proc/self/cgroup, v1 and v2 */
bool container_of_mountinfo(const char *text, size_t n, char out[80]); /* for v2 with a cgroup namespace */
const char *arch_of_machine(const char *machine);                      /* uname's word in the convention's words */
bool name_of_uid(const char *passwd, size_t n, unsigned uid, char *out, size_t cap);

/* At most cap bytes; 0 if it cannot be read. Past the hooks of the shim. */
size_t read_file(const char *path, char *buf, size_t cap);

struct process_facts {
	int32_t pid;             /* 0 = unknown */
	const uint8_t *instance; /* 16 random bytes, or NULL */
	const char *owner;       /* user name, or NULL */
	const char *blob;        /* description as in arena_proc_add */
	size_t blob_len;
};

/*
 * One block of memory for free(), or NULL. *bad: what is wrong with OTEL_RESOURCE_ATTRIBUTES (then none of it
 * counts), or NULL.
 */
struct resource *resource_build(const struct host_facts *h, const struct process_facts *p, const char **bad);

#endif
