"""nginx: static files through writev + sendfile, an event loop, and a proxy before gunicorn."""
import grp
import pwd
import signal

from harness import *

FILES = {"a.txt": b"hello", "big.bin": b"z" * 1500000, "d/index.html": b"<p>d</p>"}


def finish(box, web, n, timeout=20):
    box.recv.wait(n, timeout=timeout)
    equal(web.stop(signal.SIGQUIT), 0, "nginx's exit status")
    spans = box.recv.spans()
    check_conventions(spans)
    return spans


@test
def static_files():
    with Sandbox(OTEL_SERVICE_NAME="edge") as box:
        web = box.nginx("location / {}", files=FILES)
        with Connection(web.port) as c:
            etag = c.request("GET", "/a.txt").head.split(b"ETag: ")[1].split(b"\r\n")[0].decode()
            c.request("GET", "/big.bin")
            c.request("HEAD", "/big.bin")
            c.request("GET", "/big.bin", {"Range": "bytes=10-19"})
            c.request("GET", "/a.txt", {"If-None-Match": etag})
            c.request("GET", "/missing")
            c.request("GET", "/d")
            c.request("POST", "/a.txt", body=b"x" * 5000)
            c.request("GET", "/d/")
        spans = finish(box, web, 9)
        log = box.access_log()
        equal([(s["http.request.method"], target_of(s), s["http.response.status_code"],
                s["http.response.body.size"] or 0) for s in sorted(spans, key=lambda s: s.start)],
              [l[:4] for l in log], "method, target, status and body bytes, as in the access log")
        equal([l[2] for l in log], [200, 200, 200, 206, 304, 404, 301, 405, 200], "what nginx did")
        for s in spans:
            equal(s["server.port"], web.port, "server.port")
            equal(s.resource["service.name"], "edge", "service.name")


@test
def pipelining():
    with Sandbox() as box:
        web = box.nginx("location / {}", files=FILES)
        n = 50
        data = b"".join(b"%s /a.txt?i=%d HTTP/1.1\r\nHost: x\r\n%s\r\n" %
                        (b"HEAD" if i % 3 == 0 else b"GET", i, b"Connection: close\r\n" if i == n - 1 else b"")
                        for i in range(n))
        raw_exchange(web.port, data)
        spans = finish(box, web, n)
        equal(len(spans), n, "spans")
        equal(sorted(target_of(s) for s in spans), sorted(l[1] for l in box.access_log()), "targets")
        # in order: a response belongs to the oldest open request
        for s in spans:
            i = int(s["url.query"][2:])
            equal(s["http.request.method"], "HEAD" if i % 3 == 0 else "GET", "method of %d" % i)


@test
def odd_requests():
    with Sandbox() as box:
        web = box.nginx("location / {}", files=FILES)
        for data in (b"GET http://example.org/a.txt?abs HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n",
                     b"GET /a.txt?lf HTTP/1.1\nHost: x\nConnection: close\n\n",
                     b"GET /a.txt?old HTTP/1.0\r\n\r\n",
                     b"\r\nGET /a.txt?crlf HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                     b"POST /a.txt?te HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                     b"5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
                     b"GET /a.txt?after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
            check(b"HTTP/1.1 " in raw_exchange(web.port, data), "answered")
        spans = finish(box, web, 6)
        equal(sorted(s["url.query"] for s in spans), ["abs", "after", "crlf", "lf", "old", "te"], "requests")
        by = {s["url.query"]: s for s in spans}
        equal(by["abs"]["url.path"], "/a.txt", "path of an absolute-form target")
        equal(by["old"]["network.protocol.version"], "1.0", "version")


@test
def head_split_over_small_reads():
    """nginx reads the head into 1,024 bytes first."""
    with Sandbox() as box:
        web = box.nginx("location / {}", files=FILES)
        with Connection(web.port) as c:
            for i in range(5):
                c.request("GET", "/a.txt?i=%d" % i, {"X-Pad-%d" % k: "v" * 1500 for k in range(i)},)
        equal(len(finish(box, web, 5)), 5, "spans")


@test
def aborted_requests_are_counted_as_such():
    with Sandbox() as box:
        up = box.keep(Upstream())
        web = box.nginx("location / {} location /slow/ { proxy_pass %s; }" % up.url, files=FILES)
        n = 12
        conns = []
        for i in range(n):
            c = Connection(web.port)
            c.send(b"GET /slow/20?i=%d HTTP/1.1\r\nHost: x\r\n\r\n" % i)
            conns.append(c)
        with up.changed:
            check(up.changed.wait_for(lambda: len(up.seen) == n, 10), "all are at the upstream")
        for c in conns:
            c.close()
        eventually(lambda: len(box.access_log()) == n, "nginx logged them")
        with Connection(web.port) as c:
            c.request("GET", "/a.txt")
        spans = box.recv.wait(n + 1, is_server)
        equal(web.stop(signal.SIGTERM), 0, "exit status")
        check_conventions(box.recv.spans())
        spans = [s for s in box.recv.spans() if is_server(s)]
        lines499 = [l for l in box.access_log() if l[2] == 499]
        equal(len(lines499), n, "499 lines")
        aborted = [s for s in spans if s["http.response.status_code"] is None and s["error.type"]]
        equal(len(aborted), len(lines499), "aborted spans")
        equal(len(spans), n + 1, "server spans in all")


def proxy_chain(n, concurrency, headers=()):
    """nginx -> gunicorn -> an outgoing call; checks every link of every trace."""
    with Sandbox() as box:
        up = box.keep(Upstream())
        # Services by process: each start gets its own name.
        app = box.gunicorn("-k", "gthread", "--threads", "4", workers=2,
                           env={"BACKEND_URL": up.url, "OTEL_SERVICE_NAME": "backend"})
        web = box.nginx("location / { proxy_pass http://app; proxy_http_version 1.1;"
                        " proxy_set_header Connection ''; }",
                        http="upstream app { server 127.0.0.1:%d; keepalive 16; }" % app.port,
                        env={"OTEL_SERVICE_NAME": "edge"})
        sent = load(web.port, n, concurrency,
                    lambda i: ("GET", "/api/weather?i=%d" % i, headers, None))
        equal({r.status for r in sent}, {200}, "answers")
        box.recv.wait(4 * n, timeout=30)
        equal(web.stop(signal.SIGQUIT), 0, "nginx's exit status")
        equal(app.stop(), 0, "gunicorn's exit status")
        spans = box.recv.spans()
        check_conventions(spans)
        traces = {}
        for s in spans:
            traces.setdefault(s.trace_id, []).append(s)
        if not headers:
            equal(len(traces), n, "traces for %d requests (%d spans)" % (n, len(spans)))
        ids = by_id(spans)
        seen = {r.traceparent()[1]: r for r in up.requests()}
        right = 0
        for s in spans:
            if not (s.kind == CLIENT and s.resource["service.name"] == "backend"):
                continue
            inner = ids.get(s.parent_id)
            outer_client = ids.get(inner.parent_id) if inner else None
            outer = ids.get(outer_client.parent_id) if outer_client else None
            check(outer is not None, "chain of %r broken: %r %r" % (s, inner, outer_client))
            equal([(x.kind, x.resource["service.name"]) for x in (inner, outer_client, outer)],
                  [(SERVER, "backend"), (CLIENT, "edge"), (SERVER, "edge")], "chain")
            equal(len({x.trace_id for x in (s, inner, outer_client, outer)}), 1, "traces of a chain")
            number = outer["url.query"]
            equal((inner["url.query"], s["url.full"].split("?")[1]), (number, number),
                  "the request that each span of the chain is of")
            equal(seen[s.span_id].target, "/ok?" + number, "the wire carried this span's id")
            right += 1
        equal(right, n, "complete chains")
        return spans


@test
def proxy_gunicorn_call_is_one_trace():
    proxy_chain(40, 1)


@test
def proxy_gunicorn_call_is_one_trace_under_load():
    proxy_chain(600, 16)


@test
def proxy_with_incoming_traceparent():
    trace = "0af7651916cd43dd8448eb211c80319c"
    spans = proxy_chain(20, 4, {"traceparent": "00-%s-b7ad6b7169203331-01" % trace})
    equal({s.trace_id for s in spans}, {trace}, "trace ids")
    tops = [s for s in spans if s.parent_id == "b7ad6b7169203331"]
    equal({(s.kind, s.resource["service.name"]) for s in tops}, {(SERVER, "edge")}, "children of the caller")
    equal(len(tops), 20, "children of the caller")


@test
def upstream_down():
    with Sandbox() as box:
        dead = free_port()
        web = box.nginx("location / { proxy_pass http://127.0.0.1:%d; }" % dead)
        with Connection(web.port) as c:
            equal(c.request("GET", "/x").status, 502, "status")
        spans = finish(box, web, 2)
        server = [s for s in spans if is_server(s)][0]
        client = [s for s in spans if is_client(s)][0]
        equal((server["http.response.status_code"], server["error.type"]), (502, "502"), "server span")
        equal((client.name, client["server.port"]), ("connect", dead), "client span")
        check_child(client, server, "connect")


@test
def daemon_mode():
    """nginx forks twice, its workers have an empty environment."""
    with Sandbox() as box:
        exe = needs("nginx")
        port = free_port()
        box.write("www/a.txt", "hello")
        conf = box.write("d.conf", """user root; pid %s/d.pid; error_log %s/err.log; worker_processes 2; events {}
http { access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;
uwsgi_temp_path %s/t4; scgi_temp_path %s/t5; server { listen 127.0.0.1:%d; root %s/www; } }""" %
                         ((box.dir,) * 7 + (port, box.dir)))
        r = box.run([exe, "-p", box.dir, "-c", conf, "-e", box.dir + "/err.log"])
        equal((r.rc, r.out, r.err), (0, b"", b""), "start")
        pid = int(eventually(lambda: os.path.exists(box.dir + "/d.pid") and
                             open(box.dir + "/d.pid").read().strip(), "nginx wrote its pid"))
        try:
            eventually(lambda: ":%04X 00000000:0000 0A" % port in open("/proc/net/tcp").read(), "nginx listens")
            sent = load(port, 200, 8, lambda i: ("GET", "/a.txt?i=%d" % i, (), None))
            check_exactly(box.recv.wait(200), sent)
        finally:
            os.kill(pid, signal.SIGTERM)
            eventually(lambda: not os.path.exists("/proc/%d" % pid) or
                       "Z" in open("/proc/%d/stat" % pid).read().split(")")[1][:3], "nginx ended")


@test
def workers_of_another_user():
    """The usual set-up: a master as root, workers as somebody else, who only share its memory."""
    if os.geteuid() != 0:
        raise Skip("root")
    with Sandbox() as box:
        box.write("www/a.txt", "hello")
        os.chmod(box.path("www", ""), 0o755)
        exe, port = needs("nginx"), free_port()
        conf = box.write("u.conf", """user nobody %s; daemon off; pid %s/u.pid; error_log stderr notice; worker_processes 2; events {}
http { access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;
uwsgi_temp_path %s/t4; scgi_temp_path %s/t5; server { listen 127.0.0.1:%d; root %s/www; } }""" %
                         ((grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name,) + (box.dir,) * 6 +
                          (port, box.dir)))
        web = box.start([exe, "-p", box.dir, "-c", conf, "-e", "stderr"], name="nginx")
        web.wait_line(r"start worker process \d+", count=2)
        sent = load(port, 300, 8, lambda i: ("GET", "/a.txt?i=%d" % i, (), None))
        equal({r.status for r in sent}, {200}, "answers")
        check_exactly(box.recv.wait(300), sent)
        equal(web.stop(signal.SIGQUIT), 0, "exit status")
        equal(box.recv.count(), 300, "spans")


@test
def reload_and_new_workers():
    """SIGHUP: new workers take over, the old ones end; no request is lost or told twice."""
    with Sandbox() as box:
        web = box.nginx("location / {}", files=FILES, workers=2)
        sent = load(web.port, 200, 4, lambda i: ("GET", "/a.txt?i=%d" % i, (), None))
        web.proc.send_signal(signal.SIGHUP)
        web.wait_line(r"start worker process \d+", count=4)
        web.wait_line(r"worker process \d+ exited", count=2)    # till then an old one may take a connection
        sent += load(web.port, 200, 4, lambda i: ("GET", "/a.txt?i=%d" % (i + 200), (), None))
        check_exactly(finish(box, web, 400), sent)
        check(len({s.resource["process.pid"] for s in box.recv.spans()}) > 1, "several workers answered")


if __name__ == "__main__":
    main()
