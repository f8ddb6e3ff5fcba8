/* flags: -w */
/*
 * A program with a crash handler of its own that prints the frames, by glibc's backtrace() or with libunwind, if it is
 * linked with that: crash_unwinds backtrace|libunwind. It prints the modules that they lie in.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define STAYS __asm__ volatile("" :: \
	                               : "memory")
#define RIP 16
static int *volatile null;
static int with_libunwind;

/* As <libunwind.h> has them. */
#pragma weak _ULx86_64_init_local2
#pragma weak _ULx86_64_step
#pragma weak _ULx86_64_get_reg
int _ULx86_64_init_local2(void *cursor, void *context, int flag);
int _ULx86_64_step(void *cursor);
int _ULx86_64_get_reg(void *cursor, int reg, unsigned long *value);

static void show(void *ip)
{
	Dl_info i = {0};
	const char *name = dladdr(ip, &i) && i.dli_fname ? strrchr(i.dli_fname, '/') : NULL;
	printf("  %s\n", name ? name + 1 : "?");
}

static void handler(int sig, siginfo_t *info, void *uc)
{
	void *ips[64];
	int n = 0;
	if (with_libunwind) {
		static unsigned long cursor[256];
		unsigned long ip;
		_ULx86_64_init_local2(cursor, uc, 1);
		do
			_ULx86_64_get_reg(cursor, RIP, &ip), ips[n++] = (void *)ip;
		while (n < 64 && _ULx86_64_step(cursor) > 0);
	} else {
		n = backtrace(ips, 64);
	}
	printf("signal %d, %d frames\n", sig, n);
	for (int i = 0; i < n; i++)
		show(ips[i]);
	fflush(stdout);
	signal(sig, SIG_DFL);
}

KEEP static void fault(void)
{
	*null = 1;
	STAYS;
}
KEEP static void outer(void)
{
	fault();
	STAYS;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_flags = SA_SIGINFO};
	alarm(30);
	with_libunwind = argc > 1 && strcmp(argv[1], "libunwind") == 0;
	if (with_libunwind && !_ULx86_64_step)
		return 96;
	sa.sa_sigaction = handler;
	sigaction(SIGSEGV, &sa, NULL);
	outer();
	return 0;
}
