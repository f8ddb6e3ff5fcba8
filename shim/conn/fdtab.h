/*
 * fd -> what we know of it, two levels: 4,096 leaves of 4,096 fds, made when first needed. An entry is a word:
 * FD_UNKNOWN, FD_OPAQUE, FD_TEXT or a struct conn. Untracked fds leave after one load and one branch (watched()).
 * host, any context; lock-free, no allocator.
 */
#ifndef REMORA_FDTAB_H
#define REMORA_FDTAB_H

#include "span/process.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FD_UNKNOWN ((uintptr_t)0) /* came by a way we did not see: classified at first use */
#define FD_OPAQUE ((uintptr_t)1)  /* nothing for us */
#define FD_TEXT ((uintptr_t)2)    /* fd 1 or 2, still the file it was at the start: what is written is wanted */
#define FD_LEAF 4096u
#define FD_LEAVES 4096u

struct conn;
typedef _Atomic uintptr_t fd_entry;

extern fd_entry *_Atomic fd_leaf[FD_LEAVES];

static inline fd_entry *fd_at(int fd)
{
	unsigned u = (unsigned)fd;
	if (__builtin_expect(u >= FD_LEAF * FD_LEAVES, 0))
		return NULL;
	fd_entry *leaf = atomic_load_explicit(&fd_leaf[u / FD_LEAF], memory_order_acquire);
	return leaf ? leaf + u % FD_LEAF : NULL;
}

static inline uintptr_t fd_peek(int fd)
{
	fd_entry *e = fd_at(fd);
	return e ? atomic_load_explicit(e, memory_order_acquire) : (unsigned)fd < FD_LEAF * FD_LEAVES ? FD_UNKNOWN
	                                                                                              : FD_OPAQUE;
}

/* Worth looking at? FD_OPAQUE: no. The first branch of every hook on an fd. */
static inline uintptr_t watched_word(int fd)
{
	return atomic_load_explicit(&process.active, memory_order_relaxed) ? fd_peek(fd) : FD_OPAQUE;
}

static inline bool watched(int fd)
{
	return watched_word(fd) != FD_OPAQUE;
}

static inline struct conn *fd_conn(uintptr_t word)
{
	return word > FD_TEXT ? (struct conn *)word : NULL;
}

/* The entry, making its leaf. NULL: no memory, or beyond the table. */
fd_entry *fd_make(int fd);
/* Calls f for every entry in [first, last] that is not FD_UNKNOWN. */
void fd_range(unsigned first, unsigned last, void (*f)(int fd, fd_entry *e));

#endif
