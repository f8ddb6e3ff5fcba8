/* JSON as it is appended to a buffer: a comma where one is due, strings that are valid UTF-8 already. */
#ifndef REMORA_XRAY_JSON_H
#define REMORA_XRAY_JSON_H

#include "base/slice.h"
#include "exporters/buf.h"
#include <stdint.h>
#include <string.h>

struct json {
	struct buf *b;
	bool comma; /* before the next member */
};

static inline void j_raw(struct json *j, const char *p, size_t n)
{
	buf_add(j->b, p, n);
}

static inline void j_quoted(struct json *j, const char *p, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	j_raw(j, "\"", 1);
	for (size_t from = 0, i = 0; i <= n; i++) {
		unsigned char c = i < n ? (unsigned char)p[i] : '"';
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		j_raw(j, p + from, i - from);
		from = i + 1;
		if (i == n)
			break;
		if (c < 0x20)
			j_raw(j, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
		else
			j_raw(j, (char[]){'\\', (char)c}, 2);
	}
	j_raw(j, "\"", 1);
}

static inline void j_key(struct json *j, const char *key)
{
	if (j->comma)
		j_raw(j, ",", 1);
	j->comma = true;
	if (key) {
		j_quoted(j, key, strlen(key));
		j_raw(j, ":", 1);
	}
}

/* `bracket` is '{' or '['. A NULL key is an element of a list. */
static inline void j_open(struct json *j, const char *key, char bracket)
{
	j_key(j, key);
	j_raw(j, &bracket, 1);
	j->comma = false;
}

static inline void j_close(struct json *j, char bracket)
{
	j_raw(j, &bracket, 1);
	j->comma = true;
}

static inline void j_text(struct json *j, const char *key, struct slice s)
{
	j_key(j, key);
	j_quoted(j, s.p, s.n);
}

static inline void j_bool(struct json *j, const char *key, bool v)
{
	j_key(j, key);
	j_raw(j, v ? "true" : "false", v ? 4 : 5);
}

static inline void j_unsigned(struct json *j, uint64_t v, unsigned digits)
{
	char text[20], *e = text + sizeof text, *p = e;
	do
		*--p = (char)('0' + v % 10);
	while ((v /= 10) || (unsigned)(e - p) < digits);
	j_raw(j, p, (size_t)(e - p));
}

static inline void j_int(struct json *j, const char *key, int64_t v)
{
	j_key(j, key);
	if (v < 0)
		j_raw(j, "-", 1);
	j_unsigned(j, v < 0 ? -(uint64_t)v : (uint64_t)v, 1);
}

/* Seconds with six decimals: a double holds no more of today's time. */
static inline void j_time(struct json *j, const char *key, uint64_t ns)
{
	j_key(j, key);
	j_unsigned(j, ns / 1000000000u, 1);
	j_raw(j, ".", 1);
	j_unsigned(j, ns % 1000000000u / 1000, 6);
}

static inline void j_hex(struct json *j, const uint8_t *p, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++)
		j_raw(j, (char[]){hex[p[i] >> 4], hex[p[i] & 15]}, 2);
}

static inline void j_id(struct json *j, const char *key, const uint8_t id[8])
{
	j_key(j, key);
	j_raw(j, "\"", 1);
	j_hex(j, id, 8);
	j_raw(j, "\"", 1);
}

#endif
