#include "exporters/cloudwatch/cloudwatch.h"
#include "base/clock.h"
#include "exporters/log.h"
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define BYTES_MOST (8 * 1024 * 1024) /* of batches; what lies in records is bounded by slots besides */
#define GONE_FAILS 8

/* ---- holds ---- */

static void unref(void *ctx, struct hold *h)
{
	struct cloudwatch *c = ctx;
	if (--h->refs)
		return;
	c->weight -= h->weight;
	if (h->weight)
		c->owner.release(c->owner.ctx, h->source, h->slot);
	free(h);
}

void cloudwatch_let_go(struct cloudwatch *c, struct log_event *e)
{
	for (struct hold *h = e->first, *next; h; h = next) {
		next = h == e->last ? NULL : h->next;
		if (h->weight)
			c->owner.delivered(c->owner.ctx, h->source, h->slot, next ? h->len : e->end);
		unref(c, h);
	}
	e->first = e->last = NULL;
}

void cloudwatch_pop(struct cloudwatch *c, uint32_t lost)
{
	struct log_batch *b = c->head;
	for (uint32_t i = 0; i < b->n; i++)
		cloudwatch_let_go(c, &b->events[i]);
	c->sent += b->n - lost;
	c->dropped += lost;
	arena_count(c->arena, COUNT_LINES_SENT, b->n - lost);
	arena_count(c->arena, COUNT_DROP_LINES, lost);
	c->bytes -= b->bytes;
	c->head = b->next;
	if (!c->head)
		c->tail = NULL;
	log_batch_free(b);
}

/* ---- filters ---- */

/* By our clock: what a record says of its time may be anything. */
static bool over_rate(struct cloudwatch *c)
{
	uint64_t now = mono_ns();
	if (!c->set->rate)
		return false;
	c->tokens += c->rate_ns ? (double)(now - c->rate_ns) / 1e9 * c->set->rate : c->set->rate;
	c->rate_ns = now;
	if (c->tokens > c->set->rate)
		c->tokens = c->set->rate;
	if (c->tokens < 1)
		return true;
	c->tokens--;
	return false;
}

/* ---- events ---- */

static bool put(struct cloudwatch *c, const char *stream, const struct log_event *e)
{
	uint64_t now = mono_ns();
	struct log_batch *b = c->tail;
	if (c->bytes > BYTES_MOST)
		return false;
	if (!b || (c->head == b && c->kind) || strcmp(b->stream, stream) != 0 || !log_batch_takes(b, e->ns, c->message.n)) {
		b = log_batch_new(stream, now);
		if (!b)
			return false;
		if (c->tail)
			c->tail->next = b;
		else
			c->head = b;
		c->tail = b;
	}
	if (!log_batch_add(b, e, c->message.p, c->message.n))
		return false;
	c->bytes += c->message.n + BATCH_EACH;
	return true;
}

void cloudwatch_event(void *ctx, const struct line_event *e)
{
	struct cloudwatch *c = ctx;
	struct json_line j = {0};
	char stream[513];
	bool is_json = json_line_read(e->text, &j);
	enum level level = e->level ? (enum level)e->level : is_json ? j.level
	                                                             : level_guess(e->text);
	struct log_event out = {.ns = e->meta.time_ns, .first = e->first, .last = e->last, .end = e->end};
	if (e->error && level < LEVEL_ERROR)
		level = LEVEL_ERROR;
	arena_count(c->arena, COUNT_LINES, 1);
	if ((level && (int)level < c->set->level) || over_rate(c)) {
		c->filtered++;
		arena_count(c->arena, COUNT_LINES_FILTERED, 1);
		cloudwatch_let_go(c, &out);
		return;
	}
	cloudwatch_compose(c, e, is_json, &j, level);
	if (!out.ns)
		out.ns = real_ns();
	if (c->message.failed || !c->message.n || !put(c, cloudwatch_stream(c, e->arena, stream), &out)) {
		if (c->message.failed)
			buf_free(&c->message);
		c->dropped++;
		arena_count(c->arena, COUNT_DROP_LINES, 1);
		cloudwatch_let_go(c, &out);
	}
	if (c->message.cap > 65536)
		buf_free(&c->message);
}

static bool alive(void *ctx, const void *arena, int32_t pid)
{
	const struct arena *a = arena;
	struct cloudwatch *c = ctx;
	if (a != c->arena)
		return false;
	for (unsigned i = 0; i < ARENA_PROCS; i++)
		if (a->procs[i].pid == pid && atomic_load(&a->procs[i].used))
			return proc_alive(pid, a->procs[i].start);
	return proc_alive(pid, 0);
}

static uint32_t lines_in(struct slice s)
{
	uint32_t n = 0;
	for (const char *p = s.p, *end = p + s.n; (p = memchr(p, '\n', (size_t)(end - p))); p++)
		n++;
	return n ? n : 1;
}

bool cloudwatch_text(struct cloudwatch *c, const struct arena *a, uint32_t source, uint32_t slot, const struct rec_view *v,
                     uint64_t now)
{
	struct slice text = rec_str(v, REC_TEXT);
	uint64_t done = v->rec->req_size;
	struct lines_in in = {
		.arena = a,
		.pid = v->rec->pid,
		.fd = v->rec->err_no == 1 ? 1 : 2,
		.from = done < text.n ? (uint32_t)done : text.n,
		.merged = v->rec->bits & REC_MERGED,
		.gap = v->rec->bits & REC_GAP,
		.meta = {.time_ns = v->rec->start_ns, .tid = v->rec->tid},
		.now = now,
	};
	struct hold *h = NULL;
	memcpy(in.meta.trace_id, v->rec->trace_id, 16);
	memcpy(in.meta.span_id, v->rec->span_id, 8);
	text.p += in.from;
	text.n -= in.from;
	if (!text.n)
		return false;
	bool copy = c->weight > c->slots;
	if (c->bytes <= BYTES_MOST)
		h = calloc(1, sizeof *h);
	if (!h) {
		uint32_t n = lines_in(text);
		c->dropped += n;
		arena_count(c->arena, COUNT_DROP_LINES, n);
		in.gap = true;
		lines_add(c->lines, &in);
		return false;
	}
	*h = (struct hold){.refs = 2, .slot = slot, .source = source, .len = in.from + text.n, .weight = copy ? 0 : rec_slots(v->rec)};
	c->weight += h->weight;
	in.text = text;
	in.hold = h;
	lines_add(c->lines, &in);
	h->refs--;
	unref(c, h); /* may release it at once, which the owner expects */
	return !copy;
}

void cloudwatch_span(struct cloudwatch *c, const struct arena *a, const struct rec_view *v, const char *service, uint64_t now)
{
	const struct span_rec *r = v->rec;
	if (r->kind != SPAN_SERVER)
		return;
	if (c->set->access)
		cloudwatch_access(c, a, v);
	if (c->set->emf)
		emf_add(&c->emf, service, r->end_ns > r->start_ns ? r->end_ns - r->start_ns : 0, r->status >= 500 || r->error, now);
}

static void metrics(struct cloudwatch *c)
{
	struct log_event e = {.ns = real_ns()};
	char stream[513];
	for (c->message.n = 0; emf_take(&c->emf, e.ns / MS, &c->message); c->message.n = 0) {
		arena_count(c->arena, COUNT_LINES, 1);
		if (!c->message.failed && put(c, cloudwatch_stream(c, c->arena, stream), &e))
			continue;
		c->dropped++;
		arena_count(c->arena, COUNT_DROP_LINES, 1);
	}
}

bool cloudwatch_wants_spans(const struct cloudwatch *c)
{
	return c->set->access || c->set->emf;
}

/* ---- life ---- */

struct cloudwatch *cloudwatch_new(const struct settings *s, struct http *h, struct credentials *keys, const struct arena *a,
                                  uint32_t slots, const struct cloudwatch_owner *owner)
{
	struct cloudwatch *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	*c = (struct cloudwatch){.settings = s, .set = &s->cloudwatch, .http = h, .arena = (struct arena *)(uintptr_t)a};
	c->slots = slots / 4;
	c->owner = *owner;
	c->service = (struct aws_service){.name = "logs", .own = c->set->url, .credentials = keys};
	c->lines = lines_new(&(struct lines_events){.event = cloudwatch_event, .unref = unref, .alive = alive, .ctx = c});
	/* Now, while the file is surely there. */
	if ((!c->set->url || strncmp(c->set->url, "https:", 6) == 0) && !http_load(h, settings_get(s->host, "AWS_CA_BUNDLE"), true))
		log_warn("no certificate authorities found for CloudWatch Logs: set SSL_CERT_FILE or AWS_CA_BUNDLE");
	if (c->lines)
		return c;
	cloudwatch_delete(c);
	return NULL;
}

static void keep(void *ctx, uint32_t source, uint32_t slot)
{
	(void)ctx;
	(void)source;
	(void)slot;
}

static void keep_bytes(void *ctx, uint32_t source, uint32_t slot, uint32_t bytes)
{
	(void)bytes;
	keep(ctx, source, slot);
}

void cloudwatch_delete(struct cloudwatch *c)
{
	if (!c)
		return;
	uint32_t lost = 0; /* copies */
	log_send_free(c);
	c->owner = (struct cloudwatch_owner){keep, keep_bytes, NULL};
	lines_delete(c->lines);
	while (c->head) {
		struct log_batch *b = c->head;
		for (uint32_t i = 0; i < b->n; i++) {
			lost += !b->events[i].last || !b->events[i].last->weight;
			cloudwatch_let_go(c, &b->events[i]);
		}
		c->head = b->next;
		log_batch_free(b);
	}
	if (lost) {
		arena_count(c->arena, COUNT_DROP_LINES, lost);
		log_warn("cloudwatch: %u lines are lost: they could not be delivered before the program's end", lost);
	}
	buf_free(&c->message);
	free(c);
}

bool cloudwatch_room(const struct cloudwatch *c)
{
	return c->weight <= c->slots && c->bytes <= BYTES_MOST / 2;
}

void cloudwatch_turn(struct cloudwatch *c, uint64_t now, bool flush)
{
	lines_tick(c->lines, now);
	if (c->emf.due_ns && now >= c->emf.due_ns)
		metrics(c);
	if (flush)
		lines_flush(c->lines, 0);
	credentials_turn(c->service.credentials, now);
	log_send_pump(c, now, flush);
}

void cloudwatch_stop(struct cloudwatch *c, int32_t pid)
{
	lines_flush(c->lines, pid);
	if (c->emf.due_ns)
		metrics(c);
}

void cloudwatch_end(struct cloudwatch *c, const struct arena *a)
{
	lines_end(c->lines, a);
}

static void sooner(uint64_t *due, uint64_t at)
{
	if (at && (!*due || at < *due))
		*due = at;
}

uint64_t cloudwatch_due(struct cloudwatch *c)
{
	uint64_t due = lines_due(c->lines);
	sooner(&due, c->emf.due_ns);
	if (c->head || due) /* else nobody needs keys: no reason to wake */
		sooner(&due, credentials_due(c->service.credentials));
	if (c->head && !c->call) {
		uint64_t at = c->head->since_ns + c->set->delay_ns;
		if (aws_service_known(&c->service))
			sooner(&due, at > c->not_before_ns ? at : c->not_before_ns);
	}
	return due;
}

void cloudwatch_flush_begins(struct cloudwatch *c)
{
	c->flush_failed = false;
}

bool cloudwatch_flushed(const struct cloudwatch *c, uint64_t now)
{
	struct aws_keys keys;
	if (c->call)
		return false;
	if (!c->head || c->flush_failed || (c->told_when && now < c->not_before_ns))
		return true;
	return !credentials_keys(c->service.credentials, &keys) && credentials_hopeless(c->service.credentials);
}

bool cloudwatch_idle(const struct cloudwatch *c)
{
	struct aws_keys keys;
	return !c->call && (!c->head || c->fails >= GONE_FAILS ||
	                    (!credentials_keys(c->service.credentials, &keys) && credentials_hopeless(c->service.credentials)));
}

bool cloudwatch_waits(const struct cloudwatch *c)
{
	return c->head || lines_due(c->lines);
}

void cloudwatch_report(const struct cloudwatch *c)
{
	log_debug("cloudwatch: sent %llu lines, dropped %llu, filtered %llu; %u slots held", (unsigned long long)c->sent,
	          (unsigned long long)c->dropped, (unsigned long long)c->filtered, c->weight);
}
