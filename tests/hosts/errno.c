/* flags: -w */
/* Every hooked function, failing and succeeding: result and errno. A success leaves errno as it was (the sentinel). */
#include "host.h"
#include <linux/sched.h>
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/resource.h>
#include <sys/wait.h>

ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
ssize_t sendfile64(int, int, off64_t *, size_t);

enum { SENTINEL = 4242 };

#define T(x)                                                \
	do {                                                    \
		errno = SENTINEL;                                   \
		long r_ = (long)(x);                                \
		int e_ = errno;                                     \
		printf("%3d %ld %d %.60s\n", __LINE__, r_, e_, #x); \
	} while (0)
/* The value is an fd or otherwise not to be printed. */
#define V(x)                                                                    \
	({                                                                          \
		errno = SENTINEL;                                                       \
		long r_ = (long)(x);                                                    \
		int e_ = errno;                                                         \
		printf("%3d %s %d %.60s\n", __LINE__, r_ < 0 ? "bad" : "good", e_, #x); \
		r_;                                                                     \
	})

static char buf[8192];
static struct iovec iov = {buf, sizeof buf};

/* The same call on the client's end (sends requests, reads answers) and on the server's, `how` by `how`. */
static void traced_sockets(void)
{
	static const char req[] = "GET /errno HTTP/1.1\r\nHost: x\r\n\r\n";
	for (int how = 0; how < 10; how++) {
		int p[2];
		tcp_pair(p);
		for (int round = 0; round < 3; round++)
			for (int side = 0; side < 2; side++) {
				const char *what = side ? ANSWER : req;
				size_t n = strlen(what), got = 0;
				struct iovec v[3] = {{(void *)what, 5}, {NULL, 0}, {(void *)(what + 5), n - 5}};
				struct mmsghdr mm = {.msg_hdr = {.msg_iov = v, .msg_iovlen = 3}};
				errno = SENTINEL;
				long r = how == 0   ? write(p[side], what, n)
				         : how == 1 ? send(p[side], what, n, 0)
				         : how == 2 ? sendto(p[side], what, n, MSG_NOSIGNAL, NULL, 0)
				         : how == 3 ? sendmsg(p[side], &mm.msg_hdr, MSG_NOSIGNAL)
				         : how == 4 ? sendmmsg(p[side], &mm, 1, 0)
				         : how == 5 ? pwritev2(p[side], v, 3, -1, 0)
				                    : writev(p[side], v, 3);
				int e = errno;
				char peek[1];
				MUST(recv(p[!side], peek, 1, MSG_PEEK));
				while (got < 4 || memcmp(buf + got - 4, side ? "\r\nok" : "\r\n\r\n", 4)) {
					struct iovec in[2] = {{buf + got, 7}, {buf + got + 7, 900}};
					struct mmsghdr im = {.msg_hdr = {.msg_iov = in, .msg_iovlen = 2}};
					errno = SENTINEL;
					long k = how == 0   ? read(p[!side], buf + got, 900)
					         : how == 1 ? recv(p[!side], buf + got, 900, 0)
					         : how == 2 ? recvfrom(p[!side], buf + got, 900, 0, NULL, NULL)
					         : how == 3 ? recvmsg(p[!side], &im.msg_hdr, 0)
					         : how == 4 ? (recvmmsg(p[!side], &im, 1, 0, NULL) == 1 ? (long)im.msg_len : -1)
					         : how == 5 ? preadv2(p[!side], in, 2, -1, 0)
					         : how == 6 ? __read_chk(p[!side], buf + got, 900, sizeof buf - got)
					         : how == 7 ? __recv_chk(p[!side], buf + got, 900, sizeof buf - got, 0)
					         : how == 8 ? __recvfrom_chk(p[!side], buf + got, 900, sizeof buf - got, 0, NULL, NULL)
					                    : readv(p[!side], in, 2);
					if (k <= 0 || errno != SENTINEL)
						printf("receive %d/%d: %ld errno %d\n", how, side, k, errno);
					CHECK(k > 0);
					got += (size_t)k;
				}
				printf("how %d side %d: %ld errno %d\n", how, side, r, e);
				memset(buf, 0, sizeof buf);
			}
		T(recv(p[0], buf, 9, MSG_DONTWAIT));
		T(shutdown(p[0], SHUT_WR));
		T(read(p[1], buf, 9));
		T(send(p[0], "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL));
		T(close(p[0]));
		T(close(p[0]));
		T(read(p[0], buf, 9));
		T(close(p[1]));
	}
}

static void bad_fds(int b)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t n = sizeof sa;
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct mmsghdr mm = {.msg_hdr = m};
	struct epoll_event ev;
	struct timespec ts = {0, 0};
	fd_set fds;
	FD_ZERO(&fds);
	T(accept(b, NULL, NULL));
	T(accept4(b, NULL, NULL, SOCK_CLOEXEC));
	T(connect(b, (void *)&sa, n));
	T(bind(b, (void *)&sa, n));
	T(listen(b, 1));
	T(close(b));
	T(shutdown(b, SHUT_RDWR));
	T(dup(b));
	T(dup2(b, 500));
	T(dup3(b, 500, O_CLOEXEC));
	T(fcntl(b, F_DUPFD, 0));
	T(fcntl(b, F_DUPFD_CLOEXEC, 0));
	T(fcntl(b, F_GETFL));
	T(read(b, buf, 9));
	T(readv(b, &iov, 1));
	T(recv(b, buf, 9, 0));
	T(recvfrom(b, buf, 9, 0, (void *)&sa, &n));
	T(recvmsg(b, &m, 0));
	T(recvmmsg(b, &mm, 1, 0, NULL));
	T(write(b, "GET / HTTP/1.1\r\n\r\n", 18));
	T(writev(b, &iov, 1));
	T(send(b, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL));
	T(sendto(b, buf, 9, MSG_NOSIGNAL, (void *)&sa, n));
	T(sendmsg(b, &m, MSG_NOSIGNAL));
	T(sendmmsg(b, &mm, 1, MSG_NOSIGNAL));
	T(sendfile(b, b, NULL, 9));
	T(sendfile64(b, b, NULL, 9));
	T(splice(b, NULL, b, NULL, 9, 0));
	T(pread(b, buf, 9, 0));
	T(pwrite(b, buf, 9, 0));
	T(preadv2(b, &iov, 1, -1, 0));
	T(pwritev2(b, &iov, 1, -1, 0));
	T(__read_chk(b, buf, 9, 9));
	T(__recv_chk(b, buf, 9, 9, 0));
	T(__recvfrom_chk(b, buf, 9, 9, 0, NULL, NULL));
	T(epoll_wait(b, &ev, 1, 0));
	T(epoll_pwait(b, &ev, 1, 0, NULL));
	T(epoll_pwait2(b, &ev, 1, &ts, NULL));
	T(getsockopt(b, SOL_SOCKET, SO_TYPE, buf, &n));
	T(fexecve(b, (char *[]){"x", NULL}, environ));
	T(setns(b, 0));
	T(syscall(SYS_close, b));
	T(syscall(SYS_read, b, buf, 9));
	T(syscall(-1));
	struct timeval tv = {0, 0};
	T(select(b < 0 || b > 1000 ? -1 : 10, &fds, NULL, NULL, &tv));
	T(pselect(-1, &fds, NULL, NULL, &ts, NULL));
	struct timespec bad = {0, -1}, soon = {0, 1000};
	T(nanosleep(&bad, NULL));
	T(nanosleep(&soon, NULL));
	T(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL));
	T(clock_nanosleep(CLOCK_MONOTONIC, 0, &soon, NULL));
	T(usleep(1));
	T(sleep(0));
	T(wait(NULL));
	T(waitpid(-1, NULL, WNOHANG));
	T(wait4(-1, NULL, 0, NULL));
}

static void good_calls(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof sa;
	struct timespec ts = {0, 0};
	struct timeval tv = {0, 0};
	struct epoll_event ev = {.events = EPOLLIN};
	fd_set fds;
	FD_ZERO(&fds);
	int l = (int)V(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), type, p[2];
	T(socket(4711, 1, 2));
	T(bind(l, (void *)&sa, n));
	T(bind(l, (void *)&sa, n));
	T(listen(l, 8));
	nonblock(l);
	T(accept(l, NULL, NULL));
	T(accept4(l, NULL, NULL, 0));
	T(accept4(l, NULL, NULL, -1));
	T(getsockname(l, (void *)&sa, &n));
	int c = (int)V(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	T(connect(c, (void *)&sa, n));
	MUST(poll(&(struct pollfd){.fd = l, .events = POLLIN}, 1, 5000));
	int a = (int)V(accept4(l, (void *)&sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC));
	T(connect(c, (void *)&sa, n) < 0);
	n = sizeof type;
	T(getsockopt(a, SOL_SOCKET, SO_TYPE, &type, &n));
	struct addrinfo *list = NULL;
	T(getaddrinfo("localhost", NULL, NULL, &list));
	freeaddrinfo(list);
	T(getaddrinfo("127.0.0.1", "no such service", NULL, &list));
	T(recv(c, buf, 9, 0));
	T(read(a, buf, 9));
	int d = (int)V(dup(a)), d2 = (int)V(dup2(a, 400)), d3 = (int)V(dup3(a, 401, O_CLOEXEC));
	T(dup2(a, a) == a);
	T(dup3(a, a, 0));
	int f = (int)V(fcntl(a, F_DUPFD, 300)), g = (int)V(fcntl(a, F_DUPFD_CLOEXEC, 300));
	for (int i = 0; i < 8; i++) { /* the flags asked for are the flags given */
		T(fcntl((int[]){a, l, c, d, d2, d3, f, g}[i], F_GETFD));
		T(fcntl((int[]){a, l, c, d, d2, d3, f, g}[i], F_GETFL));
	}
	T(fcntl(a, F_SETFD, 0));
	T(fcntl(a, F_GETFD));
	struct flock fl = {.l_type = F_RDLCK};
	T(fcntl(a, F_GETLK, &fl));
	T(fcntl(a, 12345, &fl));
	T(fcntl(a, F_DUPFD, -1));
	T(fcntl(a, F_GETOWN));
	int e = (int)V(epoll_create1(0));
	MUST(epoll_ctl(e, EPOLL_CTL_ADD, a, &ev));
	T(epoll_wait(e, &ev, 1, 0));
	T(epoll_wait(e, &ev, 0, 0));
	T(epoll_pwait(e, &ev, 1, 1, NULL));
	T(epoll_pwait2(e, &ev, 1, &ts, NULL));
	struct pollfd pf = {.fd = a, .events = POLLIN};
	T(poll(&pf, 1, 0));
	T(ppoll(&pf, 1, &ts, NULL));
	T(__poll_chk(&pf, 1, 0, sizeof pf));
	T(__ppoll_chk(&pf, 1, &ts, NULL, sizeof pf));
	T(poll((void *)8, 1, 0));
	FD_SET(a, &fds);
	T(select(a + 1, &fds, NULL, NULL, &tv));
	FD_SET(a, &fds);
	T(pselect(a + 1, &fds, NULL, NULL, &ts, NULL));
	T(read(a, (void *)8, 9));
	T(write(c, (void *)8, 9));
	T(write(c, "", 0));
	T(send(c, "", 0, 0));
	T(writev(c, NULL, 0));
	T(writev(c, &iov, -1));
	T(writev(c, &iov, 5000));
	T(readv(c, &iov, -1));
	T(sendmsg(c, (void *)8, 0));
	T(recvmsg(c, (void *)8, 0));
	T(sendmmsg(c, NULL, 0, 0));
	T(sendfile(c, l, NULL, 9));
	T(recv(c, buf, 9, MSG_OOB));
	T(recv(c, buf, 9, MSG_ERRQUEUE));
	T(pread(c, buf, 9, 0));
	MUST(pipe(p));
	T(write(p[1], "abc", 3));
	T(splice(p[0], NULL, c, NULL, 3, 0));
	for (int i = 0; i < 6; i++)
		T(close((int[]){d, d2, d3, f, g, e}[i]));
	T(shutdown(a, 77));
	T(shutdown(l, SHUT_WR));
	T(shutdown(a, SHUT_RDWR));
	T(close_range(900, 950, 0));
	T(close_range(9, 3, 0));
	T(close_range(900, 950, 8));
	errno = SENTINEL;
	closefrom(1000);
	printf("closefrom errno %d\n", errno);
	T(connect(l, (void *)&sa, 3));
	T(close(a));
	T(close(c));
	T(close(l));
}

static int child0(void *arg)
{
	_exit(*(int *)arg);
}

static void processes(void)
{
	char *none[] = {NULL}, *ls[] = {"true", NULL};
	T(execv("/nonexistent", ls));
	T(execve("/etc/passwd", ls, none));
	T(execve("/bin/true", (void *)8, none));
	T(execvp("no-such-program-x", ls));
	T(execvpe("no-such-program-x", ls, none));
	T(execl("/", "a", "b", (char *)0));
	T(execle("/nonexistent", "a", (char *)0, none));
	T(execlp("no-such-program-x", "a", (char *)0));
	T(execveat(AT_FDCWD, "/nonexistent", ls, none, 0));
	T(execveat(AT_FDCWD, "/bin/true", ls, none, 0x4000000));
	pid_t pid = -1;
	T(posix_spawn(&pid, "/nonexistent", NULL, NULL, ls, none));
	T(posix_spawnp(&pid, "no-such-program-x", NULL, NULL, ls, none));
	T(posix_spawn(&pid, "/bin/true", NULL, NULL, ls, none));
	printf("spawned: %d\n", reap(pid));
	T(posix_spawnp(&pid, "true", NULL, NULL, ls, environ));
	printf("spawned: %d\n", reap(pid));
	fflush(stdout);
	for (int how = 0; how < 3; how++) {
		errno = SENTINEL;
		pid = how == 0 ? fork() : how == 1 ? vfork()
		                                   : _Fork();
		if (pid == 0)
			_exit(errno == SENTINEL ? 7 : 8);
		int e = errno;
		printf("fork kind %d: child %d, errno %d\n", how, WEXITSTATUS(reap(pid)), e);
		fflush(stdout);
	}
	static char stack[65536] __attribute__((aligned(16)));
	int nine = 9;
	errno = SENTINEL;
	pid = clone(child0, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &nine);
	printf("clone errno %d child %d\n", errno, WEXITSTATUS(reap(pid)));
	T(clone(child0, NULL, SIGCHLD, &nine));
	T(clone(child0, stack + sizeof stack, CLONE_THREAD, &nine));
	V(dlopen("libm.so.6", RTLD_NOW) ? 0 : -1);
	printf("dlopen: %s\n", dlopen("no-such-lib.so", RTLD_NOW) ? "?" : dlerror());
	T(dlopen(NULL, RTLD_NOW) == NULL);
	V(dlclose(dlopen("libm.so.6", RTLD_NOW)));
	T(prctl(PR_GET_DUMPABLE));
	T(prctl(12345678, 1, 2, 3, 4));
	T(prctl(PR_SET_SECCOMP, 77, 0, 0, 0));
	T(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0));
	T(syscall(SYS_seccomp, 99, 0, NULL));
	T(syscall(SYS_getpid) == getpid());
	T(chroot("/nonexistent"));
	T(unshare(0));
	T(unshare(0x7fffffff));
	T(setuid((uid_t)-1));
	T(setgid((gid_t)-1));
	T(seteuid((uid_t)-1));
	T(setegid((gid_t)-1));
	T(setuid(getuid()));
	T(setgid(getgid()));
	T(seteuid(geteuid()));
	T(setegid(getegid()));
	T(setreuid((uid_t)-1, (uid_t)-1));
	T(setregid((gid_t)-1, (gid_t)-1));
	T(setresuid((uid_t)-1, (uid_t)-1, (uid_t)-1));
	T(setresgid((gid_t)-1, (gid_t)-1, (gid_t)-1));
	T(setresuid(getuid(), getuid(), getuid()));
	T(setresgid(getgid(), getgid(), getgid()));
	if (getuid() == 0) {
		T(chroot("/"));
		if (fork() == 0) {
			T(setresgid(65534, 65534, 65534));
			T(setresuid(65534, 65534, 65534));
			T(setuid(0));
			T(setgid(0));
			T(seteuid(0));
			T(setegid(0));
			T(setreuid(0, 0));
			T(setregid(0, 0));
			T(setresuid(0, 0, 0));
			T(setresgid(0, 0, 0));
			T(chroot("/"));
			fflush(stdout);
			_Exit(3);
		}
		int st;
		wait(&st);
		printf("child %d\n", st);
	}
}

int main(void)
{
	alarm(30);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	signal(SIGPIPE, SIG_IGN);
	bad_fds(-1);
	bad_fds(700);
	bad_fds(1 << 30);
	good_calls();
	traced_sockets();
	fflush(stdout);
	processes();
	return 0;
}
