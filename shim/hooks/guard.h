/*
 * Into our code and out of it. The guard is never set across a real call, so neither cancellation nor a signal handler
 * that jumps away can leave it set. host.
 */
#ifndef REMORA_GUARD_H
#define REMORA_GUARD_H

#include "base/hot.h"
#include "span/process.h"
#include <errno.h>

#define GUARD_BUSY 1 /* inside an observer: a call that arrives now is from a signal handler, or ours */
#define GUARD_LIFE 2 /* our own thread */

#define STACK_RANGE (320u * 1024)
/* Is there room for us, or is this a handler on a small alternate stack? Remembers the answer for addresses around it. */
COLD bool guard_stack(struct thread *t, uintptr_t sp);

static inline bool guard_room(struct thread *t)
{
	uintptr_t sp; /* not __builtin_frame_address: every hook would keep a frame pointer for it */
#ifdef __x86_64__
	__asm__ volatile("mov %%rsp, %0"
	                 : "=r"(sp));
#else
	__asm__ volatile("mov %0, sp"
	                 : "=r"(sp));
#endif
	return __builtin_expect(sp - t->stack < STACK_RANGE, 1) || guard_stack(t, sp);
}

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
