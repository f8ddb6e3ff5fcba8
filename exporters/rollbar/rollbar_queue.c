/*
 * The queue of items and its spool. An item is written there before it is tried, so a kill costs nothing; what Rollbar
 * took is removed.
 */
#include "base/clock.h"
#include "base/sys.h"
#include "exporters/log.h"
#include "exporters/rollbar/rollbar_priv.h"
#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

bool rollbar_tell(enum rollbar_told what)
{
	static _Atomic unsigned told;
	return !(atomic_fetch_or(&told, (unsigned)what) & (unsigned)what);
}

/* ---- the queue ---- */

void item_free(struct item *i)
{
	buf_free(&i->body);
	free(i);
}

void item_tried(struct item *i, enum rollbar_end end)
{
	void (*first)(void *, const char *, enum rollbar_end) = i->first;
	i->first = NULL;
	if (first)
		first(i->ctx, i->name.uuid, end);
}

void item_last(struct rollbar *r, struct item *i)
{
	struct item **at = &r->queue;
	while (*at)
		at = &(*at)->next;
	i->next = NULL;
	*at = i;
	r->n++;
}

void item_first(struct rollbar *r, struct item *i)
{
	i->next = r->queue;
	r->queue = i;
	r->n++;
}

struct item *item_take(struct rollbar *r)
{
	struct item *i = r->queue;
	r->queue = i->next;
	r->n--;
	return i;
}

void item_name(const struct item *i, char out[LOCAL_NAME])
{
	spool_name_write(&i->name, out);
}

void item_forget(struct rollbar *r, struct item *i)
{
	char name[LOCAL_NAME];
	item_name(i, name);
	if (i->spooled)
		local_remove(r->local, LOCAL_SPOOL, name);
	i->spooled = false;
}

void item_spool(struct rollbar *r, struct item *i)
{
	char name[LOCAL_NAME];
	item_name(i, name);
	if (local_write(r->local, LOCAL_SPOOL, name, i->body.p, i->body.n)) {
		i->spooled = true;
		unsigned lost = local_spool_trim(r->local, real_ns() / MS);
		r->counts.lost += lost;
		if (lost && rollbar_tell(TOLD_FULL))
			log_warn("rollbar: the spool in %s is full (%d items or %d days): the oldest are dropped", local_path(r->local),
			         LOCAL_SPOOL_MOST, LOCAL_SPOOL_DAYS);
	} else if (rollbar_tell(TOLD_SPOOL)) {
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
		item_free(r->flying);
	}
	while (r->queue)
		item_free(item_take(r));
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
	item_spool(r, i);
	if (r->n >= QUEUE_MOST) { /* the oldest makes room: it is in the spool, if there is one */
		struct item *old = item_take(r);
		r->counts.lost += !old->spooled;
		item_tried(old, ITEM_WAITS);
		if (rollbar_tell(TOLD_FULL))
			log_warn("rollbar: more than %d items wait", QUEUE_MOST);
		item_free(old);
	}
	item_last(r, i);
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
	r->counts.lost += local_spool_trim(r->local, real_ns() / MS);
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
		item_last(r, i);
		got++;
	}
	local_names_free(names);
	return got;
}
