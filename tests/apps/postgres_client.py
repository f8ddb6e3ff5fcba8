"""What programs do with PostgreSQL: postgres_client.py LIBRARY HOST PORT. It prints what it got."""
import asyncio
import sys

lib, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
DSN = "host=%s port=%d user=me dbname=postgres" % (host, port)
ROWS = [(i, "sesame%d" % i) for i in range(3)]


def name(e):
    return type(e).__name__


def dbapi(connect, error):
    """psycopg2, psycopg 3 and pg8000 alike."""
    c = connect()
    k = c.cursor()
    k.execute("create table t(i int primary key, s text)")
    k.executemany("insert into t values (%s, %s)", ROWS)
    c.commit()
    k.execute("select s from t where s = 'sesame1'")
    print(k.fetchall())
    k.execute("select s from t where i = %s and s <> %s", (2, "sesame"))
    print(k.fetchall())
    k.execute("select pg_sleep(0.2)")
    c.commit()
    for text, args in (("select * from missing where s = 'sesame'", ()), ("insert into t values (%s, %s)", ROWS[0])):
        try:
            k.execute(text, args)
        except error as e:
            print(name(e))
        c.rollback()
    c.close()


def psycopg2():
    import psycopg2
    dbapi(lambda: psycopg2.connect(DSN), psycopg2.Error)


def psycopg3():
    import psycopg
    dbapi(lambda: psycopg.connect(DSN), psycopg.Error)


def pg8000():
    import pg8000.dbapi
    where = {"unix_sock": "%s/.s.PGSQL.%d" % (host, port)} if host[0] == "/" else {"host": host, "port": port}
    dbapi(lambda: pg8000.dbapi.connect(user="me", database="postgres", **where), pg8000.dbapi.Error)


async def asyncpg():
    import asyncpg
    c = await asyncpg.connect(host=host, port=port, user="me", database="postgres")
    await c.execute("create table t(i int primary key, s text)")
    await c.executemany("insert into t values ($1, $2)", ROWS)
    print(await c.fetch("select s from t where s = 'sesame1'"))
    print(await c.fetch("select s from t where i = $1 and s <> $2", 2, "sesame"))
    await c.execute("select pg_sleep(0.2)")
    for text, args in (("select * from missing where s = 'sesame'", ()), ("insert into t values ($1, $2)", ROWS[0])):
        try:
            await c.fetch(text, *args)
        except asyncpg.PostgresError as e:
            print(name(e))
    await c.close()


def wrong_password():
    import psycopg2
    try:
        psycopg2.connect("host=%s port=%d user=locked password=sesame dbname=postgres" % (host, port))
    except psycopg2.OperationalError as e:
        print(str(e).count("password authentication failed"))


if lib == "asyncpg":
    asyncio.run(asyncpg())
else:
    {"psycopg2": psycopg2, "psycopg3": psycopg3, "pg8000": pg8000, "wrong": wrong_password}[lib]()
