#include "conn/http.h"
#include "base/hot.h"
#include "base/clock.h"
#include "config.h"
#include "conn/db.h"
#include "proto/http1_memo.h"

/* What this thread's servers answered last. Under the guard of the hooks, like thread_self. */
static __thread struct http1_memo sent __attribute__((tls_model("initial-exec")));

#define AWS_BODY 4096 /* bytes of a request body that are looked at */

/* ---- transactions ---- */

void http_push(struct conn *c, struct txn *t)
{
	if (c->last)
		c->last->next = t;
	else
		c->first = t;
	c->last = t;
	c->n_txns++;
}

static struct txn *pop(struct conn *c)
{
	struct txn *t = c->first;
	c->first = t->next;
	if (!c->first)
		c->last = NULL;
	c->n_txns--;
	return t;
}

/* How much of the request's body passed; when it is over, or the request is. */
static void note_request_body(struct conn *c)
{
	struct span_rec *r = c->body_of ? txn_record(c->body_of) : NULL;
	if (r) {
		r->req_size = c->req.body.size;
		r->bits |= REC_REQ_BODY;
	}
	c->body_of = NULL;
	c->aws_body = false;
}

HOT void http_finish(struct conn *c, uint8_t error, int err)
{
	struct txn *t = pop(c);
	struct span_rec *r = txn_record(t);
	if (c->body_of == t)
		note_request_body(c);
	if (r && t->response_begun && c->resp.body.kind != HTTP1_BODY_NONE && c->resp.body.kind != HTTP1_BODY_TUNNEL) {
		r->resp_size = c->resp.body.size;
		r->bits |= REC_RESP_BODY;
	}
	txn_end(t, r, error, err, real_ns());
	if (c->role == ROLE_SERVER && c->first)
		span_request_read(c->first); /* pipelined: the thread goes on with the next */
	if (c->req.dead && !c->first)
		conn_opaque(c, COUNT_OPAQUE_BROKEN);
}

COLD static void finish_all(struct conn *c, uint8_t error, int err)
{
	while (c->first) {
		http_finish(c, error, err);
		c->resp.in_body = false;
		c->resp.body.kind = HTTP1_BODY_NONE;
	}
}

void http_give_up(struct conn *c)
{
	c->body_of = NULL;
	c->aws_body = false;
	while (c->first)
		txn_drop(pop(c));
}

void http_disown(struct conn *c)
{
	bool midway = c->first || (c->role == ROLE_DB && !db_idle(c)) || c->req.head || c->req.in_body || c->resp.head || c->resp.in_body || c->rest_n;
	c->rest_n = 0;
	c->overlay = false;
	http_give_up(c);
	if (midway)
		conn_opaque(c, COUNT_OPAQUE_UNSEEN);
}

/* ---- heads ---- */

HOT static void request_head(struct conn *c, int fd, const struct http1_head *h)
{
	struct span_ctx ctx, *use = &ctx;
	bool server = c->role == ROLE_SERVER;
	if (c->n_txns >= PIPELINE_MAX) {
		conn_opaque(c, COUNT_DROP_PIPELINE);
		return;
	}
	if (server) {
		span_ctx_server(&ctx, h, c->req.first_ns);
	} else if (c->ready) {
		use = c->ready;
	} else { /* the header could not be put in: the span is told all the same */
		struct trace_ctx own;
		bool has = h->n_traceparent == 1 && traceparent_parse(h->traceparent, &own);
		span_ctx_client(&ctx, !c->used, c->at_connect, has ? &own : NULL);
		if (config.propagators)
			arena_count(process.arena, COUNT_NOT_INJECTED, 1);
	}
	struct span_rec *r;
	struct txn *t = txn_start(server ? SPAN_SERVER : SPAN_CLIENT, use, h, c->req.first_ns, c, c->first ? NULL : &c->own, &r);
	if (!t) {
		conn_opaque(c, COUNT_DROP_TABLE);
		return;
	}
	if (r) {
		conn_addresses(c, fd);
		r->peer = c->peer;
		r->local = c->local;
	}
	if (c->ready_cap) {
		head_buffer_free((char *)c->ready, c->ready_cap);
		c->ready_cap = 0;
	}
	c->ready = NULL; /* of one request only, even if more follow in the same write */
	c->used = true;
	http_push(c, t);
	t->tell = false;
	if (server && __builtin_expect(h->amzn_trace_id.n != 0, 0) && (config.propagators & PROP_XRAY) &&
	    amzn_trace_asks(h->amzn_trace_id)) {
		c->cookie = conn_cookie(fd);
		t->tell = true;
		c->tell = true;
	}
	if (!server && r && __builtin_expect(aws_call_likely(h), 0)) {
		struct aws_call call;
		if (aws_call_of(h, &call)) {
			txn_aws(t, REC_AWS, &call);
			c->aws_body = !call.operation.n || !call.resource.n;
		}
	}
	http1_body_of_request(&c->req.body, h);
	c->req.in_body = !c->req.body.done;
	if (c->req.body.kind != HTTP1_BODY_NONE) {
		c->body_of = t;
		if (c->req.body.done)
			note_request_body(c);
	}
	if (server)
		span_request_read(t);
}

HOT static void response_head(struct conn *c, const struct http1_head *h, const char *head)
{
	struct txn *t = c->first;
	if (!t) { /* "408" to a silent client, or it was never HTTP */
		conn_opaque(c, COUNT_OPAQUE_PROTOCOL);
		return;
	}
	http1_body_of_response(&c->resp.body, h, t->method);
	if (h->status < 200 && h->status != 101)
		return; /* interim: the real one follows */
	t->status = h->status;
	t->response_begun = true;
	if (t->aws)
		txn_aws_id(t, aws_request_id(head, h->len));
	if (c->resp.body.kind == HTTP1_BODY_TUNNEL) {
		http_finish(c, ERR_NONE, 0);
		conn_opaque(c, COUNT_OPAQUE_UPGRADE);
	} else if (c->resp.body.done) {
		http_finish(c, ERR_NONE, 0);
	} else {
		c->resp.in_body = true;
	}
}

/* Only the first piece, and not where it begins with a chunk's size. */
static void aws_body(struct conn *c, const char *p, size_t n)
{
	struct aws_call call;
	c->aws_body = false;
	if (!c->body_of || c->req.body.kind != HTTP1_BODY_LENGTH)
		return;
	aws_call_body((struct slice){p, n < AWS_BODY ? (uint32_t)n : AWS_BODY}, (struct slice){NULL, 0}, &call);
	if (call.operation.n || call.resource.n)
		txn_aws(c->body_of, REC_AWS_MORE, &call);
}

static void body_done(struct conn *c, struct stream *s)
{
	s->in_body = false;
	if (s == &c->req)
		note_request_body(c);
	else if (c->first)
		http_finish(c, ERR_NONE, 0);
}

/* What stands here is not HTTP, or not any more. */
COLD static void broken(struct conn *c, struct stream *s)
{
	if (s == &c->req) {
		s->dead = true;
		s->in_body = false;
		if (!c->first)
			conn_opaque(c, c->used ? COUNT_OPAQUE_BROKEN : COUNT_OPAQUE_PROTOCOL);
		return;
	}
	finish_all(c, ERR_BAD_MESSAGE, 0);
	conn_opaque(c, COUNT_OPAQUE_BROKEN);
}

/* ---- bytes ---- */

COLD static bool keep_partial(struct conn *c, struct stream *s, const char *p, size_t n)
{
	uint32_t cap;
	char *b = s->head_n + n > HTTP1_HEAD_MAX ? NULL : head_buffer((uint32_t)(s->head_n + n), &cap);
	if (!b) {
		s->dead = s == &c->req;
		if (s == &c->resp)
			finish_all(c, ERR_BAD_MESSAGE, 0);
		if (!s->dead || !c->first)
			conn_opaque(c, COUNT_OPAQUE_HEAD);
		return false;
	}
	if (s->head_n)
		memcpy(b, s->head, s->head_n);
	memcpy(b + s->head_n, p, n);
	head_buffer_free(s->head, s->head_cap);
	s->head = b;
	s->head_cap = cap;
	s->head_n += (uint32_t)n;
	return true;
}

static void drop_partial(struct stream *s)
{
	head_buffer_free(s->head, s->head_cap);
	s->head = NULL;
	s->head_n = s->head_cap = 0;
}

static ssize_t parse(const struct conn *c, const struct stream *s, const char *p, size_t n, size_t seen,
                     struct http1_head *h)
{
	if (s == &c->req)
		return http1_parse_request(p, n, seen, h);
	if (!seen && c->role == ROLE_SERVER)
		return http1_memo_response(&sent, p, n, h);
	return http1_parse_response(p, n, seen, h);
}

/* The rest of a head that came in pieces. Bytes used of p, or < 0: come back, or broken. */
static ssize_t continue_head(struct conn *c, int fd, struct stream *s, const char *p, size_t n)
{
	struct http1_head h;
	uint32_t seen = s->head_n;
	size_t take = n < HTTP1_HEAD_MAX - seen ? n : HTTP1_HEAD_MAX - seen;
	if (seen + take <= s->head_cap) {
		memcpy(s->head + seen, p, take);
		s->head_n += (uint32_t)take;
	} else if (!keep_partial(c, s, p, take)) {
		return PROTO_PARTIAL;
	}
	ssize_t k = parse(c, s, s->head, s->head_n, seen, &h);
	if (k == PROTO_PARTIAL && s->head_n >= HTTP1_HEAD_MAX)
		k = PROTO_BAD;
	if (k == PROTO_BAD) {
		drop_partial(s);
		broken(c, s);
	}
	if (k < 0)
		return k;
	char *buffer = s->head; /* the slices of h point into it */
	uint32_t cap = s->head_cap;
	s->head = NULL;
	s->head_n = s->head_cap = 0;
	if (s == &c->req)
		request_head(c, fd, &h);
	else
		response_head(c, &h, buffer);
	head_buffer_free(buffer, cap);
	return k - (ssize_t)seen;
}

HOT static void feed(struct conn *c, int fd, struct stream *s, const char *p, size_t n, uint64_t start_ns)
{
	struct http1_head h;
	while (n && !c->opaque && !s->dead) {
		ssize_t k;
		if (s->in_body) {
			if (__builtin_expect(c->aws_body, 0) && s == &c->req)
				aws_body(c, p, n);
			k = http1_body_feed(&s->body, p, n);
			if (k < 0) {
				broken(c, s);
				return;
			}
			if (s->body.done)
				body_done(c, s);
			else if ((size_t)k < n)
				return; /* cannot be: fewer bytes are taken only at the end */
		} else if (s->head) {
			k = continue_head(c, fd, s, p, n);
			if (k < 0)
				return;
		} else {
			if (s == &c->req)
				s->first_ns = start_ns ? start_ns : real_ns();
			k = parse(c, s, p, n, 0, &h);
			if (k == PROTO_PARTIAL) {
				keep_partial(c, s, p, n);
				return;
			}
			if (k < 0) {
				if (!c->used && c->role == ROLE_CLIENT && db_begin(c, fd, s == &c->req, p, n, start_ns))
					return;
				broken(c, s);
				return;
			}
			if (s == &c->req)
				request_head(c, fd, &h);
			else
				response_head(c, &h, p);
		}
		p += k;
		n -= (size_t)k;
	}
}

HOT void http_rx(struct conn *c, int fd, const char *p, size_t n, uint64_t start_ns)
{
	uint8_t role = atomic_load_explicit(&c->role, memory_order_relaxed);
	if (role == ROLE_SERVER || role == ROLE_UNKNOWN) {
		if (role == ROLE_UNKNOWN)
			c->role = ROLE_SERVER; /* a first request, or nothing for us */
		feed(c, fd, &c->req, p, n, start_ns);
		return;
	}
	if (c->first)
		span_response_read(c->first);
	if (role == ROLE_DB)
		db_rx(c, fd, p, n);
	else
		feed(c, fd, &c->resp, p, n, start_ns);
}

HOT void http_tx(struct conn *c, int fd, const char *p, size_t n, uint64_t start_ns)
{
	uint8_t role = atomic_load_explicit(&c->role, memory_order_relaxed);
	if (role == ROLE_SERVER) {
		feed(c, fd, &c->resp, p, n, start_ns);
		return;
	}
	if (role == ROLE_UNKNOWN)
		c->role = ROLE_CLIENT;
	if (role == ROLE_DB)
		db_tx(c, fd, p, n, start_ns);
	else
		feed(c, fd, &c->req, p, n, start_ns);
}

static bool is_client(const struct conn *c)
{
	return c->role == ROLE_CLIENT || c->role == ROLE_DB;
}

static void unseen(struct conn *c, struct stream *s, uint64_t n)
{
	if (!n || s->dead)
		return;
	if (!s->in_body || http1_body_skip(&s->body, n) != (ssize_t)n)
		conn_opaque(c, COUNT_OPAQUE_UNSEEN);
	else if (s->body.done)
		body_done(c, s);
}

void http_rx_unseen(struct conn *c, uint64_t n)
{
	unseen(c, is_client(c) ? &c->resp : &c->req, n);
}

void http_tx_unseen(struct conn *c, uint64_t n)
{
	unseen(c, is_client(c) ? &c->req : &c->resp, n);
}

/* ---- ends ---- */

static bool ends_with_connection(const struct conn *c)
{
	return c->first && c->resp.in_body && http1_body_eof(&c->resp.body);
}

/* No answer will come any more. */
static void cut_off(struct conn *c, uint8_t error)
{
	if (c->write_err)
		finish_all(c, ERR_ERRNO, c->write_err);
	else
		finish_all(c, error, 0);
}

void http_eof(struct conn *c)
{
	c->peer_closed = true;
	if (!is_client(c))
		return;
	if (ends_with_connection(c))
		body_done(c, &c->resp);
	cut_off(c, ERR_PEER_CLOSED);
}

void http_failed(struct conn *c, int err)
{
	finish_all(c, ERR_ERRNO, err);
}

void http_write_failed(struct conn *c, int err)
{
	if (!is_client(c))
		http_failed(c, err);
	else if (!c->write_err)
		c->write_err = err; /* "413", and closed while the body was on its way */
}

void http_sent_all(struct conn *c)
{
	if (c->role == ROLE_SERVER && ends_with_connection(c))
		body_done(c, &c->resp);
}

void http_closed(struct conn *c)
{
	http_sent_all(c);
	/* wget leaves the line behind the last chunk unread. */
	if (c->first && c->resp.in_body && http1_body_payload_done(&c->resp.body))
		body_done(c, &c->resp);
	cut_off(c, c->role == ROLE_SERVER && c->peer_closed ? ERR_CLIENT_CLOSED : ERR_CLOSED);
}
