# serial
"""The exporter changes hands: forks at every moment of its start, parents that end, killed owners."""
import random
import signal
import threading

from harness import *
from test_kill import all_arrived, prefork


def many(n, tls):
    """n processes fork while their exporter starts, end, and leave the rest to the child."""
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=20) as box:
        up = box.keep(Upstream())
        env = {}
        if tls:
            ca = TestCA(box.path("ca", ""))
            recv = box.keep(Receiver(tls=ca.server_context()))
            env = {"OTEL_EXPORTER_OTLP_ENDPOINT": recv.url, "OTEL_EXPORTER_OTLP_CERTIFICATE": ca.ca}
        else:
            recv = box.recv
            env = {"OTEL_EXPORTER_OTLP_ENDPOINT": recv.url.replace("127.0.0.1", "localhost")}
        random.seed(1)
        delays = [random.choice((0, 200, 500, 1000, 2000, 4000, 8000, 15000)) + random.randrange(200) for _ in range(n)]
        counter, lock, failures = iter(range(n)), threading.Lock(), []

        def work():
            while not failures:
                with lock:
                    i = next(counter, None)
                if i is None:
                    return
                try:
                    r = box.run([PYTHON, "-I", "-S", os.path.join(APPS, "handover.py"), str(up.port), str(i),
                                 str(delays[i])], env=env, timeout=20)
                    equal((r.rc, r.err), (0, b""), "run %d (fork after %d us)" % (i, delays[i]))
                except AssertionError as e:
                    failures.append("run %d, fork after %d us: %s" % (i, delays[i], e))
        threads = [threading.Thread(target=work) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not failures, "; ".join(failures[:3]))
        want = {"i=%d.%s" % (i, who) for i in range(n) for who in ("parent", "child")}

        def missing():
            return want - {s["url.full"].split("?")[1] for s in recv.spans()}
        try:
            recv.wait_until(lambda: recv.count() >= 2 * n and not missing(), "all spans are there", 15)
        except AssertionError:
            lost = missing()
            raise AssertionError("%d of %d spans are lost: %r" % (len(lost), 2 * n, [
                (x, delays[int(x[2:].split(".")[0])]) for x in sorted(lost)[:6]]))
        equal(recv.count(), 2 * n, "spans in all")


@test
def forks_during_a_plain_start():
    many(300, tls=False)


@test
def forks_during_a_tls_start():
    many(1000, tls=True)


@test
def each_process_of_a_tree_in_turn():
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=300) as box:
        h = prefork(box, 6)
        children, sent, k = h.children(), [], 0
        for victim in children[:5]:
            sent += load(h.port, 60, 6, lambda i: ("GET", "/?i=%d" % (k + i), (), None))
            k += 60
            kill9(victim)
        sent += load(h.port, 60, 1, lambda i: ("GET", "/?i=%d" % (k + i), (), None))
        all_arrived(box, sent, [])
        h.stop()


@test
def the_root_first():
    """The children outlive the process that made their memory."""
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=300) as box:
        h = prefork(box, 4)
        sent = load(h.port, 60, 4, lambda i: ("GET", "/?i=%d" % i, (), None))
        os.kill(h.pid, signal.SIGKILL)
        h.proc.wait(10)
        sent += load(h.port, 60, 4, lambda i: ("GET", "/?i=%d" % (100 + i), (), None))
        all_arrived(box, sent, [])


@test
def the_program_daemonises():
    """The starting process exports, then exits; its double-forked child serves on."""
    code = """
import os, socket, sys, signal
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(16)
def answer():
    c, _ = s.accept()
    c.recv(65536); c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok'); c.close()
print('listening', s.getsockname()[1], flush=True)
for _ in range(3): answer()
if os.fork(): os._exit(0)
if os.fork(): os._exit(0)           # stays in the process group, so that the test can end it
devnull = os.open('/dev/null', os.O_RDWR)
for fd in (0, 1, 2): os.dup2(devnull, fd)
os.closerange(3, s.fileno()); os.closerange(s.fileno() + 1, 4096)
for _ in range(5): answer()
"""
    with Sandbox() as box:
        h = box.start([PYTHON, "-c", code], r"listening (\d+)")
        port = int(h.match.group(1))
        sent = []
        for i in range(8):
            with Connection(port) as c:
                sent.append(c.request("GET", "/?i=%d" % i))
        check_exactly(box.recv.wait(8), sent)


if __name__ == "__main__":
    main()
