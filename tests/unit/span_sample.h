/* Records made by hand, as the exporter sees them, and a look at what became of them. */
#ifndef SPAN_SAMPLE_H
#define SPAN_SAMPLE_H

#include "exporters/settings.h"
#include "exporters/span_attrs.h"
#include "proto/http1.h"
#include "unit.h"

struct sample {
	struct span_rec *rec;
	struct rec_view view;
};

static const struct settings no_limits = {.attr_count_limit = UINT32_MAX, .attr_length_limit = UINT32_MAX};

static inline void sample_set(struct sample *s, enum rec_tag tag, const char *p, size_t n)
{
	rec_set(&s->view, tag, (struct slice){p, (uint32_t)n});
}
#define SET(s, tag, lit) sample_set(s, tag, lit, sizeof(lit) - 1)

static inline struct rec_addr v4(uint32_t ip, uint16_t port)
{
	return (struct rec_addr){.ip = {ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255}, .port = port, .family = 4};
}

/* A usual request of this kind with a status of 200; eight may be in use. */
static inline struct sample sample_new(uint8_t kind)
{
	static union {
		char slot[SLOT_SIZE];
		uint64_t align;
	} ring[8];
	static unsigned turn;
	struct sample s = {(struct span_rec *)memset(&ring[turn++ % 8], 0, SLOT_SIZE), {0}};
	s.rec->kind = kind;
	s.rec->method = HTTP1_GET;
	s.rec->status = 200;
	s.rec->minor = 1;
	s.rec->pid = 4711;
	s.rec->trace_flags = 3;
	s.rec->start_ns = 1700000000000000000u;
	s.rec->end_ns = 1700000000010000000u;
	memcpy(s.rec->trace_id, "\x57\x59\xe9\x88\xbd\x86\x2e\x3f\xe1\xbe\x46\xa9\x94\x27\x27\x93", 16);
	memcpy(s.rec->span_id, "\x53\x99\x5c\x3f\x42\xcd\x8a\xd8", 8);
	s.rec->peer = v4(0xc0000209, 40000); /* 192.0.2.9 */
	s.rec->local = v4(0x7f000001, 8080);
	s.view.rec = s.rec;
	SET(&s, REC_TARGET, "/a/b?c=d");
	SET(&s, REC_HOST, "shop.test:8080");
	return s;
}

static inline const struct attr *attr_named(const struct attr *a, uint32_t n, const char *key)
{
	for (uint32_t i = 0; i < n; i++) {
		if (a[i].key_len != strlen(a[i].key))
			unit_fail(__FILE__, __LINE__, "key_len of %s is %u", a[i].key, a[i].key_len);
		if (strcmp(a[i].key, key) == 0)
			return &a[i];
	}
	return NULL;
}

/* As text: numbers in decimal, lists divided by '|'; NULL = not there. */
static inline const char *attr_text(const struct attr *list, uint32_t n, const char *key)
{
	static char ring[4][8192];
	static unsigned turn;
	const struct attr *a = attr_named(list, n, key);
	char *out = ring[turn++ % 4];
	if (!a)
		return NULL;
	if (a->type == ATTR_STRING) {
		if (strlen(a->str) != a->str_len || !utf8_valid(a->str, a->str_len))
			unit_fail(__FILE__, __LINE__, "%s is no text of %zu bytes", key, a->str_len);
		return a->str;
	}
	if (a->type == ATTR_INT) {
		snprintf(out, 32, "%lld", (long long)a->num);
		return out;
	}
	const char *p = a->str;
	char *o = out;
	for (uint32_t i = 0; i < a->n; i++, p += strlen(p) + 1)
		o += snprintf(o, (size_t)(out + 8192 - o), "%s%s", i ? "|" : "", p);
	if (p != a->str + a->str_len)
		unit_fail(__FILE__, __LINE__, "%s is a list of %zu bytes", key, a->str_len);
	return out;
}

#endif
