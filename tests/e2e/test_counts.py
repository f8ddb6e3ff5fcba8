# serial
"""10,000 requests at concurrency 16 on each server: exactly one server span for each, nothing invented."""
import signal

from harness import *

N, CONCURRENCY = 10_000, 16


def run(box, host, make, stop, n=N, timeout=60):
    sent = load(host.port, n, CONCURRENCY, make)
    equal(len(sent), n, "requests answered")
    box.recv.wait(n, is_server, timeout=timeout)
    host.stop(stop)
    spans = box.recv.spans()
    check_conventions(spans[:200])
    server = [s for s in spans if is_server(s)]
    check_exactly(server, sent)
    equal(len(server), n, "server spans")
    equal(box.recv.duplicates, 0, "spans that came twice")
    equal(len({s.trace_id for s in server}), n, "trace ids")
    equal(sorted((target_of(s), s["http.response.body.size"] or 0) for s in server),
          sorted((r.target, r.body_bytes) for r in sent), "body sizes")
    return server


@test
def nginx_static():
    with Sandbox() as box:
        web = box.nginx("location / {}", files={"a.txt": b"hello", "b.txt": b"y" * 20000}, workers=2)
        spans = run(box, web, lambda i: ("HEAD" if i % 50 == 0 else "GET",
                                         ("/a.txt", "/b.txt", "/none")[i % 3] + "?i=%d" % i, (), None),
                    signal.SIGQUIT)
        equal(sorted((s["http.request.method"], target_of(s), s["http.response.status_code"],
                      s["http.response.body.size"] or 0) for s in spans),
              sorted(l[:4] for l in box.access_log()), "spans against the access log")


@cases(sync=["-k", "sync"], gthread=["-k", "gthread", "--threads", "4"])
def gunicorn(args):
    with Sandbox() as box:
        app = box.gunicorn(*args, workers=4)
        spans = run(box, app, lambda i: ("GET", "/api/%s?i=%d" % (
            "health-check" if i % 4 else "activities/@nobody", i), (), None), signal.SIGTERM)
        log = [l.split(" ")[1:4] for l in app.lines if l.startswith("ACCESS ")]
        equal(sorted((s["http.request.method"], target_of(s), s["http.response.status_code"]) for s in spans),
              sorted((m, t, int(c)) for m, t, c in log), "spans against the access log")


@test
def flask_dev():
    with Sandbox() as box:
        run(box, box.flask_dev(), lambda i: ("GET", "/api/health-check?i=%d" % i, (), None), signal.SIGINT)


@test
def http_server():
    with Sandbox() as box:
        run(box, box.http_server({"a.txt": b"hello"}), lambda i: ("GET", "/a.txt?i=%d" % i, (), None),
            signal.SIGINT)


@test
def node():
    with Sandbox() as box:
        run(box, box.node("server.js"), lambda i: (
            "POST" if i % 5 == 0 else "GET", "%s?i=%d" % (("/", "/echo", "/missing", "/stream")[i % 4], i), (),
            b"x" * (i % 300) if i % 5 == 0 else None), signal.SIGTERM)


@test
def nginx_before_node():
    with Sandbox() as box:
        app = box.node("server.js", env={"OTEL_SERVICE_NAME": "app"})
        web = box.nginx("location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; }",
                        http="upstream app { server 127.0.0.1:%d; keepalive 16; }" % app.port,
                        env={"OTEL_SERVICE_NAME": "edge"})
        n = 3000
        sent = load(web.port, n, CONCURRENCY, lambda i: ("GET", "/?i=%d" % i, (), None))
        box.recv.wait(3 * n, timeout=60)
        web.stop(signal.SIGQUIT)
        app.stop()
        spans = box.recv.spans()
        equal(len(spans), 3 * n, "spans of three per request")
        for name in ("edge", "app"):
            check_exactly([s for s in spans if is_server(s) and s.resource["service.name"] == name], sent)
        ids = by_id(spans)
        for s in spans:
            if s.resource["service.name"] == "app":
                client = ids[s.parent_id]
                server = ids[client.parent_id]
                equal((server["url.query"], client.trace_id, server.trace_id),
                      (s["url.query"], s.trace_id, s.trace_id), "chain")


if __name__ == "__main__":
    main()
