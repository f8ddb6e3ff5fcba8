"""What `make reference` prints."""
import os
import signal
import sys
import textwrap

sys.dont_write_bytecode = True
from stack import ROOT, Failed, Stack                    # noqa: E402

REQUESTS = [("GET", "/api/health-check", None), ("GET", "/api/activities/home", None),
            ("POST", "/api/activities", {"message": "Cloud is fun!"}), ("GET", "/api/activities/@andrewbrown", None),
            ("GET", "/api/activities/@nobody", None),
            ("POST", "/api/messages", {"message": "hello", "user_receiver_handle": "worf"}),
            ("GET", "/api/message_groups", None), ("GET", "/api/proxy", None), ("GET", "/api/broken", None)]


def tree(spans):
    """Lines: each trace, children under their parents, in order of time."""
    ids = {s["spanId"] for s in spans}
    lines = []

    def walk(parent, depth):
        for s in spans:
            if (s.get("parentSpanId") == parent) if parent else s.get("parentSpanId") not in ids:
                a = s["attributes"]
                ms = (int(s["endTimeUnixNano"]) - int(s["startTimeUnixNano"])) / 1e6
                what = a.get("url.full") or a.get("url.path") or ""
                lines.append("%s%s %s  %s  %.1f ms" % ("   " * depth + ("└─ " if depth else ""), s["name"], what,
                                                      a.get("http.response.status_code", ""), ms))
                walk(s["spanId"], depth + 1)
    spans = sorted(spans, key=lambda s: int(s["startTimeUnixNano"]))
    walk(None, 0)
    return lines


def document(d):
    aws = d.get("aws", {})
    what = " ".join(filter(None, [aws.get("operation"), aws.get("table_name")])) or d.get("http", {}).get("request", {}).get("url", "")
    return "%-14s %s  %s" % (d["name"], what, d["trace_id"])


def show(title, lines, none):
    print("\n%s\n" % title)
    for line in lines or ["(%s)" % none]:
        print("  " + line)


def main():
    dist = os.path.join(ROOT, "build", "dist", "remora", "libremora.so")
    preload = dist if os.path.exists(dist) else None
    print("Starting the reference stack on free ports (%s):\n" % ("LD_PRELOAD=" + os.path.relpath(dist, ROOT) if preload else
                                                                 "build/libremora.so; make dist makes the one for images"))
    extra = {"REMORA_CLOUDWATCH_LOG_GROUP": os.environ.get("REMORA_CLOUDWATCH_LOG_GROUP", "cruddur")}
    with Stack(preload, extra, say=lambda t: print("  " + t, flush=True)) as s:
        for m in s.missing:
            print("  not here: " + m)
        print()
        for method, path, body in REQUESTS:
            print("  %-4s %s%s  ->  %d" % (method, s.url, path, s.request(method, path, body)[0]), flush=True)
        want = len(REQUESTS)

        def arrived():
            return [x for x in s.spans() if x["kind"] == 2]
        try:
            s.wait("%d server spans arrived" % want, lambda: len(arrived()) > want)
        except Failed as e:
            print("\n  %s: %d did" % (e, len(arrived())))
        with_xray = "xray-daemon" in [name for name, _ in s.processes]
        if with_xray:
            try:
                s.wait("segments arrived", s.segments, 5)
            except Failed:
                pass
        show("Traces, at the collector:", tree(s.spans()), "none")
        show("Documents, forwarded by the X-Ray daemon (X-Ray samples: 1 a second, then 5 %):", [document(d) for d in s.segments()],
             "none: this version sends none" if with_xray else "the daemon is not here")
        show("Lines in CloudWatch Logs, group cruddur:", [textwrap.shorten(e, 110) for e in s.log_events("cruddur")], "none")
        if "--once" not in sys.argv:
            print("\n%s serves on, environment of docker-compose.yml; Ctrl-C ends all." % s.url, flush=True)
            try:
                while s.alive():
                    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                print("\na service ended:\n" + s.log("backend-flask")[-800:])
            except KeyboardInterrupt:
                pass
        print("\nEnding all.", flush=True)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(130))
    try:
        sys.exit(main())
    except Failed as e:
        print("reference: %s" % e, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nEnded.")
        sys.exit(130)
