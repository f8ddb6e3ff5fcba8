"""The tests' own tools, checked with a sender that is not ours: the OpenTelemetry SDK's exporter.

A receiver that accepts everything would let every other file pass."""
import gzip
import json
import socket
import ssl
import urllib.error
import urllib.request

from harness import *
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from google.protobuf import json_format

GOOD = bytes.fromhex(
    "0a91010a210a1f0a0c736572766963652e6e616d65120f0a0d6261636b656e642d666c61736b126c0a080a0672656d6f726112600a10"
    "5759e988bd862e3fe1be46a994272793120853995c3f42cd8ad82a06474554202f7830023900002a36fe9c9717418096c236fe9c9717"
    "4a200a19687474702e726573706f6e73652e7374617475735f636f6465120318c801850101010000")


def post(url, body, ctype="application/x-protobuf", context=None, **headers):
    req = urllib.request.Request(url + "/v1/traces", body, {"Content-Type": ctype, **headers})
    try:
        with urllib.request.urlopen(req, timeout=5, context=context) as r:
            return r.status, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


@test
def good_bodies():
    with Receiver() as r:
        msg = trace_service_pb2.ExportTraceServiceRequest.FromString(GOOD)
        doc = json_format.MessageToDict(msg)
        span = doc["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        span.update(traceId="5759e988bd862e3fe1be46a994272793", spanId="1111111111111111", kind=2)
        equal(post(r.url, GOOD)[0], 200, "protobuf")
        equal(post(r.url, gzip.compress(GOOD), **{"Content-Encoding": "gzip"})[0], 200, "gzip")
        equal(post(r.url, json.dumps(doc).encode(), "application/json"), (200, b"{}"), "json")
        equal([s.span_id for s in r.spans()], ["53995c3f42cd8ad8", "1111111111111111"], "spans")
        equal((r.duplicates, r.errors), (1, []), "the gzip one was the same span again")
        s = r.spans()[0]
        equal((s.name, s.kind, s.flags, s["http.response.status_code"], s.resource),
              ("GET /x", 2, 257, 200, {"service.name": "backend-flask"}), "content")


@cases(wrong_type=(GOOD, "text/plain"), cut=(GOOD[:-3], "application/x-protobuf"), empty=(b"", "application/x-protobuf"),
       charset=(b"{}", "application/json; charset=utf-8"), no_json=(b"{", "application/json"),
       snake=(b'{"resource_spanz":[]}', "application/json"),
       enum=(b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5759e988bd862e3fe1be46a994272793",'
             b'"spanId":"53995c3f42cd8ad8","kind":"SPAN_KIND_SERVER"}]}]}]}', "application/json"),
       base64_id=(b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"V1npiL2GLj/hvkaplCcnkw==",'
                  b'"spanId":"53995c3f42cd8ad8"}]}]}]}', "application/json"),
       no_ids=(b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]}]}', "application/json"))
def bad_bodies_are_findings(case):
    with Receiver() as r:
        equal(post(r.url, *case)[0], 400, "answer")
        equal((len(r.errors), r.spans()), (1, []), "errors and spans")
        try:
            r.wait(1, timeout=0.1)
        except AssertionError as e:
            check("decode" in str(e), "wait() names it: %s" % e)
        else:
            raise AssertionError("wait() did not fail")


@test
def scripted_answers():
    with Receiver(script=[Answer(429, {"Retry-After": "3"}), Answer(partial=2, partial_message="m")]) as r:
        equal(post(r.url, GOOD)[0], 429, "first")
        equal((r.spans(), len(r.refused)), ([], 1), "what was refused is not delivered")
        status, body = post(r.url, GOOD)
        answer = trace_service_pb2.ExportTraceServiceResponse.FromString(body)
        equal((status, answer.partial_success.rejected_spans, answer.partial_success.error_message), (200, 2, "m"),
              "partial success")
    for action in ("reset", "close", "garbage"):
        with Receiver(script=[Answer(action=action)]) as r:
            try:
                post(r.url, GOOD)
            except (OSError, ValueError, urllib.error.URLError, __import__("http.client").client.HTTPException):
                pass
            else:
                raise AssertionError(action + " gave an answer")
    with Receiver(listen=False) as r:
        try:
            socket.create_connection(("127.0.0.1", r.port), 1).close()
        except ConnectionRefusedError:
            r.listen()
            equal(post(r.url, GOOD)[0], 200, "after listen()")
        else:
            raise AssertionError("a receiver that does not listen took a connection")


@test
def tls_and_client_certificates():
    with Sandbox() as box:
        ca = TestCA(box.path("ca", ""))
        ctx = ssl.create_default_context(cafile=ca.ca)
        tls = box.keep(Receiver(tls=ca.server_context(want_client_cert=True)))
        try:
            post(tls.url, GOOD, context=ctx)
        except OSError:
            pass
        else:
            raise AssertionError("no client certificate was asked for")
        ctx.load_cert_chain(ca.client_cert, ca.client_key)
        equal(post(tls.url, GOOD, context=ctx)[0], 200, "with the certificate")
        equal(tls.count(), 1, "spans")


@test
def load_counts_what_it_did():
    with Sandbox() as box, Upstream() as up:
        sent = load(up.port, 500, 8, lambda i: ("HEAD" if i % 2 else "GET", "/ok?i=%d" % i, (), None))
        equal(sorted((r.method, r.target) for r in sent), sorted((s.method, s.target) for s in up.requests()), "requests")
        equal({(r.method, r.body_bytes) for r in sent}, {("GET", 64), ("HEAD", 0)}, "bytes")
        equal(up.connections, 8, "connections")


@test
def a_lost_or_invented_span_is_noticed():
    class S:
        def __init__(self, target):
            self.attrs = {"http.request.method": "GET", "url.path": target, "http.response.status_code": 200}

        def __getitem__(self, k):
            return self.attrs.get(k)
    sent = [Sent("GET", "/%d" % i, 200, b"", b"", 0, 0, False) for i in range(3)]
    check_exactly([S("/0"), S("/1"), S("/2")], sent)
    for wrong in ([S("/0"), S("/1")], [S("/0"), S("/1"), S("/2"), S("/2")], [S("/0"), S("/1"), S("/3")]):
        try:
            check_exactly(wrong, sent)
        except AssertionError:
            continue
        raise AssertionError("not noticed: %d spans" % len(wrong))


@test
def the_real_collector():
    with Sandbox() as box:
        col = Collector(box)
        equal(post(col.url, GOOD), (200, b"\n\0"), "its answer")
        s = col.wait(1)[0]
        equal((s.name, s.span_id, s.flags), ("GET /x", "53995c3f42cd8ad8", 257), "what it wrote")


if __name__ == "__main__":
    main()
