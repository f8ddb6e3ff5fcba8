/*
 * The client/server protocol of MySQL and MariaDB (MySQL source documentation, "Client/Server Protocol"; MariaDB
 * knowledge base, "Clientserver Protocol"), seen from the client's side. See db.h.
 */
#ifndef REMORA_MYSQL_H
#define REMORA_MYSQL_H

#include "proto/db.h"

#define MYSQL_TEXT (DB_TEXT_MAX + 512) /* query attributes stand before the text */
#define MYSQL_ANSWER 512               /* of what a server says: greeting, OK with what it tells of the session */
#define MYSQL_RING 128                 /* commands that wait for their answers */

struct mysql_way {   /* one direction; private */
	uint32_t left;   /* bytes of the packet that are to come */
	uint32_t len;    /* of the message's first packet */
	uint32_t got;    /* so many bytes of the message are in the buffer */
	uint32_t want;   /* so many are looked at; 0: the first one tells */
	uint8_t head[4]; /* of the packet: length, sequence number */
	uint8_t have;    /* bytes of it */
	uint8_t seq;
	bool inside; /* a message has begun */
	bool more;   /* it goes on in another packet */
	bool looked; /* the rest of it is only skipped */
};

struct mysql { /* private */
	struct mysql_way client, server;
	uint64_t caps;        /* what both sides can; MariaDB's own in the upper half */
	uint32_t last_id;     /* of the newest prepared statement */
	uint32_t defs;        /* column definitions that are to come */
	uint32_t dirty;       /* bytes of `text` and of `answer` that the event just told may point to: wiped at the next call */
	uint16_t first, open; /* of the ring */
	uint16_t db_n;        /* of `db` */
	uint8_t phase;        /* of the client's stream */
	uint8_t state;        /* of the oldest command's answer */
	bool preparing;       /* the ring holds a statement that is DB_KEY_NEXT */
	bool db_told;         /* by the message that is given once more */
	bool over;
	char status[8];
	char db[196]; /* is the database once the server says OK */
	uint8_t ring[MYSQL_RING];
	char answer[MYSQL_ANSWER];
	char text[MYSQL_TEXT];
};
_Static_assert(sizeof(struct mysql) <= 6144, "lies in a connection");

/* Are these the first bytes that such a server sends: its greeting, or an error instead? At least 8 are needed. */
bool mysql_begins(const char *p, size_t n);
/* The same of fewer: could they be? Some clients read the first four bytes alone. */
bool mysql_may_begin(const char *p, size_t n);
/*
 * The next bytes: of the client, of the server. Returns how many were taken, up to and with the end of the message that
 * gave *e; call again with the rest. A command that is longer than what is looked at is told in its midst, so that it is
 * known when the server's error comes early. A message may give two events: then the first one takes nothing of it (0
 * bytes, perhaps). At DB_OVER, do not call again.
 */
size_t mysql_client(struct mysql *s, const char *p, size_t n, struct db_event *e);
size_t mysql_server(struct mysql *s, const char *p, size_t n, struct db_event *e);
/* Is the client's stream between two messages? */
bool mysql_between(const struct mysql *s);

#endif
