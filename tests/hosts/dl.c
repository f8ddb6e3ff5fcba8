/* flags: -ldl -w */
/* dlopen and friends through a preload: RUNPATH of the caller, NULL handles, RTLD_NEXT, dlclose, error texts. */
#include "host.h"
#include <dlfcn.h>

int main(int argc, char **argv)
{
	alarm(20);
	for (int i = 0; i < 3; i++) {
		void *h = dlopen("libz.so.1", RTLD_NOW | (i == 2 ? RTLD_DEEPBIND : RTLD_LOCAL));
		const char *(*v)(void) = h ? (const char *(*)(void))dlsym(h, "zlibVersion") : NULL;
		printf("zlib %s\n", v ? "works" : "missing");
		printf("noload %d\n", dlopen("libz.so.1", RTLD_NOW | RTLD_NOLOAD) == h);
		if (h) {
			dlclose(h);
			printf("dlclose %d\n", dlclose(h));
		}
		exchange_new("/dl");
	}
	printf("gone %d\n", dlopen("libz.so.1", RTLD_NOW | RTLD_NOLOAD) == NULL);
	dlopen("/no/such/lib.so", RTLD_NOW);
	printf("error %s\n", dlerror());
	printf("error again %s\n", dlerror() ? "yes" : "no");
	dlopen("libz.so.1", 0);
	printf("bad mode %s\n", dlerror());
	void *self = dlopen(NULL, RTLD_NOW);
	printf("read from the program %d\n", dlsym(self, "read") != NULL);
	ssize_t (*w)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
	printf("next write %zd\n", w ? w(1, "", 0) : -1);
	ssize_t (*d)(int, const void *, size_t) = dlsym(RTLD_DEFAULT, "write");
	printf("default write %zd\n", d ? d(1, "", 0) : -1);
	void *c = dlopen("libc.so.6", RTLD_NOW);
	printf("dlvsym %d\n", dlvsym(c, "write", "GLIBC_2.2.5") != NULL);
	return 0;
}
