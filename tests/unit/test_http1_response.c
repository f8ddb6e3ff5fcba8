/* Response heads. */
#include "http1_sample.h"

static const struct {
	const char *in;
	size_t n;
	const char *want;
} rows[] = {
	{S("HTTP/1.1 200 OK\r\n\r\n"), "200 1.1"},
	{S("HTTP/1.0 404 Not Found\r\n\r\nbody"), "404 1.0 +4"},
	{S("HTTP/1.1 200\r\n\r\n"), "200 1.1"}, /* no reason, not even its blank */
	{S("HTTP/1.1 200 \r\n\r\n"), "200 1.1"},
	{S("HTTP/1.1 200\n\n"), "200 1.1"},
	{S("HTTP/1.1 999 x\xff y\r\n\r\n"), "999 1.1"},
	{S("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "100 1.1 +19"},
	{S("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Mon, 24 Nov 2025 12:13:14 GMT\r\nContent-Type: text/html\r\n"
       "Content-Length: 612\r\nLast-Modified: Mon, 24 Nov 2025 12:13:14 GMT\r\nConnection: keep-alive\r\n"
       "ETag: \"64b0a0f2-264\"\r\nAccept-Ranges: bytes\r\n\r\n<html>"),
     "200 1.1 length=612 keep_alive +6"},
	{S("HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\nconnection: Close\r\n\r\n"), "200 1.1 chunked close"},
	{S("HTTP/1.1 101 Switching Protocols\r\nUPGRADE: websocket\r\nConnection: upgrade\r\n\r\n"), "101 1.1 upgrade"},
	{S("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"), "200 1.1 length=4 te_other conflict"},
	{S("HTTP/1.1 200 OK\r\nContent-Length: 7, 7\r\n\r\n"), "200 1.1 length=7"},
	{S("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n"), "BAD"},
	{S("HTTP/1.1 200 OK\r\nContent-Length: seven\r\n\r\n"), "BAD"},
	{S("HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n"), "BAD"},
	{S("HTTP/1.1 200 OK\r\nContent-Length : 7\r\n\r\n"), "200 1.1"}, /* ignored as a field nobody agrees on */
	{S("HTTP/1.1 200 OK\r\nno colon\r\n: x\r\n\r\n"), "200 1.1"},
	{S("HTTP/1.1 200 OK\r\n Content-Length: 7\r\n\r\n"), "200 1.1"},
	{S("HTTP/1.1 200 OK\r\nX: y\r\n Content-Length: 7\r\nContent-Length: 8\r\n\r\n"), "200 1.1 length=8"},
	{S("HTTP/1.1 200 OK\r\nContent-Length:\r\n\t7\r\n\r\n"), "200 1.1 length=7"},
	{S("HTTP/1.1 200 OK\r\nConnection: a,\r\n close\r\n\r\n"), "200 1.1 close"},
	/* Colons in a value, where other names would have theirs. */
	{S("HTTP/1.1 200 OK\r\nConnection: a:b, close\r\n\r\n"), "200 1.1 close"},
	{S("HTTP/1.1 101 X\r\nUpgrade: h2c, foo:1\r\nConnection: upgrade\r\n\r\n"), "101 1.1 upgrade"},
	{S("HTTP/1.1 200 OK\r\nContent-Lengthy: 7\r\nContent_Length: 7\r\nC\r\nCo:\r\nT\r\nU:\r\n\r\n"), "200 1.1"},
	{S("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"), "BAD"},
	{S("HTTP/1.1 200 O\0K\r\n\r\n"), "BAD"},
	{S("HTTP/1.1 200OK\r\n\r\n"), "BAD"},
	{S("HTTP/1.1 20\r\n\r\n"), "BAD"},
	{S("HTTP/1.1 2000\r\n\r\n"), "BAD"},
	{S("HTTP/1.1 099 x\r\n\r\n"), "BAD"},
	{S("HTTP/1.1  200 OK\r\n\r\n"), "BAD"},
	{S("HTTP/1.1 2x0 OK\r\n\r\n"), "BAD"},
	{S("HTTP/2.0 200 OK\r\n\r\n"), "BAD"},
	{S("HTTP/1.12 200 OK\r\n\r\n"), "BAD"},
	{S("http/1.1 200 OK\r\n\r\n"), "BAD"},
	{S("ICY 200 OK\r\n\r\n"), "BAD"},
	{S("\r\nHTTP/1.1 200 OK\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\n\r\n"), "BAD"},
	{S("+PONG\r\n"), "BAD"},
	{S("\x15\x03\x01\x00\x02"), "BAD"},
	{S("HTTP/1.1 200 OK\r\nX: y\r\n"), "PARTIAL"},
	{S("HTTP/1.1 200 OK"), "PARTIAL"},
	{S("HTTP/1.1 20"), "PARTIAL"},
	{S("H"), "PARTIAL"},
};

TEST(response_heads)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("row %zu %s", i, unit_show(rows[i].in, rows[i].n));
		check_head(rows[i].in, rows[i].n, false, rows[i].want);
	}
}

/* What is not a response is known by its first bytes. */
TEST(a_response_is_known_by_its_first_bytes)
{
	static const char *const bad[] = {"X", "Hx", "HTTP/2", "HTTP/1.x", "HTTP/1.1x", "HTTP/1.1 0", "HTTP/1.1 20x", "HTTP/1.1 200x"};
	struct http1_head h;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		unit_case("%s", bad[i]);
		EQ_INT(http1_parse_response(bad[i], strlen(bad[i]) - 1, 0, &h), PROTO_PARTIAL);
		EQ_INT(http1_parse_response(bad[i], strlen(bad[i]), 0, &h), PROTO_BAD);
	}
}
