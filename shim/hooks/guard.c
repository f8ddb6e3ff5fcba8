#include "hooks/guard.h"
#include "base/sys.h"
#include "crash/crash.h"
#include <signal.h>

#define ROOM 16384u /* more than our deepest path takes */

bool guard_stack(struct thread *t, uintptr_t sp)
{
	stack_t alt;
	if (sys3(SYS_sigaltstack, 0, &alt, 0) == 0 && (alt.ss_flags & SS_ONSTACK)) {
		uintptr_t lo = (uintptr_t)alt.ss_sp;
		return sp - lo < alt.ss_size && sp - lo >= ROOM;
	}
	crash_thread_here(); /* no thread that pthread_create made */
	t->stack = sp > STACK_RANGE - 65536 ? sp - (STACK_RANGE - 65536) : 1;
	return true;
}
