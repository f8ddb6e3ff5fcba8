/* flags: -w */
/*
 * exits MODE: every way to end, after an exchange over a traced connection that is still open (and told by then).
 */
#include "host.h"

static int p[2];

static void *idle(void *arg)
{
	(void)arg;
	char c;
	read(p[1], &c, 1);
	for (;;)
		pause();
}

static void *exiter(void *arg)
{
	(void)arg;
	exit(21);
}

static void on_signal(int sig)
{
	exchange(p, "/handler");
	sig == SIGUSR1 ? exit(22) : _exit(23);
}

static void quick(void)
{
	dprintf(1, "at_quick_exit\n");
}

static void more(void)
{
	exchange_new("/atexit");
	dprintf(1, "atexit\n");
}

int main(int argc, char **argv)
{
	alarm(20);
	const char *m = argc > 1 ? argv[1] : "";
	pthread_t t;
	tcp_pair(p);
	exchange(p, "/one");
	atexit(more);
	printf("unflushed"); /* stdio's buffer must be written at exit, and only then */
	if (is(m, "return"))
		return 20;
	if (is(m, "threads")) {
		for (int i = 0; i < 4; i++)
			pthread_create(&t, NULL, idle, NULL);
		return 24;
	}
	if (is(m, "thread_exit")) {
		pthread_create(&t, NULL, exiter, NULL);
		pause();
	}
	if (is(m, "main_pthread_exit")) {
		pthread_create(&t, NULL, exiter, NULL);
		pthread_exit(NULL);
	}
	if (is(m, "handler") || is(m, "handler_exit")) {
		signal(SIGUSR1, on_signal);
		signal(SIGUSR2, on_signal);
		raise(is(m, "handler") ? SIGUSR2 : SIGUSR1);
	}
	if (is(m, "quick")) {
		at_quick_exit(quick);
		quick_exit(25);
	}
	if (is(m, "_exit"))
		_exit(26);
	if (is(m, "_Exit"))
		_Exit(27);
	if (is(m, "syscall"))
		syscall(SYS_exit_group, 28);
	if (is(m, "abort"))
		abort();
	if (is(m, "segv"))
		*(volatile int *)8 = 1;
	if (is(m, "fpe"))
		raise(SIGFPE);
	if (is(m, "term"))
		raise(SIGTERM);
	if (is(m, "kill"))
		raise(SIGKILL);
	if (is(m, "pipe")) {
		close(p[1]);
		for (;;)
			request(p[0], "/sigpipe");
	}
	if (is(m, "child")) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(29);
		int a = WEXITSTATUS(reap(pid));
		fflush(stdout);
		pid = fork();
		if (pid == 0)
			exit(30);
		return a + WEXITSTATUS(reap(pid));
	}
	if (is(m, "raise_in_atexit"))
		exit(atexit((void (*)(void))abort) + 31);
	if (is(m, "open")) { /* ends with a request open at both ends */
		request(p[0], "/open");
		char b[400];
		read_head(p[1], b, sizeof b);
		exit(32);
	}
	return 1;
}
