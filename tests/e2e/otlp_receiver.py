"""An OTLP/HTTP receiver inside the test process.

It decodes http/protobuf and http/json with opentelemetry-proto (which is not
ours, so a wrong encoding cannot agree with itself), counts requests and
connections, and answers as the test scripts it.

    with Receiver() as r:
        ... run something with OTEL_EXPORTER_OTLP_ENDPOINT=r.url ...
        spans = r.wait(10)

Only what was answered with 200 counts as delivered; see `refused` for the rest.
"""
import base64
import email.utils
import gzip
import http.server
import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from google.protobuf import json_format

SERVER, CLIENT, INTERNAL = 2, 3, 1
# Multiplies every deadline: > 1 for sanitised or emulated builds.
PATIENCE = float(os.environ.get("REMORA_TEST_PATIENCE", "1"))


class Span:
    """One received span, ids as hex, attributes as a dict of Python values."""
    __slots__ = ("trace_id", "span_id", "parent_id", "name", "kind", "start", "end", "attrs",
                 "status", "status_message", "flags", "trace_state", "events", "links",
                 "resource", "scope", "scope_version", "schema_url")

    def __init__(self, s, resource, scope, schema_url):
        self.trace_id, self.span_id = s.trace_id.hex(), s.span_id.hex()
        self.parent_id = s.parent_span_id.hex()
        self.name, self.kind = s.name, s.kind
        self.start, self.end = s.start_time_unix_nano, s.end_time_unix_nano
        self.attrs = attributes(s.attributes)
        self.status, self.status_message = s.status.code, s.status.message
        self.flags, self.trace_state = s.flags, s.trace_state
        self.events = [(e.name, attributes(e.attributes)) for e in s.events]
        self.links = [(l.trace_id.hex(), l.span_id.hex()) for l in s.links]
        self.resource, self.scope = resource, scope.name
        self.scope_version, self.schema_url = scope.version, schema_url

    def __getitem__(self, key):
        return self.attrs.get(key)

    def __repr__(self):
        kind = {SERVER: "SERVER", CLIENT: "CLIENT", INTERNAL: "INTERNAL"}.get(self.kind, self.kind)
        return "<%s %s %s %s %s>" % (self.name, kind, self["url.path"] or self["url.full"] or
                                     self["server.address"], self["http.response.status_code"],
                                     self.span_id)


def value(v):
    kind = v.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value(x) for x in v.array_value.values]
    if kind == "kvlist_value":
        return {x.key: value(x.value) for x in v.kvlist_value.values}
    return getattr(v, kind)


def attributes(kvs):
    out = {}
    for kv in kvs:
        if kv.key in out:
            raise ValueError("attribute %s is there twice" % kv.key)
        out[kv.key] = value(kv.value)
    return out


# OTLP/JSON writes ids in hex where proto3 JSON expects base64.
_IDS = ("traceId", "spanId", "parentSpanId")


def _ids_to_base64(node):
    if isinstance(node, dict):
        for key, val in node.items():
            if key in _IDS and isinstance(val, str):
                raw = bytes.fromhex(val)
                if val and len(raw) not in (8, 16):
                    raise ValueError("%s of %d bytes" % (key, len(raw)))
                node[key] = base64.b64encode(raw).decode()
            elif key == "kind" and not isinstance(val, int):
                raise ValueError("enum kind is %r: OTLP/JSON wants a number" % (val,))
            else:
                _ids_to_base64(val)
    elif isinstance(node, list):
        for val in node:
            _ids_to_base64(val)


def decode_traces(body, content_type):
    """(spans, message) of one ExportTraceServiceRequest; raises on anything wrong."""
    msg = trace_service_pb2.ExportTraceServiceRequest()
    if content_type == "application/json":
        doc = json.loads(body.decode("utf-8"))      # strict: bad UTF-8 is an error
        _ids_to_base64(doc)
        json_format.ParseDict(doc, msg)             # strict: an unknown key is an error
    elif content_type == "application/x-protobuf":
        msg.ParseFromString(body)
    else:
        raise ValueError("content type %r" % content_type)
    spans = []
    for rs in msg.resource_spans:
        resource = attributes(rs.resource.attributes)
        for ss in rs.scope_spans:
            for s in ss.spans:
                if len(s.trace_id) != 16 or len(s.span_id) != 8:
                    raise ValueError("span %r has ids of %d and %d bytes"
                                     % (s.name, len(s.trace_id), len(s.span_id)))
                if s.end_time_unix_nano < s.start_time_unix_nano:
                    raise ValueError("span %r ends before it starts" % s.name)
                spans.append(Span(s, resource, ss.scope, ss.schema_url or rs.schema_url))
    return spans, msg


class Request:
    """One POST as it arrived."""

    def __init__(self, conn, path, headers, raw_size, spans, status, error):
        self.conn, self.path, self.headers = conn, path, headers
        self.raw_size, self.spans, self.status, self.error = raw_size, spans, status, error
        self.time = time.monotonic()
        self.raw = None
        self.client_cert = None

    def __repr__(self):
        return "<%s on connection %d: %d spans, answered %s>" % (
            self.path, self.conn, len(self.spans), self.status)


class Answer:
    """What to answer instead of 200.

    action: None, 'hang' (no answer until the receiver stops), 'reset' (RST), 'close' (FIN
    before any answer), 'garbage' (bytes that are not HTTP).  delay: seconds before the answer.
    """

    def __init__(self, status=200, headers=(), body=None, action=None, delay=0.0,
                 partial=None, partial_message=""):
        self.status, self.headers, self.body = status, dict(headers), body
        self.action, self.delay = action, delay
        self.partial, self.partial_message = partial, partial_message


def retry_after_date(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    block_on_close = False

    def handle_error(self, request, client_address):
        pass                                    # a cut connection is often what the test wants


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1                               # head and answer leave in one segment
    disable_nagle_algorithm = True

    def setup(self):
        owner = self.server.owner
        with owner.changed:
            owner.connections += 1
            self.conn = owner.connections
            owner.open_connections += 1
            owner.max_open = max(owner.max_open, owner.open_connections)
            owner.peers.append(self.client_address[1])
            owner.changed.notify_all()
        self.client_cert = None
        if owner.tls:
            # Here, not in accept: a slow handshake must not hold up other connections.
            try:
                self.request = owner.tls.wrap_socket(self.request, server_side=True)
                self.client_cert = self.request.getpeercert()
            except (ssl.SSLError, OSError) as e:
                with owner.changed:
                    owner.tls_errors.append(str(e))
                    owner.open_connections -= 1
                    owner.changed.notify_all()
                raise
        super().setup()

    def finish(self):
        super().finish()
        owner = self.server.owner
        with owner.changed:
            owner.open_connections -= 1
            owner.changed.notify_all()

    def log_message(self, *args):
        pass

    def do_POST(self):
        owner = self.server.owner
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while True:
                n = int(self.rfile.readline().split(b";")[0], 16)
                body += self.rfile.read(n)
                self.rfile.readline()
                if n == 0:
                    break
        else:
            want = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(want)
            if len(body) != want:
                return
        owner.handle(self, body)

    def do_GET(self):
        self.send_error(405)


class Receiver:
    def __init__(self, tls=None, keep_raw=False, script=(), validate=None, host="127.0.0.1",
                 listen=True):
        """tls: an ssl.SSLContext (see TestCA.server_context).
        script: Answers for the first POSTs, then 200; or a function Request -> Answer or None.
        validate: called as (headers, body, request); returns an Answer to refuse, or None.
        listen: False keeps the port but refuses connections until listen() is called."""
        self.tls, self.keep_raw, self.validate = tls, keep_raw, validate
        self.script = script if callable(script) else list(script)
        self.changed = threading.Condition()
        self.connections = self.open_connections = self.max_open = 0
        self.peers, self.tls_errors, self.errors = [], [], []
        self.requests, self.refused = [], []
        self._spans, self._by_id = [], {}
        self.duplicates = 0
        self.other = {"/v1/logs": 0, "/v1/metrics": 0}
        self.stopping = threading.Event()
        self._server = _Server((host, 0), _Handler, bind_and_activate=False)
        self._server.server_bind()
        self._server.owner = self
        self.port = self._server.server_address[1]
        name = "localhost" if tls else host
        self.url = "%s://%s:%d" % ("https" if tls else "http", name, self.port)
        self._listening = False
        if listen:
            self.listen()

    def listen(self):
        self._listening = True
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever,
                         kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        self.stopping.set()
        if self._listening:
            self._server.shutdown()
        self._server.server_close()

    # -- the server's side -------------------------------------------------

    def handle(self, h, body):
        headers = {k.lower(): v for k, v in h.headers.items()}
        path = h.path.split("?")[0]
        req = Request(h.conn, h.path, headers, len(body), [], None, None)
        req.client_cert = h.client_cert
        if self.keep_raw:
            req.raw = body
        if path.endswith("/v1/logs") or path.endswith("/v1/metrics"):
            with self.changed:
                self.other[path[path.rindex("/v1/"):]] += 1
            return self._reply(h, Answer(), headers)
        try:
            plain = body
            if headers.get("content-encoding"):
                if headers["content-encoding"] != "gzip":
                    raise ValueError("content encoding %r" % headers["content-encoding"])
                plain = gzip.decompress(body)
            if not path.endswith("/v1/traces") and path != "/custom":
                raise ValueError("path %r" % path)
            req.plain_size = len(plain)
            req.spans, req.message = decode_traces(plain, headers.get("content-type"))
            if not req.spans:
                raise ValueError("a request without spans")
        except Exception as e:                       # noqa: any decoding error is a finding
            req.error = "%s: %s" % (type(e).__name__, e)
        answer = None
        if self.validate:
            answer = self.validate(headers, body, req)
        if answer is None:
            if callable(self.script):
                answer = self.script(req)
            else:
                with self.changed:
                    answer = self.script.pop(0) if self.script else None
        answer = answer or Answer()
        if req.error:
            answer = Answer(400)
        if answer.delay:
            self.stopping.wait(answer.delay)
        req.status = answer.action or answer.status
        with self.changed:
            if req.error:
                self.errors.append(req.error)
            self.requests.append(req)
            if answer.action is None and answer.status == 200:
                self._accept(req.spans)
            else:
                self.refused.append(req)
            self.changed.notify_all()
        self._reply(h, answer, headers)

    def _accept(self, spans):
        for s in spans:
            if s.span_id in self._by_id:
                self.duplicates += 1
                continue
            self._by_id[s.span_id] = s
            self._spans.append(s)

    def _reply(self, h, answer, headers):
        if answer.action == "hang":
            self.stopping.wait(120)
            h.close_connection = True
            return
        if answer.action in ("reset", "close"):
            if answer.action == "reset":
                h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            h.close_connection = True
            h.connection.close() if answer.action == "reset" else h.connection.shutdown(socket.SHUT_RDWR)
            return
        if answer.action == "garbage":
            h.wfile.write(b"\x00\x01garbage \xff not HTTP at all\r\n\r\n")
            h.close_connection = True
            return
        is_json = headers.get("content-type") == "application/json"
        body = answer.body
        if body is None:
            if answer.partial is not None:
                msg = trace_service_pb2.ExportTraceServiceResponse()
                msg.partial_success.rejected_spans = answer.partial
                msg.partial_success.error_message = answer.partial_message
                body = (json_format.MessageToJson(msg).encode() if is_json
                        else msg.SerializeToString())
            else:
                body = b"{}" if is_json else b""
        out = {"Content-Type": headers.get("content-type", "text/plain"),
               "Content-Length": str(len(body))}
        out.update(answer.headers)
        h.send_response(answer.status)
        for k, v in out.items():
            h.send_header(k, v)
        h.end_headers()
        h.wfile.write(body)

    # -- the test's side -----------------------------------------------------

    def spans(self, where=None):
        with self.changed:
            got = list(self._spans)
        return [s for s in got if where(s)] if where else got

    def count(self):
        with self.changed:
            return len(self._spans)

    def wait(self, n=1, where=None, timeout=20.0):
        """Spans, as soon as there are n of them; raises with what came at the deadline."""
        end = time.monotonic() + timeout * PATIENCE
        with self.changed:
            while True:
                if self.errors:
                    raise AssertionError("the receiver could not decode: %s" % self.errors[0])
                if where is None:
                    enough = len(self._spans) >= n
                else:
                    enough = len(self._spans) >= n and sum(map(where, self._spans)) >= n
                left = end - time.monotonic()
                if enough or left <= 0:
                    break
                self.changed.wait(min(left, 0.5))
            got = [s for s in self._spans if where(s)] if where else list(self._spans)
        if len(got) < n:
            raise AssertionError("waited %.0f s for %d spans, got %d: %r" %
                                 (timeout, n, len(got), (self.spans() if where else got)[:6]))
        return got

    def wait_requests(self, n, timeout=20.0):
        end = time.monotonic() + timeout * PATIENCE
        with self.changed:
            while len(self.requests) < n:
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError("waited %.0f s for %d export requests, got %r" %
                                         (timeout, n, self.requests))
                self.changed.wait(left)
            return list(self.requests)

    def wait_until(self, cond, what, timeout=20.0):
        end = time.monotonic() + timeout * PATIENCE
        with self.changed:
            while not cond():
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError("waited %.0f s until %s" % (timeout, what))
                self.changed.wait(min(left, 0.2))


class TestCA:
    """A throw-away CA with a server certificate for localhost and a client certificate."""

    def __init__(self, directory):
        self.dir = directory
        os.makedirs(directory, exist_ok=True)
        self.ca, self.ca_key = self._p("ca.pem"), self._p("ca.key")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                      "-nodes", "-keyout", self.ca_key, "-out", self.ca, "-days", "2",
                      "-subj", "/CN=test CA", "-addext", "basicConstraints=critical,CA:TRUE")
        self.server_cert, self.server_key = self._issue(
            "server", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth")
        self.client_cert, self.client_key = self._issue("client", "extendedKeyUsage=clientAuth")

    def _p(self, name):
        return os.path.join(self.dir, name)

    def _openssl(self, *args):
        subprocess.run(("openssl",) + args, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE)

    def _issue(self, name, ext):
        key, csr, crt, cnf = (self._p(name + e) for e in (".key", ".csr", ".pem", ".ext"))
        with open(cnf, "w") as f:
            f.write(ext + "\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-keyout", key, "-out", csr, "-subj", "/CN=%s" % name)
        self._openssl("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.ca_key,
                      "-CAcreateserial", "-out", crt, "-days", "2", "-extfile", cnf)
        return crt, key

    def server_context(self, want_client_cert=False):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(self.server_cert, self.server_key)
        if want_client_cert:
            ctx.load_verify_locations(self.ca)
            ctx.verify_mode = ssl.CERT_REQUIRED
        return ctx
