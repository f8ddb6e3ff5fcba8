/*
 * fds MODE: which numbers the program gets, and what closing everything does. Prints the fd numbers.
 *	lowest	opens and closes in a pattern during heavy tracing
 *	closed	started with 0, 1 and 2 closed (output goes to the file of argv[2])
 *	high	fds >= 1024 and up to the limit, select with many fds
 *	closefrom close_range loop syscall	everything from 3 up is closed, then traffic goes on
 */
#include "host.h"
#include <sys/resource.h>

static FILE *out;

static void number(const char *what, int fd)
{
	fprintf(out, "%s %d\n", what, fd);
}

static void lowest(void)
{
	int keep[24], p[2], q[2], port;
	memset(keep, -1, sizeof keep);
	for (int round = 0; round < 60; round++) {
		int *k = keep + round % 8 * 3; /* some stay open for a while; all numbers stay below 100 */
		for (int i = 0; i < 3; i++)
			if (k[i] >= 0)
				close(k[i]);
		int l = listen_at(&port);
		number("listener", l);
		number("client", p[0] = connect_to(port));
		number("server", p[1] = (int)MUST(accept4(l, NULL, NULL, SOCK_CLOEXEC)));
		close(l);
		for (int i = 0; i < 5; i++)
			exchange(p, "/lowest");
		number("open", k[0] = (int)MUST(open("/dev/null", O_RDONLY)));
		MUST(pipe(q));
		number("pipe", q[0]);
		number("pipe", q[1]);
		number("dup", k[1] = dup(p[0]));
		request(p[0], "/lowest");
		number("open while a request is open", k[2] = open("/dev/null", O_RDONLY));
		serve(p[1], "/lowest");
		read_answer(p[0]);
		close(q[0]);
		close(p[round % 2]);
		number("socket", p[round % 2] = socket(AF_UNIX, SOCK_STREAM, 0));
		close(q[1]);
		close(p[0]);
		close(p[1]);
		FILE *f = fopen("/dev/null", "r");
		number("fopen", fileno(f));
		fclose(f);
		poll(NULL, 0, 2); /* whoever else works in this process has time to open something */
	}
}

static void high(void)
{
	struct rlimit rl;
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	int at[] = {1023, 1024, 1025, 4095, 4096, 4097, 8192, 65535, 65536, 70000, 1048575, (int)rl.rlim_max - 2};
	for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
		int p[2];
		if (at[i] + 1 >= (int)rl.rlim_max)
			continue;
		tcp_pair(p);
		number("dup2", dup2(p[0], at[i]));
		number("dupfd", fcntl(p[1], F_DUPFD_CLOEXEC, at[i] + 1));
		int q[2] = {at[i], at[i] + 1};
		close(p[0]);
		close(p[1]);
		exchange(q, "/high");
		if (at[i] < 1022) {
			fd_set s;
			FD_ZERO(&s);
			FD_SET(at[i], &s);
			number("select", select(at[i] + 1, NULL, &s, NULL, NULL));
		}
		/* a larger fd_set, as programs with many connections allocate it */
		size_t words = (size_t)at[i] / 64 + 1;
		unsigned long *set = calloc(words, 8);
		set[at[i] / 64] |= 1ul << (at[i] % 64);
		number("select", select(at[i] + 1, NULL, (fd_set *)set, NULL, NULL));
		free(set);
		request(q[0], "/open");
		serve(q[1], "/open");
		read_answer(q[0]);
		close(q[0]);
		close(q[1]);
	}
	number("dup2", dup2(0, (int)rl.rlim_max));
	number("errno", errno);
}

static void close_all(const char *how)
{
	int p[2];
	tcp_pair(p);
	exchange(p, "/before");
	request(p[0], "/open");
	if (is(how, "closefrom"))
		closefrom(3);
	else if (is(how, "close_range"))
		number("close_range", close_range(3, ~0u, 0));
	else if (is(how, "syscall"))
		number("syscall", (int)syscall(SYS_close_range, 3, ~0u, 0));
	else
		for (int i = 3; i < 1024; i++)
			close(i);
	number("next", open("/dev/null", O_RDONLY));
	number("next", open("/dev/null", O_RDONLY));
	for (int i = 0; i < 20; i++)
		exchange_new("/after");
	number("next", open("/dev/null", O_RDONLY));
}

int main(int argc, char **argv)
{
	alarm(30);
	int first = argc > 2 ? open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
	int second = argc > 2 ? open(argv[2], O_WRONLY | O_APPEND) : -1;
	out = argc > 2 ? fdopen(second, "w") : stdout;
	setvbuf(out, NULL, _IOLBF, 4096);
	if (argc > 2) {
		number("first", first);
		number("second", second);
		number("third", open("/dev/null", O_RDWR));
		number("fourth", socket(AF_INET, SOCK_STREAM, 0));
		lowest();
		fclose(out);
		return 0;
	}
	if (is(argv[1], "lowest"))
		lowest();
	else if (is(argv[1], "high"))
		high();
	else
		close_all(argv[1]);
	return 0;
}
