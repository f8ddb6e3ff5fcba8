"""Rollbar's item API inside the test process.

Validates each POST against the published schema and limits (https://docs.rollbar.com/reference/create-item), takes
only known tokens, discards what it has already (by uuid), and answers as the test scripts it.

    with Rollbar(tokens=["..."]) as r:
        ... ROLLBAR_ENDPOINT=r.url ROLLBAR_ACCESS_TOKEN=r.token ...
        item = r.wait(1)[0]

`items` holds what was accepted, in order, each once; `posts` every request; `faults` what was wrong with any of them:
a test ends with r.check().
"""
import gzip
import json
import re
import socket
import struct
import threading
import time

from stub_server import Handler, StubServer

PATIENCE = 1.0
TOKEN = "0123456789abcdef0123456789abcdef"
LIMIT = 512 * 1024
LEVELS = {"critical", "error", "warning", "info", "debug"}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TELEMETRY = {"log": {"message"}, "network": {"method", "url", "status_code"}, "navigation": {"from", "to"},
             "error": {"message"}, "manual": set(), "dom": set()}
DATA = {"environment", "body", "level", "timestamp", "code_version", "platform", "language", "framework", "context",
        "request", "person", "server", "client", "custom", "fingerprint", "title", "uuid", "notifier", "attributes"}
SECRET = re.compile(r"(pw|passwd|password|secret|access_?token|auth|authentication|authorization|cookie|x-?api-?key)$", re.I)


class _Faults(list):
    def want(self, cond, what):
        if not cond:
            self.append(what)

    def text(self, obj, key, most=None, required=False, where="data"):
        val = obj.get(key)
        if val is None:
            self.want(not required, "%s.%s is missing" % (where, key))
            return
        self.want(isinstance(val, str), "%s.%s is %r, not a string" % (where, key, val))
        if isinstance(val, str):
            self.want(val or not required, "%s.%s is empty" % (where, key))
            self.want(most is None or len(val) <= most, "%s.%s has %d characters, at most %s" % (where, key, len(val), most))


def _trace(bad, trace, where):
    frames = trace.get("frames")
    bad.want(isinstance(frames, list) and frames, "%s.frames is no list of frames" % where)
    for i, f in enumerate(frames or []):
        at = "%s.frames[%d]" % (where, i)
        bad.text(f, "filename", required=True, where=at)
        for key in ("method", "code", "class_name"):
            bad.text(f, key, where=at)
        for key in ("lineno", "colno"):
            bad.want(key not in f or isinstance(f[key], int), "%s.%s is %r" % (at, key, f.get(key)))
        bad.want(not re.search(r"0x[0-9a-f]{9,}", f.get("method", "")), "%s.method holds an address" % at)
        for key, lines in f.get("context", {}).items():
            bad.want(key in ("pre", "post") and all(isinstance(x, str) for x in lines), "%s.context is %r" % (at, lines))
    exc = trace.get("exception")
    bad.want(isinstance(exc, dict), "%s.exception is missing" % where)
    if isinstance(exc, dict):
        bad.text(exc, "class", 255, required=True, where=where + ".exception")
        bad.text(exc, "message", where=where + ".exception")
        bad.text(exc, "description", where=where + ".exception")


def _telemetry(bad, entries):
    bad.want(isinstance(entries, list) and len(entries) <= 100, "telemetry is no list of at most 100")
    last = 0
    for e in entries:
        bad.want(e.get("level") in LEVELS, "telemetry level %r" % e.get("level"))
        bad.want(e.get("type") in TELEMETRY, "telemetry type %r" % e.get("type"))
        bad.want(e.get("source") in ("server", "client"), "telemetry source %r" % e.get("source"))
        bad.want(isinstance(e.get("timestamp_ms"), int), "telemetry timestamp_ms %r" % e.get("timestamp_ms"))
        bad.want(isinstance(e.get("body"), dict), "telemetry body %r" % e.get("body"))
        missing = TELEMETRY.get(e.get("type"), set()) - set(e.get("body") or {})
        bad.want(not missing, "telemetry %s without %s" % (e.get("type"), missing))
        bad.want(e.get("timestamp_ms", 0) >= last, "telemetry is not in order")
        last = e.get("timestamp_ms", 0)


def _secrets(bad, node, where="data"):
    if isinstance(node, dict):
        for key, val in node.items():
            if SECRET.search(key) and isinstance(val, str):
                bad.want(set(val) <= {"*"}, "%s.%s is not masked" % (where, key))
            _secrets(bad, val, where + "." + key)
    elif isinstance(node, list):
        for i, val in enumerate(node):
            _secrets(bad, val, "%s[%d]" % (where, i))


def faults_of(raw):
    """What an item has against the schema, and the item."""
    bad = _Faults()
    bad.want(len(raw) <= LIMIT, "%d bytes" % len(raw))
    try:
        doc = json.loads(raw.decode("utf-8"))
    except ValueError as e:
        return ["no JSON in UTF-8: %s" % e], None
    bad.want(set(doc) == {"data"}, "top level keys %r" % sorted(doc))
    data = doc.get("data")
    if not isinstance(data, dict):
        return bad + ["data is missing"], None
    bad.want(set(data) <= DATA, "unknown keys %r" % sorted(set(data) - DATA))
    bad.text(data, "environment", 255, required=True)
    bad.text(data, "title", 255)
    bad.text(data, "code_version", 40)
    bad.text(data, "fingerprint", 40)
    bad.text(data, "context", 255)
    for key in ("platform", "language", "framework"):
        bad.text(data, key, required=True)
    bad.want(data.get("level") in LEVELS, "level %r" % data.get("level"))
    bad.want(isinstance(data.get("timestamp"), int) and 1.5e9 < data["timestamp"] < 1e10, "timestamp %r" % data.get("timestamp"))
    bad.want(UUID.fullmatch(str(data.get("uuid"))) is not None, "uuid %r" % data.get("uuid"))
    body = data.get("body")
    if not isinstance(body, dict):
        return bad + ["body is missing"], data
    kinds = [k for k in ("trace", "trace_chain", "message", "crash_report") if k in body]
    bad.want(len(kinds) == 1, "kinds of body: %r" % kinds)
    bad.want(set(body) <= set(kinds) | {"telemetry"}, "body has %r" % sorted(body))
    if "trace" in body:
        _trace(bad, body["trace"], "trace")
    if "trace_chain" in body:
        bad.want(isinstance(body["trace_chain"], list) and body["trace_chain"], "trace_chain is no list")
        for i, t in enumerate(body["trace_chain"]):
            _trace(bad, t, "trace_chain[%d]" % i)
    if "message" in body:
        bad.text(body["message"], "body", required=True, where="message")
    if "telemetry" in body:
        _telemetry(bad, body["telemetry"])
    for key in ("request", "person", "server", "client", "custom", "notifier"):
        bad.want(key not in data or isinstance(data[key], dict), "%s is %r" % (key, data.get(key)))
    bad.text(data.get("person", {"id": "x"}), "id", 40, required=True, where="person")
    bad.want(set(data.get("notifier", {})) >= {"name", "version"}, "notifier %r" % data.get("notifier"))
    argv = data.get("server", {}).get("argv", [])
    bad.want(isinstance(argv, list) and all(isinstance(a, str) for a in argv), "server.argv %r" % argv)
    _secrets(bad, data)
    return bad, data


class Reply:
    """Instead of 200: status with headers; action 'hang', 'reset', 'close' (before any answer)."""

    def __init__(self, status=200, headers=(), body=None, action=None, delay=0.0):
        self.status, self.headers, self.action, self.delay = status, dict(headers), action, delay
        self.body = body


class Post:
    def __init__(self, headers, raw, data, status):
        self.headers, self.raw, self.data, self.status, self.time = headers, raw, data, status, time.monotonic()
        self.wall = time.time()


class Rollbar(StubServer):
    def __init__(self, tokens=(TOKEN,), port=0, tls=None):
        self.tokens, self.token = list(tokens), tokens[0] if tokens else None
        self.items, self.posts, self.faults, self.script = [], [], [], []
        self.always = None                      # a Reply for all that the script does not cover
        self.judge = None                       # data -> a Reply for what is otherwise good, or None
        self.limit = LIMIT
        self.changed = threading.Condition()
        self._stop = threading.Event()
        owner = self

        class Posts(Handler):
            def do_POST(self):
                owner._post(self)

        self.listen(Posts, port=port, tls=tls)
        self.url += "/api/1/item/"

    def stopping(self):
        self._stop.set()

    def _judge(self, h, raw):
        """(status, message, data)"""
        bad = []
        if h.path != "/api/1/item/":
            bad.append("path %s" % h.path)
        if h.headers.get("Content-Type") != "application/json":
            bad.append("Content-Type %r" % h.headers.get("Content-Type"))
        if h.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        for token in self.tokens:
            if token.encode() in raw:
                bad.append("the token is in the body")
        wrong, data = faults_of(raw)
        bad += wrong
        with self.changed:
            self.faults += bad
        token = h.headers.get("X-Rollbar-Access-Token")
        if data is None:
            return 400, "bad json", data
        if not token:
            return 401, "access token not found", data
        if token not in self.tokens:
            return 403, "invalid access token", data
        if len(raw) > self.limit:
            return 413, "request entity too large", data
        if bad:
            return 422, "; ".join(bad)[:200], data
        return 200, None, data

    def _post(self, h):
        raw = h.rfile.read(int(h.headers.get("Content-Length", "0")))
        status, message, data = self._judge(h, raw)
        with self.changed:
            reply = self.script.pop(0) if self.script else self.always
        if not reply and data and self.judge:
            reply = self.judge(data)
        if reply and reply.status != 200:
            status, message = reply.status, "scripted"
        if reply and reply.action:
            status = 0
        with self.changed:
            self.posts.append(Post(h.headers, raw, data, status))
            if status == 200 and data["uuid"] not in [i["uuid"] for i in self.items]:
                self.items.append(data)
            self.changed.notify_all()
        if reply and reply.delay:
            self._stop.wait(reply.delay)
        if reply and reply.action == "hang":
            self._stop.wait(60)
        if reply and reply.action:
            if reply.action == "reset":
                h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            h.close_connection = True
            h.connection.close()
            return
        body = json.dumps({"err": 0, "result": {"id": None, "uuid": data["uuid"]}} if status == 200 else
                          {"err": 1, "message": message}).encode()
        if reply and reply.body is not None:
            body = reply.body
        h.send_response(status)
        h.send_header("Content-Type", "application/json")
        h.send_header("Content-Length", str(len(body)))
        for key, val in (reply.headers if reply else {}).items():
            h.send_header(key, val)
        h.end_headers()
        h.wfile.write(body)

    def _wait(self, what, n, timeout):
        end = time.monotonic() + timeout * PATIENCE
        with self.changed:
            while len(getattr(self, what)) < n:
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError("waited %.0f s for %d %s, saw %d (answers %r, faults %r)" % (
                        timeout, n, what, len(getattr(self, what)), [p.status for p in self.posts], self.faults[:3]))
                self.changed.wait(left)
            return list(getattr(self, what))

    def wait(self, n, timeout=20.0):
        """The accepted items, n at least."""
        return self._wait("items", n, timeout)

    def wait_posts(self, n, timeout=20.0):
        return self._wait("posts", n, timeout)

    def check(self):
        if self.faults:
            raise AssertionError("bad items: %s" % "; ".join(self.faults[:5]))
