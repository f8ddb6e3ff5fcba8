"""Rollbar and a program that lives on: what each answer does, until the item is there."""
import json

from rollbar_box import *

RAISER = r'''
import http.server, threading, urllib.parse
class H(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_GET(self):
        name = self.path.strip("/")
        def work(): raise type(name, (Exception,), {})("in a thread")
        t = threading.Thread(target=work); t.start(); t.join()
        self.send_response(204); self.end_headers()
s = http.server.HTTPServer(("127.0.0.1", 0), H)
print("port %d" % s.server_address[1], flush=True)
s.serve_forever(0.05)
'''


class Live(Box):
    def __init__(self, rollbar=None, **env):
        super().__init__(rollbar, **{"OTEL_TRACES_EXPORTER": "none", **env})
        self.write("raiser.py", RAISER)
        self.app = self.start([PYTHON, self.path("raiser.py")], ready=r"port (\d+)")

    def throw(self, *names):
        for name in names:
            with Connection(int(self.app.match.group(1))) as c:
                equal(c.request("GET", "/" + name).status, 204, "status")


def class_of(item):
    return item["body"]["trace"]["exception"]["class"]


@test
def tried_again_with_the_same_uuid():
    """Later each time, and not in step with others."""
    with Live() as box:
        box.rollbar.script = [Reply(500), Reply(503)]
        box.throw("One")
        item, = box.rollbar.wait(1, timeout=30)
        posts = box.rollbar.posts
        equal(({p.data["uuid"] for p in posts}, len(posts)), ({item["uuid"]}, 3), "tries")
        gaps = [b.time - a.time for a, b in zip(posts, posts[1:])]
        for gap, most in zip(gaps, (1.2, 2.4)):
            check(most / 1.6 <= gap < most + 1.5, "gaps %r" % gaps)
        check(all(abs(g - round(g)) > 1e-4 for g in gaps), "no jitter: %r" % gaps)
        eventually(lambda: not box.spool(), "the spool is empty")
        box.check()


@test
def connection_lost():
    with Live() as box:
        box.rollbar.script = [Reply(action="reset"), Reply(action="close")]
        box.throw("One")
        item, = box.rollbar.wait(1, timeout=30)
        equal({p.data["uuid"] for p in box.rollbar.posts}, {item["uuid"]}, "uuids")
        eventually(lambda: not box.spool(), "the spool is empty")
        box.check()


@cases(remaining_seconds={"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Remaining-Seconds": "2"},
       reset={"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": None}, retry_after={"Retry-After": "2"})
def rate_limited(headers):
    """As long as Rollbar says, and nothing in between."""
    with Live() as box:
        if "X-Rate-Limit-Reset" in headers:
            headers = {**headers, "X-Rate-Limit-Reset": str(int(time.time()) + 4)}
        box.rollbar.script = [Reply(429, headers)]
        box.throw("One")
        box.rollbar.wait_posts(1)
        box.throw("Two")
        items = box.rollbar.wait(2, timeout=30)
        equal(sorted(map(class_of, items)), ["One", "Two"], "items")
        gap = box.rollbar.posts[1].time - box.rollbar.posts[0].time
        check(1.4 < gap < 6, "%.1f s" % gap)
        box.check()


@test
def used_up():
    """A 200 may say that there is no more room for now."""
    with Live() as box:
        box.rollbar.script = [Reply(200, {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Remaining-Seconds": "2"})]
        box.throw("One", "Two")
        box.rollbar.wait(2)
        gap = box.rollbar.posts[1].time - box.rollbar.posts[0].time
        check(1.9 < gap < 6, "%.1f s" % gap)


@test
def one_bad_item_holds_up_no_other():
    with Live() as box:
        box.rollbar.judge = lambda data: Reply(500) if class_of(data) == "Poison" else None
        box.throw("Poison")
        box.rollbar.wait_posts(1)
        box.throw("Fine")
        item, = box.rollbar.wait(1, timeout=30)
        equal(class_of(item), "Fine", "item")
        eventually(lambda: len(box.spool()) == 1, "only that one is left")


@test
def token_rotation_without_restart():
    """A token is revoked while the program runs: its items wait, and go with the new one."""
    box = Box(rollbar=Rollbar(tokens=[TOKEN]))
    with box:
        file = box.write("token", TOKEN + "\n")
        box.write("raiser.py", RAISER)
        box.app = box.start([PYTHON, box.path("raiser.py")], ready=r"port (\d+)",
                            env={"ROLLBAR_ACCESS_TOKEN": None, "ROLLBAR_ACCESS_TOKEN_FILE": file, "OTEL_TRACES_EXPORTER": "none"})
        Live.throw(box, "One")
        box.rollbar.wait(1)
        box.rollbar.tokens = [OTHER]
        Live.throw(box, "Two")
        box.rollbar.wait_posts(2)
        equal([p.status for p in box.rollbar.posts], [200, 403], "answers")
        eventually(lambda: len(box.spool()) == 1, "it is kept")
        box.write("token.new", OTHER + "\n")
        os.rename(box.path("token.new"), file)
        Live.throw(box, "Three")
        items = box.rollbar.wait(3)
        equal([class_of(i) for i in items], ["One", "Two", "Three"], "items")
        equal(box.rollbar.posts[-1].headers["X-Rollbar-Access-Token"], OTHER, "token")
        check(not any(t in l for l in box.app.lines for t in (TOKEN, OTHER)), "a token was logged")
        eventually(lambda: not box.spool(), "the spool is empty")


@cases(status_400=400, status_422=422)
def refused_for_good(status):
    """Parked, with what Rollbar said in the log once."""
    with Live(REMORA_LOG="warn") as box:
        body = json.dumps({"err": 1, "message": "the thing is wrong"}).encode()
        box.rollbar.script = [Reply(status, body=body), Reply(status, body=body)]
        box.throw("One", "Two", "Three")
        item, = box.rollbar.wait(1)
        equal(class_of(item), "Three", "item")
        eventually(lambda: len(box.spool()) == 2, "two are parked")
        equal([p.endswith(".parked") for p in box.spool()], [True, True], "spool")
        said = [l for l in box.app.lines if "the thing is wrong" in l]
        equal(len(said), 1, "said")
        check(str(status) in said[0] and box.state in said[0], said[0])


if __name__ == "__main__":
    main()
