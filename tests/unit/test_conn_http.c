/* Connections as a table: who does what in which order, and the records that come of it. */
#include "conn_sample.h"

/*
 * Steps, separated by '\1', begin with a letter:
 *	r read, t written bytes        R, W     the call failed: ECONNRESET, EPIPE
 *	p peeked bytes                 e        end of file
 *	T thrown away with MSG_TRUNC   s c      shutdown(SHUT_WR), close
 *	o out-of-band                  u, v     as many bytes written (sendfile), read (splice) unseen
 */
#define STEP "\1"
#define GET(t) "GET " t " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(t, len) "POST " t " HTTP/1.1\r\nContent-Length: " len "\r\n\r\n"
#define OK2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define CLOSING "HTTP/1.0 200 OK\r\n\r\n"

struct row {
	const char *steps, *want; /* "... |opaque" if nothing was of interest any more before the close */
};

/* As seen by a server; the client sees the same with r and t exchanged. */
static const struct row both[] = {
	/* one, and several in turn */
	{"r" GET("/a") STEP "t" OK2, "/a 200 resp=2"},
	{"r" GET("/a") STEP "t" OK2 STEP "r" GET("/b") STEP "t" OK2, "/a 200 resp=2; /b 200 resp=2"},
	{"r\r\n\r\n" GET("/a") STEP "t" OK2, "/a 200 resp=2"},
	{"r" POST("/p", "5") "hello" STEP "t" OK2 STEP "r" GET("/b") STEP "t" OK2, "/p 200 req=5 resp=2; /b 200 resp=2"},
	{"r" POST("/p", "0") STEP "t" OK2, "/p 200 req=0 resp=2"},
	{"r" GET("http://h/x?y") STEP "t" OK2, "http://h/x?y 200 resp=2"},
	{"rOPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n" STEP "t" OK2, "* 200 resp=2"},
	{"r" GET("/a") STEP "tHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "/a 404 resp=0"},
	{"rGET /a HTTP/1.1\n\n" STEP "tHTTP/1.1 200 OK\nContent-Length: 1\n\nx", "/a 200 resp=1"},
	/* responses without a body */
	{"rHEAD /a HTTP/1.1\r\n\r\n" STEP "tHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" STEP "r" GET("/b") STEP "t" OK2,
     "/a 200; /b 200 resp=2"},
	{"r" GET("/a") STEP "tHTTP/1.1 204 No Content\r\n\r\n" STEP "r" GET("/b") STEP "t" OK2, "/a 204; /b 200 resp=2"},
	{"r" GET("/a") STEP "tHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n" STEP "r" GET("/b") STEP "t" OK2,
     "/a 304; /b 200 resp=2"},
	{"r" POST("/p", "3") STEP "tHTTP/1.1 100 Continue\r\n\r\n" STEP "rabc" STEP "tHTTP/1.1 103 E\r\nLink: x\r\n\r\n" STEP "t" OK2,
     "/p 200 req=3 resp=2"},
	/* chunks */
	{"rPOST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nT: v\r\n\r\n" STEP
     "tHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" STEP "r" GET("/b") STEP "t" OK2,
     "/c 200 req=19 resp=1; /b 200 resp=2"},
	{"r" GET("/a") STEP "tHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nxxxx\r\nzz\r\n", "/a 200 !bad_message resp=4 |opaque"},
	/* pipelines */
	{"r" GET("/1") GET("/2") GET("/3") STEP "t" OK2 OK2 STEP "t" OK2, "/1 200 resp=2; /2 200 resp=2; /3 200 resp=2"},
	{"r" GET("/1") STEP "r" POST("/2", "2") "xx" GET("/3") STEP "t" OK2 STEP "t" OK2 OK2,
     "/1 200 resp=2; /2 200 req=2 resp=2; /3 200 resp=2"},
	/* tunnels */
	{"rGET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" STEP
     "tHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" STEP "r\x81\x05" GET("/no"),
     "/ws 101 |opaque"},
	{"rCONNECT h:443 HTTP/1.1\r\n\r\n" STEP "tHTTP/1.1 200 OK\r\n\r\n" STEP "r" GET("/no"), "h:443 200 |opaque"},
	{"rCONNECT h:443 HTTP/1.1\r\n\r\n" STEP "tHTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" STEP "r" GET("/b") STEP "t" OK2,
     "h:443 403 resp=0; /b 200 resp=2"},
	{"rGET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" STEP "t" OK2 STEP "r" GET("/b") STEP "t" OK2,
     "/ws 200 resp=2; /b 200 resp=2"},
	/* an answer before the request is complete */
	{"r" POST("/p", "10") "abc" STEP "t" OK2 STEP "rdefghij" GET("/b") STEP "t" OK2, "/p 200 req=3 resp=2; /b 200 resp=2"},
	/* not HTTP, or not any more */
	{"rhello world, this is not HTTP\r\n", " |opaque"},
	{"r\x16\x03\x01\x02" STEP "t\x16\x03\x03", " |opaque"},
	{"rPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", " |opaque"},
	{"r*1\r\n$4\r\nPING\r\n", " |opaque"},
	{"r" GET("/a") STEP "t" OK2 STEP "rnonsense \x02\r\n", "/a 200 resp=2 |opaque"},
	{"r" GET("/a") "\x02" STEP "t" OK2, "/a 200 resp=2 |opaque"},
	{"r" GET("/a") STEP "tbad answer\r\n", "/a 0 !bad_message |opaque"},
	{"tHTTP/1.1 408 Request Timeout\r\n\r\n", " |opaque"},
	{"r" GET("/a") STEP "t" OK2 STEP "t" OK2, "/a 200 resp=2 |opaque"},
	{"rPOST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" STEP "tHTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n",
     "/c 400 req=0 resp=0 |opaque"},
	{"rPOST /c HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nwhatever" STEP "t" OK2, "/c 200 req=8 resp=2"},
	/* bytes that nobody shows */
	{"r" GET("/a") STEP "tHTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" STEP "u60" STEP "u40" STEP "r" GET("/b") STEP "t" OK2,
     "/a 200 resp=100; /b 200 resp=2"},
	{"r" GET("/a") STEP "tHTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" STEP "u101", " |opaque"},
	{"r" GET("/a") STEP "u5", " |opaque"},
	{"r" POST("/p", "70") STEP "v30" STEP "v40" STEP "t" OK2, "/p 200 req=70 resp=2"},
	{"r" GET("/a") STEP "tHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" STEP "u100" STEP "t\r\n0\r\n\r\n", "/a 200 resp=100"},
};

static const struct row server[] = {
	{"p" GET("/a") STEP "r" GET("/a") STEP "t" OK2, "/a 200 resp=2"},
	{"r" GET("/a") STEP "o!" STEP "t" OK2, "/a 200 resp=2"},
	{"r" POST("/p", "4") STEP "T4" STEP "t" OK2, "/p 200 req=4 resp=2"},
	/* until it closes */
	{"r" GET("/a") STEP "t" CLOSING STEP "tabc" STEP "c", "/a 200 resp=3"},
	{"r" GET("/a") STEP "t" CLOSING "abc" STEP "s", "/a 200 resp=3"},
	{"r" GET("/a") STEP "t" CLOSING "abc" STEP "e" STEP "tdef" STEP "c", "/a 200 resp=6"},
	/* end of file, reset and close in every state */
	{"e", ""},
	{"c", ""},
	{"R", ""},
	{"rGET /a HT" STEP "e" STEP "c", ""},
	{"rGET /a HT" STEP "R", ""},
	{"r" GET("/a") STEP "c", "/a 0 !closed"},
	{"r" GET("/a") STEP "e" STEP "c", "/a 0 !client_closed"},
	{"r" GET("/a") STEP "e" STEP "t" OK2 STEP "c", "/a 200 resp=2"},
	{"r" GET("/a") STEP "R", "/a 0 !ECONNRESET"},
	{"r" GET("/a") STEP "W", "/a 0 !EPIPE"},
	{"r" POST("/p", "9") "abc" STEP "c", "/p 0 !closed req=3"},
	{"r" POST("/p", "9") "abc" STEP "e" STEP "c", "/p 0 !client_closed req=3"},
	{"r" POST("/p", "9") "abc" STEP "e" STEP "tHTTP/1.1 400 B\r\nContent-Length: 0\r\n\r\n", "/p 400 req=3 resp=0"},
	{"r" POST("/p", "9") "abc" STEP "R", "/p 0 !ECONNRESET req=3"},
	{"r" GET("/a") STEP "tHTTP/1.1 200 O" STEP "c", "/a 0 !closed"},
	{"r" GET("/a") STEP "tHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" STEP "c", "/a 200 !closed resp=3"},
	{"r" GET("/a") STEP "tHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" STEP "e" STEP "c", "/a 200 !client_closed resp=3"},
	{"r" GET("/a") STEP "tHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" STEP "W", "/a 200 !EPIPE resp=3"},
	{"r" GET("/a") STEP "tHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" STEP "R", "/a 200 !ECONNRESET resp=3"},
	{"r" GET("/a") STEP "tHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" STEP "s" STEP "c", "/a 200 !closed resp=3"},
	{"r" GET("/1") GET("/2") STEP "t" OK2 STEP "c", "/1 200 resp=2; /2 0 !closed"},
	{"r" GET("/1") GET("/2") STEP "R", "/1 0 !ECONNRESET; /2 0 !ECONNRESET"},
	{"r" GET("/a") STEP "t" OK2 STEP "e" STEP "c", "/a 200 resp=2"},
};

static const struct row client[] = {
	{"t" GET("/a") STEP "p" OK2 STEP "r" OK2, "/a 200 resp=2"},
	{"t" GET("/a") STEP "r" CLOSING "abc" STEP "rdef" STEP "e", "/a 200 resp=6"},
	{"t" GET("/a") STEP "r" CLOSING "abc" STEP "c", "/a 200 !closed resp=3"},
	{"e", ""},
	{"c", ""},
	{"R", ""},
	{"tGET /a HT" STEP "e" STEP "c", ""},
	{"t" GET("/a") STEP "c", "/a 0 !closed"},
	{"t" GET("/a") STEP "e", "/a 0 !peer_closed"},
	{"t" GET("/a") STEP "R", "/a 0 !ECONNRESET"},
	{"t" GET("/a") STEP "rHTTP/1.1 20" STEP "e", "/a 0 !peer_closed"},
	{"t" GET("/a") STEP "rHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" STEP "e", "/a 200 !peer_closed resp=3"},
	{"t" GET("/a") STEP "rHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" STEP "R", "/a 200 !ECONNRESET resp=3"},
	{"t" GET("/a") STEP "rHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" STEP "c", "/a 200 !closed resp=3"},
	{"t" GET("/a") STEP "rHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" STEP "c", "/a 200 resp=3"},
	{"t" GET("/a") STEP "rHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" STEP "e", "/a 200 !peer_closed resp=3"},
	{"t" GET("/1") GET("/2") STEP "r" OK2 STEP "e", "/1 200 resp=2; /2 0 !peer_closed"},
	/* the answer to a body that nobody wants is read after the write failed */
	{"t" POST("/p", "9") "abc" STEP "W" STEP "rHTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n" STEP "e", "/p 413 req=3 resp=0"},
	{"t" POST("/p", "9") "abc" STEP "W" STEP "e", "/p 0 !EPIPE req=3"},
	{"t" POST("/p", "9") "abc" STEP "W" STEP "c", "/p 0 !EPIPE req=3"},
	{"t" POST("/p", "9") "abc" STEP "W" STEP "R", "/p 0 !ECONNRESET req=3"},
};

enum how { WHOLE,
	       BYTES,
	       PIECES,
	       HOWS };

static void bytes(int fd, bool in, const char *p, size_t n, enum how how)
{
	if (how == WHOLE) {
		in ? rx(fd, p, n) : tx(fd, p, n);
		return;
	}
	struct iovec v[512];
	unsigned count = 0;
	for (size_t i = 0; i < n; i++) {
		if (how == BYTES) {
			in ? rx(fd, p + i, 1) : tx(fd, p + i, 1);
			continue;
		}
		if (i % 3 == 0)
			v[count++] = (struct iovec){(void *)(uintptr_t)p, 0};
		v[count++] = (struct iovec){(void *)(uintptr_t)(p + i), 1};
		if (count > 500 || i + 1 == n) {
			struct tx t;
			int err = 0;
			ssize_t k = 0;
			for (unsigned j = 0; j < count; j++)
				k += (ssize_t)v[j].iov_len;
			if (in) {
				on_rxv(fd, v, (int)count, k, 0, 0);
			} else if (tx_is_client(fd)) {
				OK(!inject_begin(&t, fd, v, (int)count, NULL, 0));
				EQ_INT(inject_end(&t, fd, k, &err, 0), k);
			} else {
				on_txv(fd, v, (int)count, k, 0);
			}
			count = 0;
		}
	}
}

static void fail_write(int fd)
{
	struct tx t;
	struct iovec v = {"x", 1};
	int err = EPIPE;
	if (tx_is_client(fd)) {
		inject_begin(&t, fd, &v, 1, NULL, 0);
		EQ_INT(inject_end(&t, fd, -1, &err, 0), -1);
		EQ_INT(err, EPIPE);
	} else {
		on_tx(fd, "x", -1, EPIPE);
	}
}

static void play(const struct row *row, bool is_client, bool swap, enum how how)
{
	int fd[2];
	bool closed = false, opaque = false;
	unit_case("%s, %s: %s", is_client ? "client" : "server", how == WHOLE ? "whole" : how == BYTES ? "bytes"
	                                                                                               : "pieces",
	          unit_show(row->steps, strlen(row->steps)));
	sample_pair(fd);
	if (is_client)
		sample_connected(fd[0]);
	else
		on_accept(fd[0], NULL, 0);
	for (const char *s = row->steps; *s;) {
		const char *p = s + 1;
		size_t n = strcspn(p, STEP);
		char op = *s;
		if (swap)
			op = op == 'r' ? 't' : op == 't' ? 'r'
			                   : op == 'u'   ? 'v'
			                   : op == 'v'   ? 'u'
			                                 : op;
		if (op == 'r' || op == 't')
			bytes(fd[0], op == 'r', p, n, how);
		else if (op == 'p')
			on_rx(fd[0], p, n, (ssize_t)n, 0, MSG_PEEK);
		else if (op == 'o')
			on_rx(fd[0], p, n, (ssize_t)n, 0, MSG_OOB);
		else if (op == 'T')
			on_rx(fd[0], NULL, 100, atoi(p), 0, MSG_TRUNC);
		else if (op == 'u')
			on_tx_unseen(fd[0], atoi(p), 0);
		else if (op == 'v')
			on_rx_unseen(fd[0], atoi(p), 0);
		else if (op == 'e')
			on_rx(fd[0], p, 100, 0, 0, 0);
		else if (op == 'R')
			on_rx(fd[0], p, 100, -1, ECONNRESET, 0);
		else if (op == 'W')
			fail_write(fd[0]);
		else if (op == 's')
			on_shutdown(fd[0], SHUT_WR);
		if (op == 'c') {
			closed = true;
			sample_close(fd[0]);
		}
		/* What says nothing changes nothing. */
		if (!closed) {
			on_rx(fd[0], p, 100, -1, EAGAIN, 0);
			on_rx(fd[0], p, 0, 0, 0, 0);
			on_rx(fd[0], p, 100, -1, EINTR, 0);
		}
		s = p + n + (p[n] != 0);
	}
	if (!closed) {
		opaque = is_opaque(fd[0]);
		sample_close(fd[0]);
	}
	char want[256], got[4096];
	snprintf(got, sizeof got, "%s%s", sample_told(), opaque ? " |opaque" : "");
	snprintf(want, sizeof want, "%s", row->want);
	EQ_STR(got, want);
	sample_clean();
	close(fd[1]);
}

#define PLAY(rows, is_client, swap)                         \
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) \
		for (enum how how = WHOLE; how < HOWS; how++)       \
	play(&rows[i], is_client, swap, how)

TEST(server_of_both)
{
	sample_begin();
	PLAY(both, false, false);
}

TEST(client_of_both)
{
	sample_begin();
	PLAY(both, true, true);
}

TEST(server_alone)
{
	sample_begin();
	PLAY(server, false, false);
}

TEST(client_alone)
{
	sample_begin();
	PLAY(client, true, false);
}

/* Unknown at first: who reads a request is a server, who writes one a client. */
TEST(role_by_first_bytes)
{
	int fd[2];
	sample_begin();
	sample_pair(fd);
	rxs(fd[0], GET("/s"));
	txs(fd[1], GET("/c"));
	txs(fd[0], OK2);
	rxs(fd[1], OK2);
	EQ_STR(sample_told(), "/s 200 resp=2; /c 200 resp=2");
	sample_close(fd[0]);
	sample_close(fd[1]);
	sample_clean();
}

TEST(cut_at_every_byte)
{
	static const char in[] = POST("/p", "3") "abc" GET("/q"), out[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" OK2;
	sample_begin();
	for (int role = 0; role < 2; role++) {
		for (size_t i = 0; i < sizeof in; i++) {
			for (size_t j = 0; j < sizeof out; j++) {
				int fd[2];
				unit_case("role %d, cut at %zu and %zu", role, i, j);
				sample_pair(fd);
				role ? sample_connected(fd[0]) : on_accept(fd[0], NULL, 0);
				void (*to)(int, const char *, size_t) = role ? tx : rx, (*from)(int, const char *, size_t) = role ? rx : tx;
				if (i)
					to(fd[0], in, i);
				if (sizeof in - 1 - i)
					to(fd[0], in + i, sizeof in - 1 - i);
				if (j)
					from(fd[0], out, j);
				if (sizeof out - 1 - j)
					from(fd[0], out + j, sizeof out - 1 - j);
				EQ_STR(sample_told(), "/p 200 req=3 resp=1; /q 200 resp=2");
				sample_close(fd[0]);
				close(fd[1]);
			}
		}
	}
	sample_clean();
}

TEST(fifty_in_one_read)
{
	char in[50 * 64] = "", want[50 * 32] = "";
	int fd[2];
	sample_begin();
	for (int i = 0; i < 50; i++) {
		sprintf(in + strlen(in), "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
		sprintf(want + strlen(want), "%s/%d 200 resp=2", i ? "; " : "", i);
	}
	sample_pair(fd);
	on_accept(fd[0], NULL, 0);
	rxs(fd[0], in);
	for (int i = 0; i < 50; i++)
		txs(fd[0], OK2);
	EQ_STR(sample_told(), want);
	OK(!is_opaque(fd[0]));
	sample_close(fd[0]);
	sample_clean();
}

TEST(pipeline_has_an_end)
{
	int fd[2];
	sample_begin();
	sample_pair(fd);
	on_accept(fd[0], NULL, 0);
	for (int i = 0; i < PIPELINE_MAX; i++)
		rxs(fd[0], GET("/a"));
	OK(!is_opaque(fd[0]));
	EQ_INT(counted(COUNT_DROP_PIPELINE), 0);
	rxs(fd[0], GET("/a"));
	OK(is_opaque(fd[0]));
	EQ_INT(counted(COUNT_DROP_PIPELINE), 1);
	EQ_STR(sample_told(), "");
	sample_close(fd[0]);
	sample_clean();
}

static void long_head(size_t n, size_t piece, bool fits)
{
	char *h = malloc(n);
	int fd[2];
	unit_case("%zu bytes in pieces of %zu", n, piece);
	memset(h, 'x', n);
	memcpy(h, "GET /long HTTP/1.1\r\nX: ", 23);
	memcpy(h + n - 4, "\r\n\r\n", 4);
	sample_pair(fd);
	on_accept(fd[0], NULL, 0);
	for (size_t i = 0; i < n; i += piece)
		rx(fd[0], h + i, n - i < piece ? n - i : piece);
	txs(fd[0], OK2);
	EQ_STR(sample_told(), fits ? "/long 200 resp=2" : "");
	EQ_INT(is_opaque(fd[0]), !fits);
	sample_close(fd[0]);
	close(fd[1]);
	sample_clean();
	free(h);
}

TEST(heads_of_64_kib)
{
	static const size_t pieces[] = {1024, 4095, 4096, 4097, 65535, 65536, 1 << 20};
	sample_begin();
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		long_head(4096, pieces[i], true);
		long_head(4097, pieces[i], true);
		long_head(HTTP1_HEAD_MAX - 1, pieces[i], true);
		long_head(HTTP1_HEAD_MAX, pieces[i], true);
		if (pieces[i] <= HTTP1_HEAD_MAX)
			long_head(HTTP1_HEAD_MAX + 1, pieces[i], false);
		if (pieces[i] <= HTTP1_HEAD_MAX)
			long_head(HTTP1_HEAD_MAX + 5000, pieces[i], false);
	}
}

/* When the buffers for heads in pieces are used up, connections are lost, one by one, and nothing else. */
TEST(partial_heads_without_end)
{
	enum { N = 20000 };
	static int fds[N];
	int fd[2];
	sample_begin();
	sample_pair(fd);
	unsigned opaque = 0;
	for (int i = 0; i < N; i++) {
		fds[i] = 5000 + i; /* numbers only */
		on_accept(fds[i], NULL, 0);
		rxs(fds[i], "GET /");
		opaque += is_opaque(fds[i]);
	}
	OK(opaque > 0 && opaque < N);
	EQ_INT(counted(COUNT_OPAQUE_HEAD), opaque);
	on_accept(fd[0], NULL, 0);
	rxs(fd[0], GET("/whole"));
	txs(fd[0], OK2);
	EQ_STR(sample_told(), "/whole 200 resp=2");
	for (int i = 0; i < N; i++)
		on_close(fds[i]);
	rxs(fd[0], "GET /in/pieces HT");
	rxs(fd[0], "TP/1.1\r\n\r\n");
	txs(fd[0], OK2);
	EQ_STR(sample_told(), "/in/pieces 200 resp=2");
	on_close(fd[0]);
	sample_clean();
}

TEST(arena_full)
{
	enum { N = 40000 };
	int fd[2];
	sample_begin();
	process.arena = arena_new_anonymous(1, 0); /* as small as it gets */
	bool takeover;
	OK(arena_lease_try(process.arena, &takeover) || true);
	uint32_t room = arena_slots(process.arena);
	OK(room > 0 && room < N);
	for (int i = 0; i < N; i++) {
		on_accept(5000 + i, NULL, 0);
		rxs(5000 + i, GET("/a"));
	}
	OK(counted(COUNT_DROP_FULL) >= N - room);
	/* Those without a record are followed all the same. */
	sample_pair(fd);
	sample_connected(fd[0]);
	txs(fd[0], GET("/a"));
	rxs(fd[0], OK2);
	OK(!is_opaque(fd[0]));
	for (int i = 0; i < N; i++) {
		txs(5000 + i, OK2);
		on_close(5000 + i);
	}
	on_close(fd[0]);
	EQ_INT(process.open_spans, 0);
	EQ_INT(process.connections, 0);
}

TEST(not_sampled)
{
	int fd[2];
	sample_begin();
	config.sampler = SAMPLER_OFF;
	sample_pair(fd);
	on_accept(fd[0], NULL, 0);
	rxs(fd[0], GET("/a"));
	EQ_INT(sample_open_slots(), sample_own_slots);
	txs(fd[0], OK2);
	EQ_STR(sample_told(), "");
	OK(!is_opaque(fd[0]));
	sample_close(fd[0]);
	sample_clean();
	EQ_INT(counted(COUNT_DROP_FULL), 0);
}

TEST(addresses)
{
	int fd[2];
	struct sample s[2];
	struct sockaddr_in me, peer;
	socklen_t n = sizeof me, m = sizeof peer;
	sample_begin();
	sample_tcp(fd);
	OK(getsockname(fd[0], (struct sockaddr *)&me, &n) == 0 && getpeername(fd[0], (struct sockaddr *)&peer, &m) == 0);
	on_accept(fd[0], (struct sockaddr *)&peer, m);
	on_accept(fd[1], NULL, 0);
	rxs(fd[0], GET("/a"));
	txs(fd[0], OK2);
	rxs(fd[1], GET("/a"));
	txs(fd[1], OK2);
	EQ_INT(sample_take(s, 2), 2);
	for (int i = 0; i < 2; i++) {
		EQ_INT(s[i].rec.peer.family, 4);
		EQ_INT(s[i].rec.local.family, 4);
		EQ_INT(s[i].rec.peer.port, ntohs(i ? me.sin_port : peer.sin_port));
		EQ_INT(s[i].rec.local.port, ntohs(i ? peer.sin_port : me.sin_port));
		EQ_MEM(s[i].rec.peer.ip, 4, "\x7f\0\0\1", 4);
	}
	struct rec_addr a;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	inet_pton(AF_INET6, "::ffff:1.2.3.4", &six.sin6_addr);
	conn_addr_set(&a, &six, sizeof six);
	OK(a.family == 4 && a.port == 80 && memcmp(a.ip, "\1\2\3\4", 4) == 0);
	inet_pton(AF_INET6, "2001:db8::1", &six.sin6_addr);
	conn_addr_set(&a, &six, sizeof six);
	OK(a.family == 6 && a.port == 80 && a.ip[0] == 0x20 && a.ip[15] == 1);
	conn_addr_set(&a, &six, 5); /* cut by the program's buffer */
	EQ_INT(a.family, 0);
	conn_addr_set(&a, &six, 0);
	EQ_INT(a.family, 0);
	conn_addr_set(&a, NULL, 16);
	EQ_INT(a.family, 0);
}
