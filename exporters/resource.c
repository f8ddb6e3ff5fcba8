/* The cache of resources: built when the first record of a process comes, kept while its entry in the table stands. */
#include "exporters/resource.h"
#include "exporters/log.h"
#include "exporters/resource_detect.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BLOB_MAX (64 * 1024)
#define PASSWD_MAX (256 * 1024)
#define UNKNOWN_MAX 64 /* processes without an entry that are told apart */

struct known {
	struct known *next;
	int32_t pid;
	uint64_t start;
	uint8_t instance[16];
	struct resource *resource; /* owned */
};

struct resources {
	/* By index in the table. A list, since an entry may become another process while a batch refers to the first. */
	struct known *procs[ARENA_PROCS];
	struct known *unknown; /* by pid alone */
	unsigned n_unknown;
	struct host_facts host;
	unsigned owner_uid; /* the last one looked up */
	char owner[64];     /* "" = none yet */
	char blob[BLOB_MAX];
};

/* When there is no memory for better. */
static struct attr nobody_attrs[] = {
	{.key = "service.name", .key_len = 12, .type = ATTR_STRING, .str = "unknown_service", .str_len = 15},
};
static const struct resource nobody = {.n = 1, .attrs = nobody_attrs, .service_name = "unknown_service"};

struct resources *resources_new(const struct settings *s)
{
	(void)s;
	struct resources *r = calloc(1, sizeof *r);
	if (r)
		host_facts_read(&r->host);
	return r;
}

static void free_list(struct known *k)
{
	while (k) {
		struct known *next = k->next;
		free(k->resource);
		free(k);
		k = next;
	}
}

void resources_delete(struct resources *r)
{
	if (!r)
		return;
	for (int i = 0; i < ARENA_PROCS; i++)
		free_list(r->procs[i]);
	free_list(r->unknown);
	free(r);
}

/* Who runs it, if it still does. getpwuid would load NSS modules and take locks that a fork copies. */
static const char *owner_of(struct resources *r, int32_t pid, uint64_t start)
{
	char path[32];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d", pid);
	if (pid <= 0 || !start || !proc_alive(pid, start) || stat(path, &st) != 0)
		return NULL;
	if (r->owner[0] && r->owner_uid == st.st_uid)
		return r->owner;
	char *text = malloc(PASSWD_MAX);
	if (!text || !name_of_uid(text, read_file("/etc/passwd", text, PASSWD_MAX), st.st_uid, r->owner, sizeof r->owner))
		snprintf(r->owner, sizeof r->owner, "%u", (unsigned)st.st_uid);
	free(text);
	r->owner_uid = st.st_uid;
	return r->owner;
}

/* `p` is a copy: the table is shared memory. */
static const struct resource *add(struct resources *r, struct known **list, const struct arena *a,
                                  const struct arena_proc *p, struct known id)
{
	struct known *k = malloc(sizeof *k);
	if (!k)
		return &nobody;
	struct process_facts f = {.pid = id.pid, .blob = r->blob};
	const char *bad = NULL;
	if (p) {
		f.blob_len = arena_proc_blob(a, p, r->blob, sizeof r->blob);
		f.instance = id.instance;
		f.owner = owner_of(r, id.pid, id.start);
	}
	id.resource = resource_build(&r->host, &f, &bad);
	if (bad)
		log_once(log_bit("OTEL_RESOURCE_ATTRIBUTES"), "OTEL_RESOURCE_ATTRIBUTES has %s; all of it is ignored", bad);
	if (!id.resource) {
		free(k);
		return &nobody;
	}
	*k = id;
	k->next = *list;
	*list = k;
	return k->resource;
}

static bool is_proc(const struct known *k, const struct arena_proc *p)
{
	return k->pid == p->pid && k->start == p->start && memcmp(k->instance, p->instance, sizeof k->instance) == 0;
}

static const struct resource *unknown(struct resources *r, int32_t pid)
{
	for (struct known *k = r->unknown; k; k = k->next)
		if (k->pid == pid)
			return k->resource;
	if (r->n_unknown >= UNKNOWN_MAX)
		pid = 0;
	for (struct known *k = pid ? NULL : r->unknown; k; k = k->next)
		if (k->pid == 0)
			return k->resource;
	r->n_unknown++;
	return add(r, &r->unknown, NULL, NULL, (struct known){.pid = pid});
}

const struct resource *resource_of(struct resources *r, const struct arena *a, const struct rec_view *v)
{
	const struct arena_proc *p = v->proc;
	if (!r)
		return &nobody;
	if (!p || p < a->procs || p >= a->procs + ARENA_PROCS)
		return unknown(r, v->rec->pid);
	struct known **list = &r->procs[p - a->procs];
	for (struct known *k = *list; k; k = k->next)
		if (is_proc(k, p))
			return k->resource;
	struct known id = {.pid = p->pid, .start = p->start};
	memcpy(id.instance, p->instance, sizeof id.instance);
	return add(r, list, a, p, id);
}

void resources_trim(struct resources *r, const struct arena *a)
{
	for (int i = 0; i < ARENA_PROCS; i++) {
		const struct arena_proc *p = &a->procs[i];
		bool valid = atomic_load_explicit(&p->used, memory_order_acquire) == 2;
		for (struct known **at = &r->procs[i]; *at;) {
			struct known *k = *at;
			if (valid && is_proc(k, p)) {
				at = &k->next;
				continue;
			}
			*at = k->next;
			k->next = NULL;
			free_list(k);
		}
	}
	free_list(r->unknown);
	r->unknown = NULL;
	r->n_unknown = 0;
}
