/* What kind of file is about to be run? Pure: bytes of the file in, an answer out; the bytes are foreign (fuzzed). */
#ifndef REMORA_CLI_PROGRAM_H
#define REMORA_CLI_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

enum program_kind {
	PROGRAM_GLIBC, /* dynamic, an interpreter that is not musl's */
	PROGRAM_MUSL,
	PROGRAM_STATIC,
	PROGRAM_FOREIGN, /* another word size or machine */
	PROGRAM_SCRIPT,  /* "#!": see interpreter */
	PROGRAM_UNKNOWN,
};

struct program {
	enum program_kind kind;
	char interpreter[256]; /* of a script: the path behind "#!" */
	char asan[64];         /* soname of the sanitizer library it needs first, "" = none */
};

void program_inspect(const unsigned char *p, size_t n, struct program *out);

#endif
