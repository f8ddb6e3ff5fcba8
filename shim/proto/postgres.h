/*
 * PostgreSQL's frontend/backend protocol 3 (PostgreSQL manual, "Frontend/Backend Protocol", message formats), seen from
 * the client's side. See db.h.
 *
 * A Query or FunctionCall is a command until ReadyForQuery, an Execute until CommandComplete or its like. Messages up to
 * a Sync are a group: after an error the server skips the rest of it. Executes of the same text in a group, one behind
 * the other and not all answered yet, are one command (DB_REPEAT). The unnamed statement has a key like a named one.
 * Key 0 of a DB_COMMAND: of a portal that is not remembered, or whose statement is another one by now; no text is known.
 * An error when nothing is outstanding (a session ended by the administrator, a commit that fails at Sync) is not told.
 *
 * Order: a command's bytes must be given before the server's answer to them, so an observer gives the client's bytes
 * before the call that sends them, or under the same lock. The two directions share the state: one caller at a time.
 * Nothing depends on time.
 *
 * Memory: a message that came in pieces is put together in the state. What a text left there is wiped by the next call of
 * either function; so call again after an event, also with n = 0.
 */
#ifndef REMORA_POSTGRES_H
#define REMORA_POSTGRES_H

#include "proto/db.h"

#define POSTGRES_RUNS 128 /* of what is outstanding; a pipeline with more is DB_OVER */
#define POSTGRES_PORTALS 4
#define POSTGRES_PARSED 8
#define POSTGRES_NAME_MAX 255

struct postgres_stream { /* where one direction is */
	uint8_t have;        /* bytes of the message's head */
	uint8_t head[5];     /* type, length */
	uint16_t kept;       /* bytes in the buffer */
	uint32_t size, left; /* of the body: all, and still to come */
};

struct postgres_portal {
	uint64_t name, key; /* 0: none */
	uint32_t text;      /* of the unnamed statement: a hash */
};

struct postgres {
	uint8_t phase;
	bool open;            /* since the last Sync the client has sent something that Sync ends */
	bool failed;          /* the server skips what is left of the oldest group */
	bool copying;         /* in COPY FROM by Execute: Syncs do not count until the client has ended it */
	uint8_t parsed_at;    /* next place in `parsed` */
	uint8_t portal_at;    /* and in `portal` */
	uint16_t first, runs; /* ring: what is outstanding, oldest first */
	uint32_t text;        /* of the unnamed statement: a hash */
	struct postgres_stream client, server;
	struct postgres_portal unnamed, portal[POSTGRES_PORTALS];
	uint64_t parsed[POSTGRES_PARSED]; /* statements whose text was sent in the client's group */
	uint64_t run[POSTGRES_RUNS];
	uint8_t run_kind[POSTGRES_RUNS];
	char client_buf[DB_TEXT_MAX + POSTGRES_NAME_MAX + 1];
	char server_buf[256];
};

_Static_assert(sizeof(struct postgres) <= 6 * 1024, "one lies in each connection's state");

/* Are these the first bytes that such a client sends? At least 8 are needed. */
bool postgres_begins(const char *p, size_t n);
/*
 * The next bytes: of the client, of the server. Returns how many were taken, up to and with the end of the message that
 * gave *e; call again with the rest. A server's message may give more than one event: 0 are taken then. DB_NOTHING: all
 * were taken. At DB_OVER, do not call again.
 */
size_t postgres_client(struct postgres *s, const char *p, size_t n, struct db_event *e);
size_t postgres_server(struct postgres *s, const char *p, size_t n, struct db_event *e);
/* Is the client's stream between two messages? */
bool postgres_between(const struct postgres *s);

#endif
