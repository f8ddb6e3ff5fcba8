"""A crash becomes a Rollbar item and a local report, with names and lines; the program dies as without us."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
from harness import *
from rollbar_stub import Rollbar, TOKEN

SOURCE = """struct order { int n; };
static int parse_order(struct order *o) { o->n = 1; return o->n; }
int handle(struct order *o) { return parse_order(o) + 1; }
int main(void) { return handle(0) - 1; }
"""


def built(box):
    box.write("order.c", SOURCE)
    r = box.run([needs("gcc"), "-g", "-O0", "order.c", "-o", "order"], traced=False)
    equal(r.rc, 0, "gcc: %r" % r)
    return box.path("order")


def state(box):
    return {"REMORA_STATE_DIR": os.path.join(box.dir, "state"), "REMORA_RUNTIME_DIR": box.runtime}


@test
def item_and_report():
    with Sandbox() as box:
        rollbar = box.keep(Rollbar())
        exe = built(box)
        r = box.run([exe], env={**state(box), "ROLLBAR_ACCESS_TOKEN": TOKEN,
                                "ROLLBAR_ENDPOINT": rollbar.url})
        equal((r.rc, r.out, r.err), (-11, b"", b""), "the program's end")
        item, = rollbar.wait(1)
        rollbar.check()
        equal((item["title"], item["level"]), ("SIGSEGV in parse_order (order.c:2)", "critical"), "title and level")
        trace = item["body"]["trace"]
        equal([(f["method"], f["lineno"]) for f in trace["frames"]][-3:],
              [("main", 4), ("handle", 3), ("parse_order", 2)], "frames, the crash last")
        equal(trace["exception"]["class"], "SIGSEGV", "class")
        check("parse_order(o)" not in json.dumps(item), "source went along unasked")
        listed = box.run([LAUNCHER, "crashes"], traced=False, env=state(box))
        check(b"SIGSEGV in parse_order (order.c:2)" in listed.out, "remora crashes: %r" % listed)


@test
def source_lines_when_asked_for():
    with Sandbox() as box:
        rollbar = box.keep(Rollbar())
        exe = built(box)
        box.run([exe], env={**state(box), "REMORA_CRASH_SOURCE": "1", "ROLLBAR_ACCESS_TOKEN": TOKEN,
                            "ROLLBAR_ENDPOINT": rollbar.url})
        item, = rollbar.wait(1)
        rollbar.check()
        frame = item["body"]["trace"]["frames"][-1]
        equal(frame["code"], SOURCE.splitlines()[1], "code")
        equal(frame["context"]["post"], SOURCE.splitlines()[2:], "lines after it")


@test
def without_a_token_the_report_is_kept():
    with Sandbox() as box:
        exe = built(box)
        equal(box.run([exe], env={**state(box)}).rc, -11, "exit status")
        listed = box.run([LAUNCHER, "crashes"], traced=False, env=state(box))
        check(b"SIGSEGV in parse_order (order.c:2)" in listed.out, "remora crashes: %r" % listed)
        ident = [w for l in listed.out.decode().splitlines() if "SIGSEGV" in l for w in l.split()][1]
        shown = box.run([LAUNCHER, "crashes", "show", ident], traced=False, env=state(box)).out.decode()
        check("in parse_order" in shown and "order.c:2" in shown and "in main" in shown, "report %r" % shown)


@test
def off_when_switched_off():
    with Sandbox() as box:
        exe = built(box)
        equal(box.run([exe], env={**state(box), "REMORA_CRASH": "0"}).rc, -11, "exit status")
        listed = box.run([LAUNCHER, "crashes"], traced=False, env=state(box))
        check(b"SIGSEGV" not in listed.out, "remora crashes: %r" % listed)


if __name__ == "__main__":
    main()
