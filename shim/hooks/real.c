#include "hooks/real.h"
#include "hooks/elf_next.h"
#include <dlfcn.h>
#include <errno.h>

void *real_table[REAL_COUNT];

static const char *const names[REAL_COUNT] = {
#define RX(ret, name, ...) [REAL_##name] = #name,
#define OUT(ret, name, ...) [REAL_##name] = #name,
#define TX(ret, name, ...) [REAL_##name] = #name,
#define AFTER(ret, name, ...) [REAL_##name] = #name,
#define CLOSE(ret, name, ...) [REAL_##name] = #name,
#define POLL(ret, name, ...) [REAL_##name] = #name,
#define PAUSE(ret, name, ...) [REAL_##name] = #name,
#define SPECIAL(ret, name, ...) [REAL_##name] = #name,
#include "hooks/hooks.def"
};

/* glibc before 2.34 has it in libdl, which the program need not have. */
#pragma weak dlsym

static long absent(void)
{
	errno = ENOSYS;
	return -1;
}

void *real_find(const char *name)
{
	return dlsym ? dlsym(RTLD_NEXT, name) : elf_next(name);
}

void *real_lookup(enum real_index i)
{
	int e = errno; /* dlsym may change it */
	void *f = real_find(names[i]);
	if (!f)
		f = (void *)absent;
	real_table[i] = f;
	errno = e;
	return f;
}

void real_resolve_all(void)
{
	for (int i = 0; i < REAL_COUNT; i++)
		if (!real_table[i])
			real_lookup((enum real_index)i);
}
