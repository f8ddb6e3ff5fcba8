# timeout: 900
"""Crashes of plain C programs, plain and traced: end and output are equal, and the crash file says what happened.

The programs are tests/hosts/crash_c.c, built here at -O0, at -O2 -fomit-frame-pointer and stripped. libremora.so runs
from a directory of its own, so that no helper takes the files away; test_scenarios_*.py looks at what a helper makes of
them. Numbers are those of crash-capture.md, section 4.
"""
import collections
import glob
import os
import struct
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "harm"))
from harm import *                                       # noqa: E402
import harness                                           # noqa: E402

BUILDS = {"O0": ["-O0", "-g"], "O2": ["-O2", "-g", "-fomit-frame-pointer"], "stripped": ["-O2", "-s"]}
SEGV, BUS, ILL, FPE, ABRT, TRAP, SYS = 11, 7, 4, 8, 6, 5, 31
MAPERR, ACCERR, KERNEL, TKILL, USER = 1, 2, 128, -6, 0
OVERFLOW, FORK, VFORK = 2, 8, 16
STACK, MAPS, THREAD, PROCESS, ABORT, IDS, CODE, CWD, INFO = range(1, 10)

# name: number in section 4, then for each file: signal, code, and more demands
CASES = {
    "null": (1, [(SEGV, MAPERR)]), "memcpy": (2, [(SEGV, MAPERR)]),
    "overflow": (3, [(SEGV, MAPERR, dict(flags=OVERFLOW))]),
    "overflow_thread": (4, [(SEGV, ACCERR, dict(flags=OVERFLOW, comm="diver"))]),
    "overflow_c11": (4, [(SEGV, ACCERR, dict(flags=OVERFLOW))]),
    "jump0": (5, [(SEGV, MAPERR, dict(rip=0))]), "jump_unmapped": (6, [(SEGV, MAPERR, dict(rip=0x1234567000))]),
    "jump_noncanonical": (6, [(SEGV, KERNEL)]), "jump_stack": (6, [(SEGV, ACCERR)]),
    "thread": (7, [(SEGV, MAPERR, dict(threads=1))]), "abort": (10, [(ABRT, TKILL)]),
    "assert": (11, [(ABRT, TKILL, dict(text=b"Assertion"))]), "double_free": (12, [(ABRT, TKILL, dict(text=b"double free"))]),
    "heap_top": (13, [(ABRT, TKILL, dict(text=b"corrupt"))]), "heap_all": (15, [(SEGV, MAPERR)]),
    "smash": (16, [(SEGV, None, dict(process=b"exe="))]), "sp16": (17, [(SEGV, MAPERR)]), "fpe": (18, [(FPE, 1)]),
    "ud2": (19, [(ILL, 2)]), "bus": (20, [(BUS, 2)]), "int3": (21, [(TRAP, KERNEL)]), "raise_sys": (21, [(SYS, TKILL)]),
    "sys": (21, [(SYS, 1)]), "raise": (22, [(SEGV, TKILL)]), "kill": (22, [(SEGV, USER)]), "other_kill": (23, [(SEGV, USER)]),
    "crowd": (24, [(SEGV, MAPERR, dict(threads=8))]), "in_handler": (26, [(SEGV, MAPERR)]),
    "iterate": (28, [(SEGV, MAPERR)]), "atexit": (30, [(SEGV, MAPERR)]), "fork_child": (31, [(SEGV, MAPERR, dict(flags=FORK))]),
    "fork_parent": (31, [(SEGV, MAPERR)]), "fork_thread_child": (31, [(SEGV, ACCERR, dict(flags=FORK | OVERFLOW))]),
    "vfork_child": (32, [(SEGV, MAPERR), (SEGV, MAPERR, dict(flags=VFORK))]), "no_fds": (33, [(SEGV, MAPERR)]),
    "recover": (34, [(SEGV, MAPERR)]), "plain_handler": (34, [(SEGV, MAPERR)]), "reraise": (34, [(SEGV, MAPERR)]),
    "handler_aborts": (34, [(SEGV, MAPERR, dict(end=ABRT))]), "resethand": (34, [(SEGV, MAPERR)]),
    "ignore_sent": (34, []), "ignore_fault": (34, []), "ignore_exec": (34, []), "jump_loop": (35, []), "jump_overflow": (35, []),
    "onstack_overflow": (34, [(SEGV, None)]), "small_altstack": (48, [(SEGV, MAPERR, dict(flags=OVERFLOW))]),
    "as": (44, [(SEGV, MAPERR)]), "closed_std": (45, [(SEGV, MAPERR)]), "cwd_gone": (45, [(SEGV, MAPERR)]),
    "full_fds": (45, [(SEGV, MAPERR)]), "fsize0": (45, []), "threads": (7, [(SEGV, MAPERR, dict(threads=20))]),
    "sleep_then_exit": (24, [(SEGV, MAPERR)]),
}

Crash = collections.namedtuple("Crash", "done pid tid signo code si_pid flags end comm rip sections trace slot")


def read_crash(path):
    with open(path, "rb") as f:
        d = f.read()
    magic, layout, done = struct.unpack_from("<QII", d, 0)
    equal((magic, layout), (0x31687361726372, 1), "magic and layout")
    pid, tid = struct.unpack_from("<ii", d, 32)
    signo, code, _, si_pid, _, flags = struct.unpack_from("<iiiiII", d, 72)
    regs = struct.unpack_from("<18Q", d, 128)
    trace, (slot,) = d[288:304], struct.unpack_from("<I", d, 324)
    comm, (end,) = d[336:352].split(b"\0")[0].decode(), struct.unpack_from("<i", d, 368)
    at, sections = 432, []
    while at < len(d):
        kind, who, addr, size = struct.unpack_from("<IiQQ", d, at)
        check(0 < size <= len(d) - at - 24, "section %d of %d bytes at %d of %d" % (kind, size, at, len(d)))
        sections.append((kind, who, addr, d[at + 24:at + 24 + size]))
        at += 24 + (size + 7 & ~7)
    return Crash(done, pid, tid, signo, code, si_pid, flags, end, comm, regs[16], sections, trace, slot)


def crashes(box):
    return [read_crash(p) for p in sorted(glob.glob(box.runtime + "/*.crash"))]


def alone(box):
    lib = box.path("lib", "libremora.so")
    os.makedirs(os.path.dirname(lib), exist_ok=True)
    shutil.copy(harness.SHIM, lib)
    return {"LD_PRELOAD": lib}


def program(box, build):
    exe = box.path("bin", "crash_c")
    os.makedirs(os.path.dirname(exe), exist_ok=True)
    subprocess.run(["gcc", *BUILDS[build], "-w", "-pthread", "-fstack-protector-explicit", "-o", exe, os.path.join(ROOT, "tests", "hosts", "crash_c.c")],
                   check=True)
    return exe


def told_of(name, build, got, expected):
    equal(len(got), len(expected), "%s: crash files" % name)
    for c, (signo, code, *more) in zip(got, expected):
        more = more[0] if more else {}
        kinds = collections.Counter(s[0] for s in c.sections)
        equal((c.done, c.signo, c.end), (1, signo, more.get("end", signo)), "%s: done, signal, end" % name)
        check(code is None or c.code == code, "%s: si_code %d" % (name, c.code))
        check(more.get("flags", 0) & ~c.flags == 0, "%s: flags %x" % (name, c.flags))
        check("comm" not in more or c.comm == more["comm"], "%s: %r" % (name, c.comm))
        check("rip" not in more or c.rip == more["rip"], "%s: rip %x" % (name, c.rip))
        check(kinds[THREAD] >= more.get("threads", 0), "%s: %d threads" % (name, kinds[THREAD]))
        check(kinds[INFO] and kinds[MAPS] and kinds[IDS] and kinds[PROCESS], "%s: sections %r" % (name, kinds))
        check(kinds[STACK] or name == "sp16", "%s: no stack" % name)
        if "text" in more:
            check(any(more["text"] in s[3] for s in c.sections if s[0] == ABORT), "%s: no text" % name)
    if name == "other_kill":
        check(got[0].si_pid not in (0, got[0].pid), "sender %d" % got[0].si_pid)


@cases(**{b: b for b in BUILDS})
def ends_as_without_us_and_is_captured(build):
    with Sandbox() as box:
        env, exe = alone(box), program(box, build)
        for name, (number, expected) in CASES.items():
            for p in glob.glob(box.runtime + "/*"):
                os.unlink(p)
            both(box, [exe, name], traced_env=env, warning=name == "fsize0")    # says that there is no report
            told_of(name, build, crashes(box), expected)


@test
def eight_threads_at_once_100_times():
    with Sandbox() as box:
        env, exe = alone(box), program(box, "O2")
        for i in range(100):
            for p in glob.glob(box.runtime + "/*"):
                os.unlink(p)
            r = box.run([exe, "crowd" if i % 2 else "mixed"], env=env, timeout=10)
            check(r.rc in (-SEGV, -ABRT), "%r" % r)
            got = crashes(box)
            equal([(c.done, c.end) for c in got], [(1, -r.rc)], "files")


@test
def off():
    with Sandbox() as box:
        env, exe = alone(box), program(box, "O2")
        both(box, [exe, "null"], traced_env={**env, "REMORA_CRASH": "0"}, rc=-SEGV)
        equal(crashes(box), [], "files")


@test
def timeout_tells_once():
    """43: timeout is preloaded too, and sends itself its child's signal."""
    with Sandbox() as box:
        env, exe = alone(box), program(box, "O2")
        both(box, [needs("timeout"), "5", exe, "null"], traced_env=env, rc=-SEGV)
        equal([c.comm for c in crashes(box)], ["crash_c"], "files")


@test
def actions_and_stacks_are_told_as_set():
    """34, 48: what sigaction, signal, sigset, siginterrupt and sigaltstack answer, and the stack that handlers run on."""
    with Sandbox() as box:
        both(box, ["crash_actions"], rc=0)


if __name__ == "__main__":
    main()
