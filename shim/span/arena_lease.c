/*
 * Who exports: one thread of the tree. A robust futex by the kernel's own interface (get_robust_list(2)): this thread's
 * list is replaced by one, in private memory, that names the lease alone. The exporter uses no robust mutexes.
 */
#include "span/arena_priv.h"
#include "base/sys.h"

static __thread struct {
	struct robust_list_head head;
	struct robust_list entry;
	struct robust_list_head *before; /* glibc's */
	struct arena *arena;
	uint32_t tid; /* a forked child inherits this memory, not the kernel's side of it */
} watch;

static bool watch_start(struct arena *a, uint32_t tid)
{
	size_t size;
	if (watch.arena && watch.tid == tid)
		return false;
	if (sys3(SYS_get_robust_list, 0, &watch.before, &size) != 0)
		watch.before = NULL;
	watch.arena = a;
	watch.tid = tid;
	watch.entry.next = &watch.head.list;
	watch.head.list.next = &watch.entry;
	watch.head.futex_offset = (char *)&a->lease - (char *)&watch.entry;
	watch.head.list_op_pending = NULL;
	sys3(SYS_set_robust_list, &watch.head, sizeof watch.head, 0);
	return true;
}

static void watch_end(struct arena *a, uint32_t tid)
{
	if (watch.arena != a || watch.tid != tid)
		return;
	watch.head.list.next = &watch.head.list;
	if (watch.before)
		sys3(SYS_set_robust_list, watch.before, sizeof *watch.before, 0);
	watch.arena = NULL;
}

bool arena_lease_alive(const struct arena *a)
{
	uint32_t w = atomic_load_explicit(&a->lease, memory_order_acquire);
	return w && !(w & FUTEX_OWNER_DIED);
}

/* Of the word as it was read: the same thread may have left and come back meanwhile. */
static bool owner_gone(const struct arena *a, uint32_t w, uint64_t my_ns)
{
	if (!w || w & FUTEX_OWNER_DIED)
		return true;
	/* The kernel did not mark it. If we know who it is, look ourselves. */
	if (atomic_load_explicit(&a->lease_tid, memory_order_acquire) != w)
		return false;
	uint64_t ns = atomic_load_explicit(&a->lease_ns, memory_order_relaxed);
	int pid = atomic_load_explicit(&a->lease_pid, memory_order_relaxed);
	uint64_t start = atomic_load_explicit(&a->lease_start, memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&a->lease_tid, memory_order_relaxed) != w) /* they were of two owners */
		return false;
	return my_ns && ns == my_ns && !proc_alive(pid, start);
}

bool lease_owner_gone(const struct arena *a, uint64_t my_ns)
{
	return owner_gone(a, atomic_load_explicit(&a->lease, memory_order_acquire), my_ns);
}

bool lease_take(struct arena *a, bool *takeover, bool watched)
{
	uint64_t ns = pid_ns_self();
	uint32_t w = atomic_load_explicit(&a->lease, memory_order_acquire), me = (uint32_t)sys_gettid();
	if (w == me || !owner_gone(a, w, ns))
		return false;
	if (watched) /* before it is ours: a kill in between must find it on the list */
		watched = watch_start(a, me);
	uint32_t seen = w;
	if (!atomic_compare_exchange_strong(&a->lease, &seen, me)) {
		if (watched)
			watch_end(a, me);
		return false;
	}
	int pid = sys_getpid();
	atomic_store_explicit(&a->lease_tid, 0, memory_order_release);
	atomic_store_explicit(&a->lease_pid, pid, memory_order_relaxed);
	atomic_store_explicit(&a->lease_start, proc_start_time(pid), memory_order_relaxed);
	atomic_store_explicit(&a->lease_ns, ns, memory_order_relaxed);
	atomic_store_explicit(&a->lease_tid, me, memory_order_release);
	bool left = ready_recover(a);
	*takeover = left || w != 0;
	return true;
}

bool arena_lease_try(struct arena *a, bool *takeover)
{
	return lease_take(a, takeover, true);
}

void arena_lease_release(struct arena *a)
{
	uint32_t me = (uint32_t)sys_gettid(), word = me;
	atomic_store(&a->sleep, AWAKE);
	atomic_compare_exchange_strong(&a->lease, &word, 0);
	watch_end(a, me);
}
