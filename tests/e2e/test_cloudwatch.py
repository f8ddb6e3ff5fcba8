"""CloudWatch Logs: lines of real programs, in a stub built from the service model and in moto."""
import binascii
import collections
import datetime
import json
import random
import struct
import time

from harness import *
from cloudwatch_stub import CloudWatch, KEYS, Reply

KEY, (SECRET, _) = next(iter(KEYS.items()))


class Box(Sandbox):
    """A sandbox with a CloudWatch, which the programs in it log to."""

    def __init__(self, cloudwatch=None, **env):
        needs_module("botocore")
        super().__init__(**env)
        self.cw = self.keep(cloudwatch or CloudWatch(groups=["cruddur"]))

    def env(self, traced=True, **more):
        aws = {"REMORA_CLOUDWATCH_LOG_GROUP": "cruddur", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": self.cw.url,
               "AWS_REGION": "ca-central-1", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
               "OTEL_BLRP_SCHEDULE_DELAY": "100", "REMORA_CLOUDWATCH_LOG_STREAM": "s",
               "REMORA_STATE_DIR": os.path.join(self.dir, "state")} if traced else {}
        return super().env(traced, **{**aws, **self._env, **more})

    def python(self, text, **kw):
        return self.run([PYTHON, self.write("a.py", text)], **kw)

    def both(self, argv, env=None, rc=0):
        plain = self.run(argv, traced=False, env=env)
        traced = self.run(argv, env=env)
        equal((traced.rc, traced.out, traced.err), (plain.rc, plain.out, plain.err), "what it printed")
        equal(traced.rc, rc, "exit status")
        return traced

    def lines(self, stream="s"):
        return [m for _, m in self.cw.streams().get(stream, [])]


def talker(box, **env):
    """A program that prints what it is told, in one write, and lives until end()."""
    h = box.start([PYTHON, "-c", "import os, sys\nfor l in iter(sys.stdin.buffer.readline, b''):\n  l = eval(l)\n"
                   "  while l: l = l[os.write(1, l):]"], stdin=subprocess.PIPE, env=env)

    def say(text):
        h.proc.stdin.write(repr((text + "\n").encode()).encode() + b"\n")
        h.proc.stdin.flush()

    def end():
        h.proc.stdin.close()
        equal(h.wait(), 0, "exit status")
    h.say, h.end = say, end
    return h


# ---------------------------------------------------------------- signatures

@test
def sigv4_against_botocore():
    needs_module("botocore")
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    rng, out = random.Random(4), []
    text = lambda most, chars: "".join(rng.choice(chars) for _ in range(rng.randrange(most)))
    plain = "abcXYZ019-_.~"
    for i in range(500):
        path = "/" + "/".join(text(8, plain + "%20:@!$'()*+,;=") for _ in range(rng.randrange(4))) + rng.choice(["", "/"])
        query = "&".join(text(6, plain) + "x" + rng.choice(["=" + text(8, plain + "%/:"), "=", "=a"]) for _ in range(rng.randrange(5)))
        headers = {"X-H%d-%s" % (k, text(5, "abc-")): (rng.choice(["", " "]) + text(20, plain + "  \t,\"")) or "v" for k in range(rng.randrange(5))}
        body, token = text(200, plain + " {}\"\\äß€"), rng.choice(["", "TOKEN" + text(40, plain + "/+=")])
        region, service = rng.choice(["us-east-1", "ca-central-1", "cn-north-1"]), rng.choice(["logs", "xray", "monitoring"])
        when = datetime.datetime.fromtimestamp(rng.randrange(1 << 31), datetime.timezone.utc)
        host = rng.choice(["logs.us-east-1.amazonaws.com", "127.0.0.1:5000", "h:8443"])
        secret = text(40, plain + "/+") or "s"
        auth = SigV4Auth(Credentials("AKID" + str(i), secret, token or None), service, region)
        request = AWSRequest(rng.choice(["GET", "POST", "PUT"]), "http://%s%s%s" % (host, path, "?" + query if query else ""),
                             headers=headers, data=body.encode())
        stamp = when.strftime("%Y%m%dT%H%M%SZ")
        request.context["timestamp"] = stamp
        request.headers["X-Amz-Date"] = stamp
        if token:
            request.headers["X-Amz-Security-Token"] = token
        canonical = auth.canonical_request(request)
        signature = auth.signature(auth.string_to_sign(request, canonical), request)
        want = "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s" % (
            auth.scope(request), auth.signed_headers(auth.headers_to_sign(request)), signature)
        fields = [request.method, host, path, query, "\n".join("%s: %s" % h for h in headers.items()), body, region, service,
                  "AKID" + str(i), secret, token, str(int(when.timestamp())), want]
        out.append(" ".join(binascii.hexlify(f.encode()).decode() or "-" for f in fields))
    with Sandbox() as box:
        cases = box.write("cases", "\n".join(out) + "\n")
        r = box.run([os.path.join(BUILD, "tests", "unit", "test_sigv4"), "another"], traced=False, env={"REMORA_SIGV4_CASES": cases})
        check(r.rc == 0 and b"500 cases" in r.out, r.out.decode()[-600:])


# ---------------------------------------------------------------- real programs

LOGGING = """
import json, logging, sys
from flask import Flask
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format='%(asctime)s %(levelname)s %(name)s %(message)s')
logging.getLogger('werkzeug').disabled = True
log = logging.getLogger('cruddur')
app = Flask(__name__)
@app.route('/log/<n>')
def say(n):
    log.info('test log %s', n)
    print(json.dumps({'severity': 'WARN', 'n': int(n)}))
    try:
        {}['key']
    except KeyError:
        log.exception('no key for %s', n)
    return n
"""


@test
def flask_lines_carry_their_trace():
    with Box(REMORA_CLOUDWATCH_FORMAT="json") as box:
        box.write("app.py", LOGGING)
        app = box.gunicorn(workers=2, cwd=box.dir)
        sent = load(app.port, 40, 4, lambda i: ("GET", "/log/%d" % i, {}, None))
        spans = {target_of(s): s for s in box.recv.wait(40)}
        lines = box.cw.wait(lambda: (lambda l: len([m for m in l if "test log" in m]) == 40 and
                                     len([m for m in l if "no key" in m]) == 40 and l)(box.lines()), "the lines of 40 requests")
        app.stop()
        equal(len(sent), 40, "requests")
        for i in range(40):
            span = spans["/log/%d" % i]
            mine = [json.loads(m) for m in lines if re.search(r"(test log|key for|\"n\":) %d\b" % i, m)]
            equal(len(mine), 3, "lines of request %d" % i)
            for m in mine:
                equal((m["trace_id"], m["span_id"]), (span.trace_id, span.span_id), "ids of %r" % m)
        text, data, error = mine
        check(text["level"] == "INFO" and text["stream"] == "stdout" and text["message"].endswith("test log 39"), repr(text))
        equal({k: data[k] for k in ("severity", "n")}, {"severity": "WARN", "n": 39}, "the JSON line")
        check("\nTraceback (most recent call last):\n" in error["message"] and error["message"].endswith("KeyError: 'key'") and
              error["level"] == "ERROR", repr(error))
        box.cw.check()


@test
def text_goes_as_it_is():
    """Uncaught errors are one event; bytes that are no UTF-8, NUL, blank lines, no end; the program sees none of it."""
    script = ("import sys\nprint('one'); print(); print('  '); print('äß€')\nsys.stdout.flush()\n"
              "sys.stdout.buffer.write(b'\\xff\\xfe bad\\x00 \\xe2\\x82\\n' + b'crlf\\r\\n'); sys.stdout.flush()\n"
              "def f(): raise ValueError('x')\ndef g():\n  try: f()\n  except ValueError as e: raise KeyError('y') from e\n"
              "sys.stderr.write('WARNING: to stderr\\n')\nsys.stdout.write('no end'); sys.stdout.flush()\ng()\n")
    with Box() as box:
        path = box.write("a.py", script)
        r = box.both([PYTHON, path], rc=1)
        lines = box.lines()
        want = ["one", "  ", "äß€", "\ufffd\ufffd bad\ufffd \ufffd", "crlf", "WARNING: to stderr", "no end"]
        equal([l for l in lines if "Traceback" not in l], want, "lines")
        error, = [l for l in lines if "Traceback" in l]
        equal(error + "\n", r.err.decode().split("to stderr\n")[1], "the error, whole")
        box.cw.check()


@test
def c_program_byte_for_byte():
    """stdio in all its modes, fd 1 and 2, dup2, fork, vfork, handlers: tests/hosts/texts.c."""
    exe = os.path.join(BUILD, "hosts", "texts")
    with Box(REMORA_LOG="off") as box:
        for mode in ("modes", "wide", "failing", "closed"):
            plain, traced = box.run([exe, mode], traced=False), box.run([exe, mode])
            equal((traced.rc, traced.out, traced.err), (plain.rc, plain.out, plain.err), mode)
        r = box.run([exe, "modes"])
        box.cw.groups["cruddur"]["s"] = []
        r = box.run([exe, "modes"])
        got = collections.Counter(l for m in box.lines() for l in m.split("\n"))
        want = collections.Counter(l for l in (r.out + r.err).decode().split("\n") if l)
        # another stream on a copy of fd 2 is no fd 2; a vfork child runs in its parent's memory, and is left alone
        for line in ("another stream", "in the vfork child"):
            want.pop(line)
        check(got == want, "lost %r, invented %r" % (want - got, got - want))
        box.cw.check()


@cases(node=["node", "-e", "console.log('a'); console.error('b'); setTimeout(() => console.log('c'), 200)"],
       ruby=["ruby", "-e", "puts 'a'; STDERR.puts 'b'; puts 'c'"])
def other_languages(argv):
    argv = [needs(argv[0]), *argv[1:]]
    with Box() as box:
        box.both(argv)
        equal(sorted(box.lines()), ["a", "b", "c"], "lines")


@test
def java_error_is_one_event():
    java, javac = needs("java"), needs("javac")
    with Box() as box:
        box.write("T.java", "public class T { public static void main(String[] a) { System.out.println(1);\n throw new RuntimeException(\"c\"); } }\n")
        equal(box.run([javac, "T.java"], traced=False, timeout=90).rc, 0, "javac")
        box.both([java, "-cp", box.dir, "T"], rc=1)
        equal(box.lines(), ["1", "Exception in thread \"main\" java.lang.RuntimeException: c\n\tat T.main(T.java:2)"], "lines")


@test
def other_files_on_fd_1():
    """What dup2 puts there is no log; the old file, back again, is one."""
    with Box() as box:
        r = box.python("import os\ndef say(t): os.write(1, t + b'\\n')\nsay(b'one')\nold = os.dup(1)\n"
                       "f = os.open('data', os.O_CREAT | os.O_WRONLY, 0o600)\nos.dup2(f, 1)\nsay(b'data')\nos.dup2(old, 1)\nsay(b'two')\n"
                       "os.close(1)\nf = os.open('data2', os.O_CREAT | os.O_WRONLY, 0o600)\nassert f == 1\nsay(b'data too')\n")
        equal((r.rc, r.out), (0, b"one\ntwo\n"), "the program")
        equal((open(box.path("data")).read(), open(box.path("data2")).read()), ("data\n", "data too\n"), "its files")
        equal(box.lines(), ["one", "two"], "lines")


@test
def json_lines():
    with Box() as box:
        box.python("print('{\"a\": 1}')\nprint('{}')\nprint('{\"a\": [1, {\"b\": \"}\"}]} ')\nprint('{broken')\n",
                   env={"TRACEPARENT": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
        equal(box.lines(), ['{"a": 1}', "{}", '{"a": [1, {"b": "}"}]} ', "{broken"], "outside of a request nothing is added")
        box.cw.check()


@test
def levels_and_rate():
    with Box(REMORA_CLOUDWATCH_LEVEL="warning", REMORA_LOG="debug") as box:
        r = box.python("print('INFO a'); print('[warn] b'); print('{\"level\":\"debug\"}'); print('2026-01-02 03:04:05,1 - x - ERROR - c')\n"
                       "print('no level'); print('level=info d'); print('I0102 03:04:05.1 1 f.go:1] g')\n")
        equal(box.lines(), ["[warn] b", "2026-01-02 03:04:05,1 - x - ERROR - c", "no level"], "lines from warning on")
        check(b"lines.filtered 4" in r.err, r.err.decode()[-300:])
    with Box(REMORA_CLOUDWATCH_RATE="10", REMORA_LOG="debug") as box:
        r = box.python("for i in range(1000): print(i)\n")
        check(10 <= len(box.lines()) <= 30, "%d lines of 1000 at 10 a second" % len(box.lines()))
        check(b"lines.filtered %d" % (1000 - len(box.lines())) in r.err, r.err.decode()[-300:])


@test
def streams_chosen():
    for streams, want in (("stdout", ["out"]), ("stderr", ["err"]), (None, ["out", "err"])):
        with Box(REMORA_CLOUDWATCH_STREAMS=streams) as box:
            box.python("import sys; print('out'); sys.stderr.write('err\\n')\n")
            equal(sorted(box.lines()), sorted(want), "of %s" % streams)


@test
def stream_named_by_the_root():
    with Box(REMORA_CLOUDWATCH_LOG_STREAM=None) as box:
        h = box.start([PYTHON, "-c", "import os; print('parent', flush=True); os.fork() or print('child'); os.wait() if 0 else None"])
        h.wait()
        box.cw.wait_messages(2)
        equal(list(box.cw.streams()), ["%s/%s/%d" % (socket.gethostname(), os.path.basename(os.path.realpath(PYTHON)), h.pid)], "stream")


@test
def access_log():
    with Box(REMORA_CLOUDWATCH_ACCESS_LOG="1", REMORA_CLOUDWATCH_STREAMS="stderr") as box:
        app = box.flask_dev(env={"BACKEND_URL": "http://127.0.0.1:1"})
        load(app.port, 1, 1, lambda i: ("GET", "/api/activities/home", {}, None))
        load(app.port, 1, 1, lambda i: ("GET", "/api/activities/search?term=x&token=hunter2", {}, None))
        mine = lambda: [m for m in box.lines() if re.match(r"\[\d{4}-[A-Z][a-z]{2}-\d\d \d\d:\d\d\] ", m)]
        got = box.cw.wait(lambda: len(mine()) == 2 and mine(), "two lines")
        equal([m.split("] ")[1] for m in got], ["127.0.0.1 GET http /api/activities/home? 200",
                                                "127.0.0.1 GET http /api/activities/search?term=x&token=REDACTED 200"], "lines")
        app.stop(signal.SIGINT)
    with Box(REMORA_CLOUDWATCH_ACCESS_LOG="1", REMORA_CLOUDWATCH_STREAMS="stderr", REMORA_CLOUDWATCH_FORMAT="json",
             REMORA_CLOUDWATCH_LEVEL="warn") as box:
        web = box.http_server(files={"a.txt": b"hello"})
        load(web.port, 4, 1, lambda i: ("GET", "/a.txt" if i % 2 else "/gone", {}, None))
        box.cw.wait(lambda: len([m for m in box.lines() if "http /gone?" in m]) == 2, "two lines")
        spans = box.recv.wait(2, where=lambda s: target_of(s) == "/gone")
        web.stop(signal.SIGINT)
        got = [json.loads(m) for m in box.lines() if json.loads(m)["stream"] == "access"]
        equal([(m["level"], m["message"][-4:]) for m in got], [("WARN", " 404")] * 2, "levels by status; 200 is left out")
        equal({m["trace_id"] for m in got}, {s.trace_id for s in spans}, "traces")


@test
def metrics():
    with Box(REMORA_CLOUDWATCH_METRICS="1", REMORA_CLOUDWATCH_STREAMS="stderr", OTEL_SERVICE_NAME="backend-flask") as box:
        app = box.gunicorn(env={"BACKEND_URL": "http://127.0.0.1:1"})
        sent = load(app.port, 150, 4, lambda i: ("GET", "/api/activities/home" if i % 3 else "/api/weather", {}, None))
        box.recv.wait(150, where=is_server)
        app.stop()
        found = box.cw.wait(lambda: [json.loads(m) for m in box.lines() if m.startswith('{"_aws"')], "metrics")
        equal(sum(m["requests"] for m in found), 150, "requests")
        equal(sum(m["faults"] for m in found), len([r for r in sent if r.status >= 500]), "faults")
        for m in found:
            equal((m["service"], m["_aws"]["CloudWatchMetrics"][0]["Dimensions"]), ("backend-flask", [["service"]]), "service")
            check(0 < len(m["latency"]) <= 100 and all(0 < v < 60000 for v in m["latency"]), repr(m))
            equal({d["Name"] for d in m["_aws"]["CloudWatchMetrics"][0]["Metrics"]}, {"requests", "faults", "latency"}, "names")


@test
def tls():
    """As at AWS: https, by the machine's authorities, SSL_CERT_FILE or AWS_CA_BUNDLE."""
    ca_dir = tempfile.mkdtemp(prefix="remora-e2e-")
    ca = TestCA(ca_dir)
    for env, arrives in (({"SSL_CERT_FILE": ca.ca}, ["x"]), ({"AWS_CA_BUNDLE": ca.ca}, ["x"]), ({}, [])):
        with Box(CloudWatch(groups=["cruddur"], tls=ca.server_context()), REMORA_EXIT_WAIT_MS="5000", REMORA_LOG="debug") as box:
            r = box.python("print('x')\n", env=env)
            equal((r.rc, r.out, box.lines()), (0, b"x\n", arrives), "%r: %s" % (env, r.err.decode()[-400:]))
    shutil.rmtree(ca_dir)


# ---------------------------------------------------------------- limits

@test
def long_lines_and_many():
    """5 MB in one write; 30,000 lines at once."""
    with Box() as box:
        h = talker(box)
        h.say("first")
        box.cw.wait_messages(1)     # the exporter is there: it makes room
        h.say("x" * 5000000)
        h.say("after")
        h.end()
        equal([len(l) for l in box.lines()], [5, 1024 * 1024 - 26, 5], "lengths; the second is cut where the service does")
        box.cw.check()
    with Box(REMORA_EXIT_WAIT_MS="10000") as box:
        h = talker(box)
        h.say("first")
        box.cw.wait_messages(1)
        h.say("\n".join("line %d" % i for i in range(30000)))
        h.end()
        equal(box.lines(), ["first"] + ["line %d" % i for i in range(30000)], "in order")
        check(box.cw.batches >= 3, "10,000 events are a batch at most")
        box.cw.check()


@cases(no_utf8_text=(b"\xff", "\ufffd", "text"), no_utf8_json=(b"\xff", "\ufffd", "json"), umlauts_text=("ä".encode(), "ä", "text"),
       umlauts_json=("ä".encode(), "ä", "json"), quotes_json=(b'"', '"', "json"))
def five_megabytes(case):
    """A line that grows where it is made fit, or is cut within a character, is as long as the service takes, and whole
    characters; the lines around it are all there."""
    piece, char, form = case
    with Box(REMORA_CLOUDWATCH_FORMAT=form) as box:
        text = lambda m: json.loads(m)["message"] if form == "json" else m
        h = talker(box)
        h.say("first")
        box.cw.wait_messages(1)     # the exporter is there: it makes room
        h.proc.stdin.write(b"%r * %d + b'\\nafter\\n'\n" % (piece, 5000000 // len(piece)))
        h.proc.stdin.flush()
        h.end()
        first, long, after = box.lines()
        equal((text(first), text(after)), ("first", "after"), "the lines around it")
        equal(set(text(long)), {char}, "its characters")
        n, most = len(long.encode()), 1024 * 1024 - 26
        check(most - 600 <= n <= most, "%d bytes of at most %d" % (n, most))
        equal([len(l) for l in h.out], [5, 5000000 // len(piece), 5], "what the program printed")
        box.cw.check()


@test
def rejected_events_are_counted():
    with Box(REMORA_LOG="debug") as box:
        box.cw.groups["cruddur"]["s"] = []
        box.cw.script = [Reply(body=b'{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":2,"tooNewLogEventStartIndex":4}}')]
        r = box.python("import os; os.write(1, b'a\\nb\\nc\\nd\\ne\\n')\n")
        check(b"3 of 5 events" in r.err and b"dropped.lines 3" in r.err, r.err.decode()[-500:])


# struct span_rec: 512 bytes, of which these.
SLOT, KIND, START, SPAN_TEXT = 512, 22, 72, 16
DAY, NOW = 86400 * 10**9, time.time_ns()
# What each line is forged to, and whether the service takes it: 14 days back, 2 hours ahead.
FORGED = {"epoch": (1, False), "old": (NOW - 14 * DAY - DAY // 24, False), "nearly_old": (NOW - 14 * DAY + DAY // 24, True),
          "now": (NOW, True), "soon": (NOW + DAY // 24, True), "new": (NOW + DAY // 8, False),
          "next_year": (NOW + 365 * DAY, False), "never": (2**64 - 1, False)}


def forge(path, times):
    """Gives the lines in a killed tree's arena other times; how many were found."""
    with open(path, "r+b") as f:
        data, found = f.read(), 0
        first = struct.unpack_from("=I", data, 12)[0]       # after magic and layout: where slots begin
        for at in range(first, len(data) - SLOT + 1, SLOT):
            for text, (ns, _) in times.items():
                if data[at + KIND] == SPAN_TEXT and b"line %s\n" % text.encode() in data[at:at + SLOT]:
                    f.seek(at + START)
                    f.write(struct.pack("=Q", ns))
                    found += 1
    return found


@test
def forged_times():
    """Lines of any time, from an arena that somebody wrote into: what the service refuses is counted, is not sent again, and
    takes no other line with it."""
    with Box(REMORA_LOG="debug") as box:
        box.cw.groups["cruddur"]["s"] = []
        box.cw.always = Reply(503)
        box.python("import os, signal\nfor t in %r: os.write(1, b'line %%s\\n' %% t.encode())\nos.kill(os.getpid(), signal.SIGKILL)\n"
                   % list(FORGED))
        path, = [os.path.join(box.runtime, n) for n in os.listdir(box.runtime) if n.endswith(".arena")]
        equal(forge(path, FORGED), len(FORGED), "records in the arena")
        offered, put = [], box.cw._put

        def note(data):
            offered.extend(e["message"] for e in data["logEvents"])
            return put(data)
        box.cw._put, box.cw.always = note, None
        r = box.python("print('after')\n", env={"REMORA_EXIT_WAIT_MS": "10000"})
        equal((r.rc, r.out), (0, b"after\n"), "the program")
        good = {"line " + t for t, (_, fine) in FORGED.items() if fine} | {"after"}
        equal(collections.Counter(box.lines()), collections.Counter(good), "lines that were taken")
        equal(collections.Counter(offered), collections.Counter(["line " + t for t in FORGED] + ["after"]), "each is sent once")
        said = r.err.decode()
        check(said.count("are too old or too new for log group cruddur (14 days or its retention, 2 hours)") == 1, said[-600:])
        check(b"dropped.lines %d" % (len(FORGED) + 1 - len(good)) in r.err, said[-600:])
        box.cw.check()


# ---------------------------------------------------------------- answers

@test
def group_and_stream_are_made():
    with Box(CloudWatch(), REMORA_CLOUDWATCH_RETENTION_DAYS="14") as box:
        box.python("print('x')\n")
        equal((box.lines(), box.cw.retention), (["x"], {"cruddur": 14}), "lines and retention")
        equal([c.op for c in box.cw.calls], ["PutLogEvents", "CreateLogGroup", "PutRetentionPolicy", "CreateLogStream", "PutLogEvents"], "calls")
        box.cw.check()
    with Box(REMORA_CLOUDWATCH_RETENTION_DAYS="14") as box:
        box.python("print('x')\n")
        equal((box.lines(), box.cw.retention), (["x"], {}), "somebody else's group keeps its retention")
    with Box() as box:      # no right to make groups
        box.cw.script = [Reply(400, "ResourceNotFoundException"), Reply(400, "AccessDeniedException")]
        box.python("print('x')\n")
        equal(box.lines(), ["x"], "lines")


BAD = dict(throttled=Reply(400, "ThrottlingException"), unavailable=Reply(503, "ServiceUnavailableException"),
           many=Reply(429, headers={"Retry-After": "1"}, body=b""), reset=Reply(action="reset"),
           html=Reply(200, body=b"<html>log in</html>"), gateway=Reply(502, body=b"<html>"))


@cases(**BAD)
def tried_again(reply):
    with Box() as box:
        box.cw.groups["cruddur"]["s"] = []
        box.cw.script = [reply]
        h = talker(box)
        h.say("x")
        box.cw.wait_messages(1)
        h.end()
        equal(box.lines(), ["x"], "lines")


@test
def hanging_backend():
    """The exit waits as long as it was told to, and the lines go out with the next start."""
    with Box(REMORA_EXIT_WAIT_MS="300") as box:
        box.cw.groups["cruddur"]["s"] = []
        box.cw.always = Reply(action="hang")
        plain = box.python("print('x')\n", traced=False)
        start = time.monotonic()
        r = box.python("print('x')\n")
        check(time.monotonic() - start < 5 * PATIENCE, "it took %.1f s" % (time.monotonic() - start))
        equal((r.rc, r.out), (plain.rc, plain.out), "the program")
        box.cw.always = None
        box.python("print('y')\n", env={"REMORA_EXIT_WAIT_MS": "5000"})
        equal(sorted(box.lines()), ["x", "y"], "lines")


@test
def refused_and_counted():
    with Box(REMORA_LOG="debug") as box:
        box.cw.script = [Reply(400, "InvalidParameterException", "no such thing")]
        r = box.python("import os; os.write(1, b'a\\nb\\n')\n")
        check(b"lines are refused: status 400 InvalidParameterException: no such thing" in r.err and b"dropped.lines 2" in r.err,
              r.err.decode()[-500:])
        equal(box.lines(), [], "lines")


@cases(behind=7200, ahead=-7200)
def clock_is_corrected(skew):
    with Box(CloudWatch(groups=["cruddur"], skew=skew)) as box:
        box.python("print('x')\n")
        (ms, text), = box.cw.streams()["s"]
        equal(text, "x", "line")
        check(abs(ms / 1000 - time.time() - skew) < 60, "the event's time is %d s off" % (ms / 1000 - time.time() - skew))
        box.cw.check()


@test
def killed_and_sent_by_the_next():
    with Box() as box:
        box.cw.always = Reply(503)
        box.python("import os, signal\nfor i in range(100): print('first', i, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
        equal(box.lines(), [], "lines while it is not well")
        box.cw.always = None
        h = talker(box)
        h.say("second")
        box.cw.wait_messages(101)
        h.end()
        equal(sorted(box.lines()), sorted(["first %d" % i for i in range(100)] + ["second"]), "lines")
        box.cw.check()


HANDOVER = """
import os, signal, time
def say(who, n):
    for i in range(n):
        os.write(1, b'%s %d\\n' % (who, i))
        time.sleep(0.0005)
    os._exit(0)
a = os.fork()
if not a:
    os.write(1, b'first %d\\n' % os.getpid())
    say(b'a', 1000000)
os.read(0, 1)                  # a exports
b = os.fork()
if not b: say(b'b', 3000)
os.read(0, 1)                  # lines of both have arrived
os.kill(a, signal.SIGKILL)
os.waitpid(a, 0)
os.waitpid(b, 0)
"""


@test
def exporter_is_killed():
    """Another process takes over: nothing that was printed is lost, and what was on its way may come twice."""
    with Box(OTEL_BLRP_SCHEDULE_DELAY="50", REMORA_LOG="debug") as box:
        box.cw.groups["cruddur"]["s"] = []
        box.cw.delay = 0.05
        sizes, put = [], box.cw._put

        def note(data):
            sizes.append(len(data["logEvents"]))
            return put(data)
        box.cw._put = note
        h = box.start([PYTHON, box.write("a.py", HANDOVER)], stdin=subprocess.PIPE)
        pid = h.wait_line(r"^first (\d+)")[1]
        equal(h.wait_line(r"remora: exporting from .* process (\d+)")[1], pid, "who exports")
        h.proc.stdin.write(b"x")
        h.proc.stdin.flush()
        box.cw.wait(lambda: {l[:2] for l in box.lines()} >= {"a ", "b "} and len(box.lines()) > 200, "lines of both")
        h.proc.stdin.close()
        equal(h.wait(), 0, "exit status")
        printed = collections.Counter(h.out)
        check(printed["b 2999"] and len([l for l in printed if l.startswith("a ")]) > 100, "lines printed: %d" % len(printed))
        # a line is noted when its write has returned: the one that was being written at the kill may be printed only
        last = {[l for l in h.out if l.startswith("a ")][-1]}
        box.cw.wait(lambda: set(printed - collections.Counter(box.lines())) <= last, "all that was printed")
        got = collections.Counter(box.lines())
        equal(set(got) | last, set(printed), "lines")
        check(sum((got - printed).values()) <= max(sizes), "%d lines came twice, calls of %r" % (sum((got - printed).values()), sizes))
        check(len(re.findall("remora: exporting from", "\n".join(h.err))) >= 2, "exporters: %r" % h.err[:6])


@test
def bad_settings_are_told():
    rows = [({"REMORA_CLOUDWATCH_LOG_GROUP": "a b"}, "REMORA_CLOUDWATCH_LOG_GROUP"),
            ({"REMORA_CLOUDWATCH_LOG_STREAM": "a:b"}, "REMORA_CLOUDWATCH_LOG_STREAM"),
            ({"REMORA_CLOUDWATCH_LEVEL": "loud"}, "REMORA_CLOUDWATCH_LEVEL"),
            ({"REMORA_CLOUDWATCH_RETENTION_DAYS": "2"}, "REMORA_CLOUDWATCH_RETENTION_DAYS"),
            ({"REMORA_CLOUDWATCH_FORMAT": "xml"}, "REMORA_CLOUDWATCH_FORMAT"),
            ({"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": "ftp://x"}, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"),
            ({"AWS_REGION": "a/b"}, "AWS_REGION")]
    for env, name in rows:
        with Box() as box:
            r = box.python("print('x')\n", env=env)
            said = [l for l in r.err.decode().splitlines() if l.startswith("remora:")]
            check(len(said) == 1 and name in said[0], "%s: %r" % (env, said))
            equal((r.rc, r.out), (0, b"x\n"), "the program")


# ---------------------------------------------------------------- many lines

@test
def twenty_thousand_a_second():
    """A small form of scripts/bench.d/cloudwatch: nothing is lost or doubled, four processes and one exporter."""
    n, procs, rate = 10000, 4, 20000
    with Box(REMORA_EXIT_WAIT_MS="10000", OTEL_BLRP_SCHEDULE_DELAY=None) as box:
        r = box.run([os.path.join(BUILD, "hosts", "loglines"), str(procs), str(n), str(rate)])
        equal(r.rc, 0, "exit status")
        got = collections.Counter(box.cw.wait_messages(n * procs))
        want = collections.Counter("INFO p%d line %d of the proof, as long as lines usually are in a log file" % (p, i)
                                   for p in range(procs) for i in range(n))
        check(got == want, "%d lost, %d too many" % (sum((want - got).values()), sum((got - want).values())))
        box.cw.check()


@test
def lost_lines_are_counted():
    """As fast as it goes, and nobody there: the program does not wait, what is lost is known."""
    with Box(REMORA_LOG="debug") as box:
        box.cw.always = Reply(503)
        r = box.run([os.path.join(BUILD, "hosts", "loglines"), "1", "100000", "0"])
        counts = dict(re.findall(r"([a-z._]+) (\d+)", [l for l in r.err.decode().splitlines() if l.startswith("remora: stop:")][-1]))
        box.cw.always = None
        h = talker(box)
        h.say("end")
        box.cw.wait(lambda: "end" in box.lines(), "the next start's line")
        h.end()             # it waits for what it has to send
        left = len(box.lines())
        lost = int(counts.get("dropped.text", 0)) + int(counts.get("dropped.lines", 0))
        lost += sum(map(int, re.findall(r"(\d+) lines are lost", r.err.decode())))
        check(lost > 1000, "too slow to lose any")
        check(abs(lost + left - 1 - 100000) <= 100, "%d lost and %d sent of 100000" % (lost, left - 1))


# ---------------------------------------------------------------- moto

@test
def moto_takes_it():
    """A server that is not ours: group and stream are made, events come back in order."""
    needs_module("moto")
    needs_module("boto3")
    import boto3
    with Sandbox(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_REGION="ca-central-1") as box:
        port = free_port()
        server = box.start([PYTHON, "-c", "from moto.server import main; main(['-H', '127.0.0.1', '-p', '%d'])" % port],
                           r"Running on http", traced=False, name="moto", timeout=60)
        url = "http://127.0.0.1:%d" % port
        box.write("a.py", "for i in range(2500): print('line', i)\n")
        box.run([PYTHON, box.path("a.py")], env={"REMORA_CLOUDWATCH_LOG_GROUP": "cruddur", "REMORA_CLOUDWATCH_LOG_STREAM": "s",
                                                 "REMORA_CLOUDWATCH_RETENTION_DAYS": "1", "REMORA_EXIT_WAIT_MS": "15000",
                                                 "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": url})
        logs = boto3.client("logs", endpoint_url=url, region_name="ca-central-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET)
        equal(logs.describe_log_groups()["logGroups"][0]["retentionInDays"], 1, "retention")
        events = logs.get_log_events(logGroupName="cruddur", logStreamName="s", startFromHead=True, limit=10000)["events"]
        equal([e["message"] for e in events], ["line %d" % i for i in range(2500)], "events")

        def seen(stream):
            return [e["message"] for e in logs.get_log_events(logGroupName="cruddur", logStreamName=stream, startFromHead=True)["events"]]
        env = {"REMORA_CLOUDWATCH_LOG_GROUP": "cruddur", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": url, "REMORA_EXIT_WAIT_MS": "15000"}
        box.run([os.path.join(BUILD, "hosts", "loglines"), "1", "300"], env={**env, "REMORA_CLOUDWATCH_LOG_STREAM": "c"})
        equal(seen("c"), ["INFO p0 line %d of the proof, as long as lines usually are in a log file" % i for i in range(300)], "of a C program")
        box.write("app.py", LOGGING)
        app = box.gunicorn(cwd=box.dir, env={**env, "REMORA_CLOUDWATCH_LOG_STREAM": "flask"})
        load(app.port, 5, 1, lambda i: ("GET", "/log/%d" % i, {}, None))
        app.stop()
        equal(len([m for m in seen("flask") if re.search(r" INFO cruddur test log \d$", m)]), 5, "of Flask")
        equal(len([m for m in seen("flask") if " ERROR cruddur no key for" in m and m.endswith("KeyError: 'key'")]), 5, "its tracebacks")
        server.stop(signal.SIGINT)


if __name__ == "__main__":
    main()
