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
#define WAIT_MOST (600 * SECOND)
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

/* ---- a call ---- */

static bool body_of(struct cloudwatch *c, enum log_call kind, struct buf *b)
{
	char text[64];
	int64_t skew_s = c->service.skew_s;
	if (kind == CALL_PUT)
		return log_batch_encode(c->head, c->set->group, skew_s > 300 || skew_s < -300 ? skew_s * 1000 : 0, b);
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

static bool prepare(struct cloudwatch *c, enum log_call kind)
{
	static const char *const targets[] = {
		NULL,
		"X-Amz-Target: Logs_20140328.PutLogEvents",
		"X-Amz-Target: Logs_20140328.CreateLogGroup",
		"X-Amz-Target: Logs_20140328.PutRetentionPolicy",
		"X-Amz-Target: Logs_20140328.CreateLogStream",
	};
	c->request = (struct request){
		.headers = c->headers,
		.timeout_ns = TIMEOUT,
		.gzip = c->set->gzip && kind == CALL_PUT,
		.ca_file = settings_get(c->settings->host, "AWS_CA_BUNDLE"),
	};
	if (!body_of(c, kind, &c->request.body))
		return false;
	c->headers[0] = "Content-Type: application/x-amz-json-1.1";
	c->headers[1] = targets[kind];
	c->headers[2] = NULL;
	unsigned n = aws_service_sign(&c->service, &c->request, "/", c->headers);
	if (!n)
		return false;
	c->headers[n++] = "User-Agent: remora/0.1.0";
	c->headers[n] = NULL;
	return true;
}

static void call_free(struct cloudwatch *c)
{
	buf_free(&c->request.body);
	c->request = (struct request){0};
	aws_service_free(&c->service);
	c->kind = CALL_NONE;
}

static void post(struct cloudwatch *c)
{
	enum log_call kind = c->next ? c->next : CALL_PUT;
	c->told_when = false;
	c->kind = kind;
	c->next = CALL_NONE;
	c->call = prepare(c, kind) ? http_post(c->http, &c->request, answered, c) : NULL;
	if (c->call)
		return;
	call_free(c);
	c->next = kind;
	wait_for(c, SECOND, false);
}

/* ---- answers ---- */

static bool is_creation_done(const struct log_answer *a, int status)
{
	return status == 200 || aws_error_is(&a->error, "ResourceAlreadyExistsException|OperationAbortedException");
}

static void warn(struct cloudwatch *c, unsigned bit, const char *what, int status, struct aws_error *a)
{
	credentials_mask(c->service.credentials, a->message, strlen(a->message));
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
	aws_service_accepted(&c->service);
	c->not_before_ns = 0;
	cloudwatch_pop(c, lost);
}

static void dropped(struct cloudwatch *c)
{
	c->fails = c->creates = 0;
	aws_service_accepted(&c->service);
	cloudwatch_pop(c, c->head->n);
}

/* Signature or credentials. */
static void unauthorized(struct cloudwatch *c, enum log_call kind, const struct answer *a, struct log_answer *what)
{
	c->next = kind;
	enum aws_refusal r = aws_service_refused(&c->service, a);
	if (r == AWS_CLOCK)
		return;
	warn(c, 1, "the credentials are refused; lines are kept as long as there is room", a->status, &what->error);
	wait_for(c, r == AWS_NEW_KEYS ? SECOND : AWS_LOCKED_NS, r != AWS_NEW_KEYS);
}

static void after_creation(struct cloudwatch *c, enum log_call kind, const struct answer *a, struct log_answer *what)
{
	bool done = is_creation_done(what, a->status);
	if (kind == CALL_GROUP && a->status == 200)
		log_info("cloudwatch: created log group %s", c->set->group);
	if (!done)
		warn(c, 1 + (unsigned)kind, kind == CALL_GROUP ? "the log group cannot be created" : kind == CALL_RETENTION ? "its retention cannot be set"
		                                                                                                            : "the log stream cannot be created",
		     a->status, &what->error);
	if (kind == CALL_GROUP)
		c->next = a->status == 200 && c->set->retention_days ? CALL_RETENTION : CALL_STREAM;
	else if (kind == CALL_RETENTION)
		c->next = CALL_STREAM;
	else
		c->next = CALL_PUT;
	if (!done && kind == CALL_STREAM)
		later(c, AWS_LOCKED_NS);
}

static void not_found(struct cloudwatch *c, const struct answer *a, struct log_answer *what)
{
	c->next = CALL_GROUP;
	if (++c->creates <= CREATES)
		return;
	warn(c, 7, "log group and stream were created, and are not found", a->status, &what->error);
	c->creates = 0;
	later(c, AWS_LOCKED_NS);
}

static void judge(struct cloudwatch *c, enum log_call kind, const struct answer *a)
{
	struct log_answer what;
	log_answer_read(&what, a->aws_error, a->body, a->body_len);
	bool fine = a->status == 200 && !a->error && (!a->body_len || *a->body == '{');
	if (aws_error_busy(&what.error) ||
	    a->status == 0 || a->status == 429 || a->status >= 500 || (a->status == 200 && !fine)) {
		c->next = kind;
		log_debug("cloudwatch: will be tried again: status %d %s %s", a->status, what.error.type, a->error ? a->error : "");
		later(c, a->retry_after_ns);
	} else if (aws_error_unauthorized(&what.error) ||
	           (kind != CALL_GROUP && kind != CALL_RETENTION &&
	            (a->status == 401 || a->status == 403 || aws_error_is(&what.error, "AccessDeniedException|AccessDenied")))) {
		unauthorized(c, kind, a, &what);
	} else if (kind != CALL_PUT) {
		after_creation(c, kind, a, &what);
	} else if (fine || aws_error_is(&what.error, "DataAlreadyAcceptedException")) {
		accepted(c, &what);
	} else if (aws_error_is(&what.error, "ResourceNotFoundException")) {
		not_found(c, a, &what);
	} else if (aws_error_is(&what.error, "InvalidSequenceTokenException")) {
		later(c, 0);
	} else {
		warn(c, 8, "lines are refused", a->status, &what.error);
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
	uint64_t when;
	while (c->head && !c->head->n && !c->call)
		cloudwatch_pop(c, 0);
	if (c->call || !c->head || !is_due(c, now, flush) || !aws_service_ready(&c->service, now, &when))
		return;
	post(c);
}

void log_send_free(struct cloudwatch *c)
{
	if (c->call)
		http_cancel(c->http, c->call);
	c->call = NULL;
	call_free(c);
}
