/* Summaries of statements as the OpenTelemetry database conventions describe them. */
#include "exporters/sql_summary.h"
#include "proto/sql.h"
#include "unit.h"

static const char *with(const char *text, size_t n, size_t cap)
{
	static char copy[SQL_SUMMARY_MAX + 1];
	for (int at_end = 0; at_end < 2; at_end++) {
		struct unit_guarded in = unit_guard(text, n, at_end), out = unit_guard(NULL, cap, at_end);
		size_t got = sql_summary((struct slice){in.p, (uint32_t)n}, out.p, cap);
		OK(got <= cap && got <= SQL_SUMMARY_MAX);
		memcpy(copy, out.p, got);
		copy[got] = 0;
		unit_unguard(in);
		unit_unguard(out);
	}
	return copy;
}

/* Of the text as it is sent. */
static const char *summary(const char *text, enum db_system system)
{
	static char clean[8192];
	bool cut = false;
	size_t n = sql_sanitize(slice_of(text), system, clean, sizeof clean, &cut);
	return with(clean, n, SQL_SUMMARY_MAX);
}

#define P DB_POSTGRESQL
#define M DB_MYSQL
#define ANY DB_NONE

static const struct row {
	enum db_system system;
	const char *text, *out;
} rows[] = {
	/* the conventions' examples; there, 'artists' was a name */
	{ANY, "SELECT *\nFROM   wuser_table\nWHERE  username = ?", "SELECT wuser_table"},
	{ANY, "INSERT INTO shipping_details\n(order_id,\naddress)\nSELECT order_id,\naddress\nFROM   orders\nWHERE  order_id = ?",
     "INSERT shipping_details SELECT orders"},
	{ANY, "SELECT *\nFROM   songs,\n       artists\nWHERE  songs.artist_id == artists.id", "SELECT songs artists"},
	{ANY, "SELECT order_date\nFROM (SELECT *\nFROM orders o\nJOIN customers c\nON o.customer_id = c.customer_id)",
     "SELECT SELECT orders customers"},
	{P, "SELECT *\nFROM   \"song list\",\n       'artists'", "SELECT \"song list\""},
	{ANY, "call some_stored_procedure", "call some_stored_procedure"},
	/* queries */
	{ANY, "", ""},
	{ANY, "?", ""},
	{ANY, "SELECT 1", "SELECT"},
	{ANY, "select A from B", "select B"},
	{ANY, "SELECT a FROM s.t", "SELECT s.t"},
	{ANY, "SELECT a FROM s . t x, u", "SELECT s.t u"},
	{P, "SELECT a FROM \"S x\" . \"T\"\"y\", U&\"z\"", "SELECT \"S x\".\"T\"\"y\" U&\"z\""},
	{M, "SELECT a FROM `s x`.`t`", "SELECT `s x`.`t`"},
	{ANY, "SELECT a FROM \xc3\xa4", "SELECT \xc3\xa4"},
	{ANY, "SELECT f(a, b), c FROM t, u AS x, v y WHERE a = b, c GROUP BY d, e ORDER BY f, g LIMIT 1, 2", "SELECT t u v"},
	{ANY, "SELECT a FROM t LEFT OUTER JOIN u ON t.a = u.a AND f(t.b, u.b), v CROSS JOIN w NATURAL JOIN x", "SELECT t u v w x"},
	{ANY, "SELECT a FROM t JOIN u USING (a, b), v", "SELECT t u v"},
	{ANY, "SELECT a FROM t JOIN (u CROSS JOIN (v, w)) ON a = b", "SELECT t u v w"},
	{ANY, "SELECT a FROM (SELECT b FROM t) x, (SELECT c FROM u WHERE d IN (SELECT e FROM v)) y, w", "SELECT SELECT t SELECT u SELECT v w"},
	{ANY, "SELECT a, (SELECT max(b) FROM t) FROM u WHERE EXISTS (SELECT 1 FROM v)", "SELECT SELECT t u SELECT v"},
	{ANY, "SELECT a FROM t UNION ALL SELECT b FROM u", "SELECT t SELECT u"},
	{ANY, "(SELECT a FROM t) UNION (SELECT b FROM u) ORDER BY c, d", "SELECT t SELECT u"},
	{ANY, "SELECT EXTRACT(YEAR FROM a), SUBSTRING(b FROM 1 FOR 2), TRIM(FROM c), TRIM(BOTH ' ' FROM d) FROM t", "SELECT t"},
	{ANY, "SELECT EXTRACT(DAY FROM (SELECT a FROM u)) FROM t", "SELECT SELECT u t"},
	{P, "SELECT a IS DISTINCT FROM b FROM t WHERE c IS NOT DISTINCT FROM d", "SELECT t"},
	{P, "SELECT DISTINCT ON (a, b) a AS from, b AS select FROM t", "SELECT t"},
	{ANY, "SELECT t.from, t.select, (t).join FROM t", "SELECT t"},
	{ANY, "SELECT t.*, u . * FROM t, u", "SELECT t u"},
	{ANY, "SELECT a FROM t FOR UPDATE OF t, u", "SELECT t"},
	{P, "SELECT a FROM ONLY t, ONLY (u), LATERAL (SELECT b FROM v) x, LATERAL f(c, d) AS y(e, g), w",
     "SELECT t u SELECT v f w"},
	{P, "SELECT a FROM generate_series(1, 2) WITH ORDINALITY AS x(b, c), unnest($1) y", "SELECT generate_series unnest"},
	{P, "SELECT a FROM (VALUES (1, 2), (3, a)) x(b, c), t", "SELECT t"},
	{P, "SELECT a INTO TEMP t FROM u", "SELECT t u"},
	{P, "SELECT a FROM t ORDER BY b USING <, c", "SELECT t"},
	{P, "SELECT a[1], ARRAY[b, c] FROM t WHERE d @> e AND f @@ g AND $1 = ANY(h)", "SELECT t"},
	{P, "SELECT a FROM temp, quick d, old", "SELECT temp quick old"},
	{M, "SELECT STRAIGHT_JOIN a FROM t STRAIGHT_JOIN u USE INDEX (x, y) WHERE b", "SELECT t u"},
	{M, "SELECT a FROM t USE INDEX FOR JOIN (x) WHERE b", "SELECT t"},
	{M, "SELECT a FROM t PARTITION (p0, p1), u INTO @x, @y", "SELECT t u"},
	{M, "SELECT a INTO OUTFILE 'x' FROM t", "SELECT t"},
	{M, "SELECT a FROM { OJ t LEFT OUTER JOIN u ON a = b }", "SELECT t u"},
	{M, "SELECT 'x' FROM dual", "SELECT dual"},
	{ANY, "TABLE t", "TABLE t"},
	{ANY, "VALUES (1), (2)", "VALUES"},
	/* changes */
	{ANY, "INSERT INTO t VALUES (1, 2), (3, 4)", "INSERT t"},
	{ANY, "INSERT INTO t (a, b) VALUES (1, (SELECT c FROM u))", "INSERT t SELECT u"},
	{ANY, "INSERT INTO t (a, b) (SELECT * FROM u)", "INSERT t SELECT u"},
	{P, "INSERT INTO t AS x (a) VALUES ($1) ON CONFLICT (a, b) DO UPDATE SET a = excluded.a, c = d RETURNING e, f", "INSERT t"},
	{M, "INSERT IGNORE t SET a = 1, b = 2", "INSERT t"},
	{M, "INSERT LOW_PRIORITY INTO t () VALUES ()", "INSERT t"},
	{M, "INSERT INTO t SELECT * FROM u ON DUPLICATE KEY UPDATE a = 1, b = c", "INSERT t SELECT u"},
	{M, "REPLACE INTO t VALUES (1)", "REPLACE t"},
	{M, "REPLACE DELAYED t VALUES (1)", "REPLACE t"},
	{ANY, "UPDATE t SET a = 1, b = c WHERE d = 2", "UPDATE t"},
	{P, "UPDATE ONLY t AS x SET a = b, c = d FROM u, v WHERE e = f", "UPDATE t u v"},
	{M, "UPDATE LOW_PRIORITY IGNORE t, u JOIN v ON a = b SET c = d, e = f", "UPDATE t u v"},
	{ANY, "DELETE FROM t WHERE a = 1", "DELETE t"},
	{P, "DELETE FROM t USING u, (SELECT a FROM v) x WHERE b = c", "DELETE t u SELECT v"},
	{M, "DELETE QUICK x, y FROM t x JOIN u y ON a = b", "DELETE t u"},
	{P, "MERGE INTO t USING u ON a = b WHEN MATCHED THEN UPDATE SET c = d, e = f WHEN NOT MATCHED THEN INSERT (a) VALUES (b)",
     "MERGE t u"},
	/* WITH */
	{ANY, "WITH x AS (SELECT a FROM t) SELECT b FROM x, u", "SELECT t SELECT u"},
	{ANY, "WITH x (a, b) AS (SELECT a FROM t), y AS (SELECT b FROM X) SELECT c FROM y JOIN u", "SELECT t SELECT SELECT u"},
	{ANY, "WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT a FROM x JOIN t) SELECT b FROM x", "SELECT SELECT t SELECT"},
	{ANY, "WITH t AS (SELECT a FROM t) SELECT b FROM t", "SELECT t SELECT"},
	{ANY, "WITH t AS (SELECT 1) SELECT a FROM s.t; SELECT a FROM t", "SELECT SELECT s.t SELECT t"},
	{P, "WITH x AS MATERIALIZED (DELETE FROM t RETURNING *) INSERT INTO u SELECT a FROM x", "DELETE t INSERT u SELECT"},
	{P, "WITH x AS (SELECT 1) UPDATE t SET a = b FROM x", "SELECT UPDATE t"},
	{P, "INSERT INTO t WITH x AS (SELECT a FROM u) SELECT b FROM x", "INSERT t SELECT u SELECT"},
	{ANY, "SELECT a FROM (WITH x AS (SELECT 1 FROM t) SELECT b FROM x) y", "SELECT SELECT t SELECT"},
	{ANY, "SELECT CAST(a AS TIMESTAMP WITH TIME ZONE), b FROM t", "SELECT t"},
	{M, "SELECT a FROM t GROUP BY b WITH ROLLUP", "SELECT t"},
	/* definitions */
	{ANY, "CREATE TABLE t (a int, b text DEFAULT 'x')", "CREATE TABLE t"},
	{ANY, "create temporary table if not exists s.t as select a from u", "create table s.t select u"},
	{ANY, "CREATE UNIQUE INDEX i ON t (a, b)", "CREATE INDEX i t"},
	{P, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY t USING btree (a)", "CREATE INDEX i t"},
	{P, "CREATE INDEX ON t (a)", "CREATE INDEX t"},
	{ANY, "CREATE OR REPLACE VIEW v AS SELECT a FROM t", "CREATE VIEW v SELECT t"},
	{ANY, "CREATE VIEW v AS WITH x AS (SELECT a FROM t) SELECT b FROM x", "CREATE VIEW v SELECT t SELECT"},
	{P, "CREATE MATERIALIZED VIEW v AS SELECT a FROM t WITH NO DATA", "CREATE MATERIALIZED VIEW v SELECT t"},
	{P, "CREATE TABLE t PARTITION OF u FOR VALUES FROM (1) TO (2)", "CREATE TABLE t"},
	{M, "CREATE DEFINER = `a`@`b` SQL SECURITY INVOKER VIEW v AS SELECT 1", "CREATE VIEW v SELECT"},
	{M, "CREATE DEFINER=CURRENT_USER() PROCEDURE p() BEGIN UPDATE t SET a = 1; DELETE FROM u; END", "CREATE PROCEDURE p"},
	{P, "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS $$SELECT a FROM t$$", "CREATE FUNCTION f"},
	{ANY, "DROP TABLE IF EXISTS t, u CASCADE", "DROP TABLE t u"},
	{ANY, "DROP INDEX i ON t", "DROP INDEX i t"},
	{ANY, "ALTER TABLE t ADD COLUMN a int, ADD b int", "ALTER TABLE t"},
	{P, "ALTER TABLE IF EXISTS ONLY t RENAME TO u", "ALTER TABLE t"},
	{ANY, "TRUNCATE TABLE t", "TRUNCATE TABLE t"},
	{P, "TRUNCATE ONLY t, u RESTART IDENTITY", "TRUNCATE t u"},
	{P, "COMMENT ON TABLE t IS 'x'", "COMMENT TABLE t"},
	{P, "REFRESH MATERIALIZED VIEW CONCURRENTLY v", "REFRESH MATERIALIZED VIEW v"},
	{P, "VACUUM (ANALYZE, VERBOSE) t (a, b), u", "VACUUM t u"},
	{ANY, "GRANT SELECT, INSERT ON t TO u", "GRANT"},
	{M, "LOCK TABLES t READ, u AS x WRITE", "LOCK TABLES t u"},
	/* others */
	{ANY, "CALL s.p(1, (SELECT a FROM t))", "CALL s.p SELECT t"},
	{ANY, "BEGIN", "BEGIN"},
	{P, "BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN"},
	{ANY, "START TRANSACTION READ ONLY", "START TRANSACTION"},
	{ANY, "Commit", "Commit"},
	{ANY, "ROLLBACK", "ROLLBACK"},
	{ANY, "SAVEPOINT sp_42", "SAVEPOINT"},
	{ANY, "ROLLBACK TO SAVEPOINT sp_42", "ROLLBACK TO SAVEPOINT"},
	{ANY, "RELEASE SAVEPOINT sp_42", "RELEASE SAVEPOINT"},
	{P, "SET search_path TO a, b", "SET search_path"},
	{P, "SET LOCAL statement_timeout = 100", "SET statement_timeout"},
	{M, "SET NAMES utf8mb4", "SET NAMES"},
	{M, "SET @@session.sql_mode = 'x', @a = 1", "SET @@session.sql_mode"},
	{P, "DISCARD ALL", "DISCARD ALL"},
	{P, "SHOW server_version", "SHOW server_version"},
	{M, "SHOW FULL COLUMNS FROM t FROM d LIKE 'x'", "SHOW COLUMNS t d"},
	{M, "SHOW CREATE TABLE t", "SHOW CREATE TABLE t"},
	{M, "USE d", "USE d"},
	{M, "LOAD DATA LOCAL INFILE 'x' INTO TABLE t FIELDS TERMINATED BY ','", "LOAD DATA t"},
	{P, "COPY t (a, b) FROM STDIN WITH (FORMAT csv)", "COPY t"},
	{P, "COPY (SELECT a, b FROM t, u) TO STDOUT", "COPY SELECT t u"},
	{P, "EXECUTE stmt_42(1)", "EXECUTE"},
	{P, "PREPARE stmt_42 (int) AS UPDATE t SET a = $1", "PREPARE UPDATE t"},
	{P, "DEALLOCATE stmt_42", "DEALLOCATE"},
	{P, "DECLARE c42 CURSOR FOR SELECT a FROM t", "DECLARE SELECT t"},
	{P, "FETCH FORWARD 100 FROM c42", "FETCH"},
	{P, "LISTEN channel_42", "LISTEN"},
	{P, "EXPLAIN (ANALYZE, BUFFERS) SELECT a FROM t", "EXPLAIN SELECT t"},
	{ANY, "EXPLAIN DELETE FROM t", "EXPLAIN DELETE t"},
	{M, "EXPLAIN FORMAT=JSON WITH x AS (SELECT 1) SELECT a FROM x, t", "EXPLAIN SELECT SELECT t"},
	{ANY, "BEGIN; UPDATE t SET a = 1; COMMIT", "BEGIN UPDATE t COMMIT"},
	{ANY, "SELECT f(a; SELECT b FROM t", "SELECT SELECT t"},
	/* only a beginning, or no SQL */
	{ANY, "SELECT a FROM", "SELECT"},
	{ANY, "SELECT a)) FROM t, (", "SELECT t"},
	{P, "SELECT a FROM \"abc", "SELECT"},
	{ANY, "anything else FROM t", "anything"},
	{ANY, "x9f3 a", ""},
};

TEST(statements)
{
	for (enum db_system system = P; system <= M; system++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			if (rows[i].system != ANY && rows[i].system != system)
				continue;
			unit_case("system %d: %s", system, rows[i].text);
			EQ_STR(summary(rows[i].text, system), rows[i].out);
		}
}

/* Whole words, and none behind the first that has no room. */
TEST(little_room)
{
	static const char text[] = "SELECT a FROM users, \"my orders\", o WHERE b IN (SELECT c FROM s . customers)";
	static const char all[] = "SELECT users \"my orders\" o SELECT s.customers";
	EQ_STR(with(text, sizeof text - 1, SQL_SUMMARY_MAX), all);
	for (size_t cap = 0; cap <= sizeof all; cap++) {
		const char *got = with(text, sizeof text - 1, cap);
		size_t n = strlen(got);
		unit_case("%zu bytes", cap);
		OK(strncmp(got, all, n) == 0);
		OK(n == 0 || all[n] == 0 || all[n] == ' ');
		OK(n < 13 || n == 12 || n >= 24); /* not "SELECT users "my" */
		OK(cap < sizeof all - 1 || n == sizeof all - 1);
	}
}

TEST(at_most_255_bytes)
{
	static char text[8192], out[1024];
	size_t n = (size_t)sprintf(text, "SELECT a FROM t00");
	for (int i = 1; i < 100; i++)
		n += (size_t)sprintf(text + n, ", t%02d", i);
	size_t got = sql_summary((struct slice){text, (uint32_t)n}, out, sizeof out);
	EQ_INT(got, 6 + 62 * 4); /* 254; another would be 258 */
	OK(memcmp(out + got - 4, " t61", 4) == 0);
}

TEST(deep_texts)
{
	static char text[1 << 16];
	static const char *const pieces[] = {"(", "SELECT a FROM (", "WITH x AS (", "a.", "@", "f[", "\"\"", "x,", "FROM a JOIN ", ")"};
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		size_t k = strlen(pieces[i]), n = 0;
		for (; n + k <= sizeof text; n += k)
			memcpy(text + n, pieces[i], k);
		unit_case("%s", pieces[i]);
		with(text, n, SQL_SUMMARY_MAX);
	}
	/* and back again */
	size_t n = (size_t)sprintf(text, "SELECT ");
	for (int i = 0; i < 100; i++)
		text[n++] = '(';
	n += (size_t)sprintf(text + n, "SELECT a FROM t");
	for (int i = 0; i < 100; i++)
		text[n++] = ')';
	n += (size_t)sprintf(text + n, " FROM u");
	unit_case("100 deep");
	EQ_STR(with(text, n, SQL_SUMMARY_MAX), "SELECT u");
}
