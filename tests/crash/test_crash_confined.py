# timeout: 300
"""Crashes in hostile places: the end is that of the plain program, nothing hangs, and the report goes what way is left.

The program is tests/hosts/crash_confined.c. Where no report is possible, that is said in one line on stderr.
"""
import concurrent.futures
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from test_lanes import *                                 # noqa: E402
from test_lanes import BUILD, HOSTS, Cell, SEGV          # noqa: E402
from rollbar_stub import Reply                           # noqa: E402

ABRT = 6
NOBODY = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\""
PRIVATE = "exec unshare --mount --propagation private sh -ec '%s; exec \"$@\"' sh \"$@\""
TMPFS = PRIVATE % "mount -t tmpfs -o size=%s,mode=0700 tmpfs $RUNTIME; %s"
PID1 = "exec unshare --pid --fork --mount --mount-proc \"$@\""
SENT, LATER, LOST, NOTHING = "sent", "sent by the next flush", "said to be lost", "not captured"

# name: (argument of crash_confined, script before it, what becomes of the report, more)
CASES = {
    "fsize": ("fsize", None, SENT, {}), "fsize_soft": ("fsize_soft", None, SENT, {}),
    "fsize_no_helper": ("fsize", None, LOST, dict(helper=False)),
    "nproc": ("nproc", NOBODY, LATER, dict(nobody=True)),
    "nproc_exporting": ("serve:nproc", NOBODY, SENT, dict(nobody=True)),
    "as": ("as", None, LATER, {}), "as_soft": ("as_soft", None, SENT, {}),
    "nofile": ("nofile", None, LOST, {}), "nofile_soft": ("nofile_soft", None, SENT, {}),
    "full_table": ("full_table", None, SENT, {}), "no_std": ("no_std", None, SENT, {}), "no_cwd": ("no_cwd", None, SENT, {}),
    "no_dump": ("no_dump", NOBODY, SENT, dict(nobody=True)), "setuid": ("setuid", None, SENT, {}),
    "no_new_privs": ("null", "exec setpriv --no-new-privs \"$@\"", SENT, {}),
    "seccomp_errno": ("seccomp_errno", None, LATER, {}), "seccomp_trap": ("seccomp_trap", None, LATER, {}),
    "seccomp_kill": ("seccomp_kill", None, LATER, {}), "seccomp_all": ("seccomp_all", None, NOTHING, {}),
    "seccomp_worker": ("fork:seccomp_kill", None, SENT, dict(helper=False)),
    "chroot": ("chroot", None, LOST, {}), "chroot_exporting": ("serve:chroot", None, SENT, dict(files=False)),
    "chroot_worker": ("fork:chroot", None, SENT, {}), "setuid_worker": ("fork:setuid", None, SENT, dict(helper=False)),
    # The exporter may not look into the worker: the helper gets it.
    "refused_worker": ("fork:no_dump", NOBODY, SENT, dict(nobody=True, env={"REMORA_RUNTIME_DIR": "/nonexistent/remora"})),
    "read_only": ("null", TMPFS % ("1m", "mount -o remount,ro $RUNTIME"), SENT, {}),
    "read_only_no_helper": ("null", TMPFS % ("1m", "mount -o remount,ro $RUNTIME"), LOST, dict(helper=False)),
    "full": ("null", TMPFS % ("64k", "dd if=/dev/zero of=$RUNTIME/x bs=4k 2>/dev/null || :"), SENT, {}),
    "nearly_full": ("null", TMPFS % ("160k", "dd if=/dev/zero of=$RUNTIME/x bs=4k count=8 2>/dev/null"), SENT, {}),
    "no_directory": ("null", None, SENT, dict(env={"REMORA_RUNTIME_DIR": "/nonexistent/remora"})),
    "noexec": ("null", PRIVATE % ("mkdir -p $BIN; mount -t tmpfs tmpfs $BIN; cp $HELPER $BIN/remora; "
                                  "mount -o remount,noexec $BIN"), LATER, dict(helper="installed")),
    "pid_1": ("null", PID1, SENT, {}), "pid_1_abort": ("abort", PID1, SENT, {}),
    "pid_1_exporting": ("serve:null", PID1, SENT, dict(helper=False)),
}


class Confined:
    def __init__(self, box):
        self.exe = box.path("crash_confined")
        subprocess.run([needs("gcc"), "-O0", "-g", "-w", "-o", self.exe, os.path.join(HOSTS, "crash_confined.c")], check=True)
        for tool in ("unshare", "setpriv", "mount"):
            needs(tool)
        self.libs = {}
        for kind, at in ((False, "without/libremora.so"), ("installed", "installed/lib/remora/libremora.so")):
            self.libs[kind] = box.path(at)
            for name in ("libremora.so", "libremora-export.so"):
                shutil.copy(os.path.join(BUILD, name), os.path.dirname(self.libs[kind]))
        self.libs[True] = SHIM
        self.bin = os.path.join(box.dir, "installed", "bin")
        os.chmod(box.dir, 0o755)


def run(cell, place, what, script, traced, more=None):
    env = cell.env(traced, **(more or {}))
    mine = ["%s=%s" % kv for kv in env.items() if kv[0] not in os.environ or os.environ[kv[0]] != kv[1]]
    jail = os.path.join(cell.dir, "jail")
    os.makedirs(jail, exist_ok=True)
    p = subprocess.Popen(["/bin/sh", "-ec", script or "exec \"$@\"", "sh", "/usr/bin/env", *mine, place.exe, what, jail],
                         env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "RUNTIME": cell.runtime, "BIN": place.bin,
                              "HELPER": LAUNCHER},
                         cwd=cell.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         start_new_session=True)
    try:
        cell.exports(p, traced and ":" in what)
        start = time.monotonic()
        p.stdin = None
        out, err = p.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        raise AssertionError("hangs: %r" % (p.communicate(),))
    return p.returncode, out, err, time.monotonic() - start


def one_case(place, name):
    what, script, fate, more = CASES[name]
    nobody = more.get("nobody")
    with Cell(None, True, **{"REMORA_CRASH_WAIT_MS": None, **more.get("env", {})}) as cell:
        cell.lib = place.libs[more.get("helper", True)]
        if nobody:
            os.mkdir(cell.state, 0o700)
            for path in (cell.dir, cell.runtime, cell.state):
                os.chown(path, 65534, 65534)
        plain = run(cell, place, what, script, False)
        rc, out, err, took = run(cell, place, what, script, True)
        lines = err.splitlines(keepends=True)
        said = [l for l in lines if l.startswith(b"remora: ")]
        equal((rc, out, b"".join(l for l in lines if l not in said)), plain[:3], "status, stdout, stderr")
        check(took < WAIT + SLACK, "took %.2f s" % took)
        equal(len(said), fate == LOST, "lines of ours: %r" % said)
        if fate == LOST:
            check(b"is lost: " in said[0], said)
        if fate in (LOST, NOTHING):
            equal((cell.rollbar.posts, cell.files()), ([], []), "posts and files")
            return took
        if fate == LATER:
            uuid = cell.uuid_of(cell.files()[0])
            equal(len(cell.rollbar.posts), 0, "posts before")
            flush = cell.run((["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if nobody else []) +
                             [LAUNCHER, "flush"], env={"LD_PRELOAD": None})
            equal(flush.rc, 0, "flush %r" % flush)
            equal(cell.rollbar.wait(1)[0]["uuid"], uuid, "uuid")
        item = cell.one_item()
        got = [f[0] for f in frames(item)]
        if not more.get("files", True):     # the exporter is in the jail too, where neither program nor libraries are
            equal(item["body"]["trace"]["frames"][-1]["filename"], place.exe, "file of the last of %r" % got)
            return took
        check("abort" in name or got[-1] == "fault", "frames %r" % got)
        check("main" in got, "frames %r" % got)
        return took


@test
def confined():
    if os.geteuid() != 0:
        raise Skip("root")
    with Sandbox() as box, concurrent.futures.ThreadPoolExecutor(4) as pool:
        place = Confined(box)
        cases_ = {name: pool.submit(one_case, place, name) for name in CASES if not ONLY or name in ONLY}
        bad = []
        for name, case in cases_.items():
            try:
                took = case.result()
                if os.environ.get("VERBOSE"):
                    print("# %-22s %.2f s, %s" % (name, took, CASES[name][2]))
            except Exception as e:
                bad.append("%s: %s" % (name, str(e)[:400]))
        check(not bad, "%d of %d:\n%s" % (len(bad), len(cases_), "\n".join(bad)))


@test
def a_jail_with_nothing_of_ours_but_the_library():
    """exec'd inside: no helper, no exporter, no runtime directory, no /proc."""
    if os.geteuid() != 0:
        raise Skip("root")
    with Sandbox() as box, Cell(None, True) as cell:
        place = Confined(box)
        jail = cell.path("jail", "")
        libs = subprocess.run(["ldd", place.exe], stdout=subprocess.PIPE, check=True).stdout.decode()
        for path in re.findall(r"(/\S+) \(0x", libs):
            os.makedirs(jail + os.path.dirname(path), exist_ok=True)
            shutil.copy(path, jail + path)
        for path in (place.exe, SHIM):
            shutil.copy(path, jail)
        seen = []
        for traced in (False, True):
            env = cell.env(traced, **({"LD_PRELOAD": "/libremora.so"} if traced else {}))
            p = subprocess.run(["/crash_confined", "null"], env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, timeout=20, preexec_fn=lambda: os.chroot(jail))
            seen.append((p.returncode, p.stdout, p.stderr))
        equal(seen[0], (-SEGV, b"", b""), "the plain end")
        equal(seen[1][:2], seen[0][:2], "the end")
        check(seen[1][2].count(b"\n") == 1 and b"is lost: " in seen[1][2], "said %r" % seen[1][2])


@cases(default=(None, 2.6, 11.0), as_said=("700", 0.6, 2.0))
def pid_1_waits_for_its_helper(case):
    """All others of its namespace die with it, so it waits for longer, unless told not to."""
    said, least, most = case
    if os.geteuid() != 0:
        raise Skip("root")
    with Sandbox() as box, Cell(None, True) as cell:
        place = Confined(box)
        cell.rollbar.always = Reply(action="hang")
        rc, out, err, took = run(cell, place, "null", PID1, True, {"REMORA_CRASH_WAIT_MS": said})
        equal((rc, out, err), (-SEGV, b"", b""), "the end")
        check(least < took < most, "took %.2f s" % took)
        cell.rollbar.always = None
        cell.flush()
        cell.one_item()


ONLY = os.environ.get("ONLY", "").split()

if __name__ == "__main__":
    main()
