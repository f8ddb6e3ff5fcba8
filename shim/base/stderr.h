/* The program's fd 1 and 2: are they still what they were, and writing to the latter without ever hitting another. */
#ifndef REMORA_STDERR_H
#define REMORA_STDERR_H

#include <stdbool.h>
#include <stddef.h>

void stderr_init(void);   /* constructor: remember which files fd 1 and 2 are */
bool stderr_same(int fd); /* is it the file that was fd 2? One system call */
bool stdout_same(int fd);
/*
 * False: fd 2 is another file, a terminal in raw mode, or not ready to take the text. `own_files`: the calling thread
 * has an fd table of its own and must fetch fd 2 of the program's. Raw system calls only.
 */
bool stderr_write(const char *text, size_t n, bool own_files);

#endif
