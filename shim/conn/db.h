/*
 * A database on a connection: bytes in, commands and their ends out (proto/db.h), a record of each. The connection is
 * locked by the caller. No system calls but one getpeername in db_begin. host, any context.
 */
#ifndef REMORA_CONN_DB_H
#define REMORA_CONN_DB_H

#include "conn/conn.h"

/*
 * The first bytes that passed, from this program (tx) or to it: of a database's protocol? Then the connection's role is
 * ROLE_DB, and they are taken. False: nothing was changed.
 */
bool db_begin(struct conn *c, int fd, bool tx, const char *p, size_t n, uint64_t start_ns);
void db_rx(struct conn *c, int fd, const char *p, size_t n);
void db_tx(struct conn *c, int fd, const char *p, size_t n, uint64_t start_ns);
bool db_idle(const struct conn *c); /* between two commands: of a forked child's connections these can be followed */
void db_free(struct conn *c);

#endif
