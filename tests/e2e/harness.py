"""Runs unmodified programs under libremora.so and compares their spans with the truth.

A test file:

    from harness import *
    @test
    def keep_alive():
        with Sandbox() as box:
            web = box.http_server(files={"a.txt": b"hello"})
            ...
    if __name__ == "__main__": main()

Each file prints `ok NAME`, `not ok NAME: reason` or `skip NAME: needs TOOL` and exits 0 or 1;
`test_x.py PART` runs only tests whose name contains PART. A skip is a tool of the machine that
is missing, never our own library.

Processes: each host is the leader of its own process group; only these groups are signalled.
"""
import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("REMORA_BUILD") or os.environ.get("O")
                        or os.path.join(ROOT, "build"))
SHIM = os.path.join(BUILD, "libremora.so")
LAUNCHER = os.path.join(BUILD, "remora")
APPS = os.path.join(ROOT, "tests", "apps")
PYTHON = sys.executable
sys.path.insert(0, HERE)

from otlp_receiver import Answer, Receiver, Span, TestCA, SERVER, CLIENT, PATIENCE  # noqa: E402
from upstream import BODY, Upstream  # noqa: E402
from client import Connection, Sent, load, raw_exchange  # noqa: E402

# ---------------------------------------------------------------- the runner

_tests = []


class Skip(Exception):
    pass


def test(fn):
    if fn.__module__ == "__main__":         # a file that borrows from another does not run its tests
        _tests.append(fn)
    return fn


def cases(**table):
    """Makes one test per keyword: the function gets the value."""
    def deco(fn):
        for key, val in table.items():
            def one(v=val):
                return fn(v)
            one.__name__ = "%s_%s" % (fn.__name__, key)
            if fn.__module__ == "__main__":
                _tests.append(one)
        return fn
    return deco


def needs(tool):
    """The path of a program of the machine, or a skip."""
    path = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path:
        return path
    raise Skip(tool)


def needs_module(name):
    try:
        __import__(name)
    except ImportError:
        raise Skip("python package " + name)


def main():
    want = sys.argv[1:]
    failed = False
    if not os.path.exists(SHIM):
        print("not ok %s: %s is missing, run make first" % (os.path.basename(sys.argv[0]), SHIM))
        sys.exit(1)
    for fn in _tests:
        name = fn.__name__
        if want and not any(w in name for w in want):
            continue
        start = time.monotonic()
        try:
            fn()
        except Skip as e:
            print("skip %s: needs %s" % (name, e), flush=True)
        except BaseException as e:      # a KeyboardInterrupt must be seen as a failure too
            failed = True
            reason = " ".join(str(e).split()) or type(e).__name__
            print("not ok %s: %s" % (name, reason[:600]), flush=True)
            tb = traceback.extract_tb(e.__traceback__)
            mine = [f for f in tb if os.path.basename(f.filename) == os.path.basename(sys.argv[0])]
            for f in mine[-2:]:
                print("#   %s:%d %s" % (os.path.basename(f.filename), f.lineno, f.line), flush=True)
            for line in getattr(e, "host_output", []):
                print("#   | " + line[:400], flush=True)
            if isinstance(e, KeyboardInterrupt):
                break
        else:
            print("ok %s%s" % (name, "" if time.monotonic() - start < 5 else
                               " # %.0f s" % (time.monotonic() - start)), flush=True)
    sys.exit(1 if failed else 0)


def equal(seen, expected, what):
    if seen != expected:
        raise AssertionError("%s: expected %r, saw %r" % (what, expected, seen))


def check(cond, what):
    if not cond:
        raise AssertionError(what)


def eventually(fn, what, timeout=10.0):
    """For the few facts that no event announces (a process count, a file)."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        got = fn()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError("waited %.0f s until %s" % (timeout, what))
        time.sleep(0.02)


def kill9(pid):
    """Kills one of the test's own processes and waits until it is dead: a dying process may
    still take a connection from a listener that it shares."""
    os.kill(pid, signal.SIGKILL)

    def dead():
        try:
            with open("/proc/%d/stat" % pid) as f:
                return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
        except OSError:
            return True
    eventually(dead, "process %d is dead" % pid)


# ---------------------------------------------------------------- processes

class Host:
    """One started program with its output as lines, in order of arrival."""

    def __init__(self, argv, env, cwd=None, user=None, stdin=subprocess.DEVNULL, pass_fds=(),
                 name=None):
        self.argv, self.name = argv, name or os.path.basename(argv[0])
        self.out, self.err, self.lines = [], [], []
        self._cond = threading.Condition()
        ids = {}
        if user:
            pw = pwd.getpwnam(user)
            ids = {"user": pw.pw_uid, "group": pw.pw_gid, "extra_groups": []}
        self.proc = subprocess.Popen(argv, env=env, cwd=cwd, stdin=stdin,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     start_new_session=True, pass_fds=pass_fds, **ids)
        self.pid = self.proc.pid
        self._open = 2
        for stream, store in ((self.proc.stdout, self.out), (self.proc.stderr, self.err)):
            threading.Thread(target=self._pump, args=(stream, store), daemon=True).start()

    def _pump(self, stream, store):
        for raw in iter(stream.readline, b""):
            line = raw.decode("utf-8", "replace").rstrip("\n")
            with self._cond:
                store.append(line)
                self.lines.append(line)
                self._cond.notify_all()
        with self._cond:
            self._open -= 1
            self._cond.notify_all()

    def wait_line(self, pattern, timeout=20.0, count=1):
        """The count-th match of pattern in the output; raises when the program ends first."""
        rx = re.compile(pattern)
        end = time.monotonic() + timeout * PATIENCE
        with self._cond:
            while True:
                hits = [m for m in map(rx.search, self.lines) if m]
                if len(hits) >= count:
                    return hits[count - 1]
                left = end - time.monotonic()
                if self._open == 0 or left <= 0:
                    e = AssertionError("%s %s without printing /%s/: %s" % (
                        self.name, "waited %.0f s" % timeout if self._open else
                        "ended with %s" % self.proc.poll(), pattern, self.lines[-5:]))
                    raise e
                self._cond.wait(left)

    def alive(self):
        return self.proc.poll() is None

    def children(self, pid=None):
        """Pids of direct children."""
        out = []
        for tid in os.listdir("/proc/%d/task" % (pid or self.pid)):
            with contextlib.suppress(OSError):
                with open("/proc/%d/task/%s/children" % (pid or self.pid, tid)) as f:
                    out += map(int, f.read().split())
        return out

    def tree(self):
        pids, todo = [], [self.pid]
        while todo:
            p = todo.pop()
            pids.append(p)
            with contextlib.suppress(OSError):
                todo += self.children(p)
        return pids

    def wait(self, timeout=20.0):
        """Exit status, with all output read."""
        try:
            self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s did not end in %.0f s: %s" % (self.name, timeout,
                                                                  self.lines[-5:]))
        end = time.monotonic() + 5
        with self._cond:
            while self._open and time.monotonic() < end:
                self._cond.wait(0.2)
        return self.proc.returncode

    def stop(self, sig=signal.SIGTERM, timeout=15.0):
        """Ends the program as its user would; the exit status."""
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
        rc = self.wait(timeout)
        self.kill_group()
        return rc

    def kill_group(self):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.proc.wait(5)


class Finished:
    def __init__(self, rc, out, err):
        self.rc, self.out, self.err = rc, out, err

    def __repr__(self):
        return "<exit %s, out %r, err %r>" % (self.rc, self.out[-300:], self.err[-300:])


def free_port():
    """For programs that cannot take port 0 or a listening socket."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, host, timeout=15.0):
    """Waits until somebody listens, without connecting: a probe would be a connection to trace."""
    needle = ":%04X 00000000:0000 0A" % port

    def listening():
        if not host.alive():
            raise AssertionError("%s ended: %s" % (host.name, host.lines[-5:]))
        with open("/proc/net/tcp") as f:
            return needle in f.read()
    eventually(listening, "%s listens on %d" % (host.name, port), timeout)


_FOREIGN = re.compile(r"^(OTEL_|REMORA_|HONEYCOMB_|AWS_|ROLLBAR_|XDG_STATE_HOME$|LD_PRELOAD$|TRACEPARENT$|"
                      r"TRACESTATE$|BAGGAGE$|(https?|all|no)_proxy$|(HTTPS?|ALL|NO)_PROXY$)")


class Sandbox:
    """A directory, a runtime directory on tmpfs, an OTLP receiver and the hosts of one test."""

    def __init__(self, receiver=None, user=None, **env):
        self.user = user
        self.dir = tempfile.mkdtemp(prefix="remora-e2e-")
        self.runtime = tempfile.mkdtemp(prefix="remora-e2e-", dir="/dev/shm")
        if user:
            uid = pwd.getpwnam(user).pw_uid
            os.chown(self.dir, uid, -1)
            os.chown(self.runtime, uid, -1)
        if receiver is None:        # a well one: on a busy machine the last spans may take more than half a second
            env.setdefault("REMORA_EXIT_WAIT_MS", "5000")
        self.recv = receiver if receiver is not None else Receiver()
        self.hosts, self._env, self._stack = [], env, contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, kind, exc, tb):
        for h in reversed(self.hosts):
            h.kill_group()
        if exc is not None and self.hosts and not isinstance(exc, Skip):
            lines = [l for h in self.hosts for l in ["%s: %s" % (h.name, x) for x in h.lines[-8:]]]
            with contextlib.suppress(AttributeError):
                exc.host_output = lines[-24:]
        self._stack.close()
        self.recv.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.runtime, ignore_errors=True)
        return False

    def keep(self, thing):
        """Closes a context manager (an Upstream, another receiver) with the sandbox."""
        return self._stack.enter_context(thing)

    def path(self, *parts):
        p = os.path.join(self.dir, *parts)
        os.makedirs(os.path.dirname(p), exist_ok=True)
        return p

    def write(self, name, data):
        p = self.path(name)
        with open(p, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        os.chmod(p, 0o644)
        os.chmod(self.dir, 0o755)
        return p

    def env(self, traced=True, **more):
        env = {k: v for k, v in os.environ.items() if not _FOREIGN.match(k)}
        env["HOME"] = self.dir
        env["PYTHONDONTWRITEBYTECODE"] = env["PYTHONUNBUFFERED"] = "1"
        if traced:
            env.update({
                "LD_PRELOAD": SHIM,
                "OTEL_EXPORTER_OTLP_ENDPOINT": self.recv.url,
                "OTEL_BSP_SCHEDULE_DELAY": "100",
                "REMORA_RUNTIME_DIR": self.runtime,
                "REMORA_STATE_DIR": os.path.join(self.dir, "state"),
            })
        for k, v in {**self._env, **more}.items():
            if v is None:
                env.pop(k, None)
            else:
                env[k] = str(v)
        return env

    def start(self, argv, ready=None, traced=True, env=None, timeout=20.0, **kw):
        h = Host(argv, self.env(traced, **(env or {})), cwd=kw.pop("cwd", self.dir),
                 user=kw.pop("user", self.user), **kw)
        self.hosts.append(h)
        if ready:
            h.match = h.wait_line(ready, timeout)
        return h

    def run(self, argv, traced=True, env=None, timeout=30.0, input=None, cwd=None):
        """Runs a program to its end."""
        p = subprocess.Popen(argv, env=self.env(traced, **(env or {})), cwd=cwd or self.dir,
                             stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = p.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
            p.wait()
            raise AssertionError("%s did not end in %.0f s" % (argv[0], timeout))
        return Finished(p.returncode, out, err)

    # -- hosts ------------------------------------------------------------

    def http_server(self, files=None, **kw):
        root = self.path("www", "")
        for name, data in (files or {}).items():
            self.write("www/" + name, data)
        h = self.start([PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "--directory", root, "0"],
                       r"Serving HTTP on .* port (\d+)", name="http.server", **kw)
        h.port = int(h.match.group(1))
        return h

    def gunicorn(self, *args, app="app:app", workers=1, cwd=None, env=None, **kw):
        needs_module("gunicorn")
        needs_module("flask")
        h = self.start([PYTHON, "-m", "gunicorn", "-b", "127.0.0.1:0", "-w", str(workers),
                        "--access-logfile", "-", "--access-logformat", "ACCESS %(m)s %(U)s?%(q)s %(s)s %(B)s",
                        *args, app], r"Listening at: http://127\.0\.0\.1:(\d+)",
                       cwd=cwd or os.path.join(APPS, "backend_flask"), name="gunicorn", env=env, **kw)
        h.port = int(h.match.group(1))
        h.wait_line(r"Booting worker with pid", count=workers)
        return h

    def flask_dev(self, *args, cwd=None, **kw):
        needs_module("flask")
        h = self.start([PYTHON, "-m", "flask", "--app", "app", "run", "--port", "0", *args],
                       r"Running on http://127\.0\.0\.1:(\d+)",
                       cwd=cwd or os.path.join(APPS, "backend_flask"), name="flask", **kw)
        h.port = int(h.match.group(1))
        return h

    def node(self, script, *args, **kw):
        h = self.start([needs("node"), os.path.join(APPS, script), *args], r"^listening (\d+)",
                       name="node", **kw)
        h.port = int(h.match.group(1))
        return h

    def nginx(self, locations, main="", http="", files=None, workers=1, access_log=True, **kw):
        """Starts nginx in the foreground; `locations` is the inside of server {}."""
        exe = needs("nginx")
        for name, data in (files or {}).items():
            self.write("www/" + name, data)
        self.path("www", "")
        for attempt in range(3):
            port = free_port()
            conf = self.write("nginx.conf", f"""
{"user root;" if os.geteuid() == 0 and not self.user else ""}
daemon off; pid {self.dir}/nginx.pid; error_log stderr notice; worker_processes {workers};
{main}
events {{ worker_connections 512; }}
http {{
  client_body_temp_path {self.dir}/t1; proxy_temp_path {self.dir}/t2; fastcgi_temp_path {self.dir}/t3;
  uwsgi_temp_path {self.dir}/t4; scgi_temp_path {self.dir}/t5;
  log_format truth '$request_method $request_uri $status $body_bytes_sent $bytes_sent $request_length';
  access_log {f"{self.dir}/access.log truth" if access_log else "off"};
  keepalive_requests 1000000; sendfile on; default_type text/plain;
  {http}
  server {{ listen 127.0.0.1:{port}; root {self.dir}/www; {locations} }}
}}
""")
            h = self.start([exe, "-p", self.dir, "-c", conf, "-e", "stderr"], name="nginx", **kw)
            h.port = port
            try:
                h.wait_line(r"start worker process \d+", count=workers)
            except AssertionError:
                if any("Address already in use" in l for l in h.lines) and attempt < 2:
                    h.kill_group()
                    continue
                raise
            return h

    def access_log(self):
        """nginx's own list of requests: (method, target, status, body bytes, bytes, request bytes)."""
        out = []
        with open(os.path.join(self.dir, "access.log")) as f:
            for line in f:
                m, uri, status, body, total, length = line.split(" ")
                out.append((m, uri, int(status), int(body), int(total), int(length)))
        return out


# ---------------------------------------------------------------- spans

def is_server(s):
    return s.kind == SERVER


def is_client(s):
    return s.kind == CLIENT


def target_of(span):
    """Path and query as the request line had them."""
    q = span["url.query"]
    return (span["url.path"] or "") + ("?" + q if q else "")


def by_id(spans):
    return {s.span_id: s for s in spans}


_KNOWN = None


def _known_names():
    """Attribute names of the semantic conventions, from their own package."""
    global _KNOWN
    if _KNOWN is None:
        import importlib
        import pkgutil
        _KNOWN = set()
        try:
            for pkg in ("opentelemetry.semconv.attributes", "opentelemetry.semconv._incubating.attributes"):
                mod = importlib.import_module(pkg)
                for info in pkgutil.iter_modules(mod.__path__):
                    m = importlib.import_module(pkg + "." + info.name)
                    _KNOWN |= {v for k, v in vars(m).items() if k.isupper() and isinstance(v, str)}
        except ImportError:
            pass
    return _KNOWN


METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
_TYPES = {"http.response.status_code": int, "server.port": int, "client.port": int,
          "network.peer.port": int, "http.request.body.size": int, "http.response.body.size": int,
          "http.request.resend_count": int, "url.path": str, "url.query": str, "url.full": str,
          "url.scheme": str, "server.address": str, "client.address": str, "error.type": str,
          "network.peer.address": str, "network.protocol.version": str, "user_agent.original": str,
          "http.request.method": str, "http.route": str}


def convention_faults(s):
    """What the span has against the HTTP semantic conventions, v1.44."""
    bad = []
    for key, val in s.attrs.items():
        if key in _TYPES and type(val) is not _TYPES[key]:
            bad.append("%s is %r, not %s" % (key, val, _TYPES[key].__name__))
        if val in (None, ""):
            bad.append("%s is empty" % key)
        if _known_names() and key not in _known_names() and not key.startswith("remora.") \
                and not key.startswith(("http.request.header.", "http.response.header.")):
            bad.append("%s is no semantic convention" % key)
    if s.name == "connect":
        for key in ("server.address", "server.port", "error.type"):
            if s[key] is None:
                bad.append("%s is missing" % key)
        if s.kind != CLIENT or s.status != 2:
            bad.append("a failed connect is kind %s status %s" % (s.kind, s.status))
        return bad
    method, code = s["http.request.method"], s["http.response.status_code"]
    required = (["http.request.method", "url.path", "url.scheme"] if s.kind == SERVER else
                ["http.request.method", "server.address", "server.port", "url.full"])
    bad += ["%s is missing" % k for k in required if s[k] is None]
    if method == "_OTHER":
        want = "HTTP"
        if s["http.request.method_original"] is None:
            bad.append("http.request.method_original is missing")
    else:
        want = method
        if method not in METHODS:
            bad.append("method %r is not a known one" % method)
    if s["http.route"]:
        want = "%s %s" % (want, s["http.route"])
    if s.name != want:
        bad.append("name is %r, not %r" % (s.name, want))
    error = s["error.type"]
    if code is not None and not 100 <= code <= 599:
        bad.append("status code %r" % code)
    if code is None and error is None:
        bad.append("neither a status code nor an error.type")
    fails = code is not None and code >= (500 if s.kind == SERVER else 400)
    if fails and error is None:
        bad.append("error.type is missing for %d" % code)
    if (fails or error) and s.status != 2:
        bad.append("span status is %d with error.type %r" % (s.status, error))
    if not fails and not error and s.status != 0:
        bad.append("span status is %d for %r" % (s.status, code))
    if s["network.protocol.version"] not in (None, "1.0", "1.1"):
        bad.append("network.protocol.version %r" % s["network.protocol.version"])
    if s.kind == CLIENT and s["url.full"] and not re.match(r"https?://[^/]+", s["url.full"]):
        bad.append("url.full %r" % s["url.full"])
    return bad


def check_conventions(spans):
    for s in spans:
        bad = convention_faults(s)
        if bad:
            raise AssertionError("%r: %s" % (s, "; ".join(bad)))


def check_child(child, parent, what="span"):
    equal(child.trace_id, parent.trace_id, what + ": trace id")
    equal(child.parent_id, parent.span_id, what + ": parent of %r" % child)


def check_exactly(spans, sent):
    """One server span per request the client counted, with its method, status and bytes."""
    want, got = {}, {}
    for r in sent:
        want.setdefault((r.method, r.target), []).append(r)
    for s in spans:
        got.setdefault((s["http.request.method"], target_of(s)), []).append(s)
    lost = [k for k in want if len(got.get(k, ())) < len(want[k])]
    invented = [k for k in got if len(got[k]) > len(want.get(k, ()))]
    if lost or invented:
        raise AssertionError("%d requests, %d spans: %d targets lost (%r), %d invented (%r)" % (
            len(sent), len(spans), len(lost), lost[:3], len(invented), invented[:3]))
    for key, requests in want.items():
        equal(sorted(s["http.response.status_code"] or 0 for s in got[key]),
              sorted(r.status for r in requests), "status of %s %s" % key)


# ---------------------------------------------------------------- the real collector

class Collector:
    """The OpenTelemetry Collector of tests/receivers, built once into the build directory."""

    def __init__(self, box, grpc=False):
        exe = os.environ.get("REMORA_COLLECTOR") or os.path.join(BUILD, "collector")
        if not os.path.exists(exe):
            exe = os.path.join(ROOT, "build", "collector")
        if not os.path.exists(exe):
            script = os.path.join(ROOT, "tests", "receivers", "build-collector")
            r = subprocess.run([script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if r.returncode == 3:
                raise Skip("go 1.26 (%s)" % r.stdout.decode().strip().splitlines()[-1])
            check(r.returncode == 0, "build-collector failed: %s" % r.stdout.decode()[-400:])
        self.file = box.path("collector.jsonl")
        conf = box.write("collector.yaml", """
receivers:
  otlp: {protocols: {http: {endpoint: "127.0.0.1:0"}}}
exporters:
  file: {path: %s, flush_interval: 10ms}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces:  {receivers: [otlp], exporters: [file]}
""" % self.file)
        self.host = box.start([exe, "--config=" + conf], traced=False, name="collector")
        m = self.host.wait_line(r'Starting HTTP server.*"endpoint": "127\.0\.0\.1:(\d+)"', 30)
        self.url = "http://127.0.0.1:%s" % m.group(1)
        self.host.wait_line("Everything is ready", 30)

    def spans(self):
        from opentelemetry.proto.trace.v1 import trace_pb2  # noqa: only to fail early when absent
        from otlp_receiver import decode_traces
        out = []
        if os.path.exists(self.file):
            with open(self.file, "rb") as f:
                for line in f:
                    if line.endswith(b"\n"):
                        out += decode_traces(line, "application/json")[0]
        return out

    def wait(self, n, timeout=20.0):
        return eventually(lambda: (lambda s: s if len(s) >= n else None)(self.spans()),
                          "the collector has %d spans" % n, timeout)
