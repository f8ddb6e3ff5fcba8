/* Records of text in an arena, and what becomes of the errors in them: told, held, dropped, joined to a crash. */
#include "base/clock.h"
#include "exporters/errors/errors.h"
#include "unit.h"
#include <signal.h>

#define SECOND UINT64_C(1000000000)

static struct report *told[16];
static unsigned n_told;

static void sink(void *ctx, struct report *r)
{
	(void)ctx;
	if (n_told < 16)
		told[n_told] = r;
	else
		report_free(r);
	n_told++;
}

static struct arena *arena;
static uint64_t now = 1000 * SECOND;
static uint16_t proc;

static struct errors *begin(bool logged, bool crashes, int pid)
{
	uint8_t instance[16] = {1};
	arena = arena_new_anonymous(1 << 20, 1);
	bool takeover;
	OK(arena_lease_try(arena, &takeover));
	struct arena_proc *p = &arena->procs[0];
	proc = (uint16_t)arena_proc_add(arena, pid, proc_start_time(pid), instance, "exe=/bin/x\0comm=x", 17);
	EQ_INT(proc, 0);
	if (!p->pid_ns)
		p->pid_ns = 1;
	arena->pid_ns = p->pid_ns;
	return errors_new(logged, crashes, sink, NULL);
}

static void say_as(struct errors *e, int pid, int tid, const char *s, unsigned bits)
{
	static char scratch[REC_VAR_MAX];
	uint32_t slot;
	struct rec_view v;
	struct span_rec *r = arena_open(arena, pid);
	OK(r);
	r->kind = SPAN_TEXT;
	r->tid = tid;
	r->proc = proc;
	r->err_no = 2;
	r->bits = (uint8_t)bits;
	r->trace_id[0] = 7;
	r->span_id[0] = 9;
	r->start_ns = real_ns();
	/* In two halves, as a thread would that writes so. */
	uint32_t n = (uint32_t)strlen(s);
	OK(rec_append(arena, r, (struct slice){s, n / 2}));
	OK(rec_append(arena, r, (struct slice){s + n / 2, n - n / 2}));
	arena_commit(arena, r);
	EQ_INT(arena_drain(arena, &slot, 1, false, false), 1);
	OK(rec_view(arena, slot, scratch, &v));
	EQ_MEM(rec_str(&v, REC_TEXT).p, rec_str(&v, REC_TEXT).n, s, n);
	errors_take(e, arena, &v, now);
	arena_free(arena, &slot, 1);
}

static void say(struct errors *e, int pid, const char *s)
{
	say_as(e, pid, pid, s, 0);
}

static const char traceback[] = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    x()\nValueError: bad\n";

static void traceback_of(struct errors *e, int pid)
{
	const char *p = traceback;
	while (*p) {
		char line[256];
		size_t n = strcspn(p, "\n") + 1;
		memcpy(line, p, n);
		line[n] = 0;
		say(e, pid, line);
		p += n;
	}
}

static pid_t somebody(void)
{
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

TEST(text_records)
{
	struct errors *e = begin(false, false, getpid());
	char long_text[20000];
	memset(long_text, 'x', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = 0;
	say(e, getpid(), "");
	say(e, getpid(), long_text);
	say(e, getpid(), "short\n");
	EQ_INT(arena->count[COUNT_TEXTS], 3);
	EQ_INT(arena->count[COUNT_SPANS], 0);
	errors_delete(e);
}

TEST(lives_on)
{
	struct errors *e = begin(false, false, getpid());
	traceback_of(e, getpid());
	OK(!errors_idle(e));
	now += SECOND / 2;
	errors_tick(e, now);
	EQ_INT(n_told, 0);
	now += 4 * SECOND;
	errors_tick(e, now);
	EQ_INT(n_told, 0);
	OK(errors_idle(e));
	errors_delete(e);
	e = begin(true, false, getpid());
	traceback_of(e, getpid());
	now += SECOND / 2;
	errors_tick(e, now);
	now += 4 * SECOND;
	errors_tick(e, now);
	EQ_INT(n_told, 1);
	OK(told[0]->handled && !told[0]->fatal);
	EQ_STR(told[0]->level, "error");
	errors_delete(e);
	report_free(told[0]);
}

TEST(dies_of_it)
{
	pid_t pid = somebody();
	struct errors *e = begin(false, false, pid);
	traceback_of(e, pid);
	now += SECOND / 2;
	errors_tick(e, now);
	EQ_INT(n_told, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	now += SECOND / 2;
	errors_tick(e, now);
	EQ_INT(n_told, 1);
	struct report *r = told[0];
	OK(r->fatal && !r->handled);
	EQ_STR(r->level, "critical");
	EQ_INT(r->pid, pid);
	EQ_INT(r->tid, pid);
	EQ_INT(r->trace_id[0], 7);
	EQ_INT(r->span_id[0], 9);
	EQ_STR(r->process[0], "exe=/bin/x");
	EQ_STR(r->process[1], "comm=x");
	OK(!r->process[2]);
	report_free(r);
	errors_delete(e);
}

TEST(ends_with_the_exporter)
{
	struct errors *e = begin(false, false, getpid());
	traceback_of(e, getpid());
	say(e, getpid(), "sys:1: RuntimeWarning: a few words more\n");
	errors_stop(e, getpid());
	EQ_INT(n_told, 1);
	OK(told[0]->fatal);
	report_free(told[0]);
	errors_delete(e);
	EQ_INT(n_told, 1);
}

TEST(talks_on)
{
	struct errors *e = begin(false, false, getpid());
	traceback_of(e, getpid());
	for (int i = 0; i < 8; i++)
		say(e, getpid(), "a line of a log\n");
	errors_stop(e, getpid());
	EQ_INT(n_told, 0);
	errors_delete(e);
}

/* Threads that print at the same time, a piece each in turn. */
TEST(threads_in_turn)
{
	struct errors *e = begin(false, false, getpid());
	static const char *parts[] = {"Exception in thread \"w\" a.B: %d\n", "\tat a.B.c(B.java:%d)\n", "\tat a.", "B.d(B.java:9)\n"};
	for (int p = 0; p < 4; p++)
		for (int t = 1; t <= 10; t++) {
			char s[128];
			snprintf(s, sizeof s, parts[p], t);
			say_as(e, getpid(), 100 + t, s, REC_MERGED);
		}
	now += SECOND;
	errors_tick(e, now);
	EQ_INT(n_told, 10);
	for (int i = 0; i < 10; i++) {
		EQ_INT(told[i]->exceptions[0].n, 2);
		EQ_INT(told[i]->tid, 101 + i);
		EQ_INT(told[i]->exceptions[0].frames[0].line, 1 + i);
		EQ_INT(told[i]->threads[0].tid, 101 + i);
		report_free(told[i]);
	}
	errors_delete(e);
}

TEST(once)
{
	struct errors *e = begin(true, false, getpid());
	traceback_of(e, getpid());
	traceback_of(e, getpid());
	errors_stop(e, getpid());
	EQ_INT(n_told, 1);
	report_free(told[0]);
	errors_delete(e);
}

TEST(joined_to_a_crash)
{
	struct errors *e = begin(false, true, getpid());
	say(e, getpid(), "terminate called after throwing an instance of 'std::out_of_range'\n");
	say(e, getpid(), "  what():  index 7\n");
	struct report *crash = report_new(REPORT_SIGNAL);
	crash->pid = getpid();
	errors_join(e, crash);
	OK(strstr(crash->abort_msg, "index 7"));
	EQ_INT(crash->n_exceptions, 0);
	report_free(crash);
	errors_stop(e, getpid());
	EQ_INT(n_told, 0);

	say(e, 1, "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  File \"a.py\", line 2 in f\n");
	crash = report_new(REPORT_SIGNAL);
	crash->pid = 1;
	crash->exceptions = report_alloc(crash, sizeof *crash->exceptions);
	crash->exceptions[0].type = "SIGSEGV";
	crash->n_exceptions = 1;
	errors_join(e, crash);
	EQ_INT(crash->n_exceptions, 2);
	EQ_STR(crash->exceptions[0].type, "SIGSEGV");
	EQ_STR(crash->exceptions[1].frames[0].function, "f");
	report_free(crash);

	/* No file comes: it is told after a while. The file came first: it is not. */
	say(e, getpid(), "terminate called without an active exception\n");
	now += SECOND;
	errors_tick(e, now);
	EQ_INT(n_told, 0);
	errors_delete(e);
	EQ_INT(n_told, 0);
	e = errors_new(false, true, sink, NULL);
	say(e, getpid(), "terminate called without an active exception\n");
	now += SECOND;
	errors_tick(e, now);
	now += 6 * SECOND;
	errors_tick(e, now);
	EQ_INT(n_told, 1);
	report_free(told[0]);
	errors_delete(e);
}

/* More threads than are remembered: those that said nothing for longest are complete. */
TEST(many_threads)
{
	struct errors *e = begin(false, false, getpid());
	for (int t = 1; t <= 2000; t++) {
		now++;
		say_as(e, getpid(), t, "Exception in thread \"w\" a.B: x\n\tat a.B.c(B.java:1)\n", 0);
	}
	EQ_INT(n_told, 2000 - 512);
	errors_delete(e);
	EQ_INT(n_told, 2000);
	for (int i = 0; i < 16; i++)
		report_free(told[i]);
}
