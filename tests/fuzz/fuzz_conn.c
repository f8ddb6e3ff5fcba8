/*
 * Scripts of calls on a few connections. Whatever the order and the bytes: no request is left open, no slot and no
 * connection is lost, and records say nothing impossible.
 *
 * An operation is a byte (what, which fd) and a length, sometimes bytes.
 */
#include "conn_script.h"

static const char *const texts[] = {
	"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"POST /p HTTP/1.1\r\nContent-Length: 10\r\n\r\n",
	"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	"0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	"HTTP/1.1 100 Continue\r\n\r\n",
	"HTTP/1.0 200 OK\r\n\r\nuntil it ends",
	"HTTP/1.1 101 Switching Protocols\r\n\r\n",
	"HEAD / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
	"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n",
	"CONNECT h:1 HTTP/1.1\r\n\r\n",
	"0123456789",
	"GET /t HTTP/1.1\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nbaggage: a=b\r\n\r\n",
	"GET /long/",
	"GET / HTTP/1.1\r\nX: ",
};

/* The host writes n bytes of p, of which `most` are taken; in pieces as `cut` says. */
static void write_bytes(int fd, const char *p, size_t n, unsigned cut, size_t most, int flags)
{
	struct iovec v[8];
	int count = 0;
	for (size_t at = 0; at < n || count == 0;) {
		size_t k = count == 7 ? n - at : (cut >> count & 3) * n / 8;
		if (k > n - at)
			k = n - at;
		v[count++] = (struct iovec){(char *)(uintptr_t)p + at, k};
		at += k;
		if (count == 8)
			break;
	}
	struct tx t;
	int err = EAGAIN;
	if (!tx_is_client(fd)) {
		on_txv(fd, v, count, (ssize_t)(most < n ? most : n), 0);
		return;
	}
	bool edit = inject_begin(&t, fd, v, count, NULL, flags);
	size_t whole = 0;
	for (size_t i = 0; i < (edit ? t.msg.msg_iovlen : (size_t)count); i++)
		whole += edit ? t.msg.msg_iov[i].iov_len : v[i].iov_len;
	ssize_t r = inject_end(&t, fd, most ? (ssize_t)(most < whole ? most : whole) : -1, &err, flags);
	HOLDS(r >= -1 && r <= (ssize_t)n && (r >= 0 || err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = {data, size < 8192 ? size : 8192};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = 1};
	uintptr_t taken = FD_UNKNOWN;
	int taken_fd = -1;
	script_begin();
	config.propagators = script_byte(&s);
	unsigned sampler = script_byte(&s);
	config.sampler = (uint8_t)(sampler % 3);
	config.xray_own = sampler & 64;
	config.threshold = 1ull << 55;
	while (s.n) {
		unsigned op = script_byte(&s), arg = script_byte(&s);
		int fd = script_fds[op >> 4 & 3], other = script_fds[op >> 6 & 3];
		struct script b;
		char *c;
		switch (op & 15) {
		case 0:
		case 1:
			b = script_bytes(&s, arg);
			c = exact(b.p, b.n);
			op & 1 ? write_bytes(fd, c, b.n, arg, b.n, 0) : on_rx(fd, c, b.n, (ssize_t)b.n, 0, 0);
			free(c);
			break;
		case 2:
			c = exact(texts[arg & 15], strlen(texts[arg & 15]));
			on_rx(fd, c, strlen(texts[arg & 15]), (ssize_t)strlen(texts[arg & 15]), 0, arg & 0x80 ? MSG_PEEK : arg & 0x40 ? MSG_TRUNC
			                                                                                                              : 0);
			free(c);
			break;
		case 3:
			c = exact(texts[arg & 15], strlen(texts[arg & 15]));
			write_bytes(fd, c, strlen(texts[arg & 15]), arg >> 4, arg & 0x80 ? script_byte(&s) : SIZE_MAX, arg & 0x40 ? MSG_DONTWAIT : 0);
			free(c);
			break;
		case 4: /* a lot of it */
			c = malloc(70000);
			memset(c, 'x', 70000);
			arg & 1 ? on_rx(fd, c, 70000, (arg + 1) * 256, 0, 0) : write_bytes(fd, c, (arg + 1) * 256, 0, SIZE_MAX, 0);
			free(c);
			break;
		case 5:
			on_rx(fd, NULL, arg & 1, 0, 0, 0);
			break;
		case 6:
			on_rx(fd, NULL, 1, -1, arg & 1 ? ECONNRESET : EAGAIN, 0);
			break;
		case 7:
			write_bytes(fd, "x", 1, 0, 0, 0);
			on_tx(fd, NULL, -1, arg & 1 ? EPIPE : EAGAIN);
			break;
		case 8:
			on_close(fd);
			break;
		case 9:
			on_accept(fd, arg & 1 ? (struct sockaddr *)&to : NULL, sizeof to);
			break;
		case 10:
			if (on_connect(fd, (struct sockaddr *)&to, arg % (sizeof to + 1)))
				on_connected(fd, -(int)(arg >> 7), arg & 1 ? ECONNREFUSED : EINPROGRESS);
			break;
		case 11:
			if (fd != other)
				on_dup(fd, other);
			break;
		case 12:
			if (taken_fd >= 0)
				on_replaced(fd, taken_fd, taken, fd != taken_fd && arg & 1);
			taken_fd = taken_fd >= 0 ? -1 : other;
			if (taken_fd >= 0)
				taken = on_replace(taken_fd);
			break;
		case 13:
			arg & 1 ? on_shutdown(fd, (int)(arg >> 1 & 3)) : on_so_error(fd, arg & 2 ? ECONNREFUSED : 0);
			break;
		case 14:
			arg & 1 ? on_tx_unseen(fd, arg >> 1, 0) : on_rx_unseen(fd, arg >> 1, 0);
			break;
		case 15:
			span_polled();
			if (arg & 1)
				script_drain();
			if (arg & 2)
				on_socket(fd, AF_INET, SOCK_STREAM);
			break;
		}
	}
	if (taken_fd >= 0)
		on_replaced(taken_fd, taken_fd, taken, false);
	script_end();
	return 0;
}
