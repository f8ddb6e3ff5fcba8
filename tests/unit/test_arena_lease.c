/* The lease finds a new owner when the old one is killed, replaced by exec or its thread ends. */
#include "arena_sample.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define MB (1 << 20)

static void reap(pid_t pid, int want)
{
	int st;
	OK(waitpid(pid, &st, 0) == pid);
	if (want >= 0)
		OK(WIFEXITED(st) && WEXITSTATUS(st) == want);
}

static pid_t owner(struct arena *a, void (*then)(struct arena *))
{
	pid_t pid = fork();
	if (pid)
		return pid;
	bool takeover;
	OK(arena_lease_try(a, &takeover));
	then(a);
	_exit(0);
}

static void wait_for_ever(struct arena *a)
{
	(void)a;
	for (;;)
		pause();
}

static void become_sleep(struct arena *a)
{
	(void)a;
	usleep(100000);
	execlp("sleep", "sleep", "100", (char *)NULL);
}

static void release(struct arena *a)
{
	arena_lease_release(a);
}

static void *take_and_end(void *arg)
{
	bool takeover;
	OK(arena_lease_try(arg, &takeover) && !takeover);
	return NULL;
}

static void await_lease(struct arena *a, bool want)
{
	for (int i = 0; i < 5000 && arena_lease_alive(a) != want; i++)
		usleep(1000);
	EQ_INT(arena_lease_alive(a), want);
}

TEST(lease_of_one)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	bool takeover;
	OK(!arena_lease_alive(a));
	OK(arena_lease_try(a, &takeover) && !takeover && arena_lease_alive(a));
	OK(!arena_lease_try(a, &takeover));
	arena_lease_release(a);
	OK(!arena_lease_alive(a));
	pid_t pid = owner(a, release);
	reap(pid, 0);
	OK(!arena_lease_alive(a));
	OK(arena_lease_try(a, &takeover) && !takeover);
	pid_t other = fork();
	if (other == 0)
		_exit(arena_lease_try(a, &takeover));
	reap(other, 0);
}

TEST(lease_after_kill)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	bool takeover;
	pid_t pid = owner(a, wait_for_ever);
	await_lease(a, true);
	OK(!arena_lease_try(a, &takeover));
	kill(pid, SIGKILL);
	await_lease(a, false); /* no wait(): the kernel's mark, not the parent's */
	OK(arena_lease_try(a, &takeover) && takeover);
	reap(pid, -1);
}

TEST(lease_after_exec)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	bool takeover;
	pid_t pid = owner(a, become_sleep);
	await_lease(a, true);
	await_lease(a, false);
	OK(arena_lease_try(a, &takeover) && takeover);
	EQ_INT(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGKILL);
	reap(pid, -1);
}

TEST(lease_after_thread_end)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	bool takeover;
	pthread_t t;
	for (int i = 0; i < 20; i++) {
		pthread_create(&t, NULL, take_and_end, a);
		pthread_join(t, NULL);
		await_lease(a, false);
		OK(arena_lease_try(a, &takeover) && takeover);
		arena_lease_release(a);
	}
}

/* The kernel did not mark it: pid and start time decide. */
TEST(lease_without_mark)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	bool takeover;
	pid_t pid = owner(a, wait_for_ever);
	await_lease(a, true);
	while (a->lease_tid == 0)
		usleep(100);
	kill(pid, SIGKILL);
	reap(pid, -1);
	a->lease = a->lease_tid;
	OK(arena_lease_try(a, &takeover) && takeover);
	/* Somebody who lives, with another start time. */
	arena_lease_release(a);
	a->lease = a->lease_tid = 1;
	a->lease_pid = getppid();
	a->lease_start = 1;
	OK(arena_lease_try(a, &takeover) && takeover);
	arena_lease_release(a);
	a->lease = a->lease_tid = 1;
	a->lease_pid = getppid();
	a->lease_start = proc_start_time(getppid());
	OK(!arena_lease_try(a, &takeover));
}

TEST(lease_contenders)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	_Atomic uint32_t *got = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *inside = got + 1, *go = got + 2;
	pid_t pid[6];
	for (int c = 0; c < 6; c++)
		if ((pid[c] = fork()) == 0) {
			bool takeover;
			while (!*go)
				sched_yield();
			for (int i = 0; i < 3000; i++) {
				if (!arena_lease_try(a, &takeover))
					continue;
				OK(!takeover);
				OK(++*inside == 1);
				++*got;
				--*inside;
				arena_lease_release(a);
			}
			_exit(0);
		}
	*go = 1;
	for (int c = 0; c < 6; c++)
		reap(pid[c], 0);
	OK(*got > 0);
	OK(!arena_lease_alive(a));
}

TEST(lease_does_not_disturb_robust_mutexes)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	pthread_mutex_t *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(m, &attr);
	pid_t pid = fork();
	if (pid == 0) {
		bool takeover;
		pthread_mutex_lock(m);
		OK(arena_lease_try(a, &takeover));
		arena_lease_release(a);
		_exit(0);
	}
	reap(pid, 0);
	EQ_INT(pthread_mutex_lock(m), 130 /* EOWNERDEAD */);
}
