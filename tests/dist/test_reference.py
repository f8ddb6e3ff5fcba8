# timeout: 240
"""The reference stack with the archive: what arrives is what the requests were, and the answers are as without us."""
import os
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", "e2e"), os.path.join(ROOT, "scripts", "compose")]
from harness import *                                    # noqa: E402
from stack import FOUR, Stack                            # noqa: E402
from show import REQUESTS                                # noqa: E402

SHIM = os.path.join(ROOT, "build", "dist", "remora", "libremora.so")
VARY = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d[T ][\d:.+]+|0x[0-9a-f]+|127\.0\.0\.1:\d+|SECRET = \"\w+\"|"
                  r"(?<=frm=)\d+|(?<=frame-)\d+")


# What activities.py asks PostgreSQL by a request: psycopg binds the values on the server, so the texts have none.
HOME = "SELECT * FROM activities ORDER BY created_at DESC LIMIT ?"
QUERIES = [("/api/activities/home", HOME),
           ("/api/activities", "INSERT INTO activities (handle, message) VALUES ($1, $2) RETURNING *"),
           ("/api/activities/@andrewbrown", "SELECT * FROM activities WHERE handle = $1"),
           ("/api/activities/@nobody", "SELECT * FROM activities WHERE handle = $1")]
# Beside them: what makes the table, and what the driver sends itself.
OTHERS = re.compile(r"CREATE TABLE IF NOT EXISTS activities \(.*\)|BEGIN|COMMIT|ROLLBACK", re.S)


def answers(s):
    return [(status, VARY.sub("#", text)) for status, text in (s.request(*r) for r in REQUESTS)]


@test
def every_request_is_a_span_and_its_calls_are_children():
    with Stack("") as plain:
        without = answers(plain)
    with Stack(SHIM) as s:
        if "collector" not in [n for n, _ in s.processes]:
            raise Skip(s.missing[0])
        got = answers(s)
        for (method, path, _), a, b in zip(REQUESTS, without, got):
            equal(b, a, "answer to %s %s" % (method, path))
        want = len(REQUESTS) + 1                        # /api/proxy asks for one more
        spans = s.wait("the server spans are there", lambda: (lambda x: x if sum(
            y["kind"] == 2 for y in x) >= want else None)(s.spans()))
        servers = [x for x in spans if x["kind"] == 2]
        equal(sorted((x["attributes"]["http.request.method"], x["attributes"]["url.path"],
                      int(x["attributes"]["http.response.status_code"])) for x in servers),
              sorted([(m, p, a[0]) for (m, p, _), a in zip(REQUESTS, got)] + [("GET", "/api/health-check", 200)]), "servers")
        equal({x["resource"]["service.name"] for x in spans}, {"backend-flask"}, "service.name")
        by = {x["attributes"]["url.path"]: x for x in servers if not x.get("parentSpanId")}
        asked = [x for x in spans if "db.system.name" in x["attributes"]]
        clients = [x for x in spans if x["kind"] == 3 and x not in asked]
        dynamo = [x for x in clients if x["attributes"]["url.full"].startswith(s.ddb_url)]
        check(dynamo and {x.get("parentSpanId") for x in dynamo} <=
              {by["/api/messages"]["spanId"], by["/api/message_groups"]["spanId"]}, "DynamoDB calls belong to their requests")
        call, = [x for x in clients if x not in dynamo]
        inner, = [x for x in servers if x.get("parentSpanId") == call["spanId"]]
        equal((call["parentSpanId"], inner["traceId"]), (by["/api/proxy"]["spanId"], by["/api/proxy"]["traceId"]), "one trace")
        told = [(x["parentSpanId"], x["attributes"]["db.query.text"]) for x in asked]
        equal(sorted(t for t in told if not OTHERS.fullmatch(t[1])), sorted((by[path]["spanId"], text) for path, text in QUERIES), "queries")
        equal({(x["kind"], x["attributes"]["db.system.name"], x["attributes"]["db.namespace"]) for x in asked},
              {(3, "postgresql", "cruddur")}, "the database")
        log = s.log("backend-flask")
        check("remora" not in log, "remora had nothing to say: %s" % log[-400:])


@test
def segments_reach_the_x_ray_daemon():
    """AWS's own daemon forwards one document per request, and each DynamoDB call with its operation and table."""
    with Stack(SHIM, {"OTEL_TRACES_SAMPLER": "always_on"}) as s:
        if "xray-daemon" not in [n for n, _ in s.processes]:
            raise Skip("X-Ray daemon (%s)" % "; ".join(s.missing))
        got = answers(s)
        want = len(REQUESTS) + 1

        def served():
            return [d for d in s.segments() if d["name"] == "backend-flask"]
        s.wait("%d segments were forwarded" % want, lambda: len(served()) >= want)
        equal(sorted((d["http"]["request"]["url"].split("?")[0], d["http"]["response"]["status"]) for d in served()),
              sorted([(s.url + p, a[0]) for (_, p, _), a in zip(REQUESTS, got)] + [(s.url + "/api/health-check", 200)]), "segments")
        calls = {(d["aws"]["operation"], d["aws"].get("table_name")) for d in s.segments() if d.get("namespace") == "aws"}
        check({("PutItem", "cruddur-messages"), ("Query", "cruddur-messages")} <= calls, "DynamoDB: %r" % calls)

        def asked():
            return [d for d in s.segments() if not OTHERS.fullmatch(d.get("sql", {}).get("sanitized_query", "BEGIN"))]
        s.wait("the queries were forwarded", lambda: len(asked()) >= len(QUERIES))
        by = {d["http"]["request"]["url"].split("?")[0]: d["id"] for d in served()}
        equal(sorted((d["parent_id"], d["sql"]["sanitized_query"]) for d in asked()),
              sorted((by[s.url + path], text) for path, text in QUERIES), "queries")
        equal({(d["name"], d["sql"]["database_type"], d["sql"]["user"], d["sql"]["url"]) for d in asked()},
              {("cruddur@127.0.0.1", "postgresql", "postgres", "postgresql://127.0.0.1:%d/cruddur" % s.db_port)}, "the database")


@test
def one_trace_in_all_four():
    """The same trace id in the OTLP span, the X-Ray segment, the log events and the Rollbar item of a failed request, and
    X-Ray's rules, fetched through the daemon, decide."""
    with Stack(SHIM, FOUR) as s:
        if s.missing:
            raise Skip("; ".join(s.missing))
        s.sampled_by_rules()
        equal([s.request(*r)[0] for r in REQUESTS], [200, 200, 200, 200, 404, 200, 200, 200, 500], "answers")

        def of(path):
            return [x for x in s.spans() if x["attributes"].get("url.path") == path]
        span, = s.wait("the span of the failed request", lambda: of("/api/broken"))
        spans, documents, events, items = s.wait("it is in all four", lambda: (lambda f: all(f) and len(f[2]) > 1 and f)(
            s.of_trace(span["traceId"])))
        equal((spans, len(documents), len(items)), ([span], 1, 1), "one of each")
        doc, item = documents[0], items[0]
        equal((doc["id"], doc["fault"], doc["http"]["response"]["status"], doc["aws"]["xray"]["sampling_rule_name"]),
              (span["spanId"], True, 500, "Cruddur"), "the segment")
        check("type" not in doc, "it is no subsegment")
        equal({e["span_id"] for e in events}, {span["spanId"]}, "spans of its lines")
        error, = [e for e in events if e.get("level") == "ERROR"]
        check("Exception on /api/broken [GET]\nTraceback (most recent call last):" in error["message"] and
              error["message"].endswith("ZeroDivisionError: division by zero"), error["message"])
        check(any("GET /api/broken HTTP/1.1" in e["message"] for e in events), "the server's own line")
        equal((item["custom"]["span_id"], item["custom"]["xray_trace_id"], item["body"]["trace"]["exception"]["class"],
               item["request"]["url"].split("?")[0]), (span["spanId"], doc["trace_id"], "ZeroDivisionError", s.url + "/api/broken"), "the item")
        s.rollbar.check()
        # what the rules leave out is no segment; OTLP has it, and its line is there all the same
        s.wait("the health checks by OTLP", lambda: len(of("/api/health-check")) >= 2)
        inner, = [x for x in of("/api/health-check") if x["traceId"] == of("/api/proxy")[0]["traceId"]]
        equal([d["id"] for d in s.segments() if "/api/health-check" in d.get("http", {}).get("request", {}).get("url", "") and
               d.get("type") != "subsegment"], [inner["spanId"]], "the only health check for X-Ray is that of /api/proxy")
        s.wait("lines of both", lambda: sum("GET /api/health-check HTTP/1.1" in e for e in s.log_events("cruddur")) == 2)
        log = s.log("backend-flask")
        check("remora" not in log, "remora had nothing to say: %s" % log[-400:])


@test
def make_reference_shows_and_ends_all():
    p = subprocess.Popen([os.path.join(ROOT, "scripts", "reference")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, start_new_session=True)
    try:
        lines = []
        for line in p.stdout:
            lines.append(line)
            if "Ctrl-C ends all" in line:
                break
        text = "".join(lines)
        check("GET /api/activities/home  200" in text and "└─ DynamoDB.PutItem http" in text, text)
        check("└─ SELECT" in text and "LIMIT ?" in text and re.search(r"cruddur@127\.0\.0\.1 +SELECT \* FROM activities", text), "queries: %s" % text)
        for part in ("Traces, at the collector", "Documents, forwarded", "Lines in CloudWatch Logs", "Items in Rollbar"):
            check(part in text and "(none" not in text, "%s: %s" % (part, text))
        joined = text[text.index("The failed request in all four"):]
        trace = re.search(r"by its trace id ([0-9a-f]{32}):", joined)[1]
        for row in (r"collector +GET /api/broken  500", r"X-Ray +backend-flask .*/api/broken  1-%s-%s  by rule Cruddur" % (trace[:8], trace[8:]),
                    r"CloudWatch Logs +.*ERROR in app: Exception on /api/broken", r"Rollbar +ZeroDivisionError: division by zero"):
            check(re.search("^ +" + row, joined, re.M), "no %s in %s" % (row, joined))
        family = Host.tree(Tree(p.pid))
        check(len(family) > 4, "the services are there: %r" % family)
        os.killpg(p.pid, signal.SIGINT)                 # Ctrl-C
        p.communicate(timeout=30)
        equal(p.returncode, 0, "exit")
        eventually(lambda: not [x for x in family if os.path.exists("/proc/%d" % x)], "all services have ended")
    finally:
        p.kill()
        p.wait()


class Tree:
    children = Host.children

    def __init__(self, pid):
        self.pid = pid


if __name__ == "__main__":
    main()
