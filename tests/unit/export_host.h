/* For tests of the exporters: a host that there is not, and an HTTP server that answers as it is told. */
#ifndef REMORA_TEST_EXPORT_HOST_H
#define REMORA_TEST_EXPORT_HOST_H

#include "base/clock.h"
#include "exporters/abi.h"
#include "exporters/log.h"
#include "unit.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>

#define UNUSED __attribute__((unused))
#define MS UINT64_C(1000000)

/* ---- the host ---- */

static struct {
	struct export_host host;
	_Atomic uint32_t request, flushes, inside, fork_wanted;
	_Atomic uint64_t deadline;
	_Atomic bool busy;
	_Atomic int end;
	const char *env[40];
	int n_env;
	pthread_t thread;
	pthread_mutex_t lock;
	char text[1 << 16]; /* what went to stderr */
	size_t n;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool fake_busy(void)
{
	return atomic_load(&fake.busy);
}
static void fake_enter(void)
{
	OK(atomic_fetch_add(&fake.inside, 1) == 0);
}
static void fake_leave(void)
{
	OK(atomic_fetch_sub(&fake.inside, 1) == 1);
}
static void fake_flushed(void)
{
	atomic_store(&fake.request, REQUEST_NONE);
	atomic_fetch_add(&fake.flushes, 1);
}
static bool fake_write(const char *text, size_t n)
{
	pthread_mutex_lock(&fake.lock);
	if (fake.n + n < sizeof fake.text) {
		memcpy(fake.text + fake.n, text, n);
		fake.n += n;
		fake.text[fake.n] = 0;
	}
	pthread_mutex_unlock(&fake.lock);
	if (getenv("SHOW"))
		(void)!write(1, text, n);
	return true;
}

/* NAME=VALUE, to be there for ever */
UNUSED static void fake_env(const char *fmt, ...)
{
	char *s;
	va_list ap;
	va_start(ap, fmt);
	OK(vasprintf(&s, fmt, ap) > 0);
	va_end(ap);
	fake.env[fake.n_env++] = s;
}

UNUSED static void fake_env_clear(void)
{
	while (fake.n_env)
		free((char *)fake.env[--fake.n_env]);
	memset(fake.env, 0, sizeof fake.env);
	fake.n = 0;
	*fake.text = 0;
}

UNUSED static void fake_host(uint32_t arena_bytes)
{
	fake.host = (struct export_host){
		.version = EXPORT_ABI,
		.arena = arena_new_anonymous(arena_bytes, 1),
		.dir = "",
		.env = fake.env,
		.log_level = getenv("SHOW") ? LOG_DEBUG : LOG_WARN,
		.program = "/bin/test",
		.agent = "remora/0.1.0",
		.busy = fake_busy,
		.run_enter = fake_enter,
		.run_leave = fake_leave,
		.request = &fake.request,
		.deadline_ns = &fake.deadline,
		.flushed = fake_flushed,
		.stderr_write = fake_write,
	};
	OK(fake.host.arena);
	fake.busy = true;
	log_init(&fake.host);
}

int remora_export_main(const struct export_host *host);

UNUSED static void *fake_run(void *unused)
{
	(void)unused;
	fake.end = remora_export_main(&fake.host);
	return NULL;
}
UNUSED static void fake_start(void)
{
	fake.request = REQUEST_NONE;
	OK(pthread_create(&fake.thread, NULL, fake_run, NULL) == 0);
}
UNUSED static int fake_stop(unsigned ms)
{
	fake.deadline = mono_ns() + ms * MS;
	fake.request = REQUEST_STOP;
	arena_wake(fake.host.arena);
	OK(pthread_join(fake.thread, NULL) == 0);
	return fake.end;
}
/* How long it took, in ms. */
UNUSED static unsigned fake_flush(unsigned ms)
{
	uint32_t before = fake.flushes;
	uint64_t start = mono_ns();
	fake.deadline = start + ms * MS;
	fake.request = REQUEST_FLUSH;
	arena_wake(fake.host.arena);
	while (fake.flushes == before) {
		OK(mono_ns() - start < 20000 * MS);
		usleep(200);
	}
	return (unsigned)((mono_ns() - start) / MS);
}
UNUSED static uint64_t fake_count(enum counter c)
{
	return fake.host.arena->count[c];
}
UNUSED static const char *fake_text(void)
{
	static char copy[sizeof fake.text];
	pthread_mutex_lock(&fake.lock);
	memcpy(copy, fake.text, fake.n + 1);
	pthread_mutex_unlock(&fake.lock);
	return copy;
}

/* ---- records ---- */

UNUSED static struct span_rec *fake_span(unsigned number, const char *target)
{
	struct arena *a = fake.host.arena;
	struct span_rec *r = arena_open(a, getpid());
	if (!r)
		return NULL;
	r->tid = r->pid;
	r->proc = ARENA_PROCS;
	r->kind = SPAN_SERVER;
	r->method = 1;
	r->status = 200;
	r->trace_flags = 1;
	r->start_ns = real_ns() - MS;
	memcpy(r->trace_id, "trace-of-1234567", 16);
	memcpy(r->trace_id + 8, &number, sizeof number);
	r->span_id[0] = 's';
	memcpy(r->span_id + 4, &number, sizeof number);
	r->peer = r->local = (struct rec_addr){.ip = {127, 0, 0, 1}, .port = 80, .family = 4};
	rec_put(a, r, REC_TARGET, (struct slice){target, (uint32_t)strlen(target)});
	return r;
}
UNUSED static bool fake_commit(struct span_rec *r)
{
	if (!r)
		return false;
	r->end_ns = real_ns();
	arena_commit(fake.host.arena, r);
	return true;
}
UNUSED static void fake_spans(unsigned n)
{
	static unsigned number;
	for (unsigned i = 0; i < n; i++)
		fake_commit(fake_span(++number, "/a?b=c"));
}

/* ---- the server ---- */

struct reply {
	const char *text; /* the whole answer; NULL: none for `ms`, then the end */
	unsigned ms;      /* before it */
	bool close;       /* after it */
};
#define REPLY_200 "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"

static struct {
	int fd, port;
	struct reply script[32]; /* for the first requests; then REPLY_200 */
	_Atomic unsigned n_script, requests, connections, spans;
	char head[8192]; /* of the last request */
	char body[1 << 20];
	size_t body_n;
	uint64_t times[256];
} web;

static size_t web_length(const char *head)
{
	const char *p = strcasestr(head, "\r\ncontent-length:");
	return p ? strtoul(p + 17, NULL, 10) : 0;
}

/* Spans of a plain protobuf body: how often their parent field's neighbour, the 8-byte id, begins with 's'. */
static unsigned web_count(const char *p, size_t n)
{
	unsigned k = 0;
	for (size_t i = 0; i + 10 <= n; i++)
		k += memcmp(p + i, "\x12\x08s\0\0\0", 6) == 0;
	return k;
}

static void *web_serve(void *ctx)
{
	int fd = (int)(intptr_t)ctx;
	char *in = malloc(8 << 20);
	size_t n = 0;
	for (;;) {
		char *end;
		size_t need;
		in[n] = 0;
		while (!(end = memmem(in, n, "\r\n\r\n", 4)) || n < (need = (size_t)(end + 4 - in) + web_length(in))) {
			ssize_t got = read(fd, in + n, (8 << 20) - 1 - n);
			if (got <= 0)
				goto out;
			n += (size_t)got;
			in[n] = 0;
		}
		unsigned i = web.requests;
		size_t head_n = (size_t)(end + 4 - in);
		memcpy(web.head, in, head_n < sizeof web.head ? head_n : sizeof web.head - 1);
		web.head[head_n < sizeof web.head ? head_n : sizeof web.head - 1] = 0;
		web.body_n = need - head_n < sizeof web.body ? need - head_n : sizeof web.body;
		memcpy(web.body, in + head_n, web.body_n);
		if (i < 256)
			web.times[i] = mono_ns();
		struct reply r = i < web.n_script ? web.script[i] : (struct reply){.text = REPLY_200};
		if (r.text && strncmp(r.text, "HTTP/1.1 200", 12) == 0 && strstr(r.text, "\r\n\r\n"))
			web.spans += web_count(in + head_n, need - head_n);
		web.requests++;
		memmove(in, in + need, n - need);
		n -= need;
		if (r.ms)
			usleep(r.ms * 1000);
		if (!r.text)
			goto out;
		for (size_t at = 0, all = strlen(r.text); at < all;) {
			ssize_t put = send(fd, r.text + at, all - at, MSG_NOSIGNAL);
			if (put <= 0)
				goto out;
			at += (size_t)put;
		}
		if (r.close)
			goto out;
	}
out:
	close(fd);
	free(in);
	return NULL;
}

static void *web_accept(void *unused)
{
	(void)unused;
	for (;;) {
		int fd = accept(web.fd, NULL, NULL), on = 1;
		pthread_t t;
		if (fd < 0)
			return NULL;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		web.connections++;
		pthread_create(&t, NULL, web_serve, (void *)(intptr_t)fd);
		pthread_detach(t);
	}
}

/* A port without a listener, until web_listen(). */
UNUSED static void web_bind(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	web.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	OK(bind(web.fd, (struct sockaddr *)&a, n) == 0 && getsockname(web.fd, (struct sockaddr *)&a, &n) == 0);
	web.port = ntohs(a.sin_port);
}
UNUSED static void web_listen(void)
{
	pthread_t t;
	OK(listen(web.fd, 16) == 0);
	pthread_create(&t, NULL, web_accept, NULL);
	pthread_detach(t);
}
UNUSED static void web_start(void)
{
	web_bind();
	web_listen();
}
UNUSED static void web_reply(const char *text, unsigned ms, bool close_after)
{
	web.script[web.n_script++] = (struct reply){text, ms, close_after};
}

/* Wait for a condition, at most so long. */
#define WAIT_FOR(cond, most_ms)                                                              \
	do {                                                                                     \
		uint64_t unit_until = mono_ns() + (most_ms)*MS;                                      \
		while (!(cond)) {                                                                    \
			if (mono_ns() > unit_until)                                                      \
				unit_fail(__FILE__, __LINE__, "waited %d ms for %s", (int)(most_ms), #cond); \
			usleep(500);                                                                     \
		}                                                                                    \
	} while (0)

#endif
