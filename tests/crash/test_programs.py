# timeout: 240
"""Real programs that crash, plain and traced: both end alike, the service goes on where it did, and Rollbar has one item.

Numbers are those of crash-capture.md, section 4: 36 to 40, 43.
"""
import glob
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from harness import *                                    # noqa: E402
from rollbar_stub import Rollbar, TOKEN                  # noqa: E402

SEGV, ABRT, TRAP = 11, 6, 5


class Box(Sandbox):
    """A sandbox with a Rollbar that takes what its schema allows."""

    def __init__(self, **env):
        super().__init__(**env)
        self.rollbar = self.keep(Rollbar())

    def env(self, traced=True, **more):
        ours = {"ROLLBAR_ENDPOINT": self.rollbar.url, "ROLLBAR_ACCESS_TOKEN": TOKEN, "REMORA_LOG": "off"} if traced else {}
        return super().env(traced, **{**ours, "RUST_BACKTRACE": None, **more})

    def both(self, argv, rc, env=None, mask=(), **kw):
        """Plain and traced: the same status and output, but for what differs between two plain runs too."""
        plain = self.run(argv, traced=False, env=env, **kw)
        traced = self.run(argv, env=env, **kw)

        def shown(text):
            for pattern in (rb"0x[0-9a-f]+", rb"\b\d{3,}\b", *mask):
                text = re.sub(pattern, b"N", text)
            return text.splitlines()
        equal(plain.rc, rc, "status of the plain run (%r)" % plain)
        equal((traced.rc, shown(traced.out), shown(traced.err)), (plain.rc, shown(plain.out), shown(plain.err)), "end and output")
        return traced

    def item(self):
        """The only one."""
        self.rollbar.wait(1)
        return self.items(1)[0]

    def items(self, n):
        """After all that lies around was sent as well: not one more than n."""
        self.rollbar.wait(n) if n else None
        self.run([LAUNCHER, "flush", "--all"], env={"LD_PRELOAD": None})
        self.run([PYTHON, "-c", "import sys; print('hello', file=sys.stderr)"])
        self.rollbar.check()
        equal(len(self.rollbar.items), n, "items: %r" % [i.get("title") for i in self.rollbar.items])
        return self.rollbar.items


def chain(item):
    body = item["body"]
    return body["trace_chain"] if "trace_chain" in body else [body["trace"]]


def classes(item):
    return [t["exception"]["class"] for t in chain(item)]


def methods(trace):
    return [f["method"] for f in trace["frames"]]


def lines(trace):
    return [(f["method"], os.path.basename(f["filename"]), f.get("lineno")) for f in trace["frames"]]


# ---------------------------------------------------------------- interpreters

CTYPES = "import ctypes\ndef inner(): ctypes.string_at(0)\ndef outer(): inner()\nouter()\n"


@cases(plain=[], faulthandler=["-X", "faulthandler"])
def python_ctypes(options):
    """38"""
    with Box() as box:
        box.write("c.py", CTYPES)
        box.both([PYTHON, *options, box.path("c.py")], -SEGV)
        item = box.item()
        equal((item["level"], item["custom"]["signal"], item["custom"]["si_code"], item["custom"]["si_addr"]),
              ("critical", SEGV, 1, "0x0"), "the fault")
        native = chain(item)[0]
        check(native["exception"]["class"] == "SIGSEGV" and "strlen" in methods(native)[-1], methods(native)[-3:])
        check(len(native["frames"]) > 10 and "Py_BytesMain" in methods(native), methods(native))
        if options:
            equal(classes(item), ["SIGSEGV", "Fatal Python error"], "chain")
            equal(lines(chain(item)[1])[:3], [("<module>", "c.py", 4), ("outer", "c.py", 3), ("inner", "c.py", 2)], "Python's frames")
            equal(chain(item)[1]["exception"]["message"], "Segmentation fault", "message")
        else:
            equal(classes(item), ["SIGSEGV"], "chain")


@cases(abort=("process.abort()", ABRT), kill=("process.kill(process.pid, 'SIGSEGV'); setTimeout(() => {}, 5000)", SEGV))
def node_dies(case):
    node = needs("node")
    script, signo = case
    with Box() as box:
        box.both([node, "-e", script], -signo)
        item = box.item()
        equal((classes(item), item["custom"]["signal"]), ([{ABRT: "SIGABRT", SEGV: "SIGSEGV"}[signo]], signo), "item")
        check(len(chain(item)[0]["frames"]) > 3, methods(chain(item)[0]))


@test
def node_out_of_memory():
    node = needs("node")
    with Box() as box:
        box.write("m.js", "const a = []; for (;;) a.push(new Array(1000).fill({}));\n")
        r = box.run([node, "--max-old-space-size=8", box.path("m.js")])
        equal(r.rc, -ABRT, "status (%s)" % r.err[-300:])
        item = box.item()
        equal(classes(item)[0], "FATAL ERROR", "class")
        check("heap" in chain(item)[0]["exception"]["message"], chain(item)[0]["exception"]["message"])


@test
def node_aborts_on_an_uncaught_exception():
    node = needs("node")
    with Box() as box:
        box.write("u.js", "function inner() { throw new TypeError('bad'); }\nfunction f() { inner(); }\nf();\n")
        box.both([node, "--abort-on-uncaught-exception", box.path("u.js")], -TRAP)
        item = box.item()
        equal((classes(item), item["title"], item["custom"]["signal"]), (["SIGTRAP", "TypeError"], "TypeError: bad", TRAP), "item")
        equal(lines(chain(item)[1])[-2:], [("f", "u.js", 2), ("inner", "u.js", 1)], "innermost frames")


@test
def ruby_dies():
    ruby = needs("ruby")
    with Box() as box:
        box.write("r.rb", "def inner() Process.kill(:SEGV, $$); sleep end\ndef outer() inner end\nouter\n")
        plain, traced = (box.run([ruby, box.path("r.rb")], traced=t) for t in (False, True))
        equal((traced.rc, plain.rc), (-ABRT, -ABRT), "status")
        sections = [[l for l in r.err.splitlines() if l.startswith(b"-- ") or b"[BUG]" in l] for r in (plain, traced)]
        sections = [[re.sub(rb"0x[0-9a-f]+", b"N", l) for l in s] for s in sections]
        equal(sections[1], sections[0], "its own report")
        check(len(sections[0]) > 4, sections[0])
        item = box.item()
        equal((classes(item), item["custom"]["signal"]), (["SIGSEGV", "[BUG]"], SEGV), "item")
        equal(lines(chain(item)[1]), [("<main>", "r.rb", 3), ("outer", "r.rb", 2), ("inner", "r.rb", 1), ("kill", "r.rb", 1)], "Ruby's frames")


# ---------------------------------------------------------------- the JVM

JAVA = """import java.lang.reflect.Field;
public class T {
  static int depth(int n) { return depth(n + 1) + 1; }
  static void poke() throws Exception {
    Field f = sun.misc.Unsafe.class.getDeclaredField("theUnsafe"); f.setAccessible(true);
    ((sun.misc.Unsafe) f.get(null)).putInt(0L, 1);
  }
  public static void main(String[] a) throws Exception {
    if (a[0].equals("unsafe")) poke();
    if (a[0].equals("storm")) {
      int n = 0; int[] none = null;
      for (int i = 0; i < 20000; i++) try { n += none.length; } catch (NullPointerException e) { n++; }
      System.out.println(n);
    }
    if (a[0].equals("overflow")) try { depth(0); } catch (StackOverflowError e) { System.out.println("caught"); }
  }
}
"""


def java_box(box):
    java, javac = needs("java"), needs("javac")
    box.write("T.java", JAVA)
    equal(box.run([javac, "-Xlint:none", "-nowarn", "T.java"], traced=False, timeout=60).rc, 0, "javac")
    return [java, "-XX:TieredStopAtLevel=1", "-cp", box.dir, "T"]


@test
def java_unsafe():
    """36"""
    with Box() as box:
        argv = java_box(box)

        def hs_err(r):
            path, = glob.glob(box.dir + "/hs_err_pid*.log")
            with open(path) as f:
                text = f.read()
            os.unlink(path)
            return text
        plain = box.run([*argv, "unsafe"], traced=False)
        check("SIGSEGV" in hs_err(plain), "plain hs_err")
        traced = box.run([*argv, "unsafe"], env={"MY_PIN": "hunter2"})
        equal((traced.rc, plain.rc), (-ABRT, -ABRT), "status")
        item = box.item()
        text = hs_err(traced)
        check("SIGSEGV" in text and "T.poke" in text, text[:300])
        equal((classes(item), item["custom"]["signal"], item["custom"]["si_addr"]), (["SIGSEGV", "JVM crash"], SEGV, "0x0"), "item")
        check("Unsafe_PutInt" in methods(chain(item)[0])[-1], methods(chain(item)[0]))
        check("Unsafe_PutInt" in chain(item)[1]["exception"]["message"], "problematic frame")
        equal([(f["class_name"], f["method"]) for f in chain(item)[1]["frames"]][:2], [("T", "main"), ("T", "poke")], "Java's frames")
        custom = item["custom"]
        equal(os.path.dirname(custom["hs_err_path"]), os.path.realpath(box.dir), "path")
        check("# Problematic frame:" in custom["hs_err"] and "T.poke()V" in custom["hs_err"], custom["hs_err"])
        check("Top of Stack" not in custom["hs_err"] and "LD_PRELOAD" not in custom["hs_err"] and "hunter2" not in json.dumps(item),
              "memory and environment")


@cases(storm="storm", overflow="overflow")
def java_recovers(mode):
    """36, 35"""
    with Box() as box:
        box.both([*java_box(box), mode], 0)
        box.items(0)


# ---------------------------------------------------------------- uncaught exceptions

CHAINS = {
    "python": ("c.py", """class OrderError(Exception): pass
def stock(n): return {}[n]
def order(n):
    try: stock(n)
    except KeyError as e: raise ValueError("no %d" % n) from e
def shop():
    try: order(7)
    except ValueError: raise OrderError("closed")
shop()
""", [("OrderError", "closed", ["<module>", "shop"], 8), ("ValueError", "no 7", ["shop", "order"], 5), ("KeyError", "7", ["order", "stock"], 2)]),
    "node": ("c.js", """class OrderError extends Error {}
function stock(n) { return null.x; }
function order(n) { try { stock(n); } catch (e) { throw new RangeError(`no ${n}`, {cause: e}); } }
function shop() { try { order(7); } catch (e) { throw new OrderError("closed", {cause: e}); } }
shop();
""", [("OrderError", "closed", ["Object.<anonymous>", "shop"], 4), ("RangeError", "no 7", ["shop", "order"], 3),
      ("TypeError", "Cannot read properties of null (reading 'x')", ["order", "stock"], 2)]),
    "java": ("C.java", """public class C {
  static int stock(int[] n) { return n.length; }
  static void order() { try { stock(null); } catch (RuntimeException e) { throw new IllegalStateException("no 7", e); } }
  static void shop() throws Exception { try { order(); } catch (RuntimeException e) { throw new Exception("closed", e); } }
  public static void main(String[] a) throws Exception { shop(); }
}
""", [("java.lang.Exception", "closed", ["main", "shop"], 4), ("java.lang.IllegalStateException", "no 7", ["shop", "order"], 3),
      ("java.lang.NullPointerException", 'Cannot read the array length because "<parameter1>" is null', ["order", "stock"], 2)]),
}


@cases(**{l: l for l in CHAINS})
def chained(language):
    """39: what was raised last comes first, each with the most recent call last; once."""
    file, text, expected = CHAINS[language]
    program = PYTHON if language == "python" else needs(language)
    with Box() as box:
        argv = [program, box.write(file, text)]
        if language == "java":
            equal(box.run([needs("javac"), file], traced=False, timeout=60).rc, 0, "javac")
            argv = [program, "-XX:TieredStopAtLevel=1", "-cp", box.dir, "C"]
        box.both(argv, 1)
        item = box.item()
        equal((item["level"], item["language"], item["custom"]["source"]),
              ("critical", "javascript" if language == "node" else language, "stderr"), "item")
        equal([(t["exception"]["class"], t["exception"].get("message"), methods(t)[-2:], t["frames"][-1]["lineno"]) for t in chain(item)],
              expected, "chain")
        equal({os.path.basename(t["frames"][-1]["filename"]) for t in chain(item)}, {file}, "file")


# ---------------------------------------------------------------- Rust

RUST = """fn deep(n: u64) -> u64 { let a = [n; 64]; if n == u64::MAX { 0 } else { deep(n + 1) + a[(n % 64) as usize] } }
fn inner(v: &Vec<i32>, i: usize) -> i32 { v[i] }
fn main() {
    let a = std::env::args().nth(1).unwrap();
    if a == "overflow" { println!("{}", deep(0)); }
    println!("{}", inner(&vec![1], a.len()));
}
"""


@test
def rust():
    """37"""
    rustc = needs("rustc")
    with Box() as box:
        box.write("r.rs", RUST)
        for name, options in ("unwind", []), ("abort", ["-C", "panic=abort"]):
            equal(box.run([rustc, "-g", *options, "-o", name, "r.rs"], traced=False, timeout=120,
                          env={"HOME": os.environ.get("HOME")}).rc, 0, "rustc")
        box.both([box.path("unwind"), "panic"], 101)
        item = box.item()
        equal((classes(item), item["language"], lines(chain(item)[0])[-1][1:]), (["panic"], "rust", ("r.rs", 2)), "panic")
        box.both([box.path("abort"), "panic"], -ABRT)
        item = box.items(2)[-1]
        equal((classes(item), item["language"], item["custom"]["signal"]), (["panic"], "rust", ABRT), "abort")
        check("index out of bounds" in chain(item)[0]["exception"]["message"], "message")
        check(("r::inner", "r.rs", 2) in lines(chain(item)[0]), lines(chain(item)[0]))
        r = box.both([box.path("unwind"), "overflow"], -ABRT)
        check(b"has overflowed its stack" in r.err, "message on stderr")
        item = box.items(3)[-1]
        equal((classes(item), item["custom"]["signal"]), (["SIGSEGV"], SEGV), "overflow")
        check("stack overflow" in chain(item)[0]["exception"]["description"], "description")
        check("overflowed its stack" in chain(item)[0]["exception"]["message"], "message")


# ---------------------------------------------------------------- services

def is_tied(box, item, target):
    """The request that was open: its span is an error that tells of the crash, and knows the item's ids."""
    span, = box.recv.wait(1, where=lambda s: s.kind == SERVER and target_of(s) == target)
    equal((item["custom"]["trace_id"], item["custom"]["span_id"]), (span.trace_id, span.span_id), "ids of the item")
    equal(span.status, 2, "status of the span")
    event, = [attrs for name, attrs in span.events if name == "exception"]
    equal(event["exception.type"], classes(item)[0], "exception.type")
    equal(event.get("exception.message"), chain(item)[0]["exception"]["message"], "exception.message")
    check(methods(chain(item)[0])[-1] in event["exception.stacktrace"], event["exception.stacktrace"][:300])
    equal(item["request"]["method"], "GET", "the item's request")
    check(item["request"]["url"].endswith(target), item["request"]["url"])
    return span


class Silent:
    """Takes requests and answers none."""

    def __init__(self):
        self.s = socket.create_server(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.s.close()


def send_request(port, target):
    c = socket.create_connection(("127.0.0.1", port))
    c.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode())
    return c


@test
def nginx_worker():
    with Box() as box:
        silent = box.keep(Silent())
        web = box.nginx("location / {} location /slow { proxy_pass http://127.0.0.1:%d; }" % silent.port, files={"a.txt": b"hello"})
        worker, = web.children()
        open_ = box.keep(send_request(web.port, "/slow?order=7"))
        upstream = box.keep(silent.s.accept()[0])
        check(b"GET /slow" in upstream.recv(999), "the request is under way")
        os.kill(worker, SEGV)
        web.wait_line(r"worker process %d exited on signal 11" % worker)
        web.wait_line(r"start worker process \d+", count=2)
        equal(open_.recv(1), b"", "the client's connection")
        with Connection(web.port) as c:
            equal(c.request("GET", "/a.txt").status, 200, "and on it goes")
        item, = box.rollbar.wait(1)
        custom = item["custom"]
        equal((item["server"]["pid"], classes(item), custom["si_code"], custom["si_pid"], custom["si_uid"]),
              (worker, ["SIGSEGV"], 0, os.getpid(), os.getuid()), "item")
        check("Sent by process %d" % os.getpid() in chain(item)[0]["exception"]["message"], "message")
        is_tied(box, item, "/slow?order=7")
        equal(web.stop(signal.SIGQUIT), 0, "nginx's exit status")
        box.items(1)


@test
def redis_debug_segfault():
    """Without its memory test, which overwrites what its own threads use and so ends sooner or later, plain too."""
    exe = needs("redis-server")
    with Box() as box:
        def crash(traced):
            sock = box.path("r%d.sock" % traced)
            h = box.start([exe, "--port", "0", "--unixsocket", sock, "--save", "", "--enable-debug-command", "yes",
                           "--crash-memcheck-enabled", "no"],
                          r"ready to accept connections|will try to listen|The server is now ready", traced=traced, name="redis")
            eventually(lambda: os.path.exists(sock), "redis listens")
            c = box.keep(socket.socket(socket.AF_UNIX))
            c.connect(sock)
            c.sendall(b"DEBUG SEGFAULT\r\n")
            check(b"ERR" not in c.recv(999), "no answer")
            return h.wait(), h.lines
        rc, plain = crash(False)
        equal(rc, -SEGV, "status of the plain run")
        rc, traced = crash(True)
        equal(rc, -SEGV, "status")

        def report(lines):
            return [re.sub(r"^\d+:\w .*? [*#] ", "", l) for l in lines
                    if "REDIS BUG REPORT" in l or "crashed by signal" in l or l.startswith("------ ")]
        wanted = report(plain)
        check(len(wanted) > 5, plain[-5:])
        equal(report(traced), wanted, "redis's own report")
        item = box.item()
        equal((classes(item), item["custom"]["signal"]), (["SIGSEGV"], SEGV), "item")
        check("debugCommand" in methods(chain(item)[0]), methods(chain(item)[0]))


@test
def postgres_backend():
    initdb, postgres, psql = needs("initdb"), needs("postgres"), needs("psql")
    user = None
    if os.geteuid() == 0:
        user = next((u for u in ("postgres", "nobody") if u in [p.pw_name for p in pwd.getpwall()]), None)
    with Box(user=user) as box:
        data = box.path("pg", "")
        os.chown(data, pwd.getpwnam(user).pw_uid, -1) if user else None
        h = box.start([initdb, "-D", data, "-A", "trust", "-U", "me", "-N", "--no-instructions"], traced=False)
        equal(h.wait(60), 0, "initdb: %r" % h.lines[-3:])
        h = box.start([postgres, "-D", data, "-k", box.dir, "-c", "listen_addresses=", "-F"], r"ready to accept connections", name="postgres")
        url = "host=%s user=me dbname=postgres" % box.dir
        c = box.start([psql, "-XAt", url], traced=False, stdin=subprocess.PIPE)
        c.proc.stdin.write(b"select 'pid ' || pg_backend_pid();\n")
        c.proc.stdin.flush()
        backend = int(c.wait_line(r"^pid (\d+)").group(1))
        os.kill(backend, SEGV)
        h.wait_line(r"server process \(PID %d\) was terminated by signal 11" % backend)
        h.wait_line(r"ready to accept connections", count=2)
        r = box.run([psql, "-XAt", url, "-c", "select 6 * 7"], traced=False)
        equal((r.rc, r.out), (0, b"42\n"), "and on it goes (%r)" % r.err)
        item, = box.rollbar.wait(1)
        equal((item["server"]["pid"], classes(item), item["custom"]["si_pid"]), (backend, ["SIGSEGV"], os.getpid()), "item")
        check("PostgresMain" in methods(chain(item)[0]) or "postgres" in json.dumps(chain(item)[0]), methods(chain(item)[0]))
        equal(h.stop(signal.SIGINT), 0, "postgres's exit status")
        equal(len(box.rollbar.items), 1, "items")


APP = """import ctypes, os
from flask import Flask
app = Flask(__name__)
@app.get("/ok")
def ok(): return "ok"
@app.get("/boom")
def boom():
    ctypes.string_at(0)
"""


@cases(sync=[], gthread=["-k", "gthread", "--threads", "2"])
def gunicorn_worker(options):
    """A Flask view that faults: the item and the span carry each other's ids, and the master goes on."""
    with Box() as box:
        box.write("app.py", APP)
        web = box.gunicorn(*options, workers=2, cwd=box.dir)
        workers = set(web.children())
        for target in ("/ok", "/boom?user=7"):
            with contextlib.suppress(OSError, AssertionError, EOFError):
                load(web.port, 1, 1, lambda i: ("GET", target, {}, None))
        web.wait_line(r"was sent SIGSEGV")
        web.wait_line(r"Booting worker with pid", count=3)
        with Connection(web.port) as c:
            equal(c.request("GET", "/ok").status, 200, "and on it goes")
        item, = box.rollbar.wait(1)
        check(item["server"]["pid"] in workers, "pid %r" % item["server"]["pid"])
        equal((classes(item), item["custom"]["si_addr"]), (["SIGSEGV"], "0x0"), "item")
        is_tied(box, item, "/boom?user=7")
        equal(web.stop(), 0, "gunicorn's exit status")
        box.items(1)


# ---------------------------------------------------------------- wrappers

@cases(timeout=["timeout", "10"], env=["env", "X=1"], bash=["bash", "-c", '"$@"; exit $?', "bash"], sh=["sh", "-c", '"$@"', "sh"],
       nested=["timeout", "10", "env", "bash", "-c", '"$@"; exit $?', "bash"])
def wrapped(wrapper):
    """43"""
    with Box() as box:
        box.write("c.py", CTYPES)
        argv = [*wrapper, PYTHON, box.path("c.py")]
        box.both(argv, box.run(argv, traced=False).rc)
        item = box.item()
        equal((classes(item), item["custom"]["si_addr"]), (["SIGSEGV"], "0x0"), "item")
        check("strlen" in methods(chain(item)[0])[-1], methods(chain(item)[0]))


if __name__ == "__main__":
    main()
