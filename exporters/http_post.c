/* One POST: what libcurl is told, and what becomes of the answer. */
#include "base/clock.h"
#include "exporters/http_ca.h"
#include "exporters/http_call.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define MS UINT64_C(1000000)

/* ---- body ---- */

bool http_compress(struct request *r)
{
	z_stream z = {.next_in = (unsigned char *)r->body.p, .avail_in = (uInt)r->body.n};
	struct buf out = {0};
	/* Level 1: telemetry repeats itself, more effort gains a tenth and costs three times the time. */
	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	size_t bound = deflateBound(&z, (uLong)r->body.n);
	bool ok = buf_reserve(&out, bound);
	if (ok) {
		z.next_out = (unsigned char *)out.p;
		z.avail_out = (uInt)out.cap;
		ok = deflate(&z, Z_FINISH) == Z_STREAM_END;
		out.n = z.total_out;
	}
	deflateEnd(&z);
	if (!ok) {
		buf_free(&out);
		return false;
	}
	buf_free(&r->body);
	char *tight = realloc(out.p, out.n); /* the bound is the plain size; it may wait for a retry */
	r->body = (struct buf){.p = tight ? tight : out.p, .n = out.n, .cap = tight ? out.n : out.cap};
	return true;
}

/* ---- callbacks ---- */

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct http_call *c = ctx;
	n *= size;
	c->body_seen += n;
	if (c->body_seen > ANSWER_LIMIT)
		return 0;
	size_t room = ANSWER_MAX - c->body.n;
	buf_add(&c->body, p, n < room ? n : room);
	return n;
}

/* The field's value in at most cap bytes, when the line is of that name ("name:"). */
static bool header_value(const char *p, size_t n, const char *name, char *value, size_t cap)
{
	size_t k = strlen(name);
	if (n <= k || strncasecmp(p, name, k) != 0 || n - k >= cap)
		return false;
	memcpy(value, p + k, n - k);
	value[n - k] = 0;
	value[strcspn(value, "\r\n")] = 0;
	return true;
}

/* Seconds since 1970, at most an hour away. */
static uint64_t until(const char *value, uint64_t now_ns)
{
	uint64_t at = 0, now = now_ns / 1000000000u;
	if (!settings_number(value + strspn(value, " \t"), UINT32_MAX, &at) || at <= now)
		return 0;
	return (at - now < 3600 ? at - now : 3600) * UINT64_C(1000000000);
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct http_call *c = ctx;
	char value[64];
	n *= size;
	if (!n)
		return 0;
	if (n > 5 && strncmp(p, "HTTP/", 5) == 0) { /* a head before it was interim */
		c->retry_after_ns = c->rate_wait_ns = 0;
		c->rate_used_up = c->head_whole = false;
	}
	c->head_whole |= p[0] == '\r' || p[0] == '\n';
	if (header_value(p, n, "retry-after:", value, sizeof value)) {
		c->retry_after_ns = http_retry_after(value, real_ns());
	} else if (header_value(p, n, "date:", value, sizeof value)) {
		time_t t = curl_getdate(value, NULL);
		c->date_s = t > 0 ? (uint64_t)t : 0;
	} else if (header_value(p, n, "x-amzn-errortype:", c->aws_error, sizeof c->aws_error)) {
		;
	} else if (header_value(p, n, "x-rate-limit-remaining-seconds:", value, sizeof value)) {
		c->rate_wait_ns = http_retry_after(value, real_ns());
	} else if (!c->rate_wait_ns && header_value(p, n, "x-rate-limit-reset:", value, sizeof value)) {
		c->rate_wait_ns = until(value, real_ns());
	} else if (header_value(p, n, "x-rate-limit-remaining:", value, sizeof value)) {
		c->rate_used_up = strspn(value, " \t0") == strlen(value) && strchr(value, '0');
	}
	return n;
}

static curl_socket_t on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	(void)ctx;
	(void)purpose;
	int fd = http_fd_open(a->family, a->socktype, a->protocol);
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_close(void *ctx, curl_socket_t fd)
{
	(void)ctx;
	http_fd_close(fd);
	return 0;
}

static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *ca)
{
	(void)easy;
	return http_ca_use(ca, ssl_ctx) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

/* ---- options ---- */

/*
 * The usual variables, from the copies of the program's start: libcurl would ask getenv, while the host may change
 * its environment. "" means none, and that libcurl does not look itself.
 */
static const char *proxy_var(const struct http *h, const char *lower, const char *upper)
{
	const char *v = settings_get(h->host, lower);
	return v ? v : upper ? settings_get(h->host, upper)
	                     : NULL;
}

static const char *proxy_of(const struct http *h, const char *url)
{
	/* HTTP_PROXY in capitals is not read: a CGI's client can set it. */
	const char *p = strncasecmp(url, "https:", 6) == 0 ? proxy_var(h, "https_proxy", "HTTPS_PROXY")
	                                                   : proxy_var(h, "http_proxy", NULL);
	if (!p)
		p = proxy_var(h, "all_proxy", "ALL_PROXY");
	return p ? p : "";
}

static bool set_blob(CURL *e, CURLoption option, const struct buf *b)
{
	struct curl_blob blob = {b->p, b->n, CURL_BLOB_NOCOPY};
	return curl_easy_setopt(e, option, &blob) == CURLE_OK;
}

/* NULL or what is wrong. */
static const char *set_files(struct http *h, CURL *e, const struct request *r)
{
	struct http_ca *ca = http_files_ca(h->files, r->ca_file);
	if (!ca)
		return r->ca_file ? "the certificate file cannot be read" : "no certificate authorities: set SSL_CERT_FILE";
	curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
	curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, ca);
	if (!r->client_cert)
		return NULL;
	const char *key_file = r->client_key ? r->client_key : r->client_cert;
	const struct buf *cert = http_files_get(h->files, r->client_cert), *key = http_files_get(h->files, key_file);
	if (!cert || !key)
		return "the client certificate or its key cannot be read";
	return set_blob(e, CURLOPT_SSLCERT_BLOB, cert) && set_blob(e, CURLOPT_SSLKEY_BLOB, key) ? NULL : "no memory";
}

static bool add_header(struct http_call *c, const char *line)
{
	struct curl_slist *l = curl_slist_append(c->headers, line);
	if (l)
		c->headers = l;
	return l != NULL;
}

static const char *set_options(struct http *h, struct http_call *c)
{
	CURL *e = c->easy;
	struct request *r = c->request;
	bool ok = add_header(c, "Expect:"); /* no waiting for 100-continue */
	for (const char *const *p = r->headers; p && *p; p++)
		ok &= add_header(c, *p);
	if (r->gzipped)
		ok &= add_header(c, "Content-Encoding: gzip");
	/* A user agent of the user's own goes as a header, after which libcurl sends none itself. */
	ok &= curl_easy_setopt(e, CURLOPT_URL, r->url) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_USERAGENT, h->agent) == CURLE_OK;
	ok &= curl_easy_setopt(e, CURLOPT_PROXY, r->direct ? "" : proxy_of(h, r->url)) == CURLE_OK;
	const char *no_proxy = r->direct ? "*" : proxy_var(h, "no_proxy", "NO_PROXY");
	ok &= curl_easy_setopt(e, CURLOPT_NOPROXY, no_proxy ? no_proxy : "") == CURLE_OK;
	if (!ok)
		return "no memory";
	curl_easy_setopt(e, CURLOPT_PRIVATE, c);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L); /* keys go nowhere else */
	curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
	curl_easy_setopt(e, CURLOPT_POST, 1L);
	curl_easy_setopt(e, CURLOPT_POSTFIELDS, r->body.p ? r->body.p : "");
	curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
	if (r->method && strcmp(r->method, "GET") == 0)
		curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
	else if (r->method)
		curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)((r->timeout_ns + MS - 1) / MS));
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error_text);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	/* Its cache of certificate stores would mix up destinations with different authorities. */
	curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	return strncasecmp(r->url, "https:", 6) == 0 ? set_files(h, e, r) : NULL;
}

/* ---- remembered addresses ---- */

/* "host:port" of the URL, to be freed with free(); NULL when it goes through a proxy, which looks up names itself. */
static char *key_of(const struct http *h, const char *url)
{
	char *host = NULL, *port = NULL, *key = NULL;
	CURLU *u = *proxy_of(h, url) ? NULL : curl_url();
	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
	    asprintf(&key, "%s:%s", host, port) < 0)
		key = NULL;
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return key;
}

static struct pin *pin_of(struct http *h, const char *key)
{
	for (unsigned i = 0; i < HTTP_PINS; i++)
		if (h->pins[i].key && strcmp(h->pins[i].key, key) == 0)
			return &h->pins[i];
	return NULL;
}

static void remember_address(struct http *h, struct http_call *c)
{
	char *ip = NULL, *key;
	curl_easy_getinfo(c->easy, CURLINFO_PRIMARY_IP, &ip);
	if (c->pinned || !ip || !*ip || !(key = key_of(h, c->request->url)))
		return;
	struct pin *p = pin_of(h, key);
	if (p) {
		free(key);
	} else {
		p = &h->pins[h->next_pin++ % HTTP_PINS];
		free(p->key);
		p->key = key;
	}
	snprintf(p->address, sizeof p->address, "%s", ip);
}

/* The name could not be looked up: once more with the address it had. */
static bool try_remembered(struct http *h, struct http_call *c)
{
	char *key = c->pinned ? NULL : key_of(h, c->request->url), *line = NULL;
	struct pin *p = key ? pin_of(h, key) : NULL;
	bool again = p && asprintf(&line, "+%s:%s", key, p->address) > 0 && (c->resolve = curl_slist_append(NULL, line));
	free(line);
	free(key);
	if (!again)
		return false;
	c->pinned = true;
	curl_easy_setopt(c->easy, CURLOPT_RESOLVE, c->resolve);
	curl_multi_remove_handle(h->multi, c->easy);
	return curl_multi_add_handle(h->multi, c->easy) == CURLM_OK;
}

/* ---- life of a call ---- */

struct http_call *http_post(struct http *h, struct request *r, void (*done)(void *, const struct answer *), void *ctx)
{
	struct http_call *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->request = r;
	c->done = done;
	c->ctx = ctx;
	if (r->gzip && !r->gzipped)
		r->gzipped = http_compress(r); /* else it goes as it is */
	if (!http_fds_ours())
		http_abandon(h);
	c->easy = h->n_easies ? h->easies[--h->n_easies] : curl_easy_init();
	c->error = c->easy && h->multi ? set_options(h, c) : "no memory";
	if (!c->error && curl_multi_add_handle(h->multi, c->easy) != CURLM_OK)
		c->error = "libcurl refuses the request";
	c->next = h->calls;
	h->calls = c;
	h->active++;
	h->fresh = true;
	return c;
}

static void call_free(struct http *h, struct http_call *c)
{
	struct http_call **p = &h->calls;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	h->active--;
	if (c->easy) {
		curl_multi_remove_handle(h->multi, c->easy);
		curl_easy_reset(c->easy);
		if (h->n_easies < HTTP_EASIES)
			h->easies[h->n_easies++] = c->easy;
		else
			curl_easy_cleanup(c->easy);
	}
	curl_slist_free_all(c->headers);
	curl_slist_free_all(c->resolve);
	buf_free(&c->body);
	free(c);
}

void http_cancel(struct http *h, struct http_call *c)
{
	if (!http_fds_ours())
		http_abandon(h);
	call_free(h, c);
}

void http_call_done(struct http *h, struct http_call *c, CURLcode result)
{
	struct answer a = {.error = c->error};
	long status = 0;
	char *type = NULL;
	if (result == CURLE_COULDNT_RESOLVE_HOST && try_remembered(h, c))
		return;
	if (!a.error && c->easy) {
		curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(c->easy, CURLINFO_CONTENT_TYPE, &type);
		if (result == CURLE_OK)
			remember_address(h, c);
		else
			a.error = c->body_seen > ANSWER_LIMIT ? "the answer is over 4 MiB"
			          : *c->error_text            ? c->error_text
			                                      : curl_easy_strerror(result);
	}
	a.status = status >= 200 && c->head_whole ? (int)status : 0; /* interim ones do not count */
	a.body = c->body.p ? c->body.p : "";
	a.body_len = c->body.n;
	a.content_type = type;
	a.retry_after_ns = c->retry_after_ns;
	a.rate_wait_ns = c->rate_wait_ns;
	a.rate_used_up = c->rate_used_up;
	a.date_s = c->date_s;
	/* The owner may post again from its callback: the call is out of the way by then. */
	void (*done)(void *, const struct answer *) = c->done;
	void *ctx = c->ctx;
	char text[CURL_ERROR_SIZE], kind[128], aws[sizeof c->aws_error];
	struct buf body = c->body;
	if (a.error) {
		snprintf(text, sizeof text, "%s", a.error);
		a.error = text;
	}
	if (type) {
		snprintf(kind, sizeof kind, "%s", type);
		a.content_type = kind;
	}
	if (*c->aws_error) {
		memcpy(aws, c->aws_error, sizeof aws);
		a.aws_error = aws;
	}
	c->body = (struct buf){0};
	call_free(h, c);
	h->ended++;
	done(ctx, &a);
	buf_free(&body);
}
