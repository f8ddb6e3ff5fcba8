/* Crashes in and around libraries: crash_dl NAME LIBRARY (crash_lib.c). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define STAYS __asm__ volatile("" :: \
	                               : "memory")

KEEP static void *load(const char *path)
{
	void *lib = dlopen(path, RTLD_NOW);
	STAYS;
	if (!lib) {
		puts("no library");
		exit(96);
	}
	return lib;
}

KEEP static void call(void (*f)(void))
{
	f();
	STAYS;
}

int main(int argc, char **argv)
{
	void (*f)(void);
	void *lib;
	if (argc < 2)
		return 97;
	alarm(30);
	if (strcmp(argv[1], "linked") == 0)
		return 0; /* linked with the library, main is not reached */
	lib = load(argc > 2 ? argv[2] : "crash_lib.so");
	*(void **)&f = dlsym(lib, "lib_fault");
	if (strcmp(argv[1], "called") == 0)
		call(f);
	else if (strcmp(argv[1], "close") == 0)
		dlclose(lib);
	else if (strcmp(argv[1], "closed") == 0) {
		dlclose(lib);
		call(f);
	}
	return 0;
}
