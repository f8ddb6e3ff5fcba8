/*
 * What outlives the program: crash reports and the spool, as files under REMORA_STATE_DIR. exporter thread, and the
 * remora command.
 *
 *	crashes/<time>-<program>-<uuid>.{txt,json}   the last LOCAL_CRASHES_MOST reports
 *	spool/<ms>-<uuid>.<key>.<pid>-<start>.json   items that Rollbar has not taken yet (.parked: it refused them)
 *	limits                                       how often each fingerprint was sent lately
 *
 * Directories 0700, files 0600. A directory that is another user's or open to others is not used: then nothing is
 * kept, and LOCAL's users say so once. Nothing is created before there is something to keep. Files come into being
 * whole (written beside, renamed). What stands in them is not trusted when it is read back.
 */
#ifndef REMORA_LOCAL_H
#define REMORA_LOCAL_H

#include "exporters/buf.h"
#include "exporters/crash/report.h"

#define LOCAL_CRASHES_MOST 100 /* reports */
#define LOCAL_SPOOL_MOST 50    /* items */
#define LOCAL_SPOOL_DAYS 7
#define LOCAL_FILE_MOST (1024 * 1024) /* longer ones are not ours */
#define LOCAL_NAME 256

enum local_place { LOCAL_ROOT,
	               LOCAL_CRASHES,
	               LOCAL_SPOOL,
	               LOCAL_PLACES };

struct local;

/* `dir` may be NULL: nothing is kept. NULL: no memory. */
struct local *local_new(const char *dir);
void local_delete(struct local *l);
const char *local_path(const struct local *l); /* for messages; "" = none */
/* Open what is there already, so that a later chroot or set*id does not matter. */
void local_open(struct local *l);

/* ---- local.c: files. False: errno says why. ---- */

bool local_write(struct local *l, enum local_place p, const char *name, const void *data, size_t n);
bool local_read(struct local *l, enum local_place p, const char *name, struct buf *out);
bool local_rename(struct local *l, enum local_place p, const char *from, const char *to);
bool local_remove(struct local *l, enum local_place p, const char *name);
/* Regular names in order, at most LOCAL_LIST_MOST of them; to be freed with local_names_free. */
#define LOCAL_LIST_MOST 4096
char **local_names(struct local *l, enum local_place p, size_t *n);
void local_names_free(char **names);
/* For what must not happen twice at a time; waits for a moment only. False: go on without. */
bool local_lock(struct local *l);
void local_unlock(struct local *l);

/* ---- local_store.c: reports ---- */

/* Text and `json` (the item's data) of a report; the oldest beyond the most go. */
bool local_keep(struct local *l, const struct report *r, const char *program, const struct buf *json);
/* The text as it is kept: a head of NAME: VALUE lines, an empty line, the trace. */
void local_text(struct buf *out, const struct report *r, const char *program);

struct local_entry {       /* of a file's name and first bytes; all printable */
	char name[LOCAL_NAME]; /* without its suffix */
	char time[21], program[65], uuid[37], title[256];
};
bool local_entry_name(const char *name, struct local_entry *out);            /* of a .txt; pure (fuzzed) */
void local_entry_title(const char *text, size_t n, struct local_entry *out); /* pure (fuzzed) */

/* ---- local_spool.c: the spool's names. Pure (fuzzed). ---- */

struct spool_name {
	uint64_t ms; /* CLOCK_REALTIME of the first try */
	char uuid[37];
	uint64_t key; /* of the destination: an item goes where it was meant to go */
	int32_t pid;  /* who sends it; once that is gone, whoever finds it */
	uint64_t start;
	bool parked;
};
bool spool_name_read(const char *name, struct spool_name *out);
void spool_name_write(const struct spool_name *s, char out[LOCAL_NAME]);
/* Remove what is too old or too many (oldest first). Returns how many items were lost by that. */
unsigned local_spool_trim(struct local *l, uint64_t now_ms);

/* ---- local_limits.c: crash loops ---- */

#define LIMIT_PER_HOUR 10

/*
 * May an item of this fingerprint be sent at `now` (Unix seconds)? If so it is counted, and *suppressed says how many
 * were not since the last one. The text form is the file's. limits_admit is pure (fuzzed): `text` is replaced.
 */
bool limits_admit(struct buf *text, const char *fingerprint, uint64_t now, uint32_t *suppressed);
/* The same over the file; without a place to keep it, over `fallback`, which lives as long as the exporter. */
bool local_admit(struct local *l, struct buf *fallback, const char *fingerprint, uint64_t now, uint32_t *suppressed);
/* How many were not, and are yet to be told of. */
uint64_t local_suppressed(struct local *l, uint64_t now);

bool uuid_ok(const char *s, size_t n); /* 8-4-4-4-12 lower case hex digits */

#endif
