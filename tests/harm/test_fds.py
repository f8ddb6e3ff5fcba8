# timeout: 400
"""File descriptors: the numbers that the program gets, and what happens when it closes all of them.

Breaks on: an fd of ours below the program's, one that becomes its stdin or a child's stderr, an arena or exporter that
does not survive close_range, a table that ends at 1024.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harm import *


@test
def lowest_free_numbers_during_traffic():
    with Sandbox() as box:
        plain, traced = both(box, ["fds", "lowest"], rc=0)
        equal(plain.out.count(b"\n"), 600, "numbers")
        told(box, path="/lowest", server=360, client=360)


@test
def started_with_0_1_2_closed():
    """The program's own files must become 0, 1 and 2."""
    with Sandbox() as box:
        path, seen = box.path("numbers"), []
        for traced in (False, True):
            r = box.run(["/bin/sh", "-c", 'exec 0<&- 1>&- 2>&-; exec "$@"', "sh", "/usr/bin/env"] +
                        (pairs(box) if traced else []) + [host("fds"), "closed", path], traced=False)
            equal(r.rc, 0, "exit status")
            with open(path) as f:
                seen.append(f.read().splitlines())
            os.unlink(path)
        equal(seen[0][:4], ["first 0", "second 1", "third 2", "fourth 3"], "plain")
        equal([x for x in zip(*seen) if x[0] != x[1]][:5], [], "numbers that differ")
        equal(len(seen[1]), len(seen[0]), "numbers in all")
        told(box, path="/lowest", server=360, client=360)


@cases(stdin="0<&-", stdout="1>&-", stderr="2>&-")
def started_with_one_closed(what):
    """A child's fds: nothing but what the program has is open, and what is written goes where it would."""
    with Sandbox() as box:
        script = "exec %s; exec \"$@\"" % what
        both(box, ["/bin/sh", "-c", "ls -l /proc/self/fd 2>/dev/null | wc -l; echo out; echo err >&2; exit 4"],
             script=script, rc=4)
        both(box, ["web", "5", "0"], script=script, rc=11)


@test
def high_numbers():
    with Sandbox() as box:
        plain, traced = both(box, ["fds", "high"], rc=0)
        n = plain.out.count(b"dup2 ") - 1
        check(n >= 6, "numbers tried: %r" % plain.out)
        told(box, path="/high", server=n, client=n)
        told(box, path="/open", server=n, client=n)


@cases(closefrom="closefrom", close_range="close_range", loop="loop", syscall="syscall")
def closes_everything(how):
    with Sandbox() as box:
        both(box, ["fds", how], rc=0)
        told(box, path="/before", server=1, client=1)
        told(box, path="/after", server=20, client=20)


@test
def children_inherit_nothing_of_ours():
    """The list of a child's fds, of a program that has been sending spans."""
    with Sandbox() as box:
        code = ("import socket,subprocess,threading,http.server,http.client\n"
                "s=http.server.HTTPServer(('127.0.0.1',0),http.server.BaseHTTPRequestHandler)\n"
                "s.RequestHandlerClass.log_message=lambda *a:None\n"
                "threading.Thread(target=s.serve_forever,daemon=True).start()\n"
                "for i in range(20):\n"
                " c=http.client.HTTPConnection(*s.server_address);c.request('GET','/x');c.getresponse().read();c.close()\n"
                "for close in (True,False):\n"
                " print(subprocess.run(['/bin/ls','/proc/self/fd'],stdout=-1,close_fds=close,env={}).stdout)\n")
        both(box, [PYTHON, "-c", code], rc=0)
        told(box, path="/x", server=20, client=20)


if __name__ == "__main__":
    main()
