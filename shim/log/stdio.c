/*
 * glibc's stdio writes past every hook. All its output to files goes through entry 15 of two exported tables, for byte
 * and for wide streams, and closing through entry 17. The tables are read-only after relocation (RELRO), so their page
 * is opened for the moment of the change. Whatever looks other than expected is left as it is: then only what is
 * written by write() is seen.
 *
 * The tables are libc's own, so this survives dlopen, fork, setvbuf, freopen; and glibc's check of a stream's table
 * (its address) holds. Called with the stream's lock held, also at exit, in signal handlers and in vfork children.
 */
#include "base/sys.h"
#include "config.h"
#include "conn/fdtab.h"
#include "conn/observe.h"
#include "hooks/guard.h"
#include "log/text.h"
#include <link.h>
#include <stdio.h>

#define PAGE 4096 /* where pages are larger, the kernel refuses, and nothing is changed */

enum { SLOT_WRITE = 15,
	   SLOT_CLOSE = 17,
	   SLOTS = 21 };

/* Weak: other C libraries, and perhaps a later glibc, do not have them. */
extern void *_IO_file_jumps[SLOTS] __attribute__((weak));
extern void *_IO_wfile_jumps[SLOTS] __attribute__((weak));
extern ssize_t _IO_file_write(FILE *f, const void *p, ssize_t n) __attribute__((weak));
extern int _IO_file_close(FILE *f) __attribute__((weak));
extern FILE out_file __asm__("_IO_2_1_stdout_") __attribute__((weak));
#pragma weak dl_iterate_phdr

static FILE *const out = &out_file;

static ssize_t (*const real_write)(FILE *, const void *, ssize_t) = _IO_file_write;
static int (*const real_close)(FILE *) = _IO_file_close;

static bool wanted(int fd)
{
	return (unsigned)fd < 8 && config.text_fds >> fd & 1;
}

static ssize_t stream_write(FILE *f, const void *p, ssize_t n)
{
	int fd = f->_fileno;
	ssize_t r = real_write(f, p, n);
	if (r <= 0 || !wanted(fd) || !watched(fd))
		return r;
	int e = errno;
	struct thread *t = &thread_self;
	if (enter(t)) {
		on_tx(fd, p, r, 0);
		leave(t);
	}
	errno = e;
	return r;
}

static int stream_close(FILE *f)
{
	int fd = f->_fileno;
	struct thread *t = &thread_self;
	if (wanted(fd) && fd_peek(fd) == FD_TEXT) {
		int e = errno;
		if (enter(t)) {
			on_close(fd);
			leave(t);
		}
		errno = e;
	}
	return real_close(f);
}

/* Field 20 of /proc/self/stat, counted behind the name's ')'; 0: unknown. */
static int thread_count(void)
{
	char buf[1024];
	long fd = sys_open("/proc/self/stat", O_RDONLY | O_CLOEXEC, 0), n = fd < 0 ? -1 : sys_read((int)fd, buf, sizeof buf - 1);
	if (fd >= 0)
		sys_close((int)fd);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	char *p = strrchr(buf, ')');
	for (int i = 0; p && i < 18; i++)
		p = strchr(p + 1, ' ');
	int count = 0;
	for (p = p ? p + 1 : buf + n; *p >= '0' && *p <= '9' && count < 100000; p++)
		count = count * 10 + (*p - '0');
	return count;
}

/* With one thread libc's own order of streams; with others no lock is waited for, and no stream but stdout touched. */
void text_stdio_flush(int own)
{
	if (!out || !wanted(out->_fileno) || out->_IO_write_ptr <= out->_IO_write_base)
		return;
	int n = thread_count();
	if (n > 0 && n <= own) {
		fflush(NULL);
	} else if (ftrylockfile(out) == 0) {
		fflush_unlocked(out);
		funlockfile(out);
	}
}

/* ---- the change ---- */

struct page {
	uintptr_t at, slot;   /* its address; an entry on it */
	bool relro, writable; /* part of a RELRO segment; of a writable one */
};

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct page *p = arg;
	(void)size;
	bool writable = false, relro = false;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + h->p_vaddr, to = from + h->p_memsz;
		if (h->p_type == PT_LOAD && (h->p_flags & PF_W) && p->slot >= from && p->slot < to)
			writable = true;
		/* Only whole pages are protected. */
		if (h->p_type == PT_GNU_RELRO && p->slot >= from && p->slot < (to & ~(uintptr_t)(PAGE - 1)))
			relro = true;
	}
	if (writable) {
		p->writable = true;
		p->relro = relro;
	}
	return writable;
}

/* The page stays open for the next entry, which is on it as a rule. */
static void protect(struct page *p)
{
	if (p->relro)
		sys3(SYS_mprotect, p->at, PAGE, PROT_READ);
	p->relro = false;
}

static void put(struct page *p, void *volatile *slot, void *expected, void *ours)
{
	uintptr_t at = (uintptr_t)slot & ~(uintptr_t)(PAGE - 1);
	if (!expected || *slot != expected)
		return;
	if (p->at != at) {
		protect(p);
		*p = (struct page){.at = at, .slot = (uintptr_t)slot};
		dl_iterate_phdr(look, p);
		if (p->relro && sys3(SYS_mprotect, at, PAGE, PROT_READ | PROT_WRITE) != 0)
			p->relro = p->writable = false;
	}
	if (p->writable)
		*slot = ours;
}

void text_stdio_init(void)
{
	struct page p = {0};
	if (!dl_iterate_phdr || !real_write || !real_close)
		return;
	void **tables[] = {_IO_file_jumps, _IO_wfile_jumps};
	for (int i = 0; i < 2; i++) {
		if (!tables[i])
			continue;
		put(&p, tables[i] + SLOT_WRITE, (void *)real_write, (void *)stream_write);
		put(&p, tables[i] + SLOT_CLOSE, (void *)real_close, (void *)stream_close);
	}
	protect(&p);
}
