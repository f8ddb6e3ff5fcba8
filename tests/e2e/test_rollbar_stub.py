"""The Rollbar of the tests itself: it refuses what Rollbar refuses, and what we must not send."""
import copy
import http.client
import json

from harness import *
from rollbar_stub import Reply, Rollbar, TOKEN

FRAME = {"filename": "/srv/app/app.py", "lineno": 41, "method": "charge", "code": "return 1 / n"}
TRACE = {"frames": [FRAME], "exception": {"class": "ZeroDivisionError", "message": "division by zero"}}
ENTRY = {"level": "info", "type": "log", "source": "server", "timestamp_ms": 1780000000000, "body": {"message": "hello"}}
GOOD = {"environment": "production", "level": "error", "timestamp": 1780000000, "uuid": "6f1d7a52-3b0e-4c1d-9a55-0123456789ab",
        "language": "python", "platform": "linux", "framework": "flask", "body": {"trace": TRACE},
        "notifier": {"name": "remora", "version": "0.1.0"}}


def post(r, doc, token=TOKEN):
    c = http.client.HTTPConnection("127.0.0.1", r.port, timeout=10)
    raw = doc if isinstance(doc, bytes) else json.dumps({"data": doc}).encode()
    c.request("POST", "/api/1/item/", raw, {"Content-Type": "application/json", **({"X-Rollbar-Access-Token": token} if token else {})})
    a = c.getresponse()
    return a.status, json.loads(a.read())


def changed(path, value):
    """GOOD with one thing changed; None removes it."""
    d = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    at = d
    for key in way:
        at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
    last = int(last) if isinstance(at, list) else last
    if value is None:
        del at[last]
    else:
        at[last] = value
    return d


@test
def good_ones():
    with Rollbar() as r:
        for i, body in enumerate(({"trace": TRACE}, {"trace_chain": [TRACE, TRACE]}, {"message": {"body": "hi", "more": 1}},
                                  {"trace": TRACE, "telemetry": [ENTRY] * 100})):
            d = {**GOOD, "body": body, "uuid": GOOD["uuid"][:-1] + str(i)}
            status, answer = post(r, d)
            equal((status, answer["err"], answer["result"]["uuid"]), (200, 0, d["uuid"]), "answer")
        equal(post(r, d)[0], 200, "the same once more")
        equal(len(r.items), 4, "items")
        r.check()


@test
def bad_ones():
    bad = {
        "two kinds": changed("body", {"trace": TRACE, "message": {"body": "x"}}), "no kind": changed("body", {}),
        "no body": changed("body", None), "another kind": changed("body", {"trace": TRACE, "dump": {}}),
        "no environment": changed("environment", None), "a long environment": changed("environment", "x" * 256),
        "a long title": changed("title", "x" * 256), "a long fingerprint": changed("fingerprint", "x" * 41),
        "a long version": changed("code_version", "x" * 41), "a level": changed("level", "fatal"), "a time": changed("timestamp", "now"),
        "a uuid": changed("uuid", "17"), "no frames": changed("body.trace.frames", []),
        "a frame without a file": changed("body.trace.frames", [{"method": "x"}]), "no class": changed("body.trace.exception", {"message": "x"}),
        "an empty chain": changed("body", {"trace_chain": []}), "an empty message": changed("body", {"message": {"body": ""}}),
        "101 entries": changed("body", {"trace": TRACE, "telemetry": [ENTRY] * 101}),
        "an entry's type": changed("body", {"trace": TRACE, "telemetry": [{**ENTRY, "type": "query"}]}),
        "an entry without what its type wants": changed("body", {"trace": TRACE, "telemetry": [{**ENTRY, "body": {}}]}),
        "a long person": changed("person", {"id": "x" * 41}), "a person without an id": changed("person", {"username": "x"}),
        "an unknown key": changed("threads", []), "a secret": changed("request", {"headers": {"Cookie": "a=b"}}),
    }
    with Rollbar() as r:
        for what, doc in bad.items():
            equal(post(r, doc)[0], 422, what)
        equal(post(r, b"{")[0], 400, "no JSON")
        equal(post(r, json.dumps({"access_token": TOKEN, "data": GOOD}).encode())[0], 422, "the token in the body")
        equal(post(r, GOOD, None)[0], 401, "no token")
        equal(post(r, GOOD, "f" * 32)[0], 403, "another token")
        equal(post(r, changed("custom", {"text": "x" * 600000}))[0], 413, "too large")
        equal((r.items, len(r.posts)), ([], len(bad) + 5), "items and posts")
        check(len(r.faults) >= len(bad), "faults")


if __name__ == "__main__":
    main()
