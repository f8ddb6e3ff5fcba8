/*
 * The files of a crashed program: ELF headers, unwinding tables, symbols, DWARF. The first 16 bytes say where the
 * thread was and what its stack looks like; the rest is the program.
 */
#include "exporters/crash/report.h"
#include "fuzz.h"
#include "shim/base/clock.h"
#include <fcntl.h>
#include <unistd.h>

#define BASE 0x400000u
#define STACK 0x7ffff0000000u
#define WORDS 96

static size_t put(char *at, uint32_t type, uint64_t addr, const void *p, size_t n)
{
	struct crash_section s = {type, 7, addr, n};
	memcpy(at, &s, sizeof s);
	memcpy(at + sizeof s, p, n);
	return sizeof s + ((n + 7) & ~7ull);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64], file[16384], maps[512];
	if (size < 16)
		return 0;
	if (!path[0])
		snprintf(path, sizeof path, "/tmp/remora-fuzz-%d", (int)getpid());
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	HOLDS(fd >= 0 && write(fd, data + 16, size - 16) == (ssize_t)(size - 16));
	close(fd);
	uint16_t ctl[8];
	memcpy(ctl, data, sizeof ctl);
	struct crash_head h = {.magic = CRASH_MAGIC, .layout = CRASH_LAYOUT, .done = 1, .pid = 7, .tid = 7, .signo = 11, .si_code = 1, .time_ns = UINT64_MAX};
	h.regs[CR_RIP] = BASE + ctl[0];
	h.regs[CR_RSP] = STACK;
	h.regs[CR_RBP] = STACK + (ctl[1] & 0xff8);
	uint64_t stack[WORDS];
	for (size_t i = 0; i < WORDS; i++)
		stack[i] = i % 3 == 0 ? STACK + i * 8 + 16 : BASE + (uint16_t)(ctl[2 + i % 4] + i / 12 * ctl[6]);
	size_t n = sizeof h;
	memset(file, 0, sizeof file);
	memcpy(file, &h, sizeof h);
	n += put(file + n, CRASH_SEC_STACK, STACK, stack, sizeof stack);
	int k = snprintf(maps, sizeof maps,
	                 "00400000-00500000 r-xp 00000000 00:00 0 %s\n00500000-00600000 rw-p 00100000 00:00 0 %s\n"
	                 "7ffff0000000-7ffff0010000 rw-p 00000000 00:00 0 [stack]\n",
	                 path, path);
	n += put(file + n, CRASH_SEC_MAPS, 0, maps, (size_t)k);
	const char *why;
	uint64_t start = mono_ns();
	struct report *r = crash_report_make_with(file, n, &(struct crash_report_opts){.ms = 1000, .debug_max = 8 << 20, .debug_dir = "/nowhere"}, &why);
	HOLDS(mono_ns() - start < 8000000000u);
	HOLDS(r && r->n_threads == 1 && r->threads[0].n >= 1 && r->threads[0].n <= 256);
	report_free(r);
	unlink(path);
	return 0;
}
