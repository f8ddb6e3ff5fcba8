"""Crash scenarios of C and C++ programs built -O2 -s: ends, reports, frames against gdb's."""
from scenario_table import *

bench = Bench("stripped", SCENARIOS)


@cases(**{n: n for n in SCENARIOS})
def scenario(name):
    bench.check(name)


@test
def pairs_with_gdb():
    """How many were compared; a difference is a failure of its scenario unless the table explains it."""
    bench.told()


if __name__ == "__main__":
    with bench:
        bench.start(wanted(SCENARIOS))
        main()
