# serial
"""strace of unmodified tools: their own system calls, in order, with and without us.

Allowed more: what the loader does to map us, one block of our constructor's calls before main, and one getsockopt(SO_TYPE)
for each fd number that is read or written (is it a socket?). Beside that nothing: these programs do no networking. Breaks
on: an fd or a file that is opened for nothing, a thread, a call at exit or in a hook.
"""
import difflib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harm import *

ALLOWED = 40                    # in /bin/true, all in all
IN_CONSTRUCTOR = 25
CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+|\?)(.*)")
NUMBERED = {"openat", "open", "socket", "pipe2", "dup", "dup2", "dup3", "fcntl", "close", "read", "write", "fstat", "newfstatat",
            "lseek", "getdents64", "ioctl", "access"}


def calls_of(box, argv, traced):
    """The processes of a run, in order of their start: each a list of (call, result, arguments)."""
    base = box.path("strace", "t")
    shutil.rmtree(os.path.dirname(base))
    os.makedirs(os.path.dirname(base))
    # equal sizes of environment: what a program does with its own must not differ for that reason
    sets = ["-E" + p if traced else "-E" + re.sub("^LD_PRELOAD", "XD_PRELOAD", p) for p in pairs(box)]
    r = box.run([needs("strace"), "-ff", "-qq", "-s", "200", "-o", base] + sets + command(argv), traced=False)
    out = []
    for name in sorted(os.listdir(os.path.dirname(base)), key=lambda n: int(n.rsplit(".", 1)[1])):
        with open(os.path.join(os.path.dirname(base), name), errors="replace") as f:
            out.append(settled([m.group(1, 3, 2) for m in map(CALL.match, f) if m]))
    return r, out


def settled(calls):
    """Without what two plain runs do differently: the return from a signal handler (before or after a wait), and grep's
    reading of /proc/self/maps, which is as long as the map is."""
    out, maps = [], None
    for c in calls:
        if c[0] == "openat" and "/proc/self/maps" in c[2]:
            maps = c[1]
        if maps is None and c[0] != "rt_sigreturn":
            out.append(c)
        elif c[0] == "close" and c[2] == maps:
            maps = None
    return out


def essence(call):
    """What must be equal of a call; addresses, pids and times are not."""
    name, ret, args = call
    return name, ret if name in NUMBERED and not ret.startswith("0x") else None, \
        args.split(",")[1] if name == "openat" else None


def after_loader(calls):
    """The calls of constructors and main: all behind the loader's last step, unmapping its cache."""
    last = 0
    for i, c in enumerate(calls[:200]):
        if c[0] == "openat" and "ld.so.cache" in c[2]:
            last = next((j for j in range(i, len(calls)) if calls[j][0] == "munmap"), i)
            break
    return calls[last + 1:], last + 1


def without_classification(calls):
    """Less the question whether an fd is a socket: once for each number."""
    asked, out = set(), []
    for c in calls:
        if c[0] == "getsockopt" and "SO_TYPE" in c[2]:
            fd = c[2].split(",")[0]
            check(fd not in asked, "fd %s is asked for its type twice" % fd)
            asked.add(fd)
        else:
            out.append(c)
    return out


def same_calls(box, argv):
    (p, plain), (t, traced) = calls_of(box, argv, False), calls_of(box, argv, True)
    traced = [without_classification(c) for c in traced]
    compare(p, t)
    equal(len(traced), len(plain), "processes")
    more = []
    for a, b in zip(plain, traced):
        (mine, k), (theirs, n) = after_loader(a), after_loader(b)
        if k == 1:                      # a forked child: no loader, so no constructor either
            equal([essence(c) for c in b], [essence(c) for c in a], "calls of a forked child")
            continue
        x, y = [essence(c) for c in mine], [essence(c) for c in theirs]
        head = 0
        while head < len(x) and head < len(y) and x[head] == y[head]:
            head += 1
        tail = 0
        while tail < len(x) - head and tail < len(y) - head and x[-1 - tail] == y[-1 - tail]:
            tail += 1
        if head + tail < len(x):
            more_, less = {}, {}
            for op, i, j, k, m in difflib.SequenceMatcher(None, x, y, autojunk=False).get_opcodes():
                for c in theirs[k:m] if op in ("insert", "replace") else ():
                    more_.setdefault(c[0], []).append("%s = %s" % (c[2][:60], c[1]))
                for c in mine[i:j] if op in ("delete", "replace") else ():
                    less.setdefault(c[0], []).append(c[2][:60])
            raise AssertionError("calls of main changed: less %r, more %r" % (
                {n: (len(v), v[-1]) for n, v in less.items()}, {n: (len(v), v[-1]) for n, v in more_.items()}))
        block = theirs[head:len(theirs) - tail]
        check(len(block) <= IN_CONSTRUCTOR, "%d calls in the constructor: %r" % (len(block), [c[0] for c in block]))
        # main's first step of these programs is the locale or their input: our block is before that
        opened = next((i for i, c in enumerate(mine) if c[0] == "openat" and "locale" in c[2]), None)
        check(not block or opened is None or head <= opened, "calls of ours after main began: %r" % block[:5])
        check(not block or head < len(x) - 1 or len(x) == 1, "calls of ours at exit: %r" % block[:5])
        check(not any(c[0] in ("clone", "clone3", "socket", "connect", "fork", "vfork") for c in block), "block %r" % block)
        more.append((n - k, len(block)))
    return more


def programs(box):
    text = box.write("text", "".join("line %d\n" % (i * 7919 % 1000) for i in range(1000)))
    box.write("d/one", b"1")
    box.write("d/two", b"2" * 5000)
    d = os.path.dirname(text)
    return {
        "true": ["/bin/true"],
        "ls": ["/bin/ls", "-l", d + "/d"],
        "cat": ["/bin/cat", text],
        "grep": ["/bin/grep", "-n", "line 42", text],
        "sort": ["/usr/bin/sort", "--parallel=1", text],
        "sh": ["/bin/sh", "-c", "echo hi; /bin/true; ls %s/d | wc -l; exit 3" % d],
        "tar": ["/bin/tar", "-cf", "/dev/null", "-C", d, "d"],
        "tar_gz": ["/bin/sh", "-c", "tar -cf - -C %s d | cat >/dev/null" % d],
        "curl_file": [shutil.which("curl") or "curl", "-q", "-sS", "file://" + text],
        "python": [os.path.realpath(PYTHON), "-I", "-S", "-c", "print(1)"],
        "find": ["/usr/bin/find", d + "/d"],
    }


NAMES = "true ls cat grep sort sh tar tar_gz curl_file python find".split()


@cases(**{n: n for n in NAMES})
def calls_of_tool(name):
    with Sandbox() as box:
        argv = programs(box)[name]
        needs(argv[0])
        more = same_calls(box, argv)
        print("# %s: %s more calls by the loader, by the constructor" % (name, more))
        equal(box.recv.spans(), [], "spans")
        equal(os.listdir(box.runtime), [], "files in the runtime directory")


@test
def calls_of_true():
    with Sandbox() as box:
        (p, plain), (t, traced) = calls_of(box, ["/bin/true"], False), calls_of(box, ["/bin/true"], True)
        n = len(traced[0]) - len(plain[0])
        print("# /bin/true: %d calls plain, %d more with remora" % (len(plain[0]), n))
        check(n <= ALLOWED, "%d more calls" % n)


@test
def counts_of_a_program_that_does_networking():
    """strace -c's view of a host's own thread: each kind of call as often, but for a few of ours per process."""
    with Sandbox() as box:
        (p, plain), (t, traced) = calls_of(box, ["web", "100", "0"], False), calls_of(box, ["web", "100", "0"], True)
        compare(p, t)

        def counted(calls):
            out = {}
            for c in calls:
                out[c[0]] = out.get(c[0], 0) + 1
            return out
        a, b = counted(plain[0]), counted(traced[0])
        # an edited request leaves by another call of the same family; 3 fds are classified and one request is proved
        # by SO_COOKIE in each exchange; each new connection is asked for its addresses,
        # and memory that a call has not proved yet is probed with rt_sigprocmask before it is read
        for family in ({"write", "writev", "sendmsg", "sendto"}, {"read", "readv", "recvfrom", "recvmsg"}, {"accept", "accept4"},
                       {"connect"}, {"socket"}, {"close"}):
            x, y = (sum(c.get(k, 0) for k in family) for c in (a, b))
            # the host reads heads byte by byte, and ours are 70 bytes longer
            check(x <= y <= x + 30 + (7000 if "read" in family else 0), "%s: %d became %d" % (sorted(family), x, y))
        check(b.get("getsockopt", 0) - a.get("getsockopt", 0) <= 800, "getsockopt %d" % b.get("getsockopt", 0))
        grown = {k: n - a.get(k, 0) for k, n in b.items() if n != a.get(k, 0) and k not in ("getsockopt", "futex", "read")}
        rest = sum(grown.values())
        print("# 100 exchanges: %d calls plain, %d traced" % (sum(a.values()), sum(b.values())))
        check(rest <= 1000, "%d more calls beside getsockopt and futex: %r" % (rest, grown))


if __name__ == "__main__":
    main()
