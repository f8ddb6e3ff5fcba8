#ifndef REMORA_ELF_NEXT_H
#define REMORA_ELF_NEXT_H

/* The next definition of a function behind this object in the loader's search order; NULL: none. host. */
void *elf_next(const char *name);

/* What this object was loaded by, as the loader knows it, where there is no dladdr; NULL: unknown. host. */
const char *elf_own_path(void);

#endif
