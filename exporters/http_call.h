/* Inside http*.c: the loop's and a call's state. */
#ifndef REMORA_HTTP_CALL_H
#define REMORA_HTTP_CALL_H

#include "exporters/http.h"
#include "exporters/http_file.h"
#include <curl/curl.h>
#include <poll.h>

#define HTTP_EASIES 4 /* idle handles kept: each has a resolver channel of its own */
#define HTTP_PINS 4

struct http_call {
	struct http_call *next;
	CURL *easy; /* NULL: never started, or abandoned */
	struct request *request;
	void (*done)(void *, const struct answer *);
	void *ctx;
	const char *error; /* failed without libcurl */
	struct curl_slist *headers, *resolve;
	struct buf body; /* of the answer */
	size_t body_seen;
	uint64_t retry_after_ns, rate_wait_ns;
	bool rate_used_up;
	uint64_t date_s;
	char aws_error[128];
	bool head_whole; /* of the answer */
	bool pinned;     /* goes to a remembered address */
	char error_text[CURL_ERROR_SIZE];
};

struct pin {   /* the address that a name had, for when it cannot be looked up any more (chroot) */
	char *key; /* owned; "host:port" */
	char address[64];
};

struct http {
	const struct export_host *host;
	CURLM *multi;
	struct http_call *calls;
	unsigned active;
	uint64_t ended; /* counts answers handed out */
	bool fresh;     /* a request was added */
	CURL *easies[HTTP_EASIES];
	unsigned n_easies;
	struct pollfd fds[HTTP_FDS]; /* what libcurl watches */
	unsigned n_fds;
	uint64_t timer_ns; /* when libcurl wants to be called, 0 = not */
	struct http_files *files;
	struct pin pins[HTTP_PINS];
	unsigned next_pin;
	char agent[160];
};

/* Ends a call: tells its owner and frees it. */
void http_call_done(struct http *h, struct http_call *c, CURLcode result);
void http_abandon(struct http *h);

#endif
