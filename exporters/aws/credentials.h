/*
 * Credentials and region for AWS, by botocore's chain: environment, roles of profiles, web identity, shared files, container (ECS, EKS pod
 * identity), instance metadata. exporter thread; requests go through http.h, nothing waits. Keys are never logged, and
 * lie in memory that is left out of core files.
 */
#ifndef REMORA_AWS_CREDENTIALS_H
#define REMORA_AWS_CREDENTIALS_H

#include "exporters/aws/sigv4.h"
#include "exporters/http.h"

struct credentials;
/* NULL: no memory. */
struct credentials *credentials_new(const struct settings *s, struct http *h);
void credentials_delete(struct credentials *c);
/* Start what is due: the first search, a refresh. */
void credentials_turn(struct credentials *c, uint64_t now);
uint64_t credentials_due(const struct credentials *c); /* CLOCK_MONOTONIC; 0 = not before an answer */
/* Those that are valid now. False: none (yet). Borrowed until the next turn. */
bool credentials_keys(const struct credentials *c, struct aws_keys *out);
const char *credentials_region(const struct credentials *c); /* NULL: not known (yet) */
/* Nothing is under way, and there is no hope before due: a flush need not wait. */
bool credentials_hopeless(const struct credentials *c);
/* They were refused: looked for anew, at most once in a while. True: that is under way. */
bool credentials_refused(struct credentials *c, uint64_t now);
/* That is under way: the keys that there are were refused. */
bool credentials_renewing(const struct credentials *c);
unsigned credentials_changes(const struct credentials *c); /* how often they were others than before */
/* AWS_FIPS, AWS_DUALSTACK: which hosts are asked for. */
unsigned credentials_variants(const struct credentials *c);
/* The first time in this process that this is told? */
bool credentials_tell(unsigned bit);
/* Overwrite the secret and the token where they stand in a text. */
void credentials_mask(const struct credentials *c, char *p, size_t n);

/* ---- credentials_read.c: files and answers; pure, the bytes are anybody's (fuzzed) ---- */

struct aws_found { /* owned; wiped by aws_found_free */
	char *id, *secret, *token;
	uint64_t expires_s; /* since 1970, 0 = never */
};
void aws_found_free(struct aws_found *f);

struct aws_profile { /* of a shared file */
	struct aws_found keys;
	char *region;
	char *role_arn, *source_profile, *source; /* role_arn, source_profile, credential_source */
	char *session, *external_id, *duration, *token_file;
	bool mfa;
	bool there;              /* the profile */
	const char *unsupported; /* a setting of it that we do not follow, NULL = none; literal */
	unsigned bad_line;       /* that is no setting and no section, 0 = none */
};
/* Adds what `text` says of `name`; what is set already stays. `config`: sections are "[profile x]". */
void aws_profile_read(struct aws_profile *p, const char *text, size_t n, const char *name, bool config);
void aws_profile_free(struct aws_profile *p);
/* A container's or the instance metadata's JSON; NULL or what is wrong with it. */
const char *aws_json_read(struct aws_found *f, const char *text, size_t n);
/* AssumeRoleWithWebIdentity's XML. */
const char *aws_xml_read(struct aws_found *f, const char *text, size_t n);
/* "2026-01-02T03:04:05Z", also with a fraction; 0: no such time. */
uint64_t aws_time_read(const char *p, size_t n);
/* Fit for a header, or part of a name: printable, no blanks. */
bool aws_word_ok(const char *p, size_t n, size_t most);

#endif
