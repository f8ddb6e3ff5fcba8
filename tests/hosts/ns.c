/*
 * ns thread|fork|user|mnt N: calls that the kernel refuses to a process of two threads, with traffic before each, so that an
 * exporter has reason to be there. Prints how many succeeded.
 */
#include "host.h"
#include <sched.h>

static void write_to(const char *path, const char *s)
{
	int fd = (int)MUST(open(path, O_WRONLY));
	MUST(write(fd, s, strlen(s)));
	close(fd);
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	alarm(60);
	int n = atoi(argv[2]), good = 0, fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), p[2];
	tcp_pair(p);
	for (int i = 0; i < n; i++) {
		exchange_new("/ns");
		exchange(p, "/ns");
		poll(NULL, 0, i % 3); /* time to begin to send */
		errno = 0;
		/* CLONE_THREAD alone asks the kernel only whether we are alone */
		int r = is(argv[1], "thread") ? unshare(CLONE_THREAD)
		        : is(argv[1], "user") ? unshare(CLONE_NEWUSER)
		        : is(argv[1], "fork") ? unshare(CLONE_SIGHAND | CLONE_VM)
		                              : setns(fd, CLONE_NEWNS);
		if (r == 0) {
			good++;
			if (is(argv[1], "user")) { /* be root again, so that the next one may follow */
				write_to("/proc/self/setgroups", "deny");
				write_to("/proc/self/gid_map", "0 0 1");
				write_to("/proc/self/uid_map", "0 0 1");
			}
		}
		if (r != 0)
			printf("round %d: errno %d\n", i, errno);
	}
	exchange(p, "/last");
	exchange_new("/last");
	printf("%d of %d\n", good, n);
	return 0;
}
