/*
 * The client/server protocol of MySQL and MariaDB (MySQL source documentation, "Client/Server Protocol"; MariaDB
 * knowledge base, "Clientserver Protocol"), seen from the client's side. See db.h.
 */
#ifndef REMORA_MYSQL_H
#define REMORA_MYSQL_H

#include "proto/db.h"

struct mysql {
	char todo; /* mysql.c completes it: at most 6 KiB */
};

/* Are these the first bytes that such a server sends: its greeting, or an error instead? */
bool mysql_begins(const char *p, size_t n);
/*
 * The next bytes: of the client, of the server. Returns how many were taken, up to and with the end of the message that
 * gave *e; call again with the rest. At DB_OVER, do not call again.
 */
size_t mysql_client(struct mysql *s, const char *p, size_t n, struct db_event *e);
size_t mysql_server(struct mysql *s, const char *p, size_t n, struct db_event *e);
/* Is the client's stream between two messages? */
bool mysql_between(const struct mysql *s);

#endif
