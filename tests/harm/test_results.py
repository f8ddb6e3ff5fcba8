"""Results, errno, flags, bytes: one program per kind of call, with and without us.

Breaks on: errno set by a call of ours, a result that counts an injected header, a peeked byte counted as read, a
lost msg_control, an edited body, file, pipe or tunnel, a signal taken by our thread, a dlopen that forgets its caller.
"""
import sys
import os

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harm import *


@test
def errno_and_results_of_every_hooked_function():
    with Sandbox() as box:
        plain, traced = both(box, ["errno"], rc=0)
        # the sentinel: a call that succeeds does not touch errno, as in plain (and the program really ran)
        check(plain.out.count(b" 4242 ") > 100 and b"receive" not in plain.out, "the plain run: %r" % plain.out[-300:])
        told(box, path="/errno", server=30, client=30)


@test
def flags_peek_oob_pipelining_half_close():
    with Sandbox() as box:
        both(box, ["flags"], rc=0)
        told(box, path="/half", server=1, client=1)
        told(box, path="/peeked", server=1, client=1)       # peeked three times, told once
        told(box, path="/peek", server=1)                   # its client threw bytes away unseen (MSG_TRUNC)
        told(box, path="/pipe/7", server=1, client=1)


@test
def a_socket_that_moves_to_another_process():
    with Sandbox() as box:
        both(box, ["scm"], rc=0)
        told(box, path="/first", server=200, client=200, at_least=True)


@test
def bytes_that_are_no_request_of_ours():
    with Sandbox() as box:
        plain, traced = both(box, ["notours", box.path("notours.tmp")], rc=0)
        equal(plain.out.count(b"a file in its place"), 7, "cases of the program")
        check(b"traceparent" not in traced.out, "something was edited")
        told(box, path="/start", server=1, client=1)


@test
def timers_timeouts_and_whose_signals():
    with Sandbox() as box:
        plain, traced = both(box, ["timing"], rc=0)
        check(b"early" not in plain.out and b"signals 300 elsewhere 0" in plain.out, "plain %r" % plain.out)
        told(box, path="/ticks", server=300, client=300)


@test
def state_of_the_process():
    with Sandbox() as box:
        plain, traced = both(box, ["state"], rc=0, cwd=box.path("cwd", ""))
        check(b"rand 1804289383" in plain.out, "the plain program's first rand()")
        told(box, path="/state", server=30, client=30)


@test
def dlopen():
    with Sandbox() as box:
        plain, traced = both(box, ["dl"], rc=0)
        check(plain.out.count(b"zlib works") == 3, "plain %r" % plain.out)


@test
def dlopen_uses_the_callers_runpath():
    """dlopen looks at its return address: a wrapper that is not a tail-jump loses $ORIGIN."""
    with Sandbox() as box:
        d = box.path("lib", "")
        box.write("one.c", "int one(void){return 41;}")
        box.write("caller.c", "#include <dlfcn.h>\nint call(void){void*h=dlopen(\"libone_rp.so\",RTLD_NOW);"
                              "int(*f)(void)=h?(int(*)(void))dlsym(h,\"one\"):0;return f?f():1;}")
        box.write("main.c", "int call(void);int main(){return call();}")
        gcc = needs("gcc")
        for argv in (["-shared", "-fPIC", "one.c", "-o", "lib/libone_rp.so"],
                     ["-shared", "-fPIC", "caller.c", "-o", "libcaller.so", "-Wl,-rpath,$ORIGIN/lib,--enable-new-dtags"],
                     ["main.c", "-o", "main", "-L.", "-lcaller", "-Wl,-rpath,$ORIGIN"]):
            equal(box.run([gcc] + argv, traced=False).rc, 0, "gcc %s" % argv)
        both(box, [box.path("main")], rc=41)
        check(os.path.isdir(d), "lib")


@cases(exactly_the_minimum=0, a_little=1024, usual=4096)
def handler_on_a_small_stack(extra):
    with Sandbox() as box:
        plain, traced = both(box, ["altstack", str(extra)], rc=0)
        equal(plain.out, b"done 50\n", "the handler worked")
        # where there is no room for us the bytes pass unseen: the connection is let go, and nothing is invented
        for s in box.recv.spans():
            check(s["url.path"] in (None, "/alt") and s["http.response.status_code"] in (None, 200), "span %r" % s)


if __name__ == "__main__":
    main()
