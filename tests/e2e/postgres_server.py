"""PostgreSQL servers of the tests: each its own process and data, none of them traced."""
import atexit
import os
import shutil
import signal
import subprocess
import tempfile

from harness import Sandbox, TestCA, check, free_port, needs

_made = None


def _bindir():
    return os.path.dirname(os.path.realpath(needs("postgres")))


def _user():
    return "nobody" if os.geteuid() == 0 else None      # it does not run as root


def _template():
    """What initdb makes, once."""
    global _made
    if _made is None:
        made = tempfile.mkdtemp(prefix="remora-pg-")
        atexit.register(shutil.rmtree, made, True)
        os.chmod(made, 0o755)
        with Sandbox(user=_user()) as box:
            os.chmod(box.dir, 0o755)
            i = box.start([os.path.join(_bindir(), "initdb"), "-D", box.dir + "/db", "-A", "trust", "-U", "me", "-N",
                           "-E", "UTF8", "--wal-segsize=1"],
                          traced=False, env={"LC_ALL": "C"})
            check(i.wait(60) == 0, "initdb: %r" % i.lines[-3:])
            shutil.move(box.dir + "/db", made + "/db")
        _made = made + "/db"
    return _made


class Postgres:
    """A server on a free TCP port and a Unix socket, started before the constructor returns.

    Everybody is trusted but the user `locked`, who has a password."""

    def __init__(self, box, ssl=False):
        self.box, self.bindir = box, _bindir()
        os.chmod(box.dir, 0o755)
        top = tempfile.mkdtemp(prefix="pg", dir=box.dir)
        self.data, self.sockets = top + "/db", top + "/s"
        shutil.copytree(_template(), self.data)
        os.mkdir(self.sockets)
        with open(self.data + "/pg_hba.conf", "w") as f:
            f.write("host all locked 127.0.0.1/32 scram-sha-256\nlocal all all trust\nhost all all 127.0.0.1/32 trust\n")
        more = []
        if ssl:
            ca = TestCA(top + "/ca")
            os.chmod(ca.server_key, 0o600)
            more = ["-c", "ssl=on", "-c", "ssl_cert_file=" + ca.server_cert, "-c", "ssl_key_file=" + ca.server_key]
        if _user():
            subprocess.run(["chown", "-R", _user(), top], check=True)
        self.port = free_port()
        self.host = box.start([os.path.join(self.bindir, "postgres"), "-D", self.data, "-p", str(self.port),
                               "-h", "127.0.0.1", "-k", self.sockets, "-F", *more],
                              "ready to accept connections", traced=False, name="postgres", user=_user(),
                              env={"LC_ALL": "C"})
        self.sql("create role locked login password 'correct'")

    def psql(self, *args, host="127.0.0.1"):
        return [os.path.join(self.bindir, "psql"), "-X", "-A", "-t", "-h", host, "-p", str(self.port), "-U", "me",
                "postgres", *args]

    def sql(self, text):
        """By a client that is not traced."""
        r = self.box.run(self.psql("-c", text), traced=False)
        check(r.rc == 0, "psql: %r" % r)
        return r.out.decode().strip()

    def stop(self, sig=signal.SIGINT):
        return self.host.stop(sig)
