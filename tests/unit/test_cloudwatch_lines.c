/* Lines out of records: put together, tracebacks kept whole, records given back. */
#include "lines_sample.h"
#include "unit.h"

#define ADD(s, text) sample_add(s, 1, text, sizeof text - 1, false, false)

static void end(struct lines_sample *s, const char *want)
{
	lines_end(s->lines, s);
	buf_add(&s->log, "", 1);
	EQ_STR(s->log.p, want);
	OK(s->sound);
	EQ_INT(s->held, 0);
	lines_delete(s->lines);
	buf_free(&s->log);
}

TEST(whole_lines)
{
	struct lines_sample s;
	sample_begin(&s);
	ADD(&s, "one\ntwo\r\n\n\r\n  \nthree");
	ADD(&s, " more\nfour\n");
	/* two blanks belong to what was written with them */
	end(&s, "one|two|  |three more|four|");
}

TEST(fds_and_gaps)
{
	struct lines_sample s;
	sample_begin(&s);
	ADD(&s, "half ");
	sample_add(&s, 2, "other\n", 6, false, false);
	ADD(&s, "line\nbroken of");
	sample_add(&s, 1, "what\nlast", 9, false, true);
	end(&s, "half line|broken of|other|what|last|");
}

static const char python[] = "ERROR:root:no\nTraceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\n"
							 "KeyError: 'x'\nINFO:root:next\n";

TEST(tracebacks)
{
	struct lines_sample s;
	sample_begin(&s);
	ADD(&s, python);
	end(&s, "!ERROR:root:no\nTraceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nKeyError: 'x'|INFO:root:next|");
	sample_begin(&s); /* not written together: two things */
	ADD(&s, "hello\n");
	for (const char *p = strchr(python, 'T'), *nl; (nl = strchr(p, '\n')); p = nl + 1)
		sample_add(&s, 1, p, (size_t)(nl + 1 - p), false, false);
	end(&s, "hello|!Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nKeyError: 'x'|INFO:root:next|");
	sample_begin(&s);
	ADD(&s, "Exception in thread \"main\" a.B: c\n");
	ADD(&s, "\tat a.B.c(B.java:1)\n");
	ADD(&s, "\tat a.B.d(B.java:2)\nnext\n");
	end(&s, "!Exception in thread \"main\" a.B: c\n\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)|next|");
}

TEST(indented_lines_written_together)
{
	struct lines_sample s;
	sample_begin(&s);
	ADD(&s, "{\n  \"a\": 1\n}\n");
	ADD(&s, "  alone\n");
	sample_add(&s, 1, "a\n b\n", 5, true, false); /* of several writes: who knows */
	end(&s, "{\n  \"a\": 1\n}|  alone|a| b|");
}

/* Cut anywhere, the bytes are the same, and each record comes back. */
TEST(any_split)
{
	const size_t n = sizeof python - 1;
	for (size_t i = 0; i <= n; i++)
		for (size_t k = i; k <= n; k += 7) {
			struct lines_sample s;
			unit_case("%zu %zu", i, k);
			sample_begin(&s);
			if (i)
				sample_add(&s, 1, python, i, true, false);
			if (k > i)
				sample_add(&s, 1, python + i, k - i, true, false);
			if (n > k)
				sample_add(&s, 1, python + k, n - k, true, false);
			end(&s, "ERROR:root:no|!Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nKeyError: 'x'|INFO:root:next|");
		}
}

TEST(records_come_back_while_a_stream_goes_on)
{
	struct lines_sample s;
	sample_begin(&s);
	for (int i = 0; i < 1000; i++) /* each ends in mid-line */
		ADD(&s, "end\nwhole\nbegin ");
	OK(s.held <= 3);
	OK(s.events >= 1998);
	lines_end(s.lines, &s);
	EQ_INT(s.held, 0);
	lines_delete(s.lines);
	buf_free(&s.log);
}

TEST(quiet_and_dead)
{
	struct lines_sample s;
	sample_begin(&s);
	s.now = 1000000000;
	ADD(&s, "whole\nhalf");
	lines_tick(s.lines, s.now + 299000000);
	EQ_INT(s.events, 0); /* "half" may belong to it */
	lines_tick(s.lines, s.now + 5000000000);
	EQ_INT(s.events, 1); /* it may go on */
	s.dead = true;
	lines_tick(s.lines, s.now + 6000000000);
	EQ_INT(s.events, 2);
	s.dead = false;
	s.now += 7000000000;
	ADD(&s, "last\n");
	EQ_INT(lines_due(s.lines), s.now + 300000000);
	lines_tick(s.lines, s.now + 300000000);
	EQ_INT(s.events, 3);
	EQ_INT(lines_due(s.lines), 0);
	end(&s, "whole|half|last|");
}

TEST(too_long)
{
	struct lines_sample s;
	size_t n = 3 * LINES_EVENT_MOST;
	char *p = malloc(n + 3);
	memset(p, 'x', n);
	memcpy(p + n, "\ny\n", 3);
	sample_begin(&s);
	for (size_t at = 0; at < n + 3; at += 60000)
		sample_add(&s, 1, p + at, n + 3 - at < 60000 ? n + 3 - at : 60000, false, false);
	lines_end(s.lines, &s);
	EQ_INT(s.events, 2);
	EQ_INT(s.log.n, 1 + LINES_EVENT_MOST + 1 + 2);
	OK(s.log.p[0] == '~' && s.sound);
	EQ_INT(s.held, 0);
	lines_delete(s.lines);
	buf_free(&s.log);
	free(p);
}
