"""Flask under gunicorn: pre-forked workers, sync and gthread, with outgoing calls."""
from harness import *


def access(host):
    """gunicorn's own list of requests: (method, target, status, bytes)."""
    out = []
    for line in host.lines:
        if line.startswith("ACCESS "):
            _, m, target, status, size = line.split(" ")
            out.append((m, target.rstrip("?"), int(status), 0 if size == "-" else int(size)))
    return out


ROUTES = [("GET", "/api/activities/home"), ("GET", "/api/activities/@andrewbrown"),
          ("GET", "/api/activities/@nobody"), ("GET", "/api/message_groups"),
          ("GET", "/api/broken"), ("GET", "/api/stream?n=7"), ("GET", "/api/bytes?n=200000"),
          ("POST", "/api/echo"), ("HEAD", "/api/message_groups"), ("DELETE", "/api/message_groups")]


@cases(sync=["-k", "sync"], gthread=["-k", "gthread", "--threads", "4"])
def every_route(args):
    with Sandbox(OTEL_SERVICE_NAME="backend-flask") as box:
        app = box.gunicorn(*args, workers=4)

        def make(i):
            m, t = ROUTES[i % len(ROUTES)]
            t += ("&" if "?" in t else "?") + "i=%d" % i
            return m, t, {}, b"x" * (i + 1) if m == "POST" else None
        sent = load(app.port, 200, 8, make)
        box.recv.wait(200)
        equal(app.stop(), 0, "exit status")
        spans = box.recv.spans()
        check_conventions(spans)
        check_exactly(spans, sent)
        equal(sorted((s["http.request.method"], target_of(s), s["http.response.status_code"],
                      s["http.response.body.size"] or 0) for s in spans),
              sorted((r.method, r.target, r.status, r.body_bytes) for r in sent),
              "method, target, status and body bytes as the client counted")
        equal(sorted((m, t, s) for m, t, s, _ in access(app)),
              sorted((s["http.request.method"], target_of(s), s["http.response.status_code"]) for s in spans),
              "the access log")
        for s in spans:
            if s["http.request.method"] == "POST":
                equal(s["http.request.body.size"], int(s["url.query"].split("=")[1]) + 1, "request body size")
            equal(s.status == 2, s["http.response.status_code"] == 500, "error of %r" % s)


@cases(sync=["-k", "sync"], gthread=["-k", "gthread", "--threads", "4"])
def outgoing_calls(args):
    with Sandbox() as box:
        up = box.keep(Upstream())
        app = box.gunicorn(*args, workers=2, env={"BACKEND_URL": up.url})
        n = 120
        load(app.port, n, 8, lambda i: ("GET", "/api/fanout?n=3&i=%d" % i, (), None))
        box.recv.wait(4 * n)
        equal(app.stop(), 0, "exit status")
        spans = box.recv.spans()
        check_conventions(spans)
        equal((sum(map(is_server, spans)), sum(map(is_client, spans))), (n, 3 * n), "server and client spans")
        ids = by_id(spans)
        for s in filter(is_client, spans):
            parent = ids.get(s.parent_id)
            check(parent is not None, "no parent for %r %r" % (s, s.attrs))
            check_child(s, parent)
            equal(s["url.full"].split("i=")[1].split(".")[0], parent["url.query"].split("i=")[1],
                  "the request that made the call")
            check(parent.start <= s.start and s.end <= parent.end, "a call lies within its request")
        wire = {r.traceparent()[1]: r for r in up.requests()}
        equal(set(wire), {s.span_id for s in spans if is_client(s)}, "span ids on the wire")


@test
def failing_call():
    with Sandbox() as box:
        up = box.keep(Upstream())
        app = box.gunicorn(env={"BACKEND_URL": up.url})
        with Connection(app.port) as c:
            for path in ("/status/404", "/status/503", "/cut", "/drop"):
                c.request("GET", "/api/weather?path=" + path)
        box.recv.wait(8)
        app.stop()
        spans = box.recv.spans()
        check_conventions(spans)
        by = {s["url.full"][len(up.url):]: s for s in spans if is_client(s)}
        ids = by_id(spans)
        equal([(by[p].status, by[p]["error.type"]) for p in ("/status/404", "/status/503")],
              [(2, "404"), (2, "503")], "client span of 404 and 503")
        for p in ("/cut", "/drop"):
            check(by[p].status == 2 and by[p]["error.type"], "%s is a failed client span" % p)
        for s in by.values():
            check_child(s, ids[s.parent_id])
        equal(ids[by["/drop"].parent_id]["http.response.status_code"], 500, "the server span's own status")


@test
def slow_request_has_its_duration():
    with Sandbox() as box:
        app = box.gunicorn()
        with Connection(app.port) as c:
            c.request("GET", "/api/slow?s=0.3")
        s = box.recv.wait(1)[0]
        app.stop()
        ms = (s.end - s.start) / 1e6
        check(299 <= ms < 1500, "duration %.1f ms" % ms)


@test
def listener_from_the_parent():
    """As systemd passes it: the program gets a listening socket it never opened."""
    import socket
    with Sandbox() as box, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        app = box.start([PYTHON, "-m", "gunicorn", "-b", "fd://%d" % listener.fileno(), "-w", "2", "app:app"],
                        r"Booting worker with pid", cwd=os.path.join(APPS, "backend_flask"), name="gunicorn",
                        pass_fds=(listener.fileno(),))
        sent = load(port, 50, 4, lambda i: ("GET", "/api/health-check?i=%d" % i, (), None))
        check_exactly(box.recv.wait(50), sent)
        equal({s["server.port"] for s in box.recv.spans()}, {port}, "server.port")
        app.stop()


if __name__ == "__main__":
    main()
