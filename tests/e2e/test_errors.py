"""Uncaught errors of other languages, read from stderr: real programs, and what the local store has of them."""
import glob
import json

from harness import *


class Box(Sandbox):
    """A sandbox whose reports lie in it."""

    def __init__(self, **env):
        super().__init__(**env)
        self.state = os.path.join(self.dir, "state")

    def env(self, traced=True, **more):
        return super().env(traced, **{"REMORA_STATE_DIR": self.state, "REMORA_ERRORS": "1", "REMORA_LOG": "off",
                                      "RUST_BACKTRACE": None, **more})

    def items(self):
        out = []
        for p in glob.glob(os.path.join(self.state, "crashes", "*.json")):
            with open(p) as f:
                out.append(json.load(f)["data"])
        return sorted(out, key=lambda d: d["timestamp"])

    def wait(self, n=1):
        eventually(lambda: len(self.items()) >= n, "%d reports" % n)
        items = self.items()
        equal(len(items), n, "reports: %s" % [i["title"] for i in items])
        return items

    def both(self, argv, rc, env=None):
        """Run plain and traced: the same output and status."""
        plain = self.run(argv, traced=False, env=env)
        traced = self.run(argv, env=env)
        equal(plain.rc, rc, "exit status of the plain run (%s)" % plain.err[-200:])
        equal((traced.rc, traced.out, mask(traced.err)), (plain.rc, plain.out, mask(plain.err)), "what it printed")
        return traced


def mask(text):
    """Numbers of processes and addresses differ from run to run."""
    return re.sub(rb"0x[0-9a-f]+|\(\d+\)|pid=?\d+|tid=\d+|run\d+", b"N", text)


def chain_of(item):
    body = item["body"]
    return body["trace_chain"] if "trace_chain" in body else [body["trace"]]


def classes(item):
    return [t["exception"]["class"] for t in chain_of(item)]


def last(trace):
    """The innermost frame: the last one of the item."""
    f = trace["frames"][-1]
    return f.get("method"), os.path.basename(f["filename"]), f.get("lineno")


# ---------------------------------------------------------------- Python

CHAIN = """def f(n):
    return {}["key"] if n == 0 else f(n - 1)
def main():
    try:
        f(3)
    except KeyError as e:
        raise ValueError("db is postgres://u:hunter2@db/x") from e
main()
"""


@test
def python_chain():
    with Box() as box:
        box.write("a.py", CHAIN)
        box.both([PYTHON, box.path("a.py")], 1)
        item, = box.wait()
        equal(item["title"], "ValueError: db is postgres://REDACTED:REDACTED@db/x", "title")
        equal(item["language"], "python", "language")
        equal(item["level"], "critical", "level")
        equal(classes(item), ["ValueError", "KeyError"], "chain")
        equal([last(t) for t in chain_of(item)], [("main", "a.py", 7), ("f", "a.py", 2)], "innermost frames")
        equal([f["method"] for f in chain_of(item)[1]["frames"]], ["main", "f", "f", "f"], "order; the fourth is folded")
        check("hunter2" not in json.dumps(item), "the secret is in the item")


@test
def python_thread():
    """The process goes on, and ends well."""
    with Box() as box:
        box.write("t.py", "import threading\ndef work(): raise RuntimeError('x')\n"
                          "t = threading.Thread(target=work, name='pool-1'); t.start(); t.join(); print('on')\n")
        box.both([PYTHON, box.path("t.py")], 0)
        item, = box.wait()
        equal((classes(item), item["level"], last(chain_of(item)[0])), (["RuntimeError"], "error", ("work", "t.py", 2)), "item")


@test
def python_syntax_and_groups():
    with Box() as box:
        box.write("s.py", "def f(:\n    pass\n")
        box.both([PYTHON, box.path("s.py")], 1)
        item, = box.wait()
        equal((classes(item), chain_of(item)[0]["frames"][0]["lineno"]), (["SyntaxError"], 1), "item")
    if sys.version_info < (3, 11):
        return
    with Box() as box:
        box.write("g.py", "raise ExceptionGroup('eg', [ValueError(1), KeyError(2)])\n")
        box.both([PYTHON, box.path("g.py")], 1)
        item, = box.wait()
        equal(classes(item), ["ExceptionGroup", "ValueError", "KeyError"], "group")


@test
def python_deep_recursion():
    """Thousands of writes before the line that counts, and no exporter until the end."""
    with Box() as box:
        box.write("r.py", "def a(n): return b(n)\ndef b(n): return a(n)\na(1)\n")
        box.both([PYTHON, box.path("r.py")], 1)
        item, = box.wait()
        equal(classes(item), ["RecursionError"], "class")


@test
def python_handled():
    """What a program caught and printed is no report, if it lives on; by option it is one."""
    script = ("import sys, traceback, logging, time\ndef f(): return 1/0\n"
              "try: f()\nexcept Exception: traceback.print_exc()\n"
              "try: f()\nexcept Exception: logging.exception('it happened')\n"
              "for i in range(6): print('on with it', file=sys.stderr)\n")
    with Box() as box:
        box.write("h.py", script)
        box.both([PYTHON, box.path("h.py")], 0)
        equal(box.items(), [], "reports")
        box.both([PYTHON, box.path("h.py")], 0, env={"REMORA_ERRORS_LOGGED": "1"})
        items = box.wait(2)
        equal([(classes(i), i["level"]) for i in items], [(["ZeroDivisionError"], "error")] * 2, "items")


@test
def off_is_off():
    with Box() as box:
        box.write("a.py", CHAIN)
        box.both([PYTHON, box.path("a.py")], 1, env={"REMORA_ERRORS": None})
        box.both([PYTHON, box.path("a.py")], 1, env={"REMORA_ERRORS": "0"})
        equal(box.items(), [], "reports")


# ---------------------------------------------------------------- Flask, gunicorn

APP = """import threading
from flask import Flask
app = Flask(__name__)
@app.get("/ok")
def ok(): return "ok"
@app.get("/broken")
def broken(): return str(1 // 0)
def later(): raise LookupError("in a thread of a request")
@app.get("/thread")
def thread():
    t = threading.Thread(target=later, name="bg"); t.start(); t.join()
    return "started"
"""


def serve(box, **env):
    box.write("app.py", APP)
    return box.gunicorn(workers=2, cwd=box.dir, env=env)


@test
def flask_logged_tied_to_its_trace():
    with Box() as box:
        app = serve(box, REMORA_ERRORS_LOGGED="1")
        for target in ("/ok", "/broken"):
            load(app.port, 1, 1, lambda i: ("GET", target, {}, None))
        span, = box.recv.wait(1, where=lambda s: target_of(s) == "/broken")
        item, = box.wait()
        equal((classes(item), item["level"]), (["ZeroDivisionError"], "error"), "item")
        equal(last(chain_of(item)[0]), ("broken", "app.py", 7), "innermost frame")
        equal((item["custom"]["trace_id"], item["custom"]["span_id"]), (span.trace_id, span.span_id), "its request")
        app.stop()
        equal(len(box.items()), 1, "reports at the end")


@test
def flask_thread_and_nothing_else():
    """Without the option a handled error is none; a thread's is one."""
    with Box() as box:
        app = serve(box)
        for target in ("/broken", "/thread", "/ok"):
            load(app.port, 1, 1, lambda i: ("GET", target, {}, None))
        item, = box.wait()
        equal((classes(item), last(chain_of(item)[0])), (["LookupError"], ("later", "app.py", 8)), "item")
        app.stop()
        equal(len(box.items()), 1, "reports at the end")


@test
def killed_after_its_last_words():
    """Nobody exports when it dies; the next start tells."""
    with Box() as box:
        box.write("k.py", "import os, signal, threading\ndef w(): raise OSError('gone')\n"
                          "t = threading.Thread(target=w); t.start(); t.join(); os.kill(os.getpid(), signal.SIGKILL)\n")
        equal(box.run([PYTHON, box.path("k.py")]).rc, -9, "exit status")
        equal(box.items(), [], "reports")
        box.write("n.py", "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); import time; time.sleep(0.1)\n"
                          "c = socket.create_connection(s.getsockname()); a, _ = s.accept(); c.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); a.recv(99)\n"
                          "a.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'); c.recv(99)\n")
        box.run([PYTHON, box.path("n.py")])
        item, = box.wait()
        equal(classes(item), ["OSError"], "class")


# ---------------------------------------------------------------- other languages

@test
def node_errors():
    node = needs("node")
    with Box() as box:
        box.write("e.js", "function inner() { throw new TypeError('bad'); }\n"
                          "function f() { try { inner(); } catch (e) { throw new Error('outer', {cause: e}); } }\nf();\n")
        box.both([node, box.path("e.js")], 1)
        item, = box.wait()
        equal((classes(item), item["language"]), (["Error", "TypeError"], "javascript"), "chain")
        equal([last(t) for t in chain_of(item)], [("f", "e.js", 2), ("inner", "e.js", 1)], "innermost frames")
    with Box() as box:
        box.write("r.js", "async function go() { await null; throw new RangeError('no range'); }\ngo();\n")
        box.both([node, box.path("r.js")], 1)
        item, = box.wait()
        equal((classes(item), last(chain_of(item)[0])), (["RangeError"], ("go", "r.js", 1)), "rejection")
    with Box() as box:
        box.write("h.js", "try { null.x } catch (e) { console.error(e) }\n")
        box.both([node, box.path("h.js")], 0)
        equal(box.items(), [], "reports of what was caught")


JAVA = """public class T {
  static void mid() { try { throw new IllegalStateException("deep"); } catch (RuntimeException e) { throw new RuntimeException("mid", e); } }
  public static void main(String[] a) throws Exception {
    if (a.length > 0) { Thread t = new Thread(() -> mid(), "worker-1"); t.start(); t.join(); return; }
    mid();
  }
}
"""


@test
def java_errors():
    java, javac = needs("java"), needs("javac")
    with Box() as box:
        box.write("T.java", JAVA)
        equal(box.run([javac, "T.java"], traced=False, timeout=60).rc, 0, "javac")
        box.both([java, "-cp", box.dir, "T"], 1)
        item, = box.wait()
        equal((classes(item), item["language"]), (["java.lang.RuntimeException", "java.lang.IllegalStateException"], "java"), "chain")
        equal(last(chain_of(item)[0]), ("mid", "T.java", 2), "innermost frame")
        equal(chain_of(item)[0]["frames"][-1]["class_name"], "T", "class")
        box.both([java, "-cp", box.dir, "T", "thread"], 0)
        equal(len(box.wait(2)), 2, "and of a thread")


@test
def ruby_errors():
    ruby = needs("ruby")
    with Box() as box:
        box.write("e.rb", "def parse(x) raise ArgumentError, \"bad #{x}\" end\n"
                          "def handle() parse(3) rescue raise 'outer' end\nhandle\n")
        box.both([ruby, box.path("e.rb")], 1)
        item, = box.wait()
        equal((classes(item), item["language"]), (["RuntimeError", "ArgumentError"], "ruby"), "chain")
        equal(last(chain_of(item)[1]), ("parse", "e.rb", 1), "innermost frame")


@test
def rust_panics():
    rustc = needs("rustc")
    with Box() as box:
        box.write("r.rs", "fn inner(v: &Vec<i32>, i: usize) -> i32 { v[i] }\n"
                          "fn main() {\n if std::env::args().count() > 1 {\n"
                          "  let _ = std::thread::spawn(|| panic!(\"in thread {}\", 5)).join(); return; }\n"
                          " println!(\"{}\", inner(&vec![1], 7));\n}\n")
        equal(box.run([rustc, "-g", "r.rs"], traced=False, timeout=120, env={"HOME": os.environ.get("HOME")}).rc, 0, "rustc")
        exe = box.path("r")
        box.both([exe], 101)
        item, = box.wait()
        equal((classes(item), item["language"], last(chain_of(item)[0])[1:]), (["panic"], "rust", ("r.rs", 1)), "panic")
        box.both([exe, "thread"], 0)
        check("panic: in thread 5" in [i["title"] for i in box.wait(2)], "in a thread")


@test
def cxx_terminate():
    gxx = needs("g++")
    with Box() as box:
        box.write("t.cc", "#include <stdexcept>\nint main() { throw std::out_of_range(\"index 7\"); }\n")
        equal(box.run([gxx, "-g", "t.cc", "-o", "t"], traced=False, timeout=60).rc, 0, "g++")
        box.both([box.path("t")], -6)
        # One report, by whoever takes the crash file; the next start, which finds the same text, makes no second one.
        box.write("a.py", "import sys; sys.stderr.write('hello\\n')\n")
        box.run([PYTHON, box.path("a.py")])
        item, = box.wait()
        equal((item["title"], item["language"], item["level"]), ("std::out_of_range in main (t.cc:2)", "c++", "critical"), "item")
        equal(chain_of(item)[0]["exception"]["message"], "index 7", "what()")
        equal(last(chain_of(item)[0])[0], "__pthread_kill_implementation", "innermost frame")
        check(("main", "t.cc", 2) in [(f["method"], os.path.basename(f["filename"]), f.get("lineno"))
                                      for f in chain_of(item)[0]["frames"]], "the place of the throw is missing")


@test
def cxx_terminate_told_by_the_next_start():
    """No helper, no exporter: file and text wait for whoever comes, in two places."""
    gxx = needs("g++")
    with Box() as box:
        for name in "libremora.so", "libremora-export.so":
            shutil.copy(os.path.join(BUILD, name), box.path("lib", name))
        env = {"LD_PRELOAD": box.path("lib", "libremora.so")}
        box.write("t.cc", "#include <stdexcept>\nint main() { throw std::out_of_range(\"index 7\"); }\n")
        equal(box.run([gxx, "-g", "t.cc", "-o", "t"], traced=False, timeout=60).rc, 0, "g++")
        equal(box.run([box.path("t")], env=env).rc, -6, "exit status")
        equal(box.items(), [], "reports")
        for i in range(2):
            box.run([PYTHON, "-c", "import sys; sys.stderr.write('hello\\n')"], env=env)
        item, = box.wait()
        equal((item["title"], chain_of(item)[0]["exception"]["message"]), ("std::out_of_range in main (t.cc:2)", "index 7"), "item")


@test
def cxx_terminate_in_a_served_tree():
    """The exporter of another process reads the text while the process dies."""
    gxx = needs("g++")
    with Box() as box:
        box.write("t.cc", "#include <stdexcept>\n#include <iostream>\n#include <unistd.h>\nint main(int n, char **) {\n"
                          "if (n > 1) { std::cerr << \"before\\n\"; usleep(300000); }\n throw std::out_of_range(\"index 7\"); }\n")
        equal(box.run([gxx, "-g", "t.cc", "-o", "t"], traced=False, timeout=60).rc, 0, "g++")
        box.write("s.py", "import socket, subprocess, sys, threading\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
                          "c = socket.create_connection(s.getsockname()); a, _ = s.accept()\n"
                          "c.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); a.recv(99)\n"
                          "a.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'); c.recv(99)\n"
                          "for more in [], ['x']: print(subprocess.call(['./t'] + more))\n")
        box.both([PYTHON, box.path("s.py")], 0)
        items = box.wait(2)
        equal([chain_of(i)[0]["exception"]["message"] for i in items], ["index 7"] * 2, "what()")


SERVES = """import os, socket, sys, threading, time
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()
c = socket.create_connection(s.getsockname()); a, _ = s.accept()
c.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); a.recv(99)
a.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'); c.recv(99)
time.sleep(0.3)
def say(*parts):
    for p in parts: os.write(2, p); time.sleep(0.05)
def panic(name): say(b"thread '%s' panicked at src/main.rs:3:5:\\n" % name, b'out of ', b'luck\\n', b'note: run with `RUST_BACKTRACE=1`\\n')
"""


@cases(aborts=("panic(b'main'); time.sleep(0.3); os.abort()", ["panic: SIGABRT"]),
       goes_on=("panic(b'main'); time.sleep(0.3)", ["panic: None"]),
       another=("t = threading.Thread(target=panic, args=[b'w']); t.start(); t.join(); time.sleep(0.2); os.abort()",
                ["SIGABRT: SIGABRT", "panic: None"]),
       words_after=("panic(b'main'); say(b'closing the shop\\n'); os.abort()", ["panic: SIGABRT"]),
       words_before=("say(b'opening', b' the shop\\n'); panic(b'main'); os.abort()", ["panic: SIGABRT"]))
def panics_of_a_process_that_exports(case):
    """Its own exporter has taken the words long before the crash, which another process tells."""
    script, expected = case
    with Box() as box:
        box.write("s.py", SERVES + script + "\n")
        box.both([PYTHON, box.path("s.py")], -6 if "abort" in script else 0)
        box.run([PYTHON, "-c", "import sys; sys.stderr.write('hello\\n')"])
        items = box.wait(len(expected))
        equal(sorted("%s: %s" % (classes(i)[0], "SIGABRT" if i["custom"].get("signal") else None) for i in items), expected, "items")


if __name__ == "__main__":
    main()
