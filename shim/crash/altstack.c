/*
 * An alternate stack for every thread, so that a stack overflow can be told of. The program does not see it: where it
 * has set none, sigaltstack says so, and its handlers run on the stack that they would run on (action.c moves the frame).
 * Stacks of ended threads are kept for the next ones; the stack of a thread that makes `exit` by itself is lost.
 */
#include "crash/crash_priv.h"
#include <errno.h>

#define GUARD 4096
#define KEPT 16

static _Atomic(struct crash_alt *) kept[KEPT];
static _Atomic uint32_t key_state; /* 0 not made, 1 being made, 2 made, 3 not to be had */
static pthread_key_t key;

__thread struct crash_self crash_self;

bool crash_alt_use(const struct crash_alt *a)
{
	stack_t ss = {.ss_sp = a->base, .ss_size = a->size};
	return sys3(SYS_sigaltstack, &ss, 0, 0) == 0;
}

static struct crash_alt *dress(char *at, struct crash_alt *a)
{
	a->base = at + GUARD;
	a->size = ALT_SIZE - 64; /* the block itself lies above */
	return a;
}

static struct crash_alt *get(void)
{
	for (int i = 0; i < KEPT; i++) {
		struct crash_alt *a = atomic_load_explicit(&kept[i], memory_order_relaxed);
		if (a && (a = atomic_exchange(&kept[i], NULL)))
			return a;
	}
	char *m = sys_map(GUARD + ALT_SIZE);
	if (!m)
		return NULL;
	sys3(SYS_mprotect, m, GUARD, PROT_NONE);
	return dress(m, (struct crash_alt *)(m + GUARD + ALT_SIZE - 64));
}

/* Not in our own data: leak checkers and collectors read all of that, and would fault on the guard. */
void crash_alt_init(void)
{
	struct crash_alt *a = get();
	if (a && crash_alt_use(a))
		crash_self.alt = a;
}

void crash_alt_free(struct crash_alt *a)
{
	for (int i = 0; i < KEPT; i++) {
		struct crash_alt *none = NULL;
		if (!atomic_load_explicit(&kept[i], memory_order_relaxed) && atomic_compare_exchange_strong(&kept[i], &none, a))
			return;
	}
	sys_unmap(a->base - GUARD, GUARD + ALT_SIZE);
}

/* A thread ends: among the destructors of its thread-specific data. */
static void leave(void *p)
{
	struct crash_alt *a = p;
	stack_t was, off = {.ss_flags = SS_DISABLE};
	crash_self.alt = NULL;
	if (sys3(SYS_sigaltstack, &off, &was, 0) == 0) {
		if (was.ss_sp != a->base) /* the program's own */
			sys3(SYS_sigaltstack, &was, 0, 0);
	} else if (sys3(SYS_sigaltstack, 0, &was, 0) == 0 && was.ss_sp == a->base) {
		return; /* on it? then it is lost */
	}
	crash_alt_free(a);
}

static bool have_key(void)
{
	uint32_t none = 0;
	uint32_t state = atomic_load(&key_state);
	if (state == 0 && atomic_compare_exchange_strong(&key_state, &none, 1)) {
		bool made = crash_libc.key_create && crash_libc.setspecific && crash_libc.key_create(&key, leave) == 0;
		if (made && key >= 32) { /* a value for it would be allocated */
			crash_libc.key_delete(key);
			made = false;
		}
		atomic_store(&key_state, made ? 2 : 3);
	}
	return atomic_load(&key_state) == 2;
}

struct crash_alt *crash_alt_new(void *(*start)(void *), void *arg)
{
	struct crash_alt *a = crash_on() && have_key() ? get() : NULL;
	if (a) {
		a->start = start;
		a->arg = arg;
	}
	return a;
}

struct crash_begin {
	void *(*start)(void *);
	void *arg;
};
/* From entry.S, on the new thread. */
__attribute__((visibility("hidden"))) struct crash_begin crash_thread_enter(struct crash_alt *a);
struct crash_begin crash_thread_enter(struct crash_alt *a)
{
	struct crash_begin b = {a->start, a->arg};
	if (crash_alt_use(a))
		crash_self.alt = a;
	crash_libc.setspecific(key, a);
	return b;
}

void crash_thread_here(void)
{
	struct crash_self *s = &crash_self;
	if (s->alt || !crash_on() || !have_key())
		return;
	struct crash_alt *a = get();
	if (!a)
		return;
	if (!crash_alt_use(a)) {
		crash_alt_free(a);
		return;
	}
	s->alt = a;
	crash_libc.setspecific(key, a);
}

int crash_sigaltstack(const stack_t *ss, stack_t *old)
{
	struct crash_self *s = &crash_self;
	stack_t k, ours;
	if (!s->alt)
		return crash_libc.sigaltstack(ss, old);
	if (ss && (ss->ss_flags & ~(1 << 31)) == SS_DISABLE) { /* bit 31: SS_AUTODISARM */
		ours = (stack_t){.ss_sp = s->alt->base, .ss_size = s->alt->size};
		ss = &ours;
	}
	int r = crash_libc.sigaltstack(ss, &k);
	if (r == 0 && old) {
		if (k.ss_sp == s->alt->base)
			k = (stack_t){.ss_flags = SS_DISABLE};
		*old = k;
	}
	return r;
}
