"""X-Ray: what the daemon's port receives. Every document is checked against the rules of segment documents."""
import json
import os
import re
import signal

from harness import *
from xray_receiver import XrayReceiver

TRACE, PARENT = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
ROOT_ID = "1-5759e988-bd862e3fe1be46a994272793"
HEADER = "Root=%s;Parent=%s;Sampled=%s"


def daemon(box, **env):
    """Every request has a segment, unless a test says who decides."""
    d = box.keep(XrayReceiver())
    box._env.setdefault("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    box._env.update({"AWS_XRAY_DAEMON_ADDRESS": d.address, **env})
    return d


def flask(box, **env):
    up = box.keep(Upstream())
    return up, box.start([PYTHON, os.path.join(APPS, "xray_flask.py"), up.url], r"listening (\d+)",
                         env=env, name="xray_flask")


def port_of(h):
    return int(h.match.group(1))


def get(app, path, headers=(), n=1):
    with Connection(port_of(app)) as c:
        for _ in range(n):
            r = c.request("GET", path, headers)
    return r


def is_segment(d):
    return "type" not in d


def is_sub(d):
    return not is_segment(d)


def segment_of(d, path):
    return d.wait(1, lambda x: is_segment(x) and x.get("http", {}).get("request", {}).get("url", "").endswith(path))[0]


@test
def a_request_and_its_call():
    """The same ids, times and answers as OTLP gets beside it."""
    with Sandbox(OTEL_SERVICE_NAME="backend-flask", OTEL_RESOURCE_ATTRIBUTES="service.version=1.2.3,deployment.environment.name=test",
                 OTEL_TRACES_EXPORTER="otlp") as box:
        d = daemon(box)
        up, app = flask(box)
        get(app, "/call?token=very-secret", {"User-Agent": "golden/1.0", "X-Forwarded-For": "203.0.113.9, 10.0.0.1"})
        sub, seg = sorted(d.wait(2), key=is_segment)
        spans = {s.span_id: s for s in box.recv.wait(2)}
        equal({s.span_id for s in spans.values()}, {seg["id"], sub["id"]}, "span ids in OTLP")
        for doc in (sub, seg):
            s = spans[doc["id"]]
            equal(doc["trace_id"], "1-%s-%s" % (s.trace_id[:8], s.trace_id[8:]), "trace id")
            equal(doc.get("parent_id", ""), s.parent_id, "parent")
            check(abs(doc["start_time"] - s.start / 1e9) < 2e-6 and abs(doc["end_time"] - s.end / 1e9) < 2e-6, "times")
        equal(seg["name"], "backend-flask", "name")
        equal(seg["service"], {"version": "1.2.3"}, "service")
        equal(seg["http"], {
            "request": {"method": "GET", "url": "http://127.0.0.1:%d/call" % port_of(app), "user_agent": "golden/1.0",
                        "client_ip": "203.0.113.9", "x_forwarded_for": True},
            "response": {"status": 200, "content_length": 64}}, "http of the segment")
        equal(sub["name"], "127.0.0.1", "name of the call")
        equal(sub["namespace"], "remote", "namespace")
        equal(sub["http"], {"request": {"method": "GET", "url": up.url + "/ok"},
                            "response": {"status": 200, "content_length": 64}}, "http of the call")
        equal(seg["aws"]["xray"]["sdk"], "remora for c", "sdk")
        for flag in ("fault", "error", "throttle", "cause"):
            check(flag not in seg and flag not in sub, "no " + flag)
        meta = seg["metadata"]["default"]
        equal(meta["otel.resource.deployment.environment.name"], "test", "resource in the metadata")
        equal(meta["url.query"], "token=REDACTED", "query in the metadata")
        equal(sub["metadata"]["default"]["url.full"], up.url + "/ok?secret=REDACTED", "the call's URL in its metadata")
        check("very-secret" not in json.dumps(d.docs), "the secret stays here")


@test
def only_xray():
    """The address alone is enough, and nothing is sent to a collector that nobody named."""
    with Sandbox(OTEL_EXPORTER_OTLP_ENDPOINT=None, REMORA_LOG="debug") as box:
        d = daemon(box)
        _, app = flask(box)
        get(app, "/home")
        d.wait(1)
        app.stop()
        check(not [l for l in app.err if "otlp to" in l], "no OTLP destination: %r" % app.err)
        equal(box.recv.count(), 0, "OTLP spans")


@cases(listed={"OTEL_TRACES_EXPORTER": "xray"}, with_otlp={"OTEL_TRACES_EXPORTER": "otlp, xray"})
def by_the_list(env):
    """Without an address the daemon is where it usually is: nobody there, said once, and the program runs on."""
    with Sandbox(REMORA_LOG="debug", **env) as box:
        _, app = flask(box)
        equal(get(app, "/home").status, 200, "status")
        app.wait_line(r"xray to 127\.0\.0\.1:2000")
        equal(len([l for l in app.err if "otlp to" in l]), "otlp" in env["OTEL_TRACES_EXPORTER"], "OTLP destinations")


@test
def none_wins():
    with Sandbox(OTEL_TRACES_EXPORTER="none") as box:
        d = daemon(box)
        up, app = flask(box)
        get(app, "/call")
        app.stop()
        equal((d.docs, up.requests()[0].one("x-amzn-trace-id")), ([], None), "documents and header")


@test
def failures():
    """4xx is an error, 429 a throttle too, 5xx and broken connections are faults."""
    with Sandbox() as box:
        d = daemon(box)
        _, app = flask(box)
        for path in ("/nope", "/slow", "/boom", "/refused", "/calls"):
            get(app, path)
        d.wait(9)

        def flags(x):
            return tuple(f for f in ("error", "throttle", "fault") if x.get(f))
        equal(flags(segment_of(d, "/nope")), ("error",), "404")
        equal(flags(segment_of(d, "/slow")), ("error", "throttle"), "429")
        equal(flags(segment_of(d, "/boom")), ("fault",), "500")
        down = segment_of(d, "/refused")
        equal(flags(down), ("fault",), "503")
        call = d.wait(1, lambda x: x.get("parent_id") == down["id"])[0]
        equal((call["name"], flags(call), "http" in call), ("127.0.0.1", ("fault",), False), "a refused connection")
        e = call["cause"]["exceptions"][0]
        equal((e["type"], e["message"]), ("ECONNREFUSED", "connect 127.0.0.1: ECONNREFUSED"), "its cause")
        calls = segment_of(d, "/calls")
        subs = sorted((x["http"]["response"]["status"], flags(x)) for x in d.docs if x.get("parent_id") == calls["id"])
        equal(subs, [(200, ()), (404, ("error",)), (503, ("fault",))], "calls")
        equal(flags(calls), (), "their caller is well")


@test
def an_exception_is_the_cause():
    """What Flask logs of an exception is tied to its request, with the frames."""
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=1000, REMORA_ERRORS=1, REMORA_ERRORS_LOGGED=1) as box:
        d = daemon(box)
        _, app = flask(box)
        get(app, "/boom")
        e = segment_of(d, "/boom")["cause"]["exceptions"][0]
        equal((e["type"], e["message"], e["remote"]), ("ZeroDivisionError", "boom", False), "exception")
        f = e["stack"][0]
        equal((os.path.basename(f["path"]), f["label"], type(f["line"])), ("xray_flask.py", "boom", int), "innermost frame")


CRASHES = """
import ctypes, os, flask
from werkzeug.serving import make_server
app = flask.Flask(__name__)

@app.route('/home')
def home():
    return 'hello'

@app.route('/die')
def die():
    ctypes.string_at(8)

servers = [make_server('127.0.0.1', 0, app) for _ in range(2)]
child = os.fork()
if child:
    print('listening', *[s.port for s in servers], flush=True)
servers[child == 0].serve_forever()
"""


@test
def a_crash_is_the_cause():
    """A worker dies of a request: its segment has the crash with its frames, told by the process that exports."""
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=1000) as box:
        d = daemon(box)
        app = box.start([PYTHON, "-c", CRASHES], r"listening (\d+) (\d+)")
        get(app, "/home")
        d.wait(1)
        raw_exchange(int(app.match.group(2)), b"GET /die HTTP/1.1\r\nHost: x\r\n\r\n")
        seg = d.wait(1, lambda x: "cause" in x)[0]
        equal((seg["fault"], seg["http"]["request"]["url"]), (True, "http://x/die"), "the segment")
        e = seg["cause"]["exceptions"][0]
        equal(e["type"], "SIGSEGV", "type")
        labels = [f.get("label", "") for f in e["stack"]]
        check(len(labels) > 5 and any("string_at" in l or "strlen" in l for l in labels[:8]), "frames: %r" % labels[:8])


# ---------------------------------------------------------------- names

def one_name(headers=(), **env):
    with Sandbox(**env) as box:
        d = daemon(box)
        _, app = flask(box)
        get(app, "/home", headers)
        return d.wait(1)[0]["name"]


@test
def tracing_name():
    equal(one_name(OTEL_SERVICE_NAME="a", AWS_XRAY_TRACING_NAME="b"), "b", "AWS_XRAY_TRACING_NAME wins")


@test
def fit_name():
    equal(one_name(OTEL_SERVICE_NAME='back?end (*) "flask" \u00e9\u4e2d \U0001f600<>$'), "backend  flask \u00e9\u4e2d ", "name")


@cases(matches=("SHOP.example.com:81", "SHOP.example.com:81"), another=("evil.test", "backend"))
def dynamic_name(case):
    host, name = case
    with Sandbox(OTEL_SERVICE_NAME="backend", REMORA_XRAY_DYNAMIC_NAMING="*.Example.com:8?") as box:
        d = daemon(box)
        _, app = flask(box)
        raw_exchange(port_of(app), b"GET /home HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host.encode())
        equal(d.wait(1)[0]["name"], name, "name")


# ---------------------------------------------------------------- what else a segment says

@test
def annotations_and_platform():
    env = {"REMORA_XRAY_ANNOTATIONS": "http.route, url.path ,deployment.*,server.port",
           "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod,aws.xray.annotations=team,team=blue,"
                                       "cloud.provider=aws,cloud.platform=aws_ecs,aws.ecs.launchtype=fargate,cloud.account.id=1234,"
                                       "container.name=web,container.id=c1,aws.ecs.container.arn=arn%3Aaws%3Aecs%3Ax",
           "REMORA_CLOUDWATCH_LOG_GROUP": "cruddur"}
    with Sandbox(**env) as box:
        d = daemon(box)
        _, app = flask(box)
        get(app, "/home")
        seg = d.wait(1)[0]
        equal(seg["annotations"], {"url_path": "/home", "deployment_environment_name": "prod", "team": "blue",
                                   "server_port": port_of(app)}, "annotations")
        check("server.port" not in seg["metadata"]["default"], "an annotation is not metadata as well")
        equal(seg["origin"], "AWS::ECS::Fargate", "origin")
        equal(seg["aws"]["ecs"], {"container": "web", "container_id": "c1", "container_arn": "arn:aws:ecs:x",
                                  "launch_type": "fargate"}, "ecs")
        equal((seg["aws"]["account_id"], seg["aws"]["cloudwatch_logs"]), ("1234", [{"log_group": "cruddur"}]), "aws")


@test
def origin_of_the_execution_environment():
    with Sandbox(AWS_EXECUTION_ENV="AWS_ECS_EC2") as box:
        d = daemon(box)
        _, app = flask(box)
        get(app, "/home")
        equal(d.wait(1)[0]["origin"], "AWS::ECS::EC2", "origin")


@test
def a_call_of_nobody():
    """curl serves no request: its call gets a segment to hang on, under the service's name."""
    with Sandbox(OTEL_SERVICE_NAME="cron") as box:
        d = daemon(box)
        up = box.keep(Upstream())
        equal(box.run([needs("curl"), "-q", "-sS", up.url + "/ok"]).rc, 0, "curl")
        sub, seg = sorted(d.wait(2), key=is_segment)
        equal((seg["name"], sub["name"], sub["parent_id"]), ("cron", "127.0.0.1", seg["id"]), "the pair")
        check("parent_id" not in seg and "http" not in seg, "a root")
        equal(up.requests()[0].one("x-amzn-trace-id"), HEADER % (seg["trace_id"], sub["id"], 1), "what went out")


@test
def long_requests():
    """What is too long is cut, and a document that would be too long goes without its metadata."""
    with Sandbox(REMORA_XRAY_ANNOTATIONS="url.scheme") as box:
        d = daemon(box)
        web = box.http_server({"a.txt": b"hello"})
        with Connection(web.port) as c:
            c.request("GET", "/" + "p" * 300, {"User-Agent": "u" * 300})
            c.request("GET", "/a.txt?" + "q=%22" + "%00" * 20000)
        long, short = sorted(d.wait(2), key=lambda x: "/a.txt" not in x["http"]["request"]["url"])
        equal((len(short["http"]["request"]["url"]), len(short["http"]["request"]["user_agent"])), (250, 250), "cut")
        check("metadata" in short, "metadata of the first")
        equal(long["http"]["request"]["url"], "http://127.0.0.1:%d/a.txt" % web.port, "url of the second")
        check(max(d.sizes) <= 65507, "datagrams")


@test
def texts_that_are_no_utf8():
    with Sandbox() as box:
        d = daemon(box)
        web = box.http_server({"a.txt": b"hello"})
        raw_exchange(web.port, b'GET /a.txt?x="\\ HTTP/1.1\r\nHost: h\xe9"\r\nUser-Agent: q"\\\xf0\x9f\r\nConnection: close\r\n\r\n')
        seg = d.wait(1)[0]
        equal(seg["http"]["request"]["user_agent"], 'q"\\\ufffd', "user agent")


@test
def open_requests():
    """By option a request that takes long is told while it runs, and once more when it is over."""
    with Sandbox(REMORA_XRAY_IN_PROGRESS_MS=100) as box:
        d = daemon(box)
        up, app = flask(box)
        get(app, "/home")               # it exports from its first request on
        d.wait(1)
        with Connection(port_of(app)) as c:
            c.send(b"GET /hang HTTP/1.1\r\nHost: x\r\nUser-Agent: u\r\n\r\n")
            seg = d.wait(1, lambda x: "in_progress" in x)[0]
            check(not [x for x in d.docs if x["id"] == seg["id"] and "end_time" in x], "it is still open")
            up.release()
            equal(c.read_response()[0], 200, "status")
        done = d.wait(1, lambda x: x["id"] == seg["id"] and "end_time" in x)[0]
        for key in ("trace_id", "start_time", "name"):
            equal(seg[key], done[key], key)
        equal(seg["http"], {"request": done["http"]["request"]}, "http")
        equal(len([x for x in d.docs if "in_progress" in x]), 1, "told once")


# ---------------------------------------------------------------- addresses

@cases(both="udp:{} tcp:127.0.0.1:1", reverse="tcp:127.0.0.1:1  udp:{}", name="localhost:{port}", udp_only="udp:{}")
def address(form):
    with Sandbox() as box:
        d = box.keep(XrayReceiver())
        _, app = flask(box, AWS_XRAY_DAEMON_ADDRESS=form.format(d.address, port=d.port))
        get(app, "/home")
        d.wait(1)


@cases(no_port="xray-daemon", words="udp:1.2.3.4:2000 udp:1.2.3.4:2000", high="h:70000", url="http://h:2000", empty_host=":2000")
def bad_address(value):
    with Sandbox(AWS_XRAY_DAEMON_ADDRESS=value) as box:
        _, app = flask(box)
        equal(get(app, "/home").status, 200, "status")
        m = app.wait_line(r"remora: AWS_XRAY_DAEMON_ADDRESS=(.*) is not host:port")
        equal(m.group(1), value, "the culprit")


@test
def unknown_name():
    """A name that nobody knows costs segments, counted, and one message."""
    with Sandbox(AWS_XRAY_DAEMON_ADDRESS="nobody.invalid:2000", REMORA_LOG="debug") as box:
        _, app = flask(box)
        equal(get(app, "/home").status, 200, "status")
        app.wait_line(r"AWS_XRAY_DAEMON_ADDRESS: nobody.invalid cannot be looked up")
        app.wait_line(r"xray: 1 spans, 1 lost")
        app.stop()


@test
def nobody_listens():
    """No daemon: the program is served as ever, the loss is counted; when one comes up it gets what follows."""
    with Sandbox(REMORA_LOG="debug", OTEL_TRACES_SAMPLER="always_on") as box:
        port = free_port()
        _, app = flask(box, AWS_XRAY_DAEMON_ADDRESS="127.0.0.1:%d" % port)
        for i in range(3):
            equal(get(app, "/home").status, 200, "status")
            app.wait_line(r"xray: 1 spans", count=i + 1)
        app.wait_line(r"xray: nobody listens at 127.0.0.1:%d" % port)
        app.wait_line(r"spans are lost: .*dropped.refused [1-9]")
        d = box.keep(XrayReceiver(port))
        get(app, "/home")
        d.wait(1)
        equal(len([l for l in app.err if "nobody listens" in l]), 1, "messages")


# ---------------------------------------------------------------- propagation

def one_call(headers, docs=2, **env):
    with Sandbox(**env) as box:
        d = daemon(box)
        up, app = flask(box)
        get(app, "/call", headers)
        if docs:
            d.wait(docs)
        else:
            get(app, "/home", {"X-Amzn-Trace-Id": HEADER % (ROOT_ID, PARENT, 1)})
            equal(len(d.wait(1)), 1, "documents")
        return d.docs, up.requests()[0]


@test
def header_in_and_out():
    docs, wire = one_call({"x-amzn-trace-id": "Self=1-67891234-12456789abcdef012345678;" + HEADER % (ROOT_ID, PARENT, 1)})
    sub, seg = sorted(docs, key=is_segment)
    equal((seg["trace_id"], seg["parent_id"]), (ROOT_ID, PARENT), "the segment")
    equal(wire.one("x-amzn-trace-id"), HEADER % (ROOT_ID, sub["id"], 1), "on the wire")
    equal(wire.traceparent(), (TRACE, sub["id"], 1), "traceparent beside it")


@cases(question=HEADER % (ROOT_ID, PARENT, "?"), silent="Root=%s;Parent=%s" % (ROOT_ID, PARENT),
       order="Sampled=1; Parent=%s ;Lineage=a:1;Root=%s" % (PARENT, ROOT_ID))
def we_decide(value):
    docs, wire = one_call({"X-Amzn-Trace-Id": value})
    sub, seg = sorted(docs, key=is_segment)
    equal((seg["trace_id"], seg["parent_id"]), (ROOT_ID, PARENT), "the segment")
    other = ";Lineage=a:1" if "Lineage" in value else ""
    equal(wire.one("x-amzn-trace-id"), HEADER % (ROOT_ID, sub["id"], 1) + other, "on the wire")


@test
def root_alone():
    """A load balancer's header has no parent: its trace, our root."""
    docs, wire = one_call({"X-Amzn-Trace-Id": "Root=" + ROOT_ID})
    sub, seg = sorted(docs, key=is_segment)
    equal((seg["trace_id"], "parent_id" in seg), (ROOT_ID, False), "the segment")
    equal(wire.one("x-amzn-trace-id"), HEADER % (ROOT_ID, sub["id"], 1), "on the wire")


@test
def not_sampled():
    _, wire = one_call({"X-Amzn-Trace-Id": HEADER % (ROOT_ID, PARENT, 0)}, docs=0)
    check(re.fullmatch(HEADER % (ROOT_ID, "[0-9a-f]{16}", 0), wire.one("x-amzn-trace-id")), wire.one("x-amzn-trace-id"))


@cases(short="Root=1-5759e988-bd86;Parent=%s" % PARENT, no_root="Parent=%s;Sampled=1" % PARENT,
       zero="Root=1-00000000-%s;Parent=%s" % ("0" * 24, PARENT), parent="Root=%s;Parent=xyz" % ROOT_ID)
def malformed_is_a_new_trace(value):
    docs, _ = one_call({"X-Amzn-Trace-Id": value})
    seg = next(filter(is_segment, docs))
    check(seg["trace_id"] != ROOT_ID and "parent_id" not in seg, "a new root: %r" % seg["trace_id"])


@test
def w3c_in_xray_out():
    docs, wire = one_call({"traceparent": "00-%s-%s-01" % (TRACE, PARENT)})
    sub, seg = sorted(docs, key=is_segment)
    equal((seg["trace_id"], seg["parent_id"]), (ROOT_ID, PARENT), "the segment")
    equal(wire.one("x-amzn-trace-id"), HEADER % (ROOT_ID, sub["id"], 1), "on the wire")


@test
def propagators_that_are_set():
    docs, wire = one_call({"X-Amzn-Trace-Id": HEADER % (ROOT_ID, PARENT, 1)}, OTEL_PROPAGATORS="tracecontext")
    check(all(d["trace_id"] != ROOT_ID for d in docs), "the header is not read")
    equal(wire.one("x-amzn-trace-id"), None, "nor written")


if __name__ == "__main__":
    main()
