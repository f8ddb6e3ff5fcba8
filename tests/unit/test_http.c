/* http.h alone: Retry-After, one connection, limits, and a host that takes our sockets away. */
#include "export_host.h"
#include "exporters/http.h"
#include "exporters/settings.h"
#include <fcntl.h>
#include <sys/stat.h>

#define NOW (UINT64_C(784111777) * 1000000000) /* Sun, 06 Nov 1994 08:49:37 GMT */
#define DAY UINT64_C(86400)

TEST(retry_after)
{
	static const struct {
		const char *value;
		uint64_t seconds;
	} rows[] = {
		{NULL, 0},
		{"", 0},
		{"0", 0},
		{"120", 120},
		{" 7 ", 7},
		{"86400", DAY},
		{"86401", DAY},
		{"99999999999999999999999", DAY},
		{"-1", 0},
		{"1.5", 0},
		{"1s", 0},
		{"x", 0},
		{"Sun, 06 Nov 1994 08:49:38 GMT", 1},
		{"Sun, 06 Nov 1994 08:49:37 GMT", 0},
		{"Sun, 06 Nov 1994 08:49:36 GMT", 0},
		{"Sun, 06 Nov 1994 09:49:37 GMT", 3600},
		{"Sunday, 06-Nov-94 08:50:37 GMT", 60},
		{"Sun Nov  6 08:49:39 1994", 2},
		{"Mon, 07 Nov 1994 08:49:37 GMT", DAY},
		{"Mon, 07 Nov 1995 08:49:37 GMT", DAY},
		{"Sun, 06 Nov 9999 08:49:37 GMT", DAY},
		{"Sun, 06 Nov 1994 08:49:38", 0},
		{"Sun, 06 Nov 1994 08:49:38 GMTx", 0},
		{"Sun, 06 Nov 1994 25:49:38 GMT", 0},
		{"Sun, 99 Nov 1994 08:49:38 GMT", 0},
		{"Sun, 06 Foo 1994 08:49:38 GMT", 0},
		{"Sun, 06 Nov 199999 08:49:38 GMT", 0},
		{"Sun, ", 0},
		{"Sun Nov", 0},
		{"Sun, 06 Nov", 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].value ? rows[i].value : "NULL");
		EQ_INT(http_retry_after(rows[i].value, NOW), rows[i].seconds * 1000000000);
	}
	/* The leap day and the ends of months. */
	EQ_INT(http_retry_after("Thu, 29 Feb 2024 00:00:00 GMT", UINT64_C(1709164799) * 1000000000), 1000000000);
	EQ_INT(http_retry_after("Fri, 01 Mar 2024 00:00:00 GMT", UINT64_C(1709251199) * 1000000000), 1000000000);
	EQ_INT(http_retry_after("Wed, 01 Jan 2025 00:00:00 GMT", UINT64_C(1735689599) * 1000000000), 1000000000);
	EQ_INT(http_retry_after("Sun, 06 Nov 1994 08:49:38 GMT", NOW + 400000000), 600000000);
}

/* ---- */

static struct http *h;
static struct got {
	int n, status;
	char error[256], type[64];
	size_t body_len;
	uint64_t retry_after_ns;
} got;
static char url[256];
static struct request req;

static void done(void *ctx, const struct answer *a)
{
	struct got *g = ctx;
	g->n++;
	g->status = a->status;
	snprintf(g->error, sizeof g->error, "%s", a->error ? a->error : "");
	snprintf(g->type, sizeof g->type, "%s", a->content_type ? a->content_type : "");
	g->body_len = a->body_len;
	g->retry_after_ns = a->retry_after_ns;
}

static void begin(void)
{
	web_bind();
	fake_host(64 << 10);
	OK(http_global_init() && http_global_init());
	h = http_new(&fake.host);
	OK(h);
	snprintf(url, sizeof url, "http://127.0.0.1:%d/x", web.port);
}

static void post(const char *to)
{
	buf_free(&req.body);
	req = (struct request){.url = to, .timeout_ns = 5000 * MS};
	buf_add(&req.body, "hello", 5);
	got = (struct got){0};
	OK(http_post(h, &req, done, &got));
}
static void finish(void)
{
	uint64_t until = mono_ns() + 10000 * MS;
	while (!got.n) {
		OK(mono_ns() < until);
		http_wait(h, 20);
		http_run(h);
	}
	EQ_INT(got.n, 1);
	EQ_INT(http_active(h), 0);
}
static void end(void)
{
	http_delete(h);
	buf_free(&req.body);
}

TEST(keeps_its_connection)
{
	begin();
	web_listen();
	for (int i = 0; i < 5; i++) {
		post(url);
		finish();
		EQ_INT(got.status, 200);
	}
	EQ_INT(web.connections, 1);
	EQ_MEM(web.body, web.body_n, "hello", 5);
	end();
}

TEST(connects_again_after_the_server_closed)
{
	begin();
	web_listen();
	web_reply(REPLY_200, 0, true);
	for (int i = 0; i < 3; i++) {
		post(url);
		finish();
		EQ_INT(got.status, 200);
		usleep(20000);
	}
	EQ_INT(web.connections, 2);
	end();
}

TEST(refused_connection)
{
	begin();
	post(url);
	finish();
	EQ_INT(got.status, 0);
	OK(*got.error);
	end();
}

TEST(times_out)
{
	begin();
	web_listen();
	web_reply(NULL, 20000, true);
	post(url);
	req.timeout_ns = 200 * MS;
	http_delete(h);
	h = http_new(&fake.host);
	OK(http_post(h, &req, done, &got));
	uint64_t start = mono_ns();
	finish();
	OK(mono_ns() - start >= 190 * MS && mono_ns() - start < 1000 * MS);
	EQ_INT(got.status, 0);
	OK(*got.error);
	end();
}

TEST(cancelled_calls_do_not_call_back)
{
	begin();
	web_listen();
	web_reply(NULL, 20000, true);
	web_reply(NULL, 20000, true);
	post(url);
	struct http_call *second = http_post(h, &req, done, &got);
	EQ_INT(http_active(h), 2);
	WAIT_FOR((http_wait(h, 1), http_run(h), web.requests == 2), 2000);
	http_cancel(h, second);
	EQ_INT(http_active(h), 1);
	end(); /* the other is still in flight */
	EQ_INT(got.n, 0);
}

TEST(answers_are_bounded)
{
	static char text[6 << 20];
	begin();
	web_listen();
	int n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1 << 20);
	memset(text + n, 'x', 1 << 20);
	web_reply(text, 0, false);
	post(url);
	finish();
	EQ_INT(got.status, 200);
	EQ_STR(got.error, "");
	EQ_INT(got.body_len, ANSWER_MAX);
	n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 5 << 20);
	memset(text + n, 'x', 5 << 20);
	web_reply(text, 0, false);
	post(url);
	finish();
	EQ_INT(got.status, 200);
	OK(*got.error);
	end();
}

TEST(interim_answers_do_not_count)
{
	begin();
	web_listen();
	web_reply("HTTP/1.1 103 Hints\r\nRetry-After: 5\r\n\r\nHTTP/1.1 503 x\r\nretry-after:  3 \r\nContent-Type: a/b; c=d\r\n"
	          "Content-Length: 2\r\n\r\nno",
	          0, false);
	post(url);
	finish();
	EQ_INT(got.status, 503);
	EQ_INT(got.retry_after_ns, 3000 * MS);
	EQ_STR(got.type, "a/b; c=d");
	EQ_INT(got.body_len, 2);
	web_reply("HTTP/1.1 103 Hints\r\n\r\n", 0, true);
	post(url);
	finish();
	EQ_INT(got.status, 0);
	end();
}

/* A bundle that cannot be read; an address that is not there; a proxy. */
TEST(what_cannot_work_says_so)
{
	begin();
	post("https://127.0.0.1:1/");
	buf_free(&req.body);
	http_delete(h);
	h = http_new(&fake.host);
	OK(!http_load(h, "/nonexistent/ca.pem", true) && errno == ENOENT);
	OK(!http_load(h, "/etc", true) && errno == EISDIR);
	OK(!http_load(h, "/dev/zero", false));
	OK(!http_load(h, "/etc/passwd", true) && errno == EINVAL);
	req = (struct request){.url = "https://127.0.0.1:1/", .ca_file = "/nonexistent/ca.pem"};
	got = (struct got){0};
	OK(http_post(h, &req, done, &got));
	finish();
	EQ_INT(got.status, 0);
	OK(strstr(got.error, "certificate"));
	post("http://nothing.invalid./");
	finish();
	EQ_INT(got.status, 0);
	OK(*got.error);
	end();
}

TEST(proxy_variables)
{
	fake_env("https_proxy=http://127.0.0.1:1");
	fake_env("HTTP_PROXY=http://127.0.0.1:1"); /* not read: a CGI's client can set it */
	begin();
	web_listen();
	post(url);
	finish();
	EQ_INT(got.status, 200);
	fake_env("http_proxy=http://127.0.0.1:%d", web.port);
	post("http://elsewhere.invalid/v1");
	finish();
	EQ_INT(got.status, 200);
	OK(strncmp(web.head, "POST http://elsewhere.invalid/v1 HTTP/1.1\r\n", 43) == 0);
	fake_env("no_proxy=.invalid");
	post("http://elsewhere.invalid/v1");
	finish();
	EQ_INT(got.status, 0);
	setenv("all_proxy", "http://127.0.0.1:1", 1); /* the host's environment is not ours */
	post(url);
	finish();
	EQ_INT(got.status, 200);
	end();
}

/* ---- sockets ---- */

static int our_socket(void)
{
	for (int fd = 0; fd < 1100; fd++) {
		struct sockaddr_in a;
		socklen_t n = sizeof a;
		if (getpeername(fd, (struct sockaddr *)&a, &n) == 0 && a.sin_family == AF_INET && ntohs(a.sin_port) == web.port)
			return fd;
	}
	return -1;
}

TEST(sockets_are_out_of_the_way)
{
	begin();
	web_listen();
	post(url);
	finish();
	int fd = our_socket();
	OK(fd >= 40 && fd < 64);
	OK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	end();
	OK(our_socket() < 0);
}

/* The host closes our number and opens a file, which gets it: not a byte of ours may come there, nor may it close. */
static void stolen(bool in_flight)
{
	char name[] = "/tmp/remora-test-XXXXXX";
	struct stat st;
	begin();
	web_listen();
	if (in_flight)
		web_reply(NULL, 300, true);
	post(url);
	if (in_flight) {
		WAIT_FOR((http_wait(h, 1), http_run(h), web.requests == 1), 2000);
	} else {
		finish();
	}
	int fd = our_socket(), file = mkstemp(name);
	OK(fd >= 0 && dup2(file, fd) == fd);
	if (in_flight) {
		finish();
		EQ_INT(got.status, 0);
	}
	post(url);
	finish();
	EQ_INT(got.status, 200);
	end();
	OK(fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0);
	unlink(name);
	_exit(0); /* what was abandoned is leaked on purpose */
}
TEST(a_stolen_idle_socket)
{
	stolen(false);
}
TEST(a_stolen_socket_in_flight)
{
	stolen(true);
}

TEST(a_closed_socket)
{
	begin();
	web_listen();
	post(url);
	finish();
	close(our_socket());
	post(url);
	finish();
	EQ_INT(got.status, 200);
	EQ_INT(web.connections, 2);
	end();
	_exit(0);
}

/* A child that exports makes everything anew, and the parent's connection lives on. */
TEST(fork_after_a_request)
{
	begin();
	web_listen();
	post(url);
	finish();
	int fd = our_socket();
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		unit_name = "fork_after_a_request (child)";
		h = http_new(&fake.host);
		OK(fcntl(fd, F_GETFD) < 0); /* what was inherited is closed */
		post(url);
		finish();
		EQ_INT(got.status, 200);
		_exit(0);
	}
	int st;
	OK(waitpid(pid, &st, 0) == pid && WIFEXITED(st) && WEXITSTATUS(st) == 0);
	post(url);
	finish();
	EQ_INT(got.status, 200);
	EQ_INT(our_socket(), fd);
	end();
}
