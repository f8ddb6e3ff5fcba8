/* Statements without their literals; and whatever is put together, no literal comes through. */
#include "proto/sql.h"
#include "unit.h"

static const char *with(const char *text, size_t n, enum db_system system, size_t cap, bool *cut)
{
	static char copy[8192];
	for (int at_end = 0; at_end < 2; at_end++) {
		struct unit_guarded in = unit_guard(text, n, at_end), out = unit_guard(NULL, cap, at_end);
		bool was = *cut;
		size_t got = sql_sanitize((struct slice){in.p, (uint32_t)n}, system, out.p, cap, at_end ? cut : &was);
		OK(got <= cap && got <= n);
		memcpy(copy, out.p, got);
		copy[got] = 0;
		unit_unguard(in);
		unit_unguard(out);
	}
	return copy;
}

#define P DB_POSTGRESQL
#define M DB_MYSQL
#define ANY DB_NONE

static const struct row {
	enum db_system system;
	const char *text, *out;
	bool cut;
} rows[] = {
	/* all */
	{ANY, "", "", 0},
	{ANY, " \n\t;; ; \n", "", 0},
	{ANY, "SELECT 1", "SELECT ?", 0},
	{ANY, "  select  a ,\n\tb FROM t ;\n", "select a , b FROM t", 0},
	{ANY, "BEGIN ; ;COMMIT;", "BEGIN;COMMIT", 0},
	{ANY, "SELECT 'a', 'it''s', ''", "SELECT ?, ?, ?", 0},
	{ANY, "SELECT 1.5e-3,0x1F,.5,1_000,1e+9,12.,-3,1-2,a-1", "SELECT ?,?,?,?,?,?,-?,?-?,a-?", 0},
	{ANY, "SELECT t1.c2, a1b2, _3 FROM t4", "SELECT t1.c2, a1b2, _3 FROM t4", 0},
	{ANY, "SELECT 0x1e-3", "SELECT ?-?", 0},
	{ANY, "SELECT 1and 2", "SELECT ? ?", 0},
	{ANY, "SELECT x'41', X'41', b'01', N'a', B'1'", "SELECT ?, ?, ?, ?, ?", 0},
	{ANY, "SELECT DATE '2020-01-01', true, FALSE, null", "SELECT DATE ?, true, FALSE, null", 0},
	{ANY, "a -- x 'y\nb", "a b", 0},
	{ANY, "a --", "a", 0},
	{ANY, "a/**/b/* 'x */c", "a b c", 0},
	{ANY, "/* x */ SELECT a /* y */;", "SELECT a", 0},
	{ANY, "SELECT 'abc", "SELECT ?", 1},
	{ANY, "SELECT 'abc''", "SELECT ?", 1},
	{ANY, "a /* b", "a", 1},
	{ANY, "a /*/ b", "a", 1},
	{ANY, "a \\ b", "a", 1},
	{ANY, "a\1b\177c", "a b c", 0},
	{ANY, "SELECT \xc3\xa4 FROM \xff\376"
          "1",
     "SELECT \xc3\xa4 FROM \xff\376"
     "1",
     0},
	{ANY, "SELECT ?, ?", "SELECT ?, ?", 0},
	{ANY, "a::text || b->>'c' @> d", "a::text || b->>? @> d", 0},
	/* lists */
	{ANY, "x IN (1, 2, 3) AND y in(4,5)", "x IN (?) AND y in(?)", 0},
	{ANY, "x IN (1, 2, a)", "x IN (?, a)", 0},
	{ANY, "x IN (a, 1, 2)", "x IN (a, ?, ?)", 0},
	{ANY, "x IN ('a' , 'b') OR f(1, 2)", "x IN (?) OR f(?, ?)", 0},
	{ANY, "x IN (1, /* y */ 2, -3)", "x IN (?, -?)", 0},
	{ANY, "x IN ((1, 2), (3, 4))", "x IN ((?, ?), (?, ?))", 0},
	{ANY, "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c') RETURNING id", "INSERT INTO t VALUES (?, ?) RETURNING id", 0},
	{ANY, "INSERT INTO t VALUES (1,f(2,(3))),(4,f(5,(6))),(7,8),(9,10)", "INSERT INTO t VALUES (?,f(?,(?))),(?,?)", 0},
	{ANY, "VALUES (1), (a), (1)", "VALUES (?), (a), (?)", 0},
	{ANY, "UPDATE a=VALUES(a), b=VALUES(b)", "UPDATE a=VALUES(a), b=VALUES(b)", 0},
	{ANY, "VALUES (1), (2", "VALUES (?), (?", 0},
	/* PostgreSQL */
	{P, "SELECT E'a\\'b', e'\\\\', E'a''b'", "SELECT ?, ?, ?", 0},
	{P, "SELECT E'a'\n'b\\'c', d", "SELECT ? ?, d", 0},
	{P, "SELECT U&'\\0041' UESCAPE '!', U&\"x\"", "SELECT ? UESCAPE ?, U&\"x\"", 0},
	{P, "SELECT a FROM \"T x\".\"U\"\"v\"", "SELECT a FROM \"T x\".\"U\"\"v\"", 0},
	{P, "SELECT \"it's\", b", "SELECT ?, b", 0},
	{P, "SELECT $1, $23::int", "SELECT $1, $23::int", 0},
	{P, "x IN ($1, $2)", "x IN ($1, $2)", 0},
	{P, "SELECT $$a'b$$, $t$a $$ b$t$, $t1_\xc3\xa4$x$t1_\xc3\xa4$", "SELECT ?, ?, ?", 0},
	{P, "SELECT $a$b$c$", "SELECT ?", 1},
	{P, "SELECT $$b$", "SELECT ?", 1},
	{P, "SELECT $ b", "SELECT ?", 1},
	{P, "SELECT a$b$c, d$1", "SELECT a$b$c, d$1", 0},
	{P, "a /* b /* c */ 'd */ e", "a e", 0},
	{P, "a --b'\rc", "a c", 0},
	{P, "a--b", "a", 0},
	{P, "a # b, '{}' ? 'c'", "a # b, ? ? ?", 0},
	{P, "`a`", "`a`", 0},
	{P, "SELECT \"abc", "SELECT ?", 1},
	{P, "a LIKE 'b' ESCAPE '\\' AND c = 'd'", "a LIKE ? ESCAPE ? AND c = ?", 0},
	{P, "a = 'it\\'s secret' AND b = 'c'", "a = ?", 1},
	{P, "a = 'b\\' AND c = 'd\" e\"'", "a = ?", 1},
	{P, "COPY t FROM STDIN", "COPY t FROM STDIN", 0},
	/* MySQL */
	{M, "SELECT 'a\\'b', \"c\\\"d\", 'e''f', \"g\"\"h\"", "SELECT ?, ?, ?, ?", 0},
	{M, "SELECT 'a\\'b', \"it's\", secret", "SELECT ?", 1}, /* a quote of the other kind behind one in doubt */
	{M, "SELECT 'a\\'b', 'c\\'', d", "SELECT ?, ?, d", 0},
	{M, "SELECT 'C:\\' AND x = 'secret'", "SELECT ?", 1},
	{M, "SELECT 'C:\\', secret, '\\'", "SELECT ?", 1},
	{M, "SELECT \"a\", \"b\"\"c\"", "SELECT ?, ?", 0},
	{M, "SELECT `a`, `b``c`, `d 'e`", "SELECT `a`, `b``c`, ?", 0},
	{M, "SELECT a # b 'c\nFROM d", "SELECT a FROM d", 0},
	{M, "SELECT 5--3 -- x\n+a--\tb", "SELECT ?--? +a", 0},
	{M, "a -- b\rc", "a", 0},
	{M, "SELECT _utf8'a', _utf8mb4\"b\", _latin1 'c', 0xFF", "SELECT ?, ?, _latin1 ?, ?", 0},
	{M, "/*!40101 SET NAMES utf8 */;", "SET NAMES utf8", 0},
	{M, "SELECT /*!99999 1, */ a /*M!100100 , b */", "SELECT ?, a , b", 0},
	{M, "SELECT /*+ MAX_EXECUTION_TIME(1000) */ a", "SELECT a", 0},
	{M, "SELECT /*! 'a */ b' */ c", "SELECT ?", 1},
	{M, "SELECT /*! it's */ 'secret'", "SELECT it?", 1},
	{M, "SELECT /*! a -- */ b\n c */", "SELECT a", 1},
	{M, "SELECT /*! a /* b */ c */ d", "SELECT a", 1},
	{M, "a /* b /* c */ d", "a d", 0},
	{M, "SELECT @a, @@b.c, @'d', 'u'@'h'", "SELECT @a, @@b.c, @?, ?@?", 0},
	{M, "SELECT $1, a$b", "SELECT $1, a$b", 0},
	{M, "SELECT `abc", "SELECT ?", 1},
};

static bool concerns(const struct row *r, enum db_system system)
{
	return r->system == ANY || (r->system == P) == (system == P);
}

TEST(texts)
{
	for (enum db_system system = P; system <= DB_MARIADB; system++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			bool cut = false;
			size_t n = strlen(rows[i].text);
			if (!concerns(&rows[i], system))
				continue;
			unit_case("system %d: %s", system, rows[i].text);
			EQ_STR(with(rows[i].text, n, system, n, &cut), rows[i].out);
			EQ_INT(cut, rows[i].cut);
		}
}

TEST(nul_bytes)
{
	bool cut = false;
	EQ_STR(with("a\0'b\0c'\0d", 10, M, 10, &cut), "a ? d");
	OK(!cut);
}

TEST(unknown_system)
{
	bool cut = false;
	EQ_STR(with("secret", 6, DB_NONE, 6, &cut), "");
	OK(cut);
}

/* A piece of a text says what its beginning says, and no piece of a name. */
TEST(cut_texts)
{
	static const struct row cuts[] = {
		{P, "SELECT a FROM acti", "SELECT a FROM", 0},
		{P, "SELECT a FROM \"acti", "SELECT a FROM ?", 0},
		{P, "SELECT 12", "SELECT ?", 0},
		{P, "SELECT $ta", "SELECT ?", 0},
		{P, "x IN (1, 2, ", "x IN (?", 0},
		{P, "VALUES (1, 2), (3, 4), (5, ", "VALUES (?, ?)", 0},
		{P, "VALUES (1, 2), (3, 4), ", "VALUES (?, ?)", 0},
		{P, "VALUES (1, 2), (a, ", "VALUES (?, ?), (a,", 0},
		{M, "SELECT 'a\\'b', c, 'd", "SELECT ?", 0},
		{M, "SELECT 'a\\'b', c, d", "SELECT ?", 0},
		{M, "VALUES ('a', 1), ('it\\'s', 2), (b, ", "VALUES (?, ?)", 0},
	};
	for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
		bool cut = true;
		size_t n = strlen(cuts[i].text);
		unit_case("%s", cuts[i].text);
		EQ_STR(with(cuts[i].text, n, cuts[i].system, n, &cut), cuts[i].out);
		OK(cut);
	}
}

/* Whatever room there is: whole tokens, and it is told. */
TEST(little_room)
{
	static const char text[] = "SELECT abc, 'd' FROM \"e f\" WHERE g IN (1, 2)";
	char all[sizeof text];
	bool cut = false;
	strcpy(all, with(text, sizeof text - 1, P, sizeof text, &cut));
	OK(!cut);
	for (size_t cap = 0; cap <= strlen(all); cap++) {
		cut = false;
		unit_case("%zu bytes", cap);
		const char *got = with(text, sizeof text - 1, P, cap, &cut);
		OK(strncmp(got, all, strlen(got)) == 0);
		EQ_INT(cut, strlen(got) < strlen(all));
		char next = all[strlen(got)];
		OK(!cut || !*got || next == ' ' || next == ',' || got[strlen(got) - 1] == '(' || next == ')' || next == '(');
	}
}

/* ---- no literal comes through ---- */

static unsigned long seed;

static unsigned any(unsigned n)
{
	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)(seed >> 33) % n;
}

struct made {
	char text[4096];
	size_t n;
};

static void add(struct made *m, const char *s)
{
	size_t n = strlen(s);
	if (m->n + n < sizeof m->text) {
		memcpy(m->text + m->n, s, n);
		m->n += n;
	}
}

/* Every secret holds Q or 7 only: neither is in any other piece. */
static void inside(struct made *m, const char *const *pieces, unsigned n)
{
	add(m, "QQ");
	for (unsigned i = any(5); i; i--)
		add(m, pieces[any(n)]);
}
#define INSIDE(m, ...)                                            \
	do {                                                          \
		static const char *const p[] = {"QQ", "Q7", __VA_ARGS__}; \
		inside(m, p, sizeof p / sizeof *p);                       \
	} while (0)
#define HARMLESS "#", "--", "-- ", "/*", "*/", "$$", "$x$", "(", ",", ";", "\n", "/*!", "\\\\", "\\q", "\xe2\x82", "?"

static void secret_pg(struct made *m, bool escapes)
{
	switch (any(9)) {
	case 0:
	case 1:
		add(m, any(4) ? "'" : any(2) ? "N'"
		                             : "x'");
		if (escapes)
			INSIDE(m, "''", "\"", "\\'", "\\\\", HARMLESS);
		else if (any(3))
			INSIDE(m, "''", "\"", HARMLESS);
		else
			INSIDE(m, "''", "\"", "\\", HARMLESS);
		add(m, "'");
		break;
	case 2:
		add(m, "E'");
		INSIDE(m, "''", "\\'", "\"", HARMLESS);
		add(m, "'");
		if (any(3))
			break;
		add(m, "\n '");
		INSIDE(m, "''", "\\'", "\"", HARMLESS);
		add(m, "'");
		break;
	case 3:
		add(m, "$$");
		INSIDE(m, "'", "\"", "\\", "--", "/*", "$x$ ", "\n", ";", "$ ", "E'");
		add(m, " $$");
		break;
	case 4:
		add(m, "$x$");
		INSIDE(m, "'", "\"", "\\", "--", "/*", "$$", "\n", ";", "$ ", "$x ", "$y$");
		add(m, "$x$");
		break;
	case 5:
		add(m, "--");
		INSIDE(m, "'", "\"", "\\", "/*", "$$", ";", "E'", "*/");
		add(m, any(2) ? "\n" : "\r");
		break;
	case 6:
		add(m, "/*");
		INSIDE(m, "'", "\"", "\\ ", "--", "$$", ";", "E'", "\n", "/* Q7' */", "* / ");
		add(m, " */");
		break;
	case 7:
		add(m, any(2) ? "777" : "77.7e-7");
		break;
	default:
		add(m, any(2) ? "0x7f" : ".7");
	}
}

static void secret_mysql(struct made *m, bool escapes)
{
	switch (any(9)) {
	case 0:
	case 1:
		add(m, any(4) ? "'" : any(2) ? "_utf8'"
		                             : "x'");
		if (!escapes)
			INSIDE(m, "''", "\"", "`", "\\", HARMLESS);
		else if (any(3))
			INSIDE(m, "''", "\"", "`", HARMLESS);
		else
			INSIDE(m, "''", "\\'", "\\\"", "\"", HARMLESS);
		add(m, "'");
		break;
	case 2:
		add(m, "\"");
		if (!escapes)
			INSIDE(m, "\"\"", "'", "`", "\\", HARMLESS);
		else
			INSIDE(m, "\"\"", "'", "`", "\\'", "\\\"", HARMLESS);
		add(m, "\"");
		break;
	case 3:
		add(m, "#");
		INSIDE(m, "'", "\"", "`", "\\", "/*", "\r", ";", "*/");
		add(m, "\n");
		break;
	case 4:
		add(m, "-- ");
		INSIDE(m, "'", "\"", "`", "\\", "/*", "\r", ";", "*/");
		add(m, "\n");
		break;
	case 5:
		add(m, "/* ");
		INSIDE(m, "'", "\"", "`", "\\", "/* ", "\r", ";", "#", "-- ", "\n");
		add(m, "*/");
		break;
	case 6:
		add(m, "/*!50001 ");
		add(m, "'");
		INSIDE(m, "''", "\"", "/*", "#", "-- ", "\n");
		add(m, "' */");
		break;
	case 7:
		add(m, any(2) ? "777" : "77.7e-7");
		break;
	default:
		add(m, any(2) ? "0x7f" : ".7");
	}
}

static void make(struct made *m, bool pg, bool usual)
{
	static const char *const between[] = {" ", " ", ", ", " = ", " a ", " in (", ") ", " values (", "), (", "\n", "||", "-", " b.c ", ";",
	                                      " /* x */ ", "(", " e "};
	static const char *const names[] = {"\"n\"", "\"n m\"", "\"n\"\"m\"", "$1", "`n`", "`n``m`", "@n", " $1 "};
	m->n = 0;
	for (unsigned i = 1 + any(12); i; i--) {
		add(m, between[any(sizeof between / sizeof *between)]);
		if (any(3) == 0) {
			add(m, " ");
			add(m, names[(pg ? 0 : 4) + any(4)]);
			add(m, " ");
		}
		/* what could make another token of it with the one before */
		add(m, any(3) ? " " : ",");
		if (pg)
			secret_pg(m, !usual);
		else
			secret_mysql(m, usual);
	}
	if (any(2))
		add(m, " c ");
}

/* usual: backslashes as they are by default; both are tried, since the server may be set otherwise. */
TEST(no_literal_comes_through)
{
	static struct made m;
	static char out[sizeof m.text];
	for (unsigned round = 0; round < 60000; round++) {
		bool pg = round & 1, usual = round & 6;
		seed = round;
		make(&m, pg, usual);
		for (size_t n = round % 3 ? m.n : 0; n <= m.n; n++) {
			bool cut = n < m.n;
			size_t got = sql_sanitize((struct slice){m.text, (uint32_t)n}, pg ? DB_POSTGRESQL : DB_MYSQL, out, n, &cut);
			if (memchr(out, 'Q', got) || memchr(out, '7', got)) {
				m.text[n] = 0;
				unit_case("round %u, %zu of %zu bytes, usual %d", round, n, m.n, usual);
				unit_fail(__FILE__, __LINE__, "of %s came %s", unit_show(m.text, n), unit_show(out, got));
			}
		}
	}
}

/* In time: no text makes it walk twice. */
TEST(long_texts)
{
	static char text[1 << 20], out[1 << 20];
	static const char *const pieces[] = {"(", "$a", "/*", "'", "$$", "\"", "`", "values ((", "),(", "x'", "--\n", "\\", "$a$b"};
	for (enum db_system system = P; system <= M; system++)
		for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
			size_t k = strlen(pieces[i]), n = 0;
			for (; n + k <= sizeof text; n += k)
				memcpy(text + n, pieces[i], k);
			bool cut = false;
			unit_case("%s", pieces[i]);
			OK(sql_sanitize((struct slice){text, (uint32_t)n}, system, out, sizeof out, &cut) <= n);
		}
}
