/* Messages of PostgreSQL's protocol, for postgres.c: their heads, and putting together those that come in pieces. */
#ifndef REMORA_POSTGRES_FRAME_H
#define REMORA_POSTGRES_FRAME_H

#include "proto/postgres.h"

#define POSTGRES_SSL 80877103u
#define POSTGRES_GSSENC 80877104u
#define POSTGRES_CANCEL 80877102u

static inline uint32_t postgres_be32(const void *at)
{
	const unsigned char *p = at;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* How much of the body of such a message is wanted; -1: there is none. Type 0: the client's first one, which has none. */
int postgres_client_wants(uint8_t type, uint32_t size);
int postgres_server_wants(uint8_t type, uint32_t size);
/* Takes what is there of a head; true: it is complete. */
bool postgres_head(struct postgres_stream *f, const char *p, size_t n, size_t *at);
/* What it says of the body's size; false: nonsense. */
bool postgres_sized(struct postgres_stream *f);
/*
 * Takes what is there of a body; true: it is complete, and *out is its first `want` bytes: those given where they are
 * whole, else those put together in `buf`.
 */
bool postgres_body(struct postgres_stream *f, const char *p, size_t n, size_t *at, char *buf, uint32_t want, struct slice *out);
/* Between messages: what was put together is no more needed. */
void postgres_wipe(struct postgres_stream *f, char *buf);

#endif
