/*
 * How the tests of connections play the host: calls of the observers on real sockets, with bytes that need not pass
 * through them, and the records that come out, each told as one line of text.
 */
#ifndef REMORA_CONN_SAMPLE_H
#define REMORA_CONN_SAMPLE_H

#include "base/clock.h"
#include "base/sys.h"
#include "config.h"
#include "conn/http.h"
#include "conn/inject.h"
#include "conn/observe.h"
#include "unit.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SAMPLE __attribute__((unused)) static

SAMPLE unsigned sample_open_slots(void)
{
	unsigned open = 0;
	for (uint32_t i = 0; i < arena_slots(process.arena); i++) {
		uint32_t state = arena_slot(process.arena, i)->state;
		open += state == SLOT_OPEN || state == SLOT_MORE;
	}
	return open;
}

__attribute__((unused)) static unsigned sample_own_slots; /* our process's description */

SAMPLE void sample_begin(void)
{
	bool takeover;
	if (!process.pid)
		process_init();
	memset(&config, 0, sizeof config);
	config.sampler = SAMPLER_ON;
	config.record_flags = TRACE_FLAG_SAMPLED | TRACE_FLAG_XRAY;
	config.parent_based = true;
	config.arena_bytes = 8 << 20;
	process.arena = arena_new_anonymous(8 << 20, 0);
	OK(process.arena);
	OK(arena_lease_try(process.arena, &takeover));
	process.active = true;
	process_index(process.arena);
	sample_own_slots = sample_open_slots();
}

/* Two ends of a stream; the first is the one that is looked at. */
SAMPLE void sample_pair(int fd[2])
{
	EQ_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	conn_set(fd[0], FD_UNKNOWN);
	conn_set(fd[1], FD_UNKNOWN);
}

SAMPLE void sample_tcp(int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0);
	OK(l >= 0 && bind(l, (struct sockaddr *)&a, n) == 0 && listen(l, 8) == 0);
	OK(getsockname(l, (struct sockaddr *)&a, &n) == 0);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	OK(connect(fd[0], (struct sockaddr *)&a, n) == 0);
	fd[1] = accept(l, NULL, NULL);
	OK(fd[1] >= 0);
	close(l);
}

SAMPLE void sample_connected(int fd)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	OK(on_connect(fd, (struct sockaddr *)&a, sizeof a));
	on_connected(fd, 0, 0);
}

SAMPLE void sample_close(int fd)
{
	on_close(fd);
	close(fd);
}

SAMPLE void rx(int fd, const char *p, size_t n)
{
	on_rx(fd, p, n, (ssize_t)n, 0, 0);
}

SAMPLE void rxs(int fd, const char *s)
{
	rx(fd, s, strlen(s));
}

/* A write of a server, or of a client whose bytes nobody edits. */
SAMPLE void tx(int fd, const char *p, size_t n)
{
	if (tx_is_client(fd)) {
		struct tx t;
		struct iovec v = {(void *)(uintptr_t)p, n};
		int err = 0;
		bool edit = inject_begin(&t, fd, &v, 1, NULL, 0);
		ssize_t whole = (ssize_t)n;
		if (edit) {
			whole = 0;
			for (size_t i = 0; i < t.msg.msg_iovlen; i++)
				whole += (ssize_t)t.msg.msg_iov[i].iov_len;
		}
		EQ_INT(inject_end(&t, fd, whole, &err, 0), (ssize_t)n);
	} else {
		on_tx(fd, p, (ssize_t)n, 0);
	}
}

SAMPLE void txs(int fd, const char *s)
{
	tx(fd, s, strlen(s));
}

SAMPLE bool is_opaque(int fd)
{
	return fd_peek(fd) == FD_OPAQUE;
}

SAMPLE uint64_t counted(enum counter c)
{
	return atomic_load(&process.arena->count[c]);
}

struct sample { /* a copy of a record */
	struct span_rec rec;
	char target[2100], state[600];
};

/* Takes up to cap records that are complete. */
SAMPLE unsigned sample_take(struct sample *out, unsigned cap)
{
	static char scratch[REC_VAR_MAX];
	uint32_t slot;
	unsigned n = 0;
	while (n < cap && arena_drain(process.arena, &slot, 1, true, true) == 1) {
		struct rec_view v;
		OK(rec_view(process.arena, slot, scratch, &v));
		memset(&out[n], 0, sizeof out[n]);
		memcpy(&out[n].rec, v.rec, sizeof out[n].rec);
		if (rec_str(&v, REC_TARGET).n && rec_str(&v, REC_TARGET).n < sizeof out[n].target)
			memcpy(out[n].target, rec_str(&v, REC_TARGET).p, rec_str(&v, REC_TARGET).n);
		if (rec_str(&v, REC_TRACESTATE).n && rec_str(&v, REC_TRACESTATE).n < sizeof out[n].state)
			memcpy(out[n].state, rec_str(&v, REC_TRACESTATE).p, rec_str(&v, REC_TRACESTATE).n);
		OK(v.rec->end_ns >= v.rec->start_ns && v.rec->start_ns);
		OK(v.rec->status == 0 || (v.rec->status >= 100 && v.rec->status <= 999));
		arena_free(process.arena, &slot, 1);
		n++;
	}
	return n;
}

/* "/a 200 !EPIPE req=5 resp=2; ..." */
SAMPLE const char *sample_told(void)
{
	static struct sample s[2048];
	static char out[64 * 1024];
	unsigned n = sample_take(s, 2048);
	char *o = out;
	*o = 0;
	for (unsigned i = 0; i < n && o < out + sizeof out - 3000; i++) {
		const struct span_rec *r = &s[i].rec;
		o += sprintf(o, "%s%s %d", i ? "; " : "", s[i].target, r->status);
		if (r->error)
			o += sprintf(o, " !%s", rec_error_name(r->error, r->err_no));
		if (r->bits & REC_REQ_BODY)
			o += sprintf(o, " req=%llu", (unsigned long long)r->req_size);
		if (r->bits & REC_RESP_BODY)
			o += sprintf(o, " resp=%llu", (unsigned long long)r->resp_size);
	}
	return out;
}

/* Nothing is left behind: all that began has ended, all connections are closed. */
SAMPLE void sample_clean(void)
{
	EQ_INT(process.open_spans, 0);
	EQ_INT(process.connections, 0);
	EQ_INT(sample_open_slots(), sample_own_slots);
}

#endif
