/*
 * What the process wrote to stderr last, for its crash file: there it is whoever takes the file, while the records of
 * text in the arena may be anywhere by then. Private memory, touched only where text is read at all.
 */
#ifndef REMORA_TEXT_TAIL_H
#define REMORA_TEXT_TAIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* The first n bytes of v were written by thread tid. host, any context. */
void text_tail_add(int tid, const struct iovec *v, int count, size_t n);
/* struct crash_words, one behind the other; NULL: this process wrote nothing. In the handler of a crash. */
const void *text_tail(size_t *n);
/* They are in a crash file now: tells those who read the records that thread tid's last words belong to it. */
void text_tail_saved(int tid);

#endif
