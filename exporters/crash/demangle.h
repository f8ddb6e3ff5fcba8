/* C++ and Rust names as a person writes them. Pure; bounded in time and stack. */
#ifndef REMORA_CRASH_DEMANGLE_H
#define REMORA_CRASH_DEMANGLE_H

#include <stdbool.h>
#include <stddef.h>

#define DEMANGLED_MAX 2048

enum mangling { MANGLED_NOT,
	            MANGLED_CXX,
	            MANGLED_RUST };

/* Writes the name without parameters, NUL-terminated, or the mangled name itself. What kind of name it was. */
enum mangling demangle(const char *name, char out[DEMANGLED_MAX]);

#endif
