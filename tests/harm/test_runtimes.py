# timeout: 600
"""Other libraries that interpose, and programs that no preload reaches.

Breaks on: memory taken from one allocator and freed by the other, a call of ours that ASan or its leak checker sees,
an order of preloads, a launcher that starts what cannot work.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harm import *
from harness import ROOT

LIBS = "/usr/lib/x86_64-linux-gnu"


def library(name):
    path = os.path.join(LIBS, name)
    if not os.path.exists(path):
        raise Skip(name)
    return path


ALLOCATORS = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4", "mimalloc": "libmimalloc.so.2"}


@cases(**ALLOCATORS)
def allocator(name):
    with Sandbox() as box:
        lib = library(name)
        n = 0
        for argv, spans in ((["web", "200", "4"], 800), (["forks", "fork_http", "20"], 0), (["exits", "thread_exit"], 0)):
            plain = box.run(command(argv), traced=False, env={"LD_PRELOAD": lib})
            for order in (lib + " " + SHIM, SHIM + " " + lib):
                compare(plain, box.run(command(argv), env={"LD_PRELOAD": order}))
                n += spans
        told(box, path="/web", server=n, client=n)


@test
def python_under_another_allocator():
    with Sandbox() as box:
        lib = library("libjemalloc.so.2")
        up = box.keep(Upstream())
        argv = [PYTHON, "-c", "import urllib.request as u\nfor i in range(20): print(len(u.urlopen('%s/ok').read()))" % up.url]
        plain = box.run(argv, traced=False, env={"LD_PRELOAD": lib})
        for order in (lib + " " + SHIM, SHIM + " " + lib):
            compare(plain, box.run(argv, env={"LD_PRELOAD": order}))
        told(box, path="/ok", client=40)


def compiled(box, *flags):
    """web.c with gcc's AddressSanitizer (clang's flags have other names)."""
    out = box.path("web_asan")
    r = box.run([needs("gcc"), "-O1", "-g", "-pthread", "-fsanitize=address", "-fno-omit-frame-pointer",
                 os.path.join(ROOT, "tests", "hosts", "web.c"), "-o", out] + list(flags), traced=False)
    if b"cannot find" in r.err:
        raise Skip("libasan")
    equal(r.rc, 0, "gcc: %r" % r)
    return out


ASAN = {"ASAN_OPTIONS": "detect_leaks=1:strict_init_order=1:check_initialization_order=1"}


@test
def asan_inside_the_program():
    with Sandbox() as box:
        both(box, [compiled(box, "-static-libasan"), "100", "2"], rc=11, env=ASAN)
        told(box, path="/web", server=200, client=200)


@test
def asan_preloaded_before_us():
    with Sandbox() as box:
        lib = needs_libasan()
        prog = compiled(box)
        plain = box.run([prog, "100", "2"], traced=False, env=ASAN)
        equal(plain.rc, 11, "plain %r" % plain)
        compare(plain, box.run([prog, "100", "2"], env={**ASAN, "LD_PRELOAD": lib + " " + SHIM}))
        told(box, path="/web", server=200, client=200)


def needs_libasan():
    r = subprocess.run([needs("gcc"), "-print-file-name=libasan.so"], stdout=subprocess.PIPE, check=True)
    path = r.stdout.decode().strip()
    if "/" not in path:
        raise Skip("libasan")
    return os.path.realpath(path)


@test
def asan_through_the_launcher():
    """gcc's libasan refuses to come second: the launcher puts it first."""
    with Sandbox() as box:
        prog = compiled(box)
        plain = box.run([prog, "50", "2"], traced=False, env=ASAN)
        traced = box.run([LAUNCHER, "run", "--", prog, "50", "2"], env={**ASAN, "LD_PRELOAD": None})
        compare(plain, traced, warning=True)
        told(box, path="/web", server=100, client=100)


@test
def static_program():
    with Sandbox() as box:
        both(box, ["static", "x"], rc=17)
        equal(box.recv.spans(), [], "spans")


@test
def musl_program_by_the_launcher():
    """It would die in the loader: the launcher says why and starts nothing, or starts it untraced."""
    with Sandbox() as box:
        gcc = needs("musl-gcc")
        box.write("m.c", '#include <stdio.h>\nint main(){puts("musl runs");return 9;}')
        equal(box.run([gcc, "m.c", "-o", "m"], traced=False).rc, 0, "musl-gcc")
        plain = box.run([box.path("m")], traced=False)
        equal((plain.rc, plain.out), (9, b"musl runs\n"), "plain")
        r = box.run([LAUNCHER, "run", "--", box.path("m")], env={"LD_PRELOAD": None})
        check(b"musl" in r.err and r.err.count(b"\n") <= 2, "stderr must name the reason: %r" % r)
        check(b"relocating" not in r.err, "the loader spoke: %r" % r)
        check((r.rc, r.out) in ((126, b""), (9, plain.out)), "it must refuse with 126, or run it untouched: %r" % r)


@cases(missing="/no/such/program", directory="/", text="/etc/passwd")
def launcher_as_a_shell_would(path):
    with Sandbox() as box:
        r = box.run([LAUNCHER, "run", "--", path], env={"LD_PRELOAD": None})
        equal((r.rc, r.out, r.err.count(b"\n")), (127 if "no" in path else 126, b"", 1), "status, output, lines: %r" % r)


@test
def launcher_is_transparent():
    with Sandbox() as box:
        for argv, rc in ((["exits", "return"], 20), (["exits", "segv"], -11), (["exits", "term"], -15)):
            plain = box.run(command(argv), traced=False)
            equal(plain.rc, rc, "plain")
            compare(plain, box.run([LAUNCHER, "run", "--"] + command(argv), env={"LD_PRELOAD": None}))


if __name__ == "__main__":
    main()
