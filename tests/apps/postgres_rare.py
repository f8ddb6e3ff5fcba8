"""What programs do with PostgreSQL more rarely: postgres_rare.py WHAT HOST PORT."""
import sys
import threading

what, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
DSN = "host=%s port=%d user=me dbname=postgres" % (host, port)


def connect():
    import psycopg2
    c = psycopg2.connect(DSN)
    c.autocommit = True
    return c


def threads():
    got = []

    def work(first):
        c = connect()
        k = c.cursor()
        for i in range(first, 10000, 16):
            k.execute("select %d as q%d" % (i, i))
            got.append(k.fetchone()[0])
        c.close()
    all_of = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for t in all_of:
        t.start()
    for t in all_of:
        t.join()
    print(len(set(got)))


def run(k, text, *args):
    """What came, or the error's name."""
    import psycopg2
    try:
        k.execute(text, args)
        print(k.fetchall() if k.description else k.statusmessage)
    except psycopg2.Error as e:
        print(type(e).__name__)


LINES = "".join("%d\tsesame %d\n" % (i, i * i) for i in range(20000))


def copy():
    import io
    k = connect().cursor()
    k.execute("create table c(i int, s text)")
    k.copy_expert("copy c from stdin", io.StringIO(LINES))
    out = io.StringIO()
    k.copy_expert("copy c to stdout", out)
    print(out.getvalue() == LINES)
    try:
        k.copy_expert("copy c from stdin", io.StringIO("1\tsesame\nsesame\tx\n"))
    except Exception as e:
        print(type(e).__name__)
    run(k, "select count(*) from c where s <> 'sesame'")


def copy3():
    """By psycopg 3 and asyncpg, which sends it by the extended protocol."""
    import asyncio
    import asyncpg
    import io
    import psycopg
    with psycopg.connect(DSN, autocommit=True) as c:
        c.execute("create table c(i int, s text)")
        with c.cursor().copy("copy c from stdin") as cp:
            cp.write(LINES)
        with c.cursor().copy("copy (select * from c where i >= %s order by i) to stdout", (0,)) as cp:
            print(b"".join(map(bytes, cp)) == LINES.encode())

    async def more():
        a = await asyncpg.connect(host=host, port=port, user="me", database="postgres")
        print(await a.copy_records_to_table("c", records=[(-1, "sesame"), (-2, "sesame")]))
        out = io.BytesIO()
        print(await a.copy_from_query("select i from c where i < 2 order by i", output=out), out.getvalue())
        print(await a.fetchval("select count(*) from c"))
        await a.close()
    asyncio.run(more())


def cursors():
    import asyncio
    import asyncpg
    c = connect()
    c.autocommit = False
    k = c.cursor("few")
    k.itersize = 4
    k.execute("select generate_series(1, %s)", (10,))
    print([r[0] for r in k])
    k.close()
    c.commit()

    async def more():
        a = await asyncpg.connect(host=host, port=port, user="me", database="postgres")
        async with a.transaction():
            print([r[0] async for r in a.cursor("select generate_series(1, $1::int)", 10, prefetch=4)])
        print(await a.fetchval("select 1"))
        await a.close()
    asyncio.run(more())


def notify():
    import select
    listener, other = connect(), connect()
    run(listener.cursor(), "listen news")
    run(other.cursor(), "notify news, 'sesame'")
    while not listener.notifies:
        select.select([listener], [], [])
        listener.poll()
    print(listener.notifies[0].payload)
    run(listener.cursor(), "select 1")


def cancel():
    c = connect()
    k = c.cursor()
    run(k, "set statement_timeout = 50")
    run(k, "select pg_sleep(60)")
    run(k, "set statement_timeout = 0")
    threading.Timer(0.2, c.cancel).start()
    run(k, "select pg_sleep(61)")
    run(k, "select 2")


def killed():
    run(connect().cursor(), "select pg_sleep(60)")


def fork():
    import os
    c = connect()
    k = c.cursor()
    run(k, "select 1")
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(c.fileno())
        run(connect().cursor(), "select 2")
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    run(k, "select 3")


def pipeline():
    import logging
    import psycopg
    logging.getLogger("psycopg").addHandler(logging.NullHandler())      # its words depend on what comes in time
    with psycopg.connect(DSN, autocommit=True) as c:
        with c.pipeline():
            got = [c.execute("select %s::int as a", (i,)) for i in range(3)] + [c.execute("select %s::text as b", ("sesame",))]
            print([k.fetchone() for k in got])
        try:
            with c.pipeline():
                c.execute("select %s::int as c", (1,))
                c.execute("select 1 / %s::int as d", (0,))
                c.execute("select %s::int as e", (2,))
        except psycopg.Error as e:
            print(type(e).__name__)
        print(c.execute("select 3").fetchone())


def encrypted():
    import psycopg2
    for mode in ("prefer", "disable"):
        c = psycopg2.connect(DSN, sslmode=mode)
        run(c.cursor(), "select ssl as %s from pg_stat_ssl where pid = pg_backend_pid()" % mode)
        c.close()


def few():
    k = connect().cursor()
    run(k, "select 1")
    run(k, "select %s", "sesame")


globals()[what]()
