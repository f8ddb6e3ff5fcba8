"""Several environments on one machine, one user and one runtime directory: each one's data go with its own keys only."""
import json

from harness import *
from cloudwatch_stub import CloudWatch, Reply
from rollbar_stub import Rollbar

# Calls somebody, prints a line, fails: something for every destination.
WORK = """
import sys, urllib.request
name, url = sys.argv[1:]
urllib.request.urlopen(url + '/ok?of=' + name).read()
print('line of', name, flush=True)
raise ValueError('error of ' + name)
"""
KILLED = WORK.replace("raise ValueError('error of ' + name)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
# A process manager: its children have environments of their own.
MANAGER = """
import json, os, subprocess, sys, urllib.request
print('line of manager', flush=True)
urllib.request.urlopen(sys.argv[1] + '/ok?of=manager').read()
for argv, env in json.loads(sys.argv[2]):
    subprocess.run(argv, env={**os.environ, **env})
"""


class Machine(Sandbox):
    def __init__(self, names, **kw):
        needs_module("botocore")
        super().__init__(Receiver(), OTEL_BLRP_SCHEDULE_DELAY="100", REMORA_EXIT_WAIT_MS="8000", **kw)
        self.cw = self.keep(CloudWatch({"AKID" + n.upper(): ("secret/of+" + n, "token/of+" + n) for n in names}, groups=["cruddur"]))
        self.rollbar = self.keep(Rollbar([self.token(n) for n in names]))
        self.up = self.keep(Upstream())
        self.puts, put = [], self.cw._post              # (key of the signature, its lines)

        def post(h):
            before = len(self.cw.messages())
            put(h)
            if h.headers["X-Amz-Target"].endswith("PutLogEvents"):
                self.puts.append((re.search("Credential=([^/]+)", h.headers["Authorization"])[1], self.cw.messages()[before:]))
        self.cw._post = post

    def token(self, name):
        return (name.encode().hex() * 32)[:32]

    def of(self, name):
        """Variables of an environment."""
        return {"OTEL_SERVICE_NAME": name, "OTEL_EXPORTER_OTLP_HEADERS": "x-honeycomb-team=team-" + name,
                "ROLLBAR_ACCESS_TOKEN": self.token(name), "ROLLBAR_ENDPOINT": self.rollbar.url,
                "REMORA_CLOUDWATCH_LOG_GROUP": "cruddur", "REMORA_CLOUDWATCH_LOG_STREAM": name, "AWS_REGION": "ca-central-1",
                "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": self.cw.url, "AWS_ACCESS_KEY_ID": "AKID" + name.upper(),
                "AWS_SECRET_ACCESS_KEY": "secret/of+" + name, "AWS_SESSION_TOKEN": "token/of+" + name}

    def spans(self):
        """{(team of the request, service, target of the call)}"""
        return {(r.headers.get("x-honeycomb-team"), s.resource["service.name"], s["url.full"].split("of=")[1])
                for r in self.recv.requests if r.status == 200 for s in r.spans}

    def lines(self):
        """{(key, first line of an event)}"""
        return {(key, m.split("\n")[0]) for key, messages in self.puts for m in messages}

    def items(self):
        """{(token, message)}"""
        return {(p.headers["X-Rollbar-Access-Token"], p.data["body"]["trace"]["exception"]["message"])
                for p in self.rollbar.posts if p.status == 200}

    def check(self):
        self.cw.check()
        self.rollbar.check()


@test
def children_with_their_own_keys():
    """Of one tree: who has its parent's environment shares its exporter, who has not has one of its own."""
    with Machine("ab") as box:
        work = box.write("work.py", WORK)
        jobs = [([PYTHON, work, "worker", box.up.url], {}), ([PYTHON, work, "b", box.up.url], box.of("b"))]
        r = box.run([PYTHON, box.write("manager.py", MANAGER), box.up.url, json.dumps(jobs)], env=box.of("a"))
        equal((r.rc, r.out), (0, b"line of manager\nline of worker\nline of b\n"), "the programs")
        equal(box.spans(), {("team-a", "a", "manager"), ("team-a", "a", "worker"), ("team-b", "b", "b")}, "spans")
        lines = {(k, l) for k, l in box.lines() if l.startswith("line")}
        equal(lines, {("AKIDA", "line of manager"), ("AKIDA", "line of worker"), ("AKIDB", "line of b")}, "lines")
        equal({k: set(v) for k, v in box.cw.streams().items()}.keys(), {"a", "b"}, "streams")
        equal(box.items(), {(box.token("a"), "error of worker"), (box.token("b"), "error of b")}, "items")
        box.check()


@test
def flush_all_sends_with_the_keys_at_hand():
    with Machine("ab") as box:
        box.recv.script = lambda req: Answer(503)
        box.run([PYTHON, box.write("killed.py", KILLED), "a", box.up.url], env=box.of("a"))
        box.recv.script = []
        r = box.run([LAUNCHER, "flush", "--all"], env={**box.of("b"), "LD_PRELOAD": None})
        check(b"1 spans sent" in r.out, repr(r))
        equal(box.spans(), {("team-b", "a", "a")}, "spans")


@test
def what_a_killed_one_left_goes_with_its_own_keys():
    """Its receivers were away. The next start has other keys: nothing of it is sent with them; then one with its own."""
    with Machine("ab") as box:
        box.recv.script = lambda req: Answer(503)
        box.cw.always = Reply(503)
        r = box.run([PYTHON, box.write("killed.py", KILLED), "a", box.up.url], env=box.of("a"))
        equal(r.rc, -signal.SIGKILL, "it was killed")
        box.recv.script, box.cw.always = [], None
        work = box.write("work.py", WORK)
        for _ in range(2):
            box.run([PYTHON, work, "b", box.up.url], env=box.of("b"))
        equal((box.spans(), {l for l in box.lines() if "line" in l[1]}), ({("team-b", "b", "b")}, {("AKIDB", "line of b")}), "of b alone")
        flush = box.run([LAUNCHER, "flush"], env={**box.of("b"), "LD_PRELOAD": None})
        check(b"0 spans sent" in flush.out and b"spans and lines of 1 killed programs are for other settings" in flush.out, repr(flush))
        box.run([PYTHON, work, "a", box.up.url], env=box.of("a"))
        equal(box.spans(), {("team-a", "a", "a"), ("team-b", "b", "b")}, "spans")
        equal({l for l in box.lines() if "line" in l[1]}, {("AKIDA", "line of a"), ("AKIDB", "line of b")}, "lines")
        equal([m for m in box.cw.messages() if m == "line of a"], ["line of a"] * 2, "of both runs")
        equal(len(box.recv.spans()), 4, "each span once")
        box.check()


if __name__ == "__main__":
    main()
