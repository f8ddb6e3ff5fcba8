"""A small backend with a database, as a Flask beginner writes it: a pool of connections that all threads share."""
import os
import queue

import pymysql
from flask import Flask

app = Flask(__name__)
pool = queue.LifoQueue()


def connect():
    where = os.environ["DB_WHERE"]
    at = {"unix_socket": where} if "/" in where else {"host": where.split(":")[0], "port": int(where.split(":")[1])}
    return pymysql.connect(user=os.environ["DB_USER"], password=os.environ["DB_PASSWORD"],
                           database=os.environ["DB_NAME"], autocommit=True, **at)


class Connection:
    def __enter__(self):
        try:
            self.c = pool.get_nowait()
        except queue.Empty:
            self.c = connect()
        return self.c.cursor()

    def __exit__(self, *exc):
        pool.put(self.c)


@app.route("/user/<int:n>")
def user(n):
    """The column tells the tests which request a statement is of."""
    with Connection() as cur:
        cur.execute("INSERT INTO visits (page) VALUES (%%s) RETURNING id AS visit%d" % n, ("geheim-%d" % n,))
        cur.execute("SELECT name AS name%d FROM users WHERE id = %%s" % n, (n % 7,))
        rows = cur.fetchall()
    with Connection() as cur:
        cur.execute("SELECT COUNT(*) AS count%d FROM users WHERE id = %%s" % n, (n % 7,))
        (count,), = cur.fetchall()
    return {"names": [r[0] for r in rows], "count": count}


@app.route("/missing/<int:n>")
def missing(n):
    with Connection() as cur:
        try:
            cur.execute("SELECT missing%d FROM missing" % n)
        except pymysql.Error as e:
            return {"error": e.args[0]}, 404
    return {}
