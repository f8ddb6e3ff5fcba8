/*
 * One unit of work as it lies in the arena: written in place by a host thread, read by an exporter that may be in
 * another process. So it holds no pointers, and a reader checks every field (rec_check) before it believes it.
 *
 * A record is one slot of SLOT_SIZE bytes, and continuation slots where its strings need more. Owner: the process
 * `pid` from arena_open() until arena_commit(), then the exporter. All integers in host byte order.
 */
#ifndef REMORA_RECORD_H
#define REMORA_RECORD_H

#include "base/slice.h"
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SLOT_SIZE 512
#define SLOT_NONE UINT32_MAX
#define REC_VAR_MAX (64 * 1024) /* strings of one record; more is cut off and marked */

enum slot_state {
	SLOT_FREE,
	SLOT_OPEN,  /* a request in flight (or a record being written) of process `pid` */
	SLOT_HELD,  /* a failed connect that a success on another address may still take back, until hold_until_ns */
	SLOT_DONE,  /* complete, on the done list (or about to be: see arena_sweep) */
	SLOT_TAKEN, /* the exporter has it; stays until every destination has answered, so that a kill loses nothing */
	SLOT_MORE,  /* continuation of another slot */
};

enum span_kind {
	SPAN_SERVER = 1, /* HTTP server */
	SPAN_CLIENT,     /* HTTP client */
	SPAN_CONNECT,    /* a connect that failed before any byte */
	SPAN_DB,         /* a database client's command: `method` is enum db_system, `minor` enum rec_db, req_size how many times */
	SPAN_KINDS,      /* spans are below */
	/* No span: text that the program wrote to fd `err_no`. `var` is the bytes, without tags; trace_id and span_id are
	 * those of the thread's open request, or zero; start_ns is its time. The exporter's: `status` 1, it was looked at
	 * for errors; `req_size`, so many bytes were delivered as lines. */
	SPAN_TEXT = 16,
	/*
	 * Nor this: how the process crashed, left by the helper that made the report, for the spans that end by it. `var` is
	 * uuid, type, message, stack trace, each with its NUL; ids are those of the crashed thread's request.
	 */
	SPAN_EXCEPTION,
	SPAN_SAID, /* nor this: a crash file has what thread `tid` wrote to stderr until then */
};

/* error.type when there is no status code that says it; names in rec_error_name(). */
enum span_error {
	ERR_NONE,
	ERR_ERRNO,          /* err_no names it: ECONNREFUSED, ECONNRESET, ETIMEDOUT ... */
	ERR_CLIENT_CLOSED,  /* server: the peer closed before the response was complete */
	ERR_CLOSED,         /* this program closed before the message was complete */
	ERR_PEER_CLOSED,    /* client: the server closed before the response was complete */
	ERR_BAD_MESSAGE,    /* the response was not HTTP */
	ERR_PROCESS_EXIT,   /* the process ended normally with the request open */
	ERR_PROCESS_KILLED, /* the process was gone: told by the exporter */
	ERR_TIMEOUT,        /* given up while connecting */
	ERR_CRASHED,        /* the process crashed with the request open: err_no is the signal */
	ERR_NOT_RUN,        /* database: a command before it in the pipeline had failed */
};

enum rec_tag {                 /* of the strings */
	           REC_TARGET = 1, /* request target, secrets already redacted: origin form, absolute form, "*" or authority */
	           REC_HOST,       /* Host field */
	           REC_USER_AGENT,
	           REC_METHOD,      /* as sent, when method is HTTP1_OTHER */
	           REC_TRACESTATE,  /* of the span: what came in, or what we began */
	           REC_CLIENT_ADDR, /* from Forwarded / X-Forwarded-For */
	           REC_ROUTE,
	           REC_HEADERS,   /* of the request, as REMORA_CAPTURE_HEADERS says: "name: value" lines */
	           REC_USER,      /* who made the request, as REMORA_USER finds it */
	           REC_TEXT,      /* rec_view's name for the bytes of a SPAN_TEXT or SPAN_EXCEPTION */
	           REC_AWS,       /* an AWS call: service, region, operation, kind and name of a resource, each with a line end behind it */
	           REC_AWS_MORE,  /* what its body told, in the same form */
	           REC_AWS_ID,    /* the request id of its answer */
	           REC_RULE,      /* X-Ray's sampling rule that chose it */
	           REC_QUERY,     /* database: the text, without literals */
	           REC_DB,        /* database, user, version of the server: each with a line end behind it, empty = unknown */
	           REC_DB_STATUS, /* SQLSTATE or number of the error: it failed */
	           REC_PEER_NAME, /* the peer's name as the program gave it: of a host, or path of a Unix socket */
	           REC_TAG_MAX,
};

enum rec_bits {
	REC_HTTPS = 1,     /* url.scheme is https (TLS, or a proxy said so) */
	REC_AMBIGUOUS = 2, /* remora.parent=ambiguous */
	REC_CUT = 4,       /* strings did not fit */
	REC_PARENT_REMOTE = 8,
	REC_REQ_BODY = 16,  /* req_size is meaningful: a request body was seen */
	REC_RESP_BODY = 32, /* resp_size likewise */
	REC_MERGED = 64,    /* text: of several writes */
	REC_GAP = 128,      /* text: bytes before it were not kept */
};

enum rec_db {                  /* what a SPAN_DB is */
	          REC_DB_TEXT,     /* a text was sent to be run */
	          REC_DB_PREPARED, /* a prepared statement was run */
	          REC_DB_PREPARE,  /* a statement could not be prepared: always an error */
	          REC_DB_LOGIN,    /* the server refused the session: always an error */
	          REC_DB_MAX,
};

struct rec_addr {
	uint8_t ip[16]; /* network order; IPv4 in the first four bytes */
	uint16_t port;  /* host order */
	uint8_t family; /* 0 unknown, 4, 6 (IPv4-mapped IPv6 is told as 4) */
	uint8_t pad;
};

struct span_rec {
	_Atomic uint32_t state; /* enum slot_state */
	_Atomic uint32_t next;  /* link of the free or done list */
	uint32_t cont;          /* first continuation slot or SLOT_NONE */
	int32_t pid;            /* of the owner */
	int32_t tid;
	uint16_t proc;   /* index into the arena's process table */
	uint8_t kind;    /* enum span_kind */
	uint8_t method;  /* enum http1_method */
	uint16_t status; /* HTTP status, 0 = none seen */
	uint8_t minor;   /* HTTP/1.minor */
	uint8_t error;   /* enum span_error */
	int32_t err_no;
	uint8_t bits;        /* enum rec_bits */
	uint8_t trace_flags; /* TRACE_FLAG_*: who wants it */
	uint16_t ahead;      /* a hint: the slot some links further on the done list */
	uint32_t var_len;    /* bytes of strings, over all slots */
	uint8_t trace_id[16];
	uint8_t span_id[8];
	uint8_t parent_id[8];         /* zero: a root */
	uint64_t start_ns, end_ns;    /* CLOCK_REALTIME; end_ns 0 while open */
	uint64_t req_size, resp_size; /* body bytes without chunk framing */
	uint64_t hold_until_ns;       /* SLOT_HELD: CLOCK_MONOTONIC; of a server's span the exporter's: 1, its log line was made */
	struct rec_addr peer, local;
	char var[]; /* strings: u8 tag, u8 0, u16 length, bytes, next one unaligned */
};

#define REC_VAR_FIRST (SLOT_SIZE - offsetof(struct span_rec, var))

struct slot_more {
	_Atomic uint32_t state; /* SLOT_MORE */
	_Atomic uint32_t next;  /* next continuation or SLOT_NONE; free list link when free */
	char var[SLOT_SIZE - 8];
};

_Static_assert(sizeof(struct slot_more) == SLOT_SIZE, "a slot is a slot");
_Static_assert(offsetof(struct span_rec, var) <= 224, "room for the usual strings in one slot");

/* Slots that it takes. */
static inline uint32_t rec_slots(const struct span_rec *r)
{
	const uint32_t more = sizeof((struct slot_more *)0)->var;
	uint32_t n = r->var_len < REC_VAR_MAX ? r->var_len : REC_VAR_MAX;
	return n <= REC_VAR_FIRST ? 1 : 1 + (n - REC_VAR_FIRST + more - 1) / more;
}

/* errno's name ("ECONNREFUSED") or the error's word; never NULL. Pure. */
const char *rec_error_name(uint8_t error, int err_no);

#endif
