/*
 * Memory that no core file shows, and that is wiped when it is given back: what libcurl holds (headers with tokens and
 * keys, the request as it goes out). exporter thread; one thread at a time, so no lock. Same contracts as malloc's.
 */
#ifndef REMORA_SECRET_H
#define REMORA_SECRET_H

#include <stddef.h>

void *secret_alloc(size_t n);
void *secret_calloc(size_t n, size_t size);
void *secret_realloc(void *p, size_t n);
char *secret_strdup(const char *s);
void secret_free(void *p);

#endif
