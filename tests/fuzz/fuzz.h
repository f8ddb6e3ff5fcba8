/*
 * What the fuzzers share. Inputs are copied to heap blocks of exactly their size, so that the sanitizer sees one byte
 * read too far; a broken property aborts.
 */
#ifndef REMORA_FUZZ_H
#define REMORA_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(cond)                                                    \
	do {                                                               \
		if (!(cond)) {                                                 \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                   \
		}                                                              \
	} while (0)

__attribute__((unused)) static char *exact(const void *p, size_t n)
{
	char *c = malloc(n ? n : 1);
	HOLDS(c);
	if (n)
		memcpy(c, p, n);
	return c;
}

/* Without libFuzzer (-DFUZZ_REPLAY): runs the files named as arguments, for corpora and old crashes. */
#ifdef FUZZ_REPLAY
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		static char buf[1 << 20];
		if (!f) {
			perror(argv[i]);
			return 1;
		}
		size_t n = fread(buf, 1, sizeof buf, f);
		fclose(f);
		char *c = exact(buf, n);
		LLVMFuzzerTestOneInput((const uint8_t *)c, n);
		free(c);
	}
	printf("%d inputs\n", argc - 1);
	return 0;
}
#endif

#endif
