/*
 * Connections driven by a script: what the fuzzers of shim/conn share. The sockets are real but no byte passes through
 * them; the kernel's part is played, so that the bytes on the wire can be looked at.
 */
#ifndef REMORA_CONN_SCRIPT_H
#define REMORA_CONN_SCRIPT_H

#include "config.h"
#include "conn/http.h"
#include "conn/inject.h"
#include "conn/observe.h"
#include "fuzz.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct script {
	const uint8_t *p;
	size_t n;
};

static inline unsigned script_byte(struct script *s)
{
	return s->n ? (s->n--, *s->p++) : 0;
}

static inline struct script script_bytes(struct script *s, size_t n)
{
	struct script r = {s->p, n < s->n ? n : s->n};
	s->p += r.n;
	s->n -= r.n;
	return r;
}

static int script_fds[4]; /* two pairs */

static inline void script_begin(void)
{
	bool takeover;
	if (!process.pid) {
		process_init();
		process.arena = arena_new_anonymous(256 * 1024, 0);
		HOLDS(process.arena && arena_lease_try(process.arena, &takeover));
		HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, script_fds) == 0);
		HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, script_fds + 2) == 0);
		process_index(process.arena);
		process.active = true;
	}
	for (int i = 0; i < 4; i++)
		on_socket(script_fds[i], AF_UNIX, SOCK_STREAM);
	memset(&config, 0, sizeof config);
	config.parent_based = true;
	config.record_flags = TRACE_FLAG_SAMPLED | TRACE_FLAG_XRAY;
	memset(&thread_self.current, 0, sizeof thread_self.current);
	memset(&thread_self.dispatch, 0, sizeof thread_self.dispatch);
	thread_self.loop = false;
	thread_self.held_ns = thread_self.good_ns = 0;
}

static inline unsigned script_slots(enum slot_state a, enum slot_state b)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < arena_slots(process.arena); i++) {
		uint32_t state = arena_slot(process.arena, i)->state;
		n += state == a || state == b;
	}
	return n;
}

/* All records so far, looked at. Returns how many. */
static inline unsigned script_drain(void)
{
	static char scratch[REC_VAR_MAX];
	unsigned n = 0;
	for (uint32_t slot; arena_drain(process.arena, &slot, 1, true, true) == 1; n++) {
		struct rec_view v;
		HOLDS(rec_view(process.arena, slot, scratch, &v));
		HOLDS(v.rec->status == 0 || (v.rec->status >= 101 && v.rec->status <= 999));
		HOLDS(v.rec->end_ns >= v.rec->start_ns && v.rec->start_ns);
		HOLDS(v.rec->kind >= SPAN_SERVER && v.rec->kind < SPAN_KINDS && v.rec->error <= ERR_TIMEOUT);
		HOLDS(v.rec->kind == SPAN_CONNECT || rec_str(&v, REC_TARGET).p);
		HOLDS(v.rec->status >= 200 || v.rec->status == 101 || v.rec->error);
		arena_free(process.arena, &slot, 1);
	}
	return n;
}

static inline void script_end(void)
{
	static unsigned own = ~0u; /* slots of our process's description */
	on_close_range(0, ~0u);
	script_drain();
	HOLDS(process.open_spans == 0 && process.connections == 0);
	if (own == ~0u)
		own = script_slots(SLOT_MORE, SLOT_MORE);
	HOLDS(script_slots(SLOT_OPEN, SLOT_MORE) == own);
}

#endif
