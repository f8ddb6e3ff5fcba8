/* Writing to the program's stderr without ever writing to something else that has its number by now. */
#ifndef REMORA_STDERR_H
#define REMORA_STDERR_H

#include <stdbool.h>
#include <stddef.h>

void stderr_init(void); /* constructor: remember which file fd 2 is */
bool stderr_same(int fd); /* is it that file? One system call */
/*
 * False: fd 2 is another file, a terminal in raw mode, or not ready to take the text. `own_files`: the calling thread
 * has an fd table of its own and must fetch fd 2 of the program's. Raw system calls only.
 */
bool stderr_write(const char *text, size_t n, bool own_files);

#endif
