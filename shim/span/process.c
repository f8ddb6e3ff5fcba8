#include "span/process.h"
#include "base/hot.h"
#include "config.h"
#include "base/clock.h"
#include "base/sys.h"
#include "proto/redact.h"
#include <string.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

static _Atomic uint32_t no_page = 1; /* kernels before 4.14: forks are seen by the fork handler alone */
struct process process = {.alive = &no_page, .proc = ARENA_PROCS};
__thread struct thread thread_self;
void (*process_on_fork)(void);

#define IDLE 0
static _Atomic uint32_t attaching; /* tid of the thread that attaches or enters the process */
#define ATTACH_WAIT_NS 50000000u
static _Atomic uint64_t again_ns;                       /* CLOCK_MONOTONIC: what failed is not tried for every request */
static char blob[8192], scratch_args[DESCRIBE_SCRATCH]; /* of process_index; by its `attaching` owner */

void process_init(void)
{
	process.pid = process.root_pid = sys_getpid();
	_Atomic uint32_t *page = sys_map(4096);
	if (!page)
		return;
	if (sys3(SYS_madvise, page, 4096, MADV_WIPEONFORK) != 0) {
		sys_unmap(page, 4096);
		return;
	}
	*page = 1;
	process.alive = page;
}

void process_forked(void)
{
	process.pid = sys_getpid();
	process.fork_gen++;
	atomic_store(process.alive, 1);
	atomic_store(&process.proc, ARENA_PROCS);
	atomic_store(&process.open_spans, 0);
	atomic_store(&attaching, IDLE);
	atomic_store(&again_ns, 0);
	for (unsigned c = 0; c < COUNT_MAX; c++)
		atomic_store(&arena_early[c], 0); /* the parent's to tell */
	/* The thread that forked: its requests are its parent's. */
	struct thread *t = &thread_self;
	uint8_t guard = t->guard;
	memset(t, 0, sizeof *t);
	t->guard = guard;
	if (process_on_fork)
		process_on_fork();
}

bool process_vfork_child(struct thread *t)
{
	if (sys_getpid() != process.pid)
		return true;
	t->in_vfork = false;
	return false;
}

uint64_t thread_word_new(struct thread *t)
{
	return t->id = (uint64_t)(process.fork_gen + 1) << 32 | (uint32_t)sys_gettid();
}

static void later(void)
{
	atomic_store_explicit(&again_ns, mono_ns() + 1000000000u, memory_order_relaxed);
}

/*
 * One thread attaches, the others wait for it: once in a process, for a fraction of a millisecond unless that thread is
 * preempted. Not for itself: a signal handler inside it goes without.
 */
static bool begin(void)
{
	uint64_t again = atomic_load_explicit(&again_ns, memory_order_relaxed), end = 0;
	uint32_t me = (uint32_t)thread_id(&thread_self);
	if (again && mono_ns() < again)
		return false;
	for (int i = 0;; i++) {
		uint32_t who = IDLE;
		if (atomic_compare_exchange_strong(&attaching, &who, me))
			return true;
		if (who == me)
			return false;
		if (i < 100) {
			cpu_relax();
			continue;
		}
		uint64_t now = mono_ns();
		if (!end)
			end = now + ATTACH_WAIT_NS;
		if (now >= end)
			return false;
		sys3(SYS_sched_yield, 0, 0, 0);
	}
}

static struct arena *attach(bool only_join)
{
	struct arena_ident id = {
		.pid = process.pid,
		.root_pid = process.root_pid,
		.hash = config.hash,
		.max_bytes = config.arena_bytes,
		.dir = process.dir,
		.with_rules = config.sampler == SAMPLER_XRAY || config.xray_own,
	};
	if (!process.dir[0])
		runtime_dir(config.runtime_dir, config.xdg_runtime_dir, process.dir, sizeof process.dir);
	id.start = proc_start_time(process.pid);
	id.root_start = process.root_pid == process.pid ? id.start : proc_start_time(process.root_pid);
	if (process.root_pid != process.pid && id.root_start == 0) { /* gone: nobody will look under its name */
		id.root_pid = process.root_pid = process.pid;
		id.root_start = id.start;
	}
	if (!only_join)
		return arena_attach(&id, &process.black_box);
	struct arena *a = arena_join(&id);
	if (a)
		process.black_box = true;
	return a;
}

static struct arena *find(bool only_join)
{
	struct arena *a = atomic_load_explicit(&process.arena, memory_order_acquire);
	if (__builtin_expect(a != NULL, 1))
		return a;
	if (!begin())
		return atomic_load_explicit(&process.arena, memory_order_acquire);
	a = atomic_load_explicit(&process.arena, memory_order_acquire);
	if (!a) {
		a = attach(only_join);
		if (!a)
			later();
		for (unsigned c = 0; a && c < COUNT_MAX; c++)
			arena_count(a, c, atomic_exchange(&arena_early[c], 0));
		atomic_store_explicit(&process.arena, a, memory_order_release);
	}
	atomic_store(&attaching, IDLE);
	return a;
}

HOT struct arena *process_arena(void)
{
	return find(false);
}

struct arena *process_arena_found(void)
{
	return find(true);
}

/* ---- who we are, for the exporter ---- */

struct description {
	char *p;
	size_t n, cap;
};

/* False: there is no room for it. */
static bool add(struct description *d, const char *name, const char *value, size_t n)
{
	size_t k = strlen(name);
	char *at = d->p + d->n;
	if (k + 1 + n + 1 > d->cap - d->n)
		return false;
	memcpy(at, name, k);
	at[k] = '=';
	memcpy(at + k + 1, value, n);
	at[k + 1 + n] = 0;
	d->n += k + n + 2;
	return true;
}

static void add_number(struct description *d, const char *name, unsigned v)
{
	char digits[12];
	int i = sizeof digits;
	do
		digits[--i] = (char)('0' + v % 10);
	while (v /= 10);
	add(d, name, digits + i, sizeof digits - (size_t)i);
}

static void add_args(struct description *d, char args[DESCRIBE_SCRATCH])
{
	struct redact_args state = {0};
	size_t n = 0;
	for (uint32_t i = 0; i < config.args_len; i += (uint32_t)strlen(config.args + i) + 1) {
		struct slice s = {config.args + i, (uint32_t)strlen(config.args + i)};
		if (n && n < DESCRIBE_SCRATCH)
			args[n++] = '\x1f';
		n += redact_arg(&state, s, args + n, DESCRIBE_SCRATCH - n);
	}
	add(d, "args", args, n);
}

uint32_t process_describe(char *out, size_t cap, char scratch[DESCRIBE_SCRATCH])
{
	struct description d = {out, 0, cap};
	add(&d, "exe", config.exe, strlen(config.exe));
	char comm[16] = "";
	if (sys3(SYS_prctl, 16 /* PR_GET_NAME */, comm, 0) == 0)
		add(&d, "comm", comm, strnlen(comm, sizeof comm));
	if (config.service_name)
		add(&d, "service_name", config.service_name, strlen(config.service_name));
	const char *version = config_get("ROLLBAR_CODE_VERSION"); /* not in the hash: a new one still sends what the old left */
	if (version)
		add(&d, "code_version", version, strlen(version));
	const char *given = config.resource_attributes;
	if (given && !add(&d, "resource_attributes", given, strlen(given)))
		add(&d, "resource_attributes_too_long", "1", 1);
	add_number(&d, "ppid", (unsigned)sys3(SYS_getppid, 0, 0, 0));
	long cwd = sys3(SYS_getcwd, scratch, DESCRIBE_SCRATCH, 0);
	if (cwd > 1 && scratch[0] == '/')
		add(&d, "cwd", scratch, (size_t)cwd - 1);
	add_args(&d, scratch);
	return (uint32_t)d.n;
}

HOT uint16_t process_index(struct arena *a)
{
	uint32_t i = atomic_load_explicit(&process.proc, memory_order_acquire);
	if (__builtin_expect(i != ARENA_PROCS, 1))
		return (uint16_t)i;
	if (!begin())
		return ARENA_PROCS;
	i = atomic_load(&process.proc);
	if (i == ARENA_PROCS) {
		uint8_t instance[16];
		if (sys3(SYS_getrandom, instance, sizeof instance, 1 /* GRND_NONBLOCK */) != sizeof instance) {
			uint64_t seed[2] = {proc_start_time(process.pid), (uint64_t)process.pid};
			memcpy(instance, seed, sizeof instance);
		}
		i = arena_proc_add(a, process.pid, proc_start_time(process.pid), instance, blob,
		                   process_describe(blob, sizeof blob, scratch_args));
		atomic_store_explicit(&process.proc, i, memory_order_release);
		if (i == ARENA_PROCS)
			later();
	}
	atomic_store(&attaching, IDLE);
	return (uint16_t)i;
}
