/* libiberty's demanglers. A few bytes of mangled name can stand for gigabytes: they are left once it is too much. */
#include "exporters/crash/demangle.h"
#include <libiberty/demangle.h>
#include <setjmp.h>
#include <string.h>

#define MANGLED_MAX 4096 /* stack: 200 KB at worst, of the exporter thread's 512 */

struct sink {
	char *out;
	size_t n;
	size_t pieces;
	jmp_buf enough;
};

static void put(const char *s, size_t n, void *arg)
{
	struct sink *k = arg;
	if (n >= DEMANGLED_MAX - k->n || ++k->pieces > 100000)
		longjmp(k->enough, 1);
	memcpy(k->out + k->n, s, n);
	k->n += n;
}

static bool run(enum mangling kind, const char *name, struct sink *k)
{
	if (setjmp(k->enough))
		return false;
	int options = DMGL_ANSI | DMGL_RET_DROP;
	return kind == MANGLED_RUST ? rust_demangle_callback(name, 0, put, k) : cplus_demangle_v3_callback(name, options, put, k);
}

/* _ZN ... 17h<16 hex digits>E: Rust's older scheme looks like C++. */
static bool rust_legacy(const char *name, size_t n)
{
	return n > 20 && strncmp(name, "_ZN", 3) == 0 && memcmp(name + n - 20, "17h", 3) == 0 && name[n - 1] == 'E' &&
	       strspn(name + n - 17, "0123456789abcdef") == 16;
}

enum mangling demangle(const char *name, char out[DEMANGLED_MAX])
{
	size_t n = strlen(name);
	struct sink k = {.out = out};
	/* A clone (.cold, .constprop.0, .llvm.123) is what it was cloned from, as far as Rust's demangler is concerned. */
	char plain[MANGLED_MAX];
	enum mangling kind = MANGLED_NOT;
	if (n < MANGLED_MAX && name[0] == '_') {
		memcpy(plain, name, n + 1);
		char *dot = strchr(plain, '.');
		if (dot && dot > plain)
			*dot = 0;
		if (strncmp(plain, "_R", 2) == 0 || rust_legacy(plain, strlen(plain)))
			kind = MANGLED_RUST;
		else if (strncmp(plain, "_Z", 2) == 0)
			kind = MANGLED_CXX;
	}
	if (kind != MANGLED_NOT && run(kind, kind == MANGLED_RUST ? plain : name, &k) && k.n > 0) {
		out[k.n] = 0;
		return kind;
	}
	if (n >= DEMANGLED_MAX)
		n = DEMANGLED_MAX - 1;
	memcpy(out, name, n);
	out[n] = 0;
	return k.n > 0 ? kind : MANGLED_NOT;
}
