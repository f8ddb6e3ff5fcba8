/* Consuming: by the thread that holds the lease. */
#include "span/arena_priv.h"
#include "base/clock.h"
#include "base/sys.h"
#include <errno.h>

#define FREE_AHEAD 8
#define GIVEN (SLOT_NONE - 1) /* `next` of a slot that was handed out: a forged ring ends here */

/* ---- from the done list to `ready` ---- */

/*
 * Mark a list SLOT_TAKEN, from its head up to what is not SLOT_DONE. Only then may its links change: a successor who
 * finds `draining` set does the rest, and what is marked already he finds by its state.
 */
static uint32_t list_mark(struct arena *a, uint32_t head)
{
	uint32_t n = 0, texts = 0, i = head, slots = arena_slots(a);
	while (i != SLOT_NONE) {
		if (i >= slots || slot_state(a, i) != SLOT_DONE) {
			arena_count(a, COUNT_DROP_BAD, 1);
			break;
		}
		struct span_rec *r = arena_slot(a, i);
		if (r->ahead < slots) /* of a list, each slot is a cache miss */
			__builtin_prefetch(arena_slot(a, r->ahead), 1);
		/* Nobody else moves what is on the list: no exchange. */
		atomic_store_explicit(&r->state, SLOT_TAKEN, memory_order_relaxed);
		n++;
		texts += r->kind >= SPAN_TEXT;
		i = atomic_load_explicit(&r->next, memory_order_relaxed);
	}
	arena_count(a, COUNT_SPANS, n - texts);
	arena_count(a, COUNT_TEXTS, texts);
	return n;
}

static void ready_append(struct arena *a, uint32_t first, uint32_t last)
{
	if (a->ready_head >= arena_slots(a) || a->ready_tail >= arena_slots(a))
		a->ready_head = first;
	else
		atomic_store_explicit(&arena_slot(a, a->ready_tail)->next, first, memory_order_relaxed);
	a->ready_tail = last;
}

static bool collect(struct arena *a)
{
	uint64_t done = atomic_load_explicit(&a->done, memory_order_relaxed);
	uint32_t head;
	do {
		head = (uint32_t)done;
		if (head == SLOT_NONE)
			return false;
		a->draining = head;
	} while (!atomic_compare_exchange_weak(&a->done, &done, SLOT_NONE));
	uint32_t n = list_mark(a, head);
	atomic_signal_fence(memory_order_seq_cst);
	a->draining = SLOT_NONE;
	if (!n)
		return true;
	uint32_t before = SLOT_NONE, i = head;
	for (uint32_t k = 0; k < n && i < arena_slots(a); k++) {
		struct span_rec *r = arena_slot(a, i);
		uint32_t next = atomic_load_explicit(&r->next, memory_order_relaxed);
		atomic_store_explicit(&r->next, before, memory_order_relaxed);
		before = i;
		i = next;
	}
	ready_append(a, before, head);
	return true;
}

static uint32_t give(struct arena *a, uint32_t *out, uint32_t n, uint32_t cap)
{
	while (n < cap && a->ready_head != SLOT_NONE) {
		uint32_t i = a->ready_head;
		if (i >= arena_slots(a) || slot_state(a, i) != SLOT_TAKEN) {
			arena_count(a, COUNT_DROP_BAD, 1);
			a->ready_head = SLOT_NONE;
			break;
		}
		struct span_rec *r = arena_slot(a, i);
		a->ready_head = atomic_load_explicit(&r->next, memory_order_relaxed);
		atomic_store_explicit(&r->next, GIVEN, memory_order_relaxed);
		if (a->ready_head == GIVEN) {
			arena_count(a, COUNT_DROP_BAD, 1);
			a->ready_head = SLOT_NONE;
			break;
		}
		out[n++] = i;
	}
	return n;
}

bool ready_recover(struct arena *a)
{
	/* Did the exchange happen before our predecessor died? Then his list does not hang on `done`. */
	uint32_t i = (uint32_t)atomic_load(&a->done), head = a->draining, slots = arena_used(a);
	for (uint32_t n = 0; i != head && i < slots && n < slots; n++)
		i = atomic_load_explicit(&arena_slot(a, i)->next, memory_order_relaxed);
	if (head != SLOT_NONE && i != head) {
		/* What he marked stays in front; what he did not follows it. */
		for (uint32_t n = 0; head < slots && slot_state(a, head) == SLOT_TAKEN && n < slots; n++)
			head = atomic_load_explicit(&arena_slot(a, head)->next, memory_order_relaxed);
		list_mark(a, head);
	}
	a->draining = a->ready_head = a->ready_tail = SLOT_NONE;
	a->sweep_at = 0;
	for (i = 0; i < slots; i++) {
		if (slot_state(a, i) != SLOT_TAKEN)
			continue;
		if (!arena_slot(a, i)->kind) { /* he was just giving it back */
			slot_release(a, i);
			continue;
		}
		atomic_store_explicit(&arena_slot(a, i)->next, SLOT_NONE, memory_order_relaxed);
		ready_append(a, i, i);
	}
	a->held_seen = atomic_load(&a->held_gen) - 1;
	a->wake_seen = atomic_load(&a->wake);
	atomic_store(&a->sleep, AWAKE);
	return a->ready_head != SLOT_NONE;
}

/* ---- held records ---- */

/* Takes those that are due by `now`; the others' earliest time goes to held_due. */
static uint32_t take_held(struct arena *a, uint32_t *out, uint32_t n, uint32_t cap, uint64_t now)
{
	uint32_t seen = atomic_load(&a->held_gen);
	uint64_t due = 0;
	for (uint32_t i = 0, slots = arena_used(a); i < slots; i++) {
		if (slot_state(a, i) != SLOT_HELD)
			continue;
		struct span_rec *r = arena_slot(a, i);
		uint64_t at = r->hold_until_ns ? r->hold_until_ns : 1;
		if (at <= now && n == cap)
			at = 1; /* at once, next time */
		else if (at <= now) {
			if (slot_move(r, SLOT_HELD, SLOT_TAKEN)) {
				atomic_store_explicit(&r->next, GIVEN, memory_order_relaxed);
				out[n++] = i;
			}
			continue;
		}
		if (!due || at < due)
			due = at;
	}
	a->held_due = due;
	a->held_seen = seen;
	return n;
}

uint64_t arena_next_held(struct arena *a)
{
	if (atomic_load(&a->held_gen) != a->held_seen)
		take_held(a, NULL, 0, 0, 0);
	return a->held_due;
}

uint32_t arena_drain(struct arena *a, uint32_t *out, uint32_t cap, bool held, bool final)
{
	uint32_t n = give(a, out, 0, cap);
	while (n < cap && collect(a))
		n = give(a, out, n, cap);
	if (n == cap || !(held || final))
		return n;
	uint64_t now = mono_ns(), due = arena_next_held(a);
	if (final || (due && due <= now))
		n = take_held(a, out, n, cap, final ? UINT64_MAX : now);
	return n;
}

/* ---- what the dead left ---- */

struct judge {
	uint64_t my_ns;
	bool all_here; /* nobody from another pid namespace is in the table */
	uint32_t n_dead;
	uint8_t dead[ARENA_PROCS];
	int last_pid; /* not in the table */
	bool last_dead;
};

static void judge_init(struct judge *j, const struct arena *a)
{
	j->my_ns = pid_ns_self();
	j->n_dead = proc_table_dead(a, j->my_ns, j->dead);
	j->all_here = j->my_ns && a->pid_ns == j->my_ns;
	j->last_pid = -1;
	j->last_dead = false;
	for (uint32_t i = 0; i < ARENA_PROCS; i++)
		if (atomic_load_explicit(&a->procs[i].used, memory_order_relaxed) && a->procs[i].pid_ns != j->my_ns)
			j->all_here = false;
}

static bool owner_dead(struct judge *j, const struct arena *a, int pid, uint16_t proc)
{
	bool known = false;
	if (proc < ARENA_PROCS && a->procs[proc].pid == pid)
		return j->dead[proc];
	/* `proc` is not written yet, or the table was full. */
	for (uint32_t i = 0; i < ARENA_PROCS; i++) {
		if (a->procs[i].pid != pid || !atomic_load_explicit(&a->procs[i].used, memory_order_relaxed))
			continue;
		if (!j->dead[i])
			return false;
		known = true;
	}
	if (known)
		return true;
	if (j->last_pid != pid) {
		j->last_dead = j->all_here && !proc_alive(pid, 0);
		j->last_pid = pid;
	}
	return j->last_dead;
}

/* True: it goes out. Records hardly begun are given back. */
static bool inherit(struct arena *a, uint32_t i, uint32_t state)
{
	struct span_rec *r = arena_slot(a, i);
	if (!r->kind || !r->start_ns) {
		slot_release(a, i);
		return false;
	}
	if (state == SLOT_OPEN)
		r->error = ERR_PROCESS_KILLED;
	if (!r->end_ns)
		r->end_ns = real_ns();
	if (!slot_move(r, state, SLOT_TAKEN))
		return false;
	atomic_store_explicit(&r->next, GIVEN, memory_order_relaxed);
	return true;
}

uint32_t arena_sweep(struct arena *a, uint32_t *out, uint32_t cap, bool takeover)
{
	struct judge j;
	judge_init(&j, a);
	/* Whatever the dead had put on the list is SLOT_TAKEN after this: their SLOT_DONE ones never got there. */
	collect(a);
	uint32_t n = takeover ? give(a, out, 0, cap) : 0, slots = arena_used(a), i = a->sweep_at;
	for (; i < slots && n < cap; i++) {
		uint32_t state = slot_state(a, i);
		const struct span_rec *r = arena_slot(a, i);
		if (state != SLOT_OPEN && state != SLOT_HELD && state != SLOT_DONE)
			continue;
		if (owner_dead(&j, a, r->pid, r->proc) && inherit(a, i, state))
			out[n++] = i;
	}
	a->sweep_at = i < slots ? i : 0;
	if (n < cap && j.n_dead)
		proc_table_clean(a, j.dead);
	return n;
}

bool arena_any_open(const struct arena *a)
{
	for (uint32_t i = 0, n = arena_used(a); i < n; i++)
		if (slot_state(a, i) == SLOT_OPEN)
			return true;
	return false;
}

void arena_free(struct arena *a, const uint32_t *slots, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++) {
		if (k + FREE_AHEAD < n && slots[k + FREE_AHEAD] < arena_slots(a))
			__builtin_prefetch(arena_slot(a, slots[k + FREE_AHEAD]), 1);
		if (slots[k] < arena_slots(a) && slot_state(a, slots[k]) == SLOT_TAKEN)
			slot_release(a, slots[k]);
	}
}

/* ---- size ---- */

bool arena_grow(struct arena *a)
{
	uint32_t slots = arena_slots(a), max = arena_local(a)->max_slots;
	if (slots >= max)
		return false;
	size_t used = (ARENA_HEADER + (size_t)slots * SLOT_SIZE) & ~(ARENA_GRAIN - 1), all = arena_size(a);
	size_t more = used < all - used ? used : all - used;
	if (!more)
		return false;
	long e = sys3(SYS_madvise, (char *)a + used, more, POPULATE_WRITE);
	/* Anonymous memory is accounted for since the mmap: without the call it is merely slower. */
	if (e != 0 && !(e == -EINVAL && !arena_local(a)->ino)) {
		if (e != -EINVAL)
			sys3(SYS_madvise, (char *)a + used, more, MADV_REMOVE);
		return false;
	}
	uint32_t now = (uint32_t)((used + more - ARENA_HEADER) / SLOT_SIZE);
	atomic_store_explicit(&a->slots, now < max ? now : max, memory_order_release);
	return now > slots;
}

/* ---- sleep ---- */

void arena_sleep(struct arena *a, bool idle, uint64_t timeout_ns, uint32_t batch)
{
	uint32_t seen = a->wake_seen;
	atomic_store(&a->batch, batch);
	atomic_store(&a->sleep, idle ? SLEEP_IDLE : SLEEP_TIMED);
	/* From here on producers wake us; what they did before is looked at now. */
	uint64_t done = atomic_load(&a->done);
	bool work = (uint32_t)done != SLOT_NONE && (idle || batch <= 1 || (int32_t)((uint32_t)(done >> 32) - batch) >= 0);
	if (idle && atomic_load(&a->held_gen) != a->held_seen)
		work = true;
	if (!work) {
		struct timespec ts = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
		sys_futex_wait(&a->wake, seen, timeout_ns ? &ts : NULL);
	}
	atomic_store(&a->sleep, AWAKE);
	a->wake_seen = atomic_load(&a->wake);
}

/* A kill between a commit and its count makes it wrong: it is put right whenever nothing waits. */
void arena_text_taken(struct arena *a, uint32_t slots)
{
	uint32_t n = atomic_load_explicit(&a->text, memory_order_relaxed);
	bool none = !arena_pending(a);
	if (!n || (!slots && !none))
		return;
	while (!atomic_compare_exchange_weak(&a->text, &n, none || n < slots ? 0 : n - slots))
		;
}
