#ifndef REMORA_ELF_NEXT_H
#define REMORA_ELF_NEXT_H

/* The next definition of a function behind this object in the loader's search order; NULL: none. host. */
void *elf_next(const char *name);

#endif
