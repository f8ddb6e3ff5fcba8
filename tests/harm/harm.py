"""What the harm tests share: a program run plain and preloaded, and everything observable compared.

The programs are tests/hosts/*.c, built into build/hosts. They print only what two plain runs print alike. So a test is

    both(box, ["errno"])                    stdout, stderr and exit status or signal are equal
    told(box, server=3, client=3)           and the spans that the traffic must give arrived

REMORA_BUILD=DIR takes libremora.so and hosts/ from elsewhere: with an empty preload object every comparison passes
and every demand for spans fails.
"""
import difflib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))

from harness import *                                   # noqa: E402
from harness import BUILD, Finished, SHIM               # noqa: E402

ROOT_USER = os.geteuid() == 0


def host(name):
    path = os.path.join(BUILD, "hosts", name)
    check(os.path.exists(path), "%s is missing: make tests-build" % path)
    return path


def needs_root():
    if not ROOT_USER:
        raise Skip("root")


def differ(a, b):
    """The lines in which two outputs differ, few of them."""
    a, b = (x.decode("utf-8", "replace").splitlines() for x in (a, b))
    lines = [l for l in difflib.unified_diff(a, b, "plain", "traced", n=0, lineterm="")][2:]
    return " | ".join(lines[:12])


def compare(plain, traced, warning=False):
    """warning: one line of remora's own on stderr is allowed."""
    err = traced.err
    if warning:
        lines = err.splitlines(keepends=True)
        ours = [l for l in lines if l.startswith(b"remora")]
        check(len(ours) <= 1, "remora wrote %d lines to stderr: %r" % (len(ours), ours[:3]))
        err = b"".join(l for l in lines if l not in ours)
    if traced.rc != plain.rc:
        raise AssertionError("exit status %s became %s; output %s; stderr %r" % (
            plain.rc, traced.rc, differ(plain.out, traced.out), traced.err[-200:]))
    for what, p, t in (("stdout", plain.out, traced.out), ("stderr", plain.err, err)):
        if p != t:
            raise AssertionError("%s differs: %s" % (what, differ(p, t)))


def command(argv):
    return [host(argv[0])] + list(argv[1:]) if "/" not in argv[0] else list(argv)


def pairs(box, env=None):
    """What tracing adds to the environment, as NAME=VALUE for env(1)."""
    on, off = box.env(True, **(env or {})), box.env(False)
    return ["%s=%s" % kv for kv in on.items() if off.get(kv[0]) != kv[1]]


def both(box, argv, rc=None, env=None, traced_env=None, script=None, warning=False, **kw):
    """Runs argv (a host's name first) plain, then traced; compares; gives both results.

    script: a shell script that ends with `exec "$@"` and prepares the place (mounts, limits, another user); only
    what it execs is traced."""
    argv = command(argv)
    if script is None:
        plain = box.run(argv, traced=False, env=env, **kw)
        traced = box.run(argv, env={**(env or {}), **(traced_env or {})}, **kw)
    else:
        outer = {k: v for k, v in (env or {}).items() if v is not None}
        wrap = ["/bin/sh", "-ec", script, "sh", "/usr/bin/env"]
        plain = box.run(wrap + ["%s=%s" % kv for kv in outer.items()] + argv, traced=False, **kw)
        traced = box.run(wrap + pairs(box, {**(env or {}), **(traced_env or {})}) + argv, traced=False, **kw)
    if rc is not None:
        equal(plain.rc, rc, "the plain program's status (%r)" % plain)
    compare(plain, traced, warning)
    return plain, traced


def path_of(span):
    full = (span["url.full"] or "").split("/", 3)
    return span["url.path"] or ("/" + full[3] if len(full) == 4 else None)


def told(box, path=None, timeout=10, at_least=False, **kinds):
    """As many spans of each kind as there were requests: told(box, server=3, client=3, path="/x")."""
    def mine(s):
        return path is None or path_of(s) == path
    box.recv.wait(sum(kinds.values()), mine, timeout=timeout)
    for kind, n in kinds.items():
        got = len(box.recv.spans(lambda s: mine(s) and s.kind == (SERVER if kind == "server" else CLIENT)))
        check(got == n or at_least and got >= n, "%s spans of %s: expected %d, saw %d" % (kind, path or "all", n, got))
