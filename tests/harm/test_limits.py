# timeout: 900
"""Places where we find little or nothing: no /dev/shm, a full one, no /proc, small resource limits, a bad setting.

Breaks on: SIGBUS on a sparse file, SIGXFSZ, an fd or memory that the program needed, a thread that cannot be made, more
than one line on stderr, a delay.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harm import *

# The sandbox's runtime directory lies under /dev/shm: these take the default place instead, always in a /dev/shm of
# their own, since what is left in the real one is sent by the next process that finds it.
DEFAULT = {"REMORA_RUNTIME_DIR": None, "XDG_RUNTIME_DIR": None}


def in_mounts(mounts, argv=("web", "30", "0"), spans=30, rc=11, env=None):
    needs_root()
    needs("unshare")
    with Sandbox() as box:
        env = DEFAULT if env is None else env
        # mount tells the kernel; a plain run in the same place must work
        argv = command(list(argv))
        base = [needs("unshare"), "-m", "--propagation", "private", "/bin/sh", "-ec", mounts + '\nexec "$@"', "sh", "/usr/bin/env"]
        plain = box.run(base + argv, traced=False)
        equal(plain.rc, rc, "the plain program there (%r)" % plain)
        traced = box.run(base + pairs(box, env) + argv, traced=False)
        compare(plain, traced, warning=True)
        if spans:
            told(box, path="/web", server=spans, client=spans)


@test
def dev_shm_is_64_kb():
    in_mounts("mount -t tmpfs -o size=64k none /dev/shm")


@test
def dev_shm_is_full():
    in_mounts("mount -t tmpfs -o size=64k none /dev/shm; dd if=/dev/zero of=/dev/shm/x bs=1k count=100 2>/dev/null || :")


@test
def dev_shm_has_no_inodes():
    in_mounts("mount -t tmpfs -o nr_inodes=1 none /dev/shm")


@test
def dev_shm_is_read_only():
    in_mounts("mount -t tmpfs -o ro none /dev/shm")


@test
def dev_shm_is_absent():
    in_mounts("mount -t tmpfs none /dev; for f in null zero urandom; do touch /dev/$f; done; "
              "mknod -m 666 /dev/n c 1 3; mv /dev/n /dev/null; mknod -m 444 /dev/u c 1 9; mv /dev/u /dev/urandom")


@test
def dev_shm_of_somebody_else():
    """Another user got there first and made the directory, or a link in its place."""
    in_mounts("mount -t tmpfs none /dev/shm; mkdir -m 700 /dev/shm/remora-0; chown 65534 /dev/shm/remora-0")
    in_mounts("mount -t tmpfs none /dev/shm; mkdir /dev/shm/x; ln -s /dev/shm/x /dev/shm/remora-0; chmod 555 /dev/shm/x")


@test
def proc_is_absent():
    in_mounts("mount -t tmpfs none /dev/shm; mount -t tmpfs none /proc")


@test
def proc_is_read_only_and_sys_too():
    in_mounts("mount -t tmpfs none /dev/shm; mount -o remount,bind,ro /proc 2>/dev/null || mount -o ro -t proc none /proc; mount -t tmpfs -o ro none /sys")


@cases(nonexistent="/nonexistent/x", a_file="/etc/passwd", not_tmpfs="/var/tmp", empty="", relative="some/where",
       long="/dev/shm/" + "x" * 300, proc="/proc/self")
def runtime_directory(path):
    with Sandbox() as box:
        both(box, ["web", "30", "0"], rc=11, traced_env={"REMORA_RUNTIME_DIR": path}, warning=True)
        told(box, path="/web", server=30, client=30)


def limited(option, argv=("web", "30", "0"), rc=11, spans=30, user=None, warning=True):
    needs("prlimit")
    with Sandbox(user=user) as box:
        both(box, argv, rc=rc, script="exec prlimit %s %s\"$@\"" % (
            option, "setpriv --reuid=%s --regid=%s --clear-groups " % (user, "nogroup") if user else ""), warning=warning)
        if spans:
            told(box, path="/web", server=spans, client=spans)


@cases(mb32=32 << 20, mb64=64 << 20, mb256=256 << 20)
def address_space(size):
    limited("--as=%d" % size, spans=30 if size > (64 << 20) else 0)


@test
def address_space_with_threads():
    limited("--as=%d" % (128 << 20), argv=("web", "20", "4"), spans=0)


@cases(six=6, seven=7, eight=8, twelve=12)
def open_files(n):
    """Three for stdio, three for a connection and its listener: what is left, if anything, is not enough for us."""
    limited("--nofile=%d" % n, spans=0)


@test
def open_files_20():
    limited("--nofile=20")


@cases(zero=0, kb4=4096)
def file_size(n):
    limited("--fsize=%d" % n)


@test
def file_size_signal_is_the_programs_own():
    """A write beyond the limit still ends the program by SIGXFSZ."""
    with Sandbox() as box:
        code = "import signal,socket;signal.signal(signal.SIGXFSZ,signal.SIG_DFL);f=open('x','wb',0);f.write(b'x'*5000);f.write(b'y');print('?')"
        plain, traced = both(box, [PYTHON, "-c", code], script="exec prlimit --fsize=4096 \"$@\"")
        equal(plain.rc, -25, "plain ends by SIGXFSZ")


@test
def no_further_thread():
    """RLIMIT_NPROC binds only a plain user."""
    needs_root()
    limited("--nproc=1", user="nobody", spans=0)


@cases(stack="--stack=131072", data="--data=16777216", memlock="--memlock=0", core="--core=0", cpu="--cpu=30",
       nice="--nice=0", msgqueue="--msgqueue=0", sigpending="--sigpending=0")
def other_limits(option):
    limited(option)


SETTINGS = {
    "endpoint_no_url": {"OTEL_EXPORTER_OTLP_ENDPOINT": "not a url"},
    "endpoint_empty": {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    "endpoint_scheme": {"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://127.0.0.1:1"},
    "endpoint_no_host": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://no-such-host.invalid:4318"},
    "endpoint_closed_port": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    "endpoint_huge": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1/" + "x" * 100000},
    "sampler": {"OTEL_TRACES_SAMPLER": "bogus", "OTEL_TRACES_SAMPLER_ARG": "NaN"},
    "no_number": {"OTEL_BSP_SCHEDULE_DELAY": "abc"},
    "negative": {"OTEL_BSP_MAX_QUEUE_SIZE": "-5"},
    "huge_number": {"OTEL_EXPORTER_OTLP_TIMEOUT": "1e99"},
    "protocol": {"OTEL_EXPORTER_OTLP_PROTOCOL": "smoke-signals"},
    "headers": {"OTEL_EXPORTER_OTLP_HEADERS": "a=b\r\nEvil: x,,=,%zz"},
    "resource": {"OTEL_RESOURCE_ATTRIBUTES": "%%%,=,a==b,\xff"},
    "propagators": {"OTEL_PROPAGATORS": "pigeon"},
    "exporter": {"OTEL_TRACES_EXPORTER": "carrier"},
    "disabled": {"OTEL_SDK_DISABLED": "true"},
    "certificate": {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nonexistent", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1"},
}


@cases(**SETTINGS)
def misconfigured(env):
    """The same output and status, at most one warning line, no delay worth the name."""
    with Sandbox() as box:
        start = time.monotonic()
        both(box, ["web", "20", "2"], rc=11, traced_env=env, warning=True)
        check(time.monotonic() - start < 5 * PATIENCE, "took %.1f s" % (time.monotonic() - start))


@test
def nothing_configured():
    in_mounts("mount -t tmpfs none /dev/shm", spans=0,
              env={**DEFAULT, "OTEL_EXPORTER_OTLP_ENDPOINT": None, "OTEL_BSP_SCHEDULE_DELAY": None})


@cases(hang=Answer(action="hang"), reset=Answer(action="reset"), garbage=Answer(action="garbage"), refused=Answer(status=401),
       unavailable=Answer(status=503))
def destination_that_fails(answer):
    with Sandbox(receiver=Receiver(script=lambda r: answer)) as box:
        start = time.monotonic()
        both(box, ["web", "300", "2"], rc=11, warning=True)
        check(time.monotonic() - start < 5 * PATIENCE, "took %.1f s" % (time.monotonic() - start))


if __name__ == "__main__":
    main()
