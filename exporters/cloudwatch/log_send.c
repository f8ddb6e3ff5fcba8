/*
 * One call at a time. The first batch goes out again until it is answered for:
 *
 *	200                                     done; rejectedLogEventsInfo tells how many were too old or too new
 *	ResourceNotFoundException               group (and its retention), stream, then again
 *	throttling, 5xx, no answer              again, with a full-jitter backoff
 *	signature, credentials                  the clock by the Date header, then new credentials, then long waits
 *	InvalidParameterException and the like  dropped and counted
 */
#include "base/clock.h"
#include "exporters/cloudwatch/cloudwatch.h"
#include "exporters/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define TIMEOUT (30 * SECOND)
#define BACKOFF_MOST (20 * SECOND)
#define LOCKED_NS (60 * SECOND) /* after credentials were refused twice */
#define WAIT_MOST (600 * SECOND)
#define SKEW_S 60 /* of clocks, that is corrected */
#define CREATES 2 /* for one batch */

static _Atomic unsigned told;

static bool tell(unsigned bit)
{
	return !(atomic_fetch_or(&told, 1u << bit) & 1u << bit);
}

/* ---- waiting ---- */

static void wait_for(struct cloudwatch *c, uint64_t ns, bool told_when)
{
	c->flush_failed = true;
	c->told_when = told_when;
	c->not_before_ns = mono_ns() + (ns < WAIT_MOST ? ns : WAIT_MOST);
}

static void later(struct cloudwatch *c, uint64_t told_ns)
{
	uint64_t most = c->fails < 5 ? SECOND << c->fails : BACKOFF_MOST;
	if (most > BACKOFF_MOST)
		most = BACKOFF_MOST;
	c->fails++;
	uint64_t x = (real_ns() ^ (uintptr_t)c) * UINT64_C(0x9e3779b97f4a7c15);
	wait_for(c, told_ns ? told_ns : (x >> 32) * (most >> 8) >> 24, told_ns != 0);
	if (c->next == CALL_NONE)
		c->next = CALL_PUT;
}

/* ---- where to ---- */

/* False: the region is not known (yet). An endpoint of one's own needs none if nobody knows it. */
static bool address(struct cloudwatch *c)
{
	const char *region = credentials_region(c->credentials);
	if (!region && !(c->set->url && credentials_hopeless(c->credentials)))
		return false;
	if (*c->url)
		return true;
	if (c->set->url)
		snprintf(c->url, sizeof c->url, "%.2048s", c->set->url);
	else
		snprintf(c->url, sizeof c->url, "https://logs.%s.amazonaws.com%s/", region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
	const char *h = strstr(c->url, "://") + 3;
	size_t n = strcspn(h, "/");
	c->path = h + n;
	const char *port = strncmp(c->url, "https:", 6) == 0 ? ":443" : ":80";
	if (n > strlen(port) && memcmp(h + n - strlen(port), port, strlen(port)) == 0)
		n -= strlen(port); /* curl leaves it out too */
	snprintf(c->host, sizeof c->host, "%.*s", (int)(n < 290 ? n : 290), h);
	return true;
}

/* ---- a call ---- */

static bool body_of(struct cloudwatch *c, enum log_call kind, struct buf *b)
{
	char text[64];
	if (kind == CALL_PUT)
		return log_batch_encode(c->head, c->set->group, c->skew_s > 300 || c->skew_s < -300 ? c->skew_s * 1000 : 0, b);
	buf_add(b, "{\"logGroupName\":\"", 17);
	json_escape(b, c->set->group, strlen(c->set->group));
	buf_add(b, "\"", 1);
	if (kind == CALL_STREAM) {
		buf_add(b, ",\"logStreamName\":\"", 18);
		json_escape(b, c->head->stream, strlen(c->head->stream));
		buf_add(b, "\"", 1);
	} else if (kind == CALL_RETENTION) {
		int n = snprintf(text, sizeof text, ",\"retentionInDays\":%u", c->set->retention_days);
		buf_add(b, text, (size_t)n);
	}
	buf_add(b, "}", 1);
	return !b->failed;
}

static void answered(void *ctx, const struct answer *a);

static bool prepare(struct cloudwatch *c, enum log_call kind, const struct aws_keys *keys)
{
	static const char *const targets[] = {
		NULL,
		"X-Amz-Target: Logs_20140328.PutLogEvents",
		"X-Amz-Target: Logs_20140328.CreateLogGroup",
		"X-Amz-Target: Logs_20140328.PutRetentionPolicy",
		"X-Amz-Target: Logs_20140328.CreateLogStream",
	};
	const char *region = credentials_region(c->credentials);
	c->request = (struct request){
		.url = c->url,
		.headers = c->headers,
		.timeout_ns = TIMEOUT,
		.ca_file = settings_get(c->settings->host, "AWS_CA_BUNDLE"),
	};
	if (!body_of(c, kind, &c->request.body))
		return false;
	if (c->set->gzip && kind == CALL_PUT) {
		c->request.gzip = true;
		c->request.gzipped = http_compress(&c->request);
		c->request.gzip = c->request.gzipped;
	}
	c->headers[0] = "Content-Type: application/x-amz-json-1.1";
	c->headers[1] = targets[kind];
	c->headers[2] = NULL;
	struct sigv4 r = {
		.method = "POST",
		.host = c->host,
		.path = c->path,
		.headers = c->headers,
		.body = c->request.body.p,
		.body_n = c->request.body.n,
		.region = region ? region : "us-east-1", /* an endpoint of one's own, and nobody has said */
		.service = "logs",
		.keys = *keys,
		.time_s = (uint64_t)((int64_t)(real_ns() / SECOND) + c->skew_s),
	};
	if (!sigv4_sign(&r, &c->lines_signed))
		return false;
	unsigned n = 2;
	c->headers[n++] = c->lines_signed.date;
	c->headers[n++] = c->lines_signed.authorization.p;
	if (c->lines_signed.token.n)
		c->headers[n++] = c->lines_signed.token.p;
	c->headers[n++] = "User-Agent: remora/0.1.0";
	c->headers[n] = NULL;
	return true;
}

static void call_free(struct cloudwatch *c)
{
	buf_free(&c->request.body);
	c->request = (struct request){0};
	sigv4_free(&c->lines_signed);
	c->kind = CALL_NONE;
}

static void post(struct cloudwatch *c, const struct aws_keys *keys)
{
	enum log_call kind = c->next ? c->next : CALL_PUT;
	c->told_when = false;
	c->kind = kind;
	c->next = CALL_NONE;
	c->call = prepare(c, kind, keys) ? http_post(c->http, &c->request, answered, c) : NULL;
	if (c->call)
		return;
	call_free(c);
	c->next = kind;
	wait_for(c, SECOND, false);
}

/* ---- answers ---- */

static bool is(const struct log_answer *a, const char *names)
{
	size_t n = strlen(a->type);
	for (const char *p = names; n && *p;) {
		size_t k = strcspn(p, "|");
		if (k == n && memcmp(p, a->type, n) == 0)
			return true;
		p += k + (p[k] == '|');
	}
	return false;
}

static bool is_creation_done(const struct log_answer *a, int status)
{
	return status == 200 || is(a, "ResourceAlreadyExistsException|OperationAbortedException");
}

static void warn(struct cloudwatch *c, unsigned bit, const char *what, int status, struct log_answer *a)
{
	credentials_mask(c->credentials, a->message, strlen(a->message));
	if (tell(bit))
		log_warn("cloudwatch: %s: status %d%s%s%s%s (said once)", what, status, *a->type ? " " : "", a->type,
		         *a->message ? ": " : "", a->message);
	else
		log_debug("cloudwatch: %s: status %d %s: %s", what, status, a->type, a->message);
}

static void accepted(struct cloudwatch *c, struct log_answer *a)
{
	uint32_t n = c->head->n, old = a->old_end < n ? a->old_end : n, from = a->new_start < n ? a->new_start : n;
	uint32_t lost = old + (from > old ? n - from : n - old);
	if (lost && tell(0))
		log_warn("cloudwatch: %u of %u events of a batch are too old or too new for log group %s (14 days or its retention, "
		         "2 hours): dropped (said once)",
		         lost, n, c->set->group);
	c->fails = c->creates = 0;
	c->skewed = c->refused = false;
	c->not_before_ns = 0;
	cloudwatch_pop(c, lost);
}

static void dropped(struct cloudwatch *c)
{
	c->fails = c->creates = 0;
	c->skewed = c->refused = false;
	cloudwatch_pop(c, c->head->n);
}

/* Signature or credentials. */
static void unauthorized(struct cloudwatch *c, enum log_call kind, const struct answer *a, struct log_answer *what)
{
	int64_t skew = a->date_s ? (int64_t)a->date_s - (int64_t)(real_ns() / SECOND) : 0, off = skew - c->skew_s;
	c->next = kind;
	if ((off > SKEW_S || off < -SKEW_S) && !c->skewed) {
		log_info("cloudwatch: this machine's clock is %lld s behind that of AWS: corrected in what is sent", (long long)skew);
		c->skewed = true;
		c->skew_s = skew;
		return;
	}
	warn(c, 1, "the credentials are refused; lines are kept as long as there is room", a->status, what);
	bool anew = !c->refused && credentials_refused(c->credentials, mono_ns());
	c->refused = true;
	wait_for(c, anew ? SECOND : LOCKED_NS, !anew);
}

static void after_creation(struct cloudwatch *c, enum log_call kind, const struct answer *a, struct log_answer *what)
{
	bool done = is_creation_done(what, a->status);
	if (kind == CALL_GROUP && a->status == 200)
		log_info("cloudwatch: created log group %s", c->set->group);
	if (!done)
		warn(c, 1 + (unsigned)kind, kind == CALL_GROUP ? "the log group cannot be created" : kind == CALL_RETENTION ? "its retention cannot be set"
		                                                                                                            : "the log stream cannot be created",
		     a->status, what);
	if (kind == CALL_GROUP)
		c->next = a->status == 200 && c->set->retention_days ? CALL_RETENTION : CALL_STREAM;
	else if (kind == CALL_RETENTION)
		c->next = CALL_STREAM;
	else
		c->next = CALL_PUT;
	if (!done && kind == CALL_STREAM)
		later(c, LOCKED_NS);
}

static void not_found(struct cloudwatch *c, const struct answer *a, struct log_answer *what)
{
	c->next = CALL_GROUP;
	if (++c->creates <= CREATES)
		return;
	warn(c, 7, "log group and stream were created, and are not found", a->status, what);
	c->creates = 0;
	later(c, LOCKED_NS);
}

static void judge(struct cloudwatch *c, enum log_call kind, const struct answer *a)
{
	struct log_answer what;
	log_answer_read(&what, a->body, a->body_len);
	bool fine = a->status == 200 && !a->error && (!a->body_len || *a->body == '{');
	if (is(&what, "ThrottlingException|Throttling|TooManyRequestsException|RequestLimitExceeded|ServiceUnavailableException|"
	              "InternalFailure|InternalServerError|LimitExceededException|RequestTimeout") ||
	    a->status == 0 || a->status == 429 || a->status >= 500 || (a->status == 200 && !fine)) {
		c->next = kind;
		log_debug("cloudwatch: will be tried again: status %d %s %s", a->status, what.type, a->error ? a->error : "");
		later(c, a->retry_after_ns);
	} else if (is(&what, "UnrecognizedClientException|ExpiredTokenException|ExpiredToken|InvalidSignatureException|"
	                     "SignatureDoesNotMatch|IncompleteSignature|IncompleteSignatureException|InvalidClientTokenId|"
	                     "MissingAuthenticationTokenException|MissingAuthenticationToken|RequestExpired|RequestTimeTooSkewed|"
	                     "RequestTimeTooSkewedException") ||
	           (kind != CALL_GROUP && kind != CALL_RETENTION &&
	            (a->status == 401 || a->status == 403 || is(&what, "AccessDeniedException|AccessDenied")))) {
		unauthorized(c, kind, a, &what);
	} else if (kind != CALL_PUT) {
		after_creation(c, kind, a, &what);
	} else if (fine || is(&what, "DataAlreadyAcceptedException")) {
		accepted(c, &what);
	} else if (is(&what, "ResourceNotFoundException")) {
		not_found(c, a, &what);
	} else if (is(&what, "InvalidSequenceTokenException")) {
		later(c, 0);
	} else {
		warn(c, 8, "lines are refused", a->status, &what);
		dropped(c);
	}
}

static void answered(void *ctx, const struct answer *a)
{
	struct cloudwatch *c = ctx;
	enum log_call kind = c->kind;
	size_t bytes = c->request.body.n;
	c->call = NULL;
	call_free(c);
	log_debug("cloudwatch: call %d, %u events, %zu bytes: status %d", (int)kind, c->head->n, bytes, a->status);
	judge(c, kind, a);
}

/* ---- schedule ---- */

static bool is_due(const struct cloudwatch *c, uint64_t now, bool flush)
{
	const struct log_batch *b = c->head;
	if (now < c->not_before_ns && !(flush && !c->told_when && !c->flush_failed))
		return false;
	return flush || c->next || b->next || now >= b->since_ns + c->set->delay_ns || c->weight > c->slots / 2 ||
	       b->bytes > BATCH_BYTES * 3 / 4;
}

void log_send_pump(struct cloudwatch *c, uint64_t now, bool flush)
{
	struct aws_keys keys;
	while (c->head && !c->head->n && !c->call)
		cloudwatch_pop(c, 0);
	if (c->call || !c->head || !is_due(c, now, flush) || !credentials_keys(c->credentials, &keys))
		return;
	if (!address(c)) {
		if (credentials_hopeless(c->credentials) && tell(9))
			log_warn("cloudwatch: no region: set AWS_REGION; no lines are sent");
		return;
	}
	post(c, &keys);
}

void log_send_free(struct cloudwatch *c)
{
	if (c->call)
		http_cancel(c->http, c->call);
	c->call = NULL;
	call_free(c);
}
