"""Crashes of a program in which remora's own thread runs: its locks, its memory, its faults.

14, 25, 47, 49 of crash-capture.md, section 4; tests/hosts/crash_served.c.
"""
import contextlib

from scenario_table import *


def spans(*names):
    """The requests that were complete before the crash have arrived."""
    return lambda reports, build, more: check({s.name for s in more["spans"]} >= set(names), "spans %r" % more["spans"])


def hanging(box):
    box.recv.script = lambda request: Answer(action="hang")


@one
def ours_told(r, build, more):
    """The thread is gone, its fault is told like any; the program lives on."""
    r.has("remora_export_main", "thread_main")
    equal((r.thread["name"], r.custom["unwind"]), ("remora", "dwarf"), "thread and unwinding")


SERVED = dict(exe="crash_served", extra=1)
FAULT = dict(frames=("fault", "main"), **SERVED)
SCENARIOS = {
    "fault": Scenario(47, (SEGV, MAPERR, "0x0"), **FAULT, look=both_of(in_time, spans("GET"))),
    "heap_top_one_arena": Scenario(14, (ABRT, TKILL), args=["heap_top"], env={"MALLOC_ARENA_MAX": "1"}, frames=("break_top", "main"), **SERVED,
                                   look=both_of(in_time, says(message=r"malloc\(\): corrupted top size"))),
    "in_malloc": Scenario(47, (SEGV, MAPERR, "0x0"), **FAULT, look=in_time),
    "in_curl": Scenario(47, (SEGV, MAPERR, "0x0"), args=["fault"], **FAULT, box=hanging, look=in_time),
    "no_arena": Scenario(25, (SEGV, MAPERR, "0x0"), **{**FAULT, "extra": 0}, partial=True, look=in_time),
    "ours_faults": Scenario(47, (SEGV, ACCERR), **SERVED, warns=True, look=both_of(ours_told, in_time)),
    "ours_then_fault": Scenario(47, (SEGV, MAPERR, "0x0"), (SEGV, ACCERR), n=2, **{**SERVED, "extra": 0}, warns=True, look=in_time),
    "ours_handled": Scenario(47, (SEGV, ACCERR), **SERVED, warns=True, look=both_of(ours_told, in_time)),
    "waits": Scenario(47, **SERVED),
    "passed_on": Scenario(23, **SERVED),
    "killed": Scenario(49, **SERVED),
}
BENCHES = {build: Bench(build, SCENARIOS) for build in ("o0", "o2", "stripped")}


# With one arena the message depends on what our thread has beside the top: the same at -O2.
CASES = {"%s_%s" % (n, build): (build, n) for n in SCENARIOS for build in BENCHES if n != "heap_top_one_arena" or build == "o2"}


@cases(**CASES)
def scenario(case):
    build, name = case
    BENCHES[build].check(name)


if __name__ == "__main__":
    with contextlib.ExitStack() as all_of:
        for build, bench in BENCHES.items():
            all_of.enter_context(bench)
            bench.start([n for case, (b, n) in CASES.items() if b == build and wanted([case])])
        main()
