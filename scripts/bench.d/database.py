"""pgbench -S, a client in C that does little else than to ask PostgreSQL: plain and preloaded in turn."""
import glob
import os
import re
import resource
import subprocess

from common import *

CLIENTS = 4


class Postgres:
    """Unprivileged, beside the load, with pgbench's tables in it."""

    def __init__(self, place):
        self.dirs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not self.dirs or not os.path.exists(os.path.join(self.dirs[-1], "initdb")):
            raise Skip("postgres is not installed (scripts/setup test)")
        self.bin, self.port = self.dirs[-1], free_port()
        self.pgbench = os.path.join(self.bin, "pgbench")
        data = os.path.join(place.dir, "pg")
        os.mkdir(data)
        prefix = []
        if os.geteuid() == 0:
            import pwd
            nobody = pwd.getpwnam("nobody")
            os.chown(data, nobody.pw_uid, nobody.pw_gid)
            prefix = [tool("setpriv"), "--reuid=nobody", "--regid=%d" % nobody.pw_gid, "--clear-groups"]
        subprocess.run([*prefix, os.path.join(self.bin, "initdb"), "-D", data, "-A", "trust", "-U", "bench", "-N"], check=True,
                       env=environment(LC_ALL="C"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        self.server = Program(place, [*prefix, os.path.join(self.bin, "postgres"), "-D", data, "-p", str(self.port),
                                      "-h", "127.0.0.1", "-k", "", "-F"], {"LC_ALL": "C"}, cpu=LOAD_CPU, cwd="/")
        self.server.wait_line("ready to accept connections")
        self.run(["-i", "-q"], {})

    def run(self, args, env):
        """(transactions a second, CPU us of pgbench with what rides it for each of them)"""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with on_cpu(SERVER_CPU):
            p = subprocess.run([self.pgbench, "-h", "127.0.0.1", "-p", str(self.port), "-U", "bench", *args, "postgres"],
                               env=environment(**env), check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        n = re.search(r"transactions actually processed: (\d+)", p.stdout)
        rate = re.search(r"^tps = ([\d.]+)", p.stdout, re.M)
        return (float(rate.group(1)), cpu / int(n.group(1)) * 1e6, int(n.group(1))) if n and rate else None


def run_database(report, opts, place):
    server = Postgres(place)
    rows = []
    for mode in ("simple", "prepared"):
        port = place.port()
        args = ["-S", "-n", "-c", str(CLIENTS), "-j", "1", "-M", mode, "-T", str(opts.seconds)]
        variants = {"plain": {}, "remora": place.remora(port)}
        slices = {name: [] for name in variants}
        for i in range(opts.rounds):
            for name in list(variants)[::1 if i % 2 == 0 else -1]:
                slices[name].append(server.run(args, variants[name]))
        made = sum(s[2] for s in slices["remora"])
        got = wait_received(port, made)
        a, b = slices["plain"], slices["remora"]
        rows.append(["pgbench -S -M " + mode, "%.0f" % median([s[0] for s in a]),
                     spread([y[0] / x[0] for x, y in zip(a, b)]), "%.1f" % median([s[1] for s in a]),
                     spread([y[1] - x[1] for x, y in zip(a, b)], "%+.2f"), "%d of %d" % (got, made)])
    report.heading("Database client: pgbench, %d connections, one thread; the exporter on its core, postgres on the other" % CLIENTS)
    report.table(["", "transactions a second, plain", "ratio", "CPU of the client us, plain", "more, with the exporter", "spans of transactions"],
                 rows)
    report.note("The client does nothing with the rows; a program that does has the same more. Connections come with each slice.")
