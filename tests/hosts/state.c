/* flags: -lm */
/* Everything of the process that a program can ask about, at the start of main and after traffic: unchanged by us. */
#include "host.h"
#include <dirent.h>
#include <fenv.h>
#include <locale.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <dlfcn.h>

extern char **environ;

static void state(const char *when)
{
	int e = errno;
	printf("== %s\nerrno %d\n", when, e);
	for (char **v = environ; *v; v++)
		if (strncmp(*v, "OTEL_", 5) && strncmp(*v, "REMORA_", 7) && strncmp(*v, "LD_PRELOAD=", 11))
			printf("%s\n", *v);
	struct sigaction sa;
	sigset_t set;
	for (int s = 1; s < 65; s++)
		if (sigaction(s, NULL, &sa) == 0 && (sa.sa_handler != SIG_DFL || sa.sa_flags))
			printf("signal %d: %s flags %x\n", s, sa.sa_handler == SIG_IGN ? "ignored" : "handler", (unsigned)sa.sa_flags);
	sigprocmask(SIG_SETMASK, NULL, &set);
	for (int s = 1; s < 65; s++)
		if (sigismember(&set, s) == 1)
			printf("blocked %d\n", s);
	stack_t ss;
	sigaltstack(NULL, &ss);
	printf("altstack flags %x size %zu\n", (unsigned)ss.ss_flags, ss.ss_size);
	for (int r = 0; r < RLIMIT_NLIMITS; r++) {
		struct rlimit rl;
		getrlimit(r, &rl);
		printf("rlimit %d: %ld %ld\n", r, (long)rl.rlim_cur, (long)rl.rlim_max);
	}
	mode_t um = umask(0);
	umask(um);
	printf("umask %o priority %d policy %d personality %x\n", um, getpriority(PRIO_PROCESS, 0), sched_getscheduler(0),
	       (unsigned)personality(0xffffffff));
	char name[17] = "";
	int x = -1, sub = -1;
	prctl(PR_GET_NAME, name);
	prctl(PR_GET_PDEATHSIG, &x);
	prctl(PR_GET_CHILD_SUBREAPER, &sub);
	printf("name %s pdeathsig %d subreaper %d dumpable %d slack %d keepcaps %d nnp %d thp %d\n", name, x, sub,
	       prctl(PR_GET_DUMPABLE), prctl(PR_GET_TIMERSLACK), prctl(PR_GET_KEEPCAPS), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
	       prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	for (int fd = 0; fd < 100; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("fd %d flags %d\n", fd, fcntl(fd, F_GETFD));
	unsigned csr = 0;
#ifdef __x86_64__
	__asm__ volatile("stmxcsr %0"
	                 : "=m"(csr));
#endif
	printf("rounding %d mxcsr %x locale %s\n", fegetround(), csr, setlocale(LC_ALL, NULL));
	printf("rand %d\n", rand());
	printf("random %ld drand48 %f\n", random(), drand48());
	printf("dlerror %s\n", dlerror() ? "something" : "nothing");
	printf("alarm %d\n", (int)alarm(30) > 0);
	cpu_set_t cs;
	sched_getaffinity(0, sizeof cs, &cs);
	printf("cpus %d session %d group %d\n", CPU_COUNT(&cs), getsid(0) == getpid(), getpgrp() == getpid());
	struct itimerval it;
	getitimer(ITIMER_PROF, &it);
	printf("itimer %ld children %d\n", (long)it.it_value.tv_usec, waitpid(-1, NULL, WNOHANG));
	printf("stdout offset %ld flags %x\n", (long)lseek(1, 0, SEEK_CUR), (unsigned)fcntl(1, F_GETFL));
	/* a directory listing of our own cwd: nothing is dropped there */
	DIR *d = opendir(".");
	int files = 0;
	for (struct dirent *de; (de = readdir(d));)
		files++;
	closedir(d);
	printf("files %d\n", files);
}

int main(int argc, char **argv)
{
	state("start");
	printf("argc %d argv[0] %s %s\n", argc, argv[0], program_invocation_short_name);
	for (int i = 0; i < 30; i++)
		exchange_new("/state");
	poll(NULL, 0, 150);
	errno = 77;
	state("after traffic");
	return 0;
}
