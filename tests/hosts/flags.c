/* Receive flags, control data, pipelining and half-close on traced connections, by exact results. */
#include "host.h"

static int p[2];
static char b[65536];

static void show(const char *what, ssize_t r)
{
	printf("%s: %zd", what, r);
	if (r < 0)
		printf(" errno %d", errno);
	printf("\n");
}

/* The server's end reads what the client sent; the client's heads are longer when traced, so only the rest is shown. */
static void show_bytes(const char *what, const char *s, ssize_t n)
{
	printf("%s: %.*s\n", what, (int)(n < 0 ? 0 : n), s);
}

static void peeks(void)
{
	tcp_pair(p);
	request(p[0], "/peeked");
	show("peek", recv(p[1], b, 14, MSG_PEEK));
	serve(p[1], "/peeked");
	for (int i = 0; i < 3; i++)
		show("peek of the answer", recv(p[0], b, 300, MSG_PEEK));
	read_answer(p[0]);
	request(p[0], "/peek");
	for (int i = 0; i < 3; i++)
		show_bytes("peek", b, recv(p[1], b, 14, MSG_PEEK));
	show("peek of 1", recv(p[1], b, 1, MSG_PEEK | MSG_DONTWAIT));
	serve(p[1], "/peek");
	for (int i = 0; i < 3; i++)
		show_bytes("peek of the answer", b, recv(p[0], b, 300, MSG_PEEK));
	struct iovec v = {b, 20};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	show("recvmsg peek", recvmsg(p[0], &m, MSG_PEEK));
	show("flags", m.msg_flags);
	show("trunc drops bytes", recv(p[0], NULL, 10, MSG_TRUNC)); /* TCP: consumes without copying */
	show("rest", recv(p[0], b, 300, 0));
	show("dontwait", recv(p[0], b, 300, MSG_DONTWAIT));
	request(p[0], "/next");
	serve(p[1], "/next");
	show("waitall", recv(p[0], b, sizeof ANSWER - 1, MSG_WAITALL));
	show_bytes("bytes", b, sizeof ANSWER - 1);
}

static void *late(void *arg)
{
	(void)arg;
	char t[300];
	read_head(p[1], t, sizeof t);
	for (const char *s = ANSWER; *s; s++)
		CHECK(send(p[1], s, 1, 0) == 1);
	return NULL;
}

static void urgent(void)
{
	pthread_t t;
	tcp_pair(p);
	MUST(-pthread_create(&t, NULL, late, NULL));
	request(p[0], "/slow");
	show("waitall in pieces", recv(p[0], b, sizeof ANSWER - 1, MSG_WAITALL));
	pthread_join(t, NULL);
	request(p[0], "/oob");
	serve(p[1], "/oob");
	read_answer(p[0]);
	show("send oob", send(p[1], "!", 1, MSG_OOB));
	struct pollfd f = {.fd = p[0], .events = POLLPRI};
	show("poll", poll(&f, 1, 2000));
	show("revents", f.revents);
	show("sockatmark", sockatmark(p[0]));
	show("recv oob", recv(p[0], b, 9, MSG_OOB));
	show("char", b[0]);
	request(p[0], "/after");
	serve(p[1], "/after");
	read_answer(p[0]);
	show("select", select(p[0] + 1, &(fd_set){{0}}, NULL, NULL, &(struct timeval){0, 0}));
}

static void pipelined(void)
{
	char req[4000], *r = req;
	tcp_pair(p);
	for (int i = 0; i < 20; i++)
		r += sprintf(r, "GET /pipe/%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
	show("pipelined", write(p[0], req, (size_t)(r - req)));
	for (int i = 0; i < 20; i++) {
		char path[30];
		sprintf(path, "/pipe/%d", i);
		serve(p[1], path);
	}
	size_t want = 20 * (sizeof ANSWER - 1);
	show("answers", recv(p[0], b, want, MSG_WAITALL));
	for (int i = 0; i < 20; i++)
		CHECK(!memcmp(b + (size_t)i * (sizeof ANSWER - 1), ANSWER, sizeof ANSWER - 1));
	/* half-close: the last request, then FIN; the answer still comes */
	request(p[0], "/half");
	show("shutdown", shutdown(p[0], SHUT_WR));
	serve(p[1], "/half");
	show("server sees the end", read(p[1], b, 10));
	close(p[1]);
	read_answer(p[0]);
	show("client sees the end", read(p[0], b, 10));
	show("write after shutdown", send(p[0], "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL));
	close(p[0]);
}

static void timestamps(void)
{
	int on = 1;
	char c[200];
	struct iovec v = {b, 500};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c, .msg_controllen = sizeof c};
	tcp_pair(p);
	MUST(setsockopt(p[0], SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on));
	/* the kernel begins to stamp packets a moment after it was asked to */
	for (int i = 0; i < 1000; i++) {
		exchange(p, "/warm");
		request(p[0], "/time");
		serve(p[1], "/time");
		m.msg_controllen = sizeof c;
		CHECK(recvmsg(p[0], &m, 0) == sizeof ANSWER - 1);
		if (m.msg_controllen)
			break;
		poll(NULL, 0, 1);
	}
	show("controllen", (ssize_t)m.msg_controllen);
	show("type", CMSG_FIRSTHDR(&m) ? CMSG_FIRSTHDR(&m)->cmsg_type : -1);
	struct mmsghdr mm[3] = {{.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}}};
	request(p[0], "/mm");
	serve(p[1], "/mm");
	show("recvmmsg", recvmmsg(p[0], mm, 2, MSG_WAITFORONE, NULL));
	show("len", (ssize_t)mm[0].msg_len);
	show("recvmmsg empty", recvmmsg(p[0], mm, 2, MSG_DONTWAIT, NULL));
}

int main(void)
{
	alarm(20);
	peeks();
	urgent();
	pipelined();
	timestamps();
	return 0;
}
