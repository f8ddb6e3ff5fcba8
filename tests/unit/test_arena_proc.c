/* Processes: alive or not, the table, descriptions. */
#include "arena_sample.h"
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#define MB (1 << 20)

static void *linger(void *arg)
{
	for (;;)
		pause();
	return arg;
}

TEST(alive)
{
	uint64_t start = proc_start_time(getpid());
	OK(start > 0);
	OK(proc_alive(getpid(), start) && proc_alive(getpid(), 0));
	OK(!proc_alive(getpid(), start + 1));
	OK(!proc_alive(0, 0) && !proc_alive(-1, 0) && !proc_alive(4194304, 0));
	OK(proc_alive(1, 0));
	EQ_INT(proc_start_time(4194304), 0);
	EQ_INT(proc_start_time(-1), 0);
	OK(prctl(PR_SET_NAME, "a) b (c 1 2 3) Z") == 0);
	EQ_INT(proc_start_time(getpid()), start);
	OK(proc_alive(getpid(), start));
}

TEST(zombies_are_dead)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	uint64_t start = proc_start_time(pid);
	for (int i = 0; i < 2000 && proc_alive(pid, start); i++)
		usleep(1000);
	OK(kill(pid, 0) == 0 && !proc_alive(pid, start));
	waitpid(pid, NULL, 0);
	OK(!proc_alive(pid, start));
	/* Only the first thread has ended: it looks like a zombie, and is none. */
	pid = fork();
	if (pid == 0) {
		pthread_t t;
		pthread_create(&t, NULL, linger, NULL);
		pthread_exit(NULL);
	}
	usleep(100000);
	OK(proc_alive(pid, 0));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST(blobs)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	static char blob[REC_VAR_MAX], back[REC_VAR_MAX + 2];
	uint32_t all = sample_free_slots(a);
	for (uint32_t i = 0; i < sizeof blob; i++)
		blob[i] = i % 100 == 99 ? 0 : (char)('a' + i % 26);
	static const uint32_t lens[] = {0, 1, 100, 500, 504, 505, 1008, 1100, 5000, REC_VAR_MAX};
	for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
		unit_case("%u", lens[i]);
		uint8_t instance[16] = {(uint8_t)(i + 1)};
		uint32_t p = arena_proc_add(a, 4194304, i + 1, instance, blob, lens[i]); /* nobody has that pid */
		OK(p < ARENA_PROCS);
		EQ_MEM(a->procs[p].instance, 16, instance, 16);
		EQ_INT(arena_proc_blob(a, &a->procs[p], back, sizeof back), lens[i]);
		EQ_MEM(back, lens[i], blob, lens[i]);
		OK(back[lens[i]] == 0 && back[lens[i] + 1] == 0);
		uint32_t some = arena_proc_blob(a, &a->procs[p], back, 50);
		EQ_INT(some, lens[i] < 48 ? lens[i] : 48);
		OK(back[some] == 0 && back[some + 1] == 0);
		EQ_INT(arena_proc_blob(a, &a->procs[p], back, 1), 0);
	}
	uint32_t out[2];
	EQ_INT(arena_sweep(a, out, 2, false), 0); /* they are all dead, and nothing names them */
	EQ_INT(sample_free_slots(a), all);
}

TEST(blob_without_room)
{
	struct arena *a = arena_new_anonymous(64 * 1024, 1);
	char blob[2000], back[2002];
	uint8_t instance[16] = {1};
	struct span_rec *last = NULL, *r;
	for (int i = 0; i < 2000; i++)
		blob[i] = i % 300 == 299 ? 0 : 'x';
	while ((r = sample_open(a, 1, 0)))
		last = r;
	uint32_t p = arena_proc_add(a, getpid(), 1, instance, blob, sizeof blob);
	OK(p < ARENA_PROCS);
	EQ_INT(arena_proc_blob(a, &a->procs[p], back, sizeof back), 0);
	arena_discard(a, last);
	instance[0] = 2;
	p = arena_proc_add(a, getpid(), 1, instance, blob, sizeof blob);
	EQ_INT(arena_proc_blob(a, &a->procs[p], back, sizeof back), 300); /* whole strings */
}

TEST(forged_blobs_stay_inside)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	static char back[REC_VAR_MAX];
	struct arena_proc p = {.used = PROC_VALID, .blob = 77777777, .blob_len = UINT32_MAX};
	EQ_INT(arena_proc_blob(a, &p, back, sizeof back), 0);
	p.blob = 0;
	EQ_INT(arena_proc_blob(a, &p, back, sizeof back), 0);
	struct slot_more *m = (struct slot_more *)arena_open(a, 1); /* a ring */
	m->state = SLOT_MORE;
	m->next = 0;
	EQ_INT(arena_proc_blob(a, &p, back, sizeof back), sizeof back - 2);
}

TEST(table_full)
{
	struct arena *a = arena_new_anonymous(2 * MB, 1);
	uint8_t instance[16] = {0};
	uint64_t start = proc_start_time(getpid());
	uint32_t index[ARENA_PROCS], out[4];
	for (uint32_t i = 0; i < ARENA_PROCS; i++) { /* half of them dead, some of those named by a record */
		instance[0] = (uint8_t)i;
		instance[1] = 1;
		instance[3] = (uint8_t)(i >> 8);
		int pid = i % 2 ? 4194304 : getpid();
		index[i] = arena_proc_add(a, pid, i % 2 ? i : 0, instance, "exe=x", 6);
		OK(index[i] < ARENA_PROCS);
		if (i % 4 == 3) {
			struct span_rec *r = sample_open(a, i, 0);
			r->pid = pid;
			r->proc = (uint16_t)index[i];
		}
	}
	for (uint32_t i = 0; i < ARENA_PROCS / 4; i++) {
		instance[1] = 2;
		instance[0] = (uint8_t)i;
		uint32_t p = arena_proc_add(a, getpid(), start + i, instance, "exe=y", 6);
		OK(p < ARENA_PROCS);
		EQ_INT(p % 4, 1); /* dead and not named */
		a->procs[p].start = start;
	}
	instance[2] = 1;
	EQ_INT(arena_proc_add(a, getppid(), 0, instance, "exe=z", 6), ARENA_PROCS);
	uint32_t n, sum = 0;
	while ((n = arena_sweep(a, out, 4, false)) > 0) {
		arena_free(a, out, n);
		sum += n;
	}
	EQ_INT(sum, ARENA_PROCS / 4);
	OK(arena_proc_add(a, getppid(), 0, instance, "exe=z", 6) < ARENA_PROCS);
}

TEST(tables_of_many_processes)
{
	struct arena *a = arena_new_anonymous(2 * MB, 1);
	for (int round = 0; round < 3; round++) {
		pid_t pid[60];
		uint32_t out[4];
		for (int c = 0; c < 60; c++)
			if ((pid[c] = fork()) == 0) {
				uint8_t instance[16] = {1, (uint8_t)c};
				char blob[700], back[702];
				memset(blob, 'a' + c % 26, sizeof blob);
				blob[699] = 0;
				uint32_t p = arena_proc_add(a, getpid(), proc_start_time(getpid()), instance, blob, sizeof blob);
				OK(p < ARENA_PROCS && a->procs[p].pid == getpid());
				usleep(20000);
				OK(a->procs[p].pid == getpid() && memcmp(a->procs[p].instance, instance, 16) == 0);
				EQ_INT(arena_proc_blob(a, &a->procs[p], back, sizeof back), sizeof blob);
				EQ_MEM(back, sizeof blob, blob, sizeof blob);
				_exit(0);
			}
		for (int c = 0; c < 60; c++) {
			int st;
			EQ_INT(arena_sweep(a, out, 4, false), 0); /* frees entries of those that have ended */
			waitpid(pid[c], &st, 0);
			EQ_INT(st, 0);
		}
		EQ_INT(arena_sweep(a, out, 4, false), 0);
		EQ_INT(sample_free_slots(a), arena_slots(a));
	}
}

/* A process of another namespace is never judged by its number. */
TEST(other_namespace)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	uint8_t instance[16] = {1};
	uint32_t out[4], p = arena_proc_add(a, 4194304, 7, instance, "", 0);
	struct span_rec *r = sample_open(a, 1, 0);
	r->pid = 4194304;
	r->proc = (uint16_t)p;
	a->procs[p].pid_ns++;
	EQ_INT(arena_sweep(a, out, 4, false), 0);
	r->proc = ARENA_PROCS;
	EQ_INT(arena_sweep(a, out, 4, false), 0);
	r->pid = 4194303; /* not in the table, and there are strangers */
	EQ_INT(arena_sweep(a, out, 4, false), 0);
	a->procs[p].pid_ns--;
	EQ_INT(arena_sweep(a, out, 4, false), 1);
}
