/*
 * What the processes of the tree did lately: a small ring of copied records for each, from which a crash's timeline is
 * made. Only there when crash reports are sent somewhere. exporter thread.
 */
#ifndef REMORA_TIMELINE_H
#define REMORA_TIMELINE_H

#include "shim/span/arena.h"

#define TIMELINE_SPANS 64 /* of a process */
#define TIMELINE_PROCS 16 /* that are remembered: the ones with records last */

struct span_copy { /* a record's first slot, in private memory: it no longer changes, and is yet to be checked */
	union {
		struct span_rec rec;
		char bytes[SLOT_SIZE];
	};
};

/* A copy of any slot in use, whatever its state. False: no such slot, or its fields make no sense. */
bool span_copy_take(const struct arena *a, uint32_t slot, struct span_copy *out);
/* A string of it, cut where the first slot ends. */
struct slice span_copy_str(const struct span_copy *c, enum rec_tag tag);

#define REQUEST_STRINGS 4096

struct request_copy { /* the same of a request, with the strings that lie in more slots */
	uint32_t n;
	char strings[REQUEST_STRINGS];
	struct span_copy copy;
};
bool request_copy_take(const struct arena *a, uint32_t slot, struct request_copy *out);
/* Of what was copied before: the first slot is all there is. */
void request_copy_of(const struct span_copy *c, struct request_copy *out);
struct slice request_str(const struct request_copy *r, enum rec_tag tag);

/* Of a SPAN_TEXT: its bytes, cut alike, without line ends around them. */
struct slice span_copy_text(const struct span_copy *c);

struct timeline_ring { /* of one process; also a section of a crash file (shim/crash/record.h), checked when it is read */
	int32_t pid;
	uint32_t next, n;
	uint64_t used; /* when, in records: the one that was not used for longest makes room */
	struct span_copy spans[TIMELINE_SPANS];
};

struct export_recent;
struct timeline;
/* `recent` is told where the ring of this process lies; may be NULL. */
struct timeline *timeline_new(struct export_recent *recent);
void timeline_delete(struct timeline *t);
void timeline_add(struct timeline *t, const struct arena *a, uint32_t slot);
/* What a crash file holds of a ring: hostile bytes. */
void timeline_load(struct timeline *t, int32_t pid, const void *bytes, size_t n);
/* Of one process, what lies in an arena and was not drained yet: text, calls, complete requests. */
void timeline_add_waiting(struct timeline *t, const struct arena *a, int32_t pid);
/* What a crash file has of stderr (CRASH_SEC_WORDS): it takes the place of what is known of it. Hostile bytes. */
void timeline_add_words(struct timeline *t, int32_t pid, const void *bytes, size_t n);
/* Of one process, oldest first, at most `most` of the last ones; borrowed until the next timeline_add. */
unsigned timeline_of(struct timeline *t, int32_t pid, const struct span_copy **out, unsigned most);

#endif
