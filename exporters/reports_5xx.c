#include "exporters/reports_5xx.h"
#include "base/clock.h"
#include "exporters/local/local.h"
#include "exporters/span_url.h"
#include "exporters/utf8.h"
#include "proto/http1.h"
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING 64
#define LOGGED 32
#define TOLD 128
#define KINDS 128
#define HOUR_NS UINT64_C(3600000000000)
#define LOGGED_NS UINT64_C(60000000000) /* an answer may be long in coming */
#define PATH_MOST 200

struct failed {
	struct waiting {
		uint64_t due_ns;
		uint32_t suppressed;
		char *process; /* description, owned */
		uint32_t process_n;
		char kind[PATH_MOST + 64], fingerprint[41];
		struct request_copy request;
	} * waiting[WAITING]; /* oldest first */
	unsigned n;
	struct logged {
		struct report *report;
		uint64_t until_ns;
	} logged[LOGGED];
	unsigned next_logged;
	uint8_t told[TOLD][8];
	unsigned next_told;
	struct kind { /* so that a thousand a second are not a thousand looks at a file */
		uint64_t hash, since_ns;
		uint32_t sent, suppressed;
	} kinds[KINDS];
};

struct failed *failed_new(void)
{
	return calloc(1, sizeof(struct failed));
}

static void drop(struct waiting *w)
{
	free(w->process);
	free(w);
}

void failed_delete(struct failed *f)
{
	for (unsigned i = 0; f && i < f->n; i++)
		drop(f->waiting[i]);
	for (unsigned i = 0; f && i < LOGGED; i++)
		report_free(f->logged[i].report);
	free(f);
}

/* ---- which kind ---- */

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Numbers, UUIDs and hashes, handles and mail addresses; not "v1". */
static bool is_id(struct slice s)
{
	bool digits = s.n > 0, hex = s.n >= 8, any = false;
	for (uint32_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool digit = c >= '0' && c <= '9';
		any |= digit;
		digits &= digit;
		hex &= is_hex(c) || c == '-';
	}
	return digits || (hex && any) || s.n > 40 || (s.n && memchr(s.p, '@', s.n));
}

size_t failed_path(struct slice path, char *out, size_t cap)
{
	size_t n = 0;
	for (const char *p = path.p, *end = p + path.n; path.n && p < end;) {
		const char *slash = memchr(p, '/', (size_t)(end - p)), *e = slash ? slash : end;
		struct slice s = {p, (uint32_t)(e - p)};
		if (is_id(s))
			s = SLICE(":id");
		if (n + s.n + 1 > cap)
			break;
		memcpy(out + n, s.p, s.n);
		n += s.n;
		if (slash)
			out[n++] = '/';
		p = e + (slash != NULL);
	}
	return n;
}

static const char *method_of(const struct span_rec *r)
{
	static const char *const names[] = {"HTTP", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
	return names[r->method < sizeof names / sizeof *names ? r->method : 0];
}

/* "500 GET /orders/:id" */
static void name_kind(const struct request_copy *c, char out[PATH_MOST + 64])
{
	char path[PATH_MOST];
	struct slice route = request_str(c, REC_ROUTE);
	size_t n = route.n ? (route.n < sizeof path ? route.n : sizeof path)
	                   : failed_path(target_of(request_str(c, REC_TARGET), false).path, path, sizeof path);
	snprintf(out, PATH_MOST + 64, "%u %s %.*s", c->copy.rec.status, method_of(&c->copy.rec), (int)n, route.n ? route.p : path);
}

static struct kind *kind_of(struct failed *f, uint64_t hash, uint64_t now)
{
	struct kind *oldest = f->kinds;
	for (unsigned i = 0; i < KINDS; i++) {
		struct kind *k = &f->kinds[i];
		if (k->hash == hash) {
			if (now - k->since_ns >= HOUR_NS) {
				k->since_ns = now;
				k->sent = 0;
			}
			return k;
		}
		if (k->since_ns < oldest->since_ns)
			oldest = k;
	}
	*oldest = (struct kind){.hash = hash, .since_ns = now};
	return oldest;
}

/* ---- waiting ---- */

static bool was_told(const struct failed *f, const uint8_t id[8])
{
	for (unsigned i = 0; i < TOLD; i++)
		if (memcmp(f->told[i], id, 8) == 0)
			return true;
	return false;
}

void failed_told(struct failed *f, const uint8_t span_id[8])
{
	memcpy(f->told[f->next_told++ % TOLD], span_id, 8);
}

static void describe(struct waiting *w, const struct arena *a)
{
	uint16_t i = w->request.copy.rec.proc;
	if (i >= ARENA_PROCS || a->procs[i].pid != w->request.copy.rec.pid || !(w->process = malloc(8192)))
		return;
	w->process_n = arena_proc_blob(a, &a->procs[i], w->process, 8192);
}

void failed_saw(struct failed *f, const struct arena *a, uint32_t slot, uint64_t now)
{
	const struct span_rec *r = slot < arena_slots(a) ? arena_slot(a, slot) : NULL;
	unsigned char sum[SHA_DIGEST_LENGTH];
	uint64_t hash;
	if (!r || r->kind != SPAN_SERVER || r->status < 500)
		return;
	struct waiting *w = calloc(1, sizeof *w);
	if (!w || !request_copy_take(a, slot, &w->request) || w->request.copy.rec.kind != SPAN_SERVER || w->request.copy.rec.status < 500) {
		free(w);
		return;
	}
	name_kind(&w->request, w->kind);
	SHA1((const unsigned char *)w->kind, strlen(w->kind), sum);
	memcpy(&hash, sum, sizeof hash);
	struct kind *k = kind_of(f, hash, now);
	if (k->sent >= LIMIT_PER_HOUR || f->n == WAITING) {
		k->suppressed++;
		free(w);
		return;
	}
	k->sent++;
	w->suppressed = k->suppressed;
	k->suppressed = 0;
	for (int i = 0; i < SHA_DIGEST_LENGTH; i++)
		snprintf(w->fingerprint + 2 * i, 3, "%02x", sum[i]);
	describe(w, a);
	w->due_ns = now + FAILED_WAIT_NS;
	f->waiting[f->n++] = w;
}

void failed_offer(struct failed *f, struct report *r, uint64_t now)
{
	struct logged *l = &f->logged[f->next_logged++ % LOGGED];
	report_free(l->report);
	*l = (struct logged){r, now + LOGGED_NS};
}

/* ---- reports ---- */

static struct report *logged_of(struct failed *f, const struct span_rec *rec, uint64_t now)
{
	struct report *r = NULL;
	for (unsigned i = 0; i < LOGGED; i++) {
		struct logged *l = &f->logged[i];
		if (!l->report)
			continue;
		bool its = memcmp(l->report->span_id, rec->span_id, 8) == 0 && memcmp(l->report->trace_id, rec->trace_id, 16) == 0;
		if (!its && now < l->until_ns)
			continue;
		if (its && !r)
			r = l->report;
		else
			report_free(l->report);
		l->report = NULL;
	}
	return r;
}

static void set_process(struct report *r, const char *blob, uint32_t n)
{
	const char *all = n ? report_str(r, blob, n) : NULL;
	size_t count = 0, k = 0;
	for (uint32_t i = 0; all && i < n; i += (uint32_t)strlen(all + i) + 1)
		count += all[i] != 0;
	const char **list = all ? report_alloc(r, (count + 1) * sizeof *list) : NULL;
	for (uint32_t i = 0; list && i < n && k < count; i += (uint32_t)strlen(all + i) + 1)
		if (all[i])
			list[k++] = all + i;
	r->process = list;
}

/* What it is written in, as far as its program's name tells. */
static const char *language_of(const struct report *r)
{
	static const struct {
		const char *program, *language;
	} known[] = {{"python", "python"}, {"node", "javascript"}, {"java", "java"}, {"ruby", "ruby"}, {"php", "php"}, {"perl", "perl"}};
	for (const char *const *p = r->process; p && *p; p++) {
		const char *slash = strncmp(*p, "exe=", 4) == 0 ? strrchr(*p, '/') : NULL;
		for (size_t i = 0; slash && i < sizeof known / sizeof *known; i++)
			if (strncmp(slash + 1, known[i].program, strlen(known[i].program)) == 0)
				return known[i].language;
	}
	return "c";
}

static struct report *without_exception(const struct waiting *w)
{
	const struct span_rec *rec = &w->request.copy.rec;
	struct report *r = report_new(REPORT_REQUEST);
	struct buf title = {0};
	if (!r)
		return NULL;
	utf8_add(&title, w->kind, strlen(w->kind));
	r->title = report_str(r, title.p, title.n);
	buf_free(&title);
	r->level = "error";
	r->pid = rec->pid;
	r->tid = rec->tid;
	r->time_ns = rec->end_ns ? rec->end_ns : real_ns();
	memcpy(r->trace_id, rec->trace_id, 16);
	memcpy(r->span_id, rec->span_id, 8);
	memcpy(r->fingerprint, w->fingerprint, sizeof r->fingerprint);
	set_process(r, w->process, w->process_n);
	r->language = language_of(r);
	return r;
}

bool failed_take(struct failed *f, uint64_t now, bool all, struct failed_request *out)
{
	while (f->n && (all || f->waiting[0]->due_ns <= now)) {
		struct waiting *w = f->waiting[0];
		memmove(f->waiting, f->waiting + 1, --f->n * sizeof *f->waiting);
		struct report *r = NULL;
		if (!was_told(f, w->request.copy.rec.span_id)) {
			r = logged_of(f, &w->request.copy.rec, now);
			if (!r)
				r = without_exception(w);
		}
		out->report = r;
		out->request = w->request;
		out->suppressed = w->suppressed;
		drop(w);
		if (r)
			return true;
	}
	return false;
}

uint64_t failed_due(const struct failed *f)
{
	return f->n ? f->waiting[0]->due_ns : 0;
}
