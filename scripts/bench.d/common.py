"""What the sections share: programs, their CPU time and memory, the receiver, statistics, the report."""
import contextlib
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("O") or "build")
OUT = os.path.join(BUILD, "bench")
SHIM = os.path.join(BUILD, "libremora.so")
VENV = os.path.join(ROOT, "build", "bench-venv")
NODE = os.path.join(ROOT, "build", "bench-node")
PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = CPUS[0], CPUS[-1]
DELAY_MS = 500              # OTEL_BSP_SCHEDULE_DELAY, the same for remora and the SDKs


class Skip(Exception):
    """This section or part cannot run here; the text says why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def tool(name):
    path = shutil.which(name, path=PATH)
    if not path:
        raise Skip("%s is not installed (scripts/setup test)" % name)
    return path


def compiled(name, *flags):
    """A program of this folder, built when it is older than its source."""
    src, exe = os.path.join(HERE, name + ".c"), os.path.join(OUT, name)
    os.makedirs(OUT, exist_ok=True)
    if not os.path.exists(exe) or os.path.getmtime(exe) < os.path.getmtime(src):
        subprocess.run([os.environ.get("CC") or "cc", "-O2", "-g", "-Wall", "-Wextra", "-pthread", *flags, "-o", exe, src], check=True)
    return exe


# ---------------------------------------------------------------- statistics

def median(values):
    return statistics.median(values) if values else float("nan")


def quartiles(values):
    if len(values) < 2:
        return (median(values),) * 2
    q = statistics.quantiles(values, n=4, method="inclusive")
    return q[0], q[2]


def spread(values, form="%.3f"):
    """median (lower quartile .. upper quartile)"""
    lo, hi = quartiles(values)
    return (form + " (" + form + ".." + form + ")") % (median(values), lo, hi)


# ---------------------------------------------------------------- environment

_FOREIGN = re.compile(r"^(OTEL_|REMORA_|HONEYCOMB_|AWS_|ROLLBAR_|LD_PRELOAD$|TRACEPARENT$|TRACESTATE$|BAGGAGE$|"
                      r"(https?|all|no)_proxy$|(HTTPS?|ALL|NO)_PROXY$|MAKE|MFLAGS)")


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not _FOREIGN.match(k)}
    env.update(PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1", PATH=PATH)
    env.update({k: str(v) for k, v in more.items()})
    return env


def exporting(url):
    """The variables that remora and the SDKs both understand."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "bench", "OTEL_BSP_SCHEDULE_DELAY": str(DELAY_MS),
    }


class Workplace:
    """A directory for one section, remora's runtime directory on tmpfs, the receiver, and all that was started."""

    def __init__(self, ports=8):
        self.dir = tempfile.mkdtemp(prefix="remora-bench-")
        os.chmod(self.dir, 0o755)
        self.runtime = tempfile.mkdtemp(prefix="remora-bench-", dir="/dev/shm")
        self.programs = []
        self.receiver = Program(self, [compiled("receiver"), str(ports)], {}, cpu=LOAD_CPU)
        self.ports = [int(p) for p in self.receiver.wait_line(r"^listening (.*)").group(1).split()]
        self._free = list(self.ports)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for p in reversed(self.programs):
            p.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.runtime, ignore_errors=True)
        return False

    def port(self):
        return self._free.pop(0)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path

    def remora(self, port):
        return {"LD_PRELOAD": SHIM, "REMORA_RUNTIME_DIR": self.runtime, **exporting("http://127.0.0.1:%d" % port)}


# ---------------------------------------------------------------- programs

@contextlib.contextmanager
def on_cpu(cpu):
    """What is started inside runs on this CPU."""
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


class Program:
    """A started program with its children; its output goes to a file."""

    def __init__(self, place, argv, env, cpu=None, cwd=None):
        self.name = os.path.basename(argv[0])
        self.log = os.path.join(place.dir, "log-%d" % len(place.programs))
        with open(self.log, "wb") as out, on_cpu(cpu):
            self.proc = subprocess.Popen(argv, env=environment(**env), cwd=cwd or place.dir, stdin=subprocess.DEVNULL,
                                         stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        self.pid = self.proc.pid
        place.programs.append(self)

    def wait_line(self, pattern, timeout=60):
        end = time.monotonic() + timeout
        while True:
            m = re.search(pattern, read(self.log), re.M)
            if m:
                return m
            if self.proc.poll() is not None or time.monotonic() > end:
                raise RuntimeError("%s did not print /%s/ but: %s" % (self.name, pattern, read(self.log)[-800:]))
            time.sleep(0.01)

    def wait_listening(self, port, timeout=60):
        """Without connecting: that would be traced."""
        end = time.monotonic() + timeout
        while ":%04X 00000000:0000 0A" % port not in read("/proc/net/tcp"):
            if self.proc.poll() is not None or time.monotonic() > end:
                raise RuntimeError("%s does not listen: %s" % (self.name, read(self.log)[-800:]))
            time.sleep(0.01)

    def pids(self):
        out, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            out.append(pid)
            with contextlib.suppress(OSError):
                for tid in os.listdir("/proc/%d/task" % pid):
                    todo += map(int, read("/proc/%d/task/%s/children" % (pid, tid)).split())
        return out

    def threads(self):
        """(pid, tid, is it remora's)"""
        out = []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for tid in map(int, os.listdir("/proc/%d/task" % pid)):
                    out.append((pid, tid, read("/proc/%d/task/%d/comm" % (pid, tid)).strip() == "remora"))
        return out

    def cpu(self):
        """Nanoseconds so far by thread: {(tid, is it remora's): ns}"""
        return {(tid, ours): int((read("/proc/%d/task/%d/schedstat" % (pid, tid)).split() or ["0"])[0])
                for pid, tid, ours in self.threads()}

    def place(self, exporter_cpu):
        for pid, tid, ours in self.threads():
            if ours:
                with contextlib.suppress(OSError):
                    if os.sched_getaffinity(tid) != {exporter_cpu}:
                        os.sched_setaffinity(tid, {exporter_cpu})

    def switches(self):
        """Context switches so far: {(tid, is it remora's): n}"""
        out = {}
        for pid, tid, ours in self.threads():
            text = read("/proc/%d/task/%d/status" % (pid, tid))
            out[tid, ours] = sum(int(n) for n in re.findall(r"voluntary_ctxt_switches:\s*(\d+)", text))
        return out

    def stop(self, how=signal.SIGTERM, timeout=10):
        if self.proc.poll() is None:
            self.proc.send_signal(how)
            try:
                self.proc.wait(timeout)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.proc.wait()


def difference(after, before, ours):
    return sum(v - before.get(k, 0) for k, v in after.items() if k[1] == ours)


def ask(port, path="/"):
    """A GET on a connection of its own; the body."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % (path.encode(), port))
        data = b""
        while True:
            head, sep, body = data.partition(b"\r\n\r\n")
            m = re.search(rb"(?i)content-length: *(\d+)", head)
            if sep and m and len(body) >= int(m.group(1)):
                break
            more = s.recv(65536)
            if not more:
                break
            data += more
    return data.partition(b"\r\n\r\n")[2].decode()


def received(port):
    """(posts, spans, bytes, bad) at one port of the receiver"""
    return tuple(map(int, ask(port).split()))


def wait_received(port, want, seconds=10):
    """Spans at that port of the receiver, once there are so many, or after so long. It has nothing to wait on: it is asked."""
    end = time.monotonic() + seconds
    while (n := received(port)[1]) < want and time.monotonic() < end:
        time.sleep(0.05)
    return n


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---------------------------------------------------------------- hosts

def nginx(place, env, workers=1, cpu=None, prefix=()):
    """nginx with a 12-byte file; `workers` 0: one process in the foreground."""
    exe = tool("nginx")
    port = free_port()
    d = os.path.join(place.dir, "nginx-%d" % port)
    place.write("nginx-%d/www/index.html" % port, "hello world\n")
    conf = place.write("nginx-%d/nginx.conf" % port, f"""
{"user root;" if os.geteuid() == 0 else ""}
daemon off; pid {d}/nginx.pid; error_log stderr crit; {f"worker_processes {workers};" if workers else "master_process off;"}
events {{ worker_connections 512; }}
http {{
  client_body_temp_path {d}/t1; proxy_temp_path {d}/t2; fastcgi_temp_path {d}/t3; uwsgi_temp_path {d}/t4; scgi_temp_path {d}/t5;
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; sendfile on; default_type text/plain;
  server {{
    listen 127.0.0.1:{port}; root {d}/www;
    location = /count {{ stub_status; }}
  }}
}}
""")
    p = Program(place, [*prefix, exe, "-p", d, "-c", conf, "-e", "stderr"], env, cpu=cpu)
    p.port = port
    p.wait_listening(port)
    p.count = lambda: int(ask(port, "/count").split("requests")[1].split()[2])
    return p


def flask(place, env, cpu=None, sdk=False):
    bin = os.path.join(VENV, "bin")
    port = free_port()
    argv = [os.path.join(bin, "gunicorn"), "-k", "gthread", "--threads", "4", "-w", "1", "--keep-alive", "60",
            "-b", "127.0.0.1:%d" % port, "app:app"]
    p = Program(place, ([os.path.join(bin, "opentelemetry-instrument")] if sdk else []) + argv, env, cpu=cpu, cwd=HERE)
    p.port = port
    p.wait_line("Booting worker with pid")
    p.wait_listening(port)
    p.count = lambda: int(ask(port, "/count"))
    return p


def node(place, env, cpu=None, sdk=False):
    script = os.path.join(HERE, "server.js")
    argv = [tool("node")] + (["--require", "@opentelemetry/auto-instrumentations-node/register"] if sdk else []) + [script]
    p = Program(place, argv, env, cpu=cpu, cwd=NODE if sdk else None)
    p.port = int(p.wait_line(r"^listening (\d+)").group(1))
    p.count = lambda: int(ask(p.port, "/count"))
    return p


# ---------------------------------------------------------------- report

class Report:
    def __init__(self):
        self.parts, self.goals, self.data = [], [], {}

    def heading(self, text):
        self.parts.append(("heading", text))
        print("\n" + text)

    def note(self, text):
        self.parts.append(("note", text))
        print("  " + text, flush=True)

    def table(self, head, rows):
        self.parts.append(("table", [head] + rows))
        widths = [max(len(str(r[i])) for r in [head] + rows) for i in range(len(head))]
        for r in [head] + rows:
            print("  " + "  ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w)
                                   for i, (c, w) in enumerate(zip(r, widths))), flush=True)

    def goal(self, what, goal, value, ok):
        self.goals.append((what, goal, value, "yes" if ok else "**no**"))

    def finish(self, about, path):
        if self.goals:
            self.heading("Goals")
            self.table(["what", "goal", "measured", "reached"], [list(g) for g in self.goals])
        with open(path, "w") as f:
            for line in about:
                f.write("- %s\n" % line)
            for kind, what in self.parts:
                if kind == "heading":
                    f.write("\n### %s\n\n" % what)
                elif kind == "note":
                    f.write("%s\n\n" % what)
                else:
                    for i, r in enumerate(what):
                        f.write("| " + " | ".join(str(c) for c in r) + " |\n")
                        if i == 0:
                            f.write("|" + " --- |" * len(r) + "\n")
                    f.write("\n")
