"""What `make reference` prints."""
import json
import os
import re
import signal
import sys
import textwrap
import time

sys.dont_write_bytecode = True
from stack import FOUR, ROOT, Failed, Stack              # noqa: E402

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
                what = a.get("url.full") or a.get("url.path") or short(a.get("db.query.text", ""), 70)
                what = what if what != s["name"] else ""
                lines.append("%s%s %s  %s  %.1f ms" % ("   " * depth + ("└─ " if depth else ""), s["name"], what,
                                                      a.get("http.response.status_code", ""), ms))
                walk(s["spanId"], depth + 1)
    spans = sorted(spans, key=lambda s: int(s["startTimeUnixNano"]))
    walk(None, 0)
    return lines


def document(d):
    aws = d.get("aws", {})
    what = " ".join(filter(None, [aws.get("operation"), aws.get("table_name")])) or d.get("http", {}).get("request", {}).get("url") or \
        short(d.get("sql", {}).get("sanitized_query", ""), 70)
    rule = aws.get("xray", {}).get("sampling_rule_name")
    return "%-14s %s  %s%s" % (d["name"], what, d["trace_id"], "  by rule " + rule if rule else "")


def short(text, most=110):
    return textwrap.shorten(re.sub(r"\x1b\[\d+m", "", text), most)


def show(title, lines, none):
    print("\n%s\n" % title)
    for line in lines or ["(%s)" % none]:
        print("  " + line)


def main():
    dist = os.path.join(ROOT, "build", "dist", "remora", "libremora.so")
    preload = dist if os.path.exists(dist) else None
    print("Starting the reference stack on free ports (%s):\n" % ("LD_PRELOAD=" + os.path.relpath(dist, ROOT) if preload else
                                                                 "build/libremora.so; make dist makes the one for images"))
    whole = False
    with Stack(preload, FOUR, say=lambda t: print("  " + t, flush=True)) as s:
        for m in s.missing:
            print("  not here: " + m)
        print()
        with_xray = "xray-daemon" in [name for name, _ in s.processes]
        if with_xray:
            s.sampled_by_rules()
        begun = time.time_ns()
        for method, path, body in REQUESTS:
            print("  %-4s %s%s  ->  %d" % (method, s.url, path, s.request(method, path, body)[0]), flush=True)

        def arrived():
            return [x for x in s.spans() if int(x["startTimeUnixNano"]) > begun]

        def broken():
            return [x["traceId"] for x in arrived() if x["attributes"].get("url.path") == "/api/broken"]
        try:        # the item leaves last, when it is known what the request logged
            found = s.wait("the failed request is in all four places", lambda: (lambda f: all(f) and f)(
                s.of_trace(broken()[0]) if broken() else [None]))
            whole = True
        except Failed as e:
            print("\n  %s" % e)
            found = s.of_trace(broken()[0]) if broken() else ([], [], [], [])
        spans, documents, events, items = found
        traces = {x["traceId"] for x in arrived()}
        show("Traces, at the collector (health checks are left out by X-Ray's rule):" if with_xray else "Traces, at the collector:",
             tree(arrived()), "none")
        show("Documents, forwarded by the X-Ray daemon:",
             [document(d) for d in s.segments() if d["trace_id"].replace("-", "")[1:] in traces],
             "none" if with_xray else "the daemon is not here")
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begun // 10**9)) + ".%03dZ" % (begun // 10**6 % 1000)
        show("Lines in CloudWatch Logs, group cruddur:", [short(e["message"]) for e in map(json.loads, s.log_events("cruddur"))
                                                          if e["timestamp"] >= since], "none")
        show("Items in Rollbar:", ["%s: %s" % (i["level"], short(i["title"])) for i in list(s.rollbar.items)], "none")
        show("The failed request in all four, by its trace id %s:" % (spans[0]["traceId"] if spans else "?"),
             ["%-16s %s" % row for row in
              [("collector", tree([x])[0]) for x in spans] + [("X-Ray", document(d)) for d in documents] +
              [("CloudWatch Logs", short(e["message"])) for e in events] + [("Rollbar", short(i["title"])) for i in items]], "none")
        if "--once" not in sys.argv:
            try:
                print("\n%s serves on, environment of docker-compose.yml; Ctrl-C ends all." % s.url, flush=True)
                while s.alive():
                    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                print("\na service ended:\n" + s.log("backend-flask")[-800:])
            except KeyboardInterrupt:
                pass
        print("\nEnding all.", flush=True)
    return 0 if whole or "--once" not in sys.argv else 1


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
