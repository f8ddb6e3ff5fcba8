# timeout: 600
"""The archive of `make dist`, unpacked and mounted as an image would have it: in the oldest Debian that can be had, with
libc and python3 and nothing else in it, and in this machine's own root. `make dist-test` makes both and runs this.

Inside is a mount namespace of its own: the root read-only, the archive on /opt/remora, the test's directory on /box.
Network and pids are the machine's, so receivers are outside.
"""
import atexit
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import harness                                           # noqa: E402
from harness import *                                    # noqa: E402
from rollbar_stub import Rollbar, TOKEN                  # noqa: E402

ARCHIVE = sorted(glob.glob(os.path.join(ROOT, "build", "dist", "remora-*-x86_64.tar.gz")))
OLD = sorted(glob.glob(os.path.join(ROOT, "build", "dist-root", "*", ".complete")))
MOUNTS = """set -e
mount --bind "$1" "$1"; cd "$1"
mount --bind "$2" opt/remora; mount -o remount,bind,ro opt/remora
mount --bind "$3" box; mount -t proc proc proc; mount -t tmpfs tmpfs dev/shm; mount -t tmpfs tmpfs tmp
mount -o remount,bind,ro "$1"
shift 3
exec chroot . /usr/bin/env -i PATH=/usr/bin:/bin HOME=/tmp "$@"
"""
if not ARCHIVE or not OLD:
    print("not ok archive: run make dist-test, which makes the archive and the old root first")
    sys.exit(1)
UNPACKED = tempfile.mkdtemp(prefix="remora-dist-")
atexit.register(shutil.rmtree, UNPACKED, True)
subprocess.run(["tar", "-xzf", ARCHIVE[-1], "-C", UNPACKED], check=True)
UNPACKED = glob.glob(UNPACKED + "/*")[0]
os.chmod(os.path.dirname(UNPACKED), 0o755)


class Box(Sandbox):
    """A sandbox whose programs run in the old root (old) or in the machine's own."""

    def __init__(self, old, **env):
        super().__init__(**env)
        self.old = old
        if old and os.geteuid() != 0:
            raise Skip("root")
        self.rollbar = self.keep(Rollbar())

    def place(self, path):
        """Where the program sees a path of the sandbox or of the archive."""
        if not self.old:
            return path
        return path.replace(UNPACKED, "/opt/remora").replace(self.dir, "/box")

    def both(self, argv, traced, env):
        add = {"REMORA_STATE_DIR": os.path.join(self.dir, "state"), "REMORA_EXIT_WAIT_MS": "5000"}
        if traced:
            add.update({"LD_PRELOAD": os.path.join(UNPACKED, "libremora.so"), "OTEL_BSP_SCHEDULE_DELAY": "100",
                        "OTEL_EXPORTER_OTLP_ENDPOINT": self.recv.url, "OTEL_SERVICE_NAME": "backend-flask"})
        add.update(env or {})
        if not self.old:
            return argv, {"LD_PRELOAD": None, "REMORA_RUNTIME_DIR": self.runtime, **add}
        words = ["%s=%s" % (k, self.place(str(v))) for k, v in add.items() if v is not None]
        argv = [a if i else self.place(a) for i, a in enumerate(argv)]
        return [needs("unshare"), "-m", "sh", "-c", MOUNTS, "sh", os.path.dirname(OLD[0]), UNPACKED, self.dir,
                *words, *argv], {}

    def run(self, argv, traced=True, env=None, **kw):
        argv, env = self.both(argv, traced, env)
        return super().run(argv, traced=False, env=env, **kw)

    def start(self, argv, ready=None, traced=True, env=None, **kw):
        argv, env = self.both(argv, traced, env)
        return super().start(argv, ready, traced=False, env=env, **kw)

    def python(self):
        return "/usr/bin/python3"

    def tool(self, *args):
        r = self.run([os.path.join(UNPACKED, "remora"), *args], traced=False)
        equal((r.rc, r.err), (0, b""), "remora %s: %r" % (args, r))
        return r.out.decode()


both_roots = cases(old_root=True, own_root=False)


@test
def needs_no_package_and_nothing_newer_than_glibc_2_17():
    r = subprocess.run([os.path.join(ROOT, "scripts", "dist-check"), UNPACKED], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
    equal(r.returncode, 0, r.stdout.decode())
    for name in ("LICENSE", "README", "THIRD-PARTY/VERSIONS", "THIRD-PARTY/curl", "THIRD-PARTY/openssl"):
        check(os.path.getsize(os.path.join(UNPACKED, name)), name)


@test
def old_root_is_old_and_bare():
    root = os.path.dirname(OLD[0])
    have = {os.path.basename(p).split(".so")[0] for p in glob.glob(root + "/usr/lib/x86_64-linux-gnu/*.so*")}
    equal(have & {"libcurl", "libcares", "libcjson", "libunwind", "libdw", "libelf"}, set(), "libraries in the old root")
    with Box(True) as box:
        r = box.run(["ldd", "--version"], traced=False)
        glibc = re.search(rb"GLIBC (\d+)\.(\d+)", r.out)
        print("# the old root is %s, glibc %s" % (os.path.basename(root), glibc and glibc.group(0).decode()))
        check(glibc and (int(glibc[1]), int(glibc[2])) < (2, 34), "pthread is in libc there already: nothing old about it")


@both_roots
def launcher_and_version(old):
    with Box(old) as box:
        check(re.fullmatch(r"remora %s \(.*\)\n" % re.search(r"remora-([^-]+)-", ARCHIVE[-1])[1], box.tool("--version")),
              box.tool("--version"))
        r = box.run([os.path.join(UNPACKED, "remora"), "run", "--", "env"], traced=False)
        check("LD_PRELOAD=%s\n" % box.place(os.path.join(UNPACKED, "libremora.so")) in r.out.decode(), repr(r))


def web(box, **env):
    box.write("www/a.txt", b"hello")
    os.chmod(os.path.join(box.dir, "www"), 0o755)
    h = box.start([box.python(), "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory",
                   box.place(box.path("www", "")), "0"], r"Serving HTTP on .* port (\d+)", env=env, name="http.server")
    h.port = int(h.match.group(1))
    return h


@both_roots
def server_spans(old):
    with Box(old) as box:
        w = web(box)
        with Connection(w.port) as c:
            sent = [c.request("GET", "/a.txt?i=%d" % i) for i in range(5)] + [c.request("GET", "/missing")]
        spans = box.recv.wait(6)
        check_exactly(spans, sent)
        check_conventions(spans)
        equal({s.resource["service.name"] for s in spans}, {"backend-flask"}, "service.name")
        w.stop()
        check(not any("remora" in l or "ld.so" in l for l in w.lines), "%r" % w.lines)


@both_roots
def gzip_json_tls_by_name(old):
    """zlib, cJSON, OpenSSL and c-ares of the archive."""
    with Box(old) as box:
        ca = TestCA(box.path("ca", ""))
        tls = box.keep(Receiver(tls=ca.server_context()))
        w = web(box, OTEL_EXPORTER_OTLP_ENDPOINT=tls.url.replace("127.0.0.1", "localhost"),
                OTEL_EXPORTER_OTLP_CERTIFICATE=ca.ca, OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
                OTEL_EXPORTER_OTLP_PROTOCOL="http/json")
        with Connection(w.port) as c:
            sent = [c.request("GET", "/a.txt?i=%d" % i) for i in range(5)]
        check_exactly(tls.wait(5), sent)
        equal({(r.headers["content-encoding"], r.headers["content-type"]) for r in tls.requests},
              {("gzip", "application/json")}, "encodings")
        equal(w.stop(), -15, "exit")


@both_roots
def wrong_certificate_is_refused(old):
    with Box(old) as box:
        ca, other = TestCA(box.path("ca", "")), TestCA(box.path("other", ""))
        tls = box.keep(Receiver(tls=ca.server_context()))
        w = web(box, OTEL_EXPORTER_OTLP_ENDPOINT=tls.url, OTEL_EXPORTER_OTLP_CERTIFICATE=other.ca)
        with Connection(w.port) as c:
            equal(c.request("GET", "/a.txt").status, 200, "status")
        tls.wait_until(lambda: tls.tls_errors, "a handshake failed")
        equal(tls.count(), 0, "spans sent to a stranger")


SOURCE = """struct order { int n; };
static int parse_order(struct order *o) { o->n = 1; return o->n; }
int handle(struct order *o) { return parse_order(o) + 1; }
int main(void) { return handle(0) - 1; }
"""


@both_roots
def crash_of_a_c_program(old):
    """No exporter runs in it: the helper of the archive makes the report."""
    with Box(old) as box:
        box.write("order.c", SOURCE)
        cc = subprocess.run([os.path.join(ROOT, "scripts", "dist-cc"), "-g", "-O0", "order.c", "-o", "order"], cwd=box.dir,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        equal(cc.returncode, 0, cc.stdout.decode())
        r = box.run([box.place(box.path("order"))], env={"ROLLBAR_ACCESS_TOKEN": TOKEN, "ROLLBAR_ENDPOINT": box.rollbar.url})
        equal((r.rc, r.out, r.err), (-11, b"", b""), "the program's end")
        item, = box.rollbar.wait(1)
        box.rollbar.check()
        equal([(f["method"], f["lineno"]) for f in item["body"]["trace"]["frames"]][-3:],
              [("main", 4), ("handle", 3), ("parse_order", 2)], "frames, the crash last")
        listed = box.tool("crashes")
        check("SIGSEGV in parse_order (order.c:2)" in listed, "remora crashes: %r" % listed)


@both_roots
def crash_of_a_server(old):
    """Its request is told, and python's own frames are."""
    with Box(old) as box:
        code = ("import ctypes, http.server as h\n"
                "class H(h.BaseHTTPRequestHandler):\n"
                "    def do_GET(self): ctypes.string_at(0)\n"
                "s = h.ThreadingHTTPServer(('127.0.0.1', 0), H)\n"
                "print('port', s.server_port, flush=True)\n"
                "s.serve_forever()\n")
        w = box.start([box.python(), "-c", code], r"port (\d+)", name="python",
                      env={"ROLLBAR_ACCESS_TOKEN": TOKEN, "ROLLBAR_ENDPOINT": box.rollbar.url})
        with contextlib.suppress(OSError, AssertionError, IndexError, ValueError):
            raw_exchange(int(w.match.group(1)), b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")
        equal(w.wait(), -11, "exit")
        item, = box.rollbar.wait(1)
        box.rollbar.check()
        methods = [f.get("method", "") for f in item["body"]["trace"]["frames"]]
        check(len(methods) > 8 and any(m.startswith(("_Py", "Py")) for m in methods), "frames: %r" % methods)
        span, = box.recv.wait(1)
        equal((span["url.path"], span.status), ("/crash", 2), "span of the request")
        ident = box.tool("crashes").split()[1]
        check("Thread " in box.tool("crashes", "show", ident) and "#5 " in box.tool("crashes", "show", ident), "report")


@both_roots
def programs_without_threads_are_untouched(old):
    """In glibc before 2.34 ls and bash load no libpthread: nothing can be sent from them, and nothing may change."""
    with Box(old) as box:
        box.write("www/a.txt", b"hello")
        for argv in (["ls", "-l", "/usr"], ["bash", "-c", "cat /box/none; echo $$ >/dev/null; exit 3"],
                     ["sh", "-c", "kill -TERM $$"], ["env", "true"]):
            plain, traced = box.run(argv, traced=False), box.run(argv, env={"REMORA_INCLUDE": "*"})
            equal((traced.rc, traced.out, traced.err), (plain.rc, plain.out, plain.err), repr(argv))


if __name__ == "__main__":
    main()
