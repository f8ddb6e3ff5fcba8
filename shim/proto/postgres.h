/*
 * PostgreSQL's frontend/backend protocol 3 (PostgreSQL manual, "Frontend/Backend Protocol", message formats), seen from
 * the client's side. See db.h.
 */
#ifndef REMORA_POSTGRES_H
#define REMORA_POSTGRES_H

#include "proto/db.h"

struct postgres {
	char todo; /* postgres.c completes it: at most 6 KiB */
};

/* Are these the first bytes that such a client sends? At least 8 are needed. */
bool postgres_begins(const char *p, size_t n);
/*
 * The next bytes: of the client, of the server. Returns how many were taken, up to and with the end of the message that
 * gave *e; call again with the rest. At DB_OVER, do not call again.
 */
size_t postgres_client(struct postgres *s, const char *p, size_t n, struct db_event *e);
size_t postgres_server(struct postgres *s, const char *p, size_t n, struct db_event *e);
/* Is the client's stream between two messages? */
bool postgres_between(const struct postgres *s);

#endif
