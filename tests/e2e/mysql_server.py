"""A MariaDB of the tests' own: its data directory, port, socket, and the log of all that it was asked."""
import atexit
import os
import pwd
import re
import shutil
import subprocess
import tempfile

from harness import Host, check, eventually, free_port, needs, needs_module

USER, PASSWORD = "app", "geheim-password"
_LOG = re.compile(r"\s(\d+) (Connect|Query|Prepare|Execute|Init DB|Quit)\t(.*)$")
_SETUP = """DELETE FROM mysql.global_priv WHERE User='';
FLUSH PRIVILEGES;
CREATE USER '%s'@'%%' IDENTIFIED BY '%s';
GRANT ALL ON *.* TO '%s'@'%%';
""" % (USER, PASSWORD, USER)
_SMALL = ("--innodb-log-file-size=4M",)
_shared = _template = None


def _new_directory(prefix):
    """The server's: it refuses to run as root."""
    path, ids = tempfile.mkdtemp(prefix=prefix), {}
    if os.geteuid() == 0:
        pw = pwd.getpwnam("nobody")
        ids = {"user": pw.pw_uid, "group": pw.pw_gid, "extra_groups": []}
        os.chown(path, pw.pw_uid, pw.pw_gid)
    os.chmod(path, 0o755)
    return path, ids


def _installed():
    """An empty data directory that servers start with a copy of."""
    global _template
    if _template is None:
        install = needs("mariadb-install-db")
        _template, ids = _new_directory("remora-my-new-")
        atexit.register(shutil.rmtree, _template, ignore_errors=True)
        r = subprocess.run([install, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db",
                            "--datadir=" + os.path.join(_template, "data"), *_SMALL], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=_template, **ids)
        check(r.returncode == 0, "mariadb-install-db: %s" % r.stdout.decode()[-400:])
    return os.path.join(_template, "data")


class MariaDB:
    def __init__(self, env=None, make_args=lambda directory: ()):
        self.exe = needs("mariadbd")
        needs_module("pymysql")
        data = _installed()
        self.dir, self.ids = _new_directory("remora-my-")
        self.host, self.count = None, 0
        with open(self.path("setup.sql"), "w") as f:
            f.write(_SETUP)
        subprocess.run(["cp", "-r", data, self.path("data")], check=True, **self.ids)
        self.args, self.env = make_args(self.dir), env
        self.start()

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self):
        self.port, self.socket, self.log = free_port(), self.path("s"), self.path("general.log")
        env = self.env or {"PATH": os.environ["PATH"]}
        self.host = Host([self.exe, "--no-defaults", "--datadir=" + self.path("data"), "--bind-address=127.0.0.1",
                          "--port=%d" % self.port, "--socket=" + self.socket, "--pid-file=" + self.path("pid"),
                          "--init-file=" + self.path("setup.sql"), "--skip-name-resolve", "--local-infile=1",
                          *_SMALL, "--innodb-buffer-pool-size=32M", "--max-allowed-packet=64M",
                          "--innodb-flush-log-at-trx-commit=0", "--general-log=1", "--general-log-file=" + self.log,
                          *self.args], env, cwd=self.dir, user="nobody" if self.ids else None, name="mariadbd")
        self.host.wait_line("ready for connections", 30)

    def stop(self):
        if self.host:
            self.host.kill_group()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    @property
    def tcp(self):
        return "127.0.0.1:%d" % self.port

    def ask(self, *statements, database=None):
        """Untraced, by the test itself: the rows of the last statement."""
        import pymysql
        c = pymysql.connect(unix_socket=self.socket, user=USER, password=PASSWORD, database=database, autocommit=True)
        try:
            with c.cursor() as cur:
                for s in statements:
                    cur.execute(s)
                return cur.fetchall()
        finally:
            c.close()

    def database(self):
        """A new one."""
        self.count += 1
        name = "shop%d" % self.count
        self.ask("CREATE DATABASE " + name)
        return name

    def mark(self):
        return os.path.getsize(self.log)

    def asked(self, mark, gone=True):
        """What the server was asked since: [(kind, text)]. gone: waits until all who asked are gone."""
        def read():
            with open(self.log, errors="replace") as f:
                f.seek(mark)
                got = [m.groups() for m in map(_LOG.search, f.read().splitlines()) if m]
            here = {i for i, kind, _ in got if kind == "Connect"}   # the test's own may still be quitting
            past = {i for i, kind, text in got if kind == "Quit" or text.startswith("Access denied")}
            return here and (not gone or here <= past) and [(kind, text) for i, kind, text in got if i in here]
        return eventually(read, "all clients have quit")


def mariadb():
    """One for all tests of a file; each makes its own database in it."""
    global _shared
    if _shared is None:
        _shared = MariaDB()
        atexit.register(_shared.stop)
    return _shared
