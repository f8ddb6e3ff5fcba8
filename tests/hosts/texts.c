/*
 * Everything that ends in fd 2: stdio in all its modes, wide streams, other streams, freopen, dup2, fork, signal
 * handlers, failing writes, exit. The output is what both runs must have in common, byte for byte.
 * texts MODE; "other" puts other things on fd 2 and must not be taken for text (harm/test_errors.py looks).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

static void on_signal(int sig)
{
	(void)sig;
	if (write(2, "in handler\n", 11) != 11)
		_exit(9);
}

static void *talk(void *arg)
{
	for (int i = 0; i < 50; i++)
		fprintf(stderr, "Exception in thread \"t\" a.B: %d\n\tat a.B.c(B.java:1)\n", i);
	return arg;
}

static void at_exit(void)
{
	fputs("at exit\n", stderr);
}

static void modes(void)
{
	static char buf[64];
	struct iovec v[3] = {{"one ", 4}, {"", 0}, {"two\n", 4}};
	fprintf(stderr, "formatted %d %s\n", 7, "x");
	fputc('c', stderr);
	putc('\n', stderr);
	errno = 5;
	fputs("puts\n", stderr);
	printf("%d ", errno);
	errno = 6;
	printf("%zd ", write(2, "write\n", 6));
	printf("%d ", errno);
	fwrite("fwrite\n", 1, 7, stderr);
	errno = ENOENT;
	perror("perror");
	printf("%zd ", writev(2, v, 3));
	printf("%d ", dprintf(2, "dprintf\n"));
	setvbuf(stderr, buf, _IOFBF, sizeof buf);
	fprintf(stderr, "buffered, longer than the buffer of sixty-four bytes, so that it goes out in two\n");
	fflush(stderr);
	setvbuf(stderr, NULL, _IOLBF, 0);
	fprintf(stderr, "a line\nand a ");
	fprintf(stderr, "half\n");
	setvbuf(stderr, NULL, _IONBF, 0);
	FILE *f = fdopen(dup(2), "w");
	fprintf(f, "another stream\n");
	printf("%d\n", fclose(f));
	signal(SIGUSR1, on_signal);
	for (int i = 0; i < 20; i++)
		raise(SIGUSR1);
	pid_t pid = fork();
	if (pid == 0) {
		fprintf(stderr, "in the child\n");
		_exit(3);
	}
	int st;
	waitpid(pid, &st, 0);
	printf("child %d\n", WEXITSTATUS(st));
	pid = vfork();
	if (pid == 0) {
		if (write(2, "in the vfork child\n", 19) != 19)
			_exit(1);
		_exit(4);
	}
	waitpid(pid, &st, 0);
	printf("vfork child %d\n", WEXITSTATUS(st));
	pthread_t t;
	pthread_create(&t, NULL, talk, NULL);
	pthread_join(t, NULL);
	atexit(at_exit);
}

/* What the calls return when the reader is gone, or takes no more. */
static void failing(void)
{
	int p[2], save = dup(2);
	void *volatile nowhere = NULL;
	char big[200000];
	memset(big, 'x', sizeof big);
	signal(SIGPIPE, SIG_IGN);
	if (pipe(p) != 0)
		exit(9);
	dup2(p[1], 2);
	fcntl(2, F_SETFL, O_NONBLOCK);
	errno = 0;
	ssize_t n = write(2, big, sizeof big);
	printf("%zd %d ", n, n < 0 ? errno : 0);
	errno = 0;
	n = write(2, big, sizeof big);
	printf("%zd %d ", n, errno);
	errno = 0;
	n = (ssize_t)fwrite(big, 1, 10, stderr);
	printf("%zd %d %d ", n, errno, ferror(stderr) != 0);
	clearerr(stderr);
	close(p[0]);
	errno = 0;
	n = write(2, "x", 1);
	printf("%zd %d ", n, errno);
	errno = 0;
	n = write(2, nowhere, 5);
	printf("%zd %d ", n, errno);
	dup2(save, 2);
	errno = 0;
	n = write(2, (char *)nowhere + 8, 5);
	printf("%zd %d ", n, errno);
	close(2);
	errno = 0;
	n = write(2, "x", 1);
	printf("%zd %d ", n, errno);
	n = fprintf(stderr, "x");
	printf("%zd %d\n", n, errno);
	dup2(save, 2);
	clearerr(stderr);
	fprintf(stderr, "back again\n");
}

static void wide(void)
{
	fwprintf(stderr, L"wide %d %ls\n", 5, L"text");
	fputws(L"more\n", stderr);
	printf("%d\n", fwide(stderr, 0) > 0);
}

static void reopened(const char *path)
{
	fprintf(stderr, "before\n");
	if (!freopen(path, "w", stderr))
		exit(9);
	fprintf(stderr, "panic: data in a file, not an error\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1\n");
	fclose(stderr);
}

static const char java[] = "Exception in thread \"main\" not.A.Error: data\n\tat a.b(C.java:1)\n\n";

static void other(const char *path)
{
	int p[2];
	char buf[256];
	fprintf(stderr, "a word\n"); /* so that fd 2 is known */
	close(2);
	if (open(path, O_RDWR | O_CREAT | O_TRUNC, 0600) != 2)
		exit(9);
	printf("%d ", write(2, java, sizeof java - 1) == sizeof java - 1);
	close(2);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, p) != 0 || p[0] != 2)
		exit(9);
	printf("%d ", write(2, java, sizeof java - 1) == sizeof java - 1);
	printf("%zd\n", read(p[1], buf, sizeof buf));
	fflush(stdout);
	fclose(stderr); /* closes 2 without a call that anybody sees */
	int fd = open(path, O_RDWR | O_TRUNC);
	printf("%d %d\n", fd, write(2, java, sizeof java - 1) == sizeof java - 1);
}

/* fclose closes 2 without a call that anybody sees, and a file gets the number. */
static void fclosed(const char *path)
{
	fprintf(stderr, "a word\n");
	fclose(stderr);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	printf("%d %d\n", fd, write(2, java, sizeof java - 1) == sizeof java - 1);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "modes";
	setvbuf(stdout, NULL, _IOFBF, 4096);
	if (strcmp(mode, "failing") == 0)
		failing();
	else if (strcmp(mode, "wide") == 0)
		wide();
	else if (strcmp(mode, "reopened") == 0)
		reopened(argv[2]);
	else if (strcmp(mode, "other") == 0)
		other(argv[2]);
	else if (strcmp(mode, "fclosed") == 0)
		fclosed(argv[2]);
	else if (strcmp(mode, "closed") == 0) {
		fclose(stdout);
		fprintf(stderr, "stdout is closed\n");
	} else
		modes();
	return 0;
}
