"""MySQL's protocol where it is not question and answer: several results, files, large rows, ends, and what cannot be read."""
from harness import *
from mysql_server import MariaDB, PASSWORD, USER, mariadb
from test_mysql import CLIENTS, COMMANDS, both, cli, harmless, in_order, own, python

STATEMENTS = [c[0] for c in COMMANDS]


def texts(spans):
    return [(s["db.query.text"], s["error.type"]) for s in own(spans)]


@cases(pymysql=python("pymysql"), cli=cli("--delimiter=//"))
def several_statements_at_once(client):
    db = mariadb()
    name = db.database()
    good = "SELECT 'geheim-1' AS a; SELECT 2 AS b UNION SELECT 3; DO 4; SELECT 'geheim-5' AS c"
    bad = "SELECT 6 AS a; SELECT * FROM missing; SELECT 7"
    with Sandbox() as box:
        argv, script = client(db.tcp, name, [good, bad, "SELECT 8"])
        if script:
            script = "".join(s + "//\n" for s in (good, bad, "SELECT 8")).encode()
        out, asked = both(box, db, name, (argv, script))
        for word in (b"geheim-1", b"geheim-5", b"1146"):
            check(word in out.out + out.err, "%r is among the results: %r" % (word, out))
        # The server's log counts each statement; a command is what was sent at once.
        box.recv.wait(3, lambda s: not s.name.startswith("SET"))
        spans = sorted(box.recv.spans(), key=lambda s: s.start)
        for s in spans:
            harmless(s)
        equal(texts(spans), [("SELECT ? AS a; SELECT ? AS b UNION SELECT ?; DO ?; SELECT ? AS c", None),
                             ("SELECT ? AS a; SELECT * FROM missing; SELECT ?", "1146"), ("SELECT ?", None)],
              "texts and errors")


@cases(pymysql=python("pymysql"), connector=python("connector"))
def procedure_with_several_results(client):
    db = mariadb()
    name = db.database()
    make = ["CREATE PROCEDURE report(IN n INT) BEGIN SELECT n; SELECT 'geheim-1', n + 1; DO SLEEP(0.1); SELECT n + 2; END",
            "CREATE PROCEDURE broken() BEGIN SELECT 'geheim-2'; SELECT * FROM missing; END"]
    with Sandbox() as box:
        out, asked = both(box, db, name, client(db.tcp, name, ["CALL report(41)", "CALL broken()", "SELECT 1"]), *make)
        check(b"(43,)" in out.out and b"1146" in out.out, "all results came: %r" % out)
        box.recv.wait(3, lambda s: not s.name.startswith("SET"))
        spans = sorted(box.recv.spans(), key=lambda s: s.start)
        for s in spans:
            harmless(s)
        equal(texts(spans), [("CALL report(?)", None), ("CALL broken()", "1146"), ("SELECT ?", None)], "texts and errors")
        check(own(spans)[0].end - own(spans)[0].start >= 100e6, "the span ends with the last result")


@cases(pymysql=python("pymysql"), connector=python("connector"), cli=cli("--local-infile=1"))
def load_data_local(client):
    db = mariadb()
    name = db.database()
    with Sandbox() as box:
        path = box.write("geheim.csv", "".join("%d,geheim-%d\n" % (i, i * i) for i in range(100000)))
        statements = ["LOAD DATA LOCAL INFILE '%s' INTO TABLE t FIELDS TERMINATED BY ','" % path,
                      "SELECT COUNT(*), SUM(CRC32(CONCAT(id, name))) FROM t",
                      "LOAD DATA LOCAL INFILE '%s' INTO TABLE missing" % path, "SELECT 1"]
        out, asked = both(box, db, name, client(db.tcp, name, statements),
                          "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(40))")
        check(b"100000" in out.out, "the file went to the server: %r" % out)
        equal(texts(in_order(box, asked)),
              [("LOAD DATA LOCAL INFILE ? INTO TABLE t FIELDS TERMINATED BY ?", None),
               ("SELECT COUNT(*), SUM(CRC32(CONCAT(id, name))) FROM t", None),
               ("LOAD DATA LOCAL INFILE ? INTO TABLE missing", "1146"), ("SELECT ?", None)], "texts and errors")


@cases(pymysql=python("pymysql"), connector=python("connector"), cli=cli("--max-allowed-packet=64M"))
def large_rows(client):
    """More than a packet takes, in both directions."""
    db = mariadb()
    name = db.database()
    statements = ["INSERT INTO t VALUES (1, 'BIG')", "SELECT LENGTH(big), MD5(big) FROM t", "SELECT id, big FROM t",
                  "SELECT 1"]
    with Sandbox() as box:
        argv, script = client(db.tcp, name, statements)
        script = script and script.replace(b"BIG", b"geheim-" * 2500000)
        out, asked = both(box, db, name, (argv, script), "CREATE TABLE t (id INT PRIMARY KEY, big LONGTEXT)")
        check(b"17500000" in out.out and len(out.out) > 17500000, "the row came: %d bytes" % len(out.out))
        box.recv.wait(4, lambda s: not s.name.startswith("SET"))
        spans = sorted(box.recv.spans(), key=lambda s: s.start)
        for s in spans:
            harmless(s)
        insert, *rest = texts(spans)
        check(insert[0].startswith("INSERT INTO t VALUES (?, ") and insert[1] is None, "the INSERT: %r" % (insert,))
        equal(rest, [("SELECT LENGTH(big), MD5(big) FROM t", None), ("SELECT id, big FROM t", None),
                     ("SELECT ?", None)], "texts and errors")


@cases(pymysql=python("pymysql"), cli=cli())
def database_changes(client):
    """By a statement, and by a command of the protocol (the command line client's USE)."""
    db = mariadb()
    one, two = db.database(), db.database()
    with Sandbox() as box:
        out, asked = both(box, db, one, client(db.tcp, one, ["SELECT 1", "USE " + two, "SELECT 2", "USE missing", "SELECT 3"]))
        box.recv.wait(3, lambda s: s.name.startswith("SELECT"))
        spans = [s for s in sorted(box.recv.spans(), key=lambda s: s.start) if s["db.query.text"] == "SELECT ?"]
        equal([s["db.namespace"] for s in spans], [one, two, two], "databases")


@cases(pymysql="pymysql", connector="connector")
def whole_sessions(library):
    """Pings, rows left unread, many rows at once, transactions, a reset, another user: a span for what is a statement."""
    needs_module({"connector": "mysql.connector"}.get(library, library))
    db = mariadb()
    one, two = db.database(), db.database()
    with Sandbox() as box:
        program = [PYTHON, os.path.join(APPS, "mysql_session.py"), library, db.socket, USER, PASSWORD, one, two], None
        out, asked = both(box, db, one, program, "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(40))")
        equal((out.rc, out.err), (0, b""), "exit status and errors")
        spans = in_order(box, asked)
        insert = "INSERT INTO t (id, name) VALUES (?, ?)"
        want = {"pymysql": [(insert, one), ("ROLLBACK", one), ("SELECT seq, ? FROM seq_1_to_5000", one),
                            ("SELECT DATABASE(), ?", two)],
                "connector": [(insert, one)] * 20 + [("SELECT name FROM t WHERE id < ?", one), ("COMMIT", one),
                                                     ("SELECT DATABASE(), ?", one), ("SELECT DATABASE(), ?", two)]}
        equal([(s["db.query.text"], s["db.namespace"]) for s in spans if not s.name.startswith("SET")],
              want[library], "texts and databases")


@test
def server_dies():
    """In the middle of a query, by SIGKILL."""
    with MariaDB() as db, Sandbox() as box:
        name = db.database()
        running = []
        for client in CLIENTS.values():
            argv, script = client(db.tcp, name, ["SELECT 'geheim-1', SLEEP(60)"])
            with open(box.write("in", script or b"")) as f:
                running.append(box.start(argv, stdin=f))
        eventually(lambda: len(db.ask("SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SELECT%SLEEP(60)'")) ==
                   len(running), "the queries run")
        db.host.kill_group()
        for h in running:
            h.wait()
        mine = lambda s: "SLEEP" in (s["db.query.text"] or "")      # noqa: E731
        box.recv.wait(len(running), mine)
        spans = box.recv.spans(mine)
        equal(len(spans), len(running), "spans of the query, one of each client")
        for s in spans:
            harmless(s)
            equal((s.status, s["db.query.text"], s["db.response.status_code"]), (2, "SELECT ?, SLEEP(?)", None), "the span")
            check(s["error.type"], "error.type says why: %r" % s.attrs)


@test
def query_is_killed():
    db = mariadb()
    name = db.database()
    with Sandbox() as box:
        argv, _ = python("pymysql")(db.tcp, name, ["SELECT SLEEP(61) FROM (SELECT 1 UNION SELECT 2) t", "SELECT 1"])
        h = box.start(argv)
        found = eventually(lambda: db.ask("SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(61)%'"),
                           "the query runs")
        db.ask("KILL QUERY %d" % found[0][0])
        equal(h.wait(), 0, "exit status")
        box.recv.wait(2, lambda s: not s.name.startswith("SET"))
        first, second = own(sorted(box.recv.spans(), key=lambda s: s.start))
        equal((first["error.type"], second["error.type"], second["db.query.text"]),
              (None if h.out[0].startswith("[") else "1317", None, "SELECT ?"), "errors, as the client saw: %r" % h.out)


def nothing_seen(box, db, name, program, sign, **env):
    """The same for all, and no span but those of a program that ran afterwards. sign: in the output, or it proves nothing."""
    out, _ = both(box, db, name, program, **env)
    check(sign in out.out, "%r in the output: %r" % (sign, out))
    box.run(python("aiomysql")(db.tcp, name, ["SELECT 1 AS sentinel"])[0])
    box.recv.wait(1)
    equal([s["db.query.text"] for s in box.recv.spans()], ["SELECT ? AS sentinel"], "spans")


@test
def tls():
    needs("openssl")

    def with_key(directory):
        ca = TestCA(os.path.join(directory, "ca"))
        os.chmod(ca.server_key, 0o644)
        return ["--ssl-cert=" + ca.server_cert, "--ssl-key=" + ca.server_key, "--ssl-ca=" + ca.ca]
    with MariaDB(make_args=with_key) as db:
        name = db.database()
        for client in (python("pymysql", "--tls"), python("connector", "--tls"), cli("--ssl")):
            with Sandbox() as box:
                nothing_seen(box, db, name, client(db.tcp, name, ["SHOW STATUS LIKE 'Ssl_cipher'", *STATEMENTS]), b"TLS_")


@cases(connector=python("connector", "--compress"), cli=cli("--compress"))
def compression(client):
    db = mariadb()
    name = db.database()
    with Sandbox() as box:
        statements = ["SHOW STATUS LIKE 'Compression'", *STATEMENTS, "SELECT REPEAT('geheim-', 100000)"]
        nothing_seen(box, db, name, client(db.tcp, name, statements), b"ON")


@cases(**CLIENTS)
def switched_off(client):
    db = mariadb()
    name = db.database()
    with Sandbox() as box:
        nothing_seen(box, db, name, client(db.tcp, name, STATEMENTS), b"geheim-1", REMORA_DATABASES=0)


@test
def the_server_itself():
    """Under us it is what it was: its clients' results, its end; and nothing is said of it."""
    plain = mariadb()
    with Sandbox(user="nobody" if os.geteuid() == 0 else None) as box, MariaDB(env=box.env()) as db:
        with open("/proc/%d/maps" % db.host.pid) as f:
            check("libremora.so" in f.read(), "the server runs under us")
        for client in CLIENTS.values():
            out = []
            for d in (plain, db):
                d.ask("CREATE OR REPLACE DATABASE same")
                argv, script = client(d.tcp, "same", STATEMENTS + ["SELECT REPEAT('x', 3000000) AS large"])
                r = box.run(argv, traced=False, input=script)
                out.append((r.rc, r.out, r.err))
            equal(out[1], out[0], "what clients see")
        equal(db.host.stop(), 0, "exit status")
        equal(box.recv.spans(), [], "spans")


if __name__ == "__main__":
    main()
