/* Between hooks.c, special.c and tail.S. */
#ifndef REMORA_HOOKS_H
#define REMORA_HOOKS_H

void hooks_close(int fd); /* before a close that came by another way (syscall) */
void hooks_close_range(unsigned first, unsigned last, int flags);

#endif
