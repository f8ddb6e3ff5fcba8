/* flags: -shared -fPIC -w */
/* A library that crashes: in its constructor or its destructor where CRASH_LIB says so, or when it is called. */
#include <stdlib.h>
#include <string.h>

#define STAYS __asm__ volatile("" :: \
	                               : "memory")
static int *volatile null;

__attribute__((noinline, visibility("default"))) void lib_fault(void)
{
	*null = 1;
	STAYS;
}

static int wanted(const char *when)
{
	const char *e = getenv("CRASH_LIB");
	return e && strcmp(e, when) == 0;
}

__attribute__((constructor, noinline)) static void lib_begins(void)
{
	if (wanted("begin"))
		lib_fault();
	STAYS;
}

__attribute__((destructor, noinline)) static void lib_ends(void)
{
	if (wanted("end"))
		lib_fault();
	STAYS;
}
