/*
 * Rollbar: items of crashes, errors and messages over the item API (create-item). exporter thread, and the remora
 * command.
 *
 *	report -> rollbar_encode -> spool file + queue -> POST -> answer -> the file goes, waits or is parked
 */
#ifndef REMORA_ROLLBAR_H
#define REMORA_ROLLBAR_H

#include "exporters/http.h"
#include "exporters/local/local.h"
#include "exporters/resource_detect.h"
#include "exporters/settings.h"
#include "exporters/timeline.h"

#define ROLLBAR_ITEM_MOST (512 * 1024) /* bytes of a request */
#define ROLLBAR_TELEMETRY_MOST 100

/* ---- rollbar_item.c: a report as an item. Pure. ---- */

struct item_facts { /* what the report does not say itself */
	const struct rollbar_settings *set;
	const struct host_facts *host;
	const struct request_copy *request;    /* that was open in the crashed thread, or NULL */
	const struct span_copy *const *recent; /* spans of the process, oldest first */
	unsigned n_recent;
	uint32_t suppressed; /* items of this fingerprint that were not sent since the last one */
};
/* {"data":{...}}, at most ROLLBAR_ITEM_MOST, without a token. False: no memory. */
bool rollbar_encode(struct buf *out, const struct report *r, const struct item_facts *f);

/* ---- rollbar_shrink.c: items as text; the bytes may come from a file and are hostile (fuzzed) ---- */

struct item_id {
	char uuid[37], fingerprint[41];
};
/* Is it an item, with one kind of body? */
bool rollbar_item_read(const char *p, size_t n, struct item_id *out);
/* Cut it to at most `most` bytes, in the order of Rollbar's own SDKs. False: it cannot be, or is no item. */
bool rollbar_shrink(struct buf *item, size_t most);
/* The same from a tree: as it is if it fits, the short message if nothing else does. False: no memory, or no item. */
struct cJSON;
bool rollbar_print(struct cJSON *tree, size_t most, struct buf *out);
/* A short message item with the same uuid, for when nothing else goes through. */
bool rollbar_failsafe(struct buf *item);

/* ---- rollbar_scrub.c ---- */

/* Is it the name of something secret: pyrollbar's list, and ours? Case, '-' and '_' aside, the end of a name counts. */
bool rollbar_is_secret(const char *key, size_t n);
/* Values under secret names, anywhere. */
void rollbar_scrub(struct cJSON *tree);

/* ---- rollbar_token.c: up to ROLLBAR_TOKENS of them, kept out of core files ---- */

#define ROLLBAR_TOKENS 4

struct tokens;
struct tokens *tokens_new(const struct rollbar_settings *s);
void tokens_delete(struct tokens *t);
/* Reads the file if it changed (or `force`). True: the tokens are others than before, and the first is the current. */
bool tokens_refresh(struct tokens *t, bool force);
unsigned tokens_count(const struct tokens *t);
/* "X-Rollbar-Access-Token: ..."; NULL: there is none. Valid until tokens_refresh. */
const char *tokens_header(const struct tokens *t, unsigned i);
/* Overwrite every token that stands in a text. */
void tokens_mask(const struct tokens *t, char *p, size_t n);

/* ---- rollbar_send.c: the queue ---- */

struct rollbar;
/* `l` and `h` outlive it. NULL: no memory. */
struct rollbar *rollbar_new(const struct settings *s, struct http *h, struct local *l);
void rollbar_delete(struct rollbar *r); /* what was not sent stays in the spool */
enum rollbar_end { ITEM_SENT,
	               ITEM_REFUSED,
	               ITEM_WAITS /* in the spool, or here */ };
/*
 * Takes the item's bytes. `first` is told once, after its first try (never, when the sender is deleted before); may be
 * NULL. True: it is in the spool.
 */
bool rollbar_add(struct rollbar *r, struct buf *item, uint64_t time_ns,
                 void (*first)(void *ctx, const char *uuid, enum rollbar_end end), void *ctx);
/* Items in the spool that nobody sends. `any`: also those that were meant for other settings. Returns how many. */
unsigned rollbar_adopt(struct rollbar *r, bool any, unsigned *foreign);
/* Start what can be started. */
void rollbar_pump(struct rollbar *r, uint64_t now, bool flush);
uint64_t rollbar_due(const struct rollbar *r);               /* CLOCK_MONOTONIC; 0 = not before an answer or an item */
bool rollbar_flushed(const struct rollbar *r, uint64_t now); /* nothing is left to try at once */
void rollbar_flush_begins(struct rollbar *r);
/* Nothing but what waits for a mended token or a receiver that is gone for minutes. */
bool rollbar_idle(const struct rollbar *r);
const char *rollbar_last(const struct rollbar *r); /* what the last answer said; "" = none yet */
unsigned rollbar_waiting(const struct rollbar *r);
struct rollbar_counts {
	uint64_t sent, refused, lost; /* refused: parked; lost: there was no room to keep them */
};
struct rollbar_counts rollbar_counts(const struct rollbar *r);

#endif
