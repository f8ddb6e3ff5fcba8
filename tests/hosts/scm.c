/*
 * Connections that change process in the middle: a parent reads a request and passes the socket by SCM_RIGHTS to a
 * child that answers; a client's socket is passed after the request, another process reads the answer and goes on.
 */
#include "host.h"

static void pass(int u, int fd)
{
	union {
		char b[CMSG_SPACE(sizeof(int))];
		struct cmsghdr h;
	} c = {.h = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec v = {"f", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c.b, .msg_controllen = sizeof c.b};
	memcpy(CMSG_DATA(&c.h), &fd, sizeof fd);
	CHECK(sendmsg(u, &m, 0) == 1);
}

static int take(int u)
{
	union {
		char b[CMSG_SPACE(sizeof(int))];
		struct cmsghdr h;
	} c;
	char x;
	int fd = -1;
	struct iovec v = {&x, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = c.b, .msg_controllen = sizeof c.b};
	ssize_t r = recvmsg(u, &m, MSG_CMSG_CLOEXEC);
	if (r <= 0)
		return -1;
	CHECK(x == 'f' && m.msg_controllen == sizeof c.b && !(m.msg_flags & MSG_CTRUNC));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	return fd;
}

/* Even rounds: gets the server's end after the request was read. Odd: gets the client's end before the answer. */
static void child(int u)
{
	for (int i = 0, fd; (fd = take(u)) >= 0; i++) {
		if (i % 2 == 0) {
			puts_fd(fd, ANSWER);
			serve(fd, "/again");
		} else {
			read_answer(fd);
			request(fd, "/again");
			read_answer(fd);
		}
		close(fd);
	}
	exit(5);
}

int main(void)
{
	alarm(30);
	int u[2];
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
	pid_t pid = fork();
	if (pid == 0) {
		close(u[0]);
		child(u[1]);
	}
	close(u[1]);
	for (int i = 0; i < 200; i++) {
		int p[2];
		char b[600];
		tcp_pair(p);
		request(p[0], "/first");
		read_head(p[1], b, sizeof b);
		if (i % 2 == 0) {
			pass(u[0], p[1]);
			close(p[1]);
			read_answer(p[0]);
			request(p[0], "/again");
			read_answer(p[0]);
		} else {
			pass(u[0], p[0]);
			close(p[0]);
			puts_fd(p[1], ANSWER);
			serve(p[1], "/again");
			CHECK(read(p[1], b, 1) == 0);
		}
		close(p[0]);
		close(p[1]);
	}
	close(u[0]);
	printf("child %d\n", WEXITSTATUS(reap(pid)));
	return 0;
}
