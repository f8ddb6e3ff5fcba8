/* What a crash file has of stderr becomes part of its report, and nobody tells it again. */
#include "base/clock.h"
#include "errors_samples.h"
#include "exporters/errors/errors.h"
#include "exporters/timeline.h"
#include <signal.h>
#include <stdlib.h>

#define SECOND UINT64_C(1000000000)
#define TID 100

static char words[64 * 1024];
static size_t n_words;
static uint64_t crash_ns;

static void say(int tid, double ago, const char *s)
{
	struct crash_words w = {tid, (uint32_t)strlen(s), crash_ns - (uint64_t)(ago * 1e9)};
	memcpy(words + n_words, &w, sizeof w);
	memcpy(words + n_words + sizeof w, s, w.n);
	n_words += sizeof w + ((w.n + 7) & ~7u);
}

static void begin(void)
{
	crash_ns = real_ns();
	n_words = 0;
}

static struct report *crash(int signo, int end)
{
	struct report *r = report_new(REPORT_SIGNAL);
	struct crash_head *h = report_alloc(r, sizeof *h);
	h->signo = signo;
	h->end_signo = end;
	r->head = h;
	r->pid = 50;
	r->tid = TID;
	r->time_ns = crash_ns;
	r->language = "c";
	r->exceptions = report_alloc(r, sizeof *r->exceptions);
	r->exceptions[0].type = signo == SIGABRT ? "SIGABRT" : "SIGSEGV";
	r->exceptions[0].message = "as the signal has it";
	r->exceptions[0].frames = report_alloc(r, sizeof *r->exceptions[0].frames);
	r->exceptions[0].frames[0] = (struct report_frame){.function = "work", .file = "/src/w.c", .line = 7, .module = "/bin/w", .in_app = true};
	r->exceptions[0].n = 1;
	r->n_exceptions = 1;
	/* Exactly as long as it is: ASan sees whoever reads on. */
	void *p = report_alloc(r, n_words);
	memcpy(p, words, n_words);
	r->words = p;
	r->n_words = n_words;
	errors_last_words(r);
	return r;
}

TEST(cxx)
{
	begin();
	say(TID, 9, "an old line\n");
	say(TID, 0.1, "terminate called after throwing");
	say(TID + 1, 0.05, "somebody else\n");
	say(TID, 0.01, " an instance of 'app::Bad'\n  what():  index 7\n");
	struct report *r = crash(SIGABRT, SIGABRT);
	EQ_INT(r->n_exceptions, 1);
	EQ_STR(r->exceptions[0].type, "app::Bad");
	EQ_STR(r->exceptions[0].message, "index 7");
	EQ_STR(r->exceptions[0].frames[0].function, "work");
	EQ_STR(r->title, "app::Bad in work (w.c:7)");
	EQ_STR(r->language, "c++");
	OK(strncmp(r->text, "app::Bad: index 7\n", 18) == 0);
	EQ_INT(strlen(r->fingerprint), 40);
	report_free(r);
}

TEST(rust_and_c)
{
	begin();
	say(TID, 0, "thread 'main' panicked at src/main.rs:3:5:\nout of luck\nnote: run with `RUST_BACKTRACE=1` environment variable\n");
	struct report *r = crash(SIGABRT, SIGABRT);
	EQ_STR(r->exceptions[0].type, "panic");
	EQ_STR(r->exceptions[0].message, "out of luck");
	report_free(r);
	r = crash(SIGSEGV, SIGSEGV); /* a panic does not end so */
	EQ_STR(r->exceptions[0].type, "SIGSEGV");
	report_free(r);
	begin();
	say(TID + 3, 0, "thread 'w' panicked at src/main.rs:3:5:\nout of luck\nnote: run with `RUST_BACKTRACE=1` environment variable\n");
	r = crash(SIGABRT, SIGABRT); /* nor does another thread's */
	EQ_STR(r->exceptions[0].type, "SIGABRT");
	report_free(r);
	begin();
	say(TID, 0, "\nthread 'main' has overflowed its stack\nfatal runtime error: stack overflow\n");
	r = crash(SIGSEGV, SIGABRT);
	EQ_STR(r->exceptions[0].type, "SIGSEGV");
	EQ_STR(r->exceptions[0].message, "thread 'main' has overflowed its stack");
	report_free(r);
	begin();
	say(TID, 0, "w: w.c:7: work: Assertion `x > 0' failed.\n");
	r = crash(SIGABRT, SIGABRT);
	EQ_STR(r->exceptions[0].type, "SIGABRT");
	EQ_STR(r->exceptions[0].message, "Assertion `x > 0' failed.");
	report_free(r);
}

TEST(python)
{
	begin();
	say(TID, 0, "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  File \"a.py\", line 2 in f\n");
	struct report *r = crash(SIGSEGV, SIGSEGV);
	EQ_INT(r->n_exceptions, 2);
	EQ_STR(r->exceptions[0].type, "SIGSEGV");
	EQ_STR(r->exceptions[1].type, "Fatal Python error");
	EQ_STR(r->exceptions[1].frames[0].function, "f");
	OK(strstr(r->text, "f () at a.py:2"));
	report_free(r);
}

TEST(what_is_not_of_the_crash)
{
	static const char traceback[] = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    x()\nValueError: bad\n";
	begin();
	say(TID, 60, "terminate called after throwing an instance of 'Old'\n  what():  long ago\n");
	say(TID, 0.1, traceback); /* caught and printed: it went on */
	say(TID, 0, "Exception in thread \"main\" a.B: x\n\tat a.B.c(B.java:1)\n");
	struct report *r = crash(SIGABRT, SIGABRT);
	EQ_INT(r->n_exceptions, 1);
	EQ_STR(r->exceptions[0].type, "SIGABRT");
	report_free(r);
}

TEST(hostile)
{
	begin();
	say(TID, 0, "terminate called without an active exception\n");
	size_t whole = n_words;
	for (size_t n = 0; n <= whole; n++) {
		n_words = n;
		report_free(crash(SIGABRT, SIGABRT));
	}
	n_words = whole;
	for (size_t i = 0; i < sizeof(struct crash_words); i++) {
		char was = words[i];
		words[i] = (char)0xff;
		report_free(crash(SIGABRT, SIGABRT));
		words[i] = was;
	}
	begin();
	for (int i = 0; i < 1500; i++)
		say(i % 2 ? 5 : 6, 0, "terminate called ");
	report_free(crash(SIGABRT, SIGABRT));
}

TEST(the_timeline)
{
	const struct span_copy *got[TIMELINE_SPANS];
	struct timeline *t = timeline_new(NULL);
	char line[64];
	begin();
	say(TID, 3, "one\n\ntwo\n");
	say(TID + 1, 2, "three");
	timeline_add_words(t, 50, words, n_words);
	timeline_add_words(t, 50, words, n_words); /* in place of what was known */
	EQ_INT(timeline_of(t, 50, got, TIMELINE_SPANS), 3);
	static const char *const expected[] = {"one", "two", "three"};
	for (int i = 0; i < 3; i++) {
		struct slice s = span_copy_text(got[i]);
		EQ_MEM(s.p, s.n, expected[i], strlen(expected[i]));
	}
	EQ_INT(got[2]->rec.tid, TID + 1);
	begin();
	for (int i = 0; i < 100; i++) {
		snprintf(line, sizeof line, "line %d\n", i);
		say(TID, 1, line);
	}
	timeline_add_words(t, 50, words, n_words);
	unsigned n = timeline_of(t, 50, got, TIMELINE_SPANS);
	EQ_INT(n, TIMELINE_SPANS / 2);
	EQ_MEM(span_copy_text(got[n - 1]).p, span_copy_text(got[n - 1]).n, "line 99", 7);
	for (size_t k = 0; k <= n_words; k++) {
		struct unit_guarded g = unit_at_end(words, k);
		timeline_add_words(t, 50, g.p, k);
		unit_unguard(g);
	}
	timeline_delete(t);
}

SAMPLE(java_hs_err_file)

TEST(what_a_jvm_wrote)
{
	begin();
	struct report *r = crash(SIGSEGV, SIGABRT);
	struct slice whole = sample_java_hs_err_file();
	OK(errors_hs_err_take(r, whole));
	EQ_INT(r->n_exceptions, 2);
	EQ_STR(r->exceptions[0].type, "SIGSEGV");
	EQ_STR(r->exceptions[1].message, "V  [libjvm.so+0xed27f4]  Unsafe_PutInt+0x124");
	EQ_INT(r->exceptions[1].n, 5);
	EQ_STR(r->exceptions[1].frames[0].function, "putInt");
	EQ_STR(r->exceptions[1].frames[0].module, "jdk.internal.misc.Unsafe");
	OK(!r->exceptions[1].frames[0].in_app);
	EQ_STR(r->exceptions[1].frames[3].function, "poke");
	EQ_STR(r->exceptions[1].frames[3].module, "T");
	OK(r->exceptions[1].frames[3].in_app);
	OK(strstr(r->hs_err, "siginfo: si_signo: 11 (SIGSEGV)"));
	static const char *const not_sent[] = {"Command Line", "Registers", "pointing into", "Top of Stack", "Instructions", "java_command", "SHELL=", "Dynamic"};
	for (size_t i = 0; i < sizeof not_sent / sizeof *not_sent; i++)
		OK(!strstr(r->hs_err, not_sent[i]));
	report_free(r);
	for (uint32_t n = 0; n < whole.n; n += n < 200 || n % 100 == 0 ? 1 : 7) {
		begin();
		r = crash(SIGSEGV, SIGABRT);
		struct unit_guarded g = unit_at_end(whole.p, n);
		EQ_INT(errors_hs_err_take(r, (struct slice){g.p, n}), n >= 68);
		unit_unguard(g);
		report_free(r);
	}
}

/* ---- the same text, read from the arena ---- */

static unsigned told;
static char titles[512];

static void sink(void *ctx, struct report *r)
{
	(void)ctx;
	told++;
	snprintf(titles + strlen(titles), sizeof titles - strlen(titles), "%s;", r->title);
	report_free(r);
}

static void record(struct errors *e, struct arena *a, int tid, const char *s)
{
	static char scratch[REC_VAR_MAX];
	uint32_t slot;
	struct rec_view v;
	struct span_rec *r = arena_open(a, 50);
	OK(r);
	r->kind = SPAN_TEXT;
	r->tid = tid;
	r->proc = ARENA_PROCS;
	r->err_no = 2;
	r->start_ns = real_ns();
	OK(rec_append(a, r, (struct slice){s, (uint32_t)strlen(s)}));
	arena_commit(a, r);
	EQ_INT(arena_drain(a, &slot, 1, false, false), 1);
	OK(rec_view(a, slot, scratch, &v));
	errors_take(e, a, &v, SECOND);
	arena_free(a, &slot, 1);
}

#define PANIC "thread 'main' panicked at src/main.rs:3:5:\nout of luck\nnote: run with `RUST_BACKTRACE=1` environment variable\n"
#define TERMINATE "terminate called after throwing an instance of 'app::Bad'\n  what():  index 7\n"
#define JAVA "Exception in thread \"main\" a.B: x\n\tat a.B.c(B.java:1)\n"

static unsigned tell(bool mark_first, const char *text, int tid)
{
	struct arena *a = arena_new_anonymous(1 << 20, 1);
	bool takeover;
	OK(arena_lease_try(a, &takeover));
	struct errors *e = errors_new(false, true, sink, NULL);
	told = 0;
	*titles = 0;
	if (mark_first)
		errors_said(e, 50, TID, real_ns(), SECOND);
	record(e, a, tid, text);
	if (!mark_first)
		errors_said(e, 50, TID, real_ns(), SECOND);
	errors_stop(e, 50);
	errors_delete(e);
	return told;
}

TEST(nobody_tells_it_again)
{
	for (int first = 0; first < 2; first++) {
		EQ_INT(tell(first, TERMINATE, TID), 0);
		EQ_INT(tell(first, TERMINATE, TID + 1), 0); /* one death */
		EQ_INT(tell(first, PANIC, TID), 0);
		EQ_INT(tell(first, PANIC, TID + 1), 1);
		EQ_STR(titles, "panic: out of luck;");
		EQ_INT(tell(first, JAVA, TID), 1);
		EQ_INT(tell(first, "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    x()\nValueError: bad\n", TID), 0);
	}
}
