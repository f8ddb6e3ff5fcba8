/*
 * Where a record goes that cannot be a file in the runtime directory (none there, read-only, full, RLIMIT_FSIZE): a memfd,
 * which the helper inherits and another process may be given; where that may not grow either, or no descriptor is to be
 * had, memory of ours, which only the helper can get, through a socket.
 */
#include "crash/crash_priv.h"
#include "base/probe.h"
#include "base/stderr.h"
#include "config.h"
#include "span/process.h"
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#define PAGE 4096u
#define MEMORY ((size_t)16 << 20)
#define MEMORY_LEAST ((size_t)512 << 10)

static bool in_memfd(void)
{
	struct crash_file *f = &crash_file;
	long fd = sys3(SYS_memfd_create, "remora-crash", 0, 0);
	if (fd < 0)
		return false;
	f->fd = (int)fd;
	return true;
}

static bool in_memory(void)
{
	struct crash_file *f = &crash_file;
	for (size_t n = MEMORY; !f->mem && n >= MEMORY_LEAST; n /= 2) {
		long r = sys6(SYS_mmap, 0, (long)n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (r > 0 || r < -4095) {
			f->mem = (char *)r;
			f->limit = n;
		}
	}
	return f->mem;
}

bool crash_place_nameless(bool limited)
{
	crash_file.named = false;
	return (!limited && (crash_calls & CALLS_PLACE) && in_memfd()) || in_memory();
}

size_t crash_place_write(const void *p, size_t n, uint64_t at)
{
	const char *from = p;
	size_t done = 0;
	while (done < n) {
		size_t k = PAGE - ((uintptr_t)(from + done) & (PAGE - 1));
		if (k > n - done)
			k = n - done;
		if (!readable(from + done, k))
			break;
		memcpy(crash_file.mem + at + done, from + done, k);
		done += k;
	}
	return done;
}

bool crash_place_move(void)
{
	static char buf[16384];
	struct crash_file *f = &crash_file, was = *f;
	if (!f->named || !(crash_calls & CALLS_PLACE))
		return false;
	f->fd = -1;
	if (!crash_place_nameless(false)) {
		*f = was;
		return false;
	}
	for (uint64_t at = 0;;) {
		long n = sys6(SYS_pread64, was.fd, (long)buf, sizeof buf, (long)at, 0, 0);
		if (n <= 0)
			break;
		if (f->mem)
			crash_place_write(buf, (size_t)n, at);
		else
			sys6(SYS_pwrite64, f->fd, (long)buf, n, (long)at, 0, 0);
		at += (uint64_t)n;
	}
	sys6(SYS_unlinkat, AT_FDCWD, (long)f->path, 0, 0, 0, 0);
	sys_close(was.fd);
	return true;
}

static struct rlimit nofile;
static bool raised;

/* No number is free because the limit says so: if it may be raised, it is. */
void crash_place_raise_nofile(void)
{
	if (sys6(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&nofile, 0, 0) != 0 || nofile.rlim_cur == nofile.rlim_max)
		return;
	struct rlimit more = {nofile.rlim_max, nofile.rlim_max};
	raised = sys6(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&more, 0, 0, 0) == 0;
}

/* The process may live on: a child of a vfork has captured in its memory, or our own thread has crashed. */
void crash_place_end(void)
{
	struct crash_file *f = &crash_file;
	if (raised)
		sys6(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&nofile, 0, 0, 0);
	raised = false;
	if (f->mem)
		sys_unmap(f->mem, f->limit);
	f->mem = NULL;
}

/* Nobody will ever see it: so at least this. */
void crash_lost(int sig, const char *why)
{
	static char line[PATH_MAX + 256];
	struct arena *a = atomic_load(&process.arena);
	arena_count(a, COUNT_DROP_CRASH, 1);
	if (config.log_level < LOG_WARN || !(crash_calls & CALLS_PLACE))
		return;
	char *at = crash_text(crash_text(line, "remora: "), config.exe);
	at = crash_number(crash_text(at, ": the report of its crash (signal "), (uint64_t)sig);
	at = crash_text(crash_text(crash_text(at, ") is lost: "), why), "\n");
	stderr_write(line, (size_t)(at - line), false);
}
