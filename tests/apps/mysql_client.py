"""Runs statements with one client library: mysql_client.py LIBRARY WHERE USER PASSWORD DATABASE STATEMENT...

WHERE is HOST:PORT or the path of a socket. Prints each result, or `error NUMBER TEXT` and goes on. A statement that begins
with `[` is JSON: the text and the values for its places; with --prepared these are the server's to fill in. BIG in a text
is 17.5 MB. Further options: --tls, --compress.
"""
import argparse
import asyncio
import json


def shown(columns, rows, count):
    print(columns, list(rows) if columns else count, flush=True)


def failed(e):
    print("error", *e.args[:2], flush=True)


def place(a, path):
    if "/" in a.where:
        return {path: a.where}
    host, port = a.where.split(":")
    return {"host": host, "port": int(port)}


def results(c):
    """Of a cursor: all of them."""
    while True:
        shown(c.description and [d[0] for d in c.description], c.fetchall() if c.description else (), c.rowcount)
        if not c.nextset():
            return


def with_pymysql(a):
    import pymysql
    from pymysql.constants import CLIENT
    if a.tls:
        import ssl
        a.more = {"ssl": ssl._create_unverified_context()}
    try:
        c = pymysql.connect(user=a.user, password=a.password, database=a.database, client_flag=CLIENT.MULTI_STATEMENTS,
                            local_infile=True, autocommit=True, **place(a, "unix_socket"), **a.more)
    except pymysql.Error as e:
        return failed(e)
    for text, values in a.statements:
        try:
            with c.cursor() as cur:
                cur.execute(text, values)
                results(cur)
        except pymysql.Error as e:
            failed(e)
    if c.open:
        c.close()


def with_connector(a):
    import mysql.connector as m
    try:
        c = m.connect(user=a.user, password=a.password, database=a.database, use_pure=True, autocommit=True,
                      compress=a.compress, ssl_disabled=not a.tls, allow_local_infile=True, **place(a, "unix_socket"))
    except m.Error as e:
        return print("error", e.errno, e.msg, flush=True)
    cursor = c.cursor(prepared=True) if a.prepared else None
    for text, values in a.statements:
        cur = cursor if a.prepared and values is not None else c.cursor()
        try:
            cur.execute(text, values)
            results(cur) if cur is not cursor else shown(cur.column_names, cur.fetchall() if cur.with_rows else (), cur.rowcount)
        except m.Error as e:
            print("error", e.errno, e.msg, flush=True)
        if cur is not cursor:
            cur.close()
    if cursor:
        cursor.close()
    c.close()


async def aio(a):
    import aiomysql
    from pymysql import Error
    try:
        c = await aiomysql.connect(user=a.user, password=a.password, db=a.database, autocommit=True,
                                   **place(a, "unix_socket"))
    except Error as e:
        return failed(e)
    for text, values in a.statements:
        try:
            async with c.cursor() as cur:
                await cur.execute(text, values)
                shown(cur.description and [d[0] for d in cur.description],
                      await cur.fetchall() if cur.description else (), cur.rowcount)
        except Error as e:
            failed(e)
    await c.ensure_closed()


p = argparse.ArgumentParser()
p.add_argument("library", choices=["pymysql", "connector", "aiomysql"])
for name in ("where", "user", "password", "database"):
    p.add_argument(name)
p.add_argument("statements", nargs="*")
for name in ("--prepared", "--tls", "--compress"):
    p.add_argument(name, action="store_true")
a = p.parse_args()
a.more = {}
a.statements = [json.loads(s) if s.startswith("[") else (s.replace("BIG", "geheim-" * 2500000), None)
                for s in a.statements]
if a.library == "aiomysql":
    asyncio.run(aio(a))
else:
    {"pymysql": with_pymysql, "connector": with_connector}[a.library](a)
