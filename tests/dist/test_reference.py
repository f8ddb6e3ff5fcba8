# timeout: 240
"""The reference stack with the archive: what arrives is what the requests were, and the answers are as without us."""
import os
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", "e2e"), os.path.join(ROOT, "scripts", "compose")]
from harness import *                                    # noqa: E402
from stack import Stack                                  # noqa: E402
from show import REQUESTS                                # noqa: E402

SHIM = os.path.join(ROOT, "build", "dist", "remora", "libremora.so")
VARY = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d[T ][\d:.+]+|0x[0-9a-f]+|127\.0\.0\.1:\d+|SECRET = \"\w+\"|"
                  r"(?<=frm=)\d+|(?<=frame-)\d+")


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
        clients = [x for x in spans if x["kind"] == 3]
        dynamo = [x for x in clients if x["attributes"]["url.full"].startswith(s.ddb_url)]
        check(dynamo and {x.get("parentSpanId") for x in dynamo} <=
              {by["/api/messages"]["spanId"], by["/api/message_groups"]["spanId"]}, "DynamoDB calls belong to their requests")
        call, = [x for x in clients if x not in dynamo]
        inner, = [x for x in servers if x.get("parentSpanId") == call["spanId"]]
        equal((call["parentSpanId"], inner["traceId"]), (by["/api/proxy"]["spanId"], by["/api/proxy"]["traceId"]), "one trace")
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
        check("GET /api/activities/home  200" in text and "└─ POST http" in text, text)
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
