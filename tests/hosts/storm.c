/*
 * storm restart|eintr ROUNDS: HTTP between a client and a server thread while a timer interrupts every 50 us with a
 * handler that itself writes to, reads from and closes sockets and files.
 */
#include "host.h"

static int pipefd[2], pair[2];
static volatile sig_atomic_t hits, bad;

static void tick(int sig)
{
	int e = errno;
	char c;
	(void)sig;
	hits++;
	if (write(pipefd[1], "x", 1) == 1)
		bad |= read(pipefd[0], &c, 1) != 1 || c != 'x';
	if (hits % 16 == 0) {
		int fd = dup(pair[0]);
		if (fd >= 0)
			bad |= close(fd) != 0; /* once: a second close could hit what the other thread just opened */
	}
	if (hits % 64 == 0) {
		int s[2];
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0) {
			bad |= write(s[0], "GET / HTTP/1.1\r\n\r\n", 18) != 18;
			close(s[0]);
			close(s[1]);
		}
	}
	errno = e;
}

static void *server(void *arg)
{
	int l = *(int *)arg, fd;
	for (;;) {
		while ((fd = accept(l, NULL, NULL)) < 0)
			CHECK(errno == EINTR);
		char b[2048];
		int last = 0;
		while (read_head(fd, b, sizeof b)) {
			last = !strncmp(b, "GET /last", 9);
			puts_fd(fd, ANSWER);
		}
		close(fd);
		if (last)
			return NULL;
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	alarm(60);
	int rounds = atoi(argv[2]), port, l = listen_at(&port), eintr = 0;
	struct sigaction sa = {.sa_handler = tick, .sa_flags = is(argv[1], "restart") ? SA_RESTART : 0};
	struct itimerval it = {{0, 50}, {0, 50}}, off = {{0, 0}, {0, 0}};
	pthread_t t;
	MUST(pipe(pipefd));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MUST(-pthread_create(&t, NULL, server, &l));
	sigaction(SIGPROF, &sa, NULL);
	sigaction(SIGVTALRM, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	/* SIGALRM is the bound of this program; a POSIX timer gives the storm */
	timer_t tm;
	struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec ts = {{0, 50000}, {0, 50000}};
	MUST(timer_create(CLOCK_MONOTONIC, &se, &tm));
	MUST(timer_settime(tm, 0, &ts, NULL));
	MUST(setitimer(ITIMER_PROF, &it, NULL));
	for (int i = 0; i < rounds; i++) {
		int fd = connect_to(port), n = 1 + i % 5;
		for (int k = 0; k < n; k++) {
			request(fd, i == rounds - 1 && k == n - 1 ? "/last" : "/storm");
			read_answer(fd);
		}
		struct timespec nap = {0, 200000};
		if (nanosleep(&nap, &nap) < 0)
			eintr |= errno == EINTR;
		MUST(close(fd));
	}
	MUST(setitimer(ITIMER_PROF, &off, NULL));
	timer_delete(tm);
	pthread_join(t, NULL);
	printf("hits %d bad %d nanosleep was interrupted %d\n", hits > 100, bad, eintr);
	return 0;
}
