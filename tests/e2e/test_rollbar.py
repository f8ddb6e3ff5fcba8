"""Rollbar: what `remora rollbar test` and the spool do with every answer."""
from rollbar_box import *

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


@test
def a_real_crash_is_shortened():
    """As long as Rollbar takes it: the frames stay, modules and threads go first."""
    crash = [PYTHON, "-c", "import ctypes, decimal, ssl; ctypes.string_at(0)"]
    with Box(OTEL_TRACES_EXPORTER="none") as box:
        equal(box.run(crash).rc, -11, "exit status")
        whole, = box.rollbar.wait(1)
        size = len(box.rollbar.posts[0].raw)
        check(len(whole["custom"]["modules"]) > 10 and size > 8000, "%d bytes" % size)
        box.rollbar.limit = size // 2
        equal(box.run(crash).rc, -11, "exit status")
        item = box.rollbar.wait(2)[1]
        equal([p.status for p in box.rollbar.posts], [200, 413, 200], "answers")
        equal(item["uuid"], box.rollbar.posts[1].data["uuid"], "uuid")
        equal(item["body"]["trace"]["exception"]["class"], "SIGSEGV", "it is still a trace")
        equal(item["fingerprint"], whole["fingerprint"], "group")
        equal(box.spool(), [], "spool")


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


@cases(open=(0o755, None), of_another_user=(0o700, 65534), group=(0o710, None))
def state_directory_is_refused(case):
    mode, owner = case
    if owner and os.geteuid():
        raise Skip("root")
    with Box() as box:
        os.mkdir(box.state)
        os.chmod(box.state, mode)
        if owner:
            os.chown(box.state, owner, -1)
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


@test
def crash_loop_is_capped():
    """Ten an hour of one kind, over all processes; the next one tells how many there were."""
    with Box() as box:
        for _ in range(13):
            equal(box.run(BOOM).rc, 1, "exit status")
        equal(len(box.rollbar.wait(10)), 10, "items")
        limits = box.path("state", "limits")
        with open(limits) as f:
            line, = f.read().split("\n")[:-1]
        fingerprint, since, sent, suppressed = line.split()
        equal((sent, suppressed), ("10", "3"), "limits")
        with open(limits, "w") as f:                    # an hour later
            f.write("%s %d %s %s\n" % (fingerprint, int(since) - 3700, sent, suppressed))
        equal(box.run(BOOM).rc, 1, "exit status")
        equal(box.rollbar.wait(11)[10]["custom"]["suppressed"], 3, "suppressed")
        equal(len(box.remora("crashes").out.splitlines()), 14, "all are kept here")
        box.check()


@test
def old_items_are_dropped():
    with Box() as box:
        box.rollbar.always = Reply(500)
        box.remora("rollbar", "test", rc=1)
        old, = box.spool()
        name = os.path.basename(old)
        os.rename(old, os.path.join(os.path.dirname(old), "%013d" % (int(name[:13]) - 8 * 86400000) + name[13:]))
        r = box.remora("flush")
        check("1 items were dropped" in r.text, r.text)
        equal((box.spool(), len(box.rollbar.posts)), ([], 1), "spool and posts")


# ---------------------------------------------------------------- the command

@test
def command_line():
    with Box() as box:
        check("usage" in box.remora("rollbar", "--help").out.decode(), "help on stdout")
        box.remora("rollbar", "test", "--level", "warning", "Hello World!")
        item, = box.rollbar.wait(1)
        equal((item["level"], item["body"]["message"]["body"]), ("warning", "Hello World!"), "item")
        check("critical, error" in box.remora("rollbar", "test", "--level", "loud", rc=2).text, "levels")
        box.remora("rollbar", "test", "a", "b", rc=2)
        r = box.remora("rollbar", "test", rc=2, env={"ROLLBAR_ENDPOINT": "nonsense"})
        check("ROLLBAR_ENDPOINT" in r.text and "no access token" not in r.text, r.text)
        box.rollbar.script = [Reply(503)]
        box.remora("rollbar", "test", rc=1)
        check("1 items sent" in box.remora("rollbar", "flush").text, "flush")
        box.rollbar.script = [Reply(422, body=b'{"err":1,"message":"no"}'), Reply(503)]
        r = box.remora("rollbar", "test", rc=1)
        check('"no"' in r.text, r.text)
        box.remora("rollbar", "flush", rc=2, env={"ROLLBAR_ACCESS_TOKEN": None})
        equal(box.run(BOOM).rc, 1, "exit status")
        check("ZeroDivisionError" in box.remora("crashes", "show", "last").text, "the last one")


if __name__ == "__main__":
    main()
