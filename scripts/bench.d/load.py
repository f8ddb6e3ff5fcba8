"""nginx, Flask and node under load: throughput, CPU time per request, spans against requests."""
import os
import re
import subprocess
import time

import setups
from common import *


RENEW = 1               # rounds between new processes: a process keeps its luck with memory
DISTURBED = 0.08        # of a core, by others

# A client that sleeps until the answer comes makes the server's send() wake it, at 1 to 2 us where cores are virtual, and
# sleeps the oftener the slower the server is: the ratio would show how often it slept. So wrk polls, unless asked not to.
POLLING = True


class Variant:
    """One program to be measured. `start` makes it; `exporter_cpu`: where the thread "remora" is put."""

    def __init__(self, name, start, port=None, exporter_cpu=SERVER_CPU):
        self.name, self.start, self.port, self.exporter_cpu = name, start, port, exporter_cpu
        self.slices, self.program = [], None
        self.earlier = self.lost = 0

    def renew(self):
        """Another process, for where it lies in memory and how its threads settle are worth some percent."""
        if self.program:
            self.earlier = self.drained()[0]
            self.program.stop()
        self.program = self.start()

    def drained(self):
        """Requests and spans so far, when all have arrived or nothing arrives any more."""
        want = self.earlier + self.program.count()
        if not self.port:
            return want, 0
        spans = received(self.port)[1]
        moved = time.monotonic()
        while spans < want - self.lost and time.monotonic() - moved < 3 * DELAY_MS / 1000 + 1:
            time.sleep(0.05)
            now = received(self.port)[1]
            if now != spans:
                spans, moved = now, time.monotonic()
        self.lost = want - spans
        return want, spans


class Slice:
    """What one slice of load showed."""


def wrk(port, connections, seconds, watch):
    """Runs wrk; calls watch() meanwhile. (requests, requests per second, CPU share of wrk, complaints)"""
    env = dict(os.environ, LD_PRELOAD=compiled("poll", "-shared", "-fPIC")) if POLLING else None
    with on_cpu(LOAD_CPU):
        start = time.monotonic()
        p = subprocess.Popen([tool("wrk"), "-t1", "-c%d" % connections, "-d%ds" % seconds, "http://127.0.0.1:%d/" % port],
                             env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = start + seconds + 30
    while True:
        pid, status, usage = os.wait4(p.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > deadline:
            p.kill()
        watch()
        time.sleep(0.05)
    p.returncode = status
    text = p.stdout.read()
    p.stdout.close()
    m = re.search(r"(\d+) requests in ([\d.]+)s", text)
    if status or not m:
        raise RuntimeError("wrk: %s" % text)
    bad = re.findall(r"^\s*(Socket errors.*|Non-2xx.*)$", text, re.M)
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", text).group(1))
    return int(m.group(1)), rate, (usage.ru_utime + usage.ru_stime) / (time.monotonic() - start), bad


def busy(cpu):
    """Seconds that this CPU has worked, or was taken away by the hypervisor."""
    m = re.search(r"^cpu%d (.*)" % cpu, read("/proc/stat"), re.M)
    t = [int(x) / os.sysconf("SC_CLK_TCK") for x in m.group(1).split()]
    return t[0] + t[1] + t[2] + t[5] + t[6] + t[7]


def spent(v, receiver):
    """Seconds of CPU on (the servers' core, the other core) that are ours"""
    cpu = v.program.cpu()
    both = [sum(c for k, c in cpu.items() if not k[1]) / 1e9, sum(receiver.cpu().values()) / 1e9]
    both[v.exporter_cpu != SERVER_CPU] += sum(c for k, c in cpu.items() if k[1]) / 1e9
    both[1] += sum(os.times()[:4])
    return both


def measure(v, connections, seconds, receiver):
    s = Slice()
    v.program.place(v.exporter_cpu)
    requests0, spans0 = v.drained()
    cpu0 = v.program.cpu()
    core0, mine0, start = (busy(SERVER_CPU), busy(LOAD_CPU)), spent(v, receiver), time.monotonic()
    _, s.rate, s.wrk, s.bad = wrk(v.program.port, connections, seconds, lambda: v.program.place(v.exporter_cpu))
    prompt = received(v.port)[1] if v.port else 0
    core1, mine1, took = (busy(SERVER_CPU), busy(LOAD_CPU)), spent(v, receiver), time.monotonic() - start
    s.foreign = [max(0.0, (core1[i] - core0[i]) - (mine1[i] - mine0[i])) / took for i in (0, 1)]
    requests1, spans1 = v.drained()
    cpu1 = v.program.cpu()
    n = requests1 - requests0
    s.requests, s.spans = n, spans1 - spans0
    s.late = max(0.0, 1 - (prompt - spans0) / n)
    s.busy = difference(cpu1, cpu0, False) / 1e9 / (n / s.rate)
    s.worker = difference(cpu1, cpu0, False) / n / 1000
    s.exporter = difference(cpu1, cpu0, True) / n / 1000
    s.per_span = difference(cpu1, cpu0, True) / max(1, s.spans) / 1000
    return s


def rounds(place, variants, connections, opts):
    """Rounds in which other programs worked are taken again, as many as there should have been at the most."""
    tries = 0
    while len(variants[0].slices) < opts.rounds:
        if tries % RENEW == 0:
            for v in variants:
                v.renew()
                measure(v, connections, 1, place.receiver)      # warm
        one = {v: measure(v, connections, opts.seconds, place.receiver)
               for v in (variants if tries % 2 == 0 else variants[::-1])}       # a drift hits all alike
        tries += 1
        foreign = max(max(s.foreign) for s in one.values()) if SERVER_CPU != LOAD_CPU else 0
        again = foreign > DISTURBED and tries - len(variants[0].slices) <= opts.rounds
        if not again:
            for v in variants:
                v.slices.append(one[v])
        say("    round %d of %d: %s%s" % (len(variants[0].slices) + again, opts.rounds,
                                          ", ".join("%s %.0f/s" % (v.name, one[v].rate) for v in variants),
                                          "; others worked (%.0f %%), again" % (100 * foreign) if again else ""))
    return tries - opts.rounds


def table(report, title, variants, again):
    base = variants[0]
    rows, ratios = [], {}
    for v in variants:
        rate = [s.rate / b.rate for s, b in zip(v.slices, base.slices)]
        cpu = [s.worker / b.worker for s, b in zip(v.slices, base.slices)]
        whole = [(s.worker + s.exporter) / b.worker for s, b in zip(v.slices, base.slices)]
        ratios[v.name] = median(rate), median(cpu), median([s.per_span for s in v.slices])
        first = v is base
        has = any(s.exporter for s in v.slices)
        rows.append([v.name, "%.0f" % median([s.rate for s in v.slices]), "1" if first else spread(rate),
                     "%.2f" % median([s.worker for s in v.slices]), "1" if first else spread(cpu),
                     "%.2f" % median([s.per_span for s in v.slices]) if has else "-",
                     "1" if first else "%.3f" % median(whole),
                     "%.0f %%" % (100 * median([s.late for s in v.slices])) if v.port else "-",
                     "%.2f" % median([s.busy for s in v.slices]), "%.2f" % median([s.wrk for s in v.slices])])
    report.heading(title)
    report.table(["", "requests/s", "throughput ratio", "worker us/request", "ratio", "exporter us/span",
                  "worker + exporter ratio", "sent after the load", "worker busy", "wrk busy"], rows)
    if SERVER_CPU != LOAD_CPU:
        foreign = [median([s.foreign[i] for v in variants for s in v.slices]) for i in (0, 1)]
        worst = max(max(s.foreign) for v in variants for s in v.slices)
        report.note("Other programs had %.0f %% of the servers' core and %.0f %% of the other; %d rounds were taken again%s." % (
            100 * foreign[0], 100 * foreign[1], again,
            ". NOT QUIET: these numbers are of little worth" if worst > DISTURBED else ""))
    for v in variants:
        bad = [b for s in v.slices for b in s.bad]
        if bad:
            report.note("%s: wrk says: %s" % (v.name, "; ".join(sorted(set(bad)))))
        if v.port:
            requests, spans = v.drained()
            malformed = received(v.port)[3]
            lost = requests - spans
            report.note("%s: %d requests, %d spans%s%s" % (
                v.name, requests, spans, ", %d lost (%.2f %%)" % (lost, 100 * lost / requests) if lost else "",
                ", %d messages malformed" % malformed if malformed else ""))
            if v.name.startswith("remora"):
                report.goal("%s, %s: spans lost" % (title.split(":")[0], v.name), "0", str(lost), lost == 0)
    return ratios


def with_control(variants, opts):
    if opts.control:
        variants.insert(1, Variant("plain again", variants[0].start))
    return variants


def asleep():
    return "" if POLLING else ", which sleeps between answers"


def run_nginx(report, opts, place):
    a, b = place.port(), place.port()
    variants = with_control([
        Variant("plain", lambda: nginx(place, {}, cpu=SERVER_CPU)),
        Variant("remora", lambda: nginx(place, place.remora(a), cpu=SERVER_CPU), a),
        Variant("remora, exporter on the other core", lambda: nginx(place, place.remora(b), cpu=SERVER_CPU), b, LOAD_CPU)], opts)
    again = rounds(place, variants, 64, opts)
    r = table(report, "nginx: 1 worker, 12-byte file, wrk -c64" + asleep(), variants, again)
    same, other = r["remora"], r["remora, exporter on the other core"]
    report.goal("nginx throughput, exporter on the other core", ">= 0.95", "%.3f" % other[0], other[0] >= 0.95)
    report.goal("nginx worker CPU a request, exporter on the other core", "<= 1.08", "%.3f" % other[1], other[1] <= 1.08)
    report.goal("nginx worker CPU a request, exporter on the same core", "<= 1.08", "%.3f" % same[1], same[1] <= 1.08)
    report.goal("exporter CPU a span (other core)", "<= 1 us", "%.2f us" % other[2], other[2] <= 1)
    report.goal("exporter CPU a span (same core)", "<= 1 us", "%.2f us" % same[2], same[2] <= 1)


def with_sdk(report, opts, place, host, sdk, connections, title):
    a, b = place.port(), place.port()
    variants = with_control([Variant("plain", lambda: host(place, {}, cpu=SERVER_CPU)),
                             Variant("remora", lambda: host(place, place.remora(a), cpu=SERVER_CPU), a)], opts)
    if sdk:
        url = "http://127.0.0.1:%d" % b
        variants.append(Variant("OpenTelemetry SDK", lambda: host(place, exporting(url), cpu=SERVER_CPU, sdk=True), b))
    again = rounds(place, variants, connections, opts)
    return table(report, title, variants, again)["remora"][0]


def run_flask(report, opts, place):
    r = with_sdk(report, opts, place, flask, setups.python(), 4, "Flask: gunicorn gthread, 1 worker, 4 threads, wrk -c4" + asleep())
    report.goal("Flask throughput", ">= 0.98", "%.3f" % r, r >= 0.98)


def run_node(report, opts, place):
    r = with_sdk(report, opts, place, node, setups.node(), 16, "node: http.createServer, wrk -c16" + asleep())
    report.goal("node throughput", ">= 0.94", "%.3f" % r, r >= 0.94)
