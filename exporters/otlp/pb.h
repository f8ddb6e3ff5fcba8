/*
 * Writing protobuf. Small things go to a raw pointer behind which the caller reserved PB_HEAD bytes for each field
 * and its payload; messages of unknown length are opened and closed in a buf. Lengths are always minimal varints.
 */
#ifndef REMORA_PB_H
#define REMORA_PB_H

#include "exporters/buf.h"
#include <endian.h>
#include <stdint.h>
#include <string.h>

#define PB_HEAD 16 /* tag and length, or tag and number, of a field below 16 (two bytes of tag above) */

enum pb_wire {
	PB_VARINT,
	PB_FIXED64,
	PB_BYTES,
	PB_FIXED32 = 5,
};

static inline unsigned pb_width(uint64_t v)
{
	return (unsigned)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

static inline char *pb_varint(char *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (char)(v | 0x80);
		v >>= 7;
	}
	*p++ = (char)v;
	return p;
}

static inline char *pb_tag(char *p, unsigned field, enum pb_wire wire)
{
	return pb_varint(p, field << 3 | wire);
}

static inline char *pb_uint(char *p, unsigned field, uint64_t v)
{
	return pb_varint(pb_tag(p, field, PB_VARINT), v);
}

static inline char *pb_fixed64(char *p, unsigned field, uint64_t v)
{
	p = pb_tag(p, field, PB_FIXED64);
	v = htole64(v);
	memcpy(p, &v, 8);
	return p + 8;
}

static inline char *pb_fixed32(char *p, unsigned field, uint32_t v)
{
	p = pb_tag(p, field, PB_FIXED32);
	v = htole32(v);
	memcpy(p, &v, 4);
	return p + 4;
}

/* Most strings are short, and a call of memcpy costs more than they do. */
static inline char *pb_copy(char *p, const char *s, size_t n)
{
	if (n - 16 <= 16) { /* 16 to 32 */
		memcpy(p, s, 16);
		memcpy(p + n - 16, s + n - 16, 16);
	} else if (n - 8 < 8) {
		memcpy(p, s, 8);
		memcpy(p + n - 8, s + n - 8, 8);
	} else if (n > 32) {
		memcpy(p, s, n);
	} else if (n >= 4) {
		memcpy(p, s, 4);
		memcpy(p + n - 4, s + n - 4, 4);
	} else if (n) {
		p[0] = s[0];
		p[n / 2] = s[n / 2];
		p[n - 1] = s[n - 1];
	}
	return p + n;
}

static inline char *pb_bytes(char *p, unsigned field, const void *s, size_t n)
{
	p = pb_varint(pb_tag(p, field, PB_BYTES), n);
	return pb_copy(p, s, n);
}

/* Size of a field below 16 with n bytes. */
static inline size_t pb_size(size_t n)
{
	return 1 + pb_width(n) + n;
}

struct pb_open {
	size_t at;      /* of the first byte of the content */
	unsigned width; /* bytes kept free for the length */
};

/* `guess` = the length to expect: a wrong one costs a memmove of the message. */
static inline struct pb_open pb_open(struct buf *b, unsigned field, size_t guess)
{
	struct pb_open o = {0, pb_width(guess)};
	if (buf_reserve(b, PB_HEAD)) {
		char *p = pb_tag(b->p + b->n, field, PB_BYTES);
		b->n = o.at = (size_t)(p - b->p) + o.width;
	}
	return o;
}

static inline void pb_close(struct buf *b, struct pb_open o)
{
	if (b->failed || !buf_reserve(b, PB_HEAD))
		return;
	size_t n = b->n - o.at;
	unsigned width = pb_width(n);
	char *from = b->p + o.at, *len = from - o.width;
	if (width != o.width) {
		memmove(len + width, from, n);
		b->n = o.at - o.width + width + n;
	}
	pb_varint(len, n);
}

#endif
