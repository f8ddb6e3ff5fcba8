"""A Flask program that asks PostgreSQL, and knows nothing of tracing.

usage: sql_flask.py DSN     prints "listening PORT"
"""
import contextlib
import ctypes
import sys

import flask
import psycopg2
import psycopg2.extras
from werkzeug.serving import make_server

DSN = sys.argv[1]
app = flask.Flask(__name__)


@app.route("/read")
def read():
    with contextlib.closing(psycopg2.connect(DSN)) as db, db.cursor() as c:
        c.execute("SELECT name, %s FROM users WHERE name = %s AND age > %s", ("attic-note", "worf-the-first", 77001))
        return {"rows": c.fetchall()}


@app.route("/write")
def write():
    with contextlib.closing(psycopg2.connect(DSN)) as db, db.cursor() as c:
        db.autocommit = True
        c.execute("INSERT INTO users VALUES (%s, %s)", ("data-of-omicron", 77002))
        return {"rows": c.rowcount}


def code_of(text):
    with contextlib.closing(psycopg2.connect(DSN)) as db, db.cursor() as c:
        db.autocommit = True
        try:
            c.execute(text)
        except psycopg2.Error as e:
            return {"code": e.pgcode}


@app.route("/bad")
def bad():
    return code_of("SELECT 'bad-note' FROM nowhere")


@app.route("/duplicate")
def duplicate():
    return code_of("INSERT INTO users VALUES ('worf-the-first', 77003)")


@app.route("/crash")
def crash():
    read()
    duplicate()
    db = psycopg2.connect(DSN, async_=1)
    psycopg2.extras.wait_select(db)
    db.cursor().execute("SELECT 'mid-note', pg_sleep(60) FROM users")   # is sent; its answer does not come
    ctypes.string_at(0)


@app.route("/stranger")
def stranger():
    try:
        psycopg2.connect(DSN.replace("dbname=shop", "dbname=no_such_database"))
    except psycopg2.OperationalError:
        return "refused"


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app)
    print("listening", server.port, flush=True)
    server.serve_forever()
