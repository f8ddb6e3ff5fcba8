/*
 * The queue of items. An item is written to the spool before it is tried, so a kill costs nothing; what Rollbar took is
 * removed from there. One request at a time. The same uuid on every try: Rollbar discards what it has already.
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
#include "exporters/rollbar/rollbar.h"
#include <errno.h>
#include <openssl/sha.h>
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
#define QUEUE_MOST LOCAL_SPOOL_MOST
#define GONE_FAILS 8 /* so many tries in a row: nobody is there, the thread need not stay for it */

struct item {
	struct item *next;
	struct spool_name name;
	bool spooled;    /* there is a file of that name */
	struct buf body; /* loaded when its turn comes, if there is a file */
	unsigned cut;    /* answers of 413 */
	void (*first)(void *ctx, const char *uuid, enum rollbar_end end);
	void *ctx;
};

struct rollbar {
	const struct settings *settings;
	struct http *http;
	struct local *local;
	struct tokens *tokens;
	uint64_t key;
	struct item *queue, *flying; /* flying: out of the queue */
	unsigned n;
	struct http_call *call;
	struct request request;
	const char *headers[4];
	unsigned token, refused; /* the current one; how many in a row were refused */
	bool locked;             /* all were */
	uint64_t looked_ns;
	uint64_t not_before_ns;
	bool told_when, flush_failed;
	unsigned fails;
	uint64_t minute_ns;
	unsigned in_minute;
	uint64_t sent;
	char last[256];
};

/* What was told already, in this process: an exporter starts many times. */
enum { TOLD_TOKEN = 1,
	   TOLD_PARKED = 2,
	   TOLD_SPOOL = 4,
	   TOLD_FULL = 8,
	   TOLD_NONE = 16 };
static _Atomic unsigned told;

static bool tell(unsigned what)
{
	return !(atomic_fetch_or(&told, what) & what);
}

/* ---- the queue ---- */

static void free_item(struct item *i)
{
	buf_free(&i->body);
	free(i);
}

static void first_try(struct item *i, enum rollbar_end end)
{
	void (*first)(void *, const char *, enum rollbar_end) = i->first;
	i->first = NULL;
	if (first)
		first(i->ctx, i->name.uuid, end);
}

static void append(struct rollbar *r, struct item *i)
{
	struct item **at = &r->queue;
	while (*at)
		at = &(*at)->next;
	i->next = NULL;
	*at = i;
	r->n++;
}

static void put_first(struct rollbar *r, struct item *i)
{
	i->next = r->queue;
	r->queue = i;
	r->n++;
}

static struct item *take_first(struct rollbar *r)
{
	struct item *i = r->queue;
	r->queue = i->next;
	r->n--;
	return i;
}

static void file_name(const struct item *i, char out[LOCAL_NAME])
{
	spool_name_write(&i->name, out);
}

static void forget_file(struct rollbar *r, struct item *i)
{
	char name[LOCAL_NAME];
	file_name(i, name);
	if (i->spooled)
		local_remove(r->local, LOCAL_SPOOL, name);
	i->spooled = false;
}

static void spool(struct rollbar *r, struct item *i)
{
	char name[LOCAL_NAME];
	file_name(i, name);
	if (local_write(r->local, LOCAL_SPOOL, name, i->body.p, i->body.n)) {
		i->spooled = true;
		unsigned lost = local_spool_trim(r->local, real_ns() / MS);
		if (lost && tell(TOLD_FULL))
			log_warn("rollbar: the spool in %s is full (%d items or %d days): the oldest are dropped", local_path(r->local),
			         LOCAL_SPOOL_MOST, LOCAL_SPOOL_DAYS);
	} else if (tell(TOLD_SPOOL)) {
		log_warn("rollbar: items are not kept in case they cannot be sent: %s: %s; set REMORA_STATE_DIR to a private "
		         "directory",
		         *local_path(r->local) ? local_path(r->local) : "no directory", strerror(errno));
	}
}

/* ---- who may send what ---- */

/*
 * Where an item was meant to go: with a token file its path counts, since the tokens in it come and go. 64 bits of a
 * SHA-256 tell nothing of the token.
 */
static uint64_t destination(const struct rollbar_settings *s)
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	uint64_t key = 0;
	char *all = NULL;
	int n = asprintf(&all, "%s\n%s\n%s", s->url, s->environment, s->token_file ? s->token_file : s->token ? s->token
	                                                                                                      : "");
	if (n < 0)
		return 0;
	SHA256((const unsigned char *)all, (size_t)n, sum);
	explicit_bzero(all, (size_t)n);
	free(all);
	for (int i = 0; i < 8; i++)
		key = key << 8 | sum[i];
	return key;
}

struct rollbar *rollbar_new(const struct settings *s, struct http *h, struct local *l)
{
	struct rollbar *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	*r = (struct rollbar){.settings = s, .http = h, .local = l, .tokens = tokens_new(&s->rollbar)};
	r->key = destination(&s->rollbar);
	if (r->tokens)
		return r;
	free(r);
	return NULL;
}

void rollbar_delete(struct rollbar *r)
{
	if (!r)
		return;
	if (r->call)
		http_cancel(r->http, r->call);
	if (r->flying) {
		if (!r->flying->body.p)
			r->flying->body = r->request.body;
		free_item(r->flying);
	}
	while (r->queue)
		free_item(take_first(r));
	tokens_delete(r->tokens);
	free(r);
}

bool rollbar_add(struct rollbar *r, struct buf *body, uint64_t time_ns,
                 void (*first)(void *, const char *, enum rollbar_end), void *ctx)
{
	struct item_id id;
	struct item *i = NULL;
	tokens_mask(r->tokens, body->p, body->n);
	if (rollbar_item_read(body->p, body->n, &id))
		i = calloc(1, sizeof *i);
	if (!i) {
		buf_free(body);
		return false;
	}
	*i = (struct item){.body = *body, .first = first, .ctx = ctx};
	*body = (struct buf){0};
	r->looked_ns = 0; /* a new item is a reason to look for a new token */
	i->name = (struct spool_name){.ms = time_ns / MS, .key = r->key, .pid = sys_getpid()};
	i->name.start = proc_start_time(i->name.pid);
	memcpy(i->name.uuid, id.uuid, sizeof i->name.uuid);
	spool(r, i);
	if (r->n >= QUEUE_MOST) { /* the oldest makes room: it is in the spool, if there is one */
		struct item *old = take_first(r);
		first_try(old, ITEM_WAITS);
		if (tell(TOLD_FULL))
			log_warn("rollbar: more than %d items wait", QUEUE_MOST);
		free_item(old);
	}
	append(r, i);
	return i->spooled;
}

static bool is_queued(const struct rollbar *r, const char *uuid)
{
	for (const struct item *i = r->queue; i; i = i->next)
		if (strcmp(i->name.uuid, uuid) == 0)
			return true;
	return r->flying && strcmp(r->flying->name.uuid, uuid) == 0;
}

unsigned rollbar_adopt(struct rollbar *r, bool any, unsigned *foreign)
{
	size_t n;
	unsigned got = 0;
	local_spool_trim(r->local, real_ns() / MS);
	char **names = local_names(r->local, LOCAL_SPOOL, &n), mine[LOCAL_NAME];
	uint64_t start = proc_start_time(sys_getpid());
	*foreign = 0;
	for (size_t k = 0; names && k < n && r->n < QUEUE_MOST; k++) {
		struct spool_name s;
		bool own;
		if (!spool_name_read(names[k], &s) || s.parked)
			continue;
		own = s.pid == sys_getpid() && s.start == start;
		if (!own && proc_alive(s.pid, s.start))
			continue;
		if (is_queued(r, s.uuid)) {
			if (!own) /* it died with both in hand, the item and the crash file, which we have read meanwhile */
				local_remove(r->local, LOCAL_SPOOL, names[k]);
			continue;
		}
		if (s.key != r->key && !any) {
			++*foreign;
			continue;
		}
		s.pid = sys_getpid();
		s.start = start;
		s.key = r->key;
		spool_name_write(&s, mine);
		/* Whoever renames it first has it. */
		if (strcmp(mine, names[k]) != 0 && !local_rename(r->local, LOCAL_SPOOL, names[k], mine))
			continue;
		struct item *i = calloc(1, sizeof *i);
		if (!i)
			break;
		i->name = s;
		i->spooled = true;
		append(r, i);
		got++;
	}
	local_names_free(names);
	return got;
}

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
	first_try(i, ITEM_WAITS);
	put_first(r, i);
}

static void park(struct rollbar *r, struct item *i)
{
	char from[LOCAL_NAME], to[LOCAL_NAME];
	file_name(i, from);
	i->name.parked = true;
	file_name(i, to);
	bool kept = i->spooled && local_rename(r->local, LOCAL_SPOOL, from, to);
	if (tell(TOLD_PARKED))
		log_warn("rollbar: item %s is refused with %s%s%s (said once)", i->name.uuid, r->last, kept ? "; it lies in " : "",
		         kept ? local_path(r->local) : "");
	else
		log_debug("rollbar: item %s is refused with %s", i->name.uuid, r->last);
	first_try(i, ITEM_REFUSED);
	free_item(i);
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
		if (tell(TOLD_TOKEN))
			log_warn("rollbar: the access token is refused (%d); items are kept. It must be of the scope post_server_item: "
			         "see ROLLBAR_ACCESS_TOKEN, ROLLBAR_ACCESS_TOKEN_FILE",
			         status);
		first_try(i, ITEM_WAITS);
	}
	put_first(r, i);
}

static void too_large(struct rollbar *r, struct item *i)
{
	size_t before = i->body.n;
	bool ok = i->cut == 0 ? rollbar_shrink(&i->body, before / 4) || rollbar_failsafe(&i->body)
	                      : i->cut == 1 && rollbar_failsafe(&i->body);
	i->cut++;
	if (!ok) {
		park(r, i);
		return;
	}
	log_debug("rollbar: item %s is too large (%zu bytes); sending %zu", i->name.uuid, before, i->body.n);
	if (i->spooled)
		spool(r, i);
	put_first(r, i);
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
		r->sent++;
		forget_file(r, i);
		first_try(i, ITEM_SENT);
		free_item(i);
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
		struct item *i = take_first(r);
		struct item_id id;
		char name[LOCAL_NAME];
		if (i->body.n)
			return i;
		file_name(i, name);
		if (local_read(r->local, LOCAL_SPOOL, name, &i->body) && rollbar_item_read(i->body.p, i->body.n, &id) &&
		    strcmp(id.uuid, i->name.uuid) == 0)
			return i;
		if (errno != ENOENT || i->body.n)
			log_warn("rollbar: %s/spool/%s is no item; removed", local_path(r->local), name);
		forget_file(r, i);
		free_item(i);
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
			first_try(i, ITEM_WAITS);
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

uint64_t rollbar_sent(const struct rollbar *r)
{
	return r->sent;
}
