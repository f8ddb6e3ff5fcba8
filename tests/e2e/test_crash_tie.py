"""A server that crashes while it serves: the report, the spans and what leads from one to the other."""
import contextlib
import json
import shutil
import signal

from harness import *
from rollbar_stub import Reply, Rollbar, TOKEN

APP = r'''
import ctypes, http.client, http.server, os, socket, sys, threading
UP = int(os.environ["UP_PORT"])

class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_GET(self):
        if self.path.startswith("/boom"):
            c = http.client.HTTPConnection("127.0.0.1", UP)
            c.request("GET", "/price?token=hunter2")
            c.getresponse().read()
            print("retrying the charge", file=sys.stderr, flush=True)
            ctypes.string_at(0)
        if self.path == "/wait":
            waits.set()
            threading.Event().wait(30)
        body = b"fine\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

class S(http.server.ThreadingHTTPServer):
    daemon_threads = True
    def service_actions(self):
        if waits.is_set():
            waits.clear()
            print("waits", flush=True)

waits = threading.Event()
s = S(("127.0.0.1", 0), H)
if "fork" in sys.argv and os.fork():
    # The parent exports: it serves the first request, and stays. Its child takes the next port.
    p = s
    print("parent %d" % p.server_address[1], flush=True)
    p.serve_forever(0.05)
elif "fork" in sys.argv:
    s.server_close()
    s = S(("127.0.0.1", 0), H)
    print("child %d" % s.server_address[1], flush=True)
    s.serve_forever(0.05)
else:
    print("port %d" % s.server_address[1], flush=True)
    s.serve_forever(0.05)
'''


class Box(Sandbox):
    def __init__(self, **env):
        super().__init__(**env)
        self.rollbar = self.keep(Rollbar())
        self.up = self.keep(Upstream())
        self.state = os.path.join(self.dir, "state")
        self.write("app.py", APP)

    def env(self, traced=True, **more):
        return super().env(traced, **{"REMORA_STATE_DIR": self.state, "ROLLBAR_ENDPOINT": self.rollbar.url,
                                      "ROLLBAR_ACCESS_TOKEN": TOKEN, "REMORA_RUNTIME_DIR": self.runtime,
                                      "UP_PORT": self.up.url.rsplit(":", 1)[1], "OTEL_SERVICE_NAME": "shop", **more})

    def crash(self, port, host):
        """One request waits, the other crashes."""
        with Connection(port) as waits, Connection(port) as booms:
            waits.send(b"GET /wait HTTP/1.1\r\nHost: shop\r\n\r\n")
            host.wait_line("waits")
            booms.send(b"GET /boom?user=worf&password=hunter2 HTTP/1.1\r\nHost: shop\r\nUser-Agent: test/1\r\n\r\n")
            for c in (waits, booms):
                with contextlib.suppress(ConnectionError):
                    c.read_response()
                    raise AssertionError("answered")


def tied(spans, item, uuid_key="rollbar.uuid"):
    """Both open requests have the exception, and item and spans each other's ids."""
    boom, = [s for s in spans if s["url.path"] == "/boom"]
    waits, = [s for s in spans if s["url.path"] == "/wait"]
    for s in (boom, waits):
        equal((s.status, s["error.type"], s["remora.aborted"]), (2, "SIGSEGV", "crash"), "%s: how it ended" % s)
        check(s.events, "%s has no event" % s)
        (name, attrs), = s.events
        equal((name, attrs["exception.type"]), ("exception", "SIGSEGV"), "event")
        check("0x0" in attrs["exception.message"], attrs["exception.message"])
        check("_ctypes" in attrs["exception.stacktrace"], attrs["exception.stacktrace"][:300])
        equal(s[uuid_key], item["uuid"], "%s: uuid" % s)
    custom = item["custom"]
    equal((custom["trace_id"], custom["span_id"]), (boom.trace_id, boom.span_id), "ids in the item")
    call, = [s for s in spans if s["url.full"] and "/price" in s["url.full"]]
    equal(call.parent_id, boom.span_id, "the call's parent")
    return boom


def told(item):
    equal(item["context"], "GET /boom", "context")
    r = item["request"]
    equal((r["method"], r["headers"]["User-Agent"], r["GET"]["user"]), ("GET", "test/1", "worf"), "request")
    check("hunter2" not in json.dumps(item), "the secret is in the item")
    t = item["body"]["telemetry"]
    check(any(e["type"] == "network" and "/price" in e["body"]["url"] and e["body"]["status_code"] == "200" for e in t),
          "no call in the timeline: %r" % t)
    check(any(e["type"] == "log" and e["body"]["message"] == "retrying the charge" for e in t), "no log line: %r" % t)


@test
def by_the_helper():
    """The process that crashes is the one that exports."""
    with Box() as box:
        app = box.start([PYTHON, box.path("app.py")])
        port = int(app.wait_line(r"port (\d+)").group(1))
        with Connection(port) as c:
            c.request("GET", "/first")
        box.recv.wait(1)
        box.crash(port, app)
        equal(app.wait(), -signal.SIGSEGV, "exit status")
        item, = box.rollbar.wait(1)
        tied(box.recv.wait(4), item)
        told(item)
        box.rollbar.check()


@test
def by_the_exporter_of_another_process():
    with Box() as box:
        app = box.start([PYTHON, box.path("app.py"), "fork"])
        parent = int(app.wait_line(r"parent (\d+)").group(1))
        with Connection(parent) as c:
            c.request("GET", "/first")
        box.recv.wait(1)
        box.crash(int(app.wait_line(r"child (\d+)").group(1)), app)
        item, = box.rollbar.wait(1)
        tied(box.recv.wait(4), item)
        told(item)
        with Connection(parent) as c:
            equal(c.request("GET", "/after").status, 200, "the parent serves on")
        box.rollbar.check()


@test
def by_the_next_start():
    """No helper can be found: crash file and spans lie there until somebody starts."""
    with Box() as box:
        lib = box.path("lib", "libremora.so")
        os.makedirs(os.path.dirname(lib), exist_ok=True)
        shutil.copy(SHIM, lib)
        app = box.start([PYTHON, box.path("app.py")], env={"LD_PRELOAD": lib})
        port = int(app.wait_line(r"port (\d+)").group(1))
        box.crash(port, app)
        equal(app.wait(), -signal.SIGSEGV, "exit status")
        equal((box.recv.spans(), box.rollbar.posts), ([], []), "sent so far")
        r = box.run([LAUNCHER, "flush"], env={"LD_PRELOAD": None})
        equal(r.rc, 0, "flush: %r" % r)
        item, = box.rollbar.wait(1)
        tied(box.recv.wait(3), item)
        told(item)
        box.rollbar.check()


FLASK = r'''
import ctypes, os
from flask import Flask
app = Flask(__name__)

@app.route("/boom/<order>")
def boom(order):
    ctypes.string_at(0)

@app.route("/ok")
def ok():
    return str(os.getpid())
'''


@test
def of_a_gunicorn_worker():
    """Whoever of the tree exports, each time: service goes on, item and span are there."""
    needs_module("flask")
    with Box() as box:
        box.write("app.py", FLASK)
        g = box.gunicorn(workers=2, cwd=box.dir)
        for i in range(1, 5):
            with Connection(g.port) as c:
                with contextlib.suppress(ConnectionError):
                    c.request("GET", "/boom/%d" % i)
                    raise AssertionError("answered")
            g.wait_line("Booting worker", count=2 + i)
            items = box.rollbar.wait(i)
            span, = box.recv.wait(1, lambda s: s["url.path"] == "/boom/%d" % i)
            item, = [x for x in items if x["context"] == "GET /boom/%d" % i]
            equal((span["rollbar.uuid"], span["error.type"], item["custom"]["span_id"]), (item["uuid"], "SIGSEGV", span.span_id), "tie")
            equal(span.events[0][1]["exception.type"], "SIGSEGV", "event")
            with Connection(g.port) as c:
                equal(c.request("GET", "/ok").status, 200, "it serves on")
        g.stop()
        equal(len(box.rollbar.items), 4, "items")
        box.rollbar.check()


@test
def without_rollbar():
    """The report is kept here, and the span names it."""
    with Box() as box:
        app = box.start([PYTHON, box.path("app.py")], env={"ROLLBAR_ACCESS_TOKEN": None})
        box.crash(int(app.wait_line(r"port (\d+)").group(1)), app)
        equal(app.wait(), -signal.SIGSEGV, "exit status")
        span, = box.recv.wait(1, lambda s: s["url.path"] == "/boom")
        equal(span.events[0][1]["exception.type"], "SIGSEGV", "event")
        r = box.run([LAUNCHER, "crashes", "show", span["remora.report"]], traced=False)
        check(b"SIGSEGV" in r.out and span.span_id.encode() in r.out, "%r" % r)


@test
def rollbar_hangs():
    """The spans do not wait for Rollbar, nor the program for longer than it was told."""
    with Box() as box:
        box.rollbar.always = Reply(action="hang")
        app = box.start([PYTHON, box.path("app.py")], env={"REMORA_CRASH_WAIT_MS": "4000"})
        port = int(app.wait_line(r"port (\d+)").group(1))
        begin = time.monotonic()
        box.crash(port, app)
        equal(app.wait(), -signal.SIGSEGV, "exit status")
        check(time.monotonic() - begin < 8, "%.1f s" % (time.monotonic() - begin))
        post, = box.rollbar.wait_posts(1)
        tied(box.recv.wait(3), post.data)


if __name__ == "__main__":
    main()
