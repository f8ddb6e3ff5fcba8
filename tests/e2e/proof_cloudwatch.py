"""A million lines from four processes: `make cloudwatch-proof`, about two minutes. Exit 1 if a line is lost or doubled
while the backend is well, or a lost one is not counted while it is not.

usage: proof_cloudwatch.py [LINES] [PER_SECOND]
"""
import collections
import threading

from harness import *
from test_cloudwatch import Box
from cloudwatch_stub import CloudWatch, Reply

PROCS = 4
LINE = "INFO p%d line %d of the proof, as long as lines usually are in a log file"


def run(lines, rate, reply=None):
    """(seconds, peak of PSS in KB of the whole tree, counters, stub)"""
    with Box(CloudWatch(groups=["cruddur"]), REMORA_EXIT_WAIT_MS="10000", OTEL_BLRP_SCHEDULE_DELAY=None, OTEL_TRACES_EXPORTER="none",
             REMORA_LOG="debug") as box:
        box.cw.always = reply
        start, peak, log = time.monotonic(), 0, box.path("err")
        with open(box.path("out"), "wb") as out, open(log, "wb") as err:
            p = subprocess.Popen([os.path.join(BUILD, "hosts", "loglines"), str(PROCS), str(lines // PROCS), str(rate)],
                                 env=box.env(), stdout=out, stderr=err, start_new_session=True)
        while p.poll() is None:
            total = 0
            for pid in [p.pid, *map(int, subprocess.run(["pgrep", "-P", str(p.pid)], stdout=subprocess.PIPE).stdout.split())]:
                with contextlib.suppress(OSError):
                    with open("/proc/%d/smaps_rollup" % pid) as f:
                        total += int(re.search(r"^Pss: *(\d+)", f.read(), re.M).group(1))
            peak = max(peak, total)
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(0.5)
        seconds = time.monotonic() - start
        text = open(log, errors="replace").read()
        stops = [dict(re.findall(r"([a-z._]+) (\d+)", l)) for l in text.splitlines() if l.startswith("remora: stop:")]
        # those that an exporter gave up at its end are in the counters of the next one
        lost = sum(map(int, re.findall(r"(\d+) lines are lost", text[text.rfind("remora: stop:"):])))
        counts = stops[-1] if stops else {}
        return seconds, peak, counts, lost, collections.Counter(box.cw.messages()), list(box.cw.faults)


def main():
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    rate = int(sys.argv[2]) if len(sys.argv) > 2 else 20000
    bad = 0
    want = {LINE % (p, i) for p in range(PROCS) for i in range(lines // PROCS)}
    seconds, peak, counts, lost, got, faults = run(lines, rate)
    missing, doubled = len(want - set(got)), sum(n - 1 for n in got.values())
    print("%d lines at %d a second in %.0f s: %d missing, %d doubled, %d foreign, %d refused calls; tree's memory %.1f MB at most" % (
        lines, rate, seconds, missing, doubled, len(set(got) - want), len(faults), peak / 1024))
    bad |= missing or doubled or len(set(got) - want) or len(faults)
    for name, reply in (("well", None), ("not well", Reply(503))):
        seconds, peak, counts, lost, got, faults = run(lines, 0, reply)
        sent = sum(got.values())
        counted = int(counts.get("dropped.text", 0)) + int(counts.get("dropped.lines", 0)) + lost
        print("%d lines as fast as it goes, backend %s, in %.1f s: %d sent, %d counted as lost, %d wait in the arena; memory %.1f MB" % (
            lines, name, seconds, sent, counted, lines - sent - counted, peak / 1024))
        # what waits in the arena goes out with the next start; a line that was cut may count twice
        bad |= sent + counted > lines + 100 or (reply is None and sent + counted < lines - 100)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
