"""X-Ray: what an unmodified Flask program asks a real PostgreSQL becomes subsegments, without a value of it."""
import json
import shutil

from harness import *
from test_xray import daemon, get, is_segment
from test_xray_own_sampling import QUIET, xray
from test_xray_peers import XrayCollector
from test_xray_sampling import rule, started

# What stands in the texts, the rows and the passwords.
VALUES = ("attic-note", "worf-the-first", "77001", "data-of-omicron", "77002", "bad-note", "77003", "mid-note", "tea-earl-grey")


def postgres(box):
    """The port of a PostgreSQL with a table, and the DSN of its user."""
    needs_module("psycopg2")
    bindir = os.path.dirname(os.path.realpath(needs("postgres")))
    exe = {n: os.path.join(bindir, n) for n in ("initdb", "postgres", "psql")}
    if not all(map(os.path.exists, exe.values())):
        raise Skip("initdb")
    user, data = "nobody" if os.geteuid() == 0 else None, box.path("postgres", "")  # it does not run as root
    os.chmod(box.dir, 0o755)
    if user:
        shutil.chown(data, user)
    env = {"PATH": bindir + ":" + os.environ["PATH"], "LC_ALL": "C"}
    i = box.start([exe["initdb"], "-D", data + "db", "-A", "trust", "-U", "me", "-N"], traced=False, env=env, user=user, cwd=data)
    equal(i.wait(60), 0, "initdb: %r" % i.lines[-3:])
    port = free_port()
    box.start([exe["postgres"], "-D", data + "db", "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"],
              "ready to accept connections", traced=False, name="postgres", env=env, user=user, cwd=data)
    for db, sql in (("postgres", "CREATE DATABASE shop"), ("shop", "CREATE TABLE users (name text PRIMARY KEY, age int);"
                                                                   "INSERT INTO users VALUES ('worf-the-first', 99)")):
        r = box.run([exe["psql"], "-X", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "me", db, "-c", sql], traced=False, env=env)
        equal(r.rc, 0, "psql: %r" % r)
    return port, "host=127.0.0.1 port=%d dbname=shop user=me password=tea-earl-grey" % port


def sandbox(**env):
    return Sandbox(OTEL_SERVICE_NAME="backend-flask", **env)


def sql_flask(box, dsn):
    return box.start([PYTHON, os.path.join(APPS, "sql_flask.py"), dsn], r"listening (\d+)", name="sql_flask")


def is_query(d):
    return d.get("sql", {}).get("sanitized_query", "BEGIN") != "BEGIN"


def told_nothing(d):
    for doc in d.docs:
        for value in VALUES:
            check(value not in json.dumps(doc), "%s in %r" % (value, doc))


@test
def a_query_is_a_subsegment():
    with sandbox() as box:
        port, dsn = postgres(box)
        d = daemon(box)
        app = sql_flask(box, dsn)
        got = get(app, "/read")
        equal((got.status, json.loads(got.body)), (200, {"rows": []}), "answer")
        sub, = d.wait(1, is_query)
        seg, = d.wait(1, is_segment)
        equal((sub["type"], sub["name"], sub["namespace"]), ("subsegment", "shop@127.0.0.1", "remote"), "the subsegment")
        equal((sub["trace_id"], sub["parent_id"]), (seg["trace_id"], seg["id"]), "its request")
        check(seg["start_time"] <= sub["start_time"] <= sub["end_time"] <= seg["end_time"], "times")
        version = sub["sql"].pop("database_version")
        check(re.match(r"\d+\.\d+", version), "version %r" % version)
        equal(sub["sql"], {"url": "postgresql://127.0.0.1:%d/shop" % port, "connection_string": "127.0.0.1:%d/shop" % port,
                           "sanitized_query": "SELECT name, ? FROM users WHERE name = ? AND age > ?",
                           "database_type": "postgresql", "user": "me"}, "sql")
        for key in ("http", "error", "fault", "throttle", "cause", "annotations"):
            check(key not in sub, "no " + key)
        begin, = d.wait(1, lambda x: "sql" in x and not is_query(x))
        equal((begin["sql"]["sanitized_query"], begin["parent_id"]), ("BEGIN", seg["id"]), "what the driver sends itself")
        get(app, "/write")
        d.wait(1, lambda x: x.get("sql", {}).get("sanitized_query") == "INSERT INTO users VALUES (?, ?)")
        app.stop()
        told_nothing(d)


@cases(no_such_table=("/bad", "42P01", "SELECT ? FROM nowhere"),
       unique=("/duplicate", "23505", "INSERT INTO users VALUES (?, ?)"),
       no_such_database=("/stranger", "3D000", None))
def a_command_that_failed(case):
    path, code, text = case
    with sandbox() as box:
        _, dsn = postgres(box)
        d = daemon(box)
        app = sql_flask(box, dsn)
        equal(get(app, path).status, 200, "status")
        sub, = d.wait(1, lambda x: "sql" in x)
        seg, = d.wait(1, is_segment)
        equal((sub["parent_id"], sub.get("fault"), sub.get("error"), sub["sql"].get("sanitized_query")),
              (seg["id"], True, None, text), "the subsegment")
        e, = sub["cause"]["exceptions"]
        equal((e["type"], e["remote"]), (code, True), "the exception")
        check(e["message"].endswith(" 127.0.0.1: " + code), "message %r" % e["message"])
        equal(("fault" in seg, "cause" in seg), (False, False), "the request went well")
        app.stop()
        told_nothing(d)


@test
def the_rules_decide_for_queries_too():
    """Without OTEL_TRACES_SAMPLER: X-Ray has the queries of the requests that its rules chose, OTLP those of all."""
    with sandbox(REMORA_LOG="debug", OTEL_TRACES_EXPORTER="otlp") as box:
        _, dsn = postgres(box)
        d, _ = xray(box, [QUIET, rule("read", 10, URLPath="/read", FixedRate=1.0)])
        app = sql_flask(box, dsn)
        started(box, app)
        get(app, "/write")
        get(app, "/read")
        spans = box.recv.wait(2, lambda s: (s["db.query.text"] or "BEGIN") != "BEGIN")
        equal(sorted(s["db.query.text"].split()[0] for s in spans), ["INSERT", "SELECT"], "OTLP")
        sub, = d.wait(1, is_query)
        app.stop()
        equal([x["sql"]["sanitized_query"].split()[0] for x in d.docs if is_query(x)], ["SELECT"], "X-Ray")
        read, = [s for s in spans if s["db.query.text"].startswith("SELECT")]
        equal((sub["id"], sub["parent_id"], sub["trace_id"].replace("-", "")[1:]), (read.span_id, read.parent_id, read.trace_id), "ids")


@test
def the_collector_reads_them():
    """The OpenTelemetry Collector's awsxrayreceiver makes its db attributes of the block."""
    with sandbox(OTEL_EXPORTER_OTLP_ENDPOINT=None, OTEL_TRACES_SAMPLER="always_on") as box:
        port, dsn = postgres(box)
        col = XrayCollector(box)
        box._env["AWS_XRAY_DAEMON_ADDRESS"] = col.udp
        app = sql_flask(box, dsn)
        for path in ("/read", "/bad"):
            get(app, path)
        col.wait(5)
        app.stop()
        by = {s["db.statement"]: s for s in col.spans()}
        for text in ("SELECT name, ? FROM users WHERE name = ? AND age > ?", "SELECT ? FROM nowhere"):
            s = by[text]
            equal((s.name, s.kind), ("shop@127.0.0.1", CLIENT), "name and kind")
            equal({k: v for k, v in s.attrs.items() if k.startswith("db.")},
                  {"db.connection_string": "postgresql://127.0.0.1:%d" % port, "db.name": "shop", "db.system": "postgresql",
                   "db.statement": text, "db.user": "me"}, "attributes")
        (name, attrs), = s.events
        equal((s.status, name, attrs["exception.type"]), (2, "exception", "42P01"), "the failure")


if __name__ == "__main__":
    main()
