/* Bytes that look like a request head but are none, or go to something that is no longer the socket: never edited. */
#include "host.h"

#define REQ "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"

static const char *file;

static void dump(const char *what, int fd, size_t n)
{
	char b[4096];
	read_exactly(fd, b, n);
	printf("== %s\n%s\n", what, b);
}

static void dump_file(const char *what)
{
	char b[4096];
	int f = (int)MUST(open(file, O_RDONLY));
	b[MUST(read(f, b, sizeof b - 1))] = 0;
	close(f);
	printf("== %s\n%s\n", what, b);
}

/* A connection that has been a traced client for one exchange. */
static void warm(int p[2])
{
	tcp_pair(p);
	exchange(p, "/warm");
}

/* Writes to `fd` in all the ways there are. */
static void all_ways(int fd, int sock)
{
	struct iovec v[2] = {{(void *)REQ, 6}, {(void *)(REQ + 6), sizeof REQ - 7}};
	CHECK(write(fd, REQ, sizeof REQ - 1) == sizeof REQ - 1);
	CHECK(writev(fd, v, 2) == sizeof REQ - 1);
	if (sock) {
		struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
		CHECK(send(fd, REQ, sizeof REQ - 1, 0) == sizeof REQ - 1);
		CHECK(sendmsg(fd, &m, 0) == sizeof REQ - 1);
	}
}

static void reuse(int how)
{
	int p[2], q[2];
	warm(p);
	int fd = p[0], f;
	if (how == 0) {
		fclose(fdopen(fd, "w"));
	} else if (how == 1) {
		syscall(SYS_close, fd);
	} else if (how == 2) {
		close_range((unsigned)fd, (unsigned)fd, 0);
	} else if (how == 3) {
		f = (int)MUST(open(file, O_RDWR | O_CREAT | O_TRUNC, 0600));
		MUST(dup2(f, fd));
		close(f);
	} else if (how == 4) {
		f = (int)MUST(open(file, O_RDWR | O_CREAT | O_TRUNC, 0600));
		syscall(SYS_dup3, f, fd, 0);
		close(f);
	} else if (how == 5) {
		pid_t pid = vfork(); /* the child's close is not ours: the parent closes for itself by stdio */
		if (pid == 0) {
			close(fd);
			_exit(0);
		}
		reap(pid);
		fclose(fdopen(fd, "r+"));
	} else if (how == 6) {
		MUST(pipe(q));
		MUST(dup3(q[1], fd, O_CLOEXEC));
		all_ways(fd, 0);
		dump("a pipe in its place", q[0], 2 * (sizeof REQ - 1));
		return;
	} else {
		closefrom(fd > p[1] ? p[1] : fd);
		p[1] = -1;
	}
	if (how != 3 && how != 4) {
		unlink(file);
		f = (int)MUST(open(file, O_RDWR | O_CREAT | O_TRUNC, 0600));
		if (f != fd) {
			MUST(dup2(f, fd));
			close(f);
		}
	}
	all_ways(fd, 0);
	close(fd);
	if (p[1] >= 0)
		close(p[1]);
	char what[40];
	sprintf(what, "a file in its place %d", how);
	dump_file(what);
	unlink(file);
}

static void bodies(void)
{
	int p[2];
	char b[4096];
	/* a body of two writes, the second like a head; then chunks; then a real request, which is ours to edit */
	tcp_pair(p);
	puts_fd(p[0], "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 57\r\n\r\n");
	put(p[0], REQ, sizeof REQ - 1);
	CHECK(writev(p[0], (struct iovec[]){{(void *)REQ, sizeof REQ - 1}}, 1) == sizeof REQ - 1);
	puts_fd(p[0], "x");
	read_head(p[1], b, sizeof b);
	dump("a body", p[1], 57);
	puts_fd(p[1], ANSWER);
	read_answer(p[0]);
	puts_fd(p[0], "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 3; i++) {
		puts_fd(p[0], "1c\r\n");
		put(p[0], REQ, sizeof REQ - 1);
		puts_fd(p[0], "\r\n");
	}
	puts_fd(p[0], "0\r\n\r\n");
	read_head(p[1], b, sizeof b);
	dump("chunks", p[1], 3 * 34 + 5);
	puts_fd(p[1], ANSWER);
	read_answer(p[0]);
	/* an answer that looks like a request */
	request(p[0], "/c");
	read_head(p[1], b, sizeof b);
	puts_fd(p[1], "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n");
	put(p[1], REQ, sizeof REQ - 1);
	read_head(p[0], b, sizeof b);
	dump("an answer's body", p[0], sizeof REQ - 1);
	/* tunnels */
	puts_fd(p[0], "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: y\r\n\r\n");
	read_head(p[1], b, sizeof b);
	puts_fd(p[1], "HTTP/1.1 101 Switching\r\nUpgrade: y\r\nConnection: Upgrade\r\n\r\n");
	read_head(p[0], b, sizeof b);
	all_ways(p[0], 1);
	dump("after an upgrade", p[1], 4 * (sizeof REQ - 1));
	tcp_pair(p);
	puts_fd(p[0], "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n");
	read_head(p[1], b, sizeof b);
	puts_fd(p[1], "HTTP/1.1 200 OK\r\n\r\n");
	read_head(p[0], b, sizeof b);
	all_ways(p[0], 1);
	dump("inside a tunnel", p[1], 4 * (sizeof REQ - 1));
	/* another protocol that happens to say it */
	tcp_pair(p);
	puts_fd(p[0], "+OK hello\r\n");
	puts_fd(p[1], "+OK you\r\n");
	dump("greeting", p[0], 9);
	all_ways(p[0], 1);
	dump("not HTTP", p[1], 11 + 4 * (sizeof REQ - 1));
	tcp_pair(p);
	CHECK(send(p[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1, MSG_OOB) == 1);
	CHECK(recv(p[1], b, 1, MSG_OOB) == 1 || errno == EINVAL);
}

int main(int argc, char **argv)
{
	alarm(30);
	file = argc > 1 ? argv[1] : "notours.tmp";
	int p[2], f = (int)MUST(open(file, O_RDWR | O_CREAT | O_TRUNC, 0600));
	exchange_new("/start"); /* something to trace, so that all is awake */
	all_ways(f, 0);
	close(f);
	dump_file("a file");
	MUST(pipe(p));
	all_ways(p[1], 0);
	dump("a pipe", p[0], 2 * (sizeof REQ - 1));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
	CHECK(write(p[0], REQ, sizeof REQ - 1) == sizeof REQ - 1);
	char b[200] = "";
	printf("datagram %zd\n", recv(p[1], b, sizeof b, 0));
	int u = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	MUST(bind(u, (void *)&a, n));
	MUST(getsockname(u, (void *)&a, &n));
	MUST(connect(u, (void *)&a, n));
	CHECK(send(u, REQ, sizeof REQ - 1, 0) == sizeof REQ - 1);
	printf("udp %zd\n", recv(u, b, sizeof b, 0));
	int m = (int)MUST(posix_openpt(O_RDWR | O_NOCTTY));
	CHECK(write(m, "", 0) == 0);
	for (int how = 0; how < 8; how++)
		reuse(how);
	bodies();
	return 0;
}
