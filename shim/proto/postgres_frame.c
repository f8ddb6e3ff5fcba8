/* PostgreSQL's protocol: where messages begin and end, and how they begin. Source: the PostgreSQL manual. */
#include "proto/postgres_frame.h"

#define START_MAX 10000 /* what a server accepts */
#define BODY_MAX 0x40000000u

bool postgres_begins(const char *p, size_t n)
{
	if (n < 8)
		return false;
	uint32_t len = postgres_be32(p), code = postgres_be32(p + 4);
	if (code == POSTGRES_SSL || code == POSTGRES_GSSENC)
		return len == 8;
	if (code == POSTGRES_CANCEL)
		return len >= 16 && len <= 12 + 256;
	/* 3.9999 is sent by clients that try whether servers negotiate. A parameter's name follows. */
	return code >> 16 == 3 && ((code & 0xffff) <= 2 || (code & 0xffff) == 9999) && len > 9 && len <= START_MAX &&
	       (n == 8 || p[8] == '_' || ((p[8] | 0x20) >= 'a' && (p[8] | 0x20) <= 'z'));
}

bool postgres_between(const struct postgres *s)
{
	return s->client.have == 0 && s->client.left == 0;
}

int postgres_client_wants(uint8_t type, uint32_t size)
{
	switch (type) {
	case 0: /* the first one */
		return size >= 4 && size <= START_MAX - 4 ? (int)sizeof((struct postgres *)0)->client_buf : -1;
	case 'Q':
		return size >= 1 ? (int)sizeof((struct postgres *)0)->client_buf : -1;
	case 'P':
		return size >= 4 ? (int)sizeof((struct postgres *)0)->client_buf : -1;
	case 'B':
		return size >= 8 ? 2 * (POSTGRES_NAME_MAX + 1) : -1;
	case 'E':
		return size >= 5 ? POSTGRES_NAME_MAX + 1 : -1;
	case 'C':
		return size >= 2 ? POSTGRES_NAME_MAX + 2 : -1;
	case 'D':
		return size >= 2 ? 0 : -1;
	case 'F':
		return size >= 10 ? 0 : -1;
	case 'f':
		return size >= 1 ? 0 : -1;
	case 'd':
	case 'p': /* passwords: never kept */
		return 0;
	case 'S':
	case 'H':
	case 'X':
	case 'c':
		return size == 0 ? 0 : -1;
	}
	return -1;
}

int postgres_server_wants(uint8_t type, uint32_t size)
{
	switch (type) {
	case 'E':
	case 'S':
		return size >= 1 ? (int)sizeof((struct postgres *)0)->server_buf : -1;
	case 'Z':
		return size == 1 ? 0 : -1;
	case '1':
	case '2':
	case '3':
	case 'n':
	case 's':
	case 'I':
	case 'c':
		return size == 0 ? 0 : -1;
	case 'C':
		return size >= 1 && size <= 1024 ? 0 : -1;
	case 'T':
	case 'D':
	case 't':
		return size >= 2 ? 0 : -1;
	case 'R':
	case 'V':
		return size >= 4 ? 0 : -1;
	case 'K':
	case 'v':
		return size >= 8 ? 0 : -1;
	case 'G':
	case 'H':
	case 'W':
		return size >= 3 ? 0 : -1;
	case 'A':
		return size >= 6 ? 0 : -1;
	case 'N':
		return size >= 1 ? 0 : -1;
	case 'd':
		return 0;
	}
	return -1;
}

void postgres_wipe(struct postgres_stream *f, char *buf)
{
	if (f->have || !f->kept)
		return;
	memset(buf, 0, f->kept);
	f->kept = 0;
}

bool postgres_head(struct postgres_stream *f, const char *p, size_t n, size_t *at)
{
	if (f->have == 0 && n - *at >= 5) {
		memcpy(f->head, p + *at, 5);
		f->have = 5;
		*at += 5;
	}
	while (f->have < 5 && *at < n)
		f->head[f->have++] = (uint8_t)p[(*at)++];
	return f->have == 5;
}

bool postgres_sized(struct postgres_stream *f)
{
	uint32_t len = postgres_be32(f->head + 1);
	f->size = f->left = len - 4;
	return len >= 4 && f->size <= BODY_MAX;
}

bool postgres_body(struct postgres_stream *f, const char *p, size_t n, size_t *at, char *buf, uint32_t want, struct slice *out)
{
	size_t there = n - *at < f->left ? n - *at : f->left;
	if (want > f->size)
		want = f->size;
	if (there == f->size) {
		*out = (struct slice){p + *at, want};
	} else {
		if (f->kept < want) {
			size_t k = want - f->kept < there ? want - f->kept : there;
			memcpy(buf + f->kept, p + *at, k);
			f->kept = (uint16_t)(f->kept + k);
		}
		*out = (struct slice){buf, want};
	}
	*at += there;
	f->left -= (uint32_t)there;
	if (f->left)
		return false;
	f->have = 0;
	return true;
}
