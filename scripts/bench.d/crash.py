"""What crash capture costs: the handler, the way to a local receiver, hosts that live on signals and threads."""
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time

from common import *

LOOPS = [("trap", "SIGILL handler that skips (ud2)", 40000), ("null", "SIGSEGV handler that skips", 40000),
         ("jump", "sigsetjmp, SIGSEGV, siglongjmp", 40000), ("threads", "pthread_create, pthread_join", 6000)]


class Items:
    """Takes items as Rollbar does; when each was there (CLOCK_MONOTONIC)."""

    def __init__(self):
        items, self.times, self.titles = self, [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                items.times.append(time.monotonic_ns())
                if self.headers.get("Content-Encoding") != "gzip":
                    items.titles.append(json.loads(body)["data"].get("title"))
                answer = b'{"err":0,"result":{"id":null,"uuid":"x"}}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/api/1/item/" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, n, seconds=20):
        end = time.monotonic() + seconds
        while len(self.times) < n and time.monotonic() < end:
            time.sleep(0.0005)
        return len(self.times) >= n


def out(argv, env):
    r = subprocess.run(argv, env=environment(**env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        raise RuntimeError("%s: %s" % (argv[0], r.stderr[-500:]))
    return r.stdout


def on_tmpfs(place):
    d = os.path.join(place.runtime, "crashes")
    shutil.rmtree(d, ignore_errors=True)
    os.mkdir(d, 0o700)
    return d


def handler(report, opts, place, exe):
    """From the fault to the death. No helper beside the library: capture alone, and the file stays."""
    alone = os.path.join(place.dir, "alone")
    os.mkdir(alone)
    lone = shutil.copy(SHIM, alone)
    d = on_tmpfs(place)
    base = {"REMORA_RUNTIME_DIR": d, "REMORA_STATE_DIR": place.dir, "REMORA_CRASH_WAIT_MS": "0", "OTEL_TRACES_EXPORTER": "none"}
    variants = [("plain", {}), ("REMORA_CRASH=0", {"LD_PRELOAD": lone, "REMORA_CRASH": "0", **base}),
                ("captured, durable", {"LD_PRELOAD": lone, **base}), ("captured, helper started, nobody waits", {"LD_PRELOAD": SHIM, **base})]
    rows, n = [], 5 if opts.quick else 15
    for threads in (0, 20):
        got = {name: [] for name, _ in variants}
        for _ in range(3 if opts.quick else opts.rounds):
            for name, env in variants:
                text = out([exe, "run", str(n), d, str(threads), "/usr/bin/env"] + ["%s=%s" % kv for kv in env.items()] + [exe], {})
                got[name] += [tuple(map(int, line.split())) for line in text.splitlines()]
        plain = {i: median([g[i] for g in got["plain"]]) / 1e6 for i in (0, 1)}
        for name, _ in variants:
            w, c = (sorted(g[i] / 1e6 for g in got[name]) for i in (0, 1))
            rows.append(["%s, %d more threads" % (name, threads), len(w), "%.2f" % median(w), "%.2f" % (median(w) - plain[0]),
                         "%.2f" % (median(c) - plain[1]), "%.2f" % (quartiles(c)[0] - plain[1]), "%.2f" % (w[0] - min(g[0] for g in got["plain"]) / 1e6)])
            if name.startswith("captured, durable"):
                best = median(c) - plain[1]
                report.goal("crash: own CPU, %d more threads" % threads, "<= 1 ms", "%.2f ms" % best, best <= 1)
    report.heading("Crash: from the fault to the death, ms; core files off")
    report.table(["", "crashes", "wall, median", "more than plain", "CPU more, median", "CPU more, lower quartile", "wall more, best"], rows)


def delivered(report, opts, place, exe):
    items = Items()
    d = on_tmpfs(place)
    env = {"LD_PRELOAD": SHIM, "REMORA_RUNTIME_DIR": d, "REMORA_STATE_DIR": place.dir, "OTEL_TRACES_EXPORTER": "none",
           "ROLLBAR_ACCESS_TOKEN": "0" * 32, "ROLLBAR_ENDPOINT": items.url}
    took = []
    for _ in range(5 if opts.quick else 20):
        n = len(items.times)
        text = out([exe, "run", "1", place.dir + "/none", "0", "/usr/bin/env"] + ["%s=%s" % kv for kv in env.items()] + [exe], {})
        if not items.wait(n + 1):
            raise RuntimeError("no item came")
        took.append((items.times[n] - int(text.split()[2])) / 1e6)
    report.heading("Crash: from the fault to the item at a local receiver, ms")
    rows = [["the helper, exec'd by the handler", len(took), spread(sorted(took), "%.0f")]]
    best = median(took)
    # A worker, whose tree has an exporter in another process; a new tree each time, for items of one kind are rationed.
    port, took = place.port(), []
    for i in range(5 if opts.quick else 10):
        p = nginx(place, {**place.remora(port), "REMORA_RUNTIME_DIR": on_tmpfs(place), "REMORA_STATE_DIR": "%s/state-%d" % (place.dir, i),
                          "ROLLBAR_ACCESS_TOKEN": "0" * 32, "ROLLBAR_ENDPOINT": items.url}, workers=2)
        end = time.monotonic() + 10
        while True:
            ask(p.port)
            owners = {pid for pid, _, ours in p.threads() if ours}
            workers = set(p.pids()) - {p.pid} - owners
            if owners and workers and received(port)[0] > 0:
                break
            if time.monotonic() > end:
                raise RuntimeError("nobody exports")
        n, start = len(items.times), time.monotonic_ns()
        os.kill(workers.pop(), signal.SIGSEGV)
        if not items.wait(n + 1):
            raise RuntimeError("no item came")
        took.append((items.times[n] - start) / 1e6)
        p.stop()
    rows.append(["nginx worker, the tree's exporter in another process", len(took), spread(sorted(took), "%.0f")])
    report.table(["by", "crashes", "median (quartiles)"], rows)
    report.goal("crash to item, by the helper", "<= 100 ms", "%.0f ms" % best, best <= 100)


def hosts(report, opts, place, exe):
    variants = [("plain", {}), ("off", {**place.remora(place.port()), "REMORA_CRASH": "0"}), ("on", place.remora(place.port()))]
    programs = [(what, [exe, name, str(n // 10 if opts.quick else n)]) for name, what, n in LOOPS]
    try:
        subprocess.run([tool("javac"), "-d", place.dir, os.path.join(HERE, "Nulls.java")], check=True)
        programs.append(("JVM, NullPointerException by SIGSEGV", [tool("java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
                                                                 place.dir, "Nulls", "20000" if opts.quick else "200000"]))
    except (Skip, subprocess.CalledProcessError) as e:
        report.note("no JVM: %s" % e)
    rows = []
    for what, argv in programs:
        got = {name: [] for name, _ in variants}
        for i in range(opts.rounds * 3):
            for name, env in variants if i % 2 else variants[::-1]:
                with on_cpu(SERVER_CPU):
                    got[name].append(float(out(argv, env).split()[0]))
        plain, off = ([on / b for on, b in zip(got["on"], got[k])] for k in ("plain", "off"))
        least = min(got["on"]) / min(got["plain"])
        rows.append([what, "%.0f" % median(got["plain"]), "%+.0f" % (median(got["on"]) - median(got["plain"])), spread(plain), spread(off),
                     "%.3f" % least])
        r = min(median(plain), median(off))
        report.goal("crash: %s, against plain or REMORA_CRASH=0" % what, "<= 1.02", "%.3f" % r, r <= 1.02)
        say("    %s" % what)
    report.heading("Programs that live on signals and do not crash: ns of CPU each, %d runs in turn" % (opts.rounds * 3))
    report.table(["", "plain", "remora", "against plain", "against REMORA_CRASH=0", "least against least"], rows)


def run_crash(report, opts, place):
    exe = compiled("crash")
    handler(report, opts, place, exe)
    delivered(report, opts, place, exe)
    hosts(report, opts, place, exe)
