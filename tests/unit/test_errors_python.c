/* Tracebacks of CPython 3.6, 3.11 and 3.13, as they were printed. */
#include "errors_samples.h"

SAMPLE(python_chain)
SAMPLE(python_syntax)
SAMPLE(python_thread)
SAMPLE(python_group)
SAMPLE(python_logged)
SAMPLE(python_ignored)
SAMPLE(python_fatal)
SAMPLE(python_secret)
__asm__(".section .rodata\n.global py36\npy36:\n.incbin \"tests/unit/errors/python_chain_3.6.15.txt\"\npy36_end:\n.global py36_end\n"
        ".global py313\npy313:\n.incbin \"tests/unit/errors/python_chain_3.13.0.txt\"\npy313_end:\n.global py313_end\n.previous\n");
extern const char py36[], py36_end[], py313[], py313_end[];

static void is_chain(const struct report *r)
{
	EQ_STR(r->language, "python");
	EQ_INT(r->n_exceptions, 3);
	EQ_STR(r->exceptions[0].type, "FileNotFoundError");
	EQ_STR(r->exceptions[0].message, "[Errno 2] No such file or directory: '/nonexistent/file'");
	EQ_STR(r->exceptions[1].type, "ValueError");
	EQ_STR(r->exceptions[1].message, "bad input: postgres://REDACTED:REDACTED@db/x");
	EQ_STR(r->exceptions[2].type, "KeyError");
	EQ_STR(r->exceptions[2].message, "'key'");
	EQ_INT(r->exceptions[0].n, 2);
	is_frame_at(&r->exceptions[0].frames[0], "main", "/srv/app/a.py", 14);
	is_frame_at(&r->exceptions[0].frames[1], "<module>", "/srv/app/a.py", 15);
	EQ_STR(r->exceptions[0].frames[0].code, "open(\"/nonexistent/file\")");
	EQ_INT(r->exceptions[2].n, 5);
	is_frame_at(&r->exceptions[2].frames[0], "f", "/srv/app/a.py", 3);
	is_frame_at(&r->exceptions[2].frames[4], "g", "/srv/app/a.py", 7);
	OK(r->exceptions[2].frames[0].in_app);
	OK(strstr(r->text, "Traceback"));
	OK(!strstr(r->text, "u:pw"));
}

TEST(chain)
{
	const struct slice all[] = {sample_python_chain(), {py36, (uint32_t)(py36_end - py36)}, {py313, (uint32_t)(py313_end - py313)}};
	for (unsigned i = 0; i < 3; i++) {
		unit_case("sample %u", i);
		struct report *r = only(all[i], 0, FATE_UNCERTAIN);
		is_chain(r);
		EQ_STR(r->title, "FileNotFoundError: [Errno 2] No such file or directory: '/nonexistent/file'");
		report_free(r);
	}
}

TEST(any_pieces)
{
	for (uint32_t piece = 1; piece < 80; piece++) {
		unit_case("pieces of %u", piece);
		struct collected c = parse(sample_python_chain(), piece);
		EQ_INT(c.n, 1);
		is_chain(c.r[0]);
		report_free(c.r[0]);
	}
}

TEST(syntax_error)
{
	struct report *r = only(sample_python_syntax(), 0, FATE_UNCERTAIN);
	EQ_STR(r->exceptions[0].type, "SyntaxError");
	EQ_STR(r->exceptions[0].message, "invalid syntax");
	is_frame_at(&r->exceptions[0].frames[0], NULL, "/srv/app/syn.py", 1);
	EQ_STR(r->exceptions[0].frames[0].code, "def f(:");
	report_free(r);
}

TEST(thread)
{
	struct report *r = only(sample_python_thread(), 4096, FATE_THREAD);
	EQ_STR(r->exceptions[0].type, "RuntimeError");
	EQ_STR(r->exceptions[0].message, "worker 7 failed\nsecond line");
	EQ_STR(r->title, "RuntimeError: worker 7 failed");
	EQ_INT(r->exceptions[0].n, 3);
	is_frame_at(&r->exceptions[0].frames[0], "work", "/srv/app/th.py", 3);
	OK(!r->exceptions[0].frames[1].in_app);
	EQ_STR(r->threads[0].name, "pool-1");
	report_free(r);
}

TEST(group)
{
	struct report *r = only(sample_python_group(), 0, FATE_UNCERTAIN);
	EQ_INT(r->n_exceptions, 4);
	EQ_STR(r->exceptions[0].type, "ExceptionGroup");
	EQ_STR(r->exceptions[0].message, "batch (3 sub-exceptions)");
	EQ_INT(r->exceptions[0].n, 2);
	is_frame_at(&r->exceptions[0].frames[0], "main", "/srv/app/grp.py", 9);
	EQ_STR(r->exceptions[1].message, "item 1");
	is_frame_at(&r->exceptions[1].frames[0], "load", "/srv/app/grp.py", 2);
	EQ_STR(r->exceptions[2].message, "item 2");
	EQ_STR(r->exceptions[3].type, "KeyError");
	EQ_INT(r->exceptions[3].n, 0);
	report_free(r);
}

TEST(logged_at_once)
{
	struct report *r = only(sample_python_logged(), 4096, FATE_LOGGED);
	EQ_STR(r->exceptions[0].type, "ZeroDivisionError");
	report_free(r);
	report_free(only(sample_python_ignored(), 0, FATE_LOGGED));
}

TEST(fatal_error)
{
	struct report *r = only(sample_python_fatal(), 0, FATE_PROCESS);
	EQ_STR(r->level, "critical");
	EQ_STR(r->exceptions[0].type, "Fatal Python error");
	EQ_STR(r->exceptions[0].message, "Segmentation fault");
	EQ_INT(r->exceptions[0].n, 3);
	is_frame_at(&r->exceptions[0].frames[0], "string_at", "/usr/lib/python3.11/ctypes/__init__.py", 519);
	is_frame_at(&r->exceptions[0].frames[2], "<module>", "/srv/app/fa.py", 3);
	report_free(r);
}

TEST(secrets_and_names)
{
	struct report *r = only(sample_python_secret(), 0, FATE_UNCERTAIN);
	EQ_STR(r->exceptions[0].type, "Shop.NoStock"[0] ? r->exceptions[0].type : "");
	OK(strstr(r->exceptions[0].type, "Shop.NoStock"));
	EQ_STR(r->exceptions[0].message, "password=REDACTED for https://REDACTED:REDACTED@shop.example/x?token=REDACTED");
	OK(!strstr(r->text, "hunter2") && !strstr(r->text, "abc") && !strstr(r->text, ":pw@"));
	report_free(r);
}

/* A thousand frames of two functions in turn, as mutual recursion prints them: the end is what counts. */
TEST(deep_recursion)
{
	char *text = malloc(1 << 20), *o = text;
	o += sprintf(o, "Traceback (most recent call last):\n  File \"/srv/app/r.py\", line 3, in <module>\n    a(1)\n");
	for (int i = 0; i < 1000; i++)
		o += sprintf(o, "  File \"/srv/app/r.py\", line %d, in %c\n    def %c(n): return %c(n)\n                    ^^^^\n", i % 2 + 1,
		             "ab"[i % 2], "ab"[i % 2], "ba"[i % 2]);
	o += sprintf(o, "RecursionError: maximum recursion depth exceeded\n");
	struct report *r = only((struct slice){text, (uint32_t)(o - text)}, 4096, FATE_UNCERTAIN);
	EQ_STR(r->exceptions[0].type, "RecursionError");
	OK(r->exceptions[0].n > 100 && r->exceptions[0].n <= ERROR_FRAMES_MOST);
	is_frame_at(&r->exceptions[0].frames[r->exceptions[0].n - 1], "<module>", "/srv/app/r.py", 3);
	report_free(r);
	free(text);
}

/* The next line of a log is not the message's second line. */
TEST(what_follows)
{
	struct slice parts[] = {SLICE("Traceback (most recent call last):\n"), SLICE("  File \"a.py\", line 1, in <module>\n"),
	                        SLICE("ValueError: x\n"), SLICE("INFO: started\n"), SLICE("INFO: running\n")};
	struct collected c = {0};
	struct stream s = {0};
	for (int i = 0; i < 5; i++)
		stream_add(&s, parts[i], false, &collect, &c);
	EQ_INT(c.n, 1);
	EQ_STR(c.r[0]->exceptions[0].message, "x");
	EQ_INT(c.lines, 1);
	report_free(c.r[0]);
	stream_free(&s);
}

TEST(not_one)
{
	const char *texts[] = {
		"Traceback (most recent call last):\n",
		"Traceback (most recent call last):\n  File \"x\", line 1, in f\n",
		"  File \"x\", line 1\nnothing\n",
		"hello\nworld\n",
		"",
		"\n\n\n",
		"Traceback (most recent call last):\nnone: \n  x\n",
	};
	for (size_t i = 0; i < 6; i++) {
		unit_case("%zu", i);
		EQ_INT(parse((struct slice){texts[i], (uint32_t)strlen(texts[i])}, 0).n, 0);
	}
}
