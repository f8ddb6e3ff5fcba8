"""The scenarios of crash-capture.md, section 4, that C and C++ programs show; see scenarios.py.

Each: its number, what the report must say (signal, si_code, address) and which functions must stand in it, innermost first.
"""
from scenarios import *


def one(check_it):
    """A look at the only report."""
    return lambda reports, build, more: check_it(reports[0], build, more)


def says(**want):
    """Attributes of the only report that contain a text."""
    def look(reports, build, more):
        for key, text in want.items():
            check(re.search(text, getattr(reports[0], key)), "%s: %r" % (key, getattr(reports[0], key)))
    return look


def both_of(*looks):
    return lambda *a: [f(*a) for f in looks]


def line_of(text, source="crash_c.c", nth=0):
    with open(os.path.join(HOSTS, source)) as f:
        return [i for i, l in enumerate(f, 1) if text in l][nth]


NULL_LINE = line_of("*null = 1;")


@one
def null(r, build, more):
    equal((r.message, r.description), ("Address not mapped to object at 0x0", "write to NULL, thread crash_c (tid %d)" % r.pid), "words")
    if build != "stripped":
        equal(r.title, "SIGSEGV in c (crash_c.c:%d)" % NULL_LINE, "title")
        equal((r.frames[0].name, r.frames[0].line), ("c", NULL_LINE), "the crashed line")
        check(r.frames[0].file.endswith("tests/hosts/crash_c.c"), "file %r" % r.frames[0].file)
    else:
        check(re.fullmatch(r"SIGSEGV in crash_c\+0x[0-9a-f]+", r.title), "title %r" % r.title)


@one
def overflow(r, build, more):
    check(r.description.startswith("stack overflow, thread "), r.description)
    check(any(f.times > 100 for f in r.frames), "no folded recursion: %r" % r.names)
    check(len(r.trace["frames"]) <= 256 and any("repeated" in f.get("code", "") for f in r.trace["frames"]), "the item's frames")


def on_thread(name=None, main=True):
    def look(r, build, more):
        check(r.custom["tid"] != r.pid, "it is the main thread")
        check(name is None or (r.custom["thread_name"], r.thread["name"]) == (name, name), "thread %r" % r.thread["name"])
        check(not main or any(t["tid"] == r.pid and not t.get("crashed") for t in r.custom["threads"]), "the main thread is missing")
        check(build == "stripped" or {"start_thread", "clone3"} <= set(r.names) or "start_thread" not in str(r.frames), "%r" % r.names)
    return one(look)


def jump(ip):
    return one(lambda r, build, more: equal((r.frames[0].ip, r.description.split(",")[0]),
                                            (ip, "jump to " + ("NULL" if ip == 0 else "%#x" % ip)), "the jump"))


def threads(n):
    return one(lambda r, build, more: check(len([t for t in r.custom["threads"] if t["frames"]]) >= n,
                                            "%d threads" % len(r.custom["threads"])))


def sender(text, other=False):
    def look(r, build, more):
        check(text in r.description, r.description)
        equal(r.custom["si_uid"], os.getuid(), "sender's uid")
        equal(r.custom["si_pid"] != r.pid, other, "sender %d of %d" % (r.custom["si_pid"], r.pid))
        check(not other or r.message == "Sent by process %d (uid %d)" % (r.custom["si_pid"], os.getuid()), r.message)
    return one(look)


def title(named, file="crash_c", source="crash_c.c"):
    def look(r, build, more):
        got = re.fullmatch(r"(?:SIG[A-Z]+|[a-z_]+::[a-z_]+) in (.*?)(?: \((.*)\))?", r.title)
        if build == "stripped" and file.endswith(".so"):        # it is exported
            equal((got[1], got[2]), (named, file), "title")
        elif build == "stripped":
            check(got[1].startswith(file + "+0x"), "title %r" % r.title)
        else:
            check(got[1] == named and got[2].startswith(source + ":"), "title %r" % r.title)
    return one(look)


@one
def smashed(r, build, more):
    equal(r.custom["unwind"], "stack_corrupt", "unwind")
    check("the stack is corrupt" in r.text, "the text does not say so")
    check(r.frames[0].ip == int(r.custom["registers"]["rip"], 16), "frame 0")
    # argv and the environment lie in what was overwritten: what is told of them was copied before.
    equal(r.item["server"]["argv"][0], more["exe"], "argv")


@one
def one_frame(r, build, more):
    # At -O0 the frame pointer still leads to main.
    equal((len([f for f in r.frames if f.kind != "scan"]), r.custom["registers"]["rsp"]), (2 if build == "o0" else 1, "0x10"), "frames and rsp")
    check("act" == r.frames[0].name or r.frames[0].module == more["exe"], "frame 0: %r" % (r.frames[0],))


def through_handler(*outside):
    def look(r, build, more):
        at = r.names.index(SIGNAL)
        check(at > 0 and len(r.names) > at + len(outside), "frames %r" % r.names)
        if build != "stripped":
            r.has("c", "b", "a", "crash_in_handler", SIGNAL, *outside)
    return one(look)


def children(reports, build, more):
    pids = [r.pid for r in reports]
    equal(len(set(pids)), len(pids), "each report has its process")
    check(all(r.pid == r.custom["tid"] for r in reports), "tids")


@one
def files_are_whole(r, build, more):
    equal(more["files"].get("data"), b"0123456789", "the program's file")


@one
def told_first(r, build, more):
    """What the handler got is the cause, what it did then is not."""
    check(r.message.startswith("Address not mapped to object at 0x0"), r.message)
    check(build == "stripped" or r.names[:3] == ["c", "b", "a"], "frames %r" % r.names)


def in_time(reports, build, more):
    """Within a second of what a null write takes, whose report needs no lock."""
    check(more["seconds"] < more["usual"] + PATIENCE, "%.2f s; usual are %.2f s" % (more["seconds"], more["usual"]))


# gdb 13 takes only lines that are marked as statements: for the call in parse_order.cold it names a destructor of libstdc++
# that was inlined before it, where ours is the line of the throw; for the call of __stack_chk_fail the line before the brace.
THROW = dict(exe="crash_cxx", why={"o2": "lines"})
CXX = dict(exe="crash_cxx")
DL = dict(exe="crash_dl", lib="crash_lib.c")
CHAIN = ("c", "b", "a", "main")

SCENARIOS = {
    "null": Scenario(1, (SEGV, MAPERR, "0x0"), frames=CHAIN, look=null),
    "memcpy": Scenario(2, (SEGV, MAPERR), frames=("main",),
                       look=one(lambda r, b, m: check(r.frames[0].module is None or "libc" in r.frames[0].module, "%r" % (r.frames[0],)))),
    "overflow": Scenario(3, (SEGV, MAPERR), frames=("deeper", "main"), look=overflow),
    "overflow_thread": Scenario(4, (SEGV, ACCERR), frames=("deeper", "thread_deeper"), look=both_of(overflow, on_thread("diver"))),
    "overflow_c11": Scenario(4, (SEGV, ACCERR), frames=("deeper",), look=both_of(overflow, on_thread())),
    "jump0": Scenario(5, (SEGV, MAPERR, "0x0"), frames=("main",), look=jump(0)),
    "jump_unmapped": Scenario(6, (SEGV, MAPERR, "0x1234567000"), frames=("main",), look=jump(0x1234567000)),
    "jump_noncanonical": Scenario(6, (SEGV, KERNEL, None), frames=("main",), look=says(message="address unknown")),
    "jump_stack": Scenario(6, (SEGV, ACCERR), frames=("main",), look=says(description="jump to 0x7")),
    "thread": Scenario(7, (SEGV, MAPERR, "0x0"), frames=("c", "b", "a", "thread_a"), look=on_thread()),
    "threads": Scenario(7, (SEGV, MAPERR, "0x0"), frames=CHAIN, look=threads(21)),
    "abort": Scenario(10, (ABRT, TKILL), frames=("main",), look=both_of(title("act"), sender("the process itself"))),
    "assert": Scenario(11, (ABRT, TKILL), frames=("main",), look=both_of(title("act"), says(message=r"act: Assertion `zero == 1' failed\."))),
    "double_free": Scenario(12, (ABRT, TKILL), frames=("free", "twice", "main"),
                            look=both_of(title("twice"), says(message=r"double free or corruption \(!prev\)"))),
    "heap_top": Scenario(13, (ABRT, TKILL), frames=("malloc", "break_top", "main"),
                         look=both_of(title("break_top"), says(message=r"malloc\(\): corrupted top size"), threads(2), in_time)),
    "heap_top_one_arena": Scenario(14, (ABRT, TKILL), args=["heap_top"], env={"MALLOC_ARENA_MAX": "1"},
                                   frames=("malloc", "break_top", "main"),
                                   look=both_of(title("break_top"), says(message=r"malloc\(\): corrupted top size"), threads(2), in_time)),
    "heap_all": Scenario(15, (SEGV, MAPERR, "0x0"), frames=CHAIN, look=in_time),
    "smash": Scenario(16, (SEGV, None), frames=(), look=smashed, live=False),
    "watched": Scenario(16, (ABRT, TKILL), frames=("__stack_chk_fail", "watched"), why={"o2": "lines"}, look=both_of(
        title("watched"), says(message=r"\*\*\* stack smashing detected \*\*\*: terminated"))),
    "sp16": Scenario(17, (SEGV, MAPERR), look=one_frame),
    "fpe": Scenario(18, (FPE, 1), frames=("main",), look=says(message="Integer divide by zero at 0x", description="Integer divide by zero")),
    "ud2": Scenario(19, (ILL, 2), frames=("main",), look=says(message="Illegal operand at 0x")),
    "bus": Scenario(20, (BUS, 2), frames=("main",), look=says(message="Nonexistent physical address at 0x7")),
    "int3": Scenario(21, (TRAP, KERNEL), frames=("main",), look=says(message="Breakpoint")),
    "raise_sys": Scenario(21, (SYS, TKILL), frames=("raise", "main")),
    "sys": Scenario(21, (SYS, 1), frames=("main",), look=says(message="System call refused by seccomp")),
    "raise": Scenario(22, (SEGV, TKILL), frames=("raise", "main"), look=sender("the process itself")),
    "kill": Scenario(22, (SEGV, USER), frames=("kill", "main"), look=sender("the process itself")),
    "other_kill": Scenario(23, (SEGV, USER), frames=("main",), look=sender("another process", True), live=False),
    "crowd": Scenario(24, (SEGV, MAPERR, "0x0"), frames=("c", "b", "a", "crowd"), look=threads(8)),
    "in_handler": Scenario(26, (SEGV, MAPERR, "0x0"), look=through_handler("raise", "main")),
    "in_alt_handler": Scenario(26, (SEGV, MAPERR, "0x0"), look=through_handler("raise", "main")),
    "deep_alt_handler": Scenario(26, (SEGV, MAPERR, "0x0"), look=both_of(through_handler("raise", "dive", "diver"), on_thread())),
    "iterate_other": Scenario(27, (SEGV, MAPERR, "0x0"), frames=CHAIN, look=in_time),
    "iterate": Scenario(28, (SEGV, MAPERR, "0x0"), frames=("c", "b", "a", "iterate", "dl_iterate_phdr", "main")),
    "dlopen": Scenario(28, (SEGV, MAPERR, "0x0"), args=["called"], env={"CRASH_LIB": "begin"}, **DL,
                       look=both_of(title("lib_fault", "crash_lib.so", "crash_lib.c"), one(lambda r, b, m: check(
                           any("ld-linux" in str(f.module) or f.name.startswith(("_dl_", "call_init", "dl_open")) for f in r.frames),
                           "no frame of the loader")))),
    "linked": Scenario(29, (SEGV, MAPERR, "0x0"), exe="crash_linked", env={"CRASH_LIB": "begin"}, args=["linked"],
                       look=title("lib_fault", "crash_lib.so", "crash_lib.c")),
    "atexit": Scenario(30, (SEGV, MAPERR, "0x0"), frames=("c", "b", "a", "at_exit", "exit")),
    "after_main": Scenario(30, (SEGV, MAPERR, "0x0"), exe="crash_linked", env={"CRASH_LIB": "end"}, args=["linked"],
                           look=title("lib_fault", "crash_lib.so", "crash_lib.c")),
    "dlclose": Scenario(30, (SEGV, MAPERR, "0x0"), args=["close"], env={"CRASH_LIB": "end"}, **DL,
                        look=title("lib_fault", "crash_lib.so", "crash_lib.c")),
    "closed": Scenario(30, (SEGV, MAPERR), exe="crash_dl", lib="crash_lib.c", why={b: "names" for b in BUILDS},
                       look=both_of(title("lib_fault", "crash_lib.so", "crash_lib.c"),
                                    says(description=r"jump to 0x[0-9a-f]+.*; /.*/crash_lib\.so had been unloaded"),
                                    one(lambda r, b, m: b == "stripped" or r.has("lib_fault", "call", "main")))),
    "fork_child": Scenario(31, (SEGV, MAPERR, "0x0"), frames=CHAIN),
    "fork_parent": Scenario(31, (SEGV, MAPERR, "0x0"), frames=CHAIN),
    "fork_thread_child": Scenario(31, (SEGV, ACCERR), frames=("deeper", "thread_deeper"), look=both_of(overflow, on_thread("diver"))),
    "vfork_child": Scenario(32, (SEGV, MAPERR, "0x0"), (SEGV, MAPERR, "0x0"), n=2, frames=CHAIN, look=children),
    "no_fds": Scenario(33, (SEGV, MAPERR, "0x0"), frames=CHAIN, look=files_are_whole),
    "recover": Scenario(34, (SEGV, MAPERR, "0x0"), frames=CHAIN),
    "save_restore": Scenario(34, (SEGV, MAPERR, "0x0"), frames=CHAIN),
    "plain_handler": Scenario(34, (SEGV, MAPERR, "0x0"), frames=CHAIN),
    "reraise": Scenario(34, (SEGV, MAPERR, "0x0"), frames=CHAIN, first=True, look=told_first),
    "handler_aborts": Scenario(34, (SEGV, MAPERR, "0x0"), frames=CHAIN, first=True, look=told_first),
    "resethand": Scenario(34, (SEGV, MAPERR, "0x0"), frames=CHAIN),
    "ignore_sent": Scenario(34), "ignore_fault": Scenario(34), "ignore_exec": Scenario(34),
    "onstack_overflow": Scenario(34, (SEGV, None), frames=("deeper", "main")),
    "jump_loop": Scenario(35, look=in_time), "jump_overflow": Scenario(35, look=in_time),
    "libunwind": Scenario(34, (SEGV, MAPERR, "0x0"), exe="crash_unwinds", lib="/usr/lib/x86_64-linux-gnu/libunwind.so.8",
                          frames=("fault", "outer", "main")),
    "backtrace": Scenario(34, (SEGV, MAPERR, "0x0"), exe="crash_unwinds", frames=("fault", "outer", "main")),
    "throw": Scenario(40, (ABRT, TKILL), cls="shop::order_error", **THROW,
                      frames=("std::terminate", "__cxa_throw", "shop::parse_order", "shop::handle", "main"),
                      look=title("shop::parse_order", "crash_cxx", "crash_cxx.cc")),
    "rethrow": Scenario(40, (ABRT, TKILL), cls="shop::order_error", **CXX, frames=("std::terminate", "__cxa_rethrow", "rethrow", "main"),
                        look=title("rethrow", "crash_cxx", "crash_cxx.cc")),
    "noexcept": Scenario(40, (ABRT, TKILL), cls="shop::order_error", **CXX, frames=("__gxx_personality_v0", "_Unwind_Resume", "shop::quiet", "main")),
    "cxx_thread": Scenario(40, (ABRT, TKILL), args=["thread"], cls="shop::order_error", **THROW,
                           frames=("std::terminate", "__cxa_throw", "shop::parse_order", "shop::handle"),
                           look=both_of(title("shop::parse_order", "crash_cxx", "crash_cxx.cc"), on_thread())),
    "own_terminate": Scenario(40, (ABRT, TKILL), **THROW, frames=("own_terminate", "std::terminate", "__cxa_throw",
                                                                  "shop::parse_order", "shop::handle", "main")),
    "caught": Scenario(40, **CXX, lib="crash_throw.cc"),
    "caught_fault": Scenario(40, (SEGV, MAPERR, "0x0"), **CXX, lib="crash_throw.cc", frames=("shop::cart::add", "main")),
    "timeout": Scenario(43, (SEGV, MAPERR, "0x0"), args=["null"], wrap=[shutil.which("timeout") or "timeout", "20"], frames=CHAIN),
    "env": Scenario(43, (SEGV, MAPERR, "0x0"), args=["null"], wrap=[shutil.which("env") or "env"], frames=CHAIN),
    "shell": Scenario(43, (SEGV, MAPERR, "0x0"), args=["null"], wrap=["/bin/sh", "-c", '"$@" 2>/dev/null; exit $?', "sh"], frames=CHAIN),
    "oom": Scenario(44, (SEGV, MAPERR, "0x0"), frames=("run_out", "main")),
    "as": Scenario(44, (SEGV, MAPERR, "0x0"), frames=CHAIN, flush=True),
    "closed_std": Scenario(45, (SEGV, MAPERR, "0x0"), frames=CHAIN),
    "cwd_gone": Scenario(45, (SEGV, MAPERR, "0x0"), frames=CHAIN),
    "full_fds": Scenario(45, (SEGV, MAPERR, "0x0"), frames=CHAIN),
    "small_altstack": Scenario(48, (SEGV, MAPERR), frames=("deeper", "main"), look=overflow),
}


def wanted(names):
    return [n for n in names if len(sys.argv) < 2 or any(w in "scenario_" + n for w in sys.argv[1:])]
