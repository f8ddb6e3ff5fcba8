/*
 * HTTP for all destinations: one curl multi handle, keep-alive, at most one request in flight per destination. The
 * http*.c files are the only ones that include curl. exporter thread. See ARCHITECTURE.md for why curl lives in our
 * own object.
 *
 * Sockets live in the host's process: it may close our numbers (close_range) and use them for files of its own. So
 * each is remembered with its SO_COOKIE, and before libcurl touches anything all of them are looked at. If one is
 * not ours any more, everything libcurl holds is abandoned (leaked: closing would write into the host's file).
 */
#ifndef REMORA_HTTP_H
#define REMORA_HTTP_H

#include "exporters/exporter.h"

struct http; /* the loop */
struct http_call;

/* Once per process image, inside run_enter; cheap when it was done, also before a fork. False: libcurl cannot start. */
bool http_global_init(void);
/* User agent and proxies come from the host's description. NULL: no memory. */
struct http *http_new(const struct export_host *host);
void http_delete(struct http *h); /* aborts what is in flight without calling back */

/*
 * Read a PEM file into memory, so that a later chroot or set*id does not matter. NULL: the certificate authorities of
 * the machine (SSL_CERT_FILE or the usual places). False: cannot be read, errno says why; http_post tries once more.
 */
bool http_load(struct http *h, const char *path, bool authorities);

/* Starts a POST; `done` is called from http_run, exactly once. The request must live until then. NULL: no memory. */
struct http_call *http_post(struct http *h, struct request *r, void (*done)(void *ctx, const struct answer *a),
                            void *ctx);
void http_cancel(struct http *h, struct http_call *c); /* no call back any more */

/* Gzip the body now, for who signs it. False: it stays as it is. */
bool http_compress(struct request *r);

unsigned http_active(const struct http *h);
/* Work without waiting (between run_enter and run_leave). True: an answer was handed out. */
bool http_run(struct http *h);
/* Wait for sockets at most timeout_ms (outside run_enter). Touches no state of libcurl. */
void http_wait(struct http *h, int timeout_ms);

/* "120" or an HTTP-date, relative to now (CLOCK_REALTIME); 0 = absent or malformed. At most a day. Pure (fuzzed). */
uint64_t http_retry_after(const char *value, uint64_t now_ns);

/* ---- for http*.c ---- */

#define HTTP_FDS 32

struct http_fd { /* one of our sockets, at most one list per process */
	int fd;
	bool dns;        /* c-ares made it: it is closed unseen */
	uint64_t cookie; /* SO_COOKIE */
};
/* http_socket.c: sockets of the process. A forked child that exports closes what it inherited. */
void http_fds_begin(void);
int http_fd_open(int family, int type, int protocol); /* close-on-exec, moved high; -1 */
void http_fd_seen(int fd);                            /* a socket that libcurl watches: c-ares' are new to us */
void http_fd_unseen(int fd);
void http_fd_close(int fd); /* if it is still ours */
bool http_fd_ours(int fd);
/* TCP: full packets only, until it is taken back. Of those that are ours; a new connection may come in between. */
void http_fds_cork(bool on);
bool http_fds_ours(void); /* false: at least one is closed or something else */
void http_fds_forget(void);

#endif
