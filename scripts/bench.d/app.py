"""The Flask program that is measured: a small JSON answer, and how many requests there were."""
import itertools

from flask import Flask

app = Flask(__name__)
_seen = itertools.count(1)


@app.get("/")
def index():
    next(_seen)
    return {"message": "hello"}


@app.get("/count")
def count():
    return str(next(_seen))
