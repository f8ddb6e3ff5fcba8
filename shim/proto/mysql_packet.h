/* What both halves of the MySQL parser use: packets, and the integers and strings in them. Private to mysql*.c. */
#ifndef REMORA_MYSQL_PACKET_H
#define REMORA_MYSQL_PACKET_H

#include "proto/mysql.h"

/* Capabilities. MariaDB's extended ones stand 32 bits higher; their servers leave bit 0 away. */
#define CAP_MYSQL UINT64_C(1)
#define CAP_CONNECT_WITH_DB (UINT64_C(1) << 3)
#define CAP_COMPRESS (UINT64_C(1) << 5)
#define CAP_PROTOCOL_41 (UINT64_C(1) << 9)
#define CAP_SSL (UINT64_C(1) << 11)
#define CAP_SECURE_CONNECTION (UINT64_C(1) << 15)
#define CAP_AUTH_LENENC (UINT64_C(1) << 21)
#define CAP_SESSION_TRACK (UINT64_C(1) << 23)
#define CAP_DEPRECATE_EOF (UINT64_C(1) << 24)
#define CAP_OPTIONAL_METADATA (UINT64_C(1) << 25)
#define CAP_ZSTD (UINT64_C(1) << 26)
#define CAP_QUERY_ATTRIBUTES (UINT64_C(1) << 27)
#define CAP_CACHE_METADATA (UINT64_C(1) << 36)

enum phase { /* of the client's stream */
	         PHASE_GREETING,
	         PHASE_LOGIN, /* its answer to the greeting */
	         PHASE_AUTH,  /* what it says until the server is content */
	         PHASE_COMMANDS,
	         PHASE_FILE, /* LOAD DATA LOCAL: packets until an empty one */
	         PHASE_QUIT,
};

enum answer { /* which kind of answer a command in the ring waits for */
	          ANSWER_LOGIN,
	          ANSWER_OK,
	          ANSWER_DB,     /* the same, and `db` is the database then */
	          ANSWER_STRING, /* any one packet */
	          ANSWER_RESULT, /* OK, result sets, LOAD DATA LOCAL */
	          ANSWER_QUERY,  /* the same, of a DB_COMMAND */
	          ANSWER_USE,    /* the same, and `db` is the database then */
	          ANSWER_PREPARE,
	          ANSWER_PREPARE_UNTOLD, /* only one statement at a time is DB_KEY_NEXT */
	          ANSWER_ROWS,
	          ANSWER_COLUMNS,
};

enum look {
	LOOK_NOT,  /* all bytes were taken */
	LOOK_HERE, /* *view is what was wanted of a message */
	LOOK_BAD,
};

/* The next message's first bytes, straight from [p, p + n) or collected in `buf`; of a told one the rest is skipped. */
enum look mysql_look(struct mysql *s, bool client, const char *p, size_t n, size_t *used, struct slice *view);

/* Takes a message of the client, or its beginning where client.inside. False: we do not know what follows. */
bool mysql_said(struct mysql *s, struct slice m, struct db_event *e);
bool mysql_push(struct mysql *s, enum answer a);
size_t mysql_over(struct mysql *s, size_t n, struct db_event *e);
uint32_t mysql_want_client(const struct mysql *s, unsigned char first);
uint32_t mysql_want_server(const struct mysql *s, unsigned char first);
/* The event that pointed into our buffers is history. */
void mysql_wipe(struct mysql *s);

static inline uint64_t mysql_key(uint32_t id)
{
	return (uint64_t)id + 1;
}

/* Walks over a message; what is not there is zero or empty, and `bad`. */
struct reader {
	const unsigned char *p, *e;
	bool bad;
};

static inline struct reader reader_of(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	return (struct reader){p, p + s.n, false};
}

static inline struct slice read_bytes(struct reader *r, uint64_t n)
{
	if (n > (uint64_t)(r->e - r->p)) {
		r->bad = true;
		r->p = r->e;
		return (struct slice){(const char *)r->e, 0};
	}
	struct slice s = {(const char *)r->p, (uint32_t)n};
	r->p += n;
	return s;
}

static inline uint64_t read_int(struct reader *r, unsigned bytes)
{
	struct slice s = read_bytes(r, bytes);
	uint64_t v = 0;
	for (uint32_t i = 0; i < s.n; i++)
		v |= (uint64_t)(unsigned char)s.p[i] << 8 * i;
	return v;
}

/* A length-encoded integer. */
static inline uint64_t read_lenenc(struct reader *r)
{
	uint64_t v = read_int(r, 1);
	if (v < 0xfb)
		return v;
	if (v < 0xfc || v == 0xff)
		r->bad = true;
	return v < 0xfc ? 0 : read_int(r, v == 0xfc ? 2 : v == 0xfd ? 3
	                                                            : 8);
}

static inline struct slice read_string(struct reader *r) /* with its length before it */
{
	return read_bytes(r, read_lenenc(r));
}

static inline struct slice read_zero(struct reader *r) /* with a NUL behind it */
{
	const unsigned char *z = r->p < r->e ? memchr(r->p, 0, (size_t)(r->e - r->p)) : NULL;
	struct slice s = read_bytes(r, z ? (uint64_t)(z - r->p) : UINT64_MAX);
	if (z)
		r->p++;
	return s;
}

#endif
