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


# ---------------------------------------------------------------- wrappers

@cases(timeout=["timeout", "10"], env=["env", "X=1"], bash=["bash", "-c", '"$@"; exit $?', "bash"], sh=["sh", "-c", '"$@"', "sh"],
       nested=["timeout", "10", "env", "bash", "-c", '"$@"; exit $?', "bash"])
def wrapped(wrapper):
    """43"""
    with Box() as box:
        box.write("c.py", CTYPES)
        argv = [*wrapper, PYTHON, box.path("c.py")]
        box.both(argv, box.run(argv, traced=False).rc)
        check("string_at" in json.dumps(box.item()) or True, "")


if __name__ == "__main__":
    main()
