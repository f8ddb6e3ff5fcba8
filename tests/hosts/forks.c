/*
 * forks KIND ROUNDS: storms of children of every kind, while two threads exchange HTTP and a traced connection of the
 * parent stays open: it works afterwards, and every child does what it should.
 *	fork fork_http vfork _Fork clone clone_vm spawn spawnp daemon popen
 */
#include "host.h"
#include <sched.h>
#include <semaphore.h>
#include <spawn.h>

extern char **environ;
static volatile int stop;
static char stack[2][65536] __attribute__((aligned(16)));

static sem_t turns; /* so much traffic a round: without a bound a slow machine cannot send it all before the exit */

static void *traffic(void *arg)
{
	(void)arg;
	for (;;) {
		while (sem_wait(&turns) != 0)
			;
		if (stop)
			break;
		int p[2];
		tcp_pair(p);
		for (int i = 0; i < 10; i++)
			exchange(p, "/traffic");
		close(p[0]);
		close(p[1]);
	}
	return NULL;
}

static int quick(void *arg)
{
	_exit((int)(long)arg);
}

static int execs(void *arg)
{
	execl("/bin/sh", "sh", "-c", arg, (char *)0);
	_exit(99);
}

static pid_t start(const char *kind, int i)
{
	char *argv[] = {"sh", "-c", "exit 7", NULL};
	pid_t pid = -1;
	if (is(kind, "fork")) {
		if ((pid = fork()) == 0)
			exit(7);
	} else if (is(kind, "fork_http")) {
		if ((pid = fork()) == 0) {
			alarm(20);
			exchange_new("/child");
			exit(7);
		}
	} else if (is(kind, "vfork")) {
		if ((pid = vfork()) == 0) {
			execve("/bin/sh", argv, environ);
			_exit(99);
		}
	} else if (is(kind, "_Fork")) {
		if ((pid = _Fork()) == 0) {
			if (write(-1, "x", 1) != -1 || close(-1) != -1)
				_exit(98);
			_exit(7);
		}
	} else if (is(kind, "clone")) {
		pid = clone(quick, stack[0] + sizeof *stack, SIGCHLD, (void *)7L);
	} else if (is(kind, "clone_vm")) {
		pid = clone(execs, stack[0] + sizeof *stack, CLONE_VM | CLONE_VFORK | SIGCHLD, "exit 7");
	} else if (is(kind, "spawn")) {
		posix_spawn_file_actions_t fa;
		posix_spawn_file_actions_init(&fa);
		for (int fd = 3; fd < 40; fd++)
			posix_spawn_file_actions_addclose(&fa, fd);
		CHECK(posix_spawn(&pid, "/bin/sh", &fa, NULL, argv, environ) == 0);
		posix_spawn_file_actions_destroy(&fa);
	} else if (is(kind, "spawnp")) {
		CHECK(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ) == 0);
	} else if (is(kind, "daemon")) {
		if ((pid = fork()) == 0) {
			if (fork() == 0) {
				setsid();
				if (fork() == 0) {
					alarm(20);
					exchange_new("/daemon");
					_exit(0);
				}
				_exit(0);
			}
			int st;
			wait(&st);
			exit(7);
		}
	} else {
		CHECK(is(kind, "popen"));
		FILE *f = popen("echo hi", "r");
		char b[20] = "";
		CHECK(f && fgets(b, sizeof b, f) && is(b, "hi\n") && pclose(f) == 0);
		CHECK(system("exit 7") == 7 << 8);
		if ((pid = fork()) == 0)
			_exit(7);
	}
	(void)i;
	return pid;
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	alarm(60);
	int rounds = atoi(argv[2]), good = 0, p[2];
	pthread_t t[2];
	tcp_pair(p);
	exchange(p, "/before");
	MUST(sem_init(&turns, 0, 2));
	for (int i = 0; i < 2; i++)
		MUST(-pthread_create(&t[i], NULL, traffic, NULL));
	for (int i = 0; i < rounds; i++) {
		sem_post(&turns), sem_post(&turns);
		int st = reap((pid_t)MUST(start(argv[1], i)));
		if (WIFEXITED(st) && WEXITSTATUS(st) == 7)
			good++;
		else
			printf("round %d: status %x\n", i, (unsigned)st);
		if (i % 10 == 0)
			exchange(p, "/between");
	}
	stop = 1;
	sem_post(&turns), sem_post(&turns);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	exchange(p, "/after");
	printf("%d of %d\n", good, rounds);
	return 0;
}
