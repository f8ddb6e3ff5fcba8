/*
 * The exporter's thread in this process: when it starts, how it stands aside for a fork, how it ends. What it does is
 * in exporters/. "safe" = in no signal handler and not within the allocator: accept, connect, listen, the poll family,
 * exit, and what names itself so.
 */
#ifndef REMORA_EXPORT_THREAD_H
#define REMORA_EXPORT_THREAD_H

#include <stdbool.h>
#include <stdint.h>

extern _Atomic uint32_t export_thread_state __attribute__((visibility("hidden"))); /* 0: it may be started */

const char *export_thread_library(void); /* path of libremora-export.so, "" = unknown */
int export_thread_tid(void);             /* 0 = not running */
/* For a crash: ask for all to be sent by `end`, and is it? Async-signal-safe, no waiting. */
void export_thread_ask(uint64_t end);
bool export_thread_answered(void);
/* What of the exporter's memory goes into a crash file; 0: nothing. */
uint64_t export_thread_recent(uint64_t *size);
void export_thread_freeze(void); /* from now on that grows no more, until export_thread_ask */
void export_thread_init(void);   /* constructor: where our files lie */
/* Start it if there is something to export and nobody who does. safe, inside the guard. */
void export_thread_poke(void);
/* The same from a read or write, for programs that call nothing safe; sure of that by the signal mask. */
void export_thread_poke_late(void);
/* The same from where a thread was made: who may do that may be given one more. */
void export_thread_poke_made(void);
/*
 * The same where a program that only prints can be met: behind a write to fd 1, or before it waits. Not behind one to
 * fd 2: allocators print there, with their locks held.
 */
void export_thread_poke_text(int fd);
void export_thread_forked(void);       /* in the child, by process_forked */
void export_thread_parked_child(void); /* in the child of a fork that waited for us: before process_forked */
/* Send what there is, bounded by REMORA_EXIT_WAIT_MS; at exit it is started for that if nobody else exports. safe. */
void export_thread_exit(void);
void export_thread_flush(void); /* before exec; async-signal-safe */
void export_thread_last(void);  /* before _exit; async-signal-safe */
/* End it and wait until the kernel counts one thread less; it may start again later. safe. */
void export_thread_end(void);
void export_thread_never(void);   /* end it, and never start it in this process again. safe */
void export_thread_prepare(void); /* before chroot and set*id: load and read what cannot be read later. safe */

#endif
