"""X-Ray: why a request failed, as a segment's cause tells it: chains of exceptions, frames, crashes; and who asked."""
import contextlib
import json
import os
import signal

from harness import *
from test_xray import daemon, get, is_segment, segment_of

APP = r'''
import ctypes, sys
import flask
from werkzeug.serving import make_server
app = flask.Flask(__name__)

def find(order):
    try:
        return {}[order]
    except KeyError as e:
        raise ValueError("no such order") from e

@app.route("/ok")
def ok():
    return "fine"

@app.route("/chain")
def chain():
    try:
        find("o7")
    except ValueError:
        raise RuntimeError("cannot be sold")

@app.route("/deep")
def deep():
    last = None
    for i in range(14):
        try:
            raise ValueError("number %d" % i) from last
        except ValueError as e:
            last = e
    raise last

def ping(n):
    return pong(n - 1)

def pong(n):
    if n <= 0:
        raise OverflowError("enough")
    return ping(n - 1)

@app.route("/far")
def far():
    return ping(70)

@app.route("/handled")
def handled():
    try:
        find("o8")
    except ValueError:
        app.logger.exception("retried")
    return "fine"

@app.route("/die")
def die():
    ctypes.string_at(8)

server = make_server("127.0.0.1", 0, app, threaded=True)
print("listening", server.port, flush=True)
server.serve_forever()
'''


@contextlib.contextmanager
def flask(**env):
    needs_module("flask")
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=1000, REMORA_ERRORS=1, REMORA_ERRORS_LOGGED=1, **env) as box:
        box.write("app.py", APP)
        d = daemon(box)
        yield d, box.start([PYTHON, "app.py"], r"listening (\d+)", cwd=box.dir), box


def chain_of(cause):
    """The exceptions in the order of their links, from the one that ended the request."""
    by = {e["id"]: e for e in cause["exceptions"]}
    e, out = cause["exceptions"][0], []
    while e:
        out.append(e)
        e = by.pop(e["cause"]) if "cause" in e else None
    equal(len(out), len(cause["exceptions"]), "exceptions in the chain")
    return out


@test
def a_chain():
    """`from` and "During handling": three exceptions, each with its own frames."""
    with flask(REMORA_USER="header:X-User-Id") as (d, app, box):
        get(app, "/chain", {"X-User-Id": "worf", "Authorization": "Bearer very-secret"})
        seg = segment_of(d, "/chain")
        equal((seg["fault"], seg["user"], seg["http"]["response"]["status"]), (True, "worf", 500), "the segment")
        chain = chain_of(seg["cause"])
        equal([(e["type"], e["message"], e["remote"]) for e in chain],
              [("RuntimeError", "cannot be sold", False), ("ValueError", "no such order", False), ("KeyError", "'o7'", False)],
              "exceptions")
        where = [(os.path.basename(e["stack"][0]["path"]), e["stack"][0]["label"]) for e in chain]
        equal(where, [("app.py", "chain"), ("app.py", "find"), ("app.py", "find")], "innermost frames")
        check(len(chain[0]["stack"]) > 3 and chain[0]["stack"][0]["line"] > chain[1]["stack"][0]["line"], "frames")
        equal(os.path.realpath(seg["cause"]["working_directory"]), os.path.realpath(box.dir), "working_directory")
        check("very-secret" not in json.dumps(d.docs), "the secret stays here")


@test
def a_long_chain():
    """Fourteen exceptions: nine, and what it all came from, with how many are left out."""
    with flask() as (d, app, _):
        get(app, "/deep")
        chain = chain_of(segment_of(d, "/deep")["cause"])
        equal([e["message"] for e in chain], ["number %d" % i for i in (13, 12, 11, 10, 9, 8, 7, 6, 5, 0)], "messages")
        equal([e.get("skipped") for e in chain], [None] * 9 + [4], "skipped")


@test
def many_frames():
    with flask() as (d, app, _):
        get(app, "/far")
        e, = segment_of(d, "/far")["cause"]["exceptions"]
        equal((len(e["stack"]), e["stack"][0]["label"], e["stack"][1]["label"]), (50, "pong", "ping"), "frames")
        check(e["truncated"] > 20, "truncated: %r" % e["truncated"])


@test
def a_handled_one():
    """What the program logged and got over is no fault."""
    with flask() as (d, app, _):
        get(app, "/handled")
        seg = segment_of(d, "/handled")
        equal([e["type"] for e in chain_of(seg["cause"])], ["ValueError", "KeyError"], "exceptions")
        check("fault" not in seg, "a fault")


FORKS = r'''
import os, flask
from werkzeug.serving import make_server
app = flask.Flask(__name__)

@app.route("/ok")
def ok():
    return "fine"

@app.route("/boom")
def boom():
    raise ZeroDivisionError("boom")

servers = [make_server("127.0.0.1", 0, app) for _ in range(2)]
child = os.fork()
if child:
    print("listening", *[s.port for s in servers], flush=True)
else:
    os.chdir("/proc")
servers[child == 0].serve_forever()
'''


@test
def a_worker_elsewhere():
    """The working directory is that of the process that served the request, not of the one that exports."""
    needs_module("flask")
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=1000, REMORA_ERRORS=1, REMORA_ERRORS_LOGGED=1) as box:
        d = daemon(box)
        app = box.start([PYTHON, "-c", FORKS], r"listening (\d+) (\d+)", cwd=box.dir)
        get(app, "/ok")
        d.wait(1)
        raw_exchange(int(app.match.group(2)), b"GET /boom HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        equal(segment_of(d, "/boom")["cause"]["working_directory"], "/proc", "working_directory")


@test
def a_crash_told_by_the_helper():
    """Nobody but the crashed process exports: the frames reach the segment all the same."""
    with flask() as (d, app, box):
        get(app, "/ok")
        d.wait(1)
        with contextlib.suppress(ConnectionError, AssertionError):
            get(app, "/die")
        equal(app.wait(), -signal.SIGSEGV, "exit status")
        seg = d.wait(1, lambda x: "cause" in x)[0]
        e = seg["cause"]["exceptions"][0]
        equal((e["type"], seg["fault"]), ("SIGSEGV", True), "the segment")
        labels = [f.get("label", "") for f in e["stack"]]
        check(len(labels) > 5 and any("string_at" in l or "strlen" in l for l in labels[:8]), "frames: %r" % labels[:8])
        equal(os.path.realpath(seg["cause"]["working_directory"]), os.path.realpath(box.dir), "working_directory")
        check(any("/libc" in p for p in seg["cause"]["paths"]), "paths: %r" % seg["cause"]["paths"][:5])


@test
def a_call_that_failed():
    """The other side's failure, not ours."""
    with Sandbox() as box:
        d = daemon(box)
        equal(box.run([needs("curl"), "-q", "-sS", "http://127.0.0.1:1/x"]).rc, 7, "curl")
        e, = d.wait(1, lambda x: "cause" in x)[0]["cause"]["exceptions"]
        equal((e["type"], e["remote"]), ("ECONNREFUSED", True), "exception")


JAVA = """
import com.sun.net.httpserver.*;
import java.net.InetSocketAddress;
public class T {
  static void read() { throw new IllegalArgumentException("no such order"); }
  public static void main(String[] a) throws Exception {
    HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    s.createContext("/boom", x -> {
      try { read(); } catch (RuntimeException e) { new IllegalStateException("cannot be sold", e).printStackTrace(); }
      x.sendResponseHeaders(500, -1);
      x.close();
    });
    s.start();
    System.out.println("listening " + s.getAddress().getPort());
  }
}
"""


@test
def caused_by():
    java, javac = needs("java"), needs("javac")
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=1000, REMORA_ERRORS=1, REMORA_ERRORS_LOGGED=1) as box:
        d = daemon(box)
        box.write("T.java", JAVA)
        equal(box.run([javac, "T.java"], traced=False, timeout=90).rc, 0, "javac")
        app = box.start([java, "-cp", box.dir, "T"], r"listening (\d+)")
        get(app, "/boom")
        chain = chain_of(segment_of(d, "/boom")["cause"])
        equal([(e["type"], e["message"]) for e in chain], [("java.lang.IllegalStateException", "cannot be sold"),
                                                           ("java.lang.IllegalArgumentException", "no such order")], "chain")
        equal(chain[1]["stack"][0]["label"], "read", "innermost frame")


@cases(header=("header:X-User-Id", {"X-User-Id": "w" * 255}, "w" * 250), cookie=("cookie:uid", {"Cookie": "sid=s3cret; uid=worf"}, "worf"),
       query=("query:user", {}, "picard"))
def user(case):
    rule, headers, want = case
    with Sandbox(REMORA_USER=rule, REMORA_XRAY_ANNOTATIONS="enduser.*") as box:
        d = daemon(box)
        web = box.http_server({"a.txt": b"hello"})
        with Connection(web.port) as c:
            c.request("GET", "/a.txt?user=picard", headers)
        seg = d.wait(1, is_segment)[0]
        equal(seg["user"], want, "user")
        check("s3cret" not in json.dumps(d.docs), "another cookie is in the document")


@test
def what_annotations_may_be():
    """Fifty at most, one of each name, no lists: what is none stands in the metadata."""
    attrs = ",".join("many.a%d=%d" % (i, i) for i in range(60))
    with Sandbox(REMORA_XRAY_ANNOTATIONS="twice?x,many.*,http.request.header.*", REMORA_CAPTURE_HEADERS="x-shop",
                 OTEL_RESOURCE_ATTRIBUTES="twice.x=1,twice-x=2," + attrs) as box:
        d = daemon(box)
        web = box.http_server({"a.txt": b"hello"})
        with Connection(web.port) as c:
            c.request("GET", "/a.txt", {"X-Shop": "berlin"})
        seg = d.wait(1, is_segment)[0]
        meta = seg["metadata"]["default"]
        equal(meta["http.request.header.x-shop"], ["berlin"], "a list")
        equal((seg["annotations"]["twice_x"], meta["otel.resource.twice-x"]), ("1", "2"), "two of a name")
        told = sorted([k for k in seg["annotations"] if k.startswith("many_")] +
                      [k[14:].replace(".", "_") for k in meta if k.startswith("otel.resource.many.")])
        equal(told, sorted("many_a%d" % i for i in range(60)), "each once")
        equal(len(seg["annotations"]), 50, "annotations")


PLATFORMS = {
    "ec2": ("cloud.platform=aws_ec2,host.id=i-1,host.type=t3.large,host.image.id=ami-1,cloud.availability_zone=ca-central-1a",
            {"ec2": {"instance_id": "i-1", "instance_size": "t3.large", "ami_id": "ami-1", "availability_zone": "ca-central-1a"}}),
    "ecs": ("cloud.platform=aws_ecs,container.name=web,container.id=c1,aws.ecs.task.arn=arn:t,aws.ecs.task.family=f,"
            "aws.ecs.cluster.arn=arn:c,aws.ecs.launchtype=ec2,host.id=i-1",
            {"ecs": {"container": "web", "container_id": "c1", "task_arn": "arn:t", "task_family": "f", "cluster_arn": "arn:c",
                     "launch_type": "ec2"}, "ec2": {"instance_id": "i-1"}}),
    "eks": ("cloud.platform=aws_eks,k8s.pod.name=p,k8s.cluster.name=c,container.id=c1",
            {"eks": {"pod": "p", "cluster_name": "c", "container_id": "c1"}}),
    "beanstalk": ("cloud.platform=aws_elastic_beanstalk,service.namespace=prod,service.version=v7,service.instance.id=32",
                  {"elastic_beanstalk": {"environment_name": "prod", "version_label": "v7", "deployment_id": 32}}),
    "logs": ("cloud.account.id=1234,cloud.region=cn-north-1,aws.log.group.names=one&two,aws.log.group.arns=arn:one",
             {"account_id": "1234", "cloudwatch_logs": [
                 {"log_group": "cruddur", "arn": "arn:aws-cn:logs:cn-north-1:1234:log-group:cruddur"},
                 {"log_group": "one", "arn": "arn:one"}, {"log_group": "two"}]}),
}


@cases(**{k: k for k in PLATFORMS})
def where_it_runs(name):
    attrs, want = PLATFORMS[name]
    with Sandbox(OTEL_RESOURCE_ATTRIBUTES="cloud.provider=aws," + attrs,
                 REMORA_CLOUDWATCH_LOG_GROUP="cruddur" if name == "logs" else None, AWS_EC2_METADATA_DISABLED="true") as box:
        d = daemon(box)
        web = box.http_server({"a.txt": b"hello"})
        with Connection(web.port) as c:
            c.request("GET", "/a.txt")
        got = d.wait(1, is_segment)[0]["aws"]
        equal({k: v for k, v in got.items() if k != "xray"}, want, "aws")


if __name__ == "__main__":
    main()
