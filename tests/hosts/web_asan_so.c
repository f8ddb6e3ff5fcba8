/* flags: -fsanitize=address -fno-omit-frame-pointer */
/* web.c with libasan.so, which must come before us in the preload list. */
#include "web.c"
