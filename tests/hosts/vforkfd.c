/* flags: -w */
/*
 * A vfork child (as Python's subprocess makes) closes and replaces fds in its parent's memory. The parent's two traced
 * connections, one client and one server end, go on: N requests, all of them told.
 */
#include "host.h"
#include <sched.h>

static int p[2];
static char stack[65536] __attribute__((aligned(16)));

static int child(void *arg)
{
	long how = (long)arg;
	int null = open("/dev/null", O_RDWR);
	switch (how) {
	case 0:
		close(p[0]), close(p[1]);
		break;
	case 1:
		dup2(null, p[0]), dup2(null, p[1]);
		break;
	case 2:
		dup3(null, p[0], O_CLOEXEC), dup3(null, p[1], O_CLOEXEC);
		break;
	case 3:
		close_range(3, ~0u, 0);
		break;
	case 4:
		closefrom(3);
		break;
	case 5:
		syscall(SYS_close, p[0]), syscall(SYS_close, p[1]);
		break;
	case 6:
		syscall(SYS_close_range, 3, ~0u, 0);
		break;
	case 7:
		shutdown(-1, 2), dup2(p[0], p[1]);
		break;
	case 8:
		close(p[0]), close(p[1]), socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 0);
		break;
	case 9:
		close(p[0]), (void)!write(null, "GET /wrong HTTP/1.1\r\n\r\n", 23);
		break;
	case 10:
		fcntl(null, F_DUPFD, 200), close(p[1]);
		break;
	case 11:
		close_range(3, ~0u, 1 << 2);
		break; /* CLOSE_RANGE_CLOEXEC */
	}
	execl("/bin/true", "true", (char *)0);
	_exit(99);
}

int main(int argc, char **argv)
{
	alarm(30);
	int use_clone = argc > 1 && is(argv[1], "clone");
	tcp_pair(p);
	exchange(p, "/first");
	for (long how = 0; how < 12; how++) {
		request(p[0], "/open"); /* a request is open across the child */
		pid_t pid = use_clone ? clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)how) : vfork();
		if (pid == 0)
			child((void *)how);
		CHECK(reap((pid_t)MUST(pid)) == 0);
		serve(p[1], "/open");
		read_answer(p[0]);
		exchange(p, "/next");
	}
	printf("24 more\n");
	return 0;
}
