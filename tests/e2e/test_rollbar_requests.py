"""Requests in Rollbar: 5xx answers and logged tracebacks of a Flask program that knows nothing of it, and whose they were."""
import json
import signal

from harness import *
from rollbar_stub import Rollbar, TOKEN

APP = r'''
from flask import Flask, request
app = Flask(__name__)

def charge(order):
    return 100 // len(order[7:])

@app.route("/orders/<order>")
def orders(order):
    return str(charge(order))

@app.route("/busy/<n>")
def busy(n):
    return "later", 503

@app.route("/caught")
def caught():
    try:
        charge("")
    except ZeroDivisionError:
        app.logger.exception("no charge for %s", "hunter2 password=hunter3")
    return "fine"

@app.route("/ok")
def ok():
    return "ok"
'''


class Box(Sandbox):
    def __init__(self, **env):
        needs_module("flask")
        super().__init__(**env)
        self.rollbar = self.keep(Rollbar())
        self.write("app.py", APP)

    def env(self, traced=True, **more):
        return super().env(traced, **{"ROLLBAR_ENDPOINT": self.rollbar.url, "ROLLBAR_ACCESS_TOKEN": TOKEN, **more})

    def serve(self, **kw):
        return self.gunicorn(cwd=self.dir, **kw)


def get(port, target, *headers):
    with Connection(port) as c:
        return c.request("GET", target, headers).status


@test
def failed_with_its_exception():
    with Box(REMORA_ROLLBAR_5XX="1") as box:
        g = box.serve()
        equal(get(g.port, "/orders/1234?token=hunter2", ("User-Agent", "shopper/2")), 500, "status")
        equal(get(g.port, "/ok"), 200, "status")
        item, = box.rollbar.wait(1)
        equal((item["level"], item["language"], item["context"]), ("error", "python", "GET /orders/1234"), "item")
        trace = item["body"]["trace"]
        equal((trace["exception"]["class"], trace["frames"][-1]["method"]), ("ZeroDivisionError", "charge"), "exception")
        r = item["request"]
        equal((r["method"], r["headers"]["User-Agent"], r["user_ip"]), ("GET", "shopper/2", "127.0.0.1"), "request")
        check(r["url"].startswith("http://127.0.0.1:%d/orders/1234" % g.port) and "hunter2" not in json.dumps(item), r)
        equal(item["custom"]["status_code"], 500, "status in the item")
        span, = box.recv.wait(1, lambda s: s["url.path"] == "/orders/1234")
        equal((item["custom"]["trace_id"], item["custom"]["span_id"]), (span.trace_id, span.span_id), "ids")
        equal(item["server"]["root"], os.path.realpath(box.dir), "root")
        g.stop()
        equal(len(box.rollbar.items), 1, "items")
        box.rollbar.check()


@test
def long_requests_are_whole():
    with Box(REMORA_ROLLBAR_5XX="1", REMORA_USER="query:user") as box:
        g = box.serve()
        query = "pad=%s&user=worf&last=here" % ("x" * 3000)
        equal(get(g.port, "/busy/1?" + query, ("User-Agent", "u" * 300)), 503, "status")
        g.stop()
        item, = box.rollbar.wait(1)
        equal(item["request"]["url"], "http://127.0.0.1:%d/busy/1?%s" % (g.port, query), "URL")
        equal((item["request"]["headers"]["User-Agent"], item["person"]["id"]), ("u" * 300, "worf"), "rest")
        box.rollbar.check()


@test
def headers_by_option():
    with Box(REMORA_ROLLBAR_5XX="1", REMORA_CAPTURE_HEADERS="Referer,X-Request-Id,Authorization") as box:
        g = box.serve()
        get(g.port, "/busy/1", ("Referer", "http://shop/?token=hunter2&a=1"), ("X-Request-ID", "r-17"), ("Authorization", "Basic hunter3"))
        g.stop()
        item, = box.rollbar.wait(1)
        h = item["request"]["headers"]
        equal((h["x-request-id"], h["referer"]), ("r-17", "http://shop/?token=REDACTED&a=1"), "headers")
        span, = box.recv.wait(1)
        equal(span["http.request.header.x-request-id"], ["r-17"], "attribute")
        equal(span["http.request.header.referer"], ["http://shop/?token=REDACTED&a=1"], "attribute")
        check("hunter" not in json.dumps(item) + str(span.attrs), "a secret")
        check(any("REMORA_CAPTURE_HEADERS: Authorization is left out" in l for l in g.lines), "no word of the credential")
        box.rollbar.check()


@test
def failed_without_one():
    """Grouped by method, route and status, and capped."""
    with Box(REMORA_ROLLBAR_5XX="1") as box:
        g = box.serve()
        for i in range(14):
            equal(get(g.port, "/busy/%d" % (1000 + i)), 503, "status")
        items = box.rollbar.wait(10)
        equal({i["fingerprint"] for i in items}, {items[0]["fingerprint"]}, "one group")
        equal(items[0]["body"], {"message": {"body": "503 GET /busy/:id"}, **{k: v for k, v in items[0]["body"].items() if
                                                                           k == "telemetry"}}, "body")
        equal((items[0]["title"], items[0]["level"], items[0]["language"]), ("503 GET /busy/:id", "error", "python"), "item")
        equal(items[0]["custom"]["status_code"], 503, "status")
        g.stop()
        equal(len(box.rollbar.items), 10, "items")
        box.rollbar.check()


@test
def at_the_end_of_the_program():
    """What waits for its exception is told when the program ends."""
    with Box(REMORA_ROLLBAR_5XX="1") as box:
        f = box.flask_dev("--no-reload", cwd=box.dir)
        equal(get(f.port, "/busy/1"), 503, "status")
        f.stop(signal.SIGINT)
        equal(len(box.rollbar.wait(1)), 1, "items")


@test
def without_traces():
    """Rollbar alone: requests are followed for their items, and no span goes anywhere."""
    with Box(REMORA_ROLLBAR_5XX="1", OTEL_TRACES_EXPORTER="none") as box:
        g = box.serve()
        equal(get(g.port, "/orders/1234"), 500, "status")
        item, = box.rollbar.wait(1)
        equal((item["context"], item["body"]["trace"]["exception"]["class"]), ("GET /orders/1234", "ZeroDivisionError"), "item")
        g.stop()
        equal(len(box.recv.requests), 0, "requests to the collector")


@test
def off_by_default():
    with Box() as box:
        g = box.serve()
        equal([get(g.port, p) for p in ("/orders/1234", "/busy/1", "/caught")], [500, 503, 200], "statuses")
        g.stop()
        equal(box.rollbar.posts, [], "posts")


@test
def logged_by_option():
    """Caught and logged: an error item, with its request, once; beside 5xx no second one for the same request."""
    with Box(REMORA_ERRORS_LOGGED="1", REMORA_ROLLBAR_5XX="1") as box:
        g = box.serve()
        equal([get(g.port, p) for p in ("/caught?x=1", "/orders/1234")], [200, 500], "statuses")
        items = box.rollbar.wait(2)
        g.stop()
        equal(len(box.rollbar.items), 2, "items: %r" % [i.get("title") for i in box.rollbar.items])
        by = {i["context"]: i for i in items}
        equal(sorted(by), ["GET /caught", "GET /orders/1234"], "contexts")
        item = by["GET /caught"]
        equal((item["level"], item["body"]["trace"]["exception"]["class"]), ("error", "ZeroDivisionError"), "item")
        equal(item["custom"]["status_code"], 200, "status")
        check("hunter3" not in json.dumps(item), "the secret is in the item")
        span, = box.recv.wait(1, lambda s: s["url.path"] == "/caught")
        equal(item["custom"]["span_id"], span.span_id, "span")
        equal(span.status, 0, "a caught error is none of the request")
        box.rollbar.check()


@cases(header=("header:X-User-Id", "/orders/1234", (("X-User-Id", "worf"),)), cookie=("cookie:uid", "/orders/1234", (("Cookie", "a=b; uid=worf"),)),
       path=("path:/orders/{id}", "/orders/worf", ()), query=("header:X-None,query:user", "/orders/1234?user=worf&x=1", ()),
       baggage=("baggage:enduser.id", "/orders/1234", (("baggage", "a=1,enduser.id=worf;p=1"),)))
def person(case):
    rule, target, headers = case
    with Box(REMORA_ROLLBAR_5XX="1", REMORA_USER=rule) as box:
        g = box.serve()
        equal(get(g.port, target, *headers), 500, "status")
        g.stop()
        item, = box.rollbar.wait(1)
        equal(item["person"], {"id": "worf"}, "person")
        span, = box.recv.wait(1)
        equal(span["enduser.id"], "worf", "attribute")
        box.rollbar.check()


@cases(anonymize=("anonymize", "203.0.113.0"), none=("0", None), whole=("1", "203.0.113.9"))
def address(case):
    how, ip = case
    with Box(REMORA_ROLLBAR_5XX="1", REMORA_ROLLBAR_CAPTURE_IP=how, ROLLBAR_BRANCH="main", REMORA_USER="header:Authorization,nonsense") as box:
        g = box.serve()
        get(g.port, "/busy/1", ("X-Forwarded-For", "203.0.113.9"), ("Authorization", "Basic hunter2"))
        g.stop()
        item, = box.rollbar.wait(1)
        equal(item["request"].get("user_ip"), ip, "user_ip")
        equal(item["server"]["branch"], "main", "branch")
        check("person" not in item and "hunter2" not in json.dumps(item), item)
        check(any("REMORA_USER" in l for l in g.lines), "no word of the bad rules")
        box.rollbar.check()


if __name__ == "__main__":
    main()
