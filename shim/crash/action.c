/*
 * The actions that the program set, and the entry of every signal that we wrap.
 *
 * Kernel's action for a captured signal: SIG_IGN where the program says so (it must survive exec). Else crash_entry:
 * with our flags where the program has SIG_DFL, and with exactly the program's own flags and mask where it has a
 * handler, so that mask, SA_NODEFER, SA_RESTART and the stack are the kernel's own doing. crash_entry then notes where the
 * frame is and a sum of it, and jumps to the program's handler: same arguments, same frame, same return address, nothing
 * between. When the handler gives up (SIG_DFL and return, raise, abort) the crash is caught with that frame as its cause,
 * if it is still as it was: faulthandler, the JVM and Rust raise anew, and the first fault would be lost. Measured
 * (scripts/bench crash): 20 ns of the 2 us that a null check and its handler take on a VM. What is different:
 * SA_RESETHAND is done by us, at the same moment; a handler without SA_SIGINFO finds a valid siginfo, where the kernel
 * leaves its pointer to garbage; uc_stack names our alternate stack where the program has none.
 *
 * Handlers of other signals are wrapped only with SA_ONSTACK: where the thread has no alternate stack of its own, the
 * kernel uses ours, and the frame is moved to the stack where it belongs.
 *
 * Without locks: sigaction may be called in any handler. A record is written before it is published; the ring is long
 * enough that nobody reads one that is being overwritten. Raw rt_sigaction calls of the program's are not seen: they
 * take our handler's place.
 */
#include "crash/crash_priv.h"
#include "base/probe.h"
#include "config.h"
#include "span/process.h"
#include <errno.h>
#include <string.h>

#define RING 16
#define RESTORER 0x04000000
/* What the kernel keeps of the flags. */
#define FLAGS (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | (int)SA_RESETHAND | 0x800)
#define KERNELS (SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP))
#define SYNCHRONOUS                                                                                                \
	(SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGILL) | SIG_BIT(SIGFPE) | SIG_BIT(SIGTRAP) | SIG_BIT(SIGSYS) | \
	 SIG_BIT(SIGABRT))

struct record {
	_Atomic uintptr_t handler;
	int flags;
	uint64_t mask;
	bool set; /* by the program; else it is as exec left it */
};

static struct {
	_Atomic uint32_t next, now; /* numbers of records */
	struct record ring[RING];
} table[65];
static _Atomic uint64_t interrupts;
/* For entry.S: the program's handler of a captured signal that takes nothing but a note of its frame; 0: crash_enter. */
extern _Atomic uintptr_t crash_fast[65] __attribute__((visibility("hidden")));
_Atomic uintptr_t crash_fast[65];
_Static_assert(offsetof(struct crash_self, first.signo) == 8 && offsetof(struct crash_self, first.uc) == 16 &&
                   offsetof(struct crash_self, first.at) == 24 && offsetof(struct crash_self, first.sum) == 32 &&
                   offsetof(struct crash_self, no_room) == 48 && offsetof(struct crash_self, own) == 50 &&
                   offsetof(ucontext_t, uc_stack.ss_sp) == 16 && offsetof(ucontext_t, uc_stack.ss_size) == 32 &&
                   offsetof(ucontext_t, uc_mcontext.gregs) == 40 && REG_RSP == 15 && NGREG == 23,
               "entry.S knows");

struct crash_libc crash_libc;
struct crash_export crash_export;
uint64_t crash_signals;

bool crash_on(void)
{
	return crash_signals != 0;
}

static bool captured(int sig)
{
	return crash_signals & SIG_BIT(sig);
}

static uint64_t mask_of(const sigset_t *s)
{
	uint64_t m;
	memcpy(&m, s, sizeof m);
	return m;
}

static struct record *record(int sig, uint32_t n)
{
	return &table[sig].ring[n % RING];
}

static struct record *current(int sig)
{
	return record(sig, atomic_load_explicit(&table[sig].now, memory_order_acquire));
}

/* Returns the number of the record before. */
static uint32_t publish(int sig, const struct record *r, uint32_t *n)
{
	*n = atomic_fetch_add(&table[sig].next, 1) + 1;
	struct record *to = record(sig, *n);
	atomic_store_explicit(&to->handler, r->handler, memory_order_relaxed);
	to->flags = r->flags;
	to->mask = r->mask;
	to->set = r->set;
	return atomic_exchange(&table[sig].now, *n);
}

static bool own_handler(uintptr_t h)
{
	return h != (uintptr_t)SIG_DFL && h != (uintptr_t)SIG_IGN;
}

/* What the kernel is to have for this record. */
static struct sigaction for_kernel(int sig, const struct record *r)
{
	struct sigaction k = {0};
	uint64_t mask = r->mask;
	uintptr_t h = atomic_load_explicit(&r->handler, memory_order_relaxed);
	k.sa_flags = r->flags;
	k.sa_handler = (void (*)(int))h;
	if (captured(sig) && h == (uintptr_t)SIG_DFL) {
		/* A handler of the program's that ran while we wait might end the process in another way. */
		mask = ~SYNCHRONOUS;
		k.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
		k.sa_sigaction = crash_entry;
	} else if (own_handler(h) && (captured(sig) || (r->flags & SA_ONSTACK))) {
		k.sa_flags = (r->flags & ~(int)SA_RESETHAND) | (captured(sig) ? SA_SIGINFO : 0);
		k.sa_sigaction = crash_entry;
	}
	memcpy(&k.sa_mask, &mask, sizeof mask);
	return k;
}

static bool ours(const struct sigaction *k)
{
	return k->sa_sigaction == crash_entry;
}

/* Put the newest record into the kernel. */
static int install(int sig, uint32_t n, struct sigaction *old)
{
	for (;;) {
		const struct record *new = record(sig, n);
		struct sigaction k = for_kernel(sig, new);
		uintptr_t h = atomic_load_explicit(&new->handler, memory_order_relaxed);
		bool fast = captured(sig) && sig != SIGABRT && own_handler(h) && !(new->flags &(int)SA_RESETHAND);
		atomic_store(&crash_fast[sig], fast ? h : 0);
		int r = crash_libc.sigaction(sig, &k, old);
		uint32_t now = atomic_load(&table[sig].now);
		if (now == n || r != 0)
			return r;
		n = now; /* another thread was between us and the kernel */
		old = NULL;
	}
}

/* From what the kernel has to what the program set. */
static void tell(struct sigaction *k, const struct record *r)
{
	if (!ours(k))
		return;
	k->sa_handler = (void (*)(int))r->handler;
	k->sa_flags = r->set ? (r->flags & FLAGS) | (k->sa_restorer ? RESTORER : 0) : r->flags;
	if (!r->set)
		k->sa_restorer = NULL;
	uint64_t mask = r->mask;
	memcpy(&k->sa_mask, &mask, sizeof mask);
}

static void give(struct sigaction *old, const struct sigaction *k)
{
	old->sa_handler = k->sa_handler;
	memcpy(&old->sa_mask, &k->sa_mask, sizeof(uint64_t));
	old->sa_flags = k->sa_flags;
	old->sa_restorer = k->sa_restorer;
}

int crash_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction k;
	bool mine = sig >= 1 && sig <= 64 && sig != SIGKILL && sig != SIGSTOP && sig != 32 && sig != 33 &&
	            (captured(sig) || atomic_load_explicit(&table[sig].now, memory_order_relaxed) ||
	             (crash_on() && act && (act->sa_flags & SA_ONSTACK) && own_handler((uintptr_t)act->sa_handler)));
	if (!mine)
		return crash_libc.sigaction(sig, act, old);
	/* The child of a vfork has actions of its own, and our table in its parent's memory. */
	bool child = act && process_in_vfork_child(&thread_self);
	int r;
	uint32_t before = atomic_load(&table[sig].now), n;
	if (!act || child) {
		r = crash_libc.sigaction(sig, act, &k);
	} else {
		struct record new = {(uintptr_t)act->sa_handler, act->sa_flags, mask_of(&act->sa_mask) & ~KERNELS, true};
		before = publish(sig, &new, &n);
		r = install(sig, n, &k);
	}
	if (r == 0 && old) {
		struct record was;
		const struct record *p = record(sig, before);
		was.handler = p->handler;
		was.flags = p->flags;
		was.mask = p->mask;
		was.set = p->set;
		tell(&k, &was);
		give(old, &k);
	}
	return r;
}

void crash_interrupts(int sig, bool interrupt)
{
	if (sig < 1 || sig > 64)
		return;
	if (interrupt)
		atomic_fetch_or(&interrupts, SIG_BIT(sig));
	else
		atomic_fetch_and(&interrupts, ~SIG_BIT(sig));
	if (captured(sig) && !process_in_vfork_child(&thread_self)) {
		struct record *r = current(sig);
		r->flags = interrupt ? r->flags & ~SA_RESTART : r->flags | SA_RESTART;
		r->set = true;
	}
}

bool crash_interrupted(int sig)
{
	return sig >= 1 && sig <= 64 && (interrupts & SIG_BIT(sig));
}

void crash_default(int sig)
{
	struct {
		uintptr_t handler, flags, restorer;
		uint64_t mask;
	} dfl = {0};
	sys6(SYS_rt_sigaction, sig, (long)&dfl, 0, 8, 0, 0);
}

void crash_actions_init(void)
{
	for (int sig = 1; sig <= 64; sig++) {
		if (!captured(sig))
			continue;
		struct sigaction k, old;
		struct record *first = record(sig, 0);
		first->handler = (uintptr_t)SIG_DFL;
		k = for_kernel(sig, first);
		if (crash_libc.sigaction(sig, &k, &old) != 0)
			continue;
		if (old.sa_handler == SIG_DFL)
			continue;
		/* From the process before exec (ignored), or from a constructor before ours. */
		first->handler = (uintptr_t)old.sa_handler;
		first->flags = old.sa_flags;
		first->mask = mask_of(&old.sa_mask);
		first->set = own_handler(first->handler);
		k = for_kernel(sig, first);
		crash_libc.sigaction(sig, &k, NULL);
	}
}

void crash_init(const struct crash_libc *libc, const struct crash_export *export_thread)
{
	crash_libc = *libc;
	crash_export = *export_thread;
	crash_signals = config.crash_signals;
	crash_alt_init();
	crash_actions_init();
}

void crash_end(void)
{
	uint64_t set = crash_signals;
	crash_signals = 0;
	for (int sig = 1; sig <= 64; sig++)
		if ((set & SIG_BIT(sig)) && atomic_load(&current(sig)->handler) != (uintptr_t)SIG_IGN)
			install(sig, atomic_load(&table[sig].now), NULL);
}

/* ---- the entry ---- */

static void ignore(int sig, siginfo_t *info, void *uc)
{
	(void)sig, (void)info, (void)uc;
}

/* Bytes of the signal frame, from the return address to the end of the saved vector registers. */
static size_t frame_size(const ucontext_t *uc, uintptr_t frame)
{
	const char *fp = (const char *)uc->uc_mcontext.fpregs;
	if (!fp)
		return 0;
	uint32_t magic, extended;
	memcpy(&magic, fp + 464, 4); /* struct _fpx_sw_bytes */
	memcpy(&extended, fp + 468, 4);
	size_t n = (uintptr_t)fp - frame + (magic == 0x46505853 ? extended : 512);
	return n < ALT_SIZE ? n : 0;
}

/* To the interrupted stack, as if there were no alternate one. Returns the distance; 0: it stays. */
static intptr_t move(uintptr_t frame, ucontext_t *uc)
{
	size_t n = frame_size(uc, frame);
	uintptr_t top = ((uintptr_t)uc->uc_mcontext.gregs[REG_RSP] - 128) & ~(uintptr_t)63;
	intptr_t by = (intptr_t)(top - ((frame + n + 63) & ~(uintptr_t)63));
	if (!n || !readable((char *)frame + by, 8))
		return 0; /* no room: the stack overflowed */
	memcpy((char *)frame + by, (char *)frame, n);
	ucontext_t *moved = (ucontext_t *)((char *)uc + by);
	moved->uc_mcontext.fpregs = (fpregset_t)((char *)uc->uc_mcontext.fpregs + by);
	return by;
}

/* entry.S has the same: 16 bytes at a time. */
static void sum(uint64_t out[2], const siginfo_t *info, const ucontext_t *uc)
{
	uint64_t word[4];
	memcpy(word, info, sizeof word); /* number, code, address */
	out[0] = word[0] ^ word[2];
	out[1] = word[1] ^ word[3];
	for (int i = 0; i < NGREG; i++)
		out[i & 1] ^= (uint64_t)uc->uc_mcontext.gregs[i];
}

/*
 * Is the handler that got it still under way, having changed nothing? Its frame lies above us on the same stack, as the
 * kernel made it. One that resumed elsewhere has changed it, or its frame is overwritten or below.
 */
bool crash_under_way(const struct crash_first *f, uintptr_t sp)
{
	uintptr_t at = (uintptr_t)f->uc;
	uint64_t now[2];
	if (!f->signo || at <= sp || at - sp >= (1u << 20) || !readable(f->uc, sizeof(ucontext_t)) ||
	    !readable(f->at, sizeof(siginfo_t)))
		return false;
	sum(now, f->at, f->uc);
	return now[0] == f->sum[0] && now[1] == f->sum[1];
}

static void note(struct crash_first *f, int sig, const siginfo_t *info, const ucontext_t *uc)
{
	/* The JVM's report makes faults of its own; what the process sends itself is the end of what began with a fault. */
	if (f->signo && (sig == SIGABRT || info->si_code <= 0 || crash_under_way(f, (uintptr_t)uc->uc_mcontext.gregs[REG_RSP])))
		return;
	f->signo = sig;
	f->uc = uc;
	f->at = info;
	sum(f->sum, info, uc);
}

/* The handler runs on an alternate stack: what lies under it, should it crash. */
static void note_stack(struct crash_self *s, uintptr_t frame, const ucontext_t *uc)
{
	uintptr_t lo = (uintptr_t)uc->uc_stack.ss_sp, sp = (uintptr_t)uc->uc_mcontext.gregs[REG_RSP];
	size_t size = uc->uc_stack.ss_size;
	if (frame - lo >= size || sp - lo < size)
		return;
	s->under = sp;
	s->over = lo;
	s->over_size = size;
}

static void reset(int sig, const struct record *now)
{
	struct record dfl = {(uintptr_t)SIG_DFL, now->flags, now->mask, true};
	uint32_t n;
	if (process_in_vfork_child(&thread_self)) {
		crash_default(sig);
		return;
	}
	publish(sig, &dfl, &n);
	install(sig, n, NULL);
}

struct crash_way {
	void (*handler)(int, siginfo_t *, void *);
	intptr_t by;
};
/* From entry.S. */
__attribute__((visibility("hidden"))) struct crash_way crash_enter(int sig, siginfo_t *info, ucontext_t *uc, uintptr_t frame);
struct crash_way crash_enter(int sig, siginfo_t *info, ucontext_t *uc, uintptr_t frame)
{
	struct crash_self *s = &crash_self;
	int e = errno;
	struct record *r = current(sig);
	uintptr_t h = atomic_load_explicit(&r->handler, memory_order_relaxed);
	if (s->own && !s->capturing && captured(sig))
		return (struct crash_way){crash_own_signal, 0};
	if (info->si_code == SI_USER)
		crash_own_passed(sig, info);
	if (!own_handler(h) || s->capturing)
		return (struct crash_way){captured(sig) && (h != (uintptr_t)SIG_IGN || crash_hardware(sig, info)) ? crash_catch : ignore, 0};
	intptr_t by = 0;
	if (r->flags & (int)SA_RESETHAND)
		reset(sig, r);
	if (crash_on_alt(s, frame) && !crash_on_alt(s, (uintptr_t)uc->uc_mcontext.gregs[REG_RSP])) {
		by = move(frame, uc);
		if (!by && captured(sig)) {
			s->no_room = true;
			return (struct crash_way){crash_catch, 0};
		}
	}
	note_stack(s, frame, uc);
	if (captured(sig))
		note(&s->first, sig, (siginfo_t *)((char *)info + by), (ucontext_t *)((char *)uc + by));
	errno = e;
	return (struct crash_way){(void (*)(int, siginfo_t *, void *))h, by};
}
