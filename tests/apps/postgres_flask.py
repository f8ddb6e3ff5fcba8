"""A Flask program that asks PostgreSQL with psycopg2: by a pool, or by a connection for each request."""
import os

import psycopg2
import psycopg2.pool
from flask import Flask, request

app = Flask(__name__)
DSN = os.environ["DATABASE_URL"]
pool = psycopg2.pool.ThreadedConnectionPool(0, 16, DSN)


def ask(c):
    i = int(request.args["i"])
    with c, c.cursor() as k:
        k.execute('select square as "a%d" from t where i = %d' % (i, i))
        k.fetchall()
        k.execute('select count(*) as "b%d" from t where i < %%s' % i, (i,))
        return {"less": k.fetchone()[0]}


@app.route("/pool")
def from_pool():
    c = pool.getconn()
    try:
        return ask(c)
    finally:
        pool.putconn(c)


@app.route("/new")
def a_new_one():
    c = psycopg2.connect(DSN)
    try:
        return ask(c)
    finally:
        c.close()
