#include "conn/inject.h"
#include "conn/inject_text.h"
#include "base/clock.h"
#include "base/probe.h"
#include "config.h"
#include "conn/http.h"
#include "conn/observe.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>

/* ---- pieces ---- */

/* Appends bytes [from, to) of the program's pieces, as many as there is room for; false: not all. */
static bool pieces(struct tx *t, size_t from, size_t to)
{
	size_t at = 0;
	for (int i = 0; i < t->host_count && at < to; i++) {
		const struct iovec *v = &t->host[i];
		size_t b = from > at ? from - at : 0, e = to - at < v->iov_len ? to - at : v->iov_len;
		if (b < e) {
			if (t->msg.msg_iovlen >= TX_IOV)
				return false;
			t->iov[t->msg.msg_iovlen++] = (struct iovec){(char *)v->iov_base + b, e - b};
		}
		at += v->iov_len;
	}
	return true;
}

static bool ours(struct tx *t, char *p, size_t n)
{
	if (t->msg.msg_iovlen >= TX_IOV)
		return false;
	t->iov[t->msg.msg_iovlen++] = (struct iovec){p, n};
	return true;
}

static size_t total(const struct iovec *v, int count)
{
	size_t n = 0;
	for (int i = 0; i < count; i++)
		n += v[i].iov_len;
	return n;
}

static void message(struct tx *t, const struct msghdr *original)
{
	t->msg = original ? *original : (struct msghdr){0};
	t->msg.msg_iov = t->iov;
	t->msg.msg_iovlen = 0;
}

static void free_text(struct tx *t)
{
	if (t->text != t->id)
		head_buffer_free(t->text, t->text_cap);
	t->text = NULL;
}

/* The connection's state is out of reach and the peer would see half a header line: finish it here and now. */
static void send_now(int fd, const char *p, uint32_t n)
{
	for (int polls = 0; n;) {
		long r = sys6(SYS_sendto, fd, (long)p, n, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
		if (r == -EAGAIN) {
			struct pollfd pfd = {fd, POLLOUT, 0};
			struct timespec some = {0, 100000000};
			sys6(SYS_ppoll, (long)&pfd, 1, (long)&some, 0, 0, 0);
			if (++polls == 10)
				return;
		} else if (r <= 0 && r != -EINTR) {
			return;
		} else if (r > 0) {
			p += r;
			n -= (uint32_t)r;
		}
	}
}

/* ---- before the call ---- */

/* Replace the span id whose place is known, in this write or the rest of it. */
static bool overlay(struct tx *t, int32_t at)
{
	size_t n = total(t->host, t->host_count), skip = at < 0 ? (size_t)-at : 0, pos = at < 0 ? 0 : (size_t)at;
	t->at = pos;
	if (pos >= n)
		return false; /* not in this one */
	size_t len = 16 - skip < n - pos ? 16 - skip : n - pos;
	return pieces(t, 0, pos) && ours(t, t->text + skip, len) && pieces(t, pos + len, n);
}

/* A head at the beginning of the program's pieces, parsed. */
struct whole {
	const char *p;
	struct http1_head h;
	char *gathered;
	uint32_t cap;
};

/* False: none, or not all of it. To be ended with whole_end in any case. */
static bool whole_begin(struct whole *w, const struct tx *t, bool response)
{
	ssize_t (*parse)(const char *, size_t, size_t, struct http1_head *) = response ? http1_parse_response : http1_parse_request;
	size_t n = total(t->host, t->host_count);
	int first = 0;
	w->gathered = NULL;
	w->cap = 0;
	while (first < t->host_count && !t->host[first].iov_len)
		first++;
	if (first == t->host_count)
		return false;
	w->p = t->host[first].iov_base;
	size_t len = t->host[first].iov_len < HTTP1_HEAD_MAX ? t->host[first].iov_len : HTTP1_HEAD_MAX;
	if (!readable(w->p, len) || *w->p < 'A' || *w->p > 'Z')
		return false;
	ssize_t k = parse(w->p, len, 0, &w->h);
	if (k == PROTO_PARTIAL && len < n) {
		if (!(w->gathered = head_buffer(n < HTTP1_HEAD_MAX ? (uint32_t)n : HTTP1_HEAD_MAX, &w->cap)))
			return false;
		size_t at = 0;
		for (int i = first; i < t->host_count && at < w->cap; i++) {
			size_t take = t->host[i].iov_len < w->cap - at ? t->host[i].iov_len : w->cap - at;
			if (!readable(t->host[i].iov_base, take))
				break;
			memcpy(w->gathered + at, t->host[i].iov_base, take);
			at += take;
		}
		w->p = w->gathered;
		k = parse(w->p, at, 0, &w->h);
	}
	return k > 0;
}

static void whole_end(struct whole *w)
{
	head_buffer_free(w->gathered, w->cap);
}

/* t->text_n bytes of ours behind the head's first line. */
static bool insert(struct tx *t, const struct whole *w)
{
	t->at = w->h.line_end;
	t->how = TX_INSERT;
	return t->text_n && pieces(t, 0, t->at) && ours(t, t->text, t->text_n) && pieces(t, t->at, total(t->host, t->host_count));
}

static bool begin_head(struct tx *t, struct conn *c, int fd, const struct msghdr *original)
{
	struct whole w;
	const struct http1_head *h = &w.h;
	bool edit = false;
	if (!whole_begin(&w, t, false) || conn_cookie(fd) != c->cookie || !c->cookie)
		goto out;

	struct trace_ctx own;
	bool has_own = trace_extract(h, config.propagators & ~(unsigned)PROP_BAGGAGE, &own);
	span_ctx_client(&t->ctx, !c->used, c->at_connect, has_own ? &own : NULL);
	t->has_ctx = true;
	message(t, original);
	if (h->n_traceparent && (config.propagators & PROP_TRACECONTEXT)) {
		/* The program's own: it keeps its trace, only the span id becomes ours. Two, or signed: as it is. */
		if (has_own && h->n_traceparent == 1 && !h->signed_trace) {
			hex_encode(t->ctx.span_id, 8, t->id);
			t->text = t->id;
			t->text_n = 16;
			t->how = TX_REPLACE;
			edit = overlay(t, (int32_t)(h->traceparent.p + 36 - w.p));
		}
	} else if (!(t->text = head_buffer(t->ctx.tracestate.n + t->ctx.baggage.n + 1024, &t->text_cap))) {
		t->has_ctx = false;
	} else {
		struct inject_text x = {.p = t->text, .cap = t->text_cap, .eol = inject_eol(w.p, h)};
		inject_headers(&x, &t->ctx, h);
		t->text_n = x.n;
		edit = insert(t, &w);
		if (x.n && !edit)
			t->has_ctx = false; /* too many pieces: it goes out without */
	}
out:
	whole_end(&w);
	if (!edit) {
		t->how = TX_PLAIN;
		free_text(t);
	}
	return edit;
}

#define OUTQ 0x5411 /* SIOCOUTQ */

/* Is the socket's buffer so empty that a head is taken whole? What follows it may be a sendfile, which waits for nobody. */
static bool roomy(int fd)
{
	int queued = 1, size = 0;
	unsigned n = sizeof size;
	return sys3(SYS_ioctl, fd, OUTQ, (long)&queued) == 0 && queued == 0 &&
	       sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDBUF, (long)&size, (long)&n, 0) == 0 && size >= 16384;
}

/* The response to a request that asked "Sampled=?" */
static bool begin_answer(struct tx *t, struct conn *c, int fd, const struct msghdr *original)
{
	struct whole w;
	const struct txn *asked = c->first;
	bool edit = false;
	if (whole_begin(&w, t, true) && w.h.status >= 200 && w.h.len <= 4096 && !inject_has_amzn(w.p, &w.h) && c->cookie &&
	    conn_cookie(fd) == c->cookie && roomy(fd) && (t->text = head_buffer(128, &t->text_cap))) {
		struct inject_text x = {.p = t->text, .cap = t->text_cap, .eol = inject_eol(w.p, &w.h)};
		inject_answer(&x, asked);
		t->text_n = x.n;
		message(t, original);
		edit = insert(t, &w);
	}
	whole_end(&w);
	if (!edit) {
		t->how = TX_PLAIN;
		free_text(t);
	}
	return edit;
}

bool inject_begin(struct tx *t, int fd, const struct iovec *v, int count, const struct msghdr *original, int flags)
{
	bool edit = false;
	t->how = TX_PLAIN;
	t->host = v;
	t->host_count = count;
	t->text = NULL;
	t->has_ctx = false;
	t->conn = NULL;
	t->start_ns = real_ns();
	struct conn *c = count >= 0 && count <= IOV_MAX && readable(v, (size_t)count * sizeof *v) ? conn_lock(fd) : NULL;
	if (!c)
		return false;
	t->conn = c;
	t->serial = c->serial;
	if ((c->rest_n || c->overlay) && conn_cookie(fd) != c->cookie) { /* closed unseen, half a head written */
		c->rest_n = 0;
		c->overlay = false;
	}
	if (c->rest_n) {
		/* Ours comes first. It leaves the connection, which another thread may close while the call runs. */
		message(t, original);
		t->how = TX_REST;
		t->text = c->rest;
		t->text_cap = c->rest_cap;
		t->at = c->rest_at;
		t->text_n = c->rest_n;
		c->rest = NULL;
		c->rest_n = 0;
		c->rest_out = true;
		edit = ours(t, t->text + t->at, t->text_n);
		pieces(t, 0, total(v, count));
	} else if (c->overlay) {
		memcpy(t->id, c->overlay_id, 16);
		t->text = t->id;
		message(t, original);
		t->how = TX_REPLACE;
		edit = overlay(t, c->overlay_at);
	} else if (config.propagators && c->role < ROLE_SERVER && !c->opaque && !c->req.head && !c->req.in_body &&
	           !c->req.dead && !(flags & (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN))) {
		edit = begin_head(t, c, fd, original);
	} else if (c->tell && !c->opaque && c->first && c->first->tell && !c->first->response_begun && !c->resp.head &&
	           !c->resp.in_body && !(flags & (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN))) {
		edit = begin_answer(t, c, fd, original);
	}
	if (!edit && t->how != TX_REPLACE)
		t->how = TX_PLAIN;
	conn_unlock(c, fd);
	return edit;
}

/* ---- after it ---- */

/* n bytes of ours, from t->text + from, are due before anything else goes out. */
static void keep_rest(struct tx *t, struct conn *c, int fd, size_t from, uint32_t n)
{
	if (!c) {
		if (fd_peek(fd) == (uintptr_t)t->conn)
			send_now(fd, t->text + from, n);
		return;
	}
	head_buffer_free(c->rest, c->rest_cap);
	c->rest = t->text;
	c->rest_cap = t->text_cap;
	c->rest_at = (uint32_t)from;
	c->rest_n = n;
	t->text = NULL;
}

/* Nothing of the program's went out, only of ours: what would it have seen from a full socket buffer? */
static ssize_t nothing_yet(int fd, int *err, int flags)
{
	long fl = sys3(SYS_fcntl, fd, F_GETFL, 0);
	*err = (flags & MSG_DONTWAIT) || fl < 0 || (fl & O_NONBLOCK) ? EAGAIN : EINTR;
	return -1;
}

/* How many of the program's bytes went out. */
static ssize_t account(struct tx *t, struct conn *c, int fd, ssize_t r, int *err, int flags)
{
	size_t sent = (size_t)r;
	if (r < 0) {
		if (t->how == TX_REST)
			keep_rest(t, c, fd, t->at, t->text_n);
		return r;
	}
	switch (t->how) {
	case TX_PLAIN:
		return r;
	case TX_INSERT:
		if (sent < t->at) { /* cut within the request line: the rest goes out without a header */
			t->has_ctx = false;
			return r;
		}
		if (sent >= t->at + t->text_n)
			return r - (ssize_t)t->text_n;
		if (c || sent > t->at)
			keep_rest(t, c, fd, sent - t->at, t->text_n - (uint32_t)(sent - t->at));
		return (ssize_t)t->at;
	case TX_REST:
		if (sent < t->text_n)
			keep_rest(t, c, fd, t->at + sent, t->text_n - (uint32_t)sent);
		if (sent <= t->text_n)
			return total(t->host, t->host_count) ? nothing_yet(fd, err, flags) : 0;
		return r - (ssize_t)t->text_n;
	case TX_REPLACE:
		if (c && !c->overlay && t->text) { /* begun with this write */
			c->overlay = true;
			c->overlay_at = (int32_t)t->at;
			memcpy(c->overlay_id, t->text, 16);
		}
		if (c && c->overlay) {
			c->overlay_at -= (int32_t)sent;
			c->overlay = c->overlay_at > -16;
		}
		return r;
	}
	return r;
}

/* Is there still something to be told on this connection? */
static bool tells(const struct conn *c)
{
	for (const struct txn *t = c->first; t; t = t->next)
		if (t->tell && !t->response_begun)
			return true;
	return c->rest_n != 0;
}

static void feed(struct tx *t, struct conn *c, int fd, ssize_t n)
{
	if (t->has_ctx && !c->ready)
		c->ready = &t->ctx;
	for (int i = 0; i < t->host_count && n > 0; i++) {
		size_t k = t->host[i].iov_len < (size_t)n ? t->host[i].iov_len : (size_t)n;
		if (k)
			http_tx(c, fd, t->host[i].iov_base, k, t->start_ns);
		n -= (ssize_t)k;
	}
	if (c->ready == &t->ctx) { /* the head goes out in pieces */
		uint32_t cap;
		struct span_ctx *kept = (struct span_ctx *)head_buffer(sizeof *kept, &cap);
		c->ready = NULL;
		if (kept) {
			*kept = t->ctx;
			if (kept->tracestate.p == t->ctx.state)
				kept->tracestate.p = kept->state;
			c->ready = kept;
			c->ready_cap = cap;
		}
	}
}

/* The connection of inject_begin, locked; NULL: it is closed by now, or out of reach. */
static struct conn *same_conn(const struct tx *t, int fd)
{
	for (int i = 0;; i++) {
		struct conn *c = conn_lock(fd);
		if (c && (!t->conn || (c == t->conn && c->serial == t->serial)))
			return c;
		if (c) {
			conn_unlock(c, fd);
			return NULL;
		}
		if (t->how == TX_PLAIN || i == 100 || fd_peek(fd) != (uintptr_t)t->conn)
			return NULL;
	}
}

ssize_t inject_end(struct tx *t, int fd, ssize_t r, int *err, int flags)
{
	struct conn *c = same_conn(t, fd);
	r = account(t, c, fd, r, err, flags);
	if (c && t->how == TX_REST)
		c->rest_out = false;
	if (c) {
		if (c->connecting && r > 0) {
			c->connecting = false;
			conn_addresses(c, fd);
			if (c->peer.family)
				span_connect_good(&c->peer);
		}
		if (r > 0)
			feed(t, c, fd, r);
		else if (r < 0)
			tx_failed(c, *err);
		if (c->tell)
			c->tell = tells(c);
		conn_unlock(c, fd);
	}
	free_text(t);
	return r;
}
