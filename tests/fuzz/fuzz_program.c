/* Files that may be run: whatever the bytes, an answer, and strings that end. */
#include "exporters/cli/program.c" /* the launcher is not in the archive */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program out;
	char *p = exact(data, size);
	memset(&out, 0x55, sizeof out);
	program_inspect((unsigned char *)p, size, &out);
	HOLDS(out.kind <= PROGRAM_UNKNOWN);
	HOLDS(memchr(out.interpreter, 0, sizeof out.interpreter) && memchr(out.asan, 0, sizeof out.asan));
	HOLDS(out.kind == PROGRAM_SCRIPT || !out.interpreter[0]);
	free(p);
	return 0;
}
