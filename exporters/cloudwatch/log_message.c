/* What is sent: a line's message, a request's line, the name of the stream. */
#include "exporters/cloudwatch/cloudwatch.h"
#include "exporters/utf8.h"
#include "proto/http1.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

/* ---- messages ---- */

static bool has_ids(const struct line_meta *m)
{
	static const uint8_t zero[16];
	return memcmp(m->trace_id, zero, 16) != 0;
}

static void add(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

static void add_ids(struct buf *b, const struct line_meta *m, bool trace, bool span)
{
	static const char hex[] = "0123456789abcdef";
	char t[33] = {0}, s[17] = {0};
	for (int i = 0; i < 16; i++) {
		t[2 * i] = hex[m->trace_id[i] >> 4];
		t[2 * i + 1] = hex[m->trace_id[i] & 15];
	}
	for (int i = 0; i < 8; i++) {
		s[2 * i] = hex[m->span_id[i] >> 4];
		s[2 * i + 1] = hex[m->span_id[i] & 15];
	}
	if (trace) {
		add(b, "\"trace_id\":\"");
		add(b, t);
		add(b, span ? "\"," : "\"");
	}
	if (span) {
		add(b, "\"span_id\":\"");
		add(b, s);
		add(b, "\"");
	}
}

static void iso_time(char out[32], uint64_t ns)
{
	time_t t = (time_t)(ns / SECOND);
	struct tm tm;
	gmtime_r(&t, &tm);
	size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 32 - n, ".%03uZ", (unsigned)(ns / MS % 1000));
}

static void wrap(struct buf *b, const struct line_event *e, enum level level)
{
	char text[96], at[32];
	iso_time(at, e->meta.time_ns);
	snprintf(text, sizeof text, "{\"timestamp\":\"%s\",", at);
	add(b, text);
	if (level) {
		snprintf(text, sizeof text, "\"level\":\"%s\",", level_name(level));
		add(b, text);
	}
	add(b, "\"message\":\"");
	size_t from = b->n;
	json_escape(b, e->text.p, e->text.n);
	if (b->n - from > MESSAGE_MOST - 512) { /* cut, not within an escape: those are ASCII and begin with a backslash */
		size_t n = from + MESSAGE_MOST - 512;
		while (n > from && ((unsigned char)b->p[n] & 0xc0) == 0x80)
			n--;
		for (int i = 1; i <= 6 && n - (size_t)i > from; i++)
			if (b->p[n - (size_t)i] == '\\' && b->p[n - (size_t)i - 1] != '\\') {
				n -= (size_t)i;
				break;
			}
		size_t slashes = 0;
		while (n - slashes > from && b->p[n - slashes - 1] == '\\')
			slashes++;
		b->n = n - slashes % 2;
	}
	snprintf(text, sizeof text, "\",\"stream\":\"%s\",\"pid\":%d", e->fd == 1 ? "stdout" : e->fd == 2 ? "stderr"
	                                                                                                  : "access",
	         e->pid);
	add(b, text);
	if (has_ids(&e->meta)) {
		add(b, ",");
		add_ids(b, &e->meta, true, true);
	}
	add(b, "}");
}

void cloudwatch_compose(struct cloudwatch *c, const struct line_event *e, bool is_json, const struct json_line *j, enum level level)
{
	struct buf *b = &c->message;
	b->n = 0;
	if (is_json) {
		bool trace = has_ids(&e->meta) && !j->trace_id, span = has_ids(&e->meta) && !j->span_id;
		if (e->text.n > MESSAGE_MOST - 100)
			trace = span = false;
		utf8_add(b, e->text.p, trace || span ? j->close : e->text.n);
		if (trace || span) {
			add(b, j->empty ? "" : ",");
			add_ids(b, &e->meta, trace, span);
			utf8_add(b, e->text.p + j->close, e->text.n - j->close);
		}
	} else if (c->set->json) {
		wrap(b, e, level);
	} else {
		utf8_add(b, e->text.p, e->text.n);
	}
	if (b->n > MESSAGE_MOST) {
		size_t n = MESSAGE_MOST;
		while (n && ((unsigned char)b->p[n] & 0xc0) == 0x80)
			n--;
		b->n = n;
	}
}

/* "[2023-Mar-05 12:00] 127.0.0.1 GET http /api/activities/home? 200", as the reference application writes it */
void cloudwatch_access(struct cloudwatch *c, const struct arena *a, const struct rec_view *v)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	static const char *const methods[] = {NULL, "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
	const struct span_rec *r = v->rec;
	struct slice target = rec_str(v, REC_TARGET), other = rec_str(v, REC_METHOD);
	char text[4096], ip[INET6_ADDRSTRLEN] = "-";
	time_t t = (time_t)(r->start_ns / SECOND);
	struct tm tm;
	if (!gmtime_r(&t, &tm))
		return;
	if (r->peer.family)
		inet_ntop(r->peer.family == 6 ? AF_INET6 : AF_INET, r->peer.ip, ip, sizeof ip);
	const char *method = r->method && r->method <= HTTP1_PATCH ? methods[r->method] : NULL;
	int n = snprintf(text, sizeof text, "[%04d-%.3s-%02d %02d:%02d] %s %.*s %s %.*s%s %u", tm.tm_year + 1900,
	                 months + 3 * tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, ip,
	                 method ? (int)strlen(method) : (int)(other.n < 32 ? other.n : 32), method ? method : other.p ? other.p
	                                                                                                              : "",
	                 r->bits & REC_HTTPS ? "https" : "http", (int)(target.n < 3000 ? target.n : 3000),
	                 target.p ? target.p : "", target.n && memchr(target.p, '?', target.n) ? "" : "?", r->status);
	struct line_event e = {
		.text = {text, (uint32_t)n},
		.meta = {.time_ns = r->start_ns, .tid = r->tid},
		.arena = a,
		.pid = r->pid,
		.fd = 0,
		.level = r->status >= 500 || !r->status ? LEVEL_ERROR : r->status >= 400 ? LEVEL_WARN
	                                                                             : LEVEL_INFO,
	};
	memcpy(e.meta.trace_id, r->trace_id, 16);
	memcpy(e.meta.span_id, r->span_id, 8);
	cloudwatch_event(c, &e);
}

/* ---- the stream's name ---- */

static void root_of(const struct arena *a, int pid, char *out, size_t cap)
{
	char blob[8192];
	snprintf(out, cap, "unknown");
	for (unsigned i = 0; i < ARENA_PROCS; i++) {
		const struct arena_proc *p = &a->procs[i];
		if (p->pid != pid || !atomic_load(&p->used))
			continue;
		uint32_t n = arena_proc_blob(a, p, blob, sizeof blob);
		for (uint32_t k = 0; k < n; k += (uint32_t)strlen(blob + k) + 1)
			if (strncmp(blob + k, "exe=", 4) == 0) {
				const char *slash = strrchr(blob + k, '/');
				snprintf(out, cap, "%s", slash ? slash + 1 : blob + k + 4);
			}
		return;
	}
}

/* host/program/pid of the tree's root */
const char *cloudwatch_stream(struct cloudwatch *c, const struct arena *a, char text[513])
{
	char host[128] = "", program[128];
	if (c->set->stream)
		return c->set->stream;
	if (a == c->arena && *c->stream)
		return c->stream;
	gethostname(host, sizeof host - 1);
	root_of(a, a->root_pid, program, sizeof program);
	if (strcmp(program, "unknown") == 0 && a == c->arena) {
		const char *slash = strrchr(c->settings->host->program, '/');
		snprintf(program, sizeof program, "%.120s", slash ? slash + 1 : c->settings->host->program);
	}
	snprintf(text, 513, "%s/%s/%d", host, program, a->root_pid);
	for (char *p = text; *p; p++)
		if (*p == ':' || *p == '*' || (unsigned char)*p < 0x20)
			*p = '_';
	if (a == c->arena)
		snprintf(c->stream, sizeof c->stream, "%s", text);
	return text;
}
