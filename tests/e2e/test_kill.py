"""kill -9 under load: what a process had completed still arrives, and one exporter serves them all."""
import signal
import threading

from harness import *

SLOW_BATCH = {"OTEL_BSP_SCHEDULE_DELAY": 3000}       # so that a kill finds unsent spans


def exporter_pids(host, recv):
    """Processes of the tree that hold a connection to the receiver. The exporter's thread has fds of its own."""
    inodes = set()
    with open("/proc/net/tcp") as f:
        for line in f:
            col = line.split()
            if col[2] == "0100007F:%04X" % recv.port and col[3] == "01":
                inodes.add("socket:[%s]" % col[9])
    out = set()
    for pid in host.tree():
        with contextlib.suppress(OSError):
            for tid in os.listdir("/proc/%d/task" % pid):
                for fd in os.listdir("/proc/%d/task/%s/fd" % (pid, tid)):
                    with contextlib.suppress(OSError):
                        if os.readlink("/proc/%d/task/%s/fd/%s" % (pid, tid, fd)) in inodes:
                            out.add(pid)
    return out


def prefork(box, n, **env):
    h = box.start([PYTHON, os.path.join(APPS, "prefork.py"), str(n)], r"^listening (\d+)", env=env,
                  name="prefork")
    h.port = int(h.match.group(1))
    return h


def under_load(box, host, choose, n=4000, target="/api/health-check"):
    """Load in the background; kills the process that choose() names in the middle; what completed."""
    aborted, victim = [], []
    done = threading.Event()
    result = []

    def go():
        result.extend(load(host.port, n, 16, lambda i: ("GET", "%s?i=%d" % (target, i), (), None),
                           on_error=lambda i, e: aborted.append(i)))
        done.set()
    t = threading.Thread(target=go, daemon=True)
    t.start()
    box.recv.wait(200)                              # spans flow, so an exporter is at work
    pid = choose()
    victim.append(pid)
    kill9(pid)
    check(done.wait(60), "the load went on to its end")
    check(len(result) + len(aborted) == n, "all requests accounted for")
    return result, aborted, pid


def all_arrived(box, sent, aborted, batch=512):
    want = {r.target for r in sent}
    box.recv.wait_until(lambda: want <= {target_of(s) for s in box.recv._spans},
                        "every completed request has its span: %d of %d" %
                        (len(want & {target_of(s) for s in box.recv.spans()}), len(want)), 30)
    spans = box.recv.spans()
    extra = [s for s in spans if target_of(s) not in want]
    check(len(extra) <= len(aborted), "%d spans beyond the completed, %d requests aborted" %
          (len(extra), len(aborted)))
    targets = [target_of(s) for s in spans]
    equal(len(targets), len(set(targets)), "one span per request")
    check(box.recv.duplicates <= batch, "%d spans came twice, at most one batch may" % box.recv.duplicates)


@test
def a_worker():
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=200) as box:
        app = box.gunicorn("-k", "sync", workers=4)

        def choose():
            workers = set(app.children()) - exporter_pids(app, box.recv)
            return sorted(workers)[0]
        sent, aborted, _ = under_load(box, app, choose)
        all_arrived(box, sent, aborted)
        equal(app.stop(), 0, "gunicorn's exit status")


@test
def the_worker_that_exports():
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=200) as box:
        app = box.gunicorn("-k", "gthread", "--threads", "2", workers=4)
        seen = []

        def choose():
            pids = eventually(lambda: exporter_pids(app, box.recv), "somebody exports")
            equal(len(pids), 1, "exporting processes")
            seen.extend(pids)
            check(seen[0] != app.pid, "a worker exports")
            return seen[0]
        sent, aborted, _ = under_load(box, app, choose)
        all_arrived(box, sent, aborted)
        now = exporter_pids(app, box.recv)
        check(seen[0] not in now and len(now) <= 1, "another process took over: %r" % now)
        equal(app.stop(), 0, "gunicorn's exit status")


@test
def exporter_killed_with_nothing_sent():
    """The spans wait out a long schedule delay when their exporter is killed."""
    with Sandbox(**SLOW_BATCH) as box:
        h = prefork(box, 4)
        sent = load(h.port, 300, 4, lambda i: ("GET", "/?i=%d" % i, (), None))
        for pid in h.children()[:3]:
            kill9(pid)
        sent += load(h.port, 20, 1, lambda i: ("GET", "/?i=%d" % (i + 1000), (), None))
        all_arrived(box, sent, [])
        h.stop()


@test
def sixty_four_workers_one_exporter():
    with Sandbox() as box:
        h = prefork(box, 64)
        conns = [Connection(h.port) for _ in range(64)]
        for c in conns:
            c.connect()
        sent = [c.request("GET", "/?i=%d.%d" % (k, r)) for r in range(5) for k, c in enumerate(conns)]
        equal(len({r.body for r in sent}), 64, "workers that answered")
        check_exactly(box.recv.wait(320), sent)
        equal(len({s.resource["process.pid"] for s in box.recv.spans()}), 64, "processes in the spans")
        equal(box.recv.connections, 1, "connections to the collector")
        equal(box.recv.max_open, 1, "connections at a time")
        check(len(exporter_pids(h, box.recv)) <= 1, "processes that hold a connection")
        threads = sum(len(os.listdir("/proc/%d/task" % p)) for p in h.tree())
        check(threads <= 66, "65 processes have %d threads" % threads)
        for c in conns:
            c.close()
        h.stop()


@test
def whole_tree_killed_next_start_delivers():
    """The black box: nothing was sent when everything died."""
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=60000) as box:
        h = prefork(box, 4)
        with Connection(h.port) as c:
            sent = [c.request("GET", "/?i=%d" % i) for i in range(100)]
            # Its answer may be with us before the worker has noted that it was sent.
            c.request("GET", "/?last")
        equal(box.recv.count(), 0, "spans before the kill")
        h.kill_group()
        after = box.http_server({"a.txt": b"hello"}, env={"OTEL_BSP_SCHEDULE_DELAY": 100})
        with Connection(after.port) as c:
            sent.append(c.request("GET", "/a.txt"))
        box.recv.wait(102)
        check_exactly([s for s in box.recv.spans() if target_of(s) != "/?last"], sent)
        after.stop(signal.SIGINT)
        third = box.http_server({"a.txt": b"hello"}, env={"OTEL_BSP_SCHEDULE_DELAY": 100})
        with Connection(third.port) as c:
            c.request("GET", "/a.txt?3")
        box.recv.wait(103)
        third.stop(signal.SIGINT)
        equal((box.recv.count(), box.recv.duplicates), (103, 0), "delivered once")


@test
def request_in_flight_at_the_kill():
    """It never ends, but the next start may tell of it; it must not be told as a success."""
    with Sandbox() as box:
        app = box.gunicorn("-k", "sync")
        c = Connection(app.port)
        c.send(b"GET /api/slow?s=30 HTTP/1.1\r\nHost: x\r\n\r\n")
        worker = eventually(app.children, "a worker")[0]
        eventually(lambda: busy(app), "the worker read it")
        kill9(worker)
        c.close()
        with Connection(app.port) as d:
            equal(d.request("GET", "/api/health-check").status, 200, "a new worker serves")
        box.recv.wait(1, lambda s: s["url.path"] == "/api/health-check")
        app.stop()
        for s in box.recv.spans():
            if s["url.path"] == "/api/slow":
                check(s["http.response.status_code"] is None and s["error.type"], "told as %r" % s.attrs)


@test
def killed_in_a_request_with_nothing_after_it():
    """Nobody comes any more, and the others live on: it is told all the same."""
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=200) as box:
        app = box.gunicorn("-k", "sync", workers=4)
        for i in range(20):
            with Connection(app.port) as c:
                c.request("GET", "/api/health-check?i=%d" % i)
        box.recv.wait(20)
        victim = sorted(set(app.children()) - exporter_pids(app, box.recv))[0]
        held = [Connection(app.port) for _ in range(4)]
        for c in held:
            c.send(b"GET /api/slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: busy(app, 4), "each worker has one")
        kill9(victim)
        told, = box.recv.wait(1, lambda s: s["url.path"] == "/api/slow", timeout=25)
        equal((told["error.type"], told["http.response.status_code"]), ("process_killed", None), "what became of it")
        equal(told.resource["process.pid"], victim, "whose it was")


def busy(app, n=1):
    """So many of the server's ends of connections are open and have nothing left to read."""
    with open("/proc/net/tcp") as f:
        return n <= sum(l.split()[1].endswith(":%04X" % app.port) and l.split()[3] == "01" and l.split()[9] != "0"
                        and l.split()[4].endswith(":00000000") for l in list(f)[1:])


if __name__ == "__main__":
    main()
