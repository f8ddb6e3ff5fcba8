/*
 * Sending what is queued: one request at a time. The same uuid on every try: Rollbar discards what it has already.
 *
 *	200                 done
 *	network, 5xx, 429   again later, as the answer says or with a backoff
 *	413                 shortened, then the failsafe message, then parked
 *	400, 422, others    parked: it lies in the spool for a person to look at, and is not tried again
 *	401, 403            the token's fault: the file is read again, the next token tried, the item kept
 */
#include "base/clock.h"
#include "base/sys.h"
#include "exporters/log.h"
#include "exporters/rollbar/rollbar_priv.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define TIMEOUT (10 * SECOND)
#define BACKOFF_FIRST SECOND
#define BACKOFF_MOST (300 * SECOND)
#define WAIT_MOST (3600 * SECOND) /* of what the receiver says */
#define WAIT_429 (60 * SECOND)    /* when it does not say */
#define TOKEN_LOOK (60 * SECOND)  /* for a mended token, while items wait for one */
#define PER_MINUTE 60
#define TURNS 3      /* failed tries before the next one's turn */
#define GONE_FAILS 8 /* so many tries in a row: nobody is there, the thread need not stay for it */

/* ---- answers ---- */

static uint64_t backoff(unsigned fails)
{
	uint64_t ns = BACKOFF_FIRST;
	for (unsigned i = 1; i < fails && ns < BACKOFF_MOST; i++)
		ns *= 2;
	if (ns > BACKOFF_MOST)
		ns = BACKOFF_MOST;
	uint64_t x = real_ns() * UINT64_C(0x9e3779b97f4a7c15);
	return ns * 4 / 5 + (x >> 32) % (ns * 2 / 5);
}

static uint64_t bounded(uint64_t ns)
{
	return ns < WAIT_MOST ? ns : WAIT_MOST;
}

/* The first line of an answer, printable. */
static void say(struct rollbar *r, const struct answer *a)
{
	size_t n = 0;
	if (a->status)
		n = (size_t)snprintf(r->last, sizeof r->last, "status %d%s", a->status, a->body_len ? ": " : "");
	else
		n = (size_t)snprintf(r->last, sizeof r->last, "%s", a->error ? a->error : "no answer");
	if (n > sizeof r->last - 1)
		n = sizeof r->last - 1;
	for (size_t i = 0; a->status && i < a->body_len && n < sizeof r->last - 1; i++) {
		unsigned char c = (unsigned char)a->body[i];
		r->last[n++] = c >= 0x20 && c < 0x7f ? (char)c : ' ';
	}
	r->last[n] = 0;
	tokens_mask(r->tokens, r->last, n);
}

static void later(struct rollbar *r, struct item *i, uint64_t wait, bool told_when, uint64_t now)
{
	r->fails++;
	r->flush_failed = true;
	r->told_when = told_when;
	r->not_before_ns = now + (wait ? bounded(wait) : backoff(r->fails));
	item_tried(i, ITEM_WAITS);
	/* Should the answer be this one's fault, the others must not wait behind it for ever. */
	if (++i->tries % TURNS == 0)
		item_last(r, i);
	else
		item_first(r, i);
}

static void park(struct rollbar *r, struct item *i)
{
	char from[LOCAL_NAME], to[LOCAL_NAME];
	item_name(i, from);
	i->name.parked = true;
	item_name(i, to);
	bool kept = i->spooled && local_rename(r->local, LOCAL_SPOOL, from, to);
	if (rollbar_tell(TOLD_PARKED))
		log_warn("rollbar: item %s is refused with %s%s%s (said once)", i->name.uuid, r->last, kept ? "; it lies in " : "",
		         kept ? local_path(r->local) : "");
	else
		log_debug("rollbar: item %s is refused with %s", i->name.uuid, r->last);
	r->counts.refused++;
	item_tried(i, ITEM_REFUSED);
	item_free(i);
}

static void token_refused(struct rollbar *r, struct item *i, int status)
{
	r->looked_ns = mono_ns();
	if (tokens_refresh(r->tokens, true)) {
		r->token = r->refused = 0;
	} else {
		r->refused++;
		r->token = tokens_count(r->tokens) ? (r->token + 1) % tokens_count(r->tokens) : 0;
	}
	if (r->refused >= tokens_count(r->tokens)) {
		r->locked = true;
		r->flush_failed = true;
		if (rollbar_tell(TOLD_TOKEN))
			log_warn("rollbar: the access token is refused (%d); items are kept. It must be of the scope post_server_item: "
			         "see ROLLBAR_ACCESS_TOKEN, ROLLBAR_ACCESS_TOKEN_FILE",
			         status);
		item_tried(i, ITEM_WAITS);
	}
	item_first(r, i);
}

static void too_large(struct rollbar *r, struct item *i)
{
	size_t before = i->body.n;
	/* Much shorter, since nobody says how long it may be; half of it before nothing is left of the trace. */
	bool ok = i->cut == 0 ? rollbar_shrink(&i->body, before / 4) || rollbar_shrink(&i->body, before / 2) ||
	                            rollbar_failsafe(&i->body)
	                      : i->cut == 1 && rollbar_failsafe(&i->body);
	i->cut++;
	if (!ok) {
		park(r, i);
		return;
	}
	log_debug("rollbar: item %s is too large (%zu bytes); sending %zu", i->name.uuid, before, i->body.n);
	if (i->spooled)
		item_spool(r, i);
	item_first(r, i);
}

static void answered(void *ctx, const struct answer *a)
{
	struct rollbar *r = ctx;
	struct item *i = r->flying;
	uint64_t now = mono_ns();
	r->call = NULL;
	r->flying = NULL;
	i->body = r->request.body;
	r->request = (struct request){0};
	say(r, a);
	log_debug("rollbar: item %s, %zu bytes: %s", i->name.uuid, i->body.n, r->last);
	if (a->status != 401 && a->status != 403)
		r->refused = 0;
	if (a->status >= 200 && a->status < 300) {
		r->fails = 0;
		r->counts.sent++;
		item_forget(r, i);
		item_tried(i, ITEM_SENT);
		item_free(i);
		if (a->rate_used_up && a->rate_wait_ns) {
			r->not_before_ns = now + bounded(a->rate_wait_ns);
			r->told_when = true;
		}
	} else if (a->status == 0 || a->status >= 500 || a->status == 408) {
		later(r, i, a->retry_after_ns, a->retry_after_ns != 0, now);
	} else if (a->status == 429) {
		uint64_t wait = a->rate_wait_ns ? a->rate_wait_ns : a->retry_after_ns ? a->retry_after_ns
		                                                                      : WAIT_429;
		later(r, i, wait, true, now);
	} else if (a->status == 401 || a->status == 403) {
		token_refused(r, i, a->status);
	} else if (a->status == 413) {
		too_large(r, i);
	} else {
		park(r, i);
	}
}

/* ---- sending ---- */

/* At most so many a minute, whatever happens. Returns when the next may go, 0 = now. */
static uint64_t crowded(const struct rollbar *r, uint64_t now)
{
	if (now - r->minute_ns >= 60 * SECOND || r->in_minute < PER_MINUTE)
		return 0;
	return r->minute_ns + 60 * SECOND;
}

static void count(struct rollbar *r, uint64_t now)
{
	if (!r->minute_ns || now - r->minute_ns >= 60 * SECOND) {
		r->minute_ns = now;
		r->in_minute = 0;
	}
	r->in_minute++;
}

/* The next item with its bytes; files that are none are removed. */
static struct item *next_item(struct rollbar *r)
{
	while (r->queue) {
		struct item *i = item_take(r);
		struct item_id id;
		char name[LOCAL_NAME];
		if (i->body.n)
			return i;
		item_name(i, name);
		if (local_read(r->local, LOCAL_SPOOL, name, &i->body) && rollbar_item_read(i->body.p, i->body.n, &id) &&
		    strcmp(id.uuid, i->name.uuid) == 0)
			return i;
		if (errno != ENOENT || i->body.n)
			log_warn("rollbar: %s/spool/%s is no item; removed", local_path(r->local), name);
		item_forget(r, i);
		item_free(i);
	}
	return NULL;
}

static void post(struct rollbar *r, uint64_t now)
{
	struct item *i = next_item(r);
	if (!i)
		return;
	r->headers[0] = "Content-Type: application/json";
	r->headers[1] = "User-Agent: remora/0.1.0";
	r->headers[2] = tokens_header(r->tokens, r->token);
	r->headers[3] = NULL;
	r->request = (struct request){
		.url = r->settings->rollbar.url,
		.headers = r->headers,
		.timeout_ns = TIMEOUT,
		.body = i->body,
	};
	i->body = (struct buf){0};
	r->flying = i;
	r->told_when = false;
	count(r, now);
	r->call = http_post(r->http, &r->request, answered, r);
	if (r->call)
		return;
	r->flying = NULL;
	i->body = r->request.body;
	r->request = (struct request){0};
	later(r, i, SECOND, false, now);
}

static void look_for_token(struct rollbar *r, uint64_t now, bool flush)
{
	if (r->locked && !flush && now - r->looked_ns < TOKEN_LOOK)
		return;
	r->looked_ns = now;
	if (tokens_refresh(r->tokens, false)) {
		r->token = r->refused = 0;
		r->locked = false;
	}
}

void rollbar_pump(struct rollbar *r, uint64_t now, bool flush)
{
	if (r->call || !r->n)
		return;
	look_for_token(r, now, flush && !r->flush_failed);
	if (!tokens_count(r->tokens)) {
		r->locked = r->flush_failed = true;
		for (struct item *i = r->queue; i; i = i->next)
			item_tried(i, ITEM_WAITS);
		return;
	}
	if (r->locked || crowded(r, now))
		return;
	if (now >= r->not_before_ns || (flush && !r->told_when && !r->flush_failed))
		post(r, now);
}

uint64_t rollbar_due(const struct rollbar *r)
{
	if (r->call || !r->n)
		return 0;
	if (r->locked)
		return r->settings->rollbar.token_file ? r->looked_ns + TOKEN_LOOK : 0;
	uint64_t now = mono_ns(), due = crowded(r, now);
	if (r->not_before_ns > due)
		due = r->not_before_ns;
	return due ? due : 1;
}

void rollbar_flush_begins(struct rollbar *r)
{
	r->flush_failed = false;
}

bool rollbar_flushed(const struct rollbar *r, uint64_t now)
{
	if (r->call)
		return false;
	return !r->n || r->locked || r->flush_failed || crowded(r, now) || (r->told_when && now < r->not_before_ns);
}

bool rollbar_idle(const struct rollbar *r)
{
	return !r->call && (!r->n || r->locked || r->fails >= GONE_FAILS);
}

const char *rollbar_last(const struct rollbar *r)
{
	return r->last;
}

unsigned rollbar_waiting(const struct rollbar *r)
{
	return r->n + (r->flying != NULL);
}

struct rollbar_counts rollbar_counts(const struct rollbar *r)
{
	return r->counts;
}
