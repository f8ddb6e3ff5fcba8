/* Many processes, killed at any moment: nothing committed is lost, nothing leaks, the lease finds a new owner. */
#include "arena_sample.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define MB (1 << 20)

static void *shared(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	OK(p != MAP_FAILED);
	return p;
}

static uint16_t enter(struct arena *a)
{
	uint8_t instance[16] = {1};
	uint64_t now = mono_ns();
	memcpy(instance + 8, &now, 8);
	char blob[700]; /* two slots */
	memset(blob, 'x', sizeof blob);
	blob[sizeof blob - 1] = 0;
	return (uint16_t)arena_proc_add(a, getpid(), proc_start_time(getpid()), instance, blob, sizeof blob);
}

static void reap(pid_t pid, int want)
{
	int st;
	OK(waitpid(pid, &st, 0) == pid);
	if (want >= 0)
		OK(WIFEXITED(st) && WEXITSTATUS(st) == want);
}

/* ---- producers ---- */

#define CHILDREN 4
#define EACH 6000 /* of each of two threads */

struct feed {
	struct arena *a;
	uint64_t first;
};

static void *feed(void *arg)
{
	struct feed *f = arg;
	for (uint64_t i = 0; i < EACH;)
		if (sample_commit(f->a, f->first + i, i % 40 ? 0 : 700))
			i++;
		else
			usleep(100);
	return NULL;
}

TEST(processes_lose_nothing)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	static uint8_t seen[CHILDREN * 2 * EACH];
	pid_t child[CHILDREN];
	for (int c = 0; c < CHILDREN; c++) {
		child[c] = fork();
		if (child[c] == 0) {
			struct feed f[2] = {{a, (uint64_t)c * 2 * EACH}, {a, (uint64_t)c * 2 * EACH + EACH}};
			pthread_t t;
			OK(pthread_create(&t, NULL, feed, &f[1]) == 0);
			feed(&f[0]);
			pthread_join(t, NULL);
			_exit(0);
		}
	}
	for (uint32_t got = 0, round = 0; got < sizeof seen; round++) {
		uint32_t out[64], n = arena_drain(a, out, 64, false, false);
		for (uint32_t k = 0; k < n; k++) {
			uint64_t number = sample_check(a, out[k]);
			OK(number < sizeof seen && !seen[number]);
			seen[number] = 1;
		}
		got += n;
		arena_free(a, out, n);
		if (!n)
			arena_sleep(a, false, 1000000, 32);
	}
	for (int c = 0; c < CHILDREN; c++)
		reap(child[c], 0);
	EQ_INT(a->count[COUNT_DROP_BAD], 0);
	EQ_INT(sample_free_slots(a), arena_slots(a));
}

#define KILLS 200
#define RUNNING 3
#define PER_LIFE 4000

struct life { /* of one producer: what it has begun and what it has surely handed over */
	_Atomic uint32_t begun, committed;
	uint8_t seen[PER_LIFE];
};

static pid_t start_life(struct arena *a, struct life *life, uint64_t number)
{
	pid_t pid = fork();
	if (pid)
		return pid;
	uint16_t proc = enter(a);
	for (uint32_t i = 0; i < PER_LIFE; i++) {
		life->begun = i + 1;
		struct span_rec *r;
		while (!(r = sample_open(a, number << 32 | i, i % 7 ? 0 : 1200)))
			usleep(50);
		r->proc = proc;
		r->end_ns = r->start_ns;
		if (i % 16 == 15) {
			r->hold_until_ns = 1;
			arena_hold(a, r);
		} else {
			arena_commit(a, r);
		}
		life->committed = i + 1;
	}
	for (;;)
		pause();
}

static void receive(struct arena *a, struct life *lives, const uint32_t *out, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++) {
		uint64_t number = sample_check(a, out[k]);
		struct life *l = &lives[number >> 32];
		uint32_t i = (uint32_t)number;
		OK(i < PER_LIFE && i < l->begun);
		OK(!l->seen[i]);
		l->seen[i] = 1;
	}
	arena_free(a, out, n);
}

static void check_life(const struct life *l, int number)
{
	unit_case("life %d, %u committed", number, l->committed);
	for (uint32_t i = 0; i < l->committed; i++)
		OK(l->seen[i]);
}

TEST(killed_producers)
{
	struct arena *a = arena_new_anonymous(2 * MB, 1);
	struct life *lives = shared(sizeof *lives * (KILLS + RUNNING));
	pid_t pid[RUNNING];
	int which[RUNNING], started = 0;
	uint32_t out[50], n;
	bool takeover;
	srand(12);
	OK(arena_lease_try(a, &takeover) && !takeover);
	for (int i = 0; i < RUNNING; i++) {
		which[i] = started++;
		pid[i] = start_life(a, &lives[which[i]], (uint64_t)which[i]);
	}
	for (int kills = 0; kills < KILLS; kills++) {
		int i = rand() % RUNNING;
		uint64_t until = mono_ns() + (uint64_t)(rand() % 4000) * 1000;
		do {
			n = arena_drain(a, out, 50, true, false);
			receive(a, lives, out, n);
		} while (mono_ns() < until);
		kill(pid[i], SIGKILL);
		if (kills % 2)
			reap(pid[i], -1); /* else it is a zombie for a while */
		do {
			n = arena_sweep(a, out, 50, false);
			receive(a, lives, out, n);
		} while (n == 50);
		if (kills % 2 == 0)
			reap(pid[i], -1);
		which[i] = started++;
		pid[i] = start_life(a, &lives[which[i]], (uint64_t)which[i]);
	}
	for (int i = 0; i < RUNNING; i++) {
		kill(pid[i], SIGKILL);
		reap(pid[i], -1);
	}
	do
		receive(a, lives, out, n = arena_drain(a, out, 50, true, true));
	while (n == 50);
	do
		receive(a, lives, out, n = arena_sweep(a, out, 50, false));
	while (n == 50);
	for (int i = 0; i < started; i++)
		check_life(&lives[i], i);
	unit_case("%s", "");
	EQ_INT(a->count[COUNT_DROP_BAD], 0);
	for (int i = 0; i < ARENA_PROCS; i++)
		EQ_INT(a->procs[i].used, PROC_FREE);
	uint32_t lost = arena_slots(a) - sample_free_slots(a);
	printf("# %u slots lost in %d kills\n", lost, started);
	OK(lost <= (uint32_t)started);
}

/* ---- requests in flight ---- */

TEST(open_requests_of_the_dead_are_told)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	uint32_t all = sample_free_slots(a), out[8];
	pid_t pid = fork();
	if (pid == 0) {
		uint16_t proc = enter(a);
		sample_open(a, 1, 0)->proc = proc;
		struct span_rec *r = sample_open(a, 2, 0);
		r->proc = proc;
		r->state = SLOT_DONE;    /* killed before it reached the list */
		arena_open(a, getpid()); /* killed before it was anything */
		sample_open(a, 3, 800);  /* killed before it knew its index */
		kill(getpid(), SIGKILL);
	}
	struct span_rec *mine = sample_open(a, 9, 0);
	reap(pid, -1);
	EQ_INT(arena_sweep(a, out, 2, false), 2);
	EQ_INT(arena_sweep(a, out + 2, 4, false), 1);
	for (int i = 0; i < 3; i++) {
		struct span_rec *r = arena_slot(a, out[i]);
		uint64_t number = sample_check(a, out[i]);
		EQ_INT(r->error, number == 2 ? ERR_NONE : ERR_PROCESS_KILLED);
		OK(r->end_ns >= r->start_ns && r->state == SLOT_TAKEN);
	}
	EQ_INT(a->procs[0].used, PROC_VALID); /* still named */
	arena_free(a, out, 3);
	EQ_INT(arena_sweep(a, out, 8, false), 0);
	EQ_INT(a->procs[0].used, PROC_FREE);
	EQ_INT(mine->state, SLOT_OPEN);
	arena_discard(a, mine);
	EQ_INT(sample_free_slots(a), all);
}

TEST(exec_ends_requests)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	uint8_t one[16] = {1}, two[16] = {2};
	uint64_t start = proc_start_time(getpid());
	uint32_t out[4], before = arena_proc_add(a, getpid(), start, one, "a=1", 4);
	EQ_INT(arena_proc_add(a, getpid(), start, one, "a=1", 4), before);
	sample_open(a, 1, 0)->proc = (uint16_t)before;
	EQ_INT(arena_sweep(a, out, 4, false), 0);
	uint32_t after = arena_proc_add(a, getpid(), start, two, "a=2", 4); /* the same process, another image */
	OK(after != before);
	sample_open(a, 2, 0)->proc = (uint16_t)after;
	EQ_INT(arena_sweep(a, out, 4, false), 1);
	EQ_INT(sample_check(a, out[0]), 1);
	static char scratch[REC_VAR_MAX];
	struct rec_view v;
	OK(rec_view(a, out[0], scratch, &v) && v.proc == &a->procs[before]);
}

/* ---- exporters ---- */

TEST(takeover_redelivers)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	uint32_t out[8], n, sum = 0;
	bool takeover;
	for (uint64_t i = 0; i < 10; i++)
		OK(sample_commit(a, i, i * 100));
	pid_t pid = fork();
	if (pid == 0) {
		OK(arena_lease_try(a, &takeover) && !takeover);
		OK(arena_drain(a, out, 4, false, false) == 4);
		arena_free(a, out, 1); /* 0 was answered for; 1 to 3 are in its hands, 4 to 9 in line */
		kill(getpid(), SIGKILL);
	}
	reap(pid, -1);
	OK(sample_commit(a, 10, 0));
	OK(arena_lease_try(a, &takeover) && takeover);
	bool seen[11] = {0};
	while ((n = arena_sweep(a, out, 3, true)) > 0) {
		for (uint32_t k = 0; k < n; k++) {
			uint64_t number = sample_check(a, out[k]);
			OK(!seen[number]);
			seen[number] = true;
		}
		sum += n;
		if (sum > 3) /* some stay in our hands: not given again */
			arena_free(a, out, n);
	}
	EQ_INT(arena_drain(a, out, 8, false, false), 0);
	EQ_INT(sum, 10);
	OK(!seen[0]);
	arena_lease_release(a); /* with three in hand: they wait for the next owner */
	OK(arena_lease_try(a, &takeover) && takeover);
	EQ_INT(arena_sweep(a, out, 8, true), 3);
}

#define SPANS 60000

struct delivered {
	_Atomic uint32_t sum;
	_Atomic uint8_t times[SPANS];
};

static void export_for_ever(struct arena *a, struct delivered *d)
{
	uint32_t out[32], n;
	bool takeover;
	while (!arena_lease_try(a, &takeover))
		usleep(50);
	do {
		n = takeover ? arena_sweep(a, out, 32, true) : 0;
		for (uint32_t k = 0; k < n; k++)
			d->times[sample_check(a, out[k])]++;
		arena_free(a, out, n);
	} while (n == 32);
	for (;;) {
		n = arena_drain(a, out, 32, false, false);
		for (uint32_t k = 0; k < n; k++)
			d->times[sample_check(a, out[k])]++;
		arena_free(a, out, n);
		if (!n)
			arena_sleep(a, true, 0, 0);
	}
}

TEST(killed_exporters)
{
	struct arena *a = arena_new_anonymous(MB, 1);
	struct delivered *d = shared(sizeof *d);
	int kills = 0;
	srand(7);
	pid_t producer = fork();
	if (producer == 0) {
		for (uint64_t i = 0; i < SPANS;) {
			if (sample_commit(a, i, i % 30 ? 0 : 1000))
				i++;
			else
				usleep(50);
			if (i % 16 == 0)
				usleep(1); /* so that it lasts as long as the kills */
		}
		_exit(0);
	}
	int st = 0;
	for (bool more = true; more;) {
		pid_t pid = fork();
		if (pid == 0)
			export_for_ever(a, d);
		usleep((useconds_t)(rand() % 3000));
		if (kills >= 150 && waitpid(producer, &st, WNOHANG) == producer)
			more = false;
		kill(pid, SIGKILL);
		reap(pid, -1);
		kills++;
	}
	OK(WIFEXITED(st) && WEXITSTATUS(st) == 0);
	bool takeover;
	uint32_t out[32], n, twice = 0;
	OK(arena_lease_try(a, &takeover));
	do {
		n = arena_sweep(a, out, 32, true);
		for (uint32_t k = 0; k < n; k++)
			d->times[sample_check(a, out[k])]++;
		arena_free(a, out, n);
	} while (n == 32);
	while ((n = arena_drain(a, out, 32, false, false)) > 0) {
		for (uint32_t k = 0; k < n; k++)
			d->times[sample_check(a, out[k])]++;
		arena_free(a, out, n);
	}
	for (uint32_t i = 0; i < SPANS; i++) {
		unit_case("span %u", i);
		OK(d->times[i] >= 1 && d->times[i] <= 5);
		twice += d->times[i] - 1;
	}
	unit_case("%s", "");
	uint32_t lost = arena_slots(a) - sample_free_slots(a);
	printf("# %d kills: %u delivered again, %u slots lost\n", kills, twice, lost);
	OK(twice <= (uint32_t)kills * 32);
	OK(lost <= (uint32_t)kills);
	EQ_INT(a->count[COUNT_DROP_BAD], 0);
}
