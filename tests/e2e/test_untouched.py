"""Servers whose protocol is not HTTP: they work as before and make no spans."""
import signal
import socket

from harness import *


def redis_cmds(port):
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        f = s.makefile("rwb")

        def cmd(*a):
            f.write(b"*%d\r\n" % len(a) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x) for x in a))
            f.flush()
            line = f.readline()
            if line[:1] == b"$" and line != b"$-1\r\n":
                return f.read(int(line[1:]) + 2)[:-2]
            return line.strip()
        # a value that looks like HTTP must not wake the parser up in mid-connection
        http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        out = [cmd(b"PING"), cmd(b"SET", b"k", http), cmd(b"GET", b"k"), cmd(b"DEL", b"k")]
        for i in range(2000):
            cmd(b"SET", b"k%d" % i, b"v" * (i % 500))
        out += [cmd(b"GET", b"k1999"), cmd(b"DBSIZE")]
        return out, http


@test
def redis():
    with Sandbox() as box:
        exe = needs("redis-server")
        port = free_port()
        r = box.start([exe, "--port", str(port), "--bind", "127.0.0.1", "--dir", box.dir, "--io-threads", "2"],
                      "Ready to accept connections", name="redis")
        out, http = redis_cmds(port)
        equal(out, [b"+PONG", b"+OK", http, b":1", b"v" * 499, b":2000"], "answers")
        check(b"dbsize" in out[-1] or out[-1] == b":2000", "dbsize")
        with Connection(port) as c:                     # redis ends a connection that speaks HTTP
            c.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
            c.sock.settimeout(5)
            c.sock.recv(100)
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(b"BGSAVE\r\n")                    # forks
            check(s.recv(100).startswith(b"+Background saving"), "BGSAVE")
        r.wait_line("Background saving terminated with success")
        equal(r.stop(), 0, "exit status")
        # The one HTTP request that redis dropped may be told, as a failure; its own traffic never.
        for s in box.recv.spans():
            check(s["http.request.method"] == "POST" and s["http.response.status_code"] is None,
                  "an invented span %r" % s)


@test
def postgres():
    """The server; its clients' commands are test_postgres.py's."""
    with Sandbox(user="nobody" if os.geteuid() == 0 else None) as box:
        bindir = os.path.dirname(os.path.realpath(needs("postgres")))
        initdb, psql = os.path.join(bindir, "initdb"), os.path.join(bindir, "psql")
        if not os.path.exists(initdb):
            raise Skip("initdb")
        os.chmod(box.dir, 0o755)
        env = {"PATH": bindir + ":" + os.environ["PATH"], "LC_ALL": "C"}
        i = box.start([initdb, "-D", box.dir + "/db", "-A", "trust", "-U", "me", "-N"], traced=False, env=env)
        equal(i.wait(60), 0, "initdb: %r" % i.lines[-3:])
        port = free_port()
        db = box.start([os.path.join(bindir, "postgres"), "-D", box.dir + "/db", "-p", str(port),
                        "-h", "127.0.0.1", "-k", "", "-F"], "ready to accept connections", name="postgres", env=env)
        http = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        sql = ("create table t(i int, s text); insert into t select i, repeat('x', i) from generate_series(1, 2000) i;"
               "select count(*), sum(length(s)) from t; select '%s';" % http)
        argv = [psql, "-X", "-A", "-t", "-h", "127.0.0.1", "-p", str(port), "-U", "me", "postgres", "-c"]
        plain = box.run(argv + [sql], traced=False, env=env)
        equal(plain.rc, 0, "psql: %r" % plain)
        check(b"2000|2001000" in plain.out and http.encode() in plain.out, "result %r" % plain.out[:200])
        env["REMORA_DATABASES"] = "0"
        traced = box.run(argv + ["select count(*) from t; select '%s'" % http], env=env)
        equal((traced.rc, traced.err), (0, b""), "a traced psql")
        check(b"2000" in traced.out, "result %r" % traced.out)
        if os.path.exists(os.path.join(bindir, "pgbench")):
            base = [os.path.join(bindir, "pgbench"), "-h", "127.0.0.1", "-p", str(port), "-U", "me"]
            equal(box.run(base + ["-i", "-q", "postgres"], env=env).rc, 0, "pgbench -i")
            r = box.run(base + ["-c", "4", "-t", "100", "postgres"], env=env)
            check(r.rc == 0 and b"400/400" in r.out, "pgbench %r" % r)
        equal(db.stop(signal.SIGINT), 0, "exit status")
        for s in box.recv.spans():                      # of the clients: none of the server's, none of HTTP
            check(s["db.system.name"] == "postgresql" and s.kind == 3 and
                  s.resource.get("process.executable.name") in ("psql", "pgbench"), "an invented span %r" % s)


@test
def redis_still_works_when_a_traced_client_uses_it():
    """A Python client of redis: no spans, right answers."""
    with Sandbox() as box:
        port = free_port()
        box.start([needs("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", box.dir],
                  "Ready to accept connections", name="redis")
        code = ("import socket\ns=socket.create_connection(('127.0.0.1',%d))\n"
                "for i in range(500): s.sendall(b'INCR n\\r\\n'); a=s.recv(100)\nprint(a)" % port)
        plain = box.run([PYTHON, "-c", code.replace("INCR n", "INCR m")], traced=False)
        traced = box.run([PYTHON, "-c", code])
        equal((traced.rc, traced.out, traced.err), (0, b"b':500\\r\\n'\n", b""), "client")
        equal(plain.out, traced.out, "with and without")
        equal(box.recv.spans(), [], "spans")


if __name__ == "__main__":
    main()
