/*
 * HTTP/1.0 and 1.1 framing (RFC 9110, RFC 9112).
 *
 * Pure functions: no fd, clock, lock, allocation or errno; may run on a host thread and in a
 * signal handler. Input is never read past `len` (tests/unit/test_http1.c places it against a
 * guard page). Slices in results borrow the input buffer.
 */
#ifndef REMORA_HTTP1_H
#define REMORA_HTTP1_H

#include "base/slice.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Parser results: >0 = bytes of the complete head. */
#define PROTO_BAD (-1)     /* these bytes are not this protocol */
#define PROTO_PARTIAL (-2) /* a valid beginning: come back with more bytes */

#define HTTP1_HEAD_MAX (64 * 1024) /* a longer head makes the connection opaque */

enum http1_method { /* the nine registered ones; anything else is HTTP1_OTHER ("_OTHER") */
	                HTTP1_OTHER,
	                HTTP1_GET,
	                HTTP1_HEAD,
	                HTTP1_POST,
	                HTTP1_PUT,
	                HTTP1_DELETE,
	                HTTP1_CONNECT,
	                HTTP1_OPTIONS,
	                HTTP1_TRACE,
	                HTTP1_PATCH,
};

struct http1_head {
	uint32_t len;                    /* whole head with its empty line (and leading empty lines, if any) */
	uint32_t line_end;               /* offset just behind the start line's line end: headers may be inserted here */
	uint8_t method;                  /* requests: enum http1_method */
	uint8_t minor;                   /* HTTP/1.minor */
	uint16_t status;                 /* responses: 100..999 */
	bool chunked;                    /* Transfer-Encoding ends in chunked */
	bool te_other;                   /* Transfer-Encoding present but not ending in chunked */
	bool has_length;                 /* Content-Length present and valid */
	bool close;                      /* Connection: close */
	bool keep_alive;                 /* Connection: keep-alive */
	bool upgrade;                    /* Connection: upgrade and an Upgrade field */
	bool framing_conflict;           /* Content-Length beside Transfer-Encoding: the latter framed the body, as RFC 9112 6.3 says */
	bool signed_trace;               /* a signature (SigV4 SignedHeaders, HTTP Signatures) names traceparent */
	uint8_t n_traceparent;           /* how many times the field stands there (saturates) */
	uint64_t length;                 /* Content-Length */
	struct slice method_raw, target; /* requests */
	struct slice host, user_agent, forwarded, x_forwarded_for, x_forwarded_proto, x_forwarded_host;
	struct slice traceparent;   /* first; value without blanks around it; points into the input */
	struct slice tracestate[4]; /* repeated fields in order, n_tracestate of them (at most 4 kept) */
	struct slice baggage[4];
	uint8_t n_tracestate, n_baggage;
	struct slice b3, b3_trace_id, b3_span_id, b3_sampled, b3_flags;
	struct slice amzn_trace_id;
	struct slice aws_auth, aws_target; /* Authorization: AWS4-..., X-Amz-Target (proto/aws_call.h) */
};

/*
 * Parse a request (response) head at buf[0..len). `seen` = bytes already found partial by an earlier
 * call on the same growing buffer (0 on the first): lets the search for the end resume, so that a
 * head arriving byte by byte costs O(n). Returns head length, PROTO_PARTIAL or PROTO_BAD. BAD as early as the
 * bytes prove it (a TLS hello or a Redis command must be BAD at once). Accepts bare LF line ends and
 * empty lines before a request line as RFC 9112 2.2 allows.
 * Errors of the start line and NULs are BAD at once, those of fields when the head is complete. The result
 * depends on buf[0..len) only, not on how it arrived.
 * *h is set only when the result is > 0; of a response, only the members up to and including `length`.
 * A repeated field keeps its first value, but for those below that are said to be lists. Values have no blanks
 * around them; a folded value (obs-fold) has its line ends inside. Content-Length above INT64_MAX is BAD.
 */
ssize_t http1_parse_request(const char *buf, size_t len, size_t seen, struct http1_head *h);
ssize_t http1_parse_response(const char *buf, size_t len, size_t seen, struct http1_head *h);

enum http1_body_kind {
	HTTP1_BODY_NONE,
	HTTP1_BODY_LENGTH,
	HTTP1_BODY_CHUNKED,
	HTTP1_BODY_CLOSE,  /* until the connection closes */
	HTTP1_BODY_TUNNEL, /* after CONNECT 2xx or 101: no HTTP any more */
};

struct http1_body {
	uint8_t kind;
	uint8_t state;    /* private */
	bool done;        /* complete: the next byte belongs to the next message */
	uint32_t framing; /* private: bytes of this size line or of the trailers, bounded */
	uint64_t left;    /* private: bytes left of the body or of the chunk */
	uint64_t size;    /* body bytes seen so far (payload, without chunk framing) */
};

/* How the body that follows a head is framed. 1xx (but 101) responses get NONE: the final response follows. */
void http1_body_of_request(struct http1_body *b, const struct http1_head *h);
void http1_body_of_response(struct http1_body *b, const struct http1_head *h, uint8_t request_method);

/* Bytes consumed (<= n; fewer only when b->done is set), or PROTO_BAD on broken chunk framing. */
ssize_t http1_body_feed(struct http1_body *b, const char *p, size_t n);
/* The same for n bytes nobody saw (sendfile, splice). PROTO_BAD if they would cross or touch chunk framing. */
ssize_t http1_body_skip(struct http1_body *b, uint64_t n);
/* Has all of the payload passed, though the end of chunked trailers may not have been read? */
bool http1_body_payload_done(const struct http1_body *b);
/* The stream ended here: is the message complete? */
bool http1_body_eof(const struct http1_body *b);

#endif
