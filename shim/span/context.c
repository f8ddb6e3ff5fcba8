/*
 * Whose is an outgoing call? A wrong parent is worse than none, so each rule applies only where it is sure:
 * the request noted at connect, the thread's own request, on event loops the request of this turn, else the only
 * open request of the process.
 */
#include "base/hot.h"
#include "config.h"
#include "base/pool.h"
#include "base/small.h"
#include "base/racy.h"
#include "span/process.h"
#include "span/span_private.h"

static struct pool carries = POOL(CARRY_TRACESTATE + CARRY_BAGGAGE + CARRY_AMZN, 64 * 1024, 4 << 20);
/* Server requests open in this process: how many, and the XOR of their addresses. Of a single one, that is it. */
static _Atomic uint64_t open_word;
#define ADDRESS_BITS 42 /* 48-bit addresses, 64-byte aligned */
#define ADDRESS_MASK ((1ull << ADDRESS_BITS) - 1)
static _Atomic bool serves; /* an incoming request was seen: TRACEPARENT of the environment is history */

void span_forked(void)
{
	open_word = 0;
}

static uint64_t open_count(void)
{
	return atomic_load(&open_word) >> ADDRESS_BITS;
}

/* In one step: a count and an XOR that do not belong together would make an address of nothing. */
static void open_change(const struct txn *t, int by)
{
	uint64_t old = atomic_load_explicit(&open_word, memory_order_relaxed), new;
	do
		new = ((old >> ADDRESS_BITS) + (uint64_t)by) << ADDRESS_BITS | ((old ^ (uintptr_t)t >> 6) & ADDRESS_MASK);
	while (!atomic_compare_exchange_weak(&open_word, &old, new));
}

HOT void context_opened(struct txn *t)
{
	open_change(t, 1);
}

HOT void context_closed(struct txn *t)
{
	if (t->fork_gen == process.fork_gen)
		open_change(t, -1);
}

bool context_any(void)
{
	return open_count() != 0;
}

char *context_carry_new(void)
{
	return pool_get(&carries);
}

HOT void context_carry_free(char *carry)
{
	if (carry)
		pool_put(&carries, carry);
}

bool span_ref_valid(struct txn_ref r)
{
	return r.t && atomic_load_explicit(&r.t->serial, memory_order_acquire) == r.serial;
}

static struct txn_ref ref_of(struct txn *t)
{
	return (struct txn_ref){t, atomic_load_explicit(&t->serial, memory_order_acquire)};
}

static struct txn_ref the_only_one(void)
{
	struct txn_ref none = {0};
	uint64_t w = atomic_load(&open_word);
	if (w >> ADDRESS_BITS != 1)
		return none;
	struct txn_ref r = ref_of((struct txn *)(uintptr_t)((w & ADDRESS_MASK) << 6));
	return atomic_load(&open_word) == w ? r : none;
}

/* A copy, and whether it was still that request when it was made: it may end on another thread. */
static bool copy(struct txn_ref r, struct txn *out)
{
	racy_copy(out, r.t, sizeof *out);
	return span_ref_valid(r);
}

struct txn_ref span_current(void)
{
	struct thread *t = &thread_self;
	struct txn_ref r = t->loop ? t->dispatch : t->current;
	return span_ref_valid(r) ? r : (struct txn_ref){0};
}

HOT void span_request_read(struct txn *x)
{
	struct thread *t = &thread_self;
	struct txn now;
	if (span_ref_valid(t->current) && copy(t->current, &now)) {
		/* Pipelined behind the one it works on: that one is current until it is answered. */
		if (now.owner == x->owner && t->current.t != x)
			return;
		/* Two connections with open requests on one thread: an event loop, or somebody who hands over. */
		if (t->current.t != x)
			t->loop = true;
	}
	t->current = ref_of(x);
	if (t->loop)
		t->dispatch = t->current;
}

void span_response_read(const struct txn *call)
{
	struct thread *t = &thread_self;
	if (t->loop && call->parent.t)
		t->dispatch = call->parent;
}

void span_polled(void)
{
	thread_self.dispatch.t = NULL;
}

static void new_trace(struct span_ctx *c, uint64_t now_ns)
{
	ids_root(c->trace_id, c->span_id, now_ns);
	memset(c->parent_id, 0, sizeof c->parent_id);
	c->flags = TRACE_FLAG_RANDOM;
	c->remote = false;
	c->tracestate = (struct slice){0};
}

/* Another sampler than always_on. */
static __attribute__((noinline)) bool decide_new(struct span_ctx *c, const struct trace_ctx *parent, const struct http1_head *h)
{
	if (config.sampler == SAMPLER_XRAY && !(parent && parent->sampled_known))
		return xray_decide(c, h);
	bool sampled = sampler_decide(c->trace_id, parent, c->tracestate);
	if (config.sampler == SAMPLER_RATIO) {
		char in[CARRY_TRACESTATE];
		uint32_t n = c->tracestate.n <= sizeof in ? c->tracestate.n : 0;
		if (n)
			memcpy(in, c->tracestate.p, n);
		n = (uint32_t)sampler_tracestate((struct slice){in, n}, sampled, c->state, sizeof c->state);
		c->tracestate = (struct slice){c->state, n};
	}
	return sampled;
}

static inline void decide(struct span_ctx *c, const struct trace_ctx *parent, const struct http1_head *h)
{
	bool sampled = parent && parent->sampled_known && config.parent_based ? parent->flags & TRACE_FLAG_SAMPLED
	                                                                      : config.sampler == SAMPLER_ON || decide_new(c, parent, h);
	c->flags = (uint8_t)((c->flags & ~TRACE_FLAG_SAMPLED) | (sampled ? TRACE_FLAG_SAMPLED : 0));
}

/* X-Ray decides for itself: what its header says, else its rules. */
static __attribute__((noinline)) void decide_for_xray(struct span_ctx *c, const struct trace_ctx *in, const struct http1_head *h)
{
	struct trace_ctx x = {0};
	if (in && in->xray)
		x = *in;
	else if (h && h->amzn_trace_id.n && (config.propagators & PROP_XRAY)) /* beside a traceparent, which has the ids */
		amzn_trace_parse(h->amzn_trace_id, &x);
	bool wanted = x.xray && x.sampled_known ? x.flags & TRACE_FLAG_SAMPLED : xray_decide(c, h);
	c->flags |= wanted ? TRACE_FLAG_XRAY : 0;
}

/* Both decisions for a trace that begins here, or comes from elsewhere. */
static inline __attribute__((always_inline)) void decide_all(struct span_ctx *c, const struct trace_ctx *in, const struct http1_head *h)
{
	if (__builtin_expect(config.xray_own, 0)) {
		decide_for_xray(c, in, h);
		if (in && in->xray) /* and for nobody else */
			in = NULL;
	}
	decide(c, in, h);
}

static __attribute__((noinline)) char *carry_of(struct span_ctx *c)
{
	if (!c->carry && (c->carry = pool_get(&carries)))
		c->carry[CARRY_TRACESTATE + CARRY_BAGGAGE] = 0;
	return c->carry;
}

static __attribute__((noinline)) void keep_baggage(struct span_ctx *c, const struct http1_head *h)
{
	if (!(config.propagators & PROP_BAGGAGE) || !carry_of(c))
		return;
	char *b = c->carry + CARRY_TRACESTATE;
	c->baggage = (struct slice){b, (uint32_t)baggage_join(h->baggage, h->n_baggage, b, CARRY_BAGGAGE)};
}

static __attribute__((noinline)) void keep_amzn_others(struct span_ctx *c, struct slice header)
{
	char others[CARRY_AMZN];
	size_t n = amzn_trace_others(header, others, sizeof others - 1);
	if (!n || !carry_of(c))
		return;
	char *to = c->carry + CARRY_TRACESTATE + CARRY_BAGGAGE;
	*to = (char)n;
	memcpy(to + 1, others, n);
}

HOT void span_ctx_server(struct span_ctx *c, const struct http1_head *h, uint64_t start_ns)
{
	struct trace_ctx in = {0};
	bool any = h->n_traceparent || (h->b3.n | h->b3_trace_id.n | h->b3_sampled.n | h->b3_flags.n | h->amzn_trace_id.n);
	bool found = any && config.propagators && trace_extract(h, config.propagators, &in);
	small_clear(c, offsetof(struct span_ctx, state));
	atomic_store_explicit(&serves, true, memory_order_relaxed);
	if (found) {
		memcpy(c->trace_id, in.trace_id, 16);
		memcpy(c->parent_id, in.span_id, 8);
		c->flags = in.flags;
		c->remote = true;
		if (h->n_tracestate && h->traceparent.n)
			c->tracestate = (struct slice){c->state, (uint32_t)tracestate_join(h->tracestate, h->n_tracestate, c->state,
			                                                                   sizeof c->state)};
		ids_span(c->span_id);
	} else {
		uint64_t root[2];
		memcpy(root, in.trace_id, 16);
		new_trace(c, start_ns);
		if (root[0] | root[1]) { /* a load balancer's X-Ray root without a parent: its trace, our root */
			memcpy(c->trace_id, root, 16);
			c->flags = 0;
		}
	}
	if (h->n_baggage)
		keep_baggage(c, h);
	if (__builtin_expect(any, 0) && h->amzn_trace_id.n && (config.propagators & PROP_XRAY))
		keep_amzn_others(c, h->amzn_trace_id);
	decide_all(c, any ? &in : NULL, h);
	if (c->tracestate.n && carry_of(c))
		memcpy(c->carry, c->tracestate.p, c->tracestate.n);
}

void span_ctx_free(struct span_ctx *c)
{
	context_carry_free(c->carry);
	c->carry = NULL;
}

/* The caller's span id came through this program unchanged (proxies): its request is the one with that parent. */
static bool forwarded(const struct trace_ctx *own, const struct txn *p)
{
	return memcmp(own->trace_id, p->trace_id, 16) == 0 &&
	       (memcmp(own->span_id, p->parent_id, 8) == 0 || memcmp(own->span_id, p->span_id, 8) == 0);
}

void span_ctx_client(struct span_ctx *c, bool first, struct txn_ref at_connect, const struct trace_ctx *own)
{
	struct txn_ref r = {0};
	struct trace_ctx up = {.sampled_known = true};
	small_clear(c, offsetof(struct span_ctx, state));
	ids_span(c->span_id);
	if (first && span_ref_valid(at_connect))
		r = at_connect;
	else if (!(r = span_current()).t && !(r = the_only_one()).t)
		c->ambiguous = open_count() > 0;

	if (r.t) {
		struct txn p;
		bool valid = copy(r, &p);
		if (valid && p.carry) {
			racy_copy(c->state, p.carry, p.tracestate_n);
			c->tracestate = (struct slice){c->state, p.tracestate_n};
			c->baggage = (struct slice){p.carry + CARRY_TRACESTATE, p.baggage_n};
			valid = span_ref_valid(r);
		}
		if (!valid) {
			r.t = NULL;
			c->tracestate = c->baggage = (struct slice){0};
		} else if (!own || forwarded(own, &p)) {
			memcpy(c->trace_id, p.trace_id, 16);
			memcpy(c->parent_id, p.span_id, 8);
			c->flags = p.flags;
			c->parent = r;
			up.flags = p.flags;
			decide(c, &up, NULL);
			return;
		}
	}
	if (own) { /* an SDK inside the program, or a caller's context that it passes on */
		c->ambiguous = false;
		c->baggage = (struct slice){0};
		c->tracestate = (struct slice){0};
		memcpy(c->trace_id, own->trace_id, 16);
		memcpy(c->parent_id, own->span_id, 8);
		c->flags = own->flags;
		decide_all(c, own, NULL);
		return;
	}
	if (config.parent.valid && !atomic_load_explicit(&serves, memory_order_relaxed)) {
		memcpy(c->trace_id, config.parent.trace_id, 16);
		memcpy(c->parent_id, config.parent.span_id, 8);
		c->flags = config.parent.flags;
		c->remote = true;
		c->tracestate = config.tracestate;
		c->baggage = config.baggage;
		decide_all(c, &config.parent, NULL);
		return;
	}
	new_trace(c, 0);
	if (!c->ambiguous && !atomic_load_explicit(&serves, memory_order_relaxed))
		c->baggage = config.baggage;
	decide_all(c, NULL, NULL);
}

size_t span_amzn_others(struct txn_ref parent, char out[static CARRY_AMZN])
{
	struct txn p;
	if (!parent.t || !copy(parent, &p) || !p.carry)
		return 0;
	racy_copy(out, p.carry + CARRY_TRACESTATE + CARRY_BAGGAGE, CARRY_AMZN);
	size_t n = (unsigned char)*out;
	memmove(out, out + 1, n);
	return span_ref_valid(parent) ? n : 0;
}

bool span_child_env(struct trace_ctx *out)
{
	struct txn_ref r = span_current();
	if (!(config.propagators & PROP_TRACECONTEXT) || (!r.t && !(r = the_only_one()).t))
		return false;
	struct txn p;
	bool valid = copy(r, &p);
	*out = (struct trace_ctx){.flags = p.flags & TRACE_FLAGS_WIRE, .valid = true, .sampled_known = true};
	memcpy(out->trace_id, p.trace_id, 16);
	memcpy(out->span_id, p.span_id, 8);
	return valid;
}

bool span_ids(uint8_t trace_id[16], uint8_t span_id[8])
{
	struct txn_ref r = span_current();
	struct txn p;
	if ((!r.t && !(r = the_only_one()).t) || !copy(r, &p)) {
		memset(trace_id, 0, 16);
		memset(span_id, 0, 8);
		return false;
	}
	memcpy(trace_id, p.trace_id, 16);
	memcpy(span_id, p.span_id, 8);
	return true;
}
