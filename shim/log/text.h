/*
 * What the program writes to fd 1 and 2, for the exporter to read errors and log lines from (design 16). On only where
 * a destination for them is configured (config.text_fds); else nothing here runs, and both are as untracked as any file.
 *
 * They count as long as they are the files that they were at the start: fdtab.h's FD_TEXT remembers that, close and dup2
 * forget it. Bytes come through the write hooks, and from stdio, which calls no hook, through two entries of glibc's
 * table of stream functions.
 */
#ifndef REMORA_TEXT_H
#define REMORA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

/* constructor, after stderr_init: puts our functions into glibc's tables. Does nothing where they look unfamiliar. */
void text_stdio_init(void);
/*
 * At exit: libc empties stdout's buffer after our last word, so it is made to do so a moment earlier. `own`: threads of
 * this process that are no secret. Outside the guard.
 */
void text_stdio_flush(int own);
/* Is this fd what text comes from? A system call or three; for conn.c's classification. host, any context. */
bool text_is_log(int fd);
/* The first n bytes of v were written to fd, whose entry is FD_TEXT. host, any context, inside the guard. */
void text_wrote(int fd, const struct iovec *v, int count, size_t n);
/* Called behind each record of that fd: somebody has to export it. Set by the lifecycle. */
extern void (*text_on_commit)(int fd);

#endif
