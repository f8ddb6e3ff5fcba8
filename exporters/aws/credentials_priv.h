/* Inside credentials*.c: the machine's state, and its steps. */
#ifndef REMORA_AWS_CREDENTIALS_PRIV_H
#define REMORA_AWS_CREDENTIALS_PRIV_H

#include "exporters/aws/credentials.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECOND UINT64_C(1000000000)
#define TOKEN_FILE_MOST (32 * 1024)

enum step {
	STEP_ENV,
	STEP_ROLE,
	STEP_WEB,
	STEP_FILES,
	STEP_CONTAINER,
	STEP_IMDS, /* its token */
	STEP_IMDS_REGION,
	STEP_IMDS_ROLE,
	STEP_IMDS_KEYS,
	STEP_END,
};

#define AWS_ROLES 4 /* that lead to each other */

enum { STORE_OURS,
	   STORE_BASE }; /* the latter: what the next role is assumed with */

struct store { /* a mapping of its own: left out of core files */
	char id[132], secret[516], token[16388];
};

struct credentials {
	const struct settings *settings;
	struct http *http;
	struct store *store;
	bool have;
	uint64_t expires_s; /* of those in the store, 0 = never */
	enum step source;   /* that they are of */
	char region[65];
	enum step step; /* of the search under way, STEP_END: none */
	struct http_call *call;
	struct request request;
	char url[2200];
	const char *headers[6];
	struct sigv4_lines lines;
	struct aws_profile roles[AWS_ROLES]; /* the last one is assumed first */
	unsigned n_roles;
	int64_t skew_s; /* of STS' clock against ours */
	bool skewed;
	struct buf header; /* "Authorization: ..", "X-aws-ec2-metadata-token: .." */
	char role[260];
	unsigned tries;
	uint64_t due_ns, refused_ns;
	bool searched;    /* once to its end */
	bool anew;        /* the keys were refused: another source may have better ones */
	unsigned changes; /* of the keys */
	bool renewing;    /* that search has no end yet */
};

/* ---- credentials.c ---- */

static inline const char *credentials_env(const struct credentials *c, const char *name)
{
	return settings_get(c->settings->host, name);
}
bool credentials_true(const char *v);
void credentials_wipe(struct buf *b);
/* Outcomes: keys (which are taken over), a source that fails, nothing anywhere. */
void credentials_take(struct credentials *c, struct aws_found *f, enum step source);
void credentials_fail(struct credentials *c, const char *what, const char *why);
void credentials_none(struct credentials *c);
/* A request to c->url with c->headers; its answer goes to the step. */
void credentials_send(struct credentials *c, const char *method, uint64_t timeout_s, bool direct, enum step step);

/* ---- the steps: true = there are keys, a request is under way, or the source failed; false = it is not configured ---- */

/* credentials_files.c */
bool credentials_read_small(const char *path, struct buf *out, size_t most);
bool credentials_by_env(struct credentials *c);
bool credentials_by_files(struct credentials *c);
void credentials_region_of_files(struct credentials *c);
const char *credentials_profile(const struct credentials *c); /* its name */
void credentials_read_profile(struct credentials *c, struct aws_profile *p, const char *name);
/* credentials_sts.c */
bool credentials_by_role(struct credentials *c);
bool credentials_by_web(struct credentials *c);
void credentials_assume(struct credentials *c); /* the last role, with the keys in STORE_BASE */
void credentials_role_refused(struct credentials *c, const struct answer *a, const char *why);
void credentials_roles_free(struct credentials *c);
/* credentials_metadata.c */
bool credentials_by_container(struct credentials *c);
bool credentials_by_imds(struct credentials *c);
void credentials_imds_answer(struct credentials *c, enum step step, const struct answer *a);

#endif
