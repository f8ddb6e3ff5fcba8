/* flags: -fsanitize=address -static-libasan -fno-omit-frame-pointer */
/* web.c with AddressSanitizer's runtime inside the program: what we read and write of its memory is checked. */
#include "web.c"
