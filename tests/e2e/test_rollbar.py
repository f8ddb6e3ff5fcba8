"""Rollbar: what `remora rollbar test` and the spool do with every answer."""
import glob
import json
import stat

from harness import *
from rollbar_stub import Reply, Rollbar, TOKEN, faults_of

OTHER = "fedcba9876543210fedcba9876543210"


class Box(Sandbox):
    """A sandbox whose state lies in it, with a Rollbar."""

    def __init__(self, rollbar=None, **env):
        super().__init__(**env)
        self.rollbar = self.keep(rollbar or Rollbar())
        self.state = os.path.join(self.dir, "state")

    def env(self, traced=True, **more):
        return super().env(traced, **{"REMORA_STATE_DIR": self.state, "ROLLBAR_ENDPOINT": self.rollbar.url,
                                      "ROLLBAR_ACCESS_TOKEN": TOKEN, "REMORA_RUNTIME_DIR": self.runtime, **more})

    def remora(self, *args, rc=0, env=None, timeout=30.0):
        r = self.run([LAUNCHER, *args], traced=False, env=env, timeout=timeout)
        r.text = (r.out + r.err).decode()
        check(TOKEN not in r.text and OTHER not in r.text, "the token is printed: %s" % r.text)
        equal(r.rc, rc, "exit status of remora %s (%s)" % (" ".join(args), r.text))
        return r

    def spool(self):
        return sorted(glob.glob(os.path.join(self.state, "spool", "*")))

    def check(self):
        """The schema, and nobody but us reads what is kept."""
        self.rollbar.check()
        for root, dirs, files in os.walk(self.state):
            for name in files:
                path = os.path.join(root, name)
                equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode of " + path)
                with open(path, "rb") as f:
                    check(TOKEN.encode() not in f.read(), "the token is in " + path)
            equal(stat.S_IMODE(os.stat(root).st_mode), 0o700, "mode of " + root)


@test
def message_item():
    with Box() as box:
        r = box.remora("rollbar", "test")
        item, = box.rollbar.wait(1)
        check("accepted" in r.text and '"err": 0' in r.text and item["uuid"] in r.text, r.text)
        equal(item["body"], {"message": {"body": "Hello from remora"}}, "body")
        equal(item["level"], "info", "level")
        equal(item["environment"], "production", "environment")
        equal(item["notifier"], {"name": "remora", "version": "0.1.0"}, "notifier")
        equal(item["server"]["host"], socket.gethostname(), "host")
        equal(item["server"]["argv"], ["remora", "rollbar", "test"], "argv")
        check(abs(item["timestamp"] - time.time()) < 60, "timestamp")
        post, = box.rollbar.posts
        equal(post.headers["X-Rollbar-Access-Token"], TOKEN, "token header")
        equal(box.spool(), [], "spool")
        box.check()


@test
def settings_are_sent():
    with Box(ROLLBAR_ENVIRONMENT="staging", ROLLBAR_CODE_VERSION="3da5415") as box:
        box.remora("rollbar", "test", "Grüße\x07, password=hunter2")
        item, = box.rollbar.wait(1)
        equal((item["environment"], item["code_version"]), ("staging", "3da5415"), "settings")
        equal(item["body"]["message"]["body"], "Grüße\x07, password=hunter2", "message")
        box.check()


@test
def no_token():
    with Box() as box:
        r = box.remora("rollbar", "test", rc=2, env={"ROLLBAR_ACCESS_TOKEN": None})
        check("ROLLBAR_ACCESS_TOKEN" in r.text, r.text)
        equal(box.rollbar.posts, [], "posts")


@test
def wrong_usage():
    with Box() as box:
        for args in (["rollbar"], ["crashes", "nonsense"], ["crashes", "show"], ["flush", "--nonsense"]):
            check("usage" in box.remora(*args, rc=2).text, "usage for %r" % args)


def again_later(box, reply, said):
    """An answer after which the item is kept and the next flush sends it with the same uuid."""
    box.rollbar.script = [reply]
    r = box.remora("rollbar", "test", rc=1)
    check(said in r.text and "kept" in r.text, r.text)
    equal(len(box.spool()), 1, "spooled items")
    box.check()
    first = box.rollbar.posts[0].data["uuid"]
    check("1 items sent" in box.remora("flush").text, "flush")
    item, = box.rollbar.wait(1)
    equal(item["uuid"], first, "uuid of the second try")
    equal(box.spool(), [], "spool")
    check("0 items sent" in box.remora("flush").text, "second flush")
    equal(len(box.rollbar.posts), 2, "posts")
    box.check()


@cases(status_500=(Reply(500), "500"), status_503=(Reply(503, {"Retry-After": "30"}), "503"),
       status_429=(Reply(429, {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Remaining-Seconds": "25"}), "429"),
       reset=(Reply(action="reset"), ""), close=(Reply(action="close"), ""))
def kept_after(case):
    with Box() as box:
        again_later(box, *case)


@test
def kept_when_nobody_answers():
    with Box() as box:
        box.rollbar.script = [Reply(action="hang")]
        start = time.monotonic()
        r = box.remora("rollbar", "test", rc=1)
        check(time.monotonic() - start < 20, "bounded")
        check("kept" in r.text, r.text)
        check("1 items sent" in box.remora("flush").text, "flush")
        equal(len(box.rollbar.wait(1)), 1, "items")


@test
def kept_when_refused_connection():
    with Box() as box:
        port = free_port()
        box.remora("rollbar", "test", rc=1, env={"ROLLBAR_ENDPOINT": "http://127.0.0.1:%d/api/1/item/" % port})
        equal(len(box.spool()), 1, "spool")
        # Other settings: not theirs, unless asked.
        r = box.remora("flush")
        check("0 items sent" in r.text and "1 items are of programs" in r.text, r.text)
        check("1 items sent" in box.remora("flush", "--all").text, "flush --all")
        box.rollbar.wait(1)
        box.check()


@cases(status_400=400, status_422=422, status_404=404)
def parked_after(status):
    with Box() as box:
        box.rollbar.script = [Reply(status)]
        r = box.remora("rollbar", "test", rc=1)
        check(str(status) in r.text and "kept and sent later" not in r.text, r.text)
        equal([p.endswith(".parked") for p in box.spool()], [True], "spool")
        check("0 items sent" in box.remora("flush").text, "flush")
        equal(len(box.rollbar.posts), 1, "posts")
        box.check()


@test
def too_large_is_shortened_then_failsafe():
    with Box() as box:
        box.rollbar.script = [Reply(413), Reply(413)]
        box.remora("rollbar", "test", "x" * 60000)
        item, = box.rollbar.wait(1)
        sizes = [len(p.raw) for p in box.rollbar.posts]
        check(sizes[0] > 60000 and sizes[1] <= sizes[0] / 4 and sizes[2] < 4096, "sizes %r" % sizes)
        equal({p.data["uuid"] for p in box.rollbar.posts}, {item["uuid"]}, "uuids")
        check("too large" in item["body"]["message"]["body"], item["body"])
        box.check()


@cases(status_401=401, status_403=403)
def token_refused(status):
    with Box() as box:
        box.rollbar.always = Reply(status)
        r = box.remora("rollbar", "test", rc=1)
        check("post_server_item" in r.text and "kept" in r.text, r.text)
        equal(len(box.spool()), 1, "spool")
        box.rollbar.always = None
        check("1 items sent" in box.remora("flush").text, "flush")
        box.check()


@test
def token_file_two_tokens():
    """During a rotation the file has two lines, and one of them is revoked."""
    with Box(rollbar=Rollbar(tokens=[OTHER])) as box:
        file = box.write("token", TOKEN + "\n" + OTHER + "\n")
        env = {"ROLLBAR_ACCESS_TOKEN": None, "ROLLBAR_ACCESS_TOKEN_FILE": file}
        box.remora("rollbar", "test", env=env)
        equal([p.status for p in box.rollbar.posts], [403, 200], "answers")
        box.check()


@test
def token_file_missing():
    with Box() as box:
        r = box.remora("rollbar", "test", rc=1, env={"ROLLBAR_ACCESS_TOKEN": None,
                                                      "ROLLBAR_ACCESS_TOKEN_FILE": "/nonexistent/token"})
        check("ROLLBAR_ACCESS_TOKEN_FILE" in r.text, r.text)
        equal(len(box.spool()), 1, "spool")


@test
def state_directory_of_others_is_refused():
    with Box() as box:
        os.mkdir(box.state)
        os.chmod(box.state, 0o755)
        box.rollbar.script = [Reply(500)]
        r = box.remora("rollbar", "test", rc=1)
        check("REMORA_STATE_DIR" in r.text, r.text)
        equal(os.listdir(box.state), [], "files")


@test
def spool_is_bounded_and_survives_garbage():
    with Box() as box:
        box.rollbar.always = Reply(500)
        box.remora("rollbar", "test", rc=1)
        good, = box.spool()
        spool = os.path.dirname(good)
        with open(good) as f:
            text = f.read()
        name = os.path.basename(good)
        for i in range(60):                     # older ones
            uuid = "00000000-0000-4000-8000-%012d" % i
            with open(os.path.join(spool, "%013d" % (int(name[:13]) - 1000 + i) + "-" + uuid + name[50:]), "w") as f:
                f.write(text.replace(name[14:50], uuid))
        with open(os.path.join(spool, name.replace(name[14:50], "11111111-1111-4111-8111-111111111111")), "w") as f:
            f.write(text[:-5])
        with open(os.path.join(spool, "nonsense"), "w") as f:
            f.write("x")
        for path in box.spool():
            os.chmod(path, 0o600)
        box.rollbar.always = None
        r = box.remora("flush")
        check("is no item" in r.text, r.text)
        check(40 <= len(box.rollbar.items) <= 50, "%d items" % len(box.rollbar.items))
        equal([os.path.basename(p) for p in box.spool()], ["nonsense"], "what is left")
        box.check()


BOOM = [PYTHON, "-c", "def f(x): return 1 / x\nf(0)"]


@test
def store_without_a_token():
    """A developer's catchsegv: list, show, and the JSON is what Rollbar would get."""
    with Box() as box:
        env = {"ROLLBAR_ACCESS_TOKEN": None, "REMORA_ERRORS": "1"}
        check("no crash reports" in box.remora("crashes").text, "an empty store")
        equal(box.run(BOOM, env=env).rc, 1, "exit status")
        line, = box.remora("crashes").out.decode().splitlines()
        check("ZeroDivisionError: division by zero" in line, line)
        uuid = line.split()[1]
        text = box.remora("crashes", "show", uuid).out.decode()
        check(text.startswith("ZeroDivisionError: division by zero\nprogram: ") and "line 1, in f" in text, text)
        raw = box.remora("crashes", "show", uuid, "--json").out.strip()
        bad, data = faults_of(raw)
        equal(bad, [], "faults of the stored item")
        equal(data["uuid"][:8], uuid, "uuid")
        check("no report" in box.remora("crashes", "show", "ffffffff-", rc=1).text, "unknown id")
        equal(box.rollbar.posts, [], "posts")
        box.check()


@test
def report_of_a_program_under_trace():
    with Box() as box:
        r = box.run(BOOM, env={"OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2.3", "OTEL_TRACES_EXPORTER": "none"})
        equal(r.rc, 1, "exit status")
        item, = box.rollbar.wait(1)
        equal(item["code_version"], "1.2.3", "code_version")
        equal(item["server"]["root"], os.path.realpath(box.dir), "root")
        equal([f["method"] for f in item["body"]["trace"]["frames"]], ["<module>", "f"], "frames")
        box.check()


@test
def not_sent_but_not_lost():
    """The receiver is down while the program dies: the next program's exporter sends it, once."""
    with Box() as box:
        box.rollbar.always = Reply(503)
        equal(box.run(BOOM).rc, 1, "exit status")
        equal(len(box.spool()), 1, "spool")
        box.rollbar.always = None
        box.run([PYTHON, "-c", "import sys; print('hello', file=sys.stderr)"])
        item, = box.rollbar.wait(1)
        equal({p.data["uuid"] for p in box.rollbar.posts}, {item["uuid"]}, "uuids")
        eventually(lambda: not box.spool(), "the spool is empty")
        box.check()


if __name__ == "__main__":
    main()
