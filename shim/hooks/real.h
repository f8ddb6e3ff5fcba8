/*
 * The functions behind the hooks: the only way shim code reaches what it hooks. Looked up when first needed, all at
 * once when the program turns out to do networking (hooks_resolve): the loader's lock is then not taken in a handler.
 */
#ifndef REMORA_REAL_H
#define REMORA_REAL_H

#include "base/hot.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* glibc declares the socket calls with transparent unions; between ABIs there is no difference. */
#define SOCKADDR_ARG __SOCKADDR_ARG
#define CONST_SOCKADDR_ARG __CONST_SOCKADDR_ARG

enum real_index {
#define RX(ret, name, ...) REAL_##name,
#define OUT(ret, name, ...) REAL_##name,
#define TX(ret, name, ...) REAL_##name,
#define AFTER(ret, name, ...) REAL_##name,
#define CLOSE(ret, name, ...) REAL_##name,
#define POLL(ret, name, ...) REAL_##name,
#define PAUSE(ret, name, ...) REAL_##name,
#define SPECIAL(ret, name, ...) REAL_##name,
#include "hooks/hooks.def"
#undef RX
#undef OUT
#undef TX
#undef AFTER
#undef CLOSE
#undef POLL
#undef PAUSE
#undef SPECIAL
	REAL_COUNT,
};

#define RX(ret, name, params, ...) typedef ret(*real_##name##_t) params;
#define OUT(ret, name, params, ...) typedef ret(*real_##name##_t) params;
#define TX(ret, name, params, ...) typedef ret(*real_##name##_t) params;
#define AFTER(ret, name, params, ...) typedef ret(*real_##name##_t) params;
#define CLOSE(ret, name, params, ...) typedef ret(*real_##name##_t) params;
#define POLL(ret, name, params, ...) typedef ret(*real_##name##_t) params;
#define PAUSE(ret, name, params, ...) typedef ret(*real_##name##_t) params;
#define SPECIAL(ret, name, params, ...) typedef ret(*real_##name##_t) params;
#include "hooks/hooks.def"
#undef RX
#undef OUT
#undef TX
#undef AFTER
#undef CLOSE
#undef POLL
#undef PAUSE
#undef SPECIAL

extern void *real_table[REAL_COUNT];

/* Never NULL: a function that this libc lacks fails with ENOSYS. */
COLD void *real_lookup(enum real_index i);
void real_resolve_all(void);
void *real_find(const char *name); /* any function of the libraries behind us; NULL: not there */

#define REAL(name)                                                                                    \
	((real_##name##_t)(__builtin_expect(real_table[REAL_##name] != NULL, 1) ? real_table[REAL_##name] \
	                                                                        : real_lookup(REAL_##name)))

#endif
