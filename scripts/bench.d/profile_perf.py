"""perf: where nginx's worker spends its time under load, plain and preloaded. Not among the default sections."""
import collections
import os
import re
import subprocess
import time

from common import *
import load

RATE = 7999


def sampled(v, seconds, path):
    """Samples by object, and by function of libremora.so; requests served meanwhile"""
    v.program.place(v.exporter_cpu)
    worker = next(pid for pid in v.program.pids() if pid != v.program.pid)
    perf = subprocess.Popen([tool("perf"), "record", "-q", "-e", "cpu-clock", "-F", str(RATE), "-o", path, "-t", str(worker)],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    before = v.program.count()
    load.wrk(v.program.port, 16, seconds, lambda: v.program.place(v.exporter_cpu))
    n = v.program.count() - before
    perf.send_signal(2)
    perf.wait()
    text = subprocess.run([tool("perf"), "report", "-i", path, "--sort", "dso,symbol", "-n", "--stdio"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    objects, functions = collections.Counter(), collections.Counter()
    for m in re.finditer(r"^\s*[\d.]+%\s+(\d+)\s+(\S+)\s+\[.\] (\S+)", text, re.M):
        objects[m.group(2)] += int(m.group(1))
        if m.group(2).startswith("libremora") or m.group(2) == "libc.so.6":
            functions[m.group(3), m.group(2)] += int(m.group(1))
    return objects, functions, n


def run_profile(report, opts, place):
    tool("perf")
    port = place.port()
    variants = [load.Variant("plain", lambda: nginx(place, {}, cpu=SERVER_CPU)),
                load.Variant("remora", lambda: nginx(place, place.remora(port), cpu=SERVER_CPU), port, LOAD_CPU)]
    ns = {}
    for v in variants:
        v.renew()
        load.measure(v, 16, 1, place.receiver)
        ns[v.name] = [collections.Counter(), collections.Counter(), 0]
    for i in range(opts.rounds):
        for v in (variants if i % 2 == 0 else variants[::-1]):
            for sum_, more in zip(ns[v.name], r := sampled(v, opts.seconds, os.path.join(place.dir, "perf.data"))):
                if isinstance(sum_, collections.Counter):
                    sum_.update(more)
            ns[v.name][2] += r[2]
        say("    round %d of %d" % (i + 1, opts.rounds))
    per = {name: [{k: c / RATE * 1e9 / n for k, c in counts.items()} for counts in (objects, functions)]
           for name, (objects, functions, n) in ns.items()}
    (a, af), (b, bf) = per["plain"], per["remora"]
    report.heading("perf: nginx's worker under load, ns per request, exporter on the other core")
    report.table(["in", "plain", "remora", "difference"],
                 [[k, "%.0f" % a.get(k, 0), "%.0f" % b.get(k, 0), "%+.0f" % (b.get(k, 0) - a.get(k, 0))]
                  for k in sorted(set(a) | set(b), key=lambda k: -b.get(k, 0)) if max(a.get(k, 0), b.get(k, 0)) >= 3])
    report.note("The kernel's part moves with the machine. What a return from a system call costs is booked on the code that "
                "comes first: nginx when plain, our hook when preloaded; so the sum of the user-space rows is what counts: %+.0f ns."
                % sum(b.get(k, 0) - a.get(k, 0) for k in set(a) | set(b) if not k.startswith("[kernel")))
    more = {k: bf.get(k, 0) - af.get(k, 0) for k in bf}
    report.table(["function", "in", "ns per request, more than plain"],
                 [[k[0], k[1], "%.1f" % v] for k, v in sorted(more.items(), key=lambda kv: -kv[1])[:opts.top]])
