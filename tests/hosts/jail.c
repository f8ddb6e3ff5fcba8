/* jail DIR UID N: listens, chroots into the empty DIR, becomes UID, then serves N connections of one request each. */
#include "host.h"
#include <grp.h>

int main(int argc, char **argv)
{
	CHECK(argc == 4);
	alarm(40);
	int port, l = listen_at(&port), n = atoi(argv[3]);
	unsigned id = (unsigned)atoi(argv[2]);
	MUST(chroot(argv[1]));
	MUST(chdir("/"));
	if (getuid() == 0) {
		MUST(setgroups(0, NULL));
		MUST(setgid(id));
		MUST(setuid(id));
	}
	CHECK(setuid(0) == -1 && open("/etc/passwd", O_RDONLY) == -1);
	printf("port %d\n", port);
	fflush(stdout);
	for (int i = 0; i < n; i++) {
		char b[2000];
		int fd = (int)MUST(accept(l, NULL, NULL));
		CHECK(read_head(fd, b, sizeof b));
		puts_fd(fd, ANSWER);
		close(fd);
	}
	printf("served %d\n", n);
	return 12;
}
