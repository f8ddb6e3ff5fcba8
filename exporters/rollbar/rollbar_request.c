/* Of an item: the request, its person, and the timeline before it. */
#include "exporters/rollbar/rollbar_put.h"
#include "exporters/errors/making.h"
#include "exporters/span_url.h"
#include "exporters/sql_summary.h"
#include "exporters/utf8.h"
#include "proto/db.h"
#include "proto/head_field.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *method_of(const struct span_copy *c, char text[64])
{
	static const char *const names[] = {"", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
	if (c->rec.method && c->rec.method < sizeof names / sizeof *names)
		return names[c->rec.method];
	struct slice s = span_copy_str(c, REC_METHOD);
	snprintf(text, 64, "%.*s", (int)(s.n < 63 ? s.n : 63), s.p ? s.p : "");
	return *text ? text : "HTTP";
}

static bool address(const struct rec_addr *a, char *out, size_t cap)
{
	return (a->family == 4 && inet_ntop(AF_INET, a->ip, out, (socklen_t)cap)) ||
	       (a->family == 6 && inet_ntop(AF_INET6, a->ip, out, (socklen_t)cap));
}

static char *url_of(const struct span_copy *c, struct slice target, struct slice host)
{
	char ip[INET6_ADDRSTRLEN + 8] = "", peer[INET6_ADDRSTRLEN] = "", *out = NULL;
	struct target t = target_of(target, c->rec.method == HTTP1_CONNECT);
	const struct rec_addr *a = c->rec.kind == SPAN_SERVER ? &c->rec.local : &c->rec.peer;
	int r;
	if (t.scheme.n)
		return strndup(target.p, target.n);
	if (!host.n && address(a, peer, sizeof peer)) {
		snprintf(ip, sizeof ip, a->family == 6 ? "[%s]:%u" : "%s:%u", peer, a->port);
		host = (struct slice){ip, (uint32_t)strlen(ip)};
	}
	if (t.authority.n)
		r = asprintf(&out, "%.*s", (int)t.authority.n, t.authority.p);
	else
		r = asprintf(&out, "%s://%.*s%.*s", c->rec.bits & REC_HTTPS ? "https" : "http", (int)host.n, host.p ? host.p : "",
		             (int)target.n, target.p ? target.p : "");
	return r < 0 ? NULL : out;
}

static void add_query(cJSON *request, struct slice query)
{
	cJSON *get = NULL;
	item_slice(request, "query_string", query);
	const char *p = query.p, *end = p + query.n;
	for (int i = 0; query.n && p < end && i < 64; i++) {
		const char *amp = memchr(p, '&', (size_t)(end - p)), *e = amp ? amp : end;
		const char *eq = memchr(p, '=', (size_t)(e - p)), *name_end = eq ? eq : e;
		char *name = item_clean(p, (size_t)(name_end - p), 200), *value = item_clean(eq ? eq + 1 : e, eq ? (size_t)(e - eq - 1) : 0, 1000);
		if (!get)
			get = cJSON_AddObjectToObject(request, "GET");
		if (name && value && *name && !cJSON_GetObjectItemCaseSensitive(get, name))
			cJSON_AddStringToObject(get, name, value);
		free(name);
		free(value);
		p = e + 1;
	}
}

/* "name: value" lines. */
static void add_headers(cJSON *headers, struct slice lines)
{
	for (unsigned i = 0; lines.n && i < HEADERS_MOST; i++) {
		struct slice line = slice_next(&lines, '\n'), name = slice_next(&line, ':');
		char *key = item_clean(name.p, name.n, HEADER_NAME_MOST);
		size_t n = 0;
		char *value = scrub(slice_trim(line), true, &n);
		if (key && *key && value && !cJSON_GetObjectItem(headers, key))
			item_slice(headers, key, (struct slice){value, (uint32_t)n});
		free(key);
		free(value);
	}
}

/* As much of it as is wanted. */
static void add_ip(cJSON *request, struct slice text, enum capture_ip how)
{
	unsigned char ip[16];
	char plain[INET6_ADDRSTRLEN];
	if (how == IP_NONE || !text.n)
		return;
	if (how == IP_WHOLE) {
		item_slice(request, "user_ip", text);
		return;
	}
	snprintf(plain, sizeof plain, "%.*s", (int)text.n, text.p);
	if (inet_pton(AF_INET, plain, ip) == 1) {
		ip[3] = 0;
		inet_ntop(AF_INET, ip, plain, sizeof plain);
	} else if (inet_pton(AF_INET6, plain, ip) == 1) {
		memset(ip + 6, 0, 10);
		inet_ntop(AF_INET6, ip, plain, sizeof plain);
	} else {
		return;
	}
	item_put(request, "user_ip", plain);
}

/* An id is at most 40 characters; a longer one is told whole beside it. */
static void add_person(cJSON *data, struct slice user)
{
	char *id = user.n ? item_clean(user.p, user.n, 255) : NULL;
	cJSON *o = id ? cJSON_AddObjectToObject(data, "person") : NULL;
	if (o) {
		item_most(o, "id", id, 40);
		if (utf8_prefix(id, strlen(id), 40) != strlen(id))
			item_put(o, "username", id);
	}
	free(id);
}

void rollbar_put_request(cJSON *data, const struct item_facts *f)
{
	const struct request_copy *q = f->request;
	const struct span_copy *c = &q->copy;
	char text[64], ip[INET6_ADDRSTRLEN];
	struct target t = target_of(request_str(q, REC_TARGET), false);
	struct slice route = request_str(q, REC_ROUTE), where = route.n ? route : t.path;
	const char *method = method_of(c, text);
	char *context = NULL, *url = url_of(c, request_str(q, REC_TARGET), request_str(q, REC_HOST));
	if (asprintf(&context, "%s %.*s", method, (int)where.n, where.p ? where.p : "") >= 0)
		item_most(data, "context", context, 255);
	free(context);
	cJSON *o = cJSON_AddObjectToObject(data, "request"), *headers;
	item_put(o, "url", url);
	free(url);
	item_put(o, "method", method);
	headers = cJSON_AddObjectToObject(o, "headers");
	item_slice(headers, "Host", request_str(q, REC_HOST));
	item_slice(headers, "User-Agent", request_str(q, REC_USER_AGENT));
	add_headers(headers, request_str(q, REC_HEADERS));
	add_query(o, t.query);
	struct slice client = request_str(q, REC_CLIENT_ADDR);
	if (!client.n && address(&c->rec.peer, ip, sizeof ip))
		client = (struct slice){ip, (uint32_t)strlen(ip)};
	add_ip(o, client, f->set->capture_ip);
	add_person(data, request_str(q, REC_USER));
}

/* ---- the timeline ---- */

static unsigned long long milliseconds(const struct span_rec *r)
{
	return r->end_ns > r->start_ns ? (r->end_ns - r->start_ns) / 1000000 : 0;
}

/* "SELECT users"; only of the text that the copy has, and of that no half word. */
static void query_name(const struct span_copy *c, char out[SQL_SUMMARY_MAX + 1])
{
	static const char *const systems[DB_SYSTEM_MAX] = {"database", "postgresql", "mysql", "mariadb"};
	struct slice text = span_copy_str(c, REC_QUERY);
	if (text.n && (c->rec.var_len > REC_VAR_FIRST || c->rec.bits & REC_CUT))
		while (text.n && text.p[text.n - 1] != ' ')
			text.n--;
	size_t n = !text.n || c->rec.minor == REC_DB_LOGIN ? 0 : sql_summary(text, out, SQL_SUMMARY_MAX);
	out[n] = 0;
	if (!n)
		snprintf(out, SQL_SUMMARY_MAX + 1, "%s%s", systems[c->rec.method < DB_SYSTEM_MAX ? c->rec.method : 0],
		         c->rec.minor == REC_DB_LOGIN ? " login" : "");
}

static void add_query_entry(cJSON *o, const struct span_copy *c)
{
	char name[SQL_SUMMARY_MAX + 1], *line = NULL;
	const struct span_rec *r = &c->rec;
	struct slice status = span_copy_str(c, REC_DB_STATUS);
	const char *word = r->error == ERR_NONE ? NULL : rec_error_name(r->error, r->err_no);
	query_name(c, name);
	item_put(o, "level", word || status.n ? "error" : "info");
	item_put(o, "type", "manual");
	item_put(o, "source", "server");
	item_number(o, "timestamp_ms", (double)(r->start_ns / 1000000));
	if (!status.n && word)
		status = (struct slice){word, (uint32_t)strlen(word)};
	int n = r->end_ns ? asprintf(&line, "%s: %.*s%s%llu ms", name, (int)status.n, status.n ? status.p : "", status.n ? ", " : "", milliseconds(r))
	                  : asprintf(&line, "%s: no answer", name);
	if (n >= 0)
		item_put(cJSON_AddObjectToObject(o, "body"), "message", line);
	free(line);
}

static const char *level_of(const struct span_copy *c)
{
	if (c->rec.error != ERR_NONE || c->rec.status >= 500)
		return "error";
	return c->rec.status >= 400 ? "warning" : "info";
}

static void add_span(cJSON *list, const struct span_copy *c)
{
	const struct span_rec *r = &c->rec;
	char text[64], status[16];
	const char *error = r->error == ERR_NONE ? NULL : rec_error_name(r->error, r->err_no);
	cJSON *o = cJSON_CreateObject(), *body;
	double start = (double)(r->start_ns / 1000000), end = (double)(r->end_ns / 1000000);
	cJSON_AddItemToArray(list, o);
	if (r->kind == SPAN_TEXT) {
		size_t n = 0;
		char *line = scrub(span_copy_text(c), true, &n);
		item_put(o, "level", r->err_no == 2 ? "warning" : "info");
		item_put(o, "type", "log");
		item_put(o, "source", "server");
		item_number(o, "timestamp_ms", start);
		body = cJSON_AddObjectToObject(o, "body");
		if (n)
			item_slice(body, "message", (struct slice){line, (uint32_t)n});
		else
			cJSON_AddStringToObject(body, "message", "");
		free(line);
		return;
	}
	if (r->kind == SPAN_DB) {
		add_query_entry(o, c);
		return;
	}
	item_put(o, "level", level_of(c));
	item_put(o, "type", r->kind == SPAN_SERVER ? "manual" : "network");
	item_put(o, "source", "server");
	item_number(o, "timestamp_ms", start);
	body = cJSON_AddObjectToObject(o, "body");
	snprintf(status, sizeof status, "%u", r->status);
	if (r->kind == SPAN_SERVER) { /* a network entry is a call that was made; this one was answered */
		char *line = NULL;
		struct target t = target_of(span_copy_str(c, REC_TARGET), false);
		if (asprintf(&line, "answered %s %.*s: %s, %llu ms", method_of(c, text), (int)t.path.n, t.path.p ? t.path.p : "",
		             error ? error : r->status ? status
		                                       : "no status",
		             milliseconds(r)) >= 0)
			item_put(body, "message", line);
		free(line);
	} else {
		char *url = url_of(c, span_copy_str(c, REC_TARGET), span_copy_str(c, REC_HOST));
		item_put(body, "subtype", "http");
		item_put(body, "method", r->kind == SPAN_CONNECT ? "CONNECT" : method_of(c, text));
		item_put(body, "url", url);
		item_put(body, "status_code", r->status ? status : error ? error
		                                                         : "0");
		item_number(body, "start_timestamp_ms", start);
		if (r->end_ns)
			item_number(body, "end_timestamp_ms", end);
		free(url);
	}
}

static int by_start(const void *a, const void *b)
{
	uint64_t x = (*(const struct span_copy *const *)a)->rec.start_ns, y = (*(const struct span_copy *const *)b)->rec.start_ns;
	return x < y ? -1 : x > y;
}

/* The lines that the report was made of tell nothing more. */
static bool is_own_text(const struct report *r, const struct span_copy *c)
{
	struct slice s = c->rec.kind == SPAN_TEXT ? span_copy_text(c) : (struct slice){NULL, 0};
	return s.n && r->text && memmem(r->text, strlen(r->text), s.p, s.n);
}

void rollbar_put_telemetry(cJSON *data, const struct report *r, const struct item_facts *f)
{
	const struct span_copy *use[ROLLBAR_TELEMETRY_MOST];
	unsigned n = 0;
	/* The pid may have been another program's before. */
	uint64_t since = r->head && r->head->up_ns < r->head->time_ns ? r->head->time_ns - r->head->up_ns : 0;
	for (unsigned i = 0; i < f->n_recent && n < ROLLBAR_TELEMETRY_MOST; i++)
		if (f->recent[i]->rec.start_ns + UINT64_C(1000000000) >= since && !is_own_text(r, f->recent[i]))
			use[n++] = f->recent[i];
	if (!n)
		return;
	qsort(use, n, sizeof *use, by_start);
	/* Beside the body, as Rollbar's SDKs send it. */
	cJSON *list = cJSON_AddArrayToObject(cJSON_GetObjectItemCaseSensitive(data, "body"), "telemetry");
	for (unsigned i = 0; i < n; i++)
		add_span(list, use[i]);
}
