# timeout: 300
"""Every lane that a report can go, with every lock held: the same frames, the same uuid, one item, the same end, in time.

The crashing program is tests/hosts/crash_lock.c. Its libremora.so lies in a directory with or without its helper.
"""
import concurrent.futures
import glob
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
from harness import *                                    # noqa: E402
from rollbar_stub import Rollbar, TOKEN                  # noqa: E402

HOSTS = os.path.join(os.path.dirname(HERE), "hosts")
SEGV, ABRT = 11, 6
WAIT = 2.5                  # REMORA_CRASH_WAIT_MS
SLACK = 1.0                 # two cores, many cells
# name: (lock of crash_lock, environment, signal, a function that must be in the report)
LOCKS = {
    "none": ("none", {}, SEGV, "act"), "malloc": ("malloc", {}, ABRT, "malloc"),
    "malloc_one_arena": ("malloc", {"MALLOC_ARENA_MAX": "1"}, ABRT, "malloc"),
    "loader_in_constructor": ("dlopen", {}, SEGV, "starts"), "loader_in_callback": ("iterate", {}, SEGV, "dl_iterate_phdr"),
    "loader_of_another": ("iterate_other", {}, SEGV, "act"), "stdio": ("stdio", {}, SEGV, "act"),
    "stdio_of_another": ("stdio_other", {}, SEGV, "act"),
}
# name: (mode of crash_lock, is there a helper, what sends it afterwards)
LANES = {
    "own": ("serve", False, "flush"), "parent": ("fork", False, None), "helper": ("plain", True, None),
    "helper_beside_own": ("serve", True, None), "next_start": ("plain", False, "start"), "flush": ("plain", False, "flush"),
}
# Where the exporter needs what the crashed thread holds, the report may be left to the next start.
OWN_MAY_FAIL = {"malloc", "malloc_one_arena"}


class Place:
    """What all cells share: the programs and two copies of remora, one without its helper."""

    def __init__(self, box):
        gcc = needs("gcc")
        self.exe, self.plugin = box.path("crash_lock"), box.path("plugin.so")
        source = box.write("plugin.c", "static int *volatile null;\n"
                           "__attribute__((constructor)) static void starts(void)\n{\n\t*null = 1;\n}\n")
        for argv in ([gcc, "-O0", "-g", "-w", "-pthread", "-o", self.exe, os.path.join(HOSTS, "crash_lock.c")],
                     [gcc, "-O0", "-g", "-shared", "-fPIC", "-o", self.plugin, source]):
            subprocess.run(argv, check=True)
        self.without = box.path("without", "libremora.so")
        for name in ("libremora.so", "libremora-export.so"):
            shutil.copy(os.path.join(BUILD, name), os.path.dirname(self.without))


class Cell(Sandbox):
    def __init__(self, place, helper=True, **env):
        super().__init__(**env)
        self.place, self.rollbar = place, self.keep(Rollbar())
        self.state = os.path.join(self.dir, "state")
        self.lib = SHIM if helper else place.without

    def env(self, traced=True, **more):
        return super().env(traced, **{"REMORA_STATE_DIR": self.state, "REMORA_RUNTIME_DIR": self.runtime,
                                      "ROLLBAR_ENDPOINT": self.rollbar.url, "ROLLBAR_ACCESS_TOKEN": TOKEN,
                                      **({"LD_PRELOAD": self.lib} if traced else {}), **more})

    def files(self):
        return sorted(glob.glob(self.runtime + "/*.crash") + glob.glob(self.runtime + "/*.taken"))

    def exports(self, p, wanted=True):
        """The exporter of the program is at work: it has sent a span."""
        if wanted:
            self.recv.wait(1)
        p.stdin.close()

    def crash(self, lock, mode, env=None):
        """Returns the signal and the seconds between the crash and the end."""
        p = subprocess.Popen([self.place.exe, lock, mode, self.place.plugin], env=self.env(**(env or {})), cwd=self.dir,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            self.exports(p, mode != "plain")
            rc = p.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            raise AssertionError("hangs: %r" % ((p.stdout.read(), p.stderr.read()),))
        end = time.monotonic()
        out, self.err = p.stdout.read(), p.stderr.read()
        said = {k: int(v) for k, v in (l.split() for l in out.decode().splitlines() if l.count(" ") == 1)}
        if mode == "fork":
            equal(rc, 0, "status of the parent (%r)" % out)
            return said["signal"], (said["ended"] - said["crash"]) / 1e9
        return -rc, end - said["crash"] / 1e9

    def start_another(self):
        """A program like any: it listens, so its exporter starts, and sends what lies around."""
        r = self.run([PYTHON, "-c", "import socket, select\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\n"
                      "c = socket.create_connection(s.getsockname())\na, _ = s.accept()\nc.sendall(b'x')\na.recv(1)\n"
                      "import time, glob\nend = time.monotonic() + 15\n"
                      "while glob.glob(%r + '/*-*.crash') + glob.glob(%r + '/*.taken') and time.monotonic() < end:\n"
                      "    select.select([], [], [], 0.02)" % (self.runtime, self.runtime)])
        equal(r.rc, 0, "another program: %r" % r)

    def flush(self):
        r = self.run([LAUNCHER, "flush"], env={"LD_PRELOAD": None})     # with the settings of the program
        equal(r.rc, 0, "remora flush: %r" % r)

    def uuid_of(self, path):
        with open(path, "rb") as f:
            h = f.read(32)[16:].hex()
        return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))

    def one_item(self):
        """One item, one uuid, nothing left over."""
        item, = self.rollbar.wait(1)
        equal({p.data["uuid"] for p in self.rollbar.posts}, {item["uuid"]}, "uuids of all posts")
        eventually(lambda: not self.files(), "no crash file is left: %r" % self.files())
        eventually(lambda: not glob.glob(self.state + "/spool/*"), "the spool is empty")
        equal(len(self.rollbar.items), 1, "items")
        self.rollbar.check()
        return item

    def kept(self):
        return self.run([LAUNCHER, "crashes"], traced=False).out.decode().splitlines()


def frames(item):
    return [(f.get("method"), os.path.basename(f["filename"]), f.get("lineno")) for f in item["body"]["trace"]["frames"]]


def one_cell(place, lock, lane):
    (what, env, sig, function), (mode, helper, after) = LOCKS[lock], LANES[lane]
    with Cell(place, helper, **env) as cell:
        end, took = cell.crash(what, mode)
        equal(end, sig, "signal (%r)" % cell.err)
        check(took < WAIT + SLACK, "took %.2f s" % took)
        left = cell.files()
        if after == "start" or (after and mode == "plain"):
            equal((len(cell.rollbar.posts), len(left)), (0, 1), "posts and files before %s" % after)
        if lane == "own":
            check(took < 2.0, "waited %.2f s for its own exporter" % took)
            check(not left or lock in OWN_MAY_FAIL, "its own exporter left %r" % left)
        if left:
            uuid = cell.uuid_of(left[0])
            (cell.start_another if after == "start" else cell.flush)()
            equal(cell.rollbar.wait(1)[0]["uuid"], uuid, "uuid")
        item = cell.one_item()
        got = frames(item)
        check(any(function in f[0] for f in got), "no %s in %r" % (function, got))
        equal(item["level"], "critical", "level")
        equal(len(cell.kept()), 1, "kept reports")
        return got, took, bool(left)


@test
def every_lock_in_every_lane():
    with Sandbox() as box, concurrent.futures.ThreadPoolExecutor(6) as pool:
        place = Place(box)
        cells = {(lock, lane): pool.submit(one_cell, place, lock, lane) for lock in LOCKS for lane in LANES}
        bad, seen = [], {}
        for (lock, lane), cell in cells.items():
            try:
                got, took, left = cell.result()
                if os.environ.get("VERBOSE"):
                    print("# %-22s %-18s %.2f s%s" % (lock, lane, took, ", left to the next" if left else ""))
                if seen.setdefault(lock, got) != got:
                    bad.append("%s/%s: frames %r, elsewhere %r" % (lock, lane, got, seen[lock]))
            except Exception as e:
                bad.append("%s/%s: %s" % (lock, lane, e))
        check(not bad, "%d of %d: %s" % (len(bad), len(cells), "; ".join(b[:300] for b in bad)))


@test
def an_exporter_in_a_lock_is_not_waited_for():
    """With one arena it cannot allocate while the crashed thread holds that. Neither for its answer nor for its spans."""
    with Sandbox() as box:
        place = Place(box)
        for helper in (False, True):
            best = WAIT
            for i in range(5):
                with Cell(place, helper, MALLOC_ARENA_MAX="1") as cell:
                    end, took = cell.crash("malloc", "serve")
                    equal((end, len(cell.files())), (ABRT, 0 if helper else 1), "signal and files")
                    best = min(best, took)
                if best < 0.4:
                    break
            check(best < 0.4, "helper %r: %.2f s at best" % (helper, best))


if __name__ == "__main__":
    main()
