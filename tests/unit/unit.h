/*
 * A tiny unit test framework, header only.
 *
 *	TEST(name) { EQ_INT(f(2), 4); }
 *
 * Tests register themselves; main() is here. Each test runs in a fork of its own with a time limit, so a crash
 * or hang is one failed test. Prints "ok NAME" or "not ok NAME: file:line: ..." per test and "N passed, N failed"
 * last; exit status 1 if any failed or none ran. Arguments choose tests whose name contains one of them.
 * The first failed check ends its test. In table-driven tests call unit_case(fmt, ...) at the head of the loop:
 * failures then name the row.
 */
#ifndef REMORA_UNIT_H
#define REMORA_UNIT_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNIT_FAILED 99 /* exit status of a test that printed its own failure */
#define UNIT_SECONDS 120

struct unit_test {
	const char *name;
	void (*run)(void);
	struct unit_test *next;
};

/* Weak: several test files may be linked into one program. */
__attribute__((weak)) struct unit_test *unit_tests, **unit_tail;
__attribute__((weak)) const char *unit_name;
__attribute__((weak)) char unit_row[512];

__attribute__((unused)) static void unit_register(struct unit_test *t)
{
	if (!unit_tail)
		unit_tail = &unit_tests;
	*unit_tail = t;
	unit_tail = &t->next;
}

#define TEST(id)                                                 \
	static void unit_run_##id(void);                             \
	__attribute__((constructor)) static void unit_add_##id(void) \
	{                                                            \
		static struct unit_test t = {#id, unit_run_##id, NULL};  \
		unit_register(&t);                                       \
	}                                                            \
	static void unit_run_##id(void)

__attribute__((unused, format(printf, 1, 2))) static void unit_case(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(unit_row, sizeof unit_row, fmt, ap);
	va_end(ap);
}

/* stderr may be what a test looks at, so failures go to stdout. */
__attribute__((unused, noreturn, format(printf, 3, 4))) static void unit_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	printf("not ok %s: %s:%d: ", unit_name, file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	if (unit_row[0])
		printf(" [%s]", unit_row);
	printf("\n");
	fflush(stdout);
	_exit(UNIT_FAILED);
}

/* Bytes as one printable line; a ring of buffers so that two fit into one message. */
__attribute__((unused)) static const char *unit_show(const void *p, size_t n)
{
	static char ring[4][1024];
	static unsigned turn;
	char *out = ring[turn++ % 4], *o = out;
	if (!p)
		return "NULL";
	*o++ = '"';
	for (size_t i = 0; i < n && o < out + 1000; i++) {
		unsigned char c = ((const unsigned char *)p)[i];
		if (c >= 0x20 && c < 0x7f)
			*o++ = (char)c;
		else
			o += sprintf(o, "\\x%02x", c);
	}
	*o++ = '"';
	*o = 0;
	return out;
}

#define OK(cond)                                        \
	do {                                                \
		if (!(cond))                                    \
			unit_fail(__FILE__, __LINE__, "%s", #cond); \
	} while (0)

#define EQ_INT(got, want)                                                                     \
	do {                                                                                      \
		long long unit_g = (long long)(got), unit_w = (long long)(want);                      \
		if (unit_g != unit_w)                                                                 \
			unit_fail(__FILE__, __LINE__, "%s is %lld, expected %lld", #got, unit_g, unit_w); \
	} while (0)

#define EQ_STR(got, want)                                                        \
	do {                                                                         \
		const char *unit_g = (got), *unit_w = (want);                            \
		if (!unit_g || !unit_w ? unit_g != unit_w : strcmp(unit_g, unit_w) != 0) \
			unit_fail(__FILE__, __LINE__, "%s is %s, expected %s", #got,         \
			          unit_show(unit_g, unit_g ? strlen(unit_g) : 0),            \
			          unit_show(unit_w, unit_w ? strlen(unit_w) : 0));           \
	} while (0)

#define EQ_MEM(got, got_n, want, want_n)                                                         \
	do {                                                                                         \
		const void *unit_g = (got), *unit_w = (want);                                            \
		size_t unit_gn = (size_t)(got_n), unit_wn = (size_t)(want_n);                            \
		if (unit_gn != unit_wn || (unit_gn && memcmp(unit_g, unit_w, unit_gn) != 0))             \
			unit_fail(__FILE__, __LINE__, "%s is %s (%zu bytes), expected %s (%zu)", #got,       \
			          unit_show(unit_g, unit_gn), unit_gn, unit_show(unit_w, unit_wn), unit_wn); \
	} while (0)

/*
 * `n` bytes that end exactly at a PROT_NONE page (unit_at_end), or begin right behind one (unit_at_begin): one byte
 * read or written too far is a SIGSEGV. `data` NULL leaves them zero. The mapping is freed with unit_unguard.
 */
struct unit_guarded {
	char *p;
	char *map;
	size_t map_len;
};

__attribute__((unused)) static struct unit_guarded unit_guard(const void *data, size_t n, int at_end)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (n + page - 1) / page * page + (n == 0 ? page : 0);
	struct unit_guarded g = {.map_len = body + 2 * page};
	g.map = mmap(NULL, g.map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g.map == MAP_FAILED || mprotect(g.map + page, body, PROT_READ | PROT_WRITE) != 0) {
		perror("unit_guard");
		_exit(1);
	}
	g.p = at_end ? g.map + page + body - n : g.map + page;
	if (data && n)
		memcpy(g.p, data, n);
	return g;
}
#define unit_at_end(data, n) unit_guard(data, n, 1)
#define unit_at_begin(data, n) unit_guard(data, n, 0)

__attribute__((unused)) static void unit_unguard(struct unit_guarded g)
{
	munmap(g.map, g.map_len);
}

__attribute__((weak)) int main(int argc, char **argv)
{
	int passed = 0, failed = 0;
	for (struct unit_test *t = unit_tests; t; t = t->next) {
		int chosen = argc < 2;
		for (int i = 1; i < argc; i++)
			chosen |= strstr(t->name, argv[i]) != NULL;
		if (!chosen)
			continue;
		fflush(stdout);
		pid_t pid = fork();
		if (pid < 0) {
			perror("fork");
			return 1;
		}
		if (pid == 0) {
			unit_name = t->name;
			alarm(UNIT_SECONDS);
			t->run();
			exit(0); /* not _exit: leak checkers and coverage report at exit */
		}
		int st = 0;
		if (waitpid(pid, &st, 0) != pid) {
			perror("waitpid");
			return 1;
		}
		if (WIFEXITED(st) && WEXITSTATUS(st) == 0) {
			printf("ok %s\n", t->name);
			passed++;
			continue;
		}
		failed++;
		if (WIFSIGNALED(st))
			printf("not ok %s: killed by signal %d (%s)\n", t->name, WTERMSIG(st), strsignal(WTERMSIG(st)));
		else if (WEXITSTATUS(st) != UNIT_FAILED)
			printf("not ok %s: exit status %d\n", t->name, WEXITSTATUS(st));
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed || passed == 0;
}

#endif
