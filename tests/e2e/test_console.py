"""OTEL_TRACES_EXPORTER=console: a readable tree on stderr, and never anything on a reused fd 2."""
import os
import pty
import re
import select
import signal
import subprocess
import time
import tty

from harness import *

ON = {"OTEL_TRACES_EXPORTER": "console", "OTEL_EXPORTER_OTLP_ENDPOINT": None}


def indent(line):
    """Columns before the method: a child stands deeper than its parent."""
    m = re.search(r"\b(GET|POST|connect)\b", line)
    return m.start() if m else -1


@test
def tree_of_a_request_with_a_call():
    with Sandbox(**ON) as box:
        up = box.keep(Upstream())
        app = box.start([PYTHON, "-m", "flask", "--app", "app", "run", "--port", "0"],
                        r"Running on http://127\.0\.0\.1:(\d+)", cwd=os.path.join(APPS, "backend_flask"),
                        env={"BACKEND_URL": up.url, "OTEL_SERVICE_NAME": "backend-flask"})
        with Connection(int(app.match.group(1))) as c:
            c.request("GET", "/api/weather?i=77")
        app.wait_line(r"\d(\.\d+)? ?(ms|us|µs|s)\b")
        eventually(lambda: any("/ok" in l for l in app.err) and
                   any("/api/weather" in l and "HTTP/1" not in l for l in app.err), "the tree is complete")
        app.stop(signal.SIGINT)
        ours = [l for l in app.err if "HTTP/1" not in l and re.search(r"\d ?(ms|us|µs|s)\b", l)]
        server = [l for l in ours if "/api/weather" in l]
        client = [l for l in ours if "/ok" in l]
        equal((len(server), len(client)), (1, 1), "lines for the two spans in %r" % ours)
        check(ours.index(server[0]) < ours.index(client[0]), "the parent stands first")
        check(indent(client[0]) > indent(server[0]) >= 0, "the child is indented: %r" % ours)
        check("200" in server[0] and "200" in client[0], "statuses: %r" % ours)
        equal(box.recv.count(), 0, "spans sent elsewhere")


@test
def failure_shows():
    with Sandbox(**ON) as box:
        dead = free_port()
        argv = [needs("curl"), "-q", "-sS", "http://127.0.0.1:%d/x" % dead]
        plain, r = box.run(argv, traced=False), box.run(argv)
        check(plain.err in r.err, "curl's own message is there: %r" % r.err)
        text = r.err.replace(plain.err, b"").decode()
        check("connect" in text and str(dead) in text, "the trace: %r" % text)
        equal(r.rc, 7, "exit status of curl")
        equal(r.out, b"", "stdout")


@test
def stdout_is_left_alone():
    with Sandbox(**ON) as box:
        up = box.keep(Upstream())
        r = box.run([needs("curl"), "-q", "-sS", up.url + "/ok"])
        equal(r.out, BODY, "stdout")
        check(b"GET" in r.err and b"200" in r.err, "the trace is on stderr: %r" % r.err)


@test
def console_and_otlp():
    with Sandbox(OTEL_TRACES_EXPORTER="otlp,console") as box:
        up = box.keep(Upstream())
        r = box.run([needs("curl"), "-q", "-sS", up.url + "/ok"])
        check(b"GET" in r.err, "stderr %r" % r.err)
        box.recv.wait(1)


@test
def exporter_none():
    with Sandbox(OTEL_TRACES_EXPORTER="none") as box:
        up = box.keep(Upstream())
        r = box.run([needs("curl"), "-q", "-sS", up.url + "/ok"])
        equal((r.rc, r.out, r.err), (0, BODY, b""), "curl")
        equal(box.recv.requests, [], "exports")


@test
def unknown_exporter_warns_once():
    with Sandbox(OTEL_TRACES_EXPORTER="pigeon,otlp") as box:
        up = box.keep(Upstream())
        r = box.run([needs("curl"), "-q", "-sS", up.url + "/ok"])
        equal(len([l for l in r.err.decode().splitlines() if "pigeon" in l]), 1, "warnings: %r" % r.err)
        box.recv.wait(1)


@cases(file="file", socket="socket")
def reused_fd_2(kind):
    with Sandbox(**ON) as box:
        up = box.keep(Upstream())
        out = box.path("out")
        r = box.run([PYTHON, os.path.join(APPS, "reuse_fd2.py"), kind, up.url + "/ok", out])
        equal(r.rc, 0, "exit status: %r" % r)
        equal(open(out, "rb").read(), b"", "bytes that came to the program's own fd 2")
        if kind == "file":
            equal(open(out + ".fd2", "rb").read(), b"", "bytes in the file at exit")


def on_a_terminal(box, argv, raw=False, **env):
    """Runs argv with a terminal as stderr; what the terminal showed."""
    master, slave = pty.openpty()
    if raw:
        tty.setraw(slave)
    p = None
    try:
        p = subprocess.Popen(argv, env=box.env(**env), cwd=box.dir, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=slave, start_new_session=True)
        os.close(slave)
        text, end = b"", time.monotonic() + 15
        while time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    data = os.read(master, 65536)
                except OSError:                     # EIO: the last writer is gone
                    break
                if not data:
                    break
                text += data
        p.wait(5)
        return text
    finally:
        os.close(master)
        if p and p.poll() is None:
            p.kill()
            p.wait()


@test
def nothing_configured_on_a_terminal():
    with Sandbox() as box:
        up = box.keep(Upstream())
        text = on_a_terminal(box, [needs("curl"), "-q", "-sS", up.url + "/ok"], OTEL_EXPORTER_OTLP_ENDPOINT=None)
        check(b"GET" in text and b"200" in text, "the terminal shows %r" % text)


@test
def raw_terminal():
    """An editor or a pager has it: not a byte of ours."""
    with Sandbox(**ON) as box:
        up = box.keep(Upstream())
        text = on_a_terminal(box, [needs("curl"), "-q", "-sS", up.url + "/ok"], raw=True)
        equal((text, len(up.requests())), (b"", 1), "the terminal, and the requests made")


@test
def configured_on_a_terminal():
    """Any destination's variable counts as configured."""
    with Sandbox() as box:
        up = box.keep(Upstream())
        text = on_a_terminal(box, [needs("curl"), "-q", "-sS", up.url + "/ok"])
        equal(text, b"", "the terminal")
        box.recv.wait(1)


@test
def nothing_configured_without_a_terminal():
    with Sandbox() as box:
        up = box.keep(Upstream())
        r = box.run([needs("curl"), "-q", "-sS", up.url + "/ok"], env={"OTEL_EXPORTER_OTLP_ENDPOINT": None})
        equal((r.rc, r.out, r.err), (0, BODY, b""), "curl")


if __name__ == "__main__":
    main()
