# timeout: 1200
"""fork, vfork, exec, exit, cancellation and signals, as storms beside traced traffic.

Breaks on: a lock that a fork copies, a table that a vfork child updates, a guard held by a cancelled thread, a wrapper
that takes a stack frame vfork must not have, an environment or argument list that changes, an exit that hangs.
"""
import sys
import os

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harm import *

KINDS = ("fork", "fork_http", "vfork", "_Fork", "clone", "clone_vm", "spawn", "spawnp", "daemon", "popen")


@cases(**{k: k for k in KINDS})
def storm_of(kind):
    with Sandbox() as box:
        both(box, ["forks", kind, "150"], rc=0, timeout=60)
        told(box, path="/between", server=15, client=15)
        told(box, path="/after", server=1, client=1)
        if kind == "fork_http":
            told(box, path="/child", server=150, client=150)
        if kind == "daemon":
            told(box, path="/daemon", server=150, client=150)


@cases(vfork="vfork", clone="clone")
def vfork_child_closes_everything(how):
    with Sandbox() as box:
        both(box, ["vforkfd", how], rc=0)
        told(box, path="/open", server=12, client=12)
        told(box, path="/next", server=12, client=12)
        told(box, path="/wrong", server=0, client=0)


EXECS = ("execve execv execvp execvpe execl execle execlp execveat fexecve spawn spawnp vfork null_env empty_env no_args "
         "null_args huge open").split()
OURS = re.compile(r"env \d+ (OTEL_|REMORA_|LD_PRELOAD=)")


@cases(**{k: k for k in EXECS})
def arguments_and_environment(kind):
    """The new image sees what the program gave; inside an open request a TRACEPARENT may be added, else nothing."""
    with Sandbox() as box:
        seen = []
        path = box.path("seen")
        for traced in (False, True):
            r = box.run([host("execenv"), kind, path], traced=traced)
            equal((r.rc, r.out, r.err), (0, kind.encode() + b": child 5\n", b""), "traced" if traced else "plain")
            if kind == "null_args":
                path = box.path("noargs")
            with open(path) as f:
                lines = [l for l in f.read().splitlines() if not OURS.match(l)]
            os.unlink(path)
            added = [l for l in lines if re.match(r"env \d+ (TRACEPARENT|TRACESTATE|BAGGAGE)=", l)]
            check(not added or kind == "open" and traced, "added %r" % added)
            check(len(added) <= 1, "added %r" % added)
            for l in added:
                check(re.match(r"env 67 TRACEPARENT=00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$", l), "TRACEPARENT is %r" % l)
            seen.append([l for l in lines if l not in added])
        equal(seen[1], seen[0], "arguments and environment")
        told(box, path="/last", server=1, client=1)


@cases(restart="restart", eintr="eintr")
def signal_storm(mode):
    with Sandbox() as box:
        plain, traced = both(box, ["storm", mode, "2000"], rc=0, timeout=60)
        equal(plain.out[:15], b"hits 1 bad 0 na", "the storm hit and its handler worked")
        told(box, path="/storm", server=5999, client=5999, timeout=20)


@test
def cancelled_threads_and_small_stacks():
    with Sandbox() as box:
        plain, traced = both(box, ["cancel"], rc=0, timeout=60)
        check(b"cancelled 240, other 0" in plain.out, "plain: %r" % plain)
        told(box, path="/after", server=2, client=2)
        told(box, path="/tiny", server=20, client=20)


@test
def before_constructors_and_after_exit_began():
    with Sandbox() as box:
        both(box, ["early"], rc=6)
        for path in ("/main", "/atexit"):
            told(box, path=path, server=1, client=1)


@test
def a_library_whose_constructor_runs_before_ours():
    with Sandbox() as box:
        lib = host("earlylib")
        prog = host("early")
        plain = box.run([prog], traced=False, env={"LD_PRELOAD": lib})
        equal((plain.rc, plain.out[:17]), (6, b"preinit done\ncons"), "plain %r" % plain)
        for order in (SHIM + " " + lib, lib + " " + SHIM):
            compare(plain, box.run([prog], env={"LD_PRELOAD": order}))


EXITS = {"return": 20, "threads": 24, "thread_exit": 21, "main_pthread_exit": 21, "handler": 23, "handler_exit": 22,
         "quick": 25, "_exit": 26, "_Exit": 27, "syscall": 28, "abort": -6, "segv": -11, "fpe": -8, "term": -15,
         "kill": -9, "pipe": -13, "child": 59, "raise_in_atexit": -6, "open": 32}


@cases(**{k: k for k in EXITS})
def ends_by(mode):
    """The same status or signal and output, in time."""
    with Sandbox() as box:
        start = time.monotonic()
        box.run([host("exits"), mode], traced=False)
        plain_time = time.monotonic() - start
        start = time.monotonic()
        both(box, ["exits", mode], rc=EXITS[mode])
        took = time.monotonic() - start - 2 * plain_time
        check(took < 3 * PATIENCE, "ended %.1f s later than plain" % took)


@cases(**{k: k for k in ("return", "threads", "thread_exit", "handler_exit", "_exit", "child", "open")})
def told_although_it_ends_by(mode):
    with Sandbox() as box:
        both(box, ["exits", mode], rc=EXITS[mode])
        told(box, path="/one", server=1, client=1)


@cases(**{k: k for k in ("quick", "syscall", "kill", "term", "abort", "segv", "handler")})
def told_at_the_latest_by_the_next_start_after(mode):
    """No handler of ours runs there: the black box keeps what was complete."""
    with Sandbox() as box:
        both(box, ["exits", mode], rc=EXITS[mode])
        both(box, ["web", "1", "0"], rc=11)
        told(box, path="/web", server=1, client=1)
        told(box, path="/one", server=1, client=1)
        equal(box.recv.duplicates, 0, "spans sent twice")


@test
def exit_with_a_destination_that_never_answers():
    """A bounded flush: default 500 ms."""
    with Sandbox(receiver=Receiver(script=lambda r: Answer(action="hang"))) as box:
        both(box, ["exits", "return"], rc=20)
        start = time.monotonic()
        box.run([host("exits"), "return"])
        took = time.monotonic() - start
        check(took < 3 * PATIENCE, "exit took %.1f s" % took)


@test
def core_dump_signal_is_reported_as_such():
    """WCOREDUMP and the signal as the parent's wait sees them."""
    with Sandbox() as box:
        code = ("import os,resource,sys\nresource.setrlimit(resource.RLIMIT_CORE,(1<<24,1<<24))\n"
                "st=os.waitpid(os.posix_spawn(sys.argv[1],sys.argv[1:],os.environ),0)[1]\n"
                "print(os.WTERMSIG(st),os.WCOREDUMP(st))")
        for mode in ("abort", "segv"):
            both(box, [PYTHON, "-c", code, host("exits"), mode], rc=0, cwd=box.path("cores", ""))


if __name__ == "__main__":
    main()
