# timeout: 300
"""Crashes while Rollbar is down, and many at once: bounded, spooled, sent once with the same uuid; a crash loop is capped."""
import concurrent.futures
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from test_lanes import *                                 # noqa: E402
from test_lanes import Cell, HOSTS, LANES, Place, SEGV   # noqa: E402
from rollbar_stub import Reply                           # noqa: E402

PER_HOUR = 10
RATE = {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Remaining-Seconds": "30"}
DOWN = {"refused": None, "hang": Reply(action="hang"), "reset": Reply(action="reset"), "429": Reply(429, RATE), "500": Reply(500),
        "403": Reply(403)}


def helpers(cell):
    """Pids of the helpers at work on this cell's crash files."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                argv = f.read().split(b"\0")
            if argv[1:2] == [b"crash-helper"] and argv[2].startswith(cell.runtime.encode()):
                out.append(int(pid))
    return out


def lane_of(place, lane, **env):
    mode, helper, _ = LANES[lane]
    return mode, Cell(place, helper, **env)


def down(place, what, lane):
    mode, box = lane_of(place, lane)
    with box as cell:
        port = cell.rollbar.port
        if what == "refused":
            cell.rollbar.__exit__()
        cell.rollbar.always = DOWN[what]
        end, took = cell.crash("none", mode)
        equal(end, SEGV, "signal")
        check(took < WAIT + SLACK, "took %.2f s" % took)
        if mode == "fork":      # the parent has ended in good order, and has what it has in the spool
            check(glob.glob(cell.state + "/spool/*") or cell.files(), "nothing is kept")
        eventually(lambda: not helpers(cell), "the helper has given up", 20)
        eventually(lambda: glob.glob(cell.state + "/spool/*.json"), "an item in the spool")
        posts = list(cell.rollbar.posts)
        if what == "refused":
            cell.rollbar = cell.keep(Rollbar(port=port))
        equal(cell.rollbar.items, [], "items before")
        cell.rollbar.always = None
        cell.flush()
        item = cell.one_item()
        equal({p.data["uuid"] for p in posts} - {item["uuid"]}, set(), "uuids before")
        equal(len(cell.rollbar.posts) - len(posts) if what != "refused" else len(cell.rollbar.posts), 1, "posts of the flush")
        equal([f[0] for f in frames(item)][-2:], ["act", "fault"], "frames")
        cell.flush()
        equal(len(cell.rollbar.items), 1, "items after another flush")
        return took


def cut_off(place, lane):
    """Rollbar has it, but its answer comes too late for who sent it."""
    mode, box = lane_of(place, lane)
    with box as cell:
        cell.rollbar.script = [Reply(delay=60)]
        end, took = cell.crash("none", mode)
        equal(end, SEGV, "signal")
        check(took < WAIT + SLACK, "took %.2f s" % took)
        cell.rollbar.wait(1)
        for pid in helpers(cell):
            kill9(pid)
        cell.flush()
        item = cell.one_item()
        equal(len(cell.rollbar.posts), 2, "posts")
        return took


def too_large(place, lane):
    mode, box = lane_of(place, lane)
    with box as cell:
        cell.rollbar.script = [Reply(413)]
        end, took = cell.crash("none", mode)
        equal(end, SEGV, "signal")
        check(took < WAIT + SLACK, "took %.2f s" % took)
        cell.one_item()
        equal(len(cell.rollbar.posts), 2, "posts")
        return took


@test
def rollbar_is_down():
    with Sandbox() as box, concurrent.futures.ThreadPoolExecutor(8) as pool:
        place = Place(box)
        lanes = ("helper", "own", "parent")
        jobs = {"cut off, %s" % l: pool.submit(cut_off, place, l) for l in ("helper", "own")}
        jobs.update({"hang, %s" % l: pool.submit(down, place, "hang", l) for l in lanes})
        jobs.update({"413, %s" % l: pool.submit(too_large, place, l) for l in lanes})
        jobs.update({"%s, %s" % (w, l): pool.submit(down, place, w, l) for w in DOWN if w != "hang" for l in lanes})
        bad = []
        for name, job in jobs.items():
            try:
                took = job.result()
                if os.environ.get("VERBOSE"):
                    print("# %-20s %.2f s" % (name, took))
            except Exception as e:
                bad.append("%s: %s" % (name, str(e)[:400]))
        check(not bad, "%d of %d: %s" % (len(bad), len(jobs), "\n".join(bad)))


@test
def the_wait_is_as_long_as_said():
    with Sandbox() as box:
        place = Place(box)
        for lane in ("helper", "own"):
            mode, box_ = lane_of(place, lane, REMORA_CRASH_WAIT_MS="400")
            with box_ as cell:
                cell.rollbar.always = Reply(action="hang")
                end, took = cell.crash("none", mode)
                equal(end, SEGV, "signal")
                check(0.35 < took < 0.4 + SLACK, "%s: took %.2f s" % (lane, took))


@test
def no_wait_at_all():
    with Sandbox() as box:
        with Cell(Place(box), True, REMORA_CRASH_WAIT_MS="0") as cell:
            cell.rollbar.script = [Reply(delay=2)]
            end, took = cell.crash("none", "plain")
            equal(end, SEGV, "signal")
            check(took < 1, "took %.2f s" % took)
            cell.one_item()


@test
def many_find_the_same_files():
    """What five crashes left, six flushes at once send, each once; who has other settings says so and sends nothing."""
    with Sandbox() as box, concurrent.futures.ThreadPoolExecutor(6) as pool:
        with Cell(Place(box), False) as cell:
            for i in range(5):
                equal(cell.crash("none", "plain")[0], SEGV, "signal")
            r = cell.run([LAUNCHER, "flush"], env={"LD_PRELOAD": None, "ROLLBAR_ENDPOINT": "http://127.0.0.1:1/api/1/item/"})
            check(b"5 crash files" in r.out, "flush with other settings says %r" % r)
            equal((len(cell.files()), cell.rollbar.posts), (5, []), "files and posts")
            list(pool.map(lambda i: cell.flush(), range(6)))
            eventually(lambda: not cell.files(), "no crash file is left")
            equal((len(cell.rollbar.items), len(cell.rollbar.posts)), (5, 5), "items and posts")
            cell.rollbar.check()


@test
def the_exporter_is_stopped():
    """It lives, and does not answer: the helper is not far."""
    with Sandbox() as box:
        place = Place(box)
        with Cell(place) as cell:
            p = subprocess.Popen([place.exe, "none", "stopped", place.plugin], env=cell.env(), cwd=cell.dir,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
            try:
                cell.exports(p)
                p.stdin = None
                said = int(p.stdout.readline().split()[1]) / 1e9
                item, = cell.rollbar.wait(1, 5)
                took = time.monotonic() - said
                check(0.3 < took < WAIT, "took %.2f s" % took)
            finally:
                os.kill(p.pid, signal.SIGCONT)
            out = p.communicate(timeout=20)[0]
            check(b"signal 11" in out, "the end: %r" % out)
            cell.one_item()


class Tree(Cell):
    def __init__(self, helper=True, **env):
        super().__init__(None, True, **env)
        self.exe = self.path("crash_tree")
        subprocess.run([needs("gcc"), "-O0", "-g", "-w", "-o", self.exe, os.path.join(HOSTS, "crash_tree.c")], check=True)
        if not helper:
            self.lib = self.path("without", "libremora.so")
            for name in ("libremora.so", "libremora-export.so"):
                shutil.copy(os.path.join(BUILD, name), os.path.dirname(self.lib))

    def tree(self, crashing, serving, parent, rc=0):
        p = subprocess.Popen([self.exe, str(crashing), str(serving), parent], env=self.env(), cwd=self.dir, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, start_new_session=True)
        self.exports(p, parent != "plain")
        p.stdin = None
        out = p.communicate(timeout=30)[0]
        equal(p.returncode, rc, "status of the parent: %r" % out)
        if rc == 0:
            equal(out, b"died %d lived %d other 0\n" % (crashing, serving), "children")

    def items(self, n, again=False):
        """n, each its own; again: one may have been posted twice."""
        eventually(lambda: not self.files(), "no crash file is left", 20)
        eventually(lambda: not glob.glob(self.state + "/spool/*"), "the spool is empty", 20)
        self.rollbar.wait(n)
        equal((len(self.rollbar.items), len({i["uuid"] for i in self.rollbar.items})), (n, n), "items and uuids")
        equal(len({p.data["uuid"] for p in self.rollbar.posts}) if again else len(self.rollbar.posts), n, "posts")
        for i in self.rollbar.items:
            equal([f[0] for f in frames(i)][-1], "fault", "frames")
        self.rollbar.check()


@cases(exporter_and_helper=(True, "serve"), exporter=(False, "serve"), helpers=(True, "plain"))
def two_at_once(case):
    helper, parent = case
    with Tree(helper) as cell:
        cell.tree(2, 0, parent)
        cell.items(2)


@cases(with_helper=True, without=False)
def the_exporting_process_crashes_with_its_workers(helper):
    with Tree(helper) as cell:
        cell.tree(3, 0, "crash", rc=-SEGV)
        eventually(lambda: not helpers(cell), "the helpers have ended")
        cell.flush()            # what the exporter had in hand when it died: perhaps sent, but not yet marked so
        cell.items(4, again=True)


@test
def crashes_while_others_attach():
    for parent in ("plain", "serve"):
        with Tree() as cell:
            cell.tree(8, 8, parent)
            cell.items(8)


@cases(exporter="serve", helpers="plain")
def crash_loop_is_capped_and_counted(parent):
    with Tree() as cell:
        cell.tree(30, 0, parent)
        cell.items(PER_HOUR)
        kept = cell.run([LAUNCHER, "crashes"], traced=False)
        equal(len(kept.out.splitlines()), 30, "kept reports")
        check(b"20 were not sent to Rollbar" in kept.err, "remora crashes says %r" % kept.err)
        # An hour later the next one says how many there were.
        with open(cell.state + "/limits") as f:
            fingerprint, since, sent, suppressed = f.read().split()
        equal((sent, suppressed), (str(PER_HOUR), str(30 - PER_HOUR)), "limits")
        with open(cell.state + "/limits", "w") as f:
            f.write("%s %d %s %s\n" % (fingerprint, int(since) - 3601, sent, suppressed))
        cell.tree(1, 0, parent)
        cell.items(PER_HOUR + 1)
        equal(cell.rollbar.items[-1]["custom"]["suppressed"], 30 - PER_HOUR, "suppressed")


if __name__ == "__main__":
    main()
