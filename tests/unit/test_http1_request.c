/* Request heads: what is found, what is refused, how early. */
#include "http1_sample.h"

#define TP "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static const struct {
	const char *in;
	size_t n;
	const char *want;
} rows[] = {
	/* start lines */
	{S("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "1 m=GET t=/ 1.1 host=a"},
	{S("GET / HTTP/1.1\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("GET / HTTP/1.0\n\n"), "1 m=GET t=/ 1.0"},
	{S("A / HTTP/1.1\n\n"), "0 m=A t=/ 1.1"},
	{S("GET / HTTP/1.1\nHost:b\n\nrest\0\1"), "1 m=GET t=/ 1.1 host=b +6"},
	{S("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("\n\n\nGET / HTTP/1.1\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("HEAD /h HTTP/1.1\r\n\r\n"), "2 m=HEAD t=/h 1.1"},
	{S("POST /p HTTP/1.1\r\n\r\n"), "3 m=POST t=/p 1.1"},
	{S("PUT /p HTTP/1.1\r\n\r\n"), "4 m=PUT t=/p 1.1"},
	{S("DELETE /p HTTP/1.1\r\n\r\n"), "5 m=DELETE t=/p 1.1"},
	{S("CONNECT h.example:443 HTTP/1.1\r\n\r\n"), "6 m=CONNECT t=h.example:443 1.1"},
	{S("OPTIONS * HTTP/1.1\r\n\r\n"), "7 m=OPTIONS t=* 1.1"},
	{S("TRACE / HTTP/1.1\r\n\r\n"), "8 m=TRACE t=/ 1.1"},
	{S("PATCH / HTTP/1.1\r\n\r\n"), "9 m=PATCH t=/ 1.1"},
	{S("PROPFIND /dav HTTP/1.1\r\n\r\n"), "0 m=PROPFIND t=/dav 1.1"},
	{S("get / HTTP/1.1\r\n\r\n"), "0 m=get t=/ 1.1"}, /* methods are case-sensitive */
	{S("GET http://h.example/a?b=c HTTP/1.1\r\n\r\n"), "1 m=GET t=http://h.example/a?b=c 1.1"},
	{S("GET /\xc3\xa4\xff HTTP/1.1\r\n\r\n"), "1 m=GET t=/\xc3\xa4\xff 1.1"},
	{S("GET /0123456789abcdef0123456789abcdef HTTP/1.1\r\n\r\n"), "1 m=GET t=/0123456789abcdef0123456789abcdef 1.1"},
	{S("GET / HTTP/1.7\r\n\r\n"), "1 m=GET t=/ 1.7"},
	{S("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / HTTP/1.1\r\n\r\n"), "0 m=ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 t=/ 1.1"},
	{S("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 / HTTP/1.1\r\n\r\n"), "BAD"},
	{S("GET /\r\n\r\n"), "BAD"}, /* HTTP/0.9 */
	{S("GET  / HTTP/1.1\r\n\r\n"), "BAD"},
	{S("GET /  HTTP/1.1\r\n\r\n"), "BAD"},
	{S("GET /a b HTTP/1.1\r\n\r\n"), "BAD"},
	{S("GET /a\tb HTTP/1.1\r\n\r\n"), "BAD"},
	{S("GET /a\x7f HTTP/1.1\r\n\r\n"), "BAD"},
	{S("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x01 HTTP/1.1\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1 \r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.10\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.x\r\n\r\n"), "BAD"},
	{S("GET / HTTP/2.0\r\n\r\n"), "BAD"},
	{S("GET / http/1.1\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\r\n\r\n"), "BAD"},
	{S("GET  HTTP/1.1\r\n\r\n"), "BAD"},
	{S(" GET / HTTP/1.1\r\n\r\n"), "BAD"},
	{S("\rGET / HTTP/1.1\r\n\r\n"), "BAD"},
	{S("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n"), "BAD"},
	{S("G\0T / HTTP/1.1\r\n\r\n"), "BAD"},

	/* not ours, and where a prefix must be enough: see the next test */
	{S("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "BAD"},

	/* not complete */
	{S("GET / HTTP/1.1\r\n"), "PARTIAL"},
	{S("GET / HTTP/1.1\r\nHost: a\r\n"), "PARTIAL"},
	{S("GET / HTTP/1.1\r\nHost: a\r\n\r"), "PARTIAL"},
	{S("G"), "PARTIAL"},
	{S("\r\n"), "PARTIAL"},
	{S("\r"), "PARTIAL"},

	/* fields */
	{S("GET / HTTP/1.1\r\nHOST:   a:80  \t\r\nuser-AGENT: x/1 (y)\r\n\r\n"), "1 m=GET t=/ 1.1 host=a:80 ua=x/1 (y)"},
	{S("GET / HTTP/1.1\r\nHost:\r\n\r\n"), "1 m=GET t=/ 1.1 host="},
	{S("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "1 m=GET t=/ 1.1 host=a"},
	{S("GET / HTTP/1.1\r\nX-Host: no\r\nHos: no\r\nHostt: no\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("GET / HTTP/1.1\r\nX: Host: no\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("GET / HTTP/1.1\r\nX: a\rHost: no\r\n\r\n"), "1 m=GET t=/ 1.1"}, /* a bare CR ends nothing */
	{S("GET / HTTP/1.1\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-Proto: https\r\n"
       "X-Forwarded-Host: h\r\n\r\n"),
     "1 m=GET t=/ 1.1 fwd=for=1.2.3.4 xff=1.1.1.1, 2.2.2.2 xfp=https xfh=h"},
	{S("GET / HTTP/1.1\r\ntraceparent: " TP "\r\nTRACESTATE: a=1\r\nBaggage: k=v\r\ntracestate: b=2\r\nbaggage: k2=v2\r\n\r\n"),
     "1 m=GET t=/ 1.1 tp=" TP " ts=a=1 ts=b=2 bg=k=v bg=k2=v2"},
	{S("GET / HTTP/1.1\r\ntraceparent: x\r\ntraceparent: y\r\n\r\n"), "1 m=GET t=/ 1.1 tps=2 tp=x"},
	{S("GET / HTTP/1.1\r\nbaggage: 1\r\nbaggage: 2\r\nbaggage: 3\r\nbaggage: 4\r\nbaggage: 5\r\n\r\n"),
     "1 m=GET t=/ 1.1 bg=1 bg=2 bg=3 bg=4"},
	{S("GET / HTTP/1.1\r\nb3: 0\r\nX-B3-TraceId: t\r\nx-b3-spanid: s\r\nX-B3-Sampled: 1\r\nX-B3-Flags: 1\r\n"
       "X-Amzn-Trace-Id: Root=1\r\n\r\n"),
     "1 m=GET t=/ 1.1 b3=0 b3t=t b3s=s b3d=1 b3f=1 xray=Root=1"},
	/* '-' and digits of names do not fold: \r is '-' without bit 0x20 */
	{S("POST / HTTP/1.1\r\nContent\rLength: 5\r\nx\rb3\rflags: 1\r\n\r\n"), "3 m=POST t=/ 1.1"},
	{S("GET / HTTP/1.1\r\n : x\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\n: x\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\nno colon\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\nno colon and a line longer than a block\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\n\rX: y\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n"), "BAD"},
	{S("GET / HTTP/1.1\r\nA-name-that-is-longer-than-sixteen-bytes: b\r\nHost: h\r\n\r\n"), "1 m=GET t=/ 1.1 host=h"},

	/* folded lines */
	{S("GET / HTTP/1.1\r\nX: a\r\n Host: no\r\nHost: yes\r\n\r\n"), "1 m=GET t=/ 1.1 host=yes"},
	{S("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n"), "1 m=GET t=/ 1.1 host=a\r\n\tb"},
	{S("GET / HTTP/1.1\r\nHost:\r\n a\r\n \r\n\r\n"), "1 m=GET t=/ 1.1 host=a"},
	{S("POST / HTTP/1.1\r\nContent-Length:\r\n 5\r\n\r\n"), "3 m=POST t=/ 1.1 length=5"},
	{S("POST / HTTP/1.1\r\nContent-Length: 1\r\n 5\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"), "3 m=POST t=/ 1.1 chunked"},
	{S("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), "BAD"},

	/* framing */
	{S("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), "3 m=POST t=/ 1.1 length=0"},
	{S("POST / HTTP/1.1\r\ncontent-length:42\r\n\r\n"), "3 m=POST t=/ 1.1 length=42"},
	{S("POST / HTTP/1.1\r\nContent-Length: 5, 5 ,5\r\nContent-Length: 5\r\n\r\n"), "3 m=POST t=/ 1.1 length=5"},
	{S("POST / HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n\r\n"), "3 m=POST t=/ 1.1 length=9223372036854775807"},
	{S("POST / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: 5, 6\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: 5,\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: ,5\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: 5 5\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nContent-Length: \v5\r\n\r\n"), "BAD"},
	{S("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
     "3 m=POST t=/ 1.1 length=5 chunked conflict"},
	{S("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"), "3 m=POST t=/ 1.1 chunked"},
	{S("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"), "3 m=POST t=/ 1.1 chunked"},
	{S("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"), "3 m=POST t=/ 1.1 te_other"},
	{S("POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n"), "3 m=POST t=/ 1.1 te_other"},
	{S("POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n"), "3 m=POST t=/ 1.1"},
	{S("POST / HTTP/1.1\r\nXransfer-Encoding: chunked\r\nTransfer Encoding: chunked\r\n\r\n"), "3 m=POST t=/ 1.1"},

	/* connection */
	{S("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), "1 m=GET t=/ 1.1 close"},
	{S("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), "1 m=GET t=/ 1.0 keep_alive"},
	{S("GET / HTTP/1.1\r\nConnection: x, CLOSE ,,keep-alive\r\n\r\n"), "1 m=GET t=/ 1.1 close keep_alive"},
	{S("GET / HTTP/1.1\r\nConnection: closed, keepalive12\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), "1 m=GET t=/ 1.1 upgrade"},
	{S("GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"), "1 m=GET t=/ 1.1 keep_alive upgrade"},
	{S("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("GET / HTTP/1.1\r\nConnection: Upgrade\r\n\r\n"), "1 m=GET t=/ 1.1"},

	/* signatures that name traceparent */
	{S("GET / HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;traceparent;x-amz-date, Signature=0\r\n\r\n"),
     "1 m=GET t=/ 1.1 signed"},
	{S("GET / HTTP/1.1\r\nauthorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x-amz-date, Signature=0\r\n\r\n"),
     "1 m=GET t=/ 1.1"},
	{S("GET / HTTP/1.1\r\nAuthorization: AWS4 SignedHeaders=host;x-traceparent\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("GET / HTTP/1.1\r\nAuthorization: AWS4 SignedHeaders=host;traceparents\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("GET / HTTP/1.1\r\nAuthorization: AWS4 SignedHeaders=TraceParent\r\n\r\n"), "1 m=GET t=/ 1.1 signed"},
	{S("GET / HTTP/1.1\r\nAuthorization: Bearer traceparent\r\n\r\n"), "1 m=GET t=/ 1.1"},
	{S("GET / HTTP/1.1\r\nAuthorization: Signature keyId=\"a\",headers=\"date traceparent\"\r\n\r\n"), "1 m=GET t=/ 1.1 signed"},
	{S("GET / HTTP/1.1\r\nSignature: keyId=\"a\",headers=\"date TraceParent\"\r\n\r\n"), "1 m=GET t=/ 1.1 signed"},
	{S("GET / HTTP/1.1\r\nSignature-Input: s=(\"@method\" \"traceparent\");created=1\r\n\r\n"), "1 m=GET t=/ 1.1 signed"},
	{S("GET / HTTP/1.1\r\nSignature-Input: s=(\"@method\" \"tracestate\")\r\n\r\n"), "1 m=GET t=/ 1.1"},
};

TEST(request_heads)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("row %zu %s", i, unit_show(rows[i].in, rows[i].n));
		check_head(rows[i].in, rows[i].n, true, rows[i].want);
	}
}

/* Other protocols must be known as such by the byte that proves it, not when a line or a buffer is full. */
TEST(other_protocols_are_refused_early)
{
	static const struct {
		const char *in;
		size_t n;
		size_t by; /* BAD with this many bytes, PARTIAL with fewer */
	} others[] = {
		{S("\x16\x03\x01\x02\x00\x01"), 1}, /* TLS hello */
		{S("*1\r\n$4\r\nPING\r\n"), 3},     /* Redis */
		{S("PING\r\n"), 5},                 /* Redis inline, IRC */
		{S("get key\r\n"), 8},              /* memcached */
		{S("set k 0 0 5\r\nhello\r\n"), 7},
		{S("\x80\x01\x00\x00"), 1},                 /* memcached binary */
		{S("\x00\x00\x00\x08\x04\xd2\x16\x2f"), 1}, /* PostgreSQL */
		{S("\x4a\x00\x00\x00\x0a"
	       "5.5"),
	     2}, /* MySQL greeting: 'J' is a token */
		{S("SSH-2.0-OpenSSH_9.2\r\n"), 20},
		{S("EHLO client.example\r\n"), 20},
		{S("220 mail.example ESMTP\r\n"), 18},
		{S("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 12},
		{S("OPTIONS rtsp://a RTSP/1.0\r\n"), 18},
		{S("INVITE sip:a@b SIP/2.0\r\n"), 16},
		{S("{\"json\":1}"), 1},
		{S("<xml/>"), 1},
		{S("HTTP/1.1 200 OK\r\n"), 5}, /* a response */
		{S("\xff\xfd\x18"), 1},        /* telnet */
	};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct http1_head h;
		unit_case("row %zu %s", i, unit_show(others[i].in, others[i].n));
		check_head(others[i].in, others[i].n, true, "BAD");
		if (others[i].by > 1)
			EQ_INT(http1_parse_request(others[i].in, others[i].by - 1, 0, &h), PROTO_PARTIAL);
		EQ_INT(http1_parse_request(others[i].in, others[i].by, 0, &h), PROTO_BAD);
	}
}

TEST(no_bytes_are_partial)
{
	struct http1_head h;
	struct unit_guarded g = unit_at_end("", 0);
	EQ_INT(http1_parse_request(g.p, 0, 0, &h), PROTO_PARTIAL);
	EQ_INT(http1_parse_response(g.p, 0, 0, &h), PROTO_PARTIAL);
}

/* A head of exactly HTTP1_HEAD_MAX bytes is the longest. */
TEST(the_longest_head)
{
	static char big[HTTP1_HEAD_MAX + 16];
	static const char start[] = "GET / HTTP/1.1\r\nA: ";
	struct http1_head h;
	memset(big, 'x', sizeof big);
	memcpy(big, start, sizeof start - 1);
	memcpy(big + HTTP1_HEAD_MAX - 4, "\r\n\r\n", 4);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX, 0, &h), HTTP1_HEAD_MAX);
	EQ_INT(http1_parse_request(big, sizeof big, 0, &h), HTTP1_HEAD_MAX);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX, HTTP1_HEAD_MAX - 1, &h), HTTP1_HEAD_MAX);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX - 1, HTTP1_HEAD_MAX - 5, &h), PROTO_PARTIAL);

	memset(big + HTTP1_HEAD_MAX - 4, 'x', 4);
	memcpy(big + HTTP1_HEAD_MAX - 3, "\r\n\r\n", 4);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX - 1, 0, &h), PROTO_PARTIAL);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX, 0, &h), PROTO_BAD);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX, HTTP1_HEAD_MAX - 2, &h), PROTO_BAD);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX + 1, 0, &h), PROTO_BAD);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX + 1, HTTP1_HEAD_MAX - 2, &h), PROTO_BAD);

	memset(big, 'a', sizeof big); /* a target that never ends */
	memcpy(big, "GET /", 5);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX - 1, 0, &h), PROTO_PARTIAL);
	EQ_INT(http1_parse_request(big, HTTP1_HEAD_MAX, 0, &h), PROTO_BAD);
}

/* Byte by byte, the longest head costs time in proportion to its length: minutes if `seen` did not help. */
TEST(growing_heads_are_not_reparsed)
{
	static char big[HTTP1_HEAD_MAX];
	struct http1_head h;
	size_t n = 0;
	memcpy(big, "GET / HTTP/1.1\r\n", 16);
	for (n = 16; n + 4 < sizeof big; n += 4)
		memcpy(big + n, "a:\r\n", 4);
	memcpy(big + n - 2, "\r\n\r\n", 4);
	n += 2;
	alarm(10);
	for (size_t k = 1; k < n; k++)
		EQ_INT(http1_parse_request(big, k, k - 1, &h), PROTO_PARTIAL);
	EQ_INT(http1_parse_request(big, n, n - 1, &h), n);
}
