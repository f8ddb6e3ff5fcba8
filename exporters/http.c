/* HTTP over libcurl's multi interface, driven by its socket and timer callbacks. */
#include "exporters/http.h"
#include "base/clock.h"
#include "exporters/http_call.h"
#include "exporters/log.h"
#include "exporters/secret.h"
#include "exporters/settings.h"
#include <openssl/crypto.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define CONNECTIONS 8L /* kept alive, for all destinations */
#define STEPS 16       /* of libcurl at a time: a body of a usual batch goes out in one turn of the worker */

bool http_global_init(void)
{
	static bool done;
	if (done)
		return true;
	/* Its exit handler would run before our last flush; its configuration file is the host's. */
	if (!OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG, NULL))
		return false;
	done = curl_global_init_mem(CURL_GLOBAL_DEFAULT, secret_alloc, secret_free, secret_realloc, secret_strdup,
	                            secret_calloc) == CURLE_OK;
	return done;
}

/* ---- what libcurl asks of us ---- */

static int watch(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
	struct http *h = ctx;
	unsigned i = 0;
	(void)easy;
	(void)unused;
	while (i < h->n_fds && h->fds[i].fd != fd)
		i++;
	if (what == CURL_POLL_REMOVE) {
		if (i < h->n_fds)
			h->fds[i] = h->fds[--h->n_fds];
		http_fd_unseen(fd);
		return 0;
	}
	if (i == HTTP_FDS)
		return -1;
	if (i == h->n_fds)
		h->n_fds++;
	http_fd_seen(fd);
	h->fds[i] = (struct pollfd){
		.fd = fd,
		.events = (short)((what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0)),
	};
	return 0;
}

static int timer(CURLM *multi, long ms, void *ctx)
{
	struct http *h = ctx;
	(void)multi;
	h->timer_ns = ms < 0 ? 0 : mono_ns() + (uint64_t)ms * MS;
	return 0;
}

static bool multi_new(struct http *h)
{
	h->n_fds = 0;
	h->timer_ns = 0;
	h->multi = curl_multi_init();
	if (!h->multi)
		return false;
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, watch);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS);
	return true;
}

/* ---- the loop ---- */

struct http *http_new(const struct export_host *host)
{
	struct http *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	http_fds_begin();
	h->host = host;
	h->files = http_files_new(host);
	snprintf(h->agent, sizeof h->agent, "%s OTel-OTLP-Exporter-C/0.1.0", host->agent);
	if (!h->files || !multi_new(h)) {
		http_delete(h);
		return NULL;
	}
	return h;
}

void http_delete(struct http *h)
{
	if (!h)
		return;
	if (!http_fds_ours())
		http_abandon(h);
	while (h->calls)
		http_cancel(h, h->calls);
	while (h->n_easies)
		curl_easy_cleanup(h->easies[--h->n_easies]);
	curl_multi_cleanup(h->multi);
	http_files_delete(h->files);
	for (unsigned i = 0; i < HTTP_PINS; i++)
		free(h->pins[i].key);
	free(h);
}

bool http_load(struct http *h, const char *path, bool authorities)
{
	return authorities ? http_files_ca(h->files, path) != NULL : http_files_get(h->files, path) != NULL;
}

unsigned http_active(const struct http *h)
{
	return h->active;
}

/* A socket was taken away: nothing that libcurl holds may be touched, not even to free it. See http.h. */
void http_abandon(struct http *h)
{
	log_debug("the program closed sockets of the exporter; connecting again");
	for (struct http_call *c = h->calls; c; c = c->next) {
		c->easy = NULL;
		if (!c->error)
			c->error = "the program closed the connection's descriptor";
	}
	h->n_easies = 0;
	http_fds_forget();
	if (!multi_new(h))
		h->multi = NULL;
}

static void finish_failed(struct http *h)
{
	for (struct http_call *c = h->calls, *next; c; c = next) {
		next = c->next;
		if (c->error) {
			http_call_done(h, c, CURLE_OK);
			next = h->calls; /* the callback may have changed the list */
		}
	}
}

/* True: a socket was ready, so it may be again. */
static bool step(struct http *h)
{
	bool any = false;
	struct pollfd ready[HTTP_FDS];
	unsigned n = h->n_fds;
	int running;
	memcpy(ready, h->fds, n * sizeof *ready);
	if (n && poll(ready, n, 0) > 0)
		for (unsigned i = 0; i < n; i++) {
			int what = (ready[i].revents & POLLIN ? CURL_CSELECT_IN : 0) |
			           (ready[i].revents & POLLOUT ? CURL_CSELECT_OUT : 0) |
			           (ready[i].revents & (POLLERR | POLLHUP | POLLNVAL) ? CURL_CSELECT_ERR : 0);
			any |= what != 0;
			if (what)
				curl_multi_socket_action(h->multi, ready[i].fd, what, &running);
		}
	if (h->timer_ns && mono_ns() >= h->timer_ns) {
		h->timer_ns = 0;
		curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
		any = true;
	}
	CURLMsg *m;
	int left;
	while ((m = curl_multi_info_read(h->multi, &left)))
		if (m->msg == CURLMSG_DONE) {
			struct http_call *c = NULL;
			CURLcode result = m->data.result;
			curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
			if (c)
				http_call_done(h, c, result);
		}
	return any;
}

bool http_run(struct http *h)
{
	uint64_t before = h->ended;
	if (!h->active)
		return false;
	if (!http_fds_ours())
		http_abandon(h);
	finish_failed(h);
	/* libcurl writes head and body apart, the body in pieces: each packet of their ends would wake the receiver. */
	bool fresh = h->fresh;
	h->fresh = false;
	if (fresh)
		http_fds_cork(true);
	for (int i = 0; i < STEPS && h->active && h->multi && step(h); i++)
		;
	if (fresh)
		http_fds_cork(false);
	return h->ended != before;
}

void http_wait(struct http *h, int timeout_ms)
{
	struct pollfd fds[HTTP_FDS];
	unsigned n = h->n_fds;
	for (const struct http_call *c = h->calls; c; c = c->next)
		if (c->error)
			return;
	if (h->timer_ns) {
		uint64_t now = mono_ns(), left = h->timer_ns > now ? (h->timer_ns - now + MS - 1) / MS : 0;
		if (left < (uint64_t)timeout_ms)
			timeout_ms = (int)left;
	}
	memcpy(fds, h->fds, n * sizeof *fds);
	poll(fds, n, timeout_ms);
}
