/*
 * Crash files in the runtime directory (shim/crash/record.h): who finds one first claims it by a new name, so exactly
 * one process makes the report. exporter thread, and the remora command.
 *
 *	<pid>-<start>-<n>.crash  ->  <pid>-<start>-<n>.taken  ->  removed
 *
 * The new name says "accepted" to a handler that waits, the removal "stored, and sent or spooled". Who claims it writes
 * himself into the file's head; a claim whose claimer is gone counts for nothing. Only files of this user, and of
 * processes with the same settings.
 */
#ifndef REMORA_CRASH_INBOX_H
#define REMORA_CRASH_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INBOX_NAME 128
#define INBOX_FILE_MOST (33 * 1024 * 1024)
#define INBOX_AT_A_TIME 16
#define INBOX_DAYS 7

struct inbox;
/* dir "": there are none. NULL: no memory. */
struct inbox *inbox_new(const char *dir, uint64_t hash);
void inbox_delete(struct inbox *i);
/*
 * Is it time to scan? `word` is the arena's count of crash files. `*due`: when to ask again (CLOCK_MONOTONIC), 0 = not
 * before the word changes.
 */
bool inbox_stirred(const struct inbox *i, uint32_t word, uint64_t now, uint64_t *due);
struct inbox_file {
	char name[INBOX_NAME]; /* its new name */
	void *bytes;           /* inbox_read's, for free(); NULL */
	size_t n;
};
/*
 * Claims files. `any`: also of other settings. Returns how many, INBOX_AT_A_TIME at most (then scan again); *foreign: of
 * other settings, left where they are.
 */
unsigned inbox_scan(struct inbox *i, uint32_t word, uint64_t now, bool any, struct inbox_file out[INBOX_AT_A_TIME],
                    unsigned *foreign);
/* One file by its name, whatever its settings: for the helper. */
bool inbox_claim(struct inbox *i, const char *name, struct inbox_file *out);
/* Its bytes; false: they cannot be read. */
bool inbox_read(struct inbox *i, struct inbox_file *f);
/* A copy of a record that has no file (struct arena, crash_fd). False: it cannot be had. */
bool inbox_fetch(uint64_t offer, struct inbox_file *f);
void inbox_done(struct inbox *i, const char *taken);
void inbox_back(struct inbox *i, const char *taken); /* nobody could do anything with it now */

/* Pure. Does the name say a crash file, or a claimed one? */
bool inbox_name_read(const char *name, char base[INBOX_NAME], bool *taken);

#endif
