/* Inside rollbar_queue.c and rollbar_send.c. */
#ifndef REMORA_ROLLBAR_PRIV_H
#define REMORA_ROLLBAR_PRIV_H

#include "exporters/rollbar/rollbar.h"

#define QUEUE_MOST LOCAL_SPOOL_MOST

struct item {
	struct item *next;
	struct spool_name name;
	bool spooled;    /* there is a file of that name */
	struct buf body; /* loaded when its turn comes, if there is a file */
	unsigned cut;    /* answers of 413 */
	unsigned tries;
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
	struct rollbar_counts counts;
	char last[256];
};

/* What was told already, in this process: an exporter starts many times. */
enum rollbar_told { TOLD_TOKEN = 1,
	                TOLD_PARKED = 2,
	                TOLD_SPOOL = 4,
	                TOLD_FULL = 8 };
bool rollbar_tell(enum rollbar_told what);

void item_free(struct item *i);
void item_tried(struct item *i, enum rollbar_end end); /* for the first time, that is told */
void item_last(struct rollbar *r, struct item *i);
void item_first(struct rollbar *r, struct item *i);
struct item *item_take(struct rollbar *r); /* the first one; there is one */
void item_name(const struct item *i, char out[LOCAL_NAME]);
void item_forget(struct rollbar *r, struct item *i); /* its file */
void item_spool(struct rollbar *r, struct item *i);

#endif
