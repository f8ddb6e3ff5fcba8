"""Without OTEL_TRACES_SAMPLER X-Ray's rules decide for X-Ray alone: OTLP gets what its own sampler wants."""
import json
import os

import test_cloudwatch
import test_rollbar_requests
from harness import *
from test_xray import HEADER, PARENT, ROOT_ID, TRACE, flask, get, is_segment
from test_xray_peers import Api, XrayDaemon
from test_xray_sampling import rule, started
from xray_receiver import XrayReceiver

QUIET = rule("Default", 10000)      # nothing that no other rule wants


def quota(n, rate=0.0):
    return lambda reports: [{"RuleName": r["RuleName"], "FixedRate": rate, "ReservoirQuota": n,
                             "ReservoirQuotaTTL": time.time() + 60, "Interval": 1} for r in reports]


def sandbox(**env):
    return Sandbox(OTEL_SERVICE_NAME="backend-flask", REMORA_LOG="debug", **env)


def xray(box, rules, targets=None):
    """A daemon: its UDP port, and the API behind its TCP port."""
    d, api = box.keep(XrayReceiver()), box.keep(Api(rules, targets, signed=False))
    box._env["AWS_XRAY_DAEMON_ADDRESS"] = "tcp:127.0.0.1:%d udp:%s" % (api.port, d.address)
    return d, api


def total(api, key, name):
    return sum(r[key] for r in api.reports if r["RuleName"] == name)


def headers_of(up):
    """What went downstream: {trace id: (traceparent's sampled flag, Sampled=)}."""
    out = {}
    for r in up.requests():
        trace, _, flags = r.traceparent()
        amzn = dict(p.split("=") for p in r.one("x-amzn-trace-id").split(";"))
        equal(amzn["Root"], "1-%s-%s" % (trace[:8], trace[8:]), "one trace in both headers")
        out[trace] = (flags & 1, int(amzn["Sampled"]))
    return out


@test
def all_for_otlp_some_for_xray():
    """100 requests: 200 spans by OTLP; by X-Ray the reservoir, and some of the rest, and exactly those whose calls say so."""
    with sandbox() as box:
        d, api = xray(box, [QUIET, rule("calls", 10, URLPath="/call", ReservoirSize=4, FixedRate=0.2)], quota(4, 0.2))
        up, app = flask(box)
        started(box, app)
        before = time.time()
        get(app, "/call", n=100)
        seconds = time.time() - before
        spans = [s for s in box.recv.wait(1 + 200) if "/slow" not in (s["url.path"] or "")]
        equal(len(spans), 200, "spans of 100 requests by OTLP")
        sent = headers_of(up)
        equal((len(sent), {w3c for w3c, _ in sent.values()}), (100, {1}), "traceparent: sampled")
        wanted = {trace for trace, (_, sampled) in sent.items() if sampled}
        # 4 a second (before there is a quota 1), and of the rest one in five: 16 is four times its deviation
        check(4 <= len(wanted) <= 4 * (seconds + 2) + 20 + 16, "%d for X-Ray in %.1f s" % (len(wanted), seconds))
        d.wait(2 * len(wanted), lambda x: x["trace_id"][2:].replace("-", "") in wanted)
        eventually(lambda: total(api, "RequestCount", "calls") == 100, "each request is reported")
        equal(total(api, "SampledCount", "calls") + total(api, "BorrowCount", "calls"), len(wanted), "reported as sampled")
        app.stop()
        segments = [x for x in d.docs if is_segment(x) and x["http"]["request"]["url"].endswith("/call")]
        equal({x["trace_id"][2:].replace("-", "") for x in segments}, wanted, "segments")
        equal({x["aws"]["xray"]["sampling_rule_name"] for x in segments}, {"calls"}, "sampling_rule_name")


@cases(wins=(HEADER % (ROOT_ID, PARENT, 0), None, (1, 0)),
       wanted=(HEADER % (ROOT_ID, PARENT, 1), None, (1, 1)),
       asked=(HEADER % (ROOT_ID, PARENT, "?"), None, (1, 0)),
       root_alone=("Root=" + ROOT_ID, None, (1, 0)),
       each_its_own=(HEADER % (ROOT_ID, PARENT, 1), "00-%s-%s-00" % (TRACE, PARENT), (0, 1)),
       the_other_way=(HEADER % (ROOT_ID, PARENT, 0), "00-%s-%s-01" % (TRACE, PARENT), (1, 0)))
def a_decision_that_comes(case):
    """Sampled= is X-Ray's, traceparent's flag is OTLP's; both go on. The rules here want nothing."""
    amzn, w3c, want = case
    with sandbox() as box:
        d, _ = xray(box, [QUIET])
        up, app = flask(box)
        started(box, app)
        get(app, "/call", [("X-Amzn-Trace-Id", amzn)] + ([("traceparent", w3c)] if w3c else []))
        get(app, "/home", {"X-Amzn-Trace-Id": HEADER % (ROOT_ID.replace("5", "6"), PARENT, 1)})  # behind it: the last
        d.wait(1, lambda x: x["trace_id"] == ROOT_ID.replace("5", "6"))
        box.recv.wait(1 + 1 + 2 * want[0])
        app.stop()
        equal(headers_of(up), {TRACE: want}, "downstream")
        equal(len([s for s in box.recv.spans() if s.trace_id == TRACE]), 2 * want[0], "spans by OTLP")
        equal(len([x for x in d.docs if x["trace_id"] == ROOT_ID]), 2 * want[1], "documents")


@test
def a_rule_changed_in_flight():
    """The daemon says that rules changed: they are fetched and obeyed, by the processes that run."""
    with sandbox() as box:
        x = XrayDaemon(box, rules=[QUIET, rule("homes", 10, URLPath="/home")], targets=lambda reports: [
            {"RuleName": r["RuleName"], "FixedRate": float(r["RuleName"] == "all"), "ReservoirQuota": 0,
             "ReservoirQuotaTTL": time.time() + 60, "Interval": 1} for r in reports])
        _, app = flask(box, AWS_XRAY_DAEMON_ADDRESS=x.address)
        started(box, app)
        get(app, "/home", n=5)
        eventually(lambda: total(x.api, "RequestCount", "homes") == 5, "a report")
        equal((x.api.asked, total(x.api, "SampledCount", "homes")), (1, 0), "asked for rules, sampled")
        x.api.rules = [QUIET, rule("all", 5, URLPath="/ho*", FixedRate=1.0)]
        x.api.modified = time.time()
        more = []
        eventually(lambda: more.append(get(app, "/home")) or x.api.asked > 1, "rules are fetched again")    # a report's answer says so
        app.wait_line(r"xray: 2 central sampling rules", count=2)
        get(app, "/home", n=10)
        docs = x.wait(10 + (1 if [d for d in x.api.docs if d["http"]["request"]["url"].endswith("/slow")] else 0))
        app.stop()
        homes = [d for d in docs if d["http"]["request"]["url"].endswith("/home")]
        check(len(homes) >= 10 and {d["aws"]["xray"]["sampling_rule_name"] for d in homes} == {"all"}, "by the new rule: %r" % homes)
        n = 5 + len(more) + 10
        spans = [s for s in box.recv.wait(1 + n) if s["url.path"] == "/home"]
        equal((len(spans), len({s.resource["process.pid"] for s in spans})), (n, 1), "spans by OTLP, processes")


@test
def forked_workers_share_one_quota():
    """64 processes with a quota of 20: 20 a second in all, and one client that reports every request."""
    with sandbox() as box:
        d, api = xray(box, [rule("Default", 10000, ReservoirSize=20)], quota(20))
        app = box.start([PYTHON, os.path.join(APPS, "prefork.py"), "64"], r"listening (\d+)", name="prefork")
        port, rounds = int(app.match.group(1)), 0
        with Connection(port) as c:
            c.request("GET", "/first")
        app.wait_line("central sampling rules")
        load(port, 64, 64, lambda i: ("GET", "/%d" % i, (), None))
        eventually(lambda: total(api, "RequestCount", "Default"), "a first report")
        begin = time.time()
        while time.time() - begin < 3:
            load(port, 64, 64, lambda i: ("GET", "/%d" % i, (), None))
            rounds += 1
            time.sleep(0.05)            # a rate, not an event: several seconds are to be seen, not many requests
        seconds = time.time() - begin
        sent = 1 + 64 + 64 * rounds
        box.recv.wait(sent, timeout=60)
        eventually(lambda: sent - 1 <= total(api, "RequestCount", "Default") <= sent, "each request is reported")   # the first was before the rules
        app.stop()
        docs = [x for x in d.docs if x["start_time"] >= begin]
        pids = {s.resource["process.pid"] for s in box.recv.spans()}
        check(len(pids) >= 60, "%d workers served" % len(pids))
        check(40 <= len(docs) <= 20 * (seconds + 2), "%d segments of %d in %.2f s" % (len(docs), 64 * rounds, seconds))
        equal(len({r["ClientID"] for r in api.reports}), 1, "client ids")
        told = total(api, "SampledCount", "Default") + total(api, "BorrowCount", "Default")
        check(len(d.docs) - 1 <= told <= len(d.docs), "%d reported as sampled, %d segments" % (told, len(d.docs)))


LOCAL = {"version": 2, "rules": [{"host": "*", "http_method": "*", "url_path": "/call", "fixed_target": 0, "rate": 0}],
         "default": {"fixed_target": 0, "rate": 1}}


@cases(beside_otlp=False, alone=True)
def a_file_of_rules(alone):
    """REMORA_XRAY_SAMPLING_RULES alone, and no daemon to ask. Where nobody else wants spans, none is made in vain."""
    with sandbox(**({"OTEL_EXPORTER_OTLP_ENDPOINT": None} if alone else {})) as box:
        box.write("rules.json", json.dumps(LOCAL))
        d = box.keep(XrayReceiver())
        up, app = flask(box, AWS_XRAY_DAEMON_ADDRESS=d.address, REMORA_XRAY_SAMPLING_RULES=box.path("rules.json"))
        get(app, "/home", {"X-Amzn-Trace-Id": HEADER % (ROOT_ID, PARENT, 1)})
        app.wait_line("1 sampling rules from|2 sampling rules from")
        d.wait(1)
        get(app, "/call", n=20)
        get(app, "/home", n=5)
        d.wait(1 + 5)
        if not alone:
            box.recv.wait(1 + 40 + 5)
        app.stop(signal.SIGINT)         # it ends by itself, and the counters are told
        equal(len(d.docs), 6, "documents")
        equal(set(headers_of(up).values()), {(1, 0)}, "downstream")
        made = [int(m.group(1)) for m in (re.search(r"\bspans (\d+)", l) for l in app.err) if m]
        equal(made[-1], 6 if alone else 46, "spans made")


@test
def open_requests():
    """Those that X-Ray does not want are not told while they run either."""
    with sandbox(REMORA_XRAY_IN_PROGRESS_MS=100) as box:
        d, _ = xray(box, [QUIET])
        up = box.keep(Upstream())
        web = box.nginx("location /hang { proxy_pass %s; }" % up.url, files={"a.txt": b"x"})
        other = ROOT_ID.replace("5", "6")
        load(web.port, 1, 1, lambda i: ("GET", "/a.txt", (), None))     # it exports from its first request on
        box.recv.wait(1)
        with Connection(web.port) as a, Connection(web.port) as b:
            for c, root, sampled in ((a, other, 0), (b, ROOT_ID, 1)):
                c.send(("GET /hang HTTP/1.1\r\nHost: x\r\nX-Amzn-Trace-Id: %s\r\n\r\n" % (HEADER % (root, PARENT, sampled))).encode())
            d.wait(1, lambda x: "in_progress" in x)
            up.release()
            equal((a.read_response()[0], b.read_response()[0]), (200, 200), "status")
        d.wait(2, lambda x: x["trace_id"] == ROOT_ID and "end_time" in x)
        box.recv.wait(1 + 4)
        equal([x for x in d.docs if x["trace_id"] == other], [], "documents of the other one")


@test
def failed_requests_that_xray_does_not_want():
    """They are Rollbar's all the same, with the ids."""
    with test_rollbar_requests.Box(REMORA_ROLLBAR_5XX="1", OTEL_EXPORTER_OTLP_ENDPOINT=None) as box:
        d, _ = xray(box, [QUIET])
        app = box.serve()
        with Connection(app.port) as c:
            equal(c.request("GET", "/busy/1", {"X-Amzn-Trace-Id": HEADER % (ROOT_ID, PARENT, 0)}).status, 503, "status")
        item, = box.rollbar.wait(1)
        equal((item["custom"]["trace_id"], item["custom"]["status_code"]), (TRACE, 503), "the item")
        app.stop()
        equal(d.docs, [], "documents")


@test
def lines_of_requests_that_xray_does_not_want():
    """Nobody records them; the lines that they wrote have their trace."""
    with test_cloudwatch.Box(OTEL_EXPORTER_OTLP_ENDPOINT=None, REMORA_CLOUDWATCH_FORMAT="json") as box:
        d, _ = xray(box, [QUIET])
        _, app = flask(box)
        get(app, "/boom", {"X-Amzn-Trace-Id": HEADER % (ROOT_ID, PARENT, 0)})
        boom = eventually(lambda: [m for m in map(json.loads, box.lines()) if "ZeroDivisionError" in m["message"]], "the traceback", 20)
        equal({m.get("trace_id") for m in boom}, {TRACE}, "its trace")
        app.stop()
        equal(d.docs, [], "documents")


@test
def few_wake_ups():
    """Requests that X-Ray does not want do not wake the exporter one by one, though its queue for X-Ray is empty."""
    def switches(pid):
        out = {}
        for t in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/status" % (pid, t)) as f:
                out[t] = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", f.read(), re.M).group(1))
        return {t: n for t, n in out.items() if int(t) != pid}
    with sandbox() as box:
        xray(box, [QUIET])
        web = box.nginx("", files={"a.txt": b"x"})
        load(web.port, 10, 1, lambda i: ("GET", "/a.txt", (), None))
        pid = box.recv.wait(10)[0].resource["process.pid"]
        (thread, before), = switches(pid).items()
        with Connection(web.port) as c:
            for _ in range(300):
                c.request("GET", "/a.txt")
                time.sleep(0.004)       # far enough apart for the exporter to fall asleep
        n = switches(pid)[thread] - before
        box.recv.wait(310)
        check(n < 150, "%d wake-ups of the exporter in 300 requests" % n)


@cases(always_on=(1, 5), always_off=(0, 0))
def a_sampler_that_is_set_decides_for_all(case):
    flag, n = case
    name = "always_on" if flag else "always_off"
    with sandbox(OTEL_TRACES_SAMPLER=name) as box:
        d, api = xray(box, [QUIET])
        up, app = flask(box)
        get(app, "/call", {"X-Amzn-Trace-Id": HEADER % (ROOT_ID, PARENT, 1 - flag)}, n=5)
        if n:
            d.wait(2 * n)
        app.stop()
        equal((len(d.docs), len(box.recv.spans())), (2 * n, 2 * n), "documents, spans")
        equal((headers_of(up), api.asked), ({TRACE: (flag, flag)}, 0), "downstream, asked for rules")


@test
def what_else_comes_with_the_header():
    """Lineage and other parts go on as they came, beside our own; what is no part does not."""
    with sandbox(OTEL_TRACES_SAMPLER="always_on") as box:
        d = box.keep(XrayReceiver())
        up, app = flask(box, AWS_XRAY_DAEMON_ADDRESS=d.address)
        came = HEADER % (ROOT_ID, PARENT, 1)
        get(app, "/call", {"X-Amzn-Trace-Id": came + ";Self=1-2-3; Lineage=25:a87bd80c:0|68fd508a:5;bad;Via=app"})
        get(app, "/call", {"X-Amzn-Trace-Id": came})
        first, second = (r.one("x-amzn-trace-id") for r in up.requests())
        check(re.fullmatch("Root=%s;Parent=[0-9a-f]{16};Sampled=1;Lineage=25:a87bd80c:0[|]68fd508a:5;Via=app" % ROOT_ID, first),
              "the header: %s" % first)
        check(re.fullmatch("Root=%s;Parent=[0-9a-f]{16};Sampled=1" % ROOT_ID, second), "the next one: %s" % second)
        d.wait(4)


if __name__ == "__main__":
    main()
