"""node: one event loop, closes by syscall(2), and a cluster whose workers get connections by SCM_RIGHTS."""
import signal

from harness import *


@test
def server_and_its_calls_one_at_a_time():
    with Sandbox(OTEL_SERVICE_NAME="shop") as box:
        up = box.keep(Upstream())
        web = box.node("server.js", env={"UPSTREAM": up.url})
        with Connection(web.port) as c:
            for i in range(10):
                for path in ("/call", "/fetch"):
                    r = c.request("GET", "%s?i=%d" % (path, i))
                    equal((r.status, r.body), (200, b"200 64\n"), path)
        box.recv.wait(40)
        web.stop()
        spans = box.recv.spans()
        check_conventions(spans)
        equal((sum(map(is_server, spans)), sum(map(is_client, spans))), (20, 20), "server and client spans")
        ids = by_id(spans)
        for s in filter(is_client, spans):
            check_child(s, ids[s.parent_id])
            equal(s["url.full"].split("?")[1], ids[s.parent_id]["url.query"], "the request of the call")
        equal({r.traceparent()[1] for r in up.requests()}, {s.span_id for s in spans if is_client(s)}, "ids on the wire")


@test
def no_wrong_parent_under_load():
    """On an event loop a call may be without a parent, and then says so; a wrong one is an error."""
    with Sandbox() as box:
        up = box.keep(Upstream())
        web = box.node("server.js", env={"UPSTREAM": up.url})
        n = 400
        sent = load(web.port, n, 16, lambda i: ("GET", "/call?i=%d" % i, (), None))
        box.recv.wait(2 * n)
        web.stop()
        spans = box.recv.spans()
        check_exactly([s for s in spans if is_server(s)], sent)
        ids, right, unsure, wrong = by_id(spans), 0, 0, []
        for s in filter(is_client, spans):
            if not s.parent_id:
                equal(s["remora.parent"], "ambiguous", "remora.parent of a call without a parent")
                unsure += 1
            elif ids[s.parent_id]["url.query"] == s["url.full"].split("?")[1]:
                right += 1
            else:
                wrong.append(s)
        equal(len(wrong), 0, "wrong parents (right %d, unsure %d)" % (right, unsure))
        check(right >= n // 4, "right parents: %d of %d, unsure %d" % (right, n, unsure))


@test
def every_kind_of_request():
    with Sandbox() as box:
        web = box.node("server.js")
        kinds = [("GET", "/"), ("GET", "/stream"), ("POST", "/echo"), ("HEAD", "/"), ("GET", "/missing"),
                 ("GET", "/broken"), ("GET", "/slow?ms=30"), ("PUT", "/echo")]

        def make(i):
            m, t = kinds[i % len(kinds)]
            return m, t + ("&" if "?" in t else "?") + "i=%d" % i, (), b"p" * i if m in ("POST", "PUT") else None
        sent = load(web.port, 160, 8, make)
        box.recv.wait(160)
        web.stop()
        spans = box.recv.spans()
        check_conventions(spans)
        check_exactly(spans, sent)
        equal(sorted((target_of(s), s["http.response.body.size"] or 0) for s in spans),
              sorted((r.target, r.body_bytes) for r in sent), "body sizes")


@test
def cluster_workers_without_accept():
    with Sandbox() as box:
        web = box.node("cluster.js", "3")
        conns = [Connection(web.port) for _ in range(12)]
        sent = [c.request("GET", "/?i=%d.%d" % (k, r)) for r in range(5) for k, c in enumerate(conns)]
        equal(len({r.body for r in sent}), 3, "workers that answered")
        check_exactly(box.recv.wait(60), sent)
        equal(len({s.resource["process.pid"] for s in box.recv.spans()}), 3, "processes in the spans")
        for c in conns:
            c.close()
        web.stop()
        check_conventions(box.recv.spans())
        equal(box.recv.connections, 1, "connections to the collector")


if __name__ == "__main__":
    main()
