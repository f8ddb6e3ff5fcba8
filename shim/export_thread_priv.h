/* Between export_thread.c and export_ask.c only. */
#ifndef REMORA_EXPORT_THREAD_PRIV_H
#define REMORA_EXPORT_THREAD_PRIV_H

#include "export_thread.h"
#include "exporters/abi.h"
#include "span/arena.h"

enum export_thread_state {
	THREAD_NONE,
	THREAD_RUNNING, /* from before its creation to its last word */
	THREAD_NEVER,
};

extern struct export_thread {
	_Atomic int tid;          /* the last one's, 0 = never there */
	_Atomic uint32_t leaves;  /* how often it went to wait: 2 = all is loaded and read */
	_Atomic uint32_t answers; /* futex: bumped when a request is answered or the thread ends */
	_Atomic uint32_t request;
	_Atomic uint64_t deadline_ns;
	struct export_recent recent;
	bool prepared;
} export_thread __attribute__((visibility("hidden")));

bool export_thread_start(void); /* is it there now? */
bool export_thread_wanted(const struct arena *a);
bool export_thread_waiting(const struct arena *a); /* is there something to send? */

#endif
