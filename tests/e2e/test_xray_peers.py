"""X-Ray with receivers and senders that are not ours: the OpenTelemetry Collector's awsxrayreceiver, AWS's own daemon,
and aws-xray-sdk tracing the same Flask program."""
import json
import os
import threading

from harness import *
from stub_server import Handler, StubServer
from xray_receiver import XrayReceiver
from test_xray import flask, get, is_segment


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---------------------------------------------------------------- the collector

class XrayCollector(Collector):
    """The collector with both receivers; what came by X-Ray has no scope name."""

    def __init__(self, box):
        self.udp = "127.0.0.1:%d" % free_udp_port()
        write = box.write

        def with_xray(name, text):
            if name == "collector.yaml":
                text = text.replace("exporters:", """  awsxray:
    endpoint: "%s"
    transport: udp
    proxy_server: {endpoint: "127.0.0.1:0", region: us-east-1, local_mode: true}
exporters:""" % self.udp, 1).replace("receivers: [otlp]", "receivers: [otlp, awsxray]")
            return write(name, text)
        box.write = with_xray
        try:
            super().__init__(box)
        finally:
            box.write = write


# The attribute that awsxrayreceiver makes of a field, and ours in OTLP.
FIELDS = {"http.method": "http.request.method", "http.status_code": "http.response.status_code",
          "http.user_agent": "user_agent.original", "http.client_ip": "client.address",
          "http.response_content_length": "http.response.body.size", "user_agent.original": "user_agent.original",
          "enduser.id": "enduser.id"}
# What has its place in http.url, or in the name of a call.
IN_URL = {"url.full", "url.path", "url.scheme", "server.address"}


def compare(x, o):
    """x came by X-Ray, o by OTLP: everything that o tells stands in x, and nothing else does."""
    what = "%r" % o
    equal((x.trace_id, x.span_id, x.parent_id, x.kind), (o.trace_id, o.span_id, o.parent_id, o.kind), what + ": ids and kind")
    check(abs(x.start - o.start) < 2000 and abs(x.end - o.end) < 2000, what + ": times %d %d" % (x.start - o.start, x.end - o.end))
    equal(x.name, o.resource["service.name"] if o.kind == SERVER else o["server.address"], what + ": name")
    if "url.full" in o.attrs and "?" in o["url.full"]:
        equal(json.loads(x["aws.xray.metadata.default"])["url.full"], o["url.full"], what + ": whole URL")
    told = {}
    for key, val in x.attrs.items():
        if key in FIELDS:
            told[FIELDS[key]] = val
        elif key == "aws.xray.metadata.default":
            meta = json.loads(val)
            told.update({k: v for k, v in meta.items() if not k.startswith("otel.resource.") and k != "url.full"})
            resource = {k[14:]: v for k, v in meta.items() if k.startswith("otel.resource.")}
            if o.kind == SERVER:
                equal(resource, o.resource, what + ": resource")
        elif key == "http.url":
            url = o["url.full"] or "%s://%s:%d%s" % (o["url.scheme"], o["server.address"], o["server.port"], o["url.path"])
            equal(val, url.split("?")[0], what + ": url")
        elif key == "aws.xray.x_forwarded_for":
            equal((val, o["client.address"] != o["network.peer.address"]), (True, True), what + ": forwarded")
        elif key == "aws.xray.inprogress":
            equal(val, False, what + ": in progress")
        else:
            raise AssertionError("%s: %s=%r is from nowhere" % (what, key, val))
    equal(told, {k: v for k, v in o.attrs.items() if k not in IN_URL and not
                 (k == "client.address" and o.kind != SERVER)}, what + ": attributes")
    # The receiver makes an error of each 4xx; the conventions have none for those of a server.
    status = o["http.response.status_code"] or 0
    want = 2 if o.status == 2 or status >= 400 else 0
    equal(2 if x.status == 2 else 0, want, what + ": status")
    if o.events:
        compare_exceptions(x, o, what)
    elif o["error.type"] and not o["error.type"].isdigit():
        (name, attrs), = x.events
        equal((name, attrs["exception.type"]), ("exception", o["error.type"]), what + ": the cause")
    else:
        equal(x.events, [], what + ": events")
    equal(x.resource["cloud.provider"], "aws", what + ": cloud.provider")
    equal(x.resource["telemetry.sdk.name"], "remora for c", what + ": sdk")


def compare_exceptions(x, o, what):
    """OTLP has one event whose stack trace tells the whole chain; X-Ray an exception for each of it, linked."""
    (_, whole), = o.events
    names, attrs = zip(*x.events)
    equal(set(names), {"exception"}, what + ": events")
    equal((attrs[0]["exception.type"], attrs[0]["exception.message"]), (whole["exception.type"], whole["exception.message"]),
          what + ": the exception")
    equal([a.get("aws.xray.exception.cause") for a in attrs], [a["aws.xray.exception.id"] for a in attrs[1:]] + [None],
          what + ": links")
    for a in attrs:
        equal(a["aws.xray.exception.remote"], False, what + ": remote")
        check(a["exception.type"] in whole["exception.stacktrace"] and a["exception.message"] in whole["exception.stacktrace"],
              "%s: %r is not in OTLP's stack trace" % (what, a))
        frames = a["exception.stacktrace"].splitlines()[1:]
        check(frames, what + ": no frames of %r" % a["exception.type"])
        for f in frames:
            label, path, line = re.match(r"\tat (.*)\((.*): (\d+)\)$", f).groups()
            check('File "%s", line %s, in %s\n' % (path, line, label) in whole["exception.stacktrace"],
                  "%s: %r is not in OTLP's stack trace %s" % (what, f, whole["exception.stacktrace"]))


@test
def collector_sees_the_same_spans():
    with Sandbox(OTEL_SERVICE_NAME="backend-flask", OTEL_TRACES_EXPORTER="otlp", REMORA_USER="header:X-User-Id",
                 REMORA_ERRORS=1, REMORA_ERRORS_LOGGED=1, OTEL_RESOURCE_ATTRIBUTES="service.version=1.2") as box:
        col = XrayCollector(box)
        box._env.update({"AWS_XRAY_DAEMON_ADDRESS": col.udp, "OTEL_TRACES_SAMPLER": "parentbased_always_on", "OTEL_EXPORTER_OTLP_ENDPOINT": col.url})
        _, app = flask(box)
        forwarded = {"X-Forwarded-For": "203.0.113.9", "X-User-Id": "worf", "User-Agent": 'a "quoted\\ agent'}
        for path, headers in (("/home?x=1&token=s", forwarded), ("/call", {}), ("/calls", {}), ("/refused", {}), ("/boom", {}),
                              ("/chain", {}),
                              ("/nope/%C3%A9", {}), ("/call", {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;"
                                                                                  "Parent=53995c3f42cd8ad8"})):
            get(app, path, headers)
        n = 8 + 1 + 3 + 1 + 1
        col.wait(2 * n)
        app.stop()
        by = {}
        for s in col.spans():
            by.setdefault(s.scope == "remora", {})[s.span_id] = s
        equal(len(by[True]), n, "spans by OTLP")
        equal(sorted(by[False]), sorted(by[True]), "span ids by X-Ray")
        for span_id, o in by[True].items():
            compare(by[False][span_id], o)
        users = [(s["url.path"], s["enduser.id"]) for s in by[False].values() if s["enduser.id"]]
        equal([u for _, u in users], ["worf"], "users by X-Ray")
        equal(sorted(len(s.events) for s in by[False].values() if s.events and s.kind == SERVER), [1, 2], "exceptions of requests")


# ---------------------------------------------------------------- the daemon

class Api(StubServer):
    """The X-Ray API, as far as the daemon calls it: what it is sent must be signed, and is taken apart."""

    def __init__(self, rules=(), targets=None, signed=True):
        self.docs, self.telemetry, self.bad, self.asked, self.reports = [], [], [], 0, []
        self.modified = 0.0             # when the rules changed last
        self.rules, self.targets, self.signed = list(rules), targets or (lambda reports: []), signed
        self.lock = threading.Lock()
        api = self

        class Calls(Handler):
            def do_POST(self):
                self.reply(200, api.answer(self), {"Content-Type": "application/json"})

        self.listen(Calls)

    def answer(self, h):
        body = h.body()
        with self.lock:
            answer = b'{"UnprocessedTraceSegments":[]}'
            if self.signed and "Signature=" not in h.headers.get("Authorization", ""):
                self.bad.append("unsigned " + h.path)
            if h.path == "/GetSamplingRules":
                self.asked += 1
                answer = json.dumps({"NextToken": None, "SamplingRuleRecords": [
                    {"CreatedAt": 0.0, "ModifiedAt": 0.0, "SamplingRule": r} for r in self.rules]}).encode()
            elif h.path == "/SamplingTargets":
                got = json.loads(body)["SamplingStatisticsDocuments"]
                self.reports += got
                answer = json.dumps({"SamplingTargetDocuments": self.targets(got), "LastRuleModification": self.modified,
                                     "UnprocessedStatistics": []}).encode()
            elif h.path == "/TraceSegments":
                self.docs += [json.loads(x) for x in json.loads(body)["TraceSegmentDocuments"]]
            elif h.path == "/TelemetryRecords":
                self.telemetry += json.loads(body)["TelemetryRecords"]
        return answer


class XrayDaemon:
    """AWS's daemon, built by tests/receivers/build-xray-daemon."""

    def __init__(self, box, **api):
        exe = os.path.join(ROOT, "build", "xray-daemon")
        r = subprocess.run([os.path.join(ROOT, "tests", "receivers", "build-xray-daemon")], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        if r.returncode == 3:
            raise Skip("go 1.26")
        check(r.returncode == 0, "build-xray-daemon failed: %s" % r.stdout.decode()[-400:])
        self.api = box.keep(Api(**api))
        self.port = free_port()
        self.address = "127.0.0.1:%d" % self.port
        conf = box.write("xray.yaml", 'Version: 2\nEndpoint: "http://127.0.0.1:%d"\nRegion: us-east-1\nLocalMode: true\n'
                         'Socket: {UDPAddress: "%s", TCPAddress: "%s"}\nLogging: {LogLevel: "dev"}\n'
                         % (self.api.port, self.address, self.address))
        self.host = box.start([exe, "-c", conf], traced=False, name="xray-daemon", env={
            "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_EC2_METADATA_DISABLED": "true"})
        wait_port(self.port, self.host)

    def wait(self, n, timeout=20):
        return eventually(lambda: self.api.docs if len(self.api.docs) >= n else None, "%d documents" % n, timeout)


@test
def daemon_forwards_them():
    with Sandbox(OTEL_SERVICE_NAME="backend-flask", OTEL_TRACES_SAMPLER="always_on") as box:
        d = XrayDaemon(box)
        _, app = flask(box, AWS_XRAY_DAEMON_ADDRESS=d.address)
        for path in ("/home", "/call", "/boom"):
            get(app, path)
        docs = d.wait(4)
        app.stop()
        d.host.stop()
        equal(sorted(x["http"]["request"]["url"].rsplit("/", 1)[1] for x in docs), ["boom", "call", "home", "ok"], "documents")
        equal(d.api.bad, [], "unsigned calls")
        check(not [l for l in d.host.lines if "[Warn]" in l or "[Error]" in l], "the daemon's log: %r" % d.host.lines)
        equal((sum(t["SegmentsReceivedCount"] for t in d.api.telemetry), sum(t["SegmentsRejectedCount"] for t in d.api.telemetry)),
              (4, 0), "received, rejected")


@test
def a_burst_arrives():
    """A burst of requests does not drown the daemon's socket buffer, which holds some ninety documents. UDP promises
    nothing, so a few may be lost where the daemon gets no CPU."""
    with Sandbox(OTEL_EXPORTER_OTLP_ENDPOINT=None, OTEL_TRACES_SAMPLER="always_on") as box:
        d = XrayDaemon(box)
        web = box.nginx("", files={"a.txt": b"x"}, env={"AWS_XRAY_DAEMON_ADDRESS": d.address})
        n = 3000
        load(web.port, n, 8, lambda i: ("GET", "/a.txt?i=%d" % i, (), None))
        got = d.wait(n * 95 // 100, timeout=40)
        equal(len({x["id"] for x in got}), len(got), "each once")


# ---------------------------------------------------------------- the SDK

def flat(docs):
    """Segments and subsegments alike, embedded ones taken out: (document, id of its parent)."""
    out = []
    for d in docs:
        out.append((d, d.get("parent_id")))
        out += [(s, s.get("parent_id", d["id"])) for s in d.get("subsegments", [])]
    return out


def tree(docs):
    """What both must tell alike: per segment its name, http block and flags, and those of its calls."""
    rows = flat(docs)
    out = []
    for d, _ in rows:
        if d.get("type") == "subsegment":
            continue
        calls = sorted((shape(s) for s, parent in rows if parent == d["id"]), key=repr)
        out.append((shape(d), calls))
    return out


def shape(d):
    http_ = json.loads(json.dumps(d.get("http", {})))
    for part in http_.values():
        if "url" in part:
            part["url"] = re.sub(r"127\.0\.0\.1:\d+", "HOST", part["url"]).split("?")[0]
    aws = {k: v for k, v in d.get("aws", {}).items() if k in ("operation", "region", "table_name", "request_id")}
    return {"name": d["name"], "http": http_, "fault": d.get("fault", False), "error": d.get("error", False),
            "throttle": d.get("throttle", False), "namespace": d.get("namespace"), "aws": aws,
            "user": d.get("user"), "parent": "parent_id" in d}


# What differs, each for a reason: (path of the field, why).
def same_as_sdk(sdk, ours):
    for (a, _), (b, _) in zip(sdk, ours):
        equal(b, a, "the segment of %r" % a["http"]["request"]["url"])
    for (a, calls_a), (_, calls_b) in zip(sdk, ours):
        equal(len(calls_b), len(calls_a), "calls of %r" % a["http"]["request"]["url"])
        for x, y in zip(calls_a, calls_b):
            where = "call of %r" % a["http"]["request"]["url"]
            want = json.loads(json.dumps(x))
            if "request" in want["http"]:
                # requests is patched below its own layer: methods in lower case
                want["http"]["request"]["method"] = want["http"]["request"]["method"].upper()
            if not y["http"]:               # nothing was sent: we tell no request
                want["http"] = {}
            # the SDK does not see how long the answer of a call was
            y["http"].get("response", {}).pop("content_length", None)
            want["http"].get("response", {}).pop("content_length", None)
            equal(y, want, where)


SDK_REQUESTS = [("/home", {"User-Agent": "golden/1.0", "X-Forwarded-For": "203.0.113.9"}), ("/call", {}), ("/calls", {}),
                ("/refused", {}), ("/boom", {}), ("/nope", {}), ("/slow", {}),
                ("/call", {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"})]


@test
def like_the_sdk():
    needs_module("aws_xray_sdk")
    told = []
    for sdk in (True, False):
        with Sandbox(OTEL_SERVICE_NAME="backend-flask") as box:
            d = box.keep(XrayReceiver(check=not sdk))
            up = box.keep(Upstream())
            app = box.start([PYTHON, os.path.join(APPS, "xray_flask.py"), up.url], r"listening (\d+)", traced=not sdk,
                            env={"AWS_XRAY_DAEMON_ADDRESS": d.address, "OTEL_TRACES_SAMPLER": "parentbased_always_on", "SDK": "1" if sdk else ""})
            for path, headers in SDK_REQUESTS:
                get(app, path, {"User-Agent": "test", **headers})
                d.wait(1, lambda x: is_segment(x) and x["http"]["request"]["url"].endswith(path))
            d.wait(len(SDK_REQUESTS), is_segment)
            d.wait(len(SDK_REQUESTS) if sdk else len(SDK_REQUESTS) + 6)
            told.append(tree(sorted(d.docs, key=lambda x: x["start_time"])))
    same_as_sdk(*told)


if __name__ == "__main__":
    main()
