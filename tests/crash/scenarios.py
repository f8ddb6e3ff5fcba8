"""What test_scenarios_*.py share: a program that ends badly, run plain and as a user would run it with remora.

With libremora.so, its helper, a state directory and a Rollbar: the end must be the plain one, as many reports as the
scenario demands must arrive and be kept, the item must keep to the schema, what is in it is compared with the table, and
its frames and the core with gdb's. Scenarios have the numbers of crash-capture.md, section 4.

The same process gives the report and the core, so frames are compared by address. What is normalised: folded recursion
(gdb's is folded by the same rule), names of one address (__GI_raise, raise), frames behind main, which neither shows.
"""
import collections
import concurrent.futures
import glob
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time

CRASH = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(CRASH), "e2e"))
sys.path.insert(0, os.path.join(os.path.dirname(CRASH), "harm"))
from harness import *                                       # noqa: E402
from harm import differ                                     # noqa: E402
from rollbar_stub import Rollbar, TOKEN                     # noqa: E402

HOSTS = os.path.join(os.path.dirname(CRASH), "hosts")
BUILDS = {"o0": ["-O0", "-g"], "o2": ["-O2", "-g", "-fomit-frame-pointer"], "stripped": ["-O2", "-s"]}
SEGV, BUS, ILL, FPE, ABRT, TRAP, SYS = 11, 7, 4, 8, 6, 5, 31
MAPERR, ACCERR, KERNEL, TKILL, USER = 1, 2, 128, -6, 0
SIGNAL = "<signal handler called>"
FOLD, CYCLE = 8, 8                                          # as report_app.c folds


# ---------------------------------------------------------------- what is run

def built(dir, build, source, *more, name=None):
    out = os.path.join(dir, name or os.path.splitext(source)[0])
    cc = "g++" if source.endswith(".cc") else "gcc"
    argv = [needs(cc), *BUILDS[build], "-w", "-pthread", "-fstack-protector-explicit", "-o", out, os.path.join(HOSTS, source), *more]
    r = subprocess.run(argv, capture_output=True, text=True)
    check(r.returncode == 0, "%s: %s" % (" ".join(argv), r.stderr[-500:]))
    return out


def cores():
    """Whether this machine leaves cores in the working directory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    with open("/proc/sys/kernel/core_pattern") as f:
        plain = f.read().strip() == "core"
    if plain and hard == resource.RLIM_INFINITY and not os.environ.get("NO_CORES"):     # set: as on such a machine
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        return True
    return False


class Gdb:
    """One gdb for all cores of a file; what it finds out about libc's names it keeps in `dir`."""

    def __init__(self, dir):
        self.lock, self.proc, self.dir = threading.Lock(), None, dir

    def ask(self, **want):
        with self.lock:
            if not self.proc:
                self.proc = subprocess.Popen([needs("gdb"), "-nx", "-q", "-batch", "-iex", "set index-cache directory " + self.dir,
                                              "-iex", "set index-cache enabled on", "-x", os.path.join(CRASH, "gdb_serve.py")],
                                             stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                             text=True, errors="replace", start_new_session=True)
            self.proc.stdin.write(json.dumps(want) + "\n")
            self.proc.stdin.flush()
            for line in self.proc.stderr:
                if line.startswith("ANSWER "):
                    said = json.loads(line[7:])
                    check("error" not in said, "gdb: %r" % said)
                    return said
            raise AssertionError("gdb ended")

    def end(self):
        if self.proc:
            self.proc.stdin.close()
            self.proc.wait(10)


Run = collections.namedtuple("Run", "plain traced items shown box exe seconds core plain_core")
# kind: "", "inline", "signal", "scan"; times: how many more like it were folded
Frame = collections.namedtuple("Frame", "ip name file line module offset build_id kind times")

LINE = re.compile(r"#\d+ +(?P<scan>\? )?(?:0x(?P<ip>[0-9a-f]+) in )?(?P<name>.*?)(?: \(\))?"
                  r"(?: at (?P<file>[^:]+)(?::(?P<line>\d+))?"
                  r"| from (?P<module>[^ ]*?)(?:\+0x(?P<offset>[0-9a-f]+)(?: \((?P<id>[0-9a-f]+)\))?)?)?(?: \(unloaded\))?(?P<inl> \(inlined\))?$")


def frames_shown(text):
    """Of the crashed thread, as `remora crashes show` prints them."""
    out, inside = [], False
    for line in text.splitlines():
        if line.startswith("Thread "):
            inside = line.endswith("(crashed):")
        if not inside:
            continue
        m = re.match(r" +\(repeated (\d+) more times\)", line)
        if m:
            out[-1] = out[-1]._replace(times=int(m.group(1)))
        if not line.startswith("#"):
            continue
        if SIGNAL in line:
            out.append(Frame(None, SIGNAL, None, 0, None, None, None, "signal", 0))
            continue
        m = LINE.match(line)
        check(m, "a frame that cannot be read: %r" % line)
        out.append(Frame(int(m["ip"], 16) if m["ip"] else None, m["name"], m["file"], int(m["line"] or 0), m["module"],
                         int(m["offset"], 16) if m["offset"] else None, m["id"],
                         "scan" if m["scan"] else "inline" if m["inl"] else "", 0))
    return out


class Report:
    """One crash, as its user sees it."""

    def __init__(self, item, text, run):
        self.item, self.text, self.run = item, text, run
        self.custom, self.trace = item["custom"], item["body"]["trace"]
        self.cls, self.message = self.trace["exception"]["class"], self.trace["exception"].get("message", "")
        self.description = self.trace["exception"]["description"]
        self.frames = frames_shown(text)
        self.names = [f.name for f in self.frames if f.kind != "scan"]
        self.title, self.pid = item["title"], item["server"]["pid"]
        self.thread = next(t for t in self.custom["threads"] if t.get("crashed"))

    def has(self, *names):
        """These functions, innermost first, with others between them or not."""
        rest = iter(map(bare, self.names))
        for n in names:
            check(any(bare(n) == x for x in rest), "%s is not where it should be in %r" % (n, self.names[:40]))


def named(exe):
    """Of the program's own frames in a report of a stripped build: module, offset, build-id."""
    notes = subprocess.run([needs("readelf"), "-n", exe], capture_output=True, text=True).stdout
    return re.search(r"Build ID: ([0-9a-f]+)", notes).group(1)


# ---------------------------------------------------------------- gdb

def plain_name(name):
    """Without what gdb adds: parameters, clones; and without glibc's inner prefix."""
    name = re.sub(r"@@?GLIBC_.*|\.(isra|part|constprop|cold)\..*|\.cold| \[clone.*", "", name or "??")
    if name.endswith("}::operator()"):          # a lambda: gdb shows its last part
        return "operator()"
    depth = 0
    for i, c in enumerate(name):
        depth += (c in "<{") - (c in ">}")
        if c == "(" and depth == 0 and i and not name[:i].endswith("operator") and name[i:i + 5] != "(anon":
            name = name[:i]
            break
    return re.sub(r"^(__GI_+)", "", name)


def bare(name):
    """malloc, __libc_malloc and __GI___libc_malloc are one function."""
    return re.sub(r"^_*(libc_)?", "", plain_name(name))


def folded(names):
    """Recursion once, as reports have it."""
    out, i = [], 0
    while i < len(names):
        for cycle in range(1, CYCLE + 1):
            k = 0
            while i + k + cycle < len(names) and names[i + k] == names[i + k + cycle]:
                k += 1
            if k // cycle >= FOLD:
                out += names[i:i + cycle]
                i += (k // cycle + 1) * cycle
                break
        else:
            out.append(names[i])
            i += 1
    return out


def compare_frames(ours, theirs, first_fault=False):
    """"equal", or what differs. first_fault: the report is of the fault that a handler got; the core lies deeper."""
    ours = [f for f in ours if f.kind != "scan"]
    if first_fault:
        at = max((i for i, f in enumerate(theirs) if f[3] == "signal"), default=-1)
        theirs = theirs[at + 1:]
    note = "equal"
    if theirs and theirs[-1][3] == "data":      # the unwinding has no end mark in the program's first instructions
        note = "equal, but gdb goes on into data"
        theirs = theirs[:next(i for i, f in enumerate(theirs) if f[3] == "data")]
    mine = [plain_name(f.name) for f in ours]
    his = [SIGNAL if f[3] == "signal" else plain_name(f[0]) for f in theirs]
    if any(f.times for f in ours) or len(his) > 200:
        mine = ["%#x" % f.ip if n == "??" and f.ip else n for n, f in zip(mine, ours)]
        his = ["%#x" % f[1] if n == "??" and f[1] else n for n, f in zip(his, theirs)]
        his = folded(his)
        return "equal" if folded(mine) == his else "names: ours %r, gdb's %r" % (mine[:12], his[:12])
    pcs = [f.ip for f in ours if f.kind == ""]
    gdbs = [f[1] for f in theirs if f[3] in ("", "tail")]
    if pcs != gdbs:
        return "addresses: ours %s, gdb's %s" % (["%s %#x" % (f.name, f.ip or 0) for f in ours][:12],
                                                 ["%s %#x" % (f[0], f[1] or 0) for f in theirs][:12])
    if mine != his:
        return "names: ours %r, gdb's %r" % (mine, his)
    lines = [(f.name, f.line, g[2]) for f, g in zip(ours, theirs) if f.line and g[2] and f.line != g[2]]
    return "lines: %r" % lines if lines else note


def core_told(said):
    """Of two runs' cores what must be equal: everything but addresses."""
    sent = said["code"] <= 0
    small = said["sender"] == said["pid"] if sent else said["addr"] if (said["addr"] or 0) < 1 << 16 else None
    names = [(f[0], f[2], f[3]) for f in said["frames"]]
    if len(names) > 200:                # where the stack ends hangs on where it began
        names = [(n,) for n in folded([n[0] for n in names])]
    return names, said["signo"], said["code"], small if said["signo"] != SYS else None, said["threads"]


# ---------------------------------------------------------------- a scenario

class Scenario:
    """argv: of the program's arguments; exe: which; n: reports; first: see compare_frames; core: is there one to compare;
    look: what else must be there (a function of reports, build and what else is known); why: build to the kind of difference
    from gdb that is explained where it stands; live: can gdb stop where the core would be (it is asked where there are no
    cores); extra: threads of ours; cls: what an exception of the program is called, instead of the signal."""

    def __init__(self, number, *want, exe="crash_c", args=(), env=None, n=None, first=False, core=True, gdb=True, look=None,
                 wrap=(), flush=False, frames=(), lib=None, why=None,
                 box=None, partial=False, warns=False, live=True, extra=0, cls=None):
        self.number, self.want, self.exe, self.args, self.env = number, want, exe, list(args), env or {}
        self.n = (1 if want else 0) if n is None else n
        self.first, self.core, self.gdb, self.look, self.wrap, self.flush = first, core, gdb, look, list(wrap), flush
        self.frames, self.lib, self.why, self.box, self.partial = frames, lib, why or {}, box, partial
        self.link = ["-Wl,--no-as-needed", lib] if lib and lib[0] == "/" else []        # a library of the machine's
        self.key = exe + "_linked" if self.link else exe
        self.warns, self.live, self.extra, self.cls = warns, live, extra, cls


class Bench:
    """All scenarios of one build, two at a time."""

    def __init__(self, build, table):
        self.build, self.table = build, table
        self.boxes, self.exes, self.pairs = [], {}, {"equal": 0, "cores equal": 0}
        self.has_cores = cores()
        self.dir = Sandbox()
        self.gdb = Gdb(self.dir.dir)
        self.lock = threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(2)
        self.runs = {}

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.pool.shutdown(cancel_futures=True)
        self.gdb.end()
        self.dir.__exit__(None, None, None)

    def program(self, s):
        with self.lock:
            if s.key not in self.exes:
                at = self.dir.path("bin", "")
                if s.exe == "crash_linked":
                    self.exes[s.key] = built(at, self.build, "crash_dl.c", "-Wl,--no-as-needed", self._lib("crash_lib.c"),
                                             "-Wl,-rpath," + at, name=s.key)
                else:
                    source = s.exe + (".cc" if os.path.exists(os.path.join(HOSTS, s.exe + ".cc")) else ".c")
                    self.exes[s.key] = built(at, self.build, source, *s.link, name=s.key)
            return self.exes[s.key]

    def _lib(self, source):
        at = self.dir.path("bin", "")
        name = os.path.splitext(source)[0] + ".so"
        if not os.path.exists(os.path.join(at, name)):
            built(at, self.build, source, "-shared", "-fPIC", name=name)
        return os.path.join(at, name)

    def library(self, source):
        with self.lock:
            return self._lib(source)

    def start(self, names):
        """The first of the table is what others' time is compared with."""
        self.usual = next(iter(self.table))
        for n in dict.fromkeys([self.usual, *names]):
            self.runs[n] = self.pool.submit(self._run, n)

    def _core(self, box):
        found = glob.glob(os.path.join(box.dir, "core*"))
        if len(found) != 1:
            return None
        to = os.path.join(box.dir, "kept-%d" % len(os.listdir(box.dir)))
        os.rename(found[0], to)
        return to

    def _run(self, name):
        s = self.table[name]
        if s.link and not os.path.exists(s.lib):
            return
        exe = self.program(s)
        argv = [*s.wrap, exe, *(s.args or [name])]
        if s.lib and not s.link:
            argv.append(self.library(s.lib))
        with Sandbox() as box:
            rollbar = box.keep(Rollbar())
            env = {"REMORA_STATE_DIR": os.path.join(box.dir, "state"), "REMORA_RUNTIME_DIR": box.runtime,
                   "ROLLBAR_ACCESS_TOKEN": TOKEN, "ROLLBAR_ENDPOINT": rollbar.url}
            if s.box:
                s.box(box)
            plain = box.run(argv, traced=False, env={"REMORA_RUNTIME_DIR": box.runtime, **s.env})
            plain_core = self._core(box)
            shutil.rmtree(os.path.join(box.dir, "data"), ignore_errors=True)
            begin = time.monotonic()
            traced = box.run(argv, env={**s.env, **env})
            seconds = time.monotonic() - begin
            core = self._core(box)
            if s.flush:
                box.run([LAUNCHER, "flush", "--all"], traced=False, env=env)
            ids = [l.split()[1] for l in box.run([LAUNCHER, "crashes"], traced=False, env=env).out.decode().splitlines()
                   if re.match(r"20\d\d-", l)]
            shown = {i: box.run([LAUNCHER, "crashes", "show", i], traced=False, env=env).out.decode() for i in ids}
            items = rollbar.wait(s.n) if s.n else list(rollbar.items)
            rollbar.check()
            told = {i["uuid"][:8]: i for i in items}
            equal(sorted(told), sorted(ids), "reports kept and sent")
            reports = [Report(told[i], shown[i], name) for i in ids]
            if len(s.want) > 1:         # in the table's order
                order = [w[:2] for w in s.want]
                reports.sort(key=lambda r: order.index((r.custom["signal"], r.custom["si_code"])))
            files = {f: open(os.path.join(box.dir, f), "rb").read() for f in os.listdir(box.dir)
                     if os.path.isfile(os.path.join(box.dir, f)) and not f.startswith(("core", "kept"))}
            leftover = [f for f in os.listdir(box.runtime) if f.endswith((".crash", ".taken"))]
            equal(leftover, [], "crash files that nobody took")
            gdbs = None
            if s.core and self.has_cores and core and plain_core:
                gdbs = self.gdb.ask(exe=exe, core=core), self.gdb.ask(exe=exe, core=plain_core)
            elif s.core and s.live and not self.has_cores and s.gdb and s.n and not s.wrap and shutil.which("gdb"):
                gdbs = self.gdb.ask(exe=exe, args=argv[1:], cwd=box.dir, env=s.env), None
            return plain, traced, reports, gdbs, bool(core), bool(plain_core), seconds, files, box.recv.spans()

    def check(self, name):
        s = self.table[name]
        if s.link and not os.path.exists(s.lib):
            raise Skip(os.path.basename(s.lib))
        plain, traced, reports, gdbs, core, plain_core, seconds, files, spans = self.runs[name].result()
        equal(traced.rc, plain.rc, "exit status, stderr %r" % traced.err[-200:])
        equal(traced.out, plain.out, "stdout")
        ours = b"".join(l for l in traced.err.splitlines(True) if s.warns and l.startswith(b"remora: "))
        check(bool(ours) == s.warns, "remora's own line: %r" % traced.err)
        equal(traced.err.replace(ours, b""), plain.err, "stderr")
        equal(len(reports), s.n, "reports (%r)" % [r.title for r in reports])
        equal(core, plain_core, "core")
        for r, w in zip(reports, s.want):
            self._look(name, s, r, w)
        exe = self.exes[s.key]
        if s.look:
            s.look(reports, self.build, dict(seconds=seconds, usual=self.runs[self.usual].result()[6], files=files, spans=spans,
                                             plain=plain, traced=traced, exe=exe))
        if gdbs:
            self._gdb(name, s, reports, gdbs)

    def _look(self, name, s, r, want):
        signo, code, *addr = want
        kind = {SEGV: "SIGSEGV", BUS: "SIGBUS", ILL: "SIGILL", FPE: "SIGFPE", ABRT: "SIGABRT", TRAP: "SIGTRAP", SYS: "SIGSYS"}
        equal((r.custom["signal"], r.custom["si_code"]), (signo, r.custom["si_code"] if code is None else code), "signal and si_code")
        cls = s.cls or kind[signo]
        equal((r.cls, r.item["level"], r.item["custom"]["source"]), (cls, "critical", "signal"), "class, level")
        check(r.title.startswith(cls), "title %r" % r.title)
        if addr:
            equal(r.custom.get("si_addr"), addr[0], "si_addr")
        exe = self.exes[s.key]
        equal(r.custom["executable"], exe, "executable")
        check(any(m["path"] == exe and m["build_id"] == named(exe) for m in r.custom["modules"]), "the program's build-id")
        check(any(m["path"].endswith("libc.so.6") and m.get("build_id") for m in r.custom["modules"]), "libc's build-id")
        check(r.thread["tid"] == r.custom["tid"] and r.custom["registers"]["rip"], "thread and registers")
        equal((r.custom.get("incomplete", False), "the capture was cut off" in r.text), (s.partial, s.partial), "incomplete")
        for f in r.frames:
            check(f.name != "??" or not f.module or f.build_id and f.offset is not None, "a frame without name or place: %r" % (f,))
        methods = [f.name if f.name != "??" or not f.module else "%s+%#x" % (os.path.basename(f.module), f.offset) for f in r.frames]
        equal([f["method"] for f in reversed(r.trace["frames"])], methods, "the item's frames, the crash last")
        if self.build == "stripped":
            mine = [f for f in r.frames if f.module == exe]
            for f in mine:
                check(f.name == "??" and f.offset is not None and f.build_id == named(exe), "a stripped frame: %r" % (f,))
            check(mine or not s.frames, "no frame of the program: %r" % r.names)
        else:
            r.has(*s.frames)

    def _gdb(self, name, s, reports, gdbs):
        live, plain = gdbs
        if plain:
            live["threads"] -= s.extra
            a, b = core_told(live), core_told(plain)
            equal(a, b, "gdb of the two cores")
            self.pairs["cores equal"] += 1
        if not s.gdb or len(reports) != 1:
            return
        ours = reports[0].frames
        if plain is None:               # another process, at other addresses
            ours = [f._replace(ip=None) for f in ours]
            live["frames"] = [(f[0], None, *f[2:]) for f in live["frames"]]
        said = compare_frames(ours, live["frames"], s.first)
        if said.startswith(s.why.get(self.build, "equal") + ":"):
            said = "but for %s (explained in the table)" % s.why[self.build]
        check(said.startswith(("equal", "but")), "frames against gdb's: %s" % said)
        self.pairs[said] = self.pairs.get(said, 0) + 1

    def told(self):
        if not shutil.which("gdb"):
            raise Skip("gdb")
        print("# %s: %s; cores %s" % (self.build, ", ".join("%s %s" % kv for kv in self.pairs.items()),
                                      "compared by address" if self.has_cores else "not left by this machine: gdb ran the program"))
        check(self.pairs["equal"] > 0 or len(sys.argv) > 1, "nothing was compared")
