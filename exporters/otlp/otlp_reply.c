/*
 * What a receiver answers: ExportTraceServiceResponse on success, google.rpc.Status on failure, of the request's
 * type; and anything at all when something else than an OTLP receiver is there.
 */
#include "exporters/otlp/otlp.h"
#include <cjson/cJSON.h>
#include <string.h>

#define DEPTH_MAX 32 /* cJSON goes into itself for each level, and our thread's stack is small */

/* Printable ASCII in one line: the text comes from outside and goes to a terminal. */
static void set_message(struct otlp_reply *out, const char *p, size_t n)
{
	size_t o = 0;
	for (size_t i = 0; i < n && o < sizeof out->message - 1; i++) {
		unsigned char c = (unsigned char)p[i];
		if (c == '\n' || c == '\t' || c == '\r')
			c = ' ';
		if (c == ' ' && (o == 0 || out->message[o - 1] == ' '))
			continue;
		if (c >= 0x80 && c < 0xc0) /* one mark per character, not per byte */
			continue;
		out->message[o++] = c >= ' ' && c < 0x7f ? (char)c : '?';
	}
	while (o && out->message[o - 1] == ' ')
		o--;
	out->message[o] = 0;
}

/* ---- protobuf ---- */

struct field {
	unsigned number, wire;
	uint64_t value; /* varints */
	const char *p;  /* bytes */
	size_t n;
};

struct reader {
	const char *p, *e;
	bool bad;
};

static uint64_t read_varint(struct reader *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64 && r->p < r->e; shift += 7) {
		unsigned char c = (unsigned char)*r->p++;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return v;
	}
	r->bad = true;
	return 0;
}

/* False: at the end, or bad. Groups are long gone from protobuf and count as bad. */
static bool next_field(struct reader *r, struct field *f)
{
	if (r->p == r->e || r->bad)
		return false;
	uint64_t tag = read_varint(r);
	*f = (struct field){.number = (unsigned)(tag >> 3), .wire = tag & 7};
	r->bad |= tag >> 3 == 0 || tag >> 3 > 0x1fffffff;
	switch (f->wire) {
	case 0:
		f->value = read_varint(r);
		break;
	case 1:
		f->n = 8;
		break;
	case 5:
		f->n = 4;
		break;
	case 2:
		f->n = read_varint(r);
		break;
	default:
		r->bad = true;
	}
	if (f->n > (size_t)(r->e - r->p))
		r->bad = true;
	if (r->bad)
		return false;
	f->p = r->p;
	r->p += f->n;
	return true;
}

static uint64_t count(uint64_t v)
{
	return v > INT64_MAX ? 0 : v; /* a negative int64 says nothing */
}

static bool parse_partial(const char *p, size_t n, struct otlp_reply *out)
{
	struct reader r = {p, p + n, false};
	struct field f;
	while (next_field(&r, &f)) {
		if (f.number == 1 && f.wire == 0)
			out->rejected = count(f.value);
		else if (f.number == 2 && f.wire == 2)
			set_message(out, f.p, f.n);
	}
	return !r.bad;
}

static bool parse_protobuf(bool success, const char *p, size_t n, struct otlp_reply *out)
{
	struct reader r = {p, p + n, false};
	struct field f;
	while (next_field(&r, &f)) {
		if (success && f.number == 1 && f.wire == 2 && !parse_partial(f.p, f.n, out))
			return false;
		if (!success && f.number == 2 && f.wire == 2)
			set_message(out, f.p, f.n);
	}
	return !r.bad;
}

/* ---- JSON ---- */

static bool too_deep(const char *p, size_t n)
{
	int depth = 0;
	for (size_t i = 0; i < n; i++) /* those in strings count too: messages have few */
		if (p[i] == '[' || p[i] == '{') {
			if (++depth > DEPTH_MAX)
				return true;
		} else if ((p[i] == ']' || p[i] == '}') && depth > 0) {
			depth--;
		}
	return false;
}

static uint64_t json_count(const cJSON *j)
{
	if (cJSON_IsNumber(j))
		return j->valuedouble > 0 ? j->valuedouble < 9e18 ? (uint64_t)j->valuedouble : INT64_MAX : 0;
	uint64_t v = 0;
	if (!cJSON_IsString(j) || !*j->valuestring)
		return 0;
	for (const char *p = j->valuestring; *p; p++) {
		if (*p < '0' || *p > '9')
			return 0;
		if (v > (INT64_MAX - 9) / 10)
			return INT64_MAX;
		v = v * 10 + (uint64_t)(*p - '0');
	}
	return v;
}

static bool parse_json(bool success, const char *p, size_t n, struct otlp_reply *out)
{
	cJSON *root = too_deep(p, n) ? NULL : cJSON_ParseWithLength(p, n);
	if (!root)
		return false;
	const cJSON *from = success ? cJSON_GetObjectItemCaseSensitive(root, "partialSuccess") : root;
	out->rejected = success ? json_count(cJSON_GetObjectItemCaseSensitive(from, "rejectedSpans")) : 0;
	const cJSON *m = cJSON_GetObjectItemCaseSensitive(from, success ? "errorMessage" : "message");
	if (cJSON_IsString(m))
		set_message(out, m->valuestring, strlen(m->valuestring));
	bool object = cJSON_IsObject(root);
	cJSON_Delete(root);
	return object;
}

/* ---- */

/* "404 page not found", or the beginning of a proxy's page: better than nothing in the log. */
static bool is_text(const char *p, size_t n)
{
	for (size_t i = 0; i < n && i < 64; i++) {
		unsigned char c = (unsigned char)p[i];
		if (c == 0x7f || (c < ' ' && c != '\n' && c != '\r' && c != '\t'))
			return false;
	}
	return true;
}

void otlp_reply_parse(bool json, bool success, const char *body, size_t n, struct otlp_reply *out)
{
	*out = (struct otlp_reply){0};
	if (n == 0)
		return;
	if (!(json ? parse_json(success, body, n, out) : parse_protobuf(success, body, n, out)))
		*out = (struct otlp_reply){0};
	if (!success && !out->message[0] && is_text(body, n))
		set_message(out, body, n);
}
