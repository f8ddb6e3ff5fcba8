"""Where the Rollbar token is not: cores, spool, argv, log, what children get. And what else must not leave in an item."""
import glob
import shutil
import signal
import subprocess
import tempfile

from harness import *
from rollbar_stub import Reply, Rollbar, TOKEN

BUSY = r'''
import sys, threading, time
class Deep(Exception): pass
def work(i): raise type("E%d" % i, (Exception,), {})("no %d" % i)
print("begun", flush=True)
i = 0
while True:
    i += 1
    t = threading.Thread(target=work, args=(i,)); t.start(); t.join()
    time.sleep(0.02)
'''


class Box(Sandbox):
    def __init__(self, rollbar=None, **env):
        super().__init__(**env)
        self.rollbar = self.keep(rollbar or Rollbar())
        self.state = os.path.join(self.dir, "state")
        self.token_file = self.write("token", TOKEN + "\n")
        os.chmod(self.token_file, 0o600)

    def env(self, traced=True, **more):
        return super().env(traced, **{"REMORA_STATE_DIR": self.state, "ROLLBAR_ENDPOINT": self.rollbar.url,
                                      "ROLLBAR_ACCESS_TOKEN_FILE": self.token_file, "REMORA_RUNTIME_DIR": self.runtime,
                                      "OTEL_TRACES_EXPORTER": "none", **more})


def core_of(box, gdb, pid, n):
    path = box.path("core.%d" % n)
    r = subprocess.run([gdb, "-q", "-nx", "-batch", "-p", str(pid), "-ex", "gcore " + path], capture_output=True, text=True,
                       timeout=60)
    check(os.path.exists(path), "gcore: %s" % (r.stdout + r.stderr)[-300:])
    with open(path, "rb") as f:
        data = f.read()
    os.unlink(path)
    return data


def where(data, what):
    """Some bytes around each place."""
    out, at = [], data.find(what)
    while at >= 0:
        out.append(data[max(0, at - 60):at + len(what) + 20])
        at = data.find(what, at + 1)
    return out


@cases(http=False, https=True)
def not_in_a_core(tls):
    """Under traffic: while a request flies, and after many."""
    gdb, env, rollbar = needs("gdb"), {}, None
    if tls:
        ca = TestCA(tempfile.mkdtemp(prefix="remora-ca-"))
        env, rollbar = {"SSL_CERT_FILE": ca.ca}, Rollbar(tls=ca.server_context())
    with Box(rollbar) as box:
        box.write("busy.py", BUSY)
        app = box.start([PYTHON, box.path("busy.py")], ready="begun", env=env)
        box.rollbar.wait(10, timeout=40)
        for n, always in enumerate((None, Reply(action="hang"))):
            box.rollbar.always = always
            if always:
                box.rollbar.wait_posts(len(box.rollbar.posts) + 1, timeout=75)      # 60 a minute were sent
            core = core_of(box, gdb, app.pid, n)
            check(b"remora" in core and len(core) > 1000000, "that is no core")
            equal(where(core, TOKEN.encode()), [], "the token in the core")
        app.kill_group()
    if tls:
        shutil.rmtree(ca.dir)


@test
def not_in_the_kernels_core():
    """The program dies while the token is in use: its own core, by the kernel."""
    with open("/proc/sys/kernel/core_pattern") as f:
        if f.read().strip() != "core":
            raise Skip("core_pattern core")
    with Box() as box:
        box.write("busy.py", BUSY)
        app = box.start(["/bin/sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", PYTHON, box.path("busy.py")], ready="begun")
        box.rollbar.wait(3, timeout=40)
        box.rollbar.always = Reply(action="hang")
        box.rollbar.wait_posts(len(box.rollbar.posts) + 1, timeout=40)
        os.kill(app.pid, signal.SIGSEGV)
        equal(app.wait(), -signal.SIGSEGV, "exit status")
        core, = glob.glob(box.path("core*"))
        with open(core, "rb") as f:
            equal(where(f.read(), TOKEN.encode()), [], "the token in the core")


@test
def not_in_what_the_program_shows():
    """Children's environment, argv, log at its loudest, spool, store, shared memory: no token from the file."""
    with Box() as box:
        box.rollbar.always = Reply(503)
        box.write("p.py", "import os, subprocess, sys\n"
                          "print(open('/proc/self/cmdline').read(), os.environ)\n"
                          "print(subprocess.run(['/usr/bin/env'], capture_output=True).stdout)\n"
                          "raise ValueError('x')\n")
        r = box.run([PYTHON, box.path("p.py")], env={"REMORA_LOG": "debug"})
        equal(r.rc, 1, "exit status")
        check(b"rollbar" in r.err.lower(), "nothing was logged")
        box.run([LAUNCHER, "flush"], env={"LD_PRELOAD": None})
        check(box.rollbar.posts and glob.glob(box.state + "/spool/*"), "nothing was tried")
        seen = {"output": r.out + r.err}
        for top in (box.state, box.runtime):
            for root, _, files in os.walk(top):
                for name in files:
                    with open(os.path.join(root, name), "rb") as f:
                        seen[name] = name.encode() + f.read()
        for name, data in seen.items():
            check(TOKEN.encode() not in data, "the token is in %s" % name)


@test
def not_in_a_crash_file():
    """The token stands in the environment, and so on the stack that is saved: of the crashed thread, and of main beside it."""
    main_crashes = "import ctypes; ctypes.string_at(0)"
    other_crashes = ("import ctypes, threading\n"
                     "t = threading.Thread(target=ctypes.string_at, args=(0,)); t.start(); t.join()")
    with Box() as box:
        lib = box.path("lib", "libremora.so")   # alone: no helper takes the file away
        shutil.copy(SHIM, lib)
        for code in (main_crashes, other_crashes):
            r = box.run([PYTHON, "-c", code], env={"LD_PRELOAD": lib, "ROLLBAR_ACCESS_TOKEN": TOKEN, "ROLLBAR_ACCESS_TOKEN_FILE": None})
            equal(r.rc, -signal.SIGSEGV, "exit status")
        files = glob.glob(box.runtime + "/*.crash")
        equal(len(files), 2, "crash files")
        for path in files:
            with open(path, "rb") as f:
                data = f.read()
            check(b"string_at" in data or len(data) > 10000, "that is no crash file")
            equal(where(data, TOKEN.encode()), [], "the token in the crash file")


if __name__ == "__main__":
    main()
