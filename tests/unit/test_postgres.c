/*
 * PostgreSQL's protocol. The streams of corpus/postgres are records of real clients with a PostgreSQL 15 server; what is
 * rarer is built here, byte by byte, from the manual.
 */
#include "db_sample.h"
#include "proto/postgres.h"

#define PIECES 600
/* How the pieces are given; else each is cut in two there. */
#define BY_BYTE (1u << 20)
#define JOINED (BY_BYTE + 1)

static struct piece pieces[PIECES];
static size_t n_pieces;
static struct postgres s;
static char store[1 << 17], first[sizeof got];
static size_t stored, commands, answers, failures;

static void say_key(uint64_t key)
{
	static const char names[] = "abc";
	if (key == db_key(SLICE("")))
		say(" ''");
	for (size_t i = 0; i < sizeof names - 1; i++)
		if (key == db_key((struct slice){names + i, 1}))
			say(" '%c'", names[i]);
}

static bool feed_some(bool server, const char *p, size_t n)
{
	struct unit_guarded g = unit_at_end(p, n);
	struct db_event e;
	size_t used = 0;
	do {
		used += (server ? postgres_server : postgres_client)(&s, g.p + used, n - used, &e);
		OK(used <= n);
		if (e.what == DB_NOTHING)
			continue;
		commands += e.what == DB_COMMAND;
		answers += e.what == DB_ANSWER;
		failures += e.what != DB_NOTHING && e.status.n > 0;
		OK(answers <= commands);
		say("%s%s%s", db_words[e.what], e.prepared ? "*" : "", e.aborted ? " aborted" : "");
		OK(!e.system || e.system == DB_POSTGRESQL);
		say_key(e.key);
		say_slice("text", e.text);
		say_slice("status", e.status);
		say_slice("user", e.user);
		say_slice("db", e.database);
		say_slice("version", e.version);
		say(e.cut ? " cut\n" : "\n");
	} while (e.what != DB_OVER && (used < n || e.what != DB_NOTHING));
	unit_unguard(g);
	return e.what != DB_OVER;
}

static void feed_all(size_t cut)
{
	memset(&s, 0, sizeof s);
	*got = 0;
	commands = answers = failures = 0;
	bool on = true;
	for (size_t i = 0; i < n_pieces && on; i++) {
		struct piece p = pieces[i];
		for (; cut == JOINED && i + 1 < n_pieces && pieces[i + 1].server == p.server; i++)
			p.n += pieces[i + 1].n; /* they lie one behind the other */
		for (size_t at = 0, k; at < p.n && on; at += k) {
			k = cut == BY_BYTE ? 1 : p.n - at;
			if (at == 0 && cut && cut < BY_BYTE && cut < p.n)
				k = cut;
			on = feed_some(p.server, p.p + at, k);
		}
	}
	/* No text and no proof of a password is left. */
	OK(!on || !postgres_between(&s) || (!memmem(&s, sizeof s, "select", 6) && !memmem(&s, sizeof s, "prooF", 5)));
}

/* Pieces as they are, then every one cut in two at each byte, then byte by byte, then all until the other side says something: the same is told. */
static void run(const char *want)
{
	for (size_t cut = 0; cut < 300; cut++) {
		unit_case("cut at %zu", cut);
		feed_all(cut);
		EQ_STR(got, want);
	}
	unit_case("byte by byte");
	feed_all(BY_BYTE);
	EQ_STR(got, want);
	unit_case("messages in one piece");
	feed_all(JOINED);
	EQ_STR(got, want);
	n_pieces = stored = 0;
}

static void bytes(bool server, const char *p, size_t n)
{
	OK(n_pieces < PIECES && stored + n <= sizeof store);
	memcpy(store + stored, p, n);
	pieces[n_pieces++] = (struct piece){server, store + stored, n};
	stored += n;
}

/* A message; its length is put in. Type 0: it has none. */
static void message(bool server, char type, const char *p, size_t n)
{
	char head[5] = {type, (char)((n + 4) >> 24), (char)((n + 4) >> 16), (char)((n + 4) >> 8), (char)(n + 4)};
	size_t skip = type ? 0 : 1;
	OK(n_pieces < PIECES && stored + n + 5 < sizeof store);
	memcpy(store + stored, head + skip, 5 - skip);
	memcpy(store + stored + 5 - skip, p, n);
	pieces[n_pieces++] = (struct piece){server, store + stored, n + 5 - skip};
	stored += n + 5 - skip;
}
#define C(type, lit) message(false, type, lit, sizeof(lit) - 1)
#define S(type, lit) message(true, type, lit, sizeof(lit) - 1)
#define QUERY(lit) message(false, 'Q', lit, sizeof(lit))
#define READY() S('Z', "I")
#define DONE(lit) message(true, 'C', lit, sizeof(lit))
#define FAIL(code)                       \
	S('E', "SERROR\0VERROR\0C" code "\0" \
	       "Mselect 'secret'\0\0")
#define PARSE(name, lit) C('P', name "\0" lit "\0\0\0")
#define BIND(portal, name) C('B', portal "\0" name "\0\0\0\0\0\0\0")
#define EXECUTE(portal) C('E', portal "\0\0\0\0\0")
#define SYNC() C('S', "")

#define START "\0\3\0\0user\0me\0database\0shop\0\0"
#define SSL "\x04\xd2\x16\x2f"
#define GSSENC "\x04\xd2\x16\x30"
#define BEGUN "session user=me db=shop\nsession version=15.4\n"

static void logged_in(void)
{
	S('R', "\0\0\0\0");
	S('S', "server_version\0"
	       "15.4\0");
	S('S', "TimeZone\0UTC\0");
	S('K', "\0\0\0\1\0\0\0\2");
	READY();
}

static void begin(void)
{
	C(0, START);
	logged_in();
}

TEST(simple_queries)
{
	C(0, START);
	S('R', "\0\0\0\x0aSCRAM-SHA-256\0\0");
	C('p', "SCRAM-SHA-256\0\0\0\0\5prooF");
	S('R', "\0\0\0\x0bprooF");
	C('p', "prooF");
	S('R', "\0\0\0\x0cprooF");
	logged_in();
	QUERY("select 'secret'");
	S('T', "\0\1?column?\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
	S('D', "\0\1\0\0\0\6select");
	DONE("SELECT 1");
	READY();
	QUERY("select 1; select 2");
	S('N', "SNOTICE\0C00000\0\0");
	DONE("SELECT 1");
	S('S', "server_version\0"
	       "15.5\0");
	DONE("SELECT 1");
	S('A', "\0\0\0\1news\0payload\0");
	READY();
	QUERY("");
	S('I', "");
	READY();
	QUERY("select nope");
	FAIL("42703");
	S('Z', "E");
	C('X', "");
	run(BEGUN "command text=select 'secret'\nanswer\ncommand text=select 1; select 2\nsession version=15.5\nanswer\n"
	          "command text=\nanswer\ncommand text=select nope\nfailed status=42703\nanswer\n");
}

TEST(pipelined_queries)
{
	begin();
	QUERY("select 1");
	QUERY("select 2");
	FAIL("22012");
	READY();
	DONE("SELECT 1");
	READY();
	run(BEGUN "command text=select 1\ncommand text=select 2\nfailed status=22012\nanswer\nanswer\n");
}

TEST(extended)
{
	begin();
	PARSE("", "select $1");
	BIND("", "");
	C('D', "P\0");
	EXECUTE("");
	SYNC();
	S('1', "");
	S('2', "");
	S('n', "");
	DONE("SELECT 1");
	READY();
	PARSE("a", "select a"); /* a named one, run when it is known */
	C('D', "Sa\0");
	SYNC();
	S('1', "");
	S('t', "\0\0");
	S('n', "");
	READY();
	BIND("", "a");
	EXECUTE("");
	SYNC();
	S('2', "");
	DONE("SELECT 1");
	READY();
	C('C', "Sa\0");
	C('C', "Pno such\0");
	SYNC();
	S('3', "");
	S('3', "");
	READY();
	run(BEGUN "prepare '' text=select $1\ncommand ''\nanswer\nprepare 'a' text=select a\ncommand* 'a'\nanswer\nforget 'a'\n");
}

TEST(batch)
{
	begin();
	PARSE("", "insert $1");
	for (int i = 0; i < 3; i++) {
		BIND("", "");
		EXECUTE("");
	}
	SYNC();
	S('1', "");
	for (int i = 0; i < 3; i++) {
		S('2', "");
		DONE("INSERT 0 1");
	}
	READY();
	run(BEGUN "prepare '' text=insert $1\ncommand ''\nrepeat ''\nrepeat ''\nanswer\n");
}

TEST(skipped_after_an_error)
{
	begin();
	PARSE("a", "one");
	BIND("", "a");
	EXECUTE("");
	PARSE("b", "two");
	BIND("", "b");
	EXECUTE("");
	SYNC();
	PARSE("c", "three");
	BIND("", "c");
	EXECUTE("");
	SYNC();
	S('1', "");
	S('2', "");
	FAIL("23505");
	READY();
	S('1', "");
	S('2', "");
	DONE("INSERT 0 1");
	READY();
	run(BEGUN "prepare 'a' text=one\ncommand 'a'\nprepare 'b' text=two\ncommand 'b'\nprepare 'c' text=three\ncommand 'c'\n"
	          "answer status=23505\nanswer aborted\nanswer\n");
}

TEST(statement_that_cannot_be_prepared)
{
	begin();
	PARSE("a", "selec");
	C('D', "Sa\0");
	SYNC();
	FAIL("42601");
	READY();
	QUERY("select 1");
	DONE("SELECT 1");
	READY();
	run(BEGUN "prepare 'a' text=selec\nrefused 'a' status=42601\ncommand text=select 1\nanswer\n");
}

TEST(portals)
{
	begin();
	PARSE("a", "one");
	PARSE("b", "two");
	BIND("x", "a");
	BIND("y", "b");
	C('E', "x\0\0\0\0\4");
	C('H', "");
	S('1', "");
	S('1', "");
	S('2', "");
	S('2', "");
	S('s', "");
	EXECUTE("y");
	DONE("SELECT 1");
	C('E', "x\0\0\0\0\4");
	DONE("SELECT 2");
	EXECUTE("z"); /* of whom nobody knows what it is: no text */
	SYNC();
	FAIL("34000");
	READY();
	run(BEGUN "prepare 'a' text=one\nprepare 'b' text=two\ncommand 'a'\nanswer\ncommand 'b'\nanswer\ncommand 'a'\nanswer\n"
	          "command*\nanswer status=34000\n");
}

TEST(function_call)
{
	begin();
	C('F', "\0\0\4\xd2\0\0\0\0\0\0");
	S('V', "\0\0\0\1x");
	READY();
	C('F', "\0\0\4\xd2\0\0\0\0\0\0");
	FAIL("42883");
	READY();
	run(BEGUN "command\nanswer\ncommand\nfailed status=42883\nanswer\n");
}

TEST(copy_by_query)
{
	begin();
	QUERY("copy t from stdin");
	S('G', "\0\0\1\0\0");
	C('d', "select\n");
	C('d', "\\.\n");
	C('c', "");
	DONE("COPY 1");
	READY();
	QUERY("copy t from stdin");
	S('G', "\0\0\1\0\0");
	C('d', "select\n");
	C('f', "prooF\0");
	FAIL("57014");
	READY();
	QUERY("copy t to stdout");
	S('H', "\0\0\1\0\0");
	S('d', "select\n");
	S('c', "");
	DONE("COPY 1");
	READY();
	QUERY("start_replication");
	S('W', "\0\0\1\0\0");
	S('d', "k");
	C('d', "r");
	C('c', "");
	S('c', "");
	DONE("COPY 0");
	READY();
	run(BEGUN "command text=copy t from stdin\nanswer\ncommand text=copy t from stdin\nfailed status=57014\nanswer\n"
	          "command text=copy t to stdout\nanswer\ncommand text=start_replication\nanswer\n");
}

TEST(copy_by_execute)
{
	begin();
	for (int i = 0; i < 3; i++) { /* the client waits for the server's G, or not; or it fails */
		PARSE("", "copy t from stdin");
		BIND("", "");
		EXECUTE("");
		if (i != 1) {
			SYNC(); /* in COPY it is ignored */
			S('1', "");
			S('2', "");
			S('G', "\0\0\1\0\0");
		}
		C('d', "select\n");
		if (i == 2)
			C('f', "\0");
		else
			C('c', "");
		SYNC();
		if (i == 1) {
			S('1', "");
			S('2', "");
			S('G', "\0\0\1\0\0");
		}
		if (i == 2)
			FAIL("57014");
		else
			DONE("COPY 1");
		READY();
	}
	QUERY("select 1");
	DONE("SELECT 1");
	READY();
	run(BEGUN "prepare '' text=copy t from stdin\ncommand ''\nanswer\nprepare '' text=copy t from stdin\ncommand ''\nanswer\n"
	          "prepare '' text=copy t from stdin\ncommand ''\nanswer status=57014\ncommand text=select 1\nanswer\n");
}

TEST(copy_that_the_server_ends)
{
	begin();
	PARSE("", "copy t from stdin");
	BIND("", "");
	EXECUTE("");
	SYNC();
	S('1', "");
	S('2', "");
	S('G', "\0\0\1\0\0");
	C('d', "select\n");
	FAIL("22P02");
	C('d', "select\n");
	C('c', "");
	SYNC();
	READY();
	QUERY("select 1");
	DONE("SELECT 1");
	READY();
	run(BEGUN "prepare '' text=copy t from stdin\ncommand ''\nanswer status=22P02\ncommand text=select 1\nanswer\n");
}

TEST(encryption)
{
	static const struct {
		const char *ask[3], answer[3];
		const char *want;
	} rows[] = {
		{{SSL}, "N", BEGUN},
		{{GSSENC}, "N", BEGUN},
		{{GSSENC, SSL}, "NN", BEGUN},
		{{SSL}, "S", "over\n"},
		{{GSSENC}, "G", "over\n"},
		{{GSSENC, SSL}, "NS", "over\n"},
		{{SSL}, "?", "over\n"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (size_t k = 0; rows[i].answer[k]; k++) {
			message(false, 0, rows[i].ask[k], 4);
			bytes(true, &rows[i].answer[k], 1);
		}
		begin();
		run(rows[i].want);
	}
	message(false, 0, SSL, 4); /* a server that does not know the question */
	FAIL("0A000");
	run("refused status=0A000\n");
	message(false, 0, SSL, 4); /* before PostgreSQL 7.4: no length */
	bytes(true, "EFATAL:  unsupported frontend protocol\n\0", 40);
	run("over\n");
	message(false, 0, SSL, 4); /* it does not wait for the answer */
	C(0, START);
	run("over\n");
}

TEST(versions)
{
	C(0, "\0\3\0\2user\0me\0_pq_.x\0y\0\0");
	S('v', "\0\3\0\0\0\0\0\1_pq_.x\0");
	logged_in();
	QUERY("select 1");
	DONE("SELECT 1");
	READY();
	run("session user=me db=me\nsession version=15.4\ncommand text=select 1\nanswer\n");
	C(0, "\4\xd2\x16\x2e\0\0\0\1\0\0\0\2"); /* CancelRequest */
	run("over\n");
	C(0, "\0\2\0\0user\0me\0\0");
	run("over\n");
}

TEST(refused)
{
	C(0, START);
	S('R', "\0\0\0\3");
	C('p', "prooF\0");
	FAIL("28P01");
	run("session user=me db=shop\nrefused status=28P01\n");
	C(0, START);
	FAIL("3D000");
	run("session user=me db=shop\nrefused status=3D000\n");
}

TEST(errors_that_are_no_commands)
{
	begin();
	FAIL("57P01"); /* idle */
	run(BEGUN);
	begin();
	PARSE("", "commit it");
	BIND("", "");
	EXECUTE("");
	SYNC();
	QUERY("select 1"); /* whose answer has nothing of that */
	S('1', "");
	S('2', "");
	DONE("INSERT 0 1");
	FAIL("40001"); /* the commit at Sync */
	READY();
	DONE("SELECT 1");
	READY();
	run(BEGUN "prepare '' text=commit it\ncommand ''\ncommand text=select 1\nanswer\nanswer\n");
}

TEST(long_texts)
{
	static char text[3 * DB_TEXT_MAX];
	char want[1000];
	memset(text, 'x', sizeof text - 1);
	begin();
	message(false, 'Q', text, sizeof text);
	DONE("SELECT 1");
	READY();
	message(false, 'Q', text + sizeof text - DB_TEXT_MAX - 1, DB_TEXT_MAX + 1); /* just fits */
	DONE("SELECT 1");
	READY();
	message(false, 'Q', text + sizeof text - DB_TEXT_MAX - 2, DB_TEXT_MAX + 2);
	DONE("SELECT 1");
	READY();
	text[1] = 0; /* of a name */
	message(false, 'P', text, sizeof text);
	SYNC();
	S('1', "");
	READY();
	snprintf(want, sizeof want, "%scommand text=%.60s...4096 cut\nanswer\ncommand text=%.60s...4096\nanswer\n"
	                            "command text=%.60s...4096 cut\nanswer\nprepare text=%.60s...4096 cut\n",
	         BEGUN, text + 2, text + 2, text + 2, text + 2);
	run(want);
}

TEST(long_names)
{
	char name[POSTGRES_NAME_MAX + 7];
	memset(name, 'x', sizeof name);
	for (int more = 0; more < 2; more++) {
		size_t n = POSTGRES_NAME_MAX + (size_t)more;
		memset(name + n, 0, 5); /* "", no types */
		begin();
		message(false, 'P', name, n + 4);
		run(more ? BEGUN "over\n" : BEGUN "prepare text=\n");
		memset(name, 'x', sizeof name);
	}
}

TEST(too_many_outstanding)
{
	static char want[1 << 13];
	begin();
	strcpy(want, BEGUN);
	for (int i = 0; i <= POSTGRES_RUNS; i++) {
		QUERY("select 1");
		strcat(want, i < POSTGRES_RUNS ? "command text=select 1\n" : "over\n");
	}
	run(want);
}

TEST(nonsense)
{
	static const struct {
		bool server;
		const char *p;
		size_t n;
	} rows[] = {
#define ROW(server, lit) {server, lit, sizeof(lit) - 1}
		ROW(false, "Q\0\0\0\3"),    /* shorter than its length */
		ROW(false, "Q\0\0\0\4"),    /* no text */
		ROW(false, "Q\0\0\0\7sel"), /* no end of it */
		ROW(false, "Q\x7f\0\0\0"),  /* 2 GB */
		ROW(false, "y\0\0\0\4"),    /* no such message */
		ROW(false, "S\0\0\0\5x"),   /* has no body */
		ROW(false, "B\0\0\0\x0c"
	               "aaaaaaaa"),
		ROW(false, "C\0\0\0\6X\0"),
		ROW(false, "GET / HTTP/1.1\r\n"),
		ROW(true, "Z\0\0\0\5I"), /* nobody asked */
		ROW(true, "C\0\0\0\5\0"),
		ROW(true, "G\0\0\0\7\0\0\0"),
		ROW(true, "E\0\0\0\x09"
	              "SX\0\0\0"), /* no code */
		ROW(true, "y\0\0\0\4"),
		ROW(true, "Z\0\0\0\4"),
		ROW(true, "HTTP/1.1 400 Bad Request\r\n"),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		begin();
		bytes(rows[i].server, rows[i].p, rows[i].n);
		run(BEGUN "over\n");
	}
}

#undef ROW
#define ROW(lit, yes)             \
	{                             \
		lit, sizeof(lit) - 1, yes \
	}

TEST(who_begins)
{
	static const struct {
		const char *p;
		size_t n;
		bool yes;
	} rows[] = {
		ROW("\0\0\0\x20\0\3\0\0user\0m", true),
		ROW("\0\0\0\x20\0\3\0\0", true),
		ROW("\0\0\0\x20\0\3\0", false), /* not enough to say */
		ROW("\0\0\0\x20\0\3\0\2_pq_.", true),
		ROW("\0\0\0\x20\0\3\x27\x0fuser", true), /* 3.9999 */
		ROW("\0\0\0\x20\0\3\0\3user", false),
		ROW("\0\0\0\x20\0\3\0\0\1\2\3", false),
		ROW("\0\1\0\x20\0\3\0\0user", false), /* far too long */
		ROW("\0\0\0\x20\0\2\0\0user", false),
		ROW("\0\0\0\x08" SSL, true),
		ROW("\0\0\0\x08" GSSENC, true),
		ROW("\0\0\0\x09" SSL, false),
		ROW("\0\0\0\x10\4\xd2\x16\x2e", true),
		ROW("\0\0\0\x08\4\xd2\x16\x2e", false),
		ROW("GET / HTTP/1.1\r\n", false),
		ROW("\x16\3\1\2\0\1\0\1\xfc\3\3", false), /* TLS */
		ROW("\0\0\0\0\0\0\0\0\0", false),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("row %zu", i);
		struct unit_guarded g = unit_at_end(rows[i].p, rows[i].n);
		EQ_INT(postgres_begins(g.p, rows[i].n), rows[i].yes);
		unit_unguard(g);
	}
}

static void record(const char *name)
{
	char path[100];
	snprintf(path, sizeof path, "tests/fuzz/corpus/postgres/%s", name);
	FILE *f = fopen(path, "rb");
	OK(f);
	unsigned char h[5];
	while (fread(h, 1, 5, f) == 5) {
		size_t n = (size_t)h[1] << 24 | (size_t)h[2] << 16 | (size_t)h[3] << 8 | h[4];
		OK(n_pieces < PIECES && stored + n < sizeof store && fread(store + stored, 1, n, f) == n);
		pieces[n_pieces++] = (struct piece){h[0] == 'S', store + stored, n};
		stored += n;
	}
	fclose(f);
}

/* Each command has its answer, and however the bytes come the same is told. */
TEST(recorded_sessions)
{
	static const struct {
		const char *name;
		size_t commands, failures;
	} rows[] = {
		{"asyncpg", 12, 2},
		{"node", 10, 2},
		{"pg8000", 6, 1},
		{"psql", 4, 1},
		{"psycopg2", 19, 1},
		{"psycopg3", 26, 2},
		{"wrong", 0, 1},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		record(rows[i].name);
		unit_case("%s", rows[i].name);
		feed_all(0);
		strcpy(first, got);
		EQ_INT(commands, rows[i].commands);
		EQ_INT(answers, commands);
		EQ_INT(failures, rows[i].failures);
		run(first);
	}
}
