/*
 * What the program calls the hosts that it connects to: names it had resolved, by address. A database's protocol does not
 * tell the name, as HTTP's does. The newest name of an address counts. host, any context; no locks that anybody waits for.
 */
#ifndef REMORA_CONN_NAMES_H
#define REMORA_CONN_NAMES_H

#include "span/record.h"

#define NAME_MOST 100 /* bytes; longer names are not kept */

void names_add(const struct rec_addr *a, struct slice name);
/* Into out; bytes, 0 = not known. */
uint32_t names_find(const struct rec_addr *a, char out[static NAME_MOST]);

#endif
