/*
 * A client that writes a stream of bytes, in any pieces, to a kernel that takes as much as it likes. What arrives must
 * be the client's bytes, with whole header lines put in where a head has its first line's end, or with the 16 digits
 * of a span id replaced; and the client must be told of its own bytes only.
 */
#include "conn_script.h"

enum whose { HOSTS,
	         INSERTED,
	         REPLACED };

static char wire[1 << 20];
static uint8_t whose[sizeof wire];
static size_t wire_n;

/* The bytes of a write; `copy` are the host's. */
static void to_wire(const struct iovec *v, size_t count, size_t most, const char *copy, size_t len, bool replaces)
{
	for (size_t i = 0; i < count && most; i++) {
		const char *p = v[i].iov_base;
		size_t k = v[i].iov_len < most ? v[i].iov_len : most;
		HOLDS(wire_n + k <= sizeof wire);
		if (k)
			memcpy(wire + wire_n, p, k);
		memset(whose + wire_n, p >= copy && p < copy + len ? HOSTS : replaces ? REPLACED
		                                                                      : INSERTED,
		       k);
		wire_n += k;
		most -= k;
	}
}

static const char *const names[] = {"traceparent: ", "tracestate: ", "baggage: ", "b3: ", "X-B3-TraceId: ",
                                    "X-B3-SpanId: ", "X-B3-Sampled: ", "X-Amzn-Trace-Id: "};

static void whole_lines(const char *p, size_t n)
{
	while (n) {
		const char *e = memchr(p, '\n', n);
		size_t i = 0;
		HOLDS(e);
		while (i < sizeof names / sizeof *names && strncmp(p, names[i], strlen(names[i])) != 0)
			i++;
		HOLDS(i < sizeof names / sizeof *names);
		n -= (size_t)(e - p) + 1;
		p = e + 1;
	}
}

static bool hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static void compare(const char *host, size_t n)
{
	size_t at = 0;
	for (size_t w = 0; w < wire_n;) {
		if (whose[w] == INSERTED) {
			size_t k = 0;
			while (w + k < wire_n && whose[w + k] == INSERTED)
				k++;
			HOLDS(at && host[at - 1] == '\n' && at < n);
			whole_lines(wire + w, k);
			w += k;
			continue;
		}
		HOLDS(at < n);
		HOLDS(whose[w] == HOSTS ? wire[w] == host[at] : hex(wire[w]) && hex(host[at]));
		w++;
		at++;
	}
	HOLDS(at == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char host[1 << 16];
	struct script s = {data, size < 20000 ? size : 20000};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = script_fds[0];
	script_begin();
	fd = script_fds[0];
	wire_n = 0;
	config.propagators = script_byte(&s) & 31;
	config.sampler = SAMPLER_ON;
	unsigned bits = script_byte(&s);
	if (bits & 1) {
		traceparent_parse(SLICE("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), &config.parent);
		config.tracestate = SLICE("a=1");
		config.baggage = SLICE("k=v");
	}
	config.xray_own = bits & 2;
	HOLDS(on_connect(fd, (struct sockaddr *)&to, sizeof to));
	on_connected(fd, 0, 0);

	/* The plan of writes, then the bytes. */
	struct script plan = script_bytes(&s, script_byte(&s));
	size_t n = 0, turns = 0;
	while (s.n && n < sizeof host - 300) {
		unsigned c = script_byte(&s);
		static const char *const macros[] = {
			"GET /a HTTP/1.1\r\n",
			"Host: h\r\n",
			"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
			"\r\n",
			"POST /b HTTP/1.1\r\nContent-Length: 5\r\n",
			"Transfer-Encoding: chunked\r\n",
			"5\r\nhello\r\n0\r\n\r\n",
			"b3: 0\r\n",
		};
		if (c >= 0x80 && c < 0x88) {
			n += (size_t)sprintf(host + n, "%s", macros[c & 7]);
		} else {
			host[n++] = (char)c;
		}
	}
	size_t at = 0;
	while (at < n) {
		unsigned how = script_byte(&plan), most = script_byte(&plan);
		struct iovec v[64];
		size_t len = how & 1 || turns > 500 ? n - at : 1 + (how >> 1) % 64, count = 0;
		if (len > n - at)
			len = n - at;
		char *copy = exact(host + at, len);
		size_t pieces = turns > 500 ? 1 : 1 + (most & 63), from = 0;
		for (; count < pieces; count++) {
			size_t k = count + 1 == pieces ? len - from : (len - from) / (pieces - count);
			v[count] = (struct iovec){copy + from, k};
			from += k;
		}
		struct tx t;
		int err = EAGAIN;
		HOLDS(tx_is_client(fd) || fd_peek(fd) == FD_OPAQUE);
		t.how = TX_PLAIN;
		bool edit = tx_is_client(fd) && inject_begin(&t, fd, v, (int)count, NULL, MSG_DONTWAIT);
		size_t taken = turns > 500 || how & 0x80 ? SIZE_MAX : most >> 1;
		const struct iovec *out = edit ? t.msg.msg_iov : v;
		size_t pieces_out = edit ? t.msg.msg_iovlen : count, whole = 0;
		for (size_t i = 0; i < pieces_out; i++)
			whole += out[i].iov_len;
		if (taken > whole)
			taken = whole;
		to_wire(out, pieces_out, taken, copy, len, t.how == TX_REPLACE);
		ssize_t r = taken ? (ssize_t)taken : -1;
		if (tx_is_client(fd) || edit)
			r = inject_end(&t, fd, r, &err, MSG_DONTWAIT);
		HOLDS(r >= -1 && r <= (ssize_t)len && (r >= 0 || err == EAGAIN));
		free(copy);
		if (r > 0)
			at += (size_t)r;
		if (bits & 2 && how & 4)
			on_rx(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38, 38, 0, 0);
		if (bits & 4 && how & 8)
			on_rx(fd, "nonsense", 8, 8, 0, 0);
		turns++;
	}
	compare(host, n);
	script_end();
	return 0;
}
