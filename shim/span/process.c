#include "span/process.h"
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

enum { IDLE, BUSY };
static _Atomic uint32_t attaching;
static _Atomic uint64_t again_ns; /* CLOCK_MONOTONIC: what failed is not tried for every request */
static char blob[8192]; /* of process_index; by its `attaching` owner */

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
	/* The thread that forked: its requests are its parent's. */
	struct thread *t = &thread_self;
	uint8_t guard = t->guard;
	memset(t, 0, sizeof *t);
	t->guard = guard;
	if (process_on_fork)
		process_on_fork();
}

bool process_in_vfork_child(struct thread *t)
{
	if (__builtin_expect(!t->in_vfork, 1))
		return false;
	if (sys_getpid() != process.pid)
		return true;
	t->in_vfork = false;
	return false;
}

int thread_id(struct thread *t)
{
	if (t->tid == 0 || t->tid_gen != process.fork_gen) {
		t->tid = sys_gettid();
		t->tid_gen = process.fork_gen;
	}
	return t->tid;
}

static void later(void)
{
	atomic_store_explicit(&again_ns, mono_ns() + 1000000000u, memory_order_relaxed);
}

/* One thread attaches, the others wait for it a little: it takes a fraction of a millisecond. */
static bool begin(void)
{
	uint64_t again = atomic_load_explicit(&again_ns, memory_order_relaxed);
	if (again && mono_ns() < again)
		return false;
	for (int i = 0; i < 20000; i++) {
		uint32_t idle = IDLE;
		if (atomic_compare_exchange_strong(&attaching, &idle, BUSY))
			return true;
		cpu_relax();
	}
	later();
	return false;
}

static struct arena *attach(void)
{
	struct arena_ident id = {
		.pid = process.pid,
		.root_pid = process.root_pid,
		.hash = config.hash,
		.max_bytes = config.arena_bytes,
		.dir = process.dir,
	};
	if (!process.dir[0])
		runtime_dir(config.runtime_dir, config.xdg_runtime_dir, process.dir, sizeof process.dir);
	id.start = proc_start_time(process.pid);
	id.root_start = process.root_pid == process.pid ? id.start : proc_start_time(process.root_pid);
	if (process.root_pid != process.pid && id.root_start == 0) { /* gone: nobody will look under its name */
		id.root_pid = process.root_pid = process.pid;
		id.root_start = id.start;
	}
	return arena_attach(&id, &process.black_box);
}

struct arena *process_arena(void)
{
	struct arena *a = atomic_load_explicit(&process.arena, memory_order_acquire);
	if (__builtin_expect(a != NULL, 1))
		return a;
	if (!begin())
		return atomic_load_explicit(&process.arena, memory_order_acquire);
	a = atomic_load_explicit(&process.arena, memory_order_acquire);
	if (!a) {
		a = attach();
		if (!a)
			later();
		atomic_store_explicit(&process.arena, a, memory_order_release);
	}
	atomic_store(&attaching, IDLE);
	return a;
}

/* ---- who we are, for the exporter ---- */

static uint32_t add(uint32_t at, const char *name, const char *value, size_t n)
{
	size_t k = strlen(name);
	if (at + k + 1 + n + 1 > sizeof blob)
		return at;
	memcpy(blob + at, name, k);
	blob[at + k] = '=';
	memcpy(blob + at + k + 1, value, n);
	blob[at + k + 1 + n] = 0;
	return at + (uint32_t)(k + n + 2);
}

static uint32_t add_number(uint32_t at, const char *name, unsigned v)
{
	char digits[12];
	int i = sizeof digits;
	do
		digits[--i] = (char)('0' + v % 10);
	while (v /= 10);
	return add(at, name, digits + i, sizeof digits - (size_t)i);
}

static uint32_t add_args(uint32_t at)
{
	static char args[sizeof config.args];
	struct redact_args state = {0};
	size_t n = 0;
	for (uint32_t i = 0; i < config.args_len; i += (uint32_t)strlen(config.args + i) + 1) {
		struct slice s = {config.args + i, (uint32_t)strlen(config.args + i)};
		if (n && n < sizeof args)
			args[n++] = '\x1f';
		n += redact_arg(&state, s, args + n, sizeof args - n);
	}
	return add(at, "args", args, n);
}

static uint32_t describe(void)
{
	uint32_t at = add(0, "exe", config.exe, strlen(config.exe));
	char comm[16] = "";
	if (sys3(SYS_prctl, 16 /* PR_GET_NAME */, comm, 0) == 0)
		at = add(at, "comm", comm, strnlen(comm, sizeof comm));
	if (config.service_name)
		at = add(at, "service_name", config.service_name, strlen(config.service_name));
	if (config.resource_attributes)
		at = add(at, "resource_attributes", config.resource_attributes, strlen(config.resource_attributes));
	at = add_number(at, "ppid", (unsigned)sys3(SYS_getppid, 0, 0, 0));
	return add_args(at);
}

uint16_t process_index(struct arena *a)
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
		i = arena_proc_add(a, process.pid, proc_start_time(process.pid), instance, blob, describe());
		atomic_store_explicit(&process.proc, i, memory_order_release);
		if (i == ARENA_PROCS)
			later();
	}
	atomic_store(&attaching, IDLE);
	return (uint16_t)i;
}
