"""What is paid without load: a start, an untracked call, memory, idleness."""
import os
import re
import socket
import subprocess
import time

from common import *


# ---------------------------------------------------------------- start

def run_start(report, opts, place):
    port = place.port()
    rows = []
    env = {k: v for k, v in place.remora(port).items() if k != "LD_PRELOAD"}
    python = os.path.join(VENV, "bin", "python")
    programs = [("/bin/true", 2000, ["/bin/true"]), ("python3 -c pass", 200, [python, "-c", "pass"])]
    for name, n, argv in programs:
        if not os.path.exists(argv[0]):
            import setups
            setups.python()
        n = max(50, n // (10 if opts.quick else 1))
        with on_cpu(SERVER_CPU):
            p = subprocess.run([compiled("spawn"), str(n), SHIM, *argv], env=environment(**env), check=True,
                               stdout=subprocess.PIPE, text=True)
        runs = [list(map(int, l.split())) for l in p.stdout.splitlines()][5:]
        plain_cpu, plain_wall, cpu, wall = ([r[i] / 1e6 for r in runs] for i in range(4))
        more = median([b - a for a, b in zip(plain_cpu, cpu)])
        rows.append([name, len(runs), "%.3f" % median(plain_cpu), "%.3f" % median(cpu), "%+.3f" % more,
                     "%.2f" % median([b / a for a, b in zip(plain_cpu, cpu)]),
                     "%.3f" % median(plain_wall), "%.3f" % median(wall),
                     "%+.3f" % median([b - a for a, b in zip(plain_wall, wall)])])
        if name == "/bin/true":
            report.goal("/bin/true, more CPU", "<= 0.15 ms", "%.3f ms" % more, more <= 0.15)
    report.heading("Start: posix_spawn to wait, plain and preloaded in turn (medians, ms)")
    report.table(["", "runs", "CPU plain", "CPU remora", "difference", "ratio", "wall plain", "wall remora", "difference"], rows)


# ---------------------------------------------------------------- an untracked call

def run_write(report, opts, place):
    exe = compiled("write")
    calls, times = (100000, 4) if opts.quick else (400000, 10)
    results = {"plain": [], "remora": []}
    for _ in range(times):
        for name in results:
            env = place.remora(place.ports[-1]) if name == "remora" else {}
            with on_cpu(SERVER_CPU):
                p = subprocess.run([exe, str(calls), "5"], env=environment(**env), check=True, stdout=subprocess.PIPE, text=True)
            results[name] += [float(l) for l in p.stdout.split()]
    a, b = results["plain"], results["remora"]
    report.heading("Untracked write(2): one byte to /dev/null, ns a call")
    report.table(["", "minimum", "median"],
                 [[name, "%.1f" % min(v), "%.1f" % median(v)] for name, v in results.items()] +
                 [["difference", "%+.1f" % (min(b) - min(a)), "%+.1f" % (median(b) - median(a))]])
    report.goal("untracked write(2), more", "<= 5 ns", "%+.1f ns" % (min(b) - min(a)), min(b) - min(a) <= 5)


# ---------------------------------------------------------------- memory

def pss(pid):
    """KiB in all, and of our mappings: {kind: KiB}"""
    total = int(re.search(r"^Pss:\s+(\d+)", read("/proc/%d/smaps_rollup" % pid), re.M).group(1))
    ours = {}
    kind = None
    for line in read("/proc/%d/smaps" % pid).splitlines():
        m = re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)", line)
        if m:
            name = m.group(1)
            kind = ("libremora.so" if "libremora.so" in name else "libremora-export.so" if "libremora-export" in name else
                    "arena" if "/remora-bench-" in name and "/dev/shm" in name else None)
        elif kind and line.startswith("Pss:"):
            ours[kind] = ours.get(kind, 0) + int(line.split()[1])
    return total, ours


def traffic(port, connections, each):
    socks = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(connections)]
    for _ in range(each):
        for s in socks:
            s.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\n\r\n")
        for s in socks:
            data = b""
            while not data.endswith(b"hello world\n"):
                more = s.recv(65536)
                if not more:
                    raise RuntimeError("the server closed a connection")
                data += more
    for s in socks:
        s.close()


def children(p):
    return sorted(set(p.pids()) - {p.pid})


def memory_of(place, env, workers, port=None):
    """[(what, pid, KiB, ours)] of nginx, before and after traffic"""
    p = nginx(place, env, workers=workers)
    time.sleep(0.5)
    before = [("master", *pss(p.pid))] + [("worker", *pss(pid)) for pid in children(p)]
    for _ in range(6):
        traffic(p.port, 16 * workers, 50)
    if port:
        wait_received(port, 6 * 16 * workers * 50)
    time.sleep(1)
    exporters = {pid for pid, _, ours in p.threads() if ours}
    after = [(("exporting " if p.pid in exporters else "") + "master", *pss(p.pid))]
    after += [("exporting worker" if pid in exporters else "worker", *pss(pid)) for pid in children(p)]
    p.stop()
    return before, after


def mean(values):
    return sum(values) / len(values) if values else float("nan")


def run_memory(report, opts, place):
    """Several times: which workers come upon the first record at the same moment is chance."""
    rows, workers, times = [], 4, 1 if opts.quick else 5
    plain_before, plain_after, before, after = [], [], [], []
    for _ in range(times):
        b, a = memory_of(place, {}, workers)
        plain_before, plain_after = plain_before + b, plain_after + a
        port = place.port()
        b, a = memory_of(place, place.remora(port), workers, port)
        before, after = before + b, after + a

    def line(title, now, plain):
        parts = {k: mean([r[2].get(k, 0) for r in now]) for k in sorted({k for r in now for k in r[2]})}
        then = mean([r[1] for r in plain])
        have, most = mean([r[1] for r in now]), max(r[1] for r in now)
        rows.append([title, len(now), "%.0f" % then, "%.0f" % have, "%+.0f" % (have - then), "%+.0f" % (most - then),
                     ", ".join("%s %.0f" % kv for kv in parts.items()) or "-"])
        return (most - then) / 1024

    def named(table, *names):
        return [r for r in table if r[0] in names]

    first = max(line(what + ", before any telemetry", named(before, what), named(plain_before, what))
                for what in ("master", "worker"))
    exporting = named(after, "exporting master", "exporting worker")
    if not exporting:
        raise RuntimeError("no thread named remora was found after traffic")
    kind = exporting[0][0].split()[1]
    export = line("exporting " + kind, exporting, named(plain_after, kind))
    further = line("further worker", named(after, "worker"), named(plain_after, "worker"))
    report.heading("Memory: nginx with %d workers, PSS in KiB, before and after %d requests, %d times" % (
        workers, 6 * 16 * workers * 50, times))
    report.table(["", "processes", "plain", "remora", "mean difference", "largest", "mappings of ours"], rows)
    report.note("All processes together after traffic: plain %.0f KiB, remora %.0f KiB." % (
        sum(r[1] for r in plain_after) / times, sum(r[1] for r in after) / times))
    spare = [r for r in named(after, "worker") if "libremora-export.so" in r[2]]
    report.note("%d of %d further workers had loaded libremora-export.so too." % (len(spare), len(named(after, "worker"))))
    report.goal("memory before the first telemetry, largest", "<= 1 MB", "%.2f MB" % first, first <= 1)
    report.goal("memory of the process that exports, largest", "<= 8 MB", "%.2f MB" % export, export <= 8)
    report.goal("memory of a further worker, largest", "<= 0.3 MB", "%.2f MB" % further, further <= 0.3)


# ---------------------------------------------------------------- idle

def run_idle(report, opts, place):
    rows, seconds = [], 3 if opts.quick else 10
    hosts = []
    for name in ("plain", "remora"):
        port = place.port() if name == "remora" else None
        hosts.append(("nginx, " + name, nginx(place, place.remora(port) if port else {}, workers=1), port))
        port = place.port() if name == "remora" else None
        d = os.path.join(place.dir, "www")
        place.write("www/index.html", "hello world\n")
        p = free_port()
        h = Program(place, [tool("python3"), "-m", "http.server", "--bind", "127.0.0.1", "--directory", d, "--protocol", "HTTP/1.1",
                            str(p)], place.remora(port) if port else {})
        h.port = p
        h.wait_listening(p)
        hosts.append(("python http.server, " + name, h, port))
    held = []
    for _, h, _ in hosts:
        traffic(h.port, 1, 20)
        # One connection stays open: so the thread is not ended, it sleeps.
        s = socket.create_connection(("127.0.0.1", h.port))
        s.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
        held.append(s)
    time.sleep(2 + 2 * DELAY_MS / 1000)
    before = [h.switches() for _, h, _ in hosts]
    time.sleep(seconds)
    worst = 0
    for (name, h, port), b in zip(hosts, before):
        now = h.switches()
        ours, rest = difference(now, b, True), difference(now, b, False)
        threads = sum(1 for k in now if k[1])
        spans = received(port)[1] if port else 0
        rows.append([name, threads if port else "-", "%d of 21" % spans if port else "-", ours if port else "-", rest])
        if port:
            worst = max(worst, ours if threads else 10 ** 6, rest - rows[len(rows) - 3][-1])
    for s in held:
        s.close()
    report.heading("Idle for %d s after traffic, a connection open: context switches" % seconds)
    report.table(["", "threads of ours", "spans", "of our thread", "of the program's threads"], rows)
    report.note("http.server polls twice a second by itself.")
    report.goal("wake-ups when idle, more than plain", "0", "no exporter thread seen" if worst >= 10 ** 6 else str(worst), worst <= 0)
