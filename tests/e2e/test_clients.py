"""HTTP clients: one client span per request on the wire, the injected traceparent, nothing else changed."""
from harness import *


def py(lib):
    def argv(method, urls, body=None, *more):
        return [PYTHON, os.path.join(APPS, "client.py"), lib, method, *urls, *more,
                *(["--body", body] if body is not None else [])]
    if lib != "urllib":
        needs_module(lib)
    return argv


def node(how):
    def argv(method, urls, body=None, *more):
        return [needs("node"), os.path.join(APPS, "client.js"), how, method, *urls,
                *(["--body", body] if body is not None else [])]
    return argv


def curl(method, urls, body=None, *more):
    verb = ["-I"] if method == "HEAD" else ["-X", method]
    return [needs("curl"), "-q", "-sS", "--max-time", "15", *verb, *more,
            *(["--data-binary", body] if body is not None else []), *urls]


def wget(method, urls, body=None, *more):
    return [needs("wget"), "-q", "-O-", "--tries=1", "--timeout=15", "--no-config", "--method=" + method,
            "--content-on-error", *more, *(["--body-data=" + body] if body is not None else []), *urls]


CLIENTS = {"curl": lambda: curl, "wget": lambda: wget, "requests": lambda: py("requests"),
           "httpx": lambda: py("httpx"), "aiohttp": lambda: py("aiohttp"), "urllib": lambda: py("urllib"),
           "node_http": lambda: node("http"), "node_fetch": lambda: node("fetch")}


def both(box, up, argv):
    """Runs it plain and traced; the traced requests after comparing all else."""
    plain = box.run(argv, traced=False)
    before = len(up.requests())
    traced = box.run(argv)
    equal((traced.rc, traced.out, traced.err), (plain.rc, plain.out, plain.err),
          "exit status and output with and without")
    old, new = up.requests()[:before], up.requests()[before:]
    equal([(r.method, r.target, r.body) for r in new], [(r.method, r.target, r.body) for r in old],
          "requests on the wire")
    for a, b in zip(old, new):
        mine = [l for l in b.header_lines if not l.lower().startswith(("traceparent:", "tracestate:"))]
        equal(mine, a.header_lines, "header lines but ours")
    return new


def matched(box, requests):
    """The client span of each request, found by the span id that went over the wire."""
    spans = by_id(box.recv.wait(len(requests)))
    out = []
    for r in requests:
        tp = r.traceparent()
        check(tp is not None, "no traceparent in %r" % r.raw)
        check(tp[1] in spans, "no span for %r" % r.raw)
        s = spans[tp[1]]
        equal(s.trace_id, tp[0], "trace id on the wire")
        equal(s.kind, CLIENT, "kind")
        out.append(s)
    return out


@cases(**CLIENTS)
def attributes(client):
    with Sandbox() as box:
        up = box.keep(Upstream())
        new = both(box, up, client()("GET", [up.url + "/ok?q=1"]))
        s = matched(box, new)[0]
        check_conventions([s])
        for key, want in {"http.request.method": "GET", "url.full": up.url + "/ok?q=1",
                          "server.address": "127.0.0.1", "server.port": up.port,
                          "http.response.status_code": 200, "network.peer.address": "127.0.0.1",
                          "network.peer.port": up.port, "network.protocol.version": "1.1",
                          "http.response.body.size": 64}.items():
            equal(s[key], want, key)
        equal((s.name, s.status, s.parent_id), ("GET", 0, ""), "name, status, parent")
        equal(len(box.recv.spans()), 1, "spans in all")


@cases(**CLIENTS)
def every_kind_of_answer(client):
    paths = ["/ok", "/chunked", "/close", "/nobody", "/status/404", "/status/503", "/continue", "/big", "/ok"]
    argv = client()
    if argv("GET", ["x"])[2:4] == ["fetch", "GET"]:
        paths.remove("/continue")               # undici refuses an unasked 100
    with Sandbox() as box:
        up = box.keep(Upstream())
        new = both(box, up, argv("GET", [up.url + p for p in paths]))
        equal([r.target for r in new], paths, "the client went through all")
        spans = matched(box, new)
        check_conventions(spans)
        for path, s in zip(paths, spans):
            status = int(path.split("/")[2]) if path.startswith("/status") else 204 if path == "/nobody" else 200
            equal(s["http.response.status_code"], status, "status of " + path)
            equal((s.status, s["error.type"]), (2, str(status)) if status >= 400 else (0, None), "error of " + path)
            equal(s["http.response.body.size"] or 0, {"/nobody": 0, "/big": 1 << 20}.get(path, 64),
                  "body size of " + path)
        equal(len(box.recv.spans()), len(paths), "spans in all")


@cases(**CLIENTS)
def post_body(client):
    with Sandbox() as box:
        up = box.keep(Upstream())
        new = both(box, up, client()("POST", [up.url + "/echo"], "b" * 3000))
        s = matched(box, new)[0]
        check_conventions([s])
        equal((s["http.request.method"], s["http.request.body.size"], s["http.response.body.size"]),
              ("POST", 3000, 3000), "method and sizes")


@cases(**CLIENTS)
def cut_and_reset(client):
    paths = ["/cut", "/reset", "/drop"]
    with Sandbox() as box:
        up = box.keep(Upstream())
        for path in paths:
            argv = client()("GET", [up.url + path])
            plain = box.run(argv, traced=False)
            before = len(up.requests())
            traced = box.run(argv)
            equal((traced.rc, b"error" in traced.out), (plain.rc, b"error" in plain.out), "result of " + path)
            if path != "/reset":            # how much is read before a reset is a matter of luck
                equal(traced.out, plain.out, "output of " + path)
            new = up.requests()[before:]
            check(new, "the request was seen")
            for s, r in zip(matched_eventually(box, new), new):
                check(s.status == 2 and s["error.type"], "%s is a failed span: %r" % (path, s.attrs))
                # after a reset the head may or may not have been read
                want = {"/drop": [None], "/cut": [200], "/reset": [None, 200]}[path]
                check(s["http.response.status_code"] in want, "status of %s: %r" % (path, s.attrs))
        check_conventions(box.recv.spans())
        total = len([r for r in up.requests() if r.traceparent()])
        equal(len(box.recv.spans()), total, "spans and traced requests")


def matched_eventually(box, requests):
    ids = {r.traceparent()[1] for r in requests}
    box.recv.wait(len(ids), lambda s: s.span_id in ids)
    spans = by_id(box.recv.spans())
    return [spans[r.traceparent()[1]] for r in requests]


@cases(**CLIENTS)
def connect_failure(client):
    with Sandbox() as box:
        dead = free_port()
        argv = client()("GET", ["http://127.0.0.1:%d/x" % dead])
        plain, traced = box.run(argv, traced=False), box.run(argv)
        equal((traced.rc, traced.out, traced.err), (plain.rc, plain.out, plain.err), "result")
        s = box.recv.wait(1)[0]
        equal(len(box.recv.spans()), 1, "spans")
        equal((s.name, s.kind, s.status), ("connect", CLIENT, 2), "name, kind, status")
        equal((s["server.address"], s["server.port"]), ("127.0.0.1", dead), "address")
        check(s["error.type"], "error.type")
        check_conventions([s])


RESOLVE = """
import socket, sys, urllib.request
real = socket.getaddrinfo
def two(host, port, *a, **k):
    return real('127.0.0.2', port, *a, **k) + real('127.0.0.1', port, *a, **k)
socket.getaddrinfo = two
print(urllib.request.urlopen(sys.argv[1]).read())
"""


@cases(curl=lambda port, url: [needs("curl"), "-q", "-sS", "--resolve", "two.test:%d:127.0.0.2,127.0.0.1" % port, url],
       urllib=lambda port, url: [PYTHON, "-c", RESOLVE, url])
def another_address_succeeds(make):
    """The first address of the name refuses, the second answers: no failure to report."""
    with Sandbox() as box:
        up = box.keep(Upstream())
        url = "http://two.test:%d/ok" % up.port
        new = both(box, up, make(up.port, url))
        equal(len(new), 1, "requests")
        s = matched(box, new)[0]
        equal((s["server.address"], s["url.full"]), ("two.test", url), "server.address and url.full")
        equal(s["network.peer.address"], "127.0.0.1", "network.peer.address")
        equal([x.name for x in box.recv.spans()], ["GET"], "spans")


@test
def every_address_fails():
    with Sandbox() as box:
        port = free_port()
        r = box.run([needs("curl"), "-q", "-sS", "--resolve", "two.test:%d:127.0.0.2,127.0.0.1" % port,
                     "http://two.test:%d/" % port])
        equal(r.rc, 7, "exit status")
        s = box.recv.wait(1)[0]
        equal([x.name for x in box.recv.spans()], ["connect"], "one span for the whole attempt")
        equal(s["server.port"], port, "server.port")


@test
def keep_alive_pool_of_requests():
    with Sandbox() as box:
        up = box.keep(Upstream())
        urls = [up.url + "/ok?i=%d" % i for i in range(50)]
        new = both(box, up, py("requests")("GET", urls, None, "--same"))
        equal(len({r.conn for r in new}), 1, "connections")
        equal([s["url.full"] for s in matched(box, new)], urls, "urls")
        equal(len({s.trace_id for s in box.recv.spans()}), 50, "each call without a request is its own trace")


@test
def concurrent_calls_of_aiohttp():
    with Sandbox() as box:
        up = box.keep(Upstream())
        urls = [up.url + "/ok?i=%d" % i for i in range(60)]
        r = box.run(py("aiohttp")("GET", urls, None, "--concurrent"))
        equal((r.rc, r.out.count(b"200 64")), (0, 60), "result")
        for s, req in zip(matched(box, up.requests()), up.requests()):
            equal(s["url.full"], up.url + req.target, "url of the span")


@test
def redirects_are_two_spans():
    with Sandbox() as box:
        up = box.keep(Upstream())
        new = both(box, up, curl("GET", [up.url + "/redirect"], None, "-L"))
        equal([s["http.response.status_code"] for s in matched(box, new)], [302, 200], "statuses")


@test
def secrets_in_urls():
    with Sandbox() as box:
        up = box.keep(Upstream())
        r = box.run(curl("GET", ["http://user:hunter2@127.0.0.1:%d/ok?a=1&sig=s3cret&X-Amz-Signature=s3cret" % up.port],
                         None, "-H", "Authorization: Bearer s3cret", "-H", "Cookie: s3cret"))
        equal(r.rc, 0, "exit status")
        s = box.recv.wait(1)[0]
        check("a=1" in s["url.full"] and "REDACTED" in s["url.full"], "url.full %r" % s["url.full"])
        text = repr([s.attrs, s.resource, s.events, s.name])
        check("s3cret" not in text and "hunter2" not in text, "a secret is in the telemetry: %s" % text)
        check("s3cret" in up.requests()[0].target, "the request itself is unchanged")


@test
def large_upload_with_expect():
    with Sandbox() as box:
        up = box.keep(Upstream())
        big = box.write("big", b"u" * 5_000_000)
        new = both(box, up, curl("POST", [up.url + "/echo"], "@" + big, "-H", "Expect: 100-continue",
                                 "-o", "/dev/null"))
        s = matched(box, new)[0]
        equal((s["http.response.status_code"], s["http.request.body.size"], s["http.response.body.size"]),
              (200, 5_000_000, 5_000_000), "status and sizes")


@test
def through_a_proxy():
    """The absolute form goes to the proxy, the span is about the target."""
    with Sandbox() as box:
        up = box.keep(Upstream())
        new = both(box, up, curl("GET", ["http://example.test:8080/ok?via"], None, "-x", up.url))
        s = matched(box, new)[0]
        equal(s["url.full"], "http://example.test:8080/ok?via", "url.full")
        equal((s["server.address"], s["server.port"]), ("example.test", 8080), "server")
        equal(s["network.peer.port"], up.port, "network.peer.port")


@test
def head_request():
    with Sandbox() as box:
        up = box.keep(Upstream())
        new = both(box, up, curl("HEAD", [up.url + "/ok", up.url + "/big"]))
        for s in matched(box, new):
            equal((s["http.request.method"], s["http.response.status_code"],
                   s["http.response.body.size"] or 0), ("HEAD", 200, 0), "HEAD")


@cases(curl=lambda: (lambda url, ca: curl("GET", [url], None, "--cacert", ca)),
       requests=lambda: (lambda url, ca: py("requests")("GET", [url], None, "--ca", ca)))
def tls_is_left_alone(make):
    with Sandbox() as box:
        ca = TestCA(box.path("ca", ""))
        up = box.keep(Upstream(tls=ca.server_context()))
        argv = make()(up.url + "/ok", ca.ca)
        plain, traced = box.run(argv, traced=False), box.run(argv)
        equal((traced.rc, traced.out, traced.err), (plain.rc, plain.out, plain.err), "result")
        equal(len(up.requests()), 2, "requests")


if __name__ == "__main__":
    main()
