/* Names of errors and counters, and the careful reader of records. */
#include "span/arena_priv.h"
#include "base/racy.h"
#include "proto/http1.h"
#include <errno.h>
#include <signal.h>

/* ---- names ---- */

/* clang-format off */
#define E(x) {x, #x}
static const struct {
	int number;
	char name[18];
} errnos[] = {
	E(EPERM), E(ENOENT), E(EINTR), E(EIO), E(ENXIO), E(EBADF), E(EAGAIN), E(ENOMEM), E(EACCES), E(EFAULT), E(EBUSY),
	E(EEXIST), E(ENODEV), E(ENOTDIR), E(EINVAL), E(ENFILE), E(EMFILE), E(EFBIG), E(ENOSPC), E(ESPIPE), E(EROFS),
	E(EPIPE), E(ENAMETOOLONG), E(ENOSYS), E(ELOOP), E(EPROTO), E(EOVERFLOW), E(ENOTSOCK), E(EDESTADDRREQ),
	E(EMSGSIZE), E(EPROTOTYPE), E(ENOPROTOOPT), E(EPROTONOSUPPORT), E(ESOCKTNOSUPPORT), E(EOPNOTSUPP),
	E(EPFNOSUPPORT), E(EAFNOSUPPORT), E(EADDRINUSE), E(EADDRNOTAVAIL), E(ENETDOWN), E(ENETUNREACH), E(ENETRESET),
	E(ECONNABORTED), E(ECONNRESET), E(ENOBUFS), E(EISCONN), E(ENOTCONN), E(ESHUTDOWN), E(ETIMEDOUT), E(ECONNREFUSED),
	E(EHOSTDOWN), E(EHOSTUNREACH), E(EALREADY), E(EINPROGRESS), E(ESTALE), E(EDQUOT), E(ECANCELED), E(ENONET),
	E(ENODATA), E(ETIME), E(ECOMM), E(EBADMSG), E(EREMOTEIO),
};
#undef E
/* clang-format on */

static const char *signal_name(int signo)
{
	static const char *const names[] = {
		[SIGQUIT] = "SIGQUIT",
		[SIGILL] = "SIGILL",
		[SIGTRAP] = "SIGTRAP",
		[SIGABRT] = "SIGABRT",
		[SIGBUS] = "SIGBUS",
		[SIGFPE] = "SIGFPE",
		[SIGSEGV] = "SIGSEGV",
		[SIGXCPU] = "SIGXCPU",
		[SIGXFSZ] = "SIGXFSZ",
		[SIGSYS] = "SIGSYS",
	};
	return signo > 0 && signo < (int)(sizeof names / sizeof *names) && names[signo] ? names[signo] : "crashed";
}

const char *rec_error_name(uint8_t error, int err_no)
{
	switch ((enum span_error)error) {
	case ERR_NONE:
		return "";
	case ERR_ERRNO:
		for (size_t i = 0; i < sizeof errnos / sizeof *errnos; i++)
			if (errnos[i].number == err_no)
				return errnos[i].name;
		return "_OTHER";
	case ERR_CLIENT_CLOSED:
		return "client_closed";
	case ERR_CLOSED:
		return "closed";
	case ERR_PEER_CLOSED:
		return "peer_closed";
	case ERR_BAD_MESSAGE:
		return "bad_message";
	case ERR_PROCESS_EXIT:
		return "process_exit";
	case ERR_PROCESS_KILLED:
		return "process_killed";
	case ERR_TIMEOUT:
		return "timeout";
	case ERR_CRASHED:
		return signal_name(err_no);
	case ERR_NOT_RUN:
		return "not_run";
	}
	return "_OTHER";
}

const char *arena_counter_name(enum counter c)
{
	switch (c) {
	case COUNT_SPANS:
		return "spans";
	case COUNT_DROP_FULL:
		return "dropped.arena_full";
	case COUNT_DROP_PIPELINE:
		return "dropped.pipeline";
	case COUNT_DROP_TABLE:
		return "dropped.table_full";
	case COUNT_OPAQUE_PROTOCOL:
		return "opaque.protocol";
	case COUNT_OPAQUE_BROKEN:
		return "opaque.broken";
	case COUNT_OPAQUE_UPGRADE:
		return "opaque.upgrade";
	case COUNT_OPAQUE_HEAD:
		return "opaque.head";
	case COUNT_OPAQUE_BUSY:
		return "opaque.busy";
	case COUNT_OPAQUE_UNSEEN:
		return "opaque.unseen";
	case COUNT_NOT_INJECTED:
		return "not_injected";
	case COUNT_CUT:
		return "cut";
	case COUNT_SENT:
		return "sent";
	case COUNT_DROP_QUEUE:
		return "dropped.queue_full";
	case COUNT_DROP_REFUSED:
		return "dropped.refused";
	case COUNT_DROP_EXPIRED:
		return "dropped.expired";
	case COUNT_DROP_BAD:
		return "dropped.malformed";
	case COUNT_TEXTS:
		return "texts";
	case COUNT_DROP_TEXT:
		return "dropped.text";
	case COUNT_DROP_CRASH:
		return "dropped.crash";
	case COUNT_LINES:
		return "lines";
	case COUNT_LINES_SENT:
		return "lines.sent";
	case COUNT_LINES_FILTERED:
		return "lines.filtered";
	case COUNT_DROP_LINES:
		return "dropped.lines";
	case COUNT_OPAQUE_DB:
		return "opaque.database";
	case COUNT_DROP_STATEMENT:
		return "dropped.statement";
	case COUNT_MAX:
		break;
	}
	return NULL;
}

/* ---- reading ---- */

/* Shared memory may change under us: what was read into x is not read again. */
#define LOOK_ONCE(x) __asm__ volatile("" \
	                                  : "+r"(x))

/* The stream of several slots, put together. 0: broken chain. */
static bool gather(const struct arena *a, const struct span_rec *r, uint32_t len, char *to)
{
	uint32_t done = REC_VAR_FIRST, i = r->cont;
	memcpy(to, r->var, REC_VAR_FIRST);
	for (uint32_t n = 0; done < len; n++) {
		if (i >= arena_slots(a) || slot_state(a, i) != SLOT_MORE || n > CHAIN_MAX)
			return false;
		const struct slot_more *m = arena_more(a, i);
		uint32_t k = len - done < MORE_ROOM ? len - done : MORE_ROOM;
		memcpy(to + done, m->var, k);
		done += k;
		i = atomic_load_explicit(&m->next, memory_order_relaxed);
	}
	return true;
}

static const struct arena_proc *proc_of(const struct arena *a, const struct span_rec *r)
{
	uint16_t proc = r->proc;
	LOOK_ONCE(proc);
	if (proc >= ARENA_PROCS || a->procs[proc].pid != r->pid)
		return NULL;
	uint32_t used = atomic_load_explicit(&a->procs[proc].used, memory_order_acquire);
	return used == PROC_VALID || used == PROC_GONE ? &a->procs[proc] : NULL;
}

/* All but the strings, which need no zeroing: it took longer than to read them. */
static bool view_fields(const struct arena *a, const struct span_rec *r, uint8_t kind, struct rec_view *out)
{
	if ((kind < SPAN_SERVER || kind >= SPAN_KINDS) && (kind < SPAN_TEXT || kind > SPAN_SAID))
		return false;
	if (r->method > HTTP1_PATCH || r->error > ERR_NOT_RUN || r->status > 999 || r->minor > 9)
		return false;
	const struct rec_addr *addr[2] = {&r->peer, &r->local};
	for (int i = 0; i < 2; i++)
		if (addr[i]->family != 0 && addr[i]->family != 4 && addr[i]->family != 6)
			return false;

	out->rec = r;
	out->proc = proc_of(a, r);
	out->has = out->bytes = 0;
	return true;
}

/* Whole strings of p[0..len); false: the last one is not. */
static bool view_strings(const char *p, uint32_t len, struct rec_view *out)
{
	for (uint32_t at = 0; at < len;) {
		uint16_t n;
		if (len - at < 4)
			return false;
		uint8_t tag = (uint8_t)p[at];
		memcpy(&n, p + at + 2, 2);
		LOOK_ONCE(n);
		LOOK_ONCE(tag);
		at += 4;
		if (n > len - at)
			return false;
		if (tag && tag < REC_TAG_MAX && !(out->has >> tag & 1))
			rec_set(out, tag, (struct slice){p + at, n});
		at += n;
	}
	return true;
}

bool rec_view(const struct arena *a, uint32_t slot, char *scratch, struct rec_view *out)
{
	if (slot >= arena_slots(a))
		return false;
	const struct span_rec *r = arena_slot(a, slot);
	uint32_t state = slot_state(a, slot), len = r->var_len;
	LOOK_ONCE(len);
	if ((state != SLOT_TAKEN && state != SLOT_DONE) || len > REC_VAR_MAX)
		return false;
	uint8_t kind = r->kind;
	LOOK_ONCE(kind);
	if (!view_fields(a, r, kind, out))
		return false;
	const char *p = r->var;
	if (len > REC_VAR_FIRST) {
		if (!gather(a, r, len, scratch))
			return false;
		p = scratch;
	}
	if (kind >= SPAN_TEXT) {
		rec_set(out, REC_TEXT, (struct slice){p, len});
		return true;
	}
	return view_strings(p, len, out);
}

void rec_owner(const struct arena *a, uint32_t slot, struct rec_view *out)
{
	out->rec = arena_slot(a, slot);
	out->proc = proc_of(a, out->rec);
	out->has = out->bytes = 0;
}

bool rec_view_open(const struct arena *a, uint32_t slot, struct span_rec *copy, struct rec_view *out)
{
	if (slot >= arena_slots(a) || slot_state(a, slot) != SLOT_OPEN)
		return false;
	const struct span_rec *r = arena_slot(a, slot);
	racy_copy(copy, r, SLOT_SIZE);
	/* Whose strings are these? */
	if (slot_state(a, slot) != SLOT_OPEN || memcmp(r->span_id, copy->span_id, sizeof copy->span_id) != 0)
		return false;
	if (copy->kind == SPAN_TEXT || !view_fields(a, copy, copy->kind, out))
		return false;
	view_strings(copy->var, copy->var_len < REC_VAR_FIRST ? copy->var_len : REC_VAR_FIRST, out);
	return true;
}
