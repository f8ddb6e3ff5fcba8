"""MySQL's protocol: real clients and a real MariaDB; one client span per command, without its values."""
import json

from harness import *
from mysql_server import PASSWORD, USER, mariadb

SECRET = "geheim"                   # in every value, and in the password


# A client is a function of place, database, statements and password; it gives the program and its input.

def python(library, *options):
    def argv(where, database, statements, password=PASSWORD):
        needs_module({"connector": "mysql.connector"}.get(library, library))
        return [PYTHON, os.path.join(APPS, "mysql_client.py"), library, where, USER, password, database,
                *map(as_text, statements), *options], None
    return argv


def cli(*options):
    def argv(where, database, statements, password=PASSWORD):
        place = ["--socket=" + where, "--protocol=socket"] if "/" in where else \
            ["--host=" + where.split(":")[0], "--port=" + where.split(":")[1], "--protocol=tcp"]
        script = "".join(s + ";\n" for s in statements)
        return [needs("mariadb"), "--no-defaults", *place, "--user=" + USER, "--password=" + password, "--force",
                "--unbuffered", *options, database], script.encode()
    return argv


def as_text(s):
    return s if isinstance(s, str) else json.dumps(s)


CLIENTS = {"pymysql": python("pymysql"), "connector": python("connector"), "aiomysql": python("aiomysql"),
           "cli": cli()}
PLACES = {"tcp": lambda db: db.tcp, "socket": lambda db: db.socket}
BOTH = {"%s_%s" % (c, p): (CLIENTS[c], PLACES[p]) for c in CLIENTS for p in PLACES}


def both(box, db, name, program, *setup, **env):
    """Runs it plain and traced: the same for the user and the server. Its result, and what the server was asked."""
    asked, runs = [], []
    argv, script = program
    for traced in (False, True):
        db.ask("DROP DATABASE " + name, "CREATE DATABASE " + name, "USE " + name, *setup)
        mark = db.mark()
        runs.append(box.run(argv, traced=traced, input=script, env=env))
        asked.append(db.asked(mark))
    plain, traced = runs
    equal((traced.rc, traced.out, traced.err), (plain.rc, plain.out, plain.err), "exit status and output")
    equal(asked[1], asked[0], "what the server was asked")
    return traced, asked[1]


def in_order(box, asked):
    """Spans, one for each command that the server counted, in order."""
    n = sum(kind in ("Query", "Execute") for kind, _ in asked)
    spans = sorted(box.recv.wait(n), key=lambda s: s.start)
    equal(len(spans), n, "spans: %r, for what the server was asked: %r" % ([s["db.query.text"] for s in spans], asked))
    for s in spans:
        harmless(s)
    return spans


def harmless(s):
    check(SECRET not in json.dumps([s.name, s.attrs, s.status_message, s.events]), "no values in %r" % s.attrs)
    equal((s.kind, s["db.system.name"]), (CLIENT, "mariadb"), "kind and system")
    check(s.end >= s.start, "an end after the start")


def own(spans):
    """Without what the libraries say of their own accord."""
    return [s for s in spans if not s.name.startswith("SET") and s["db.query.text"] not in ("COMMIT", "ROLLBACK")]


# Statement, what it does to what, its text, the server's error.
COMMANDS = [
    ("CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(40))", "CREATE TABLE users",
     "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(?))", None),
    ("INSERT INTO users VALUES (1, 'geheim-1'), (2, 'geheim-2')", "INSERT users",
     "INSERT INTO users VALUES (?, ?)", None),
    ("SELECT id, name FROM users WHERE name <> 'geheim-3' ORDER BY id", "SELECT users",
     "SELECT id, name FROM users WHERE name <> ? ORDER BY id", None),
    ("UPDATE users SET name = 'geheim-4' WHERE id = 1", "UPDATE users", "UPDATE users SET name = ? WHERE id = ?", None),
    ("SELECT * FROM missing WHERE name = 'geheim-5'", "SELECT missing", "SELECT * FROM missing WHERE name = ?", "1146"),
    ("INSERT INTO users VALUES (1, 'geheim-6')", "INSERT users", "INSERT INTO users VALUES (?, ?)", "1062"),
    ("SELECT SLEEP(0.2)", "SELECT", "SELECT SLEEP(?)", None),
    ("DELETE FROM users WHERE id = 2", "DELETE users", "DELETE FROM users WHERE id = ?", None),
    ("DROP TABLE users", "DROP TABLE users", None, None),
]


@cases(**BOTH)
def commands(case):
    client, place = case
    db = mariadb()
    name, where = db.database(), place(db)
    with Sandbox() as box:
        out, asked = both(box, db, name, client(where, name, [c[0] for c in COMMANDS]))
        check(b"1146" in out.out + out.err and b"1062" in out.out + out.err, "the client saw the errors: %r" % out)
        spans = own(in_order(box, asked))
        equal([(s["db.query.text"], s["db.response.status_code"]) for s in spans],
              [(text or sql, error) for sql, _, text, error in COMMANDS], "texts and errors")
        for s, (_, full, _, _) in zip(spans, COMMANDS):
            equal(s.name, full, "name of %r" % s["db.query.text"])
            error = s["db.response.status_code"]
            equal((s["error.type"], s.status), (error, 2 if error else 0), "error of " + s.name)
            equal((s["db.namespace"], s["db.query.summary"]), (name, s.name), "database and summary")
            equal((s["server.address"], s["server.port"]),
                  (where, None) if "/" in where else ("127.0.0.1", db.port), "server")
            ms = (s.end - s.start) / 1e6
            check(200 <= ms < 5000 if "SLEEP" in s["db.query.text"] else ms < 5000, "%s took %.1f ms" % (s.name, ms))


@cases(**BOTH)
def wrong_password(case):
    client, place = case
    db = mariadb()
    name, where = db.database(), place(db)
    with Sandbox() as box:
        out, asked = both(box, db, name, client(where, name, ["SELECT 1"], "geheim-but-wrong"))
        check(b"1045" in out.out + out.err, "the client saw it: %r" % out)
        s = box.recv.wait(1)[0]
        equal(len(box.recv.spans()), 1, "spans")
        harmless(s)
        equal((s.name, s.status, s["error.type"], s["db.response.status_code"], s["db.query.text"]),
              ("connect", 2, "1045", "1045", None), "a login that failed")


@cases(**PLACES)
def prepared(place):
    db = mariadb()
    name = db.database()
    select = "SELECT name, 'geheim-0' FROM users WHERE id = %s"
    statements = [["INSERT INTO users VALUES (%s, %s) ON DUPLICATE KEY UPDATE name = 'geheim-1'", [1, "geheim-2"]],
                  [select, [1]], [select, [2]], ["SELECT * FROM missing WHERE id = %s", [3]], [select, [4]]]
    with Sandbox() as box:
        out, asked = both(box, db, name, python("connector", "--prepared")(place(db), name, statements),
                          "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(40))")
        check(b"error 1146" in out.out, "the client saw the error: %r" % out)
        runs = sum(kind == "Execute" for kind, _ in asked)
        equal(runs, 4, "times that the server ran one: %r" % asked)
        box.recv.wait(5, lambda s: not s.name.startswith("SET"))
        spans = own(sorted(box.recv.spans(), key=lambda s: s.start))
        for s in spans:
            harmless(s)
        text = "SELECT name, ? FROM users WHERE id = ?"
        equal([(s["db.query.text"], s["error.type"]) for s in spans],
              [("INSERT INTO users VALUES (?, ?) ON DUPLICATE KEY UPDATE name = ?", None), (text, None), (text, None),
               ("SELECT * FROM missing WHERE id = ?", "1146"), (text, None)], "texts and errors")


@cases(**PLACES)
def flask_under_gunicorn(place):
    """Connections that threads share: each query is the child of the request that asked it."""
    n, db = 320, mariadb()
    name = db.database()
    db.ask("CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(40))",
           "CREATE TABLE visits (id INT PRIMARY KEY AUTO_INCREMENT, page VARCHAR(40))",
           "INSERT INTO users VALUES (1, 'geheim-1'), (2, 'geheim-2'), (3, 'geheim-3')", database=name)
    mark = db.mark()
    with Sandbox() as box:
        app = box.gunicorn("-k", "gthread", "--threads", "16", cwd=APPS, app="mysql_flask:app", workers=2,
                           env={"DB_WHERE": place(db), "DB_USER": USER, "DB_PASSWORD": PASSWORD, "DB_NAME": name})
        sent = load(app.port, n, 16, lambda i: ("GET", "/%s/%d" % ("user" if i % 8 else "missing", i), (), None))
        equal(sorted({r.status for r in sent}), [200, 404], "what the clients got")
        queries = 3 * (n - n // 8) + n // 8
        box.recv.wait(n + queries, lambda s: is_server(s) or not s.name.startswith("SET"))
        equal(app.stop(), 0, "exit status")
        spans = box.recv.spans()
        ids = by_id(spans)
        mine = own(filter(is_client, spans))
        equal((sum(map(is_server, spans)), len(mine)), (n, queries), "requests and queries")
        for s in mine:
            harmless(s)
            parent = ids.get(s.parent_id)
            check(parent is not None and is_server(parent), "%r has its request: %r" % (s, s.attrs))
            check_child(s, parent)
            number = parent["url.path"].split("/")[2]
            check(re.search(r"\b(visit|name|count|missing)%s\b" % number, s["db.query.text"]),
                  "%r is of %s" % (s["db.query.text"], parent["url.path"]))
            check(parent.start <= s.start and s.end <= parent.end, "a query lies within its request")
            equal(s["error.type"], "1146" if "missing" in s["db.query.text"] else None, "error of " + s.name)
        asked = db.asked(mark, gone=False)
        equal(len(spans) - n, sum(kind == "Query" for kind, _ in asked), "what the server was asked")


@test
def ten_thousand_queries():
    """From 16 threads: not one is lost, made up, or told twice."""
    db = mariadb()
    name = db.database()
    with Sandbox() as box:
        out = box.run([PYTHON, os.path.join(APPS, "mysql_threads.py"), db.socket, USER, PASSWORD, name, "16", "625"],
                      timeout=90)
        equal((out.rc, out.out, out.err), (0, b"%d\n" % (16 * sum(range(625))), b""), "the program's own sum")
        want = {"SELECT ? AS t%d_%d" % (t, i) for t in range(16) for i in range(625)}
        box.recv.wait(len(want), lambda s: not s.name.startswith("SET"))
        texts = [s["db.query.text"] for s in own(box.recv.spans())]
        equal((len(texts), set(texts) == want), (10000, True), "spans, and each of its query")


if __name__ == "__main__":
    main()
