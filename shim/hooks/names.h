/* Preprocessed by the Makefile: one line "EXPORT name" per hook, for the version script. */
#define RX(ret, name, ...) EXPORT name
#define OUT(ret, name, ...) EXPORT name
#define TX(ret, name, ...) EXPORT name
#define AFTER(ret, name, ...) EXPORT name
#define CLOSE(ret, name, ...) EXPORT name
#define POLL(ret, name, ...) EXPORT name
#define PAUSE(ret, name, ...) EXPORT name
#define SPECIAL(ret, name, ...) EXPORT name
#include "hooks/hooks.def"
