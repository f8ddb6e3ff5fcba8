/*
 * System calls by their number, past libc: the shim may not call what it hooks, and these set no errno.
 * Result: the kernel's, negative errno on failure. Async-signal-safe, any context; in a vfork child too.
 */
#ifndef REMORA_SYS_H
#define REMORA_SYS_H

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#if defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	long r;
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
	                 : "=a"(r)
	                 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return r;
}
#elif defined(__aarch64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
					 x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
	__asm__ volatile("svc 0"
	                 : "+r"(x0)
	                 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
	                 : "memory");
	return x0;
}
#else
#error "remora knows the system call convention of x86-64 and aarch64 only"
#endif

#define sys3(n, a, b, c) sys6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)

static inline int sys_getpid(void)
{
	return (int)sys3(SYS_getpid, 0, 0, 0);
}

static inline int sys_gettid(void)
{
	return (int)sys3(SYS_gettid, 0, 0, 0);
}

static inline long sys_open(const char *path, int flags, unsigned mode)
{
	return sys6(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
}

static inline long sys_read(int fd, void *p, size_t n)
{
	return sys3(SYS_read, fd, p, n);
}

static inline long sys_write(int fd, const void *p, size_t n)
{
	return sys3(SYS_write, fd, p, n);
}

static inline long sys_close(int fd)
{
	return sys3(SYS_close, fd, 0, 0);
}

static inline void cpu_relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

/* Private anonymous zeroed memory, or NULL. */
static inline void *sys_map(size_t n)
{
	long r = sys6(SYS_mmap, 0, (long)n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return r < 0 && r > -4096 ? NULL : (void *)r;
}

static inline long sys_unmap(void *p, size_t n)
{
	return sys3(SYS_munmap, p, n, 0);
}

/* timeout NULL = for ever; relative. Words in shared memory: never the private variant. */
static inline long sys_futex_wait(_Atomic uint32_t *word, uint32_t seen, const struct timespec *timeout)
{
	return sys6(SYS_futex, (long)word, FUTEX_WAIT, (long)seen, (long)timeout, 0, 0);
}

static inline long sys_futex_wake(_Atomic uint32_t *word, int n)
{
	return sys6(SYS_futex, (long)word, FUTEX_WAKE, n, 0, 0, 0);
}

#endif
