/*
 * Taking secrets out of what goes into telemetry: URLs and command lines. Errs towards too much.
 * Pure functions, any context: no allocation, no state but what the caller holds. Results are written to the
 * caller's buffer, at most `cap` bytes, no NUL; what does not fit is cut off, and a cut never shows more of a
 * secret than the whole would. Control characters and bytes above ASCII pass as they are.
 */
#ifndef REMORA_REDACT_H
#define REMORA_REDACT_H

#include "base/slice.h"
#include <stddef.h>

/*
 * For url.full, or a request target of any form: user information becomes REDACTED:REDACTED, the values of secret
 * keys in query, fragment and path parameters REDACTED. Keys: the semantic conventions' (AWSAccessKeyId, Signature,
 * sig, X-Goog-Signature), AWS query signing, and what is usually secret (token, password, api_key, code, ...; redact.c
 * has the list), whatever their case, '_' and '-'. Returns bytes written.
 */
size_t redact_url(struct slice url, char *out, size_t cap);
/* Is it a path alone? Secrets stand in queries, fragments, path parameters and user information. n > 0. */
static inline bool redact_needless(struct slice target)
{
	bool plain = *target.p == '/';
	for (uint32_t i = 0; plain && i < target.n; i++) {
		unsigned c = (unsigned char)target.p[i];
		plain = c - '#' > '?' - '#' || !((1u << ('#' - '#') | 1u << (';' - '#') | 1u << ('?' - '#')) >> (c - '#') & 1);
	}
	return plain;
}

/* The same for a query without its '?', as url.query wants it. */
size_t redact_query(struct slice query, char *out, size_t cap);

/*
 * For process.command_args: one argument after another, argv[0] first, through the same state, which starts zeroed.
 * Knows --password=x, --token x, NAME_KEY=x, -u user:pass, header arguments, URLs with user information,
 * -pSECRET of the mysql programs, -a and -p of a few more, and looks into scripts given with -c.
 */
struct redact_args {
	unsigned char program, next; /* private */
	bool started;                /* private */
};
size_t redact_arg(struct redact_args *a, struct slice arg, char *out, size_t cap);

#endif
