/* flags: -Wl,-z,now */
/* altstack SIZE: a handler on a small alternate stack does I/O on a traced socket, with a guard page below it. */
#include "host.h"
#include <sys/auxv.h>
#include <sys/mman.h>

static int p[2];
static volatile sig_atomic_t done;

static void handler(int sig)
{
	char b[64];
	int e = errno;
	(void)sig;
	/* a traced request and its answer, and a close, all on the small stack */
	if (write(p[0], "GET /alt HTTP/1.1\r\nHost: x\r\n\r\n", 31) == 31 && read(p[1], b, 20) == 20 && !memcmp(b, "GET /alt", 8)) {
		while (recv(p[1], b, sizeof b, MSG_DONTWAIT) > 0)
			;
		if (write(p[1], ANSWER, sizeof ANSWER - 1) == sizeof ANSWER - 1 && read(p[0], b, 64) == sizeof ANSWER - 1)
			done++;
	}
	int d = dup(p[0]);
	close(d);
	errno = e;
}

int main(int argc, char **argv)
{
	alarm(20);
	size_t extra = argc > 1 ? (size_t)atol(argv[1]) : 0, frame = getauxval(AT_MINSIGSTKSZ);
	size_t n = (frame ? frame : 2048) + extra, map = (n + 4095) / 4096 * 4096;
	char *m = mmap(NULL, map + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(mprotect(m, 4096, PROT_NONE));
	stack_t ss = {.ss_sp = m + 4096, .ss_size = n};
	/* the stack's lower end is the guard page: whoever needs more dies */
	MUST(sigaltstack(&ss, NULL));
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < 50; i++) {
		tcp_pair(p);
		raise(SIGUSR1);
		exchange(p, "/normal");
		close(p[0]);
		close(p[1]);
	}
	printf("done %d\n", done);
	return 0;
}
