/*
 * What a database's protocol tells, the same for each: commands and their ends. A parser of one (postgres.h, mysql.h) is
 * pure: it takes the bytes of both directions as they pass, in pieces of any size, and keeps what it needs in its state,
 * which is zeroed at first and may be copied. It holds no text of a statement longer than its message: its caller keeps
 * statements by key (conn/db.c). host, any context.
 */
#ifndef REMORA_DB_H
#define REMORA_DB_H

#include "base/slice.h"
#include <stddef.h>
#include <sys/types.h>

enum db_system { /* in records: do not renumber */
	             DB_NONE,
	             DB_POSTGRESQL,
	             DB_MYSQL,
	             DB_MARIADB,
	             DB_SYSTEM_MAX,
};

enum db_what {
	DB_NOTHING,  /* nothing to tell: all bytes were taken */
	DB_SESSION,  /* user, database, version, system: those that are not NULL are known from now on */
	DB_PREPARE,  /* statement `key` is `text`. Key DB_KEY_NEXT: its key comes with the answer */
	DB_PREPARED, /* what was DB_KEY_NEXT is `key` */
	DB_FORGET,   /* statement `key` is no more */
	DB_COMMAND,  /* a command is on its way: `text`, or where `prepared` that of statement `key` */
	DB_REPEAT,   /* once more the newest command, in the same batch */
	DB_FAILED,   /* the oldest command has failed with `status`; it is not over yet */
	DB_ANSWER,   /* the oldest command is over; failed where `status` says so; `aborted`: it was never run */
	DB_REFUSED,  /* what is no command has failed with `status`: a login (key 0) or the preparation of statement `key` */
	DB_OVER,     /* from here on we understand nothing: TLS, compression, another protocol */
};

#define DB_KEY_NEXT UINT64_MAX

struct db_event {
	enum db_what what;
	enum db_system system;
	bool cut;      /* text: only its beginning */
	bool prepared; /* a prepared statement is run: the text was not sent with it */
	bool aborted;
	uint64_t key;
	struct slice text;                    /* as it was sent, literals and all */
	struct slice status;                  /* SQLSTATE, or MySQL's error number in decimal */
	struct slice user, database, version; /* NULL = nothing new. All slices: into the bytes given, or the state. */
};

/* A key of a statement's name; never 0 or DB_KEY_NEXT. */
static inline uint64_t db_key(struct slice name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	for (uint32_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) * UINT64_C(0x100000001b3);
	return h == 0 || h == DB_KEY_NEXT ? 1 : h;
}

#define DB_TEXT_MAX 4096 /* bytes of a command's text that are kept */

#endif
