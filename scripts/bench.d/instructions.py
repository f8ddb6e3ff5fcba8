"""callgrind: instructions per request of nginx, and which functions of libremora.so they are spent in."""
import collections
import glob
import os
import re
import signal
import socket

from common import *

FEW, MANY = 500, 2500
Costs = collections.namedtuple("Costs", "total own inclusive calls lines files")


def parse(path):
    """(object, function) -> instructions by themselves, with what they call, and calls; own instructions by line"""
    names = {"ob": {}, "fl": {}, "fn": {}}
    now = {"ob": "?", "fl": "?", "fn": "?", "fi": "?"}
    own, inclusive, calls, lines, files = (collections.Counter() for _ in range(5))
    called = {}
    total, line_no, pending = 0, 0, None

    def name(kind, text):
        m = re.match(r"\((\d+)\)(?: (.*))?$", text)
        if not m:
            return text
        if m.group(2) is not None:
            names[kind][m.group(1)] = m.group(2)
        return names[kind].get(m.group(1), "?")

    with open(path) as f:
        for line in f:
            line = line.rstrip("\n")
            if not line:
                continue
            c = line[0]
            if c.isdigit() or c in "+-*":
                at, *cost = line.split()
                line_no = line_no if at == "*" else line_no + int(at) if at[0] in "+-" else int(at)
                cost = int(cost[0]) if cost else 0
                key = (now["ob"], now["fn"])
                inclusive[key] += cost
                if pending:
                    calls[pending[0]] += pending[1]
                    pending = None
                else:
                    own[key] += cost
                    lines[now["ob"], now["fi"], line_no] += cost
                    files[now["ob"], now["fl"]] += cost
                    total += cost
                continue
            k, eq, v = line.partition("=")
            if not eq:
                continue
            if k == "ob":
                now["ob"] = name("ob", v)
            elif k == "fl":
                now["fl"] = now["fi"] = name("fl", v)
            elif k in ("fi", "fe"):
                now["fi"] = name("fl", v)
            elif k == "fn":
                now["fn"] = name("fn", v)
                called = {}
            elif k == "cob":
                called["ob"] = name("ob", v)
            elif k in ("cfi", "cfl"):
                name("fl", v)
            elif k == "cfn":
                called["fn"] = name("fn", v)
            elif k == "calls":
                pending = ((called.get("ob", now["ob"]), called["fn"]), int(v.split()[0]))
                called = {}
    return Costs(total, own, inclusive, calls, lines, files)


def requests(port, n):
    with socket.create_connection(("127.0.0.1", port), timeout=120) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(n):
            s.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)       # what wrk sends
            data = b""
            while not data.endswith(b"hello world\n"):
                more = s.recv(65536)
                if not more:
                    raise RuntimeError("nginx closed the connection")
                data += more


def one(place, env, n, name):
    out = os.path.join(OUT, "callgrind.%s.%d" % (name, n))
    for f in glob.glob(out + "*"):
        os.unlink(f)
    valgrind = [tool("valgrind"), "-q", "--tool=callgrind", "--callgrind-out-file=" + out, "--separate-threads=yes",
                "--fair-sched=try"]
    if env:     # into nginx alone, not into the valgrind command
        valgrind += ["--trace-children=yes", "--trace-children-skip=*/env", tool("env")] + ["%s=%s" % kv for kv in env.items()]
    p = nginx(place, {}, workers=0, prefix=valgrind)
    requests(p.port, n)
    p.stop(signal.SIGQUIT, timeout=60)
    files = sorted(glob.glob(out + "*-01"))
    if len(files) != 1:
        raise RuntimeError("callgrind left %s: %s" % (sorted(glob.glob(out + "*")), read(p.log)[-600:]))
    return parse(files[0])


def run_callgrind(report, opts, place):
    tool("valgrind")
    per = {}
    spans = ""
    for name in ("plain", "remora"):
        port = place.port() if name == "remora" else None
        costs = []
        for n in (FEW, MANY):
            say("    callgrind: nginx %s, %d requests" % (name, n))
            costs.append(one(place, place.remora(port) if port else {}, n, name))
        few, many = costs
        d = MANY - FEW
        diff = [collections.Counter({k: (m[k] - f.get(k, 0)) / d for k in m}) for m, f in zip(many[1:], few[1:])]
        per[name] = Costs((many.total - few.total) / d, *diff)
        if port:
            spans = "%d requests, %d spans" % (FEW + MANY, received(port)[1])
    a, b = per["plain"], per["remora"]
    report.heading("callgrind: instructions per request, nginx keep-alive, host thread (difference of %d and %d requests)" % (MANY, FEW))

    def ours(key):
        return os.path.basename(key[0]).startswith("libremora")

    mine = sum(v for k, v in b.own.items() if ours(k))
    report.table(["", "instructions per request", "more"],
                 [["plain", "%.0f" % a.total, ""],
                  ["remora", "%.0f" % b.total, "%+.0f (%+.1f %%)" % (b.total - a.total, 100 * (b.total / a.total - 1))],
                  ["of that in libremora.so itself", "%.0f" % mine, ""]])
    report.note(spans + ". The kernel's instructions are not counted, and a clock_gettime is a plain system call under valgrind.")
    folders = collections.Counter()
    for k, v in b.files.items():
        if ours(k):
            folders[os.path.dirname(k[1][len(ROOT) + 1:] if k[1].startswith(ROOT) else k[1]) or "?"] += v
    report.table(["functions of", "instructions by themselves"], [[k, "%.0f" % v] for k, v in folders.most_common()])
    rows = [[k[1], "%.0f" % v, "%.0f" % b.own[k], "%.2f" % b.calls[k]]
            for k, v in b.inclusive.most_common() if ours(k) and v >= 0.5][:opts.top]
    report.table(["function of libremora.so", "with what it calls", "by itself", "calls"], rows)
    rows = [[k[1], "%.0f" % v, "%.2f" % b.calls[k]] for k, v in b.own.most_common() if ours(k) and v >= 0.5][:opts.top]
    report.table(["function of libremora.so", "by itself", "calls"], rows)
    rows = []
    for k, v in (b.own - a.own).most_common():
        if not ours(k) and v >= 2:
            rows.append([k[1], os.path.basename(k[0]), "%+.0f" % v, "%+.2f" % (b.calls[k] - a.calls[k])])
    if rows:
        report.table(["elsewhere, more than plain", "in", "instructions", "calls"], rows[:8])
    with open(os.path.join(OUT, "callgrind.lines"), "w") as f:
        for (ob, fi, no), v in b.lines.most_common():
            if os.path.basename(ob).startswith("libremora") and v >= 0.05:
                f.write("%8.2f  %s:%d\n" % (v, os.path.relpath(fi, ROOT) if fi.startswith(ROOT) else fi, no))
