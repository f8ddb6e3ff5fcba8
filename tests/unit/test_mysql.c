/*
 * MySQL's protocol. The streams of corpus/mysql are records of real clients with a MariaDB server; what MySQL 8 does
 * otherwise is built here, byte by byte, from its documentation.
 */
#include "db_sample.h"
#include "proto/mysql.h"

#define PIECES 400

static struct piece pieces[PIECES];
static size_t n_pieces;
static struct mysql s;
static char store[1 << 16];
static size_t stored;

static bool feed_some(bool server, const char *p, size_t n)
{
	struct unit_guarded g = unit_at_end(p, n);
	struct db_event e;
	size_t used = 0;
	do {
		used += (server ? mysql_server : mysql_client)(&s, g.p + used, n - used, &e);
		OK(used <= n);
		if (e.what == DB_NOTHING)
			continue;
		say("%s%s", db_words[e.what], e.prepared ? "*" : "");
		if (e.system)
			say(" %d", e.system);
		if (e.key)
			say(" %lld", (long long)e.key);
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

/* Pieces as they are, then every one cut in two at each byte, then byte by byte: the same is told. */
static void run(const char *want)
{
	for (size_t cut = 0; cut < 300; cut++) {
		unit_case("cut at %zu", cut);
		memset(&s, 0, sizeof s);
		*got = 0;
		bool on = true;
		for (size_t i = 0; i < n_pieces && on; i++) {
			size_t a = cut < pieces[i].n ? cut : 0;
			on = !a || feed_some(pieces[i].server, pieces[i].p, a);
			if (on)
				on = feed_some(pieces[i].server, pieces[i].p + a, pieces[i].n - a);
		}
		EQ_STR(got, want);
	}
	unit_case("byte by byte");
	memset(&s, 0, sizeof s);
	*got = 0;
	bool on = true;
	for (size_t i = 0; i < n_pieces; i++)
		for (size_t k = 0; k < pieces[i].n && on; k++)
			on = feed_some(pieces[i].server, pieces[i].p + k, 1);
	EQ_STR(got, want);
	/* No text and no proof of a password is left. */
	OK(!memmem(&s, sizeof s, "SELECT", 6) && !memmem(&s, sizeof s, "prooF", 5));
	n_pieces = stored = 0;
}

/* A packet; both of its numbers are put before it. */
static void packet(bool server, unsigned seq, const char *p, size_t n)
{
	char *at = store + stored;
	OK(n_pieces < PIECES && stored + n + 4 < sizeof store);
	memcpy(at, (char[]){(char)n, (char)(n >> 8), (char)(n >> 16), (char)seq}, 4);
	memcpy(at + 4, p, n);
	pieces[n_pieces++] = (struct piece){server, at, n + 4};
	stored += n + 4;
}
#define C(seq, lit) packet(false, seq, lit, sizeof(lit) - 1)
#define S(seq, lit) packet(true, seq, lit, sizeof(lit) - 1)

#define HELLO(caps_low, caps_high) "\x0a"                                            \
								   "8.0.34\0"                                        \
								   "\1\0\0\0"                                        \
								   "challeng\0" caps_low "\xff\2\0" caps_high "\x15" \
								   "\0\0\0\0\0\0\0\0\0\0"                            \
								   "e-12-bytes--\0"                                  \
								   "caching_sha2_password\0"
#define ANSWER(caps) caps "\0\0\0\1\xff"                                   \
						  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" \
						  "bob\0"                                          \
						  "\5prooF"                                        \
						  "shop\0"                                         \
						  "caching_sha2_password\0"
#define OKAY "\0\0\0\2\0\0\0"
#define COLUMN "\3def\0\0\0\1x\0\x0c\x3f\0\1\0\0\0\3\0\0\0\0\0"
#define BEGUN "session 2 version=8.0.34\nsession user=bob db=shop\n"

/* MySQL 8: LONG_PASSWORD CONNECT_WITH_DB PROTOCOL_41 SECURE_CONNECTION, PLUGIN_AUTH, and what `high` adds. */
static void begin_plain(void)
{
	S(0, HELLO("\x89\x8a", "\x0f\x01")); /* among others TLS and query attributes: only what both can counts */
	C(1, ANSWER("\x89\x82\x08\x00"));
	S(2, "\1\4");
	C(3, "prooF");
	S(4, OKAY);
}

static void begin_new(void)
{
	S(0, HELLO("\x89\x82", "\x08\x09"));
	C(1, ANSWER("\x89\x82\x08\x09"));
	S(2, "\1\3");
	S(3, OKAY);
}

TEST(results_with_eof)
{
	begin_plain();
	C(0, "\3SELECT 1");
	S(1, "\1");
	S(2, COLUMN);
	S(3, "\xfe\0\0\2\0");
	S(4, "\1"
	     "1");
	S(5, "\xfe\0\0\x0a\0"); /* more results */
	S(6, "\0\1\0\2\0\0\0");
	C(0, "\3SELECT nope");
	S(1, "\xff\x1e\x04#42S22Unknown column");
	C(0, "\x0e");
	S(1, OKAY);
	C(0, "\1");
	run(BEGUN "command text=SELECT 1\nanswer\ncommand text=SELECT nope\nanswer status=1054\n");
}

TEST(query_attributes_and_no_eof)
{
	begin_new();
	C(0, "\3\0\1SELECT 1");
	S(1, "\1");
	S(2, COLUMN);
	S(3, "\1"
	     "1");
	S(4, "\xfe\0\0\2\0\0\0");
	C(0, "\3\2\1\0\1\xfd\0\1a\x08\0\1b\3xyz\1\0\0\0\0\0\0\0SELECT 2");
	S(1, OKAY);
	C(0, "\3\1\1\0\1\x77\0\1aSELECT 3"); /* a type that nobody knows */
	S(1, OKAY);
	run(BEGUN "command text=SELECT 1\nanswer\ncommand text=SELECT 2\nanswer\ncommand\nanswer\n");
}

TEST(prepared)
{
	begin_plain();
	C(0, "\x16SELECT ?");
	S(1, "\0\7\0\0\0\1\0\1\0\0\0\0");
	S(2, COLUMN);
	S(3, "\xfe\0\0\2\0");
	S(4, COLUMN);
	S(5, "\xfe\0\0\2\0");
	C(0, "\x17\7\0\0\0\1\1\0\0\0");
	S(1, "\1");
	S(2, COLUMN);
	S(3, "\xfe\0\0\x42\0"); /* a cursor: rows only when they are fetched */
	C(0, "\x1c\7\0\0\0\1\0\0\0");
	S(1, "\0\0\1");
	S(2, "\xfe\0\0\x82\0");
	C(0, "\x18\7\0\0\0\0\0long");
	C(0, "\x19\7\0\0\0");
	C(0, "\x16SELECT FROM");
	S(1, "\xff\x28\4#42000You");
	run(BEGUN "prepare -1 text=SELECT ?\nprepared 8\ncommand* 8\nanswer\nforget 8\n"
	          "prepare -1 text=SELECT FROM\nrefused -1 status=1064\n");
}

TEST(the_database)
{
	begin_plain();
	C(0, "\2first");
	S(1, OKAY);
	C(0, "\2nope");
	S(1, "\xff\x19\4#42000Unknown database");
	C(0, "\3 use `second` ;");
	S(1, OKAY);
	C(0, "\3use third; SELECT 1");
	S(1, OKAY);
	run(BEGUN "session db=first\ncommand text= use `second` ;\nsession db=second\nanswer\n"
	          "command text=use third; SELECT 1\nanswer\n");
}

TEST(load_data_local)
{
	begin_plain();
	C(0, "\3LOAD DATA LOCAL INFILE 'f'");
	S(1, "\xfb"
	     "f");
	C(2, "1,2\n");
	C(3, "");
	S(4, OKAY);
	C(0, "\3SELECT 2");
	S(1, OKAY);
	run(BEGUN "command text=LOAD DATA LOCAL INFILE 'f'\nanswer\ncommand text=SELECT 2\nanswer\n");
}

TEST(refused)
{
	S(0, "\xff\x10\4Too many connections");
	run("refused status=1040\n");
	S(0, HELLO("\x89\x8a", "\x0f\x01"));
	C(1, ANSWER("\x89\x82\x08\x00"));
	S(2, "\xff\x15\4#28000Access denied");
	run(BEGUN "refused status=1045\n");
}

TEST(over)
{
	S(0, HELLO("\x89\x8a", "\x0f\x01"));
	C(1, "\x89\x8a\x08\x00\0\0\0\1\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"); /* TLS */
	run("session 2 version=8.0.34\nover\n");
	S(0, HELLO("\xa9\x8a", "\x0f\x01"));
	C(1, ANSWER("\xa9\x82\x08\x00")); /* compression */
	S(2, OKAY);
	run(BEGUN "over\n");
	begin_plain();
	C(0, "\x12\0\0\0\0"); /* COM_BINLOG_DUMP */
	run(BEGUN "over\n");
	begin_plain();
	S(1, OKAY); /* nobody asked */
	run(BEGUN "over\n");
}

TEST(who_begins)
{
	static const struct {
		const char *p;
		size_t n;
		bool yes;
	} rows[] = {
#define ROW(lit, yes) {lit, sizeof(lit) - 1, yes}
		ROW("\x5a\0\0\0\x0a"
	        "5.5.5-10.11.6-MariaDB\0\1\0",
	        true),
		ROW("\x4a\0\0\0\x0a"
	        "8.0",
	        true),
		ROW("\x17\0\0\0\xff\x10\4Too many connections", true),
		ROW("\x17\0\0\0\xff\x11\5Whatever it is", false),
		ROW("\x5a\0\0\1\x0a"
	        "5.5.5-10",
	        false),
		ROW("\x5a\0\0\0\x0a"
	        "x.5.5-10",
	        false),
		ROW("\x5a\0\0\0\x0a"
	        "5.5",
	        true),
		ROW("\x5a\0\0\0\x0a"
	        "5.",
	        false),
		ROW("220 mail.example ESMTP\r\n", false),
		ROW("SSH-2.0-OpenSSH_9.2\r\n", false),
		ROW("RFB 003.008\n", false),
		ROW("+OK\r\n+OK\r\n", false),
		ROW("\x16\3\3\0\x7a\2\0\0\x76", false),
		ROW("HTTP/1.1 200 OK\r\n", false),
		ROW("R\0\0\0\x08\0\0\0\0", false),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("row %zu", i);
		struct unit_guarded g = unit_at_end(rows[i].p, rows[i].n);
		EQ_INT(mysql_begins(g.p, rows[i].n), rows[i].yes);
		for (size_t n = 0; rows[i].yes && n <= rows[i].n; n++)
			OK(mysql_may_begin(g.p, n));
		unit_unguard(g);
	}
}

static void record(const char *name)
{
	char path[100];
	snprintf(path, sizeof path, "tests/fuzz/corpus/mysql/%s", name);
	FILE *f = fopen(path, "rb");
	OK(f);
	unsigned char h[3];
	while (fread(h, 1, 3, f) == 3) {
		size_t n = h[1] | (size_t)h[2] << 8;
		OK(n_pieces < PIECES && stored + n < sizeof store && fread(store + stored, 1, n, f) == n);
		pieces[n_pieces++] = (struct piece){h[0], store + stored, n};
		stored += n;
	}
	fclose(f);
}

#define MARIADB "session 3 version=10.11.19-MariaDB-0+deb12u1\nsession user=u db=shop\n"

TEST(aiomysql_with_mariadb)
{
	record("aiomysql");
	run(MARIADB "command text=SET AUTOCOMMIT = 0\nanswer\ncommand text=SELECT name FROM t WHERE id=1\nanswer\n"
	            "command text=SELECT * FROM nope\nanswer status=1146\n");
}

TEST(libmariadb_with_mariadb)
{
	record("libmariadb"); /* prepare and execute in one go, and a bulk */
	run(MARIADB "session db=shop\ncommand text=SET AUTOCOMMIT=0\nanswer\ncommand text=SELECT name FROM t WHERE id=1\nanswer\n"
	            "command text=SELECT name FROM t WHERE id=2\nanswer\nprepare -1 text=INSERT INTO t VALUES (?,?)\ncommand* -1\n"
	            "prepared 3\nanswer\ncommand text=ROLLBACK\nanswer\n");
}

TEST(mysql2_with_mariadb)
{
	record("mysql2");
	run(MARIADB "session db=shop\ncommand text=SELECT name FROM t WHERE id=1\nanswer\nprepare -1 text=SELECT name FROM t WHERE id=?\n"
	            "prepared 5\ncommand* 5\nanswer\ncommand* 5\nanswer\ncommand text=SELECT * FROM nope\nanswer status=1146\n"
	            "command text=SELECT 1; SELECT 2\nanswer\nsession user=u db=mysql\nsession db=mysql\nforget 5\n");
}
