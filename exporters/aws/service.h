/*
 * A service of AWS that is called: where it is, signatures, and what its refusals say of our keys and our clock. One call at
 * a time for each of these. exporter thread.
 */
#ifndef REMORA_AWS_SERVICE_H
#define REMORA_AWS_SERVICE_H

#include "exporters/aws/credentials.h"
#include "exporters/aws/error.h"

#define AWS_LINES 4 /* that are added to a request's headers, with the NULL */

struct aws_service {
	const char *name;   /* as it is signed: "logs" */
	const char *own;    /* URL without the path of a call, AWS_ENDPOINT_URL_*; NULL = the region's */
	const char *region; /* that the URL itself is of; NULL = the chain's */
	struct credentials *credentials;
	char base[2100], host[300]; /* as found; host: as the header has it */
	char url[2200];             /* of the call under way */
	struct sigv4_lines lines;
	int64_t skew_s; /* of its clock against ours */
	bool skewed, refused;
	unsigned keys; /* of which change it was signed with */
};

/* Its keys and its region are known. False: not before *when, 0 = an answer is awaited. Starts what is due for that. */
bool aws_service_ready(struct aws_service *s, uint64_t now, uint64_t *when);
/* The same without starting anything. */
bool aws_service_known(struct aws_service *s);
/*
 * r->url, and the lines of a POST of r->body to `path`, behind the headers, all of which are signed. The body is compressed
 * first if it is to be. Returns the number of headers, 0: no memory, or no keys any more.
 */
unsigned aws_service_sign(struct aws_service *s, struct request *r, const char *path, const char **headers);

/* Does it refuse keys or signature, or say that they may not? */
bool aws_unauthorized(const struct answer *a, const struct aws_error *e);
enum aws_refusal {
	AWS_CLOCK,    /* ours was wrong: at once, signed anew */
	AWS_NEW_KEYS, /* once more with those, when aws_service_ready says so */
	AWS_LOCKED,   /* new ones did not help: later */
};
#define AWS_LOCKED_NS UINT64_C(60000000000)
/* They were. */
enum aws_refusal aws_service_refused(struct aws_service *s, const struct answer *a);
void aws_service_accepted(struct aws_service *s);
/* The clock by an answer's Date; false: it was right, within a minute. */
bool aws_clock_by(const struct answer *a, int64_t *skew_s);
void aws_service_free(struct aws_service *s); /* what a call holds */

#endif
