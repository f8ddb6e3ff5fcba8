"""PostgreSQL clients: a span for each command, with its text but nothing of its values; programs see no difference."""
from harness import *
from postgres_server import Postgres

SECRET = "sesame"       # a part of every value that the programs send


def client(lib, server, host="127.0.0.1", app="postgres_client.py"):
    needs_module({"psycopg3": "psycopg", "asyncpg": "asyncpg", "pg8000": "pg8000"}.get(lib, "psycopg2"))
    return [PYTHON, os.path.join(APPS, app), lib, host, str(server.port)]


def same(box, argv, between=None, **kw):
    """Runs it plain and traced: nobody sees a difference."""
    plain = box.run(argv, traced=False, **kw)
    if between:
        between()
    traced = box.run(argv, **kw)
    equal((traced.rc, traced.out, traced.err), (plain.rc, plain.out, plain.err),
          "exit status and output with and without")
    return traced


def in_order(spans):
    return sorted(spans, key=lambda s: s.start)


def told(spans):
    """What each says: its text, "x N" for a batch, the error."""
    return ["%s%s%s" % (s["db.query.text"] or s.name,
                        " x %d" % s["db.operation.batch.size"] if s["db.operation.batch.size"] else "",
                        " ! " + s["error.type"] if s["error.type"] else "") for s in in_order(spans)]


def check_query(s, server, host="127.0.0.1"):
    """What every span of a command has, and what none may have."""
    equal((s.kind, s["db.system.name"], s["db.namespace"]), (CLIENT, "postgresql", "postgres"), "%r" % s.attrs)
    if host.startswith("/"):
        equal(s["server.address"], "%s/.s.PGSQL.%d" % (host, server.port), "server.address")
    else:
        equal((s["server.address"], s["server.port"]), (host, server.port), "server.address and port")
        equal((s["network.peer.address"], s["network.peer.port"]), (host, server.port), "network.peer")
    equal((s.status == 2), s["error.type"] is not None, "status of %r" % s.attrs)
    equal(s["error.type"], s["db.response.status_code"], "error.type")
    for key in s.attrs:
        check(not key.startswith(("http.", "url.")), "%s in %r" % (key, s))
    check(SECRET not in repr((s.name, s.attrs, s.events, s.status_message, s.trace_state)), "a value in %r" % s.attrs)
    if s["db.query.text"]:
        equal(s.name, s["db.query.summary"], "name")
        first = s["db.query.text"].split()[0]
        check(s.name.replace("BATCH ", "").lower().startswith(first.lower()), "name %r of %r" % (s.name, s["db.query.text"]))


# ---------------------------------------------------------------- clients

def script(begin, commit, rollback, args, batch, after_error=()):
    """The commands of postgres_client.py, as told."""
    insert = "insert into t values (%s)" % ", ".join(args)
    return (begin + ["create table t(i int primary key, s text)"] + batch(insert) + commit + begin +
            ["select s from t where s = ?", "select s from t where i = %s and s <> %s" % args, "select pg_sleep(?)"] +
            commit + begin + ["select * from missing where s = ? ! 42P01"] + rollback + list(after_error) +
            begin + [insert + " ! 23505"] + rollback)


LITERAL, NUMBERED = ("?", "?"), ("$1", "$2")
CLIENTS = {
    "psycopg2": script(["BEGIN"], ["COMMIT"], ["ROLLBACK"], LITERAL, lambda i: 3 * [i]),
    "psycopg3": script(["BEGIN"], ["COMMIT"], ["ROLLBACK"], NUMBERED, lambda i: [i + " x 3"], ["DEALLOCATE ALL"]),
    "pg8000": script(["begin transaction"], ["commit"], ["rollback"], NUMBERED, lambda i: 3 * [i]),
    "asyncpg": script([], [], [], NUMBERED, lambda i: [i + " x 3"]),
}


@cases(**{"%s_%s" % (lib, way): (lib, way) for lib in CLIENTS for way in ("tcp", "unix")})
def commands_of(how):
    lib, way = how
    with Sandbox() as box:
        server = Postgres(box)
        host = "127.0.0.1" if way == "tcp" else server.sockets
        same(box, client(lib, server, host), between=lambda: server.sql("drop table t"))
        want = CLIENTS[lib]
        spans = box.recv.wait(len(want))
        for s in spans:
            check_query(s, server, host)
            ms = (s.end - s.start) / 1e6
            check(200 <= ms < 5000 if "pg_sleep" in s["db.query.text"] else ms < 5000,
                  "%r took %.1f ms" % (s["db.query.text"], ms))
        equal(told(spans), want, "commands")
        equal({s.name for s in spans if " t" in s.name}, {"create table t", "select t", "insert t"} |
              ({"BATCH insert t"} if any(" x " in w for w in want) else set()), "names")


@test
def psql():
    with Sandbox() as box:
        server = Postgres(box)
        same(box, server.psql(), input=b"select 'sesame' as a, 17 b;\nselect 1; select 'sesame' from nope;\n\\d\n")
        spans = in_order(box.recv.wait(4))
        for s in spans:
            check_query(s, server)
        equal(told(spans[:3]), ["select ? as a, ? b", "select ?", "select ? from nope ! 42P01"], "commands")
        same(box, server.psql("-c", "select 'sesame'; select 2"))
        box.recv.wait(1, lambda s: s["db.query.text"] == "select ?; select ?")


@cases(**{lib: lib for lib in CLIENTS})
def named_host_of(lib):
    with Sandbox() as box:
        server = Postgres(box)
        box.run(client(lib, server, "localhost"))
        for s in box.recv.wait(len(CLIENTS[lib])):
            equal((s["server.address"], s["server.port"], s["network.peer.address"]),
                  ("localhost", server.port, "127.0.0.1"), "the name that the program gave")


@test
def wrong_password():
    with Sandbox() as box:
        server = Postgres(box)
        r = same(box, client("wrong", server))
        equal(r.out, b"1\n", "what the client said")
        s, = box.recv.wait(1)
        check_query(s, server)
        equal((s.name, s["error.type"], s["db.query.text"]), ("connect", "28P01", None), "a refused login")


# ---------------------------------------------------------------- servers and threads

@test
def flask_under_gunicorn():
    with Sandbox() as box:
        server = Postgres(box)
        server.sql("create table t as select i, i * i as square from generate_series(1, 500) i")
        needs_module("psycopg2")
        app = box.gunicorn("-k", "gthread", "--threads", "16", app="postgres_flask:app", cwd=APPS, workers=2,
                           env={"DATABASE_URL": "host=127.0.0.1 port=%d user=me dbname=postgres" % server.port})
        n = 300
        sent = load(app.port, n, 16, lambda i: ("GET", ("/pool" if i % 2 else "/new") + "?i=%d" % i, (), None))
        equal({r.status for r in sent}, {200}, "answers")
        box.recv.wait(n, is_server)
        box.recv.wait(5 * n)
        equal(app.stop(), 0, "exit status")
        spans = box.recv.spans()
        ids = by_id(spans)
        seen = {}
        for s in spans:
            if is_server(s):
                continue
            check_query(s, server)
            check(s["remora.parent"] is None, "parent of %r: %r" % (s, s["remora.parent"]))
            check(s.parent_id in ids, "no parent for %r" % s.attrs)
            parent = ids[s.parent_id]
            check_child(s, parent)
            check(is_server(parent) and parent.start <= s.start and s.end <= parent.end, "a query lies within its request")
            seen.setdefault(parent["url.query"], []).append(s)
        for r in sent:
            i = r.target.split("i=")[1]
            equal(told(seen.pop("i=" + i)), ["BEGIN", "select square as \"a%s\" from t where i = ?" % i,
                                             "select count(*) as \"b%s\" from t where i < ?" % i, "COMMIT"],
                  "commands of " + r.target)
        equal(seen, {}, "others")


@test
def ten_thousand_queries_of_sixteen_threads():
    with Sandbox() as box:
        server = Postgres(box)
        r = box.run(client("threads", server, app="postgres_rare.py"), timeout=60)
        equal((r.rc, r.out, r.err), (0, b"10000\n", b""), "client")
        spans = box.recv.wait(10000)
        equal(sorted(told(spans)), sorted("select ? as q%d" % i for i in range(10000)), "queries")
        for s in spans:
            check_query(s, server)
        equal(len({s.trace_id for s in spans}), 10000, "traces: there is no request around them")



# ---------------------------------------------------------------- more rarely

def rare(server, what):
    return client(what, server, app="postgres_rare.py")


RARE = dict(    # what is told, what is printed
    copy=(["create table c(i int, s text)", "copy c from stdin", "copy c to stdout", "copy c from stdin ! 22P02",
           "select count(*) from c where s <> ?"],
          "True\nInvalidTextRepresentation\n[(20000,)]\n"),
    copy3=(["create table c(i int, s text)", "copy c from stdin", "copy (select * from c where i >= ? order by i) to stdout",
            'COPY "c" FROM STDIN (FORMAT binary)', "COPY (select i from c where i < ? order by i) TO STDOUT",
            "select count(*) from c"],
           "True\nCOPY 2\nCOPY 4 b'-2\\n-1\\n0\\n1\\n'\n20002\n"),
    cursors=(["BEGIN", 'DECLARE "few" CURSOR WITHOUT HOLD FOR select generate_series(?, ?)'] +
             4 * ['FETCH FORWARD ? FROM "few"'] + ['CLOSE "few"', "COMMIT", "BEGIN"] +
             3 * ["select generate_series(?, $1::int)"] + ["COMMIT", "select ?"],
             2 * ("%s\n" % list(range(1, 11))) + "1\n"),
    notify=(["listen news", "notify news, ?", "select ?"], "LISTEN\nNOTIFY\nsesame\n[(1,)]\n"),
    cancel=(["set statement_timeout = ?", "select pg_sleep(?) ! 57014"] * 2 + ["select ?"],
            "SET\nQueryCanceled\nSET\nQueryCanceled\n[(2,)]\n"),
    fork=(3 * ["select ?"], "[(1,)]\n[(2,)]\n[(3,)]\n"),
    pipeline=(["select $1::int as a x 3", "select $1::text as b", "select $1::int as c", "select ? / $1::int as d ! 22012",
               "select $1::int as e ! not_run", "select ?"],
              "[(0,), (1,), (2,), ('sesame',)]\nDivisionByZero\n(3,)\n"),
)


@cases(**{what: what for what in RARE})
def rarely(what):
    want, out = RARE[what]
    with Sandbox() as box:
        server = Postgres(box)
        needs_module("asyncpg")
        needs_module("psycopg")
        r = same(box, rare(server, what), between=lambda: server.sql("drop table if exists c"))
        equal(r.out.decode(), out, "output")
        spans = box.recv.wait(len(want))
        equal(told(spans), want, "commands")
        for s in spans:
            check(SECRET not in repr(s.attrs), "a value in %r" % s.attrs)
            check(s["remora.parent"] is None, "%r" % s.attrs)


@cases(by_administrator=("57P01", True), by_signal=("peer_closed", False))
def server_ends_in_the_middle(how):
    error, politely = how
    with Sandbox() as box:
        def run(traced):
            server = Postgres(box)
            asleep = "select pid from pg_stat_activity where query like 'select pg_sleep(60)%'"
            c = box.start(rare(server, "killed"), traced=traced)
            pid = int(eventually(lambda: server.sql(asleep), "the query runs"))
            if politely:
                server.sql("select pg_terminate_backend(%d)" % pid)
            else:
                kill9(pid)
            return c.wait(), c.out, c.err
        plain, traced = run(False), run(True)
        equal(traced, plain, "output with and without")
        equal(traced[0], 0, "exit status")
        s, = box.recv.wait(1)
        equal((told([s]), s.status), (["select pg_sleep(?) ! " + error], 2), "command")
        equal(s["db.response.status_code"], error if politely else None, "status code")


@test
def encrypted_is_not_seen():
    """And nothing is broken by it. It is counted, though there was nothing to be told before."""
    with Sandbox() as box:
        server = Postgres(box, ssl=True)
        argv = rare(server, "encrypted")
        plain = box.run(argv, traced=False)
        equal((plain.rc, plain.out), (0, b"[(True,)]\n[(False,)]\n"), "output: first with TLS, then without")
        traced = box.run(argv, env={"REMORA_LOG": "debug"})
        equal((traced.rc, traced.out), (plain.rc, plain.out), "exit status and output with and without")
        equal(re.findall(rb"opaque\.database (\d+)", traced.err), [b"1"], "connections not followed: %r" % traced.err)
        equal(told(box.recv.wait(2)), ["BEGIN", "select ssl as disable from pg_stat_ssl where pid = pg_backend_pid()"], "commands")


@test
def switched_off():
    with Sandbox(REMORA_DATABASES="0") as box:
        r = same(box, rare(Postgres(box), "few"))
        equal(r.rc, 0, "exit status")
        equal(box.recv.spans(), [], "spans")


@cases(simple="simple", extended="extended", prepared="prepared")
def pgbench(mode):
    """Four connections of two threads."""
    with Sandbox() as box:
        server = Postgres(box)
        argv = [needs("pgbench"), "-h", "127.0.0.1", "-p", str(server.port), "-U", "me"]
        equal(box.run(argv + ["-i", "-q", "postgres"], traced=False).rc, 0, "pgbench -i")
        r = box.run(argv + ["-n", "-M", mode, "-c", "4", "-j", "2", "-t", "100", "postgres"])
        check(r.rc == 0 and b"400/400" in r.out, "pgbench %r" % r)
        counts = {}
        for s in box.recv.wait(2802):
            check_query(s, server)
            equal(s["error.type"], None, "error")
            what = re.sub(r"-?\?|\$\d", "?", s["db.query.text"])     # a value may be negative
            counts[what] = counts.get(what, 0) + 1
        equal(sorted(n for what, n in counts.items() if not what.startswith("select ")), 7 * [400], "commands: %r" % counts)
        equal(sum(counts.values()), 2802, "all, with the two that it begins with")


if __name__ == "__main__":
    main()
