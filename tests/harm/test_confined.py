# timeout: 600
"""Programs that confine themselves while our thread may be at work: seccomp, namespaces, chroot, other users.

Breaks on: a second thread when the kernel wants one, a call of ours under a filter that kills, a file that is opened
after chroot or setuid, an exporter that does not finish before either.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harm import *

FILTERS = ("strict", "strict_seccomp", "filter", "filter_seccomp", "filter_tsync", "filter_syscall", "filter_errno")


@cases(**{k: k for k in FILTERS})
def seccomp_after_start(mode):
    with Sandbox() as box:
        plain, traced = both(box, ["sandbox", mode], rc=13)
        equal(plain.out, b"done\n", "the filter was installed")
        told(box, path="/before", server=40, client=40)     # what was complete before the filter is not lost


@test
def seccomp_filter_present_at_exec():
    with Sandbox() as box:
        both(box, ["sandbox", "exec", host("web"), "30", "0"], rc=11)
        told(box, path="/web", server=30, client=30)


@cases(thread=("thread", 500), memory=("fork", 500), setns=("mnt", 500), user=("user", 25))
def alone_in_the_process(what):
    if what[0] in ("mnt", "user"):
        needs_root()
    with Sandbox() as box:
        plain, traced = both(box, ["ns", what[0], str(what[1])], rc=0, timeout=60)
        check(plain.out.endswith(b"%d of %d\n" % (what[1], what[1])), "plain: %r" % plain.out[-100:])
        told(box, path="/last", server=2, client=2)


@test
def unshare_and_nsenter():
    with Sandbox() as box:
        u = needs("unshare")
        both(box, [u, "-U", "true"], rc=0)
        both(box, [u, "-Ur", "id", "-u"], rc=0)
        both(box, [u, "-Ur", "--mount", "--pid", "--fork", "sh", "-c", "echo $$"], rc=0)
        if ROOT_USER:
            both(box, [needs("nsenter"), "-t", str(os.getpid()), "-m", "-U", "--preserve-credentials", "echo", "in"])
            both(box, [u, "-n", host("web"), "0", "0"], rc=11)


@test
def a_new_pid_namespace():
    """Our pids do not mean the same there; the program is pid 1."""
    needs_root()
    with Sandbox() as box:
        both(box, [needs("unshare"), "--pid", "--fork", "--mount-proc", host("web"), "30", "2"], rc=11)
        told(box, path="/web", server=60, client=60)


@test
def chroot_then_another_user():
    """All spans arrive, also those of requests served after it."""
    needs_root()
    with Sandbox() as box:
        jail = box.path("jail", "")
        os.chmod(box.dir, 0o755)
        for traced in (False, True):
            h = box.start([host("jail"), jail, "65534", "20"], r"port (\d+)", traced=traced)
            for i in range(20):
                out = raw_exchange(int(h.match.group(1)), b"GET /jail HTTP/1.1\r\nHost: x\r\n\r\n")
                equal(out, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "answer %d" % i)
            equal((h.wait(), h.out[1:], h.err), (12, ["served 20"], []), "end")
        told(box, path="/jail", server=20)
        equal(os.listdir(jail), [], "files in the jail")


@test
def setuid_program_of_a_plain_user():
    """AT_SECURE: the loader drops the preload without a word."""
    needs_root()
    with Sandbox(user="nobody") as box:
        os.chmod(box.dir, 0o755)
        prog = box.path("suid")
        shutil.copy(host("web"), prog)
        os.chown(prog, 0, 0)
        os.chmod(prog, 0o4755)
        both(box, [prog, "5", "0"], rc=11, script='exec %s --reuid=nobody --regid=nogroup --clear-groups "$@"' % needs("setpriv"))
        both(box, [prog, "5", "0"], rc=11)                      # as root it is loaded


@test
def setuid_to_another_user():
    """A program that is root and gives that up by exec'ing a setuid file of another user."""
    needs_root()
    with Sandbox() as box:
        os.chmod(box.dir, 0o755)
        prog = box.path("suid")
        shutil.copy(host("web"), prog)
        os.chown(prog, 65534, 65534)
        os.chmod(prog, 0o6755)
        both(box, [prog, "5", "0"], rc=11)


if __name__ == "__main__":
    main()
