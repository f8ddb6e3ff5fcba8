/*
 * HTTP/1 on a connection: bytes in, requests and responses out. The connection is locked by the caller.
 * Pure but for clocks and span.h; no system calls. host, any context.
 */
#ifndef REMORA_CONN_HTTP_H
#define REMORA_CONN_HTTP_H

#include "conn/conn.h"

/* Bytes that passed towards this program (rx) or from it (tx); start_ns: when the call that moved them began. */
void http_rx(struct conn *c, int fd, const char *p, size_t n, uint64_t start_ns);
void http_tx(struct conn *c, int fd, const char *p, size_t n, uint64_t start_ns);
/* The same for bytes nobody saw (sendfile, splice, MSG_TRUNC). */
void http_rx_unseen(struct conn *c, uint64_t n);
void http_tx_unseen(struct conn *c, uint64_t n);
void http_eof(struct conn *c);                   /* rx: end of file */
void http_failed(struct conn *c, int err);       /* the connection is broken */
void http_write_failed(struct conn *c, int err); /* likewise; but a client may still find an answer to read */
void http_sent_all(struct conn *c);              /* shutdown(SHUT_WR) by this program */
void http_closed(struct conn *c);                /* by this program */
void http_give_up(struct conn *c);               /* opaque: requests that could not be followed are forgotten */
void http_disown(struct conn *c);                /* forked child: what is in flight is the parent's */
/* A request behind those in flight; the end of the oldest. */
void http_push(struct conn *c, struct txn *t);
void http_finish(struct conn *c, uint8_t error, int err);

#endif
