/*
 * Into our code and out of it. The guard is never set across a real call, so neither cancellation nor a signal handler
 * that jumps away can leave it set. host.
 */
#ifndef REMORA_GUARD_H
#define REMORA_GUARD_H

#include "span/process.h"
#include <errno.h>

#define GUARD_BUSY 1 /* inside an observer: a call that arrives now is from a signal handler, or ours */
#define GUARD_LIFE 2 /* our own thread */

static inline bool enter(struct thread *t)
{
	if (__builtin_expect(t->guard, 0) || process_in_vfork_child(t))
		return false;
	if (process_is_new())
		process_forked();
	t->guard = GUARD_BUSY;
	return true;
}

static inline void leave(struct thread *t)
{
	t->guard = 0;
}

#endif
