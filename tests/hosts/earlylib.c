/* flags: -shared -fPIC -w */
/* A library whose constructor and destructor do socket and file I/O; preloaded behind ours, its constructor runs first. */
#include "host.h"

static int p[2];

__attribute__((constructor)) static void early(void)
{
	char b[8];
	int q[2], fd;
	errno = 4242;
	MUST(pipe(q));
	CHECK(write(q[1], "GET / HTTP/1.1\r\n\r\n", 18) == 18 && read(q[0], b, 8) == 8 && close(q[0]) == 0);
	CHECK(close(q[1]) == 0 && close(q[1]) == -1 && errno == EBADF);
	tcp_pair(p);
	exchange(p, "/constructor");
	CHECK((fd = dup2(p[0], 50)) == 50 && fcntl(fd, F_DUPFD, 60) == 60 && close(60) == 0 && close(50) == 0);
	CHECK(poll(&(struct pollfd){.fd = p[0], .events = POLLIN}, 1, 0) == 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(3);
	CHECK(WEXITSTATUS(reap(pid)) == 3);
	dprintf(1, "constructor done\n");
}

__attribute__((destructor)) static void late(void)
{
	exchange(p, "/destructor");
	exchange_new("/destructor");
	dprintf(1, "destructor done\n");
}
