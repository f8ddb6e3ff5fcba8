"""Runs inside gdb (gdb -x): for each line of JSON on stdin, the frames and the siginfo of a core, as a line of JSON.

{"exe": PATH, "core": PATH}; or {"exe": PATH, "args": [..], "cwd": PATH, "env": {}}: the program is run to its first fatal signal.
"""
import json
import re
import shlex
import sys

import gdb

KINDS = {gdb.INLINE_FRAME: "inline", gdb.SIGTRAMP_FRAME: "signal", gdb.TAILCALL_FRAME: "tail"}


def code_ranges():
    text = gdb.execute("info files", to_string=True)
    return [(int(a, 16), int(b, 16)) for a, b in re.findall(r"(0x[0-9a-f]+) - (0x[0-9a-f]+) is \.(?:text|plt|init|fini)", text)]


def frames():
    out, f, code = [], gdb.newest_frame(), None
    while f and len(out) < 20000:
        sal = f.find_sal()
        kind = KINDS.get(f.type(), "")
        if out and not f.name():
            code = code or code_ranges()
            if not any(lo <= f.pc() < hi for lo, hi in code):
                kind = "data"           # not a return address
        out.append((f.name(), f.pc(), sal.line if sal.symtab else 0, kind))
        try:
            f = f.older()
        except gdb.error:
            break
    return out


def value(text):
    try:
        return int(gdb.parse_and_eval(text))
    except gdb.error:
        return None


def answer(want):
    gdb.execute("file " + shlex.quote(want["exe"]), to_string=True)
    if "core" in want:
        gdb.execute("core-file " + shlex.quote(want["core"]), to_string=True)
    else:
        gdb.execute("cd " + shlex.quote(want["cwd"]), to_string=True)
        gdb.execute("set args " + " ".join(shlex.quote(a) for a in want["args"]) + " >/dev/null 2>&1", to_string=True)
        gdb.execute("set follow-fork-mode " + ("child" if want["args"][0].endswith("_child") else "parent"), to_string=True)
        for name, val in want["env"].items():
            gdb.execute("set environment %s %s" % (name, val), to_string=True)
        gdb.execute("run", to_string=True)
    out = {"frames": frames(), "signo": value("$_siginfo.si_signo"), "code": value("$_siginfo.si_code"),
           "addr": value("$_siginfo._sifields._sigfault.si_addr"), "sender": value("$_siginfo._sifields._kill.si_pid"),
           "pid": gdb.selected_inferior().pid, "threads": len(gdb.selected_inferior().threads())}
    if "core" in want:
        gdb.execute("core-file", to_string=True)
    else:
        gdb.execute("kill", to_string=True)
        for name in want["env"]:
            gdb.execute("unset environment " + name, to_string=True)
    return out


for setting in ("debuginfod enabled off", "confirm off", "width 0", "pagination off", "print thread-events off"):
    gdb.execute("set " + setting, to_string=True)
for name in ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIG33"):
    gdb.execute("handle %s nostop noprint pass" % name, to_string=True)
for line in sys.stdin:
    try:
        said = answer(json.loads(line))
    except Exception as e:
        said = {"error": "%s: %s" % (type(e).__name__, e)}
    sys.stderr.write("ANSWER " + json.dumps(said) + "\n")
    sys.stderr.flush()
