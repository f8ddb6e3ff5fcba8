/* Transactions and their records: start, end, failed connects. */
#include "base/hot.h"
#include "base/clock.h"
#include "config.h"
#include "base/pool.h"
#include "proto/redact.h"
#include "span/process.h"
#include "span/span_private.h"

#define HOLD_NS 500000000u     /* how long a failed connect waits for another address to succeed */
#define ATTEMPT_NS 5000000000u /* addresses tried further apart belong to different attempts */

static struct pool txns = POOL(sizeof(struct txn), 64 * 1024, 16 << 20);

static _Atomic uint32_t ended; /* fork_gen + 1 of the process in which span_exit has told of all that was open */

bool span_ended(void)
{
	return atomic_load_explicit(&ended, memory_order_relaxed) == process.fork_gen + 1;
}

HOT struct span_rec *txn_record(const struct txn *t)
{
	struct arena *a = atomic_load_explicit(&process.arena, memory_order_relaxed);
	if (t->slot == SLOT_NONE || t->fork_gen != process.fork_gen || !a || span_ended())
		return NULL;
	struct span_rec *r = arena_slot(a, t->slot);
	/* Whoever shares the arena may have scribbled, or span_exit was here. */
	return atomic_load_explicit(&r->state, memory_order_relaxed) == SLOT_OPEN &&
	               memcmp(r->span_id, t->span_id, sizeof t->span_id) == 0
	           ? r
	           : NULL;
}

/* Its end is told once: by its thread, or by the thread that ends the process. */
static bool claim(struct span_rec *r, uint64_t end_ns)
{
	uint64_t none = 0;
	return __atomic_compare_exchange_n(&r->end_ns, &none, end_ns, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Server requests are counted by context.c. */
static void open_less(uint8_t kind)
{
	if (kind != SPAN_SERVER)
		atomic_fetch_sub_explicit(&process.open_spans, 1, memory_order_relaxed);
}

HOT static struct span_rec *record_open(uint8_t kind, const struct span_ctx *c, uint64_t start_ns)
{
	struct arena *a = span_ended() ? NULL : process_arena();
	if (!a)
		return NULL;
	/* Counted before: behind the stores to a slot that another core had last, a locked add waits for all of them. */
	if (kind != SPAN_SERVER)
		atomic_fetch_add_explicit(&process.open_spans, 1, memory_order_relaxed);
	struct span_rec *r = arena_open(a, process.pid);
	if (!r) {
		open_less(kind);
		return NULL;
	}
	r->tid = thread_id(&thread_self);
	r->proc = process_index(a);
	r->kind = kind;
	r->trace_flags = c->flags;
	memcpy(r->trace_id, c->trace_id, 16);
	memcpy(r->span_id, c->span_id, 8);
	memcpy(r->parent_id, c->parent_id, 8);
	r->start_ns = start_ns;
	if (c->remote)
		r->bits |= REC_PARENT_REMOTE;
	if (c->ambiguous)
		r->bits |= REC_AMBIGUOUS;
	if (c->tracestate.n)
		rec_put(a, r, REC_TRACESTATE, c->tracestate);
	if (c->rule[0])
		rec_put(a, r, REC_RULE, (struct slice){c->rule, (uint32_t)strlen(c->rule)});
	return r;
}

static void put_target(struct arena *a, struct span_rec *r, struct slice target)
{
	if (redact_needless(target)) {
		rec_put(a, r, REC_TARGET, target);
		return;
	}
	char *out = context_carry_new(); /* not on the stack: a signal handler's may be small */
	if (!out) {
		r->bits |= REC_CUT;
		return;
	}
	size_t n = redact_url(target, out, CARRY_SIZE);
	if (n == CARRY_SIZE)
		r->bits |= REC_CUT;
	rec_put(a, r, REC_TARGET, (struct slice){out, (uint32_t)n});
	context_carry_free(out);
}

static void put_headers(struct arena *a, struct span_rec *r, const struct http1_head *h)
{
	char *out = context_carry_new();
	size_t n = out ? header_names_write(&config.headers, h, out, CARRY_SIZE) : 0;
	if (n)
		rec_put(a, r, REC_HEADERS, (struct slice){out, (uint32_t)n});
	context_carry_free(out);
}

static void describe(struct span_rec *r, const struct http1_head *h)
{
	struct arena *a = atomic_load_explicit(&process.arena, memory_order_relaxed);
	r->method = h->method;
	r->minor = h->minor;
	if (r->kind == SPAN_SERVER && config.user.n) { /* first: there is room for it whatever follows */
		struct slice user = user_rules_find(&config.user, h);
		if (user.n)
			rec_put(a, r, REC_USER, user);
	}
	put_target(a, r, h->target);
	if (h->host.n)
		rec_put(a, r, REC_HOST, h->host);
	if (h->user_agent.n)
		rec_put(a, r, REC_USER_AGENT, h->user_agent);
	if (r->kind == SPAN_SERVER && config.headers.n)
		put_headers(a, r, h);
	if (h->method == HTTP1_OTHER)
		rec_put(a, r, REC_METHOD, h->method_raw);
	if (r->kind == SPAN_SERVER && (h->forwarded.n || h->x_forwarded_for.n || h->x_forwarded_proto.n)) {
		struct slice address = {0}, proto = {0};
		client_of_forwarded(h, &address, &proto);
		if (address.n)
			rec_put(a, r, REC_CLIENT_ADDR, address);
		if (proto.n == 5)
			r->bits |= REC_HTTPS;
	}
}

HOT struct txn *txn_start(uint8_t kind, const struct span_ctx *c, const struct http1_head *h, uint64_t start_ns,
                          const void *owner, struct txn *own, struct span_rec **rec)
{
	struct txn *t = own ? own : pool_get(&txns);
	if (!t) {
		arena_count(atomic_load_explicit(&process.arena, memory_order_relaxed), COUNT_DROP_TABLE, 1);
		context_carry_free(c->carry);
		return NULL;
	}
	t->next = NULL;
	t->fork_gen = process.fork_gen;
	t->kind = kind;
	t->method = h ? h->method : 0;
	t->status = 0;
	t->flags = c->flags;
	t->response_begun = false;
	t->pooled = !own;
	t->aws = false;
	memcpy(t->trace_id, c->trace_id, 16);
	memcpy(t->span_id, c->span_id, 8);
	memcpy(t->parent_id, c->parent_id, 8);
	t->carry = c->carry;
	t->tracestate_n = c->carry ? (uint16_t)c->tracestate.n : 0;
	t->baggage_n = c->carry ? (uint16_t)c->baggage.n : 0;
	t->parent = c->parent;
	t->owner = owner;
	t->slot = SLOT_NONE;
	if (kind == SPAN_SERVER) /* before the record, as record_open counts */
		context_opened(t);
	struct span_rec *r = c->flags & config.record_flags ? record_open(kind, c, start_ns) : NULL;
	if (r) {
		t->slot = arena_index(process.arena, r);
		if (h)
			describe(r, h);
	}
	*rec = r;
	return t;
}

void txn_aws(struct txn *t, enum rec_tag tag, const struct aws_call *c)
{
	char text[1024];
	const char kind[1] = {(char)c->kind};
	const struct slice parts[] = {c->service, c->region, c->operation, {kind, c->kind != AWS_NOTHING}, c->resource};
	struct span_rec *r = txn_record(t);
	uint32_t n = 0;
	t->aws = true;
	if (!r)
		return;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		memcpy(text + n, parts[i].p ? parts[i].p : "", parts[i].n);
		n += parts[i].n;
		if (i != 3)
			text[n++] = '\n';
	}
	rec_put(atomic_load_explicit(&process.arena, memory_order_relaxed), r, tag, (struct slice){text, n});
}

void txn_aws_id(struct txn *t, struct slice id)
{
	struct span_rec *r = id.n ? txn_record(t) : NULL;
	if (r)
		rec_put(atomic_load_explicit(&process.arena, memory_order_relaxed), r, REC_AWS_ID, id);
}

HOT static void release(struct txn *t)
{
	/* In this order: who finds it as the only open one finds the serial of an open one. */
	if (t->kind == SPAN_SERVER)
		context_closed(t);
	atomic_store_explicit(&t->serial, atomic_load_explicit(&t->serial, memory_order_relaxed) + 1, memory_order_release);
	context_carry_free(t->carry);
	t->carry = NULL;
	if (t->pooled)
		pool_put(&txns, t);
}

HOT void txn_end(struct txn *t, struct span_rec *r, uint8_t error, int err_no, uint64_t end_ns)
{
	if (r && !claim(r, end_ns < r->start_ns ? r->start_ns : end_ns))
		r = NULL;
	if (r) {
		r->status = t->status;
		r->error = error;
		r->err_no = err_no;
		open_less(t->kind);
	}
	release(t); /* before the commit: whoever reads the record may already see the next request */
	if (r)
		arena_commit(process.arena, r);
}

void txn_drop(struct txn *t)
{
	struct span_rec *r = txn_record(t);
	if (r && claim(r, r->start_ns)) {
		open_less(t->kind);
		arena_discard(process.arena, r);
	}
	release(t);
}

/* ---- failed connects ---- */

void span_connect_failed(const struct rec_addr *peer, int err, uint8_t error, uint64_t start_ns, struct txn_ref parent)
{
	struct thread *t = &thread_self;
	struct arena *a = process_arena();
	uint64_t now = mono_ns(), took = real_ns() - start_ns;
	if (!a)
		return;
	if (t->good_port == peer->port && t->good_ns && now - t->good_ns <= took + ATTEMPT_NS / 5)
		return; /* another address won meanwhile (happy eyeballs) */
	if (t->held_port == peer->port && t->held_ns && now - t->held_ns < ATTEMPT_NS &&
	    memcmp(t->held_ip, peer->ip, sizeof t->held_ip) != 0)
		arena_unhold(a, t->held_slot, t->held_id); /* one span for all addresses of an attempt: the last */
	t->held_ns = 0;

	struct span_ctx c;
	span_ctx_client(&c, true, parent, NULL);
	if (!(c.flags & config.record_flags))
		return;
	struct span_rec *r = record_open(SPAN_CONNECT, &c, start_ns);
	if (!r)
		return;
	open_less(SPAN_CONNECT); /* held, not open */
	r->peer = *peer;
	r->error = error;
	r->err_no = err;
	r->end_ns = start_ns + took;
	r->hold_until_ns = now + HOLD_NS;
	t->held_slot = arena_index(a, r);
	t->held_port = peer->port;
	t->held_ns = now;
	memcpy(t->held_id, c.span_id, 8);
	memcpy(t->held_ip, peer->ip, sizeof t->held_ip);
	arena_hold(a, r);
}

void span_connect_good(const struct rec_addr *peer)
{
	struct thread *t = &thread_self;
	uint64_t now = mono_ns();
	t->good_port = peer->port;
	t->good_ns = now;
	if (t->held_ns && t->held_port == peer->port && now - t->held_ns < ATTEMPT_NS &&
	    memcmp(t->held_ip, peer->ip, sizeof t->held_ip) != 0 && process.arena)
		arena_unhold(process.arena, t->held_slot, t->held_id);
	t->held_ns = 0;
}

static void end_all(uint8_t error, int err_no)
{
	struct arena *a = process.arena;
	atomic_store(&ended, process.fork_gen + 1);
	if (!a || (atomic_load(&process.open_spans) == 0 && !context_any()))
		return;
	uint32_t n = arena_slots(a);
	for (uint32_t i = 0; i < n; i++) {
		struct span_rec *r = arena_slot(a, i);
		if (atomic_load_explicit(&r->state, memory_order_acquire) != SLOT_OPEN || r->pid != process.pid || !r->start_ns)
			continue;
		if (!claim(r, real_ns()))
			continue;
		r->error = error;
		r->err_no = r->kind == SPAN_TEXT ? r->err_no : err_no;
		arena_commit(a, r);
	}
}

void span_exit(void)
{
	end_all(ERR_PROCESS_EXIT, 0);
}

void span_crashed(int signo)
{
	end_all(ERR_CRASHED, signo);
}
