#include "conn/fdtab.h"
#include "base/sys.h"

static fd_entry first_leaf[FD_LEAF]; /* most programs need no other */
fd_entry *_Atomic fd_leaf[FD_LEAVES] = {first_leaf};

fd_entry *fd_make(int fd)
{
	unsigned u = (unsigned)fd;
	if (u >= FD_LEAF * FD_LEAVES)
		return NULL;
	fd_entry *leaf = atomic_load_explicit(&fd_leaf[u / FD_LEAF], memory_order_acquire);
	if (!leaf) {
		fd_entry *mine = sys_map(FD_LEAF * sizeof(fd_entry));
		if (!mine)
			return NULL;
		if (atomic_compare_exchange_strong(&fd_leaf[u / FD_LEAF], &leaf, mine))
			leaf = mine;
		else
			sys_unmap(mine, FD_LEAF * sizeof(fd_entry));
	}
	return leaf + u % FD_LEAF;
}

void fd_range(unsigned first, unsigned last, void (*f)(int fd, fd_entry *e))
{
	if (last >= FD_LEAF * FD_LEAVES)
		last = FD_LEAF * FD_LEAVES - 1;
	for (unsigned u = first; u <= last;) {
		fd_entry *leaf = atomic_load_explicit(&fd_leaf[u / FD_LEAF], memory_order_acquire);
		if (!leaf) {
			u = (u / FD_LEAF + 1) * FD_LEAF;
			continue;
		}
		if (atomic_load_explicit(&leaf[u % FD_LEAF], memory_order_relaxed) != FD_UNKNOWN)
			f((int)u, &leaf[u % FD_LEAF]);
		u++;
	}
}
