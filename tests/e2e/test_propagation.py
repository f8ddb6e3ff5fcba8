"""Context in and out: traceparent, tracestate, baggage, the environment, and the off switch."""
import re
import signal
import time

from harness import *

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TP = "00-%s-%s-01" % (TRACE, PARENT)


def flask(box, **env):
    up = box.keep(Upstream())
    return up, box.gunicorn(env={"BACKEND_URL": up.url, **env})


def one_call(headers, env=None, spans=2):
    """One request with these headers to a server that makes one call: (server, client, wire)."""
    with Sandbox(**(env or {})) as box:
        up, app = flask(box)
        with Connection(app.port) as c:
            equal(c.request("GET", "/api/weather?i=1", headers).status, 200, "status")
        if not spans:
            with Connection(app.port) as c:
                c.request("GET", "/api/health-check")
            box.recv.wait(1, lambda s: s["url.path"] == "/api/health-check")
        else:
            box.recv.wait(spans)
        app.stop()
        got = [s for s in box.recv.spans() if s["url.path"] != "/api/health-check"]
        equal(len(got), spans, "spans")
        check_conventions(got)
        server = next(filter(is_server, got), None)
        client = next(filter(is_client, got), None)
        return server, client, up.requests()[0]


@test
def a_new_trace():
    before = int(time.time())
    server, client, wire = one_call({})
    trace, span, flags = wire.traceparent()
    equal((trace, span), (server.trace_id, client.span_id), "traceparent on the wire")
    check_child(client, server)
    equal(server.parent_id, "", "parent of the root")
    equal(flags & 3, 3, "sampled and random flags (%02x)" % flags)
    check(before - 1 <= int(trace[:8], 16) <= time.time() + 1, "the id begins with the time: %s" % trace)
    equal(server.flags & 0x300, 0x100, "flags of a root (%x): known not to be remote" % server.flags)
    equal((wire.one("tracestate"), wire.one("baggage")), (None, None), "tracestate and baggage")


@test
def a_remote_parent():
    server, client, wire = one_call({"traceparent": TP, "tracestate": "vendor=a:1, other=b", "baggage": "user=al%20ice,k=v;p"})
    equal((server.trace_id, server.parent_id), (TRACE, PARENT), "trace and parent")
    equal(server.flags & 0x300, 0x300, "flags: parent is remote (%x)" % server.flags)
    equal(server.flags & 0xff, 1, "W3C flags as they came")
    check_child(client, server)
    trace, span, flags = wire.traceparent()
    equal((trace, span, flags), (TRACE, client.span_id, 1), "passed on")
    equal(re.split(r"\s*,\s*", wire.one("tracestate") or ""), ["vendor=a:1", "other=b"], "tracestate passed on")
    equal((wire.one("baggage") or "").replace(" ", ""), "user=al%20ice,k=v;p", "baggage passed on")
    equal(re.split(r"\s*,\s*", server.trace_state), ["vendor=a:1", "other=b"], "tracestate of the span")


@test
def random_flag_is_passed_on():
    _, _, wire = one_call({"traceparent": TP[:-2] + "03"})
    equal(wire.traceparent()[2], 3, "flags")


@test
def not_sampled_upstream():
    """parentbased: no spans, and the decision is passed on."""
    _, _, wire = one_call({"traceparent": TP[:-2] + "00"}, spans=0)
    tp = wire.traceparent()
    check(tp is not None, "a traceparent is still sent")
    equal((tp[0], tp[2] & 1), (TRACE, 0), "trace and sampled flag")


@cases(zero_trace="00-%s-%s-01" % ("0" * 32, PARENT), zero_span="00-%s-%s-01" % (TRACE, "0" * 16),
       version_ff="ff" + TP[2:], upper_case="00-%s-%s-01" % (TRACE.upper(), PARENT), short=TP[:-1],
       long_v0=TP + "-x", words="hello world", no_hex="00-%s-%s-01" % ("g" * 32, PARENT))
def invalid_is_a_new_trace(value):
    server, _, wire = one_call({"traceparent": value, "tracestate": "a=1"})
    check(server.trace_id not in (TRACE, "0" * 32), "trace id %s" % server.trace_id)
    equal((server.parent_id, server.trace_state), ("", ""), "parent and tracestate")
    equal(wire.one("tracestate"), None, "tracestate on the wire")


@test
def later_version_is_parsed():
    server, _, wire = one_call({"traceparent": "01" + TP[2:] + "-more"})
    equal((server.trace_id, server.parent_id), (TRACE, PARENT), "trace and parent")
    check(wire.one("traceparent").startswith("00-"), "version 00 goes out")


@test
def header_names_in_any_case():
    server, _, _ = one_call({"TraceParent": TP, "TRACESTATE": "a=1"})
    equal((server.trace_id, server.parent_id, server.trace_state), (TRACE, PARENT, "a=1"), "context")


@test
def propagators_none():
    server, client, wire = one_call({"traceparent": TP, "tracestate": "a=1"}, {"OTEL_PROPAGATORS": "none"})
    check(server.trace_id != TRACE and server.parent_id == "", "the incoming context is not read")
    equal(wire.one("traceparent"), None, "nothing goes out")
    check_child(client, server)


@test
def propagators_tracecontext_only():
    _, _, wire = one_call({"traceparent": TP, "baggage": "a=b"}, {"OTEL_PROPAGATORS": "tracecontext"})
    equal((wire.traceparent()[0], wire.one("baggage")), (TRACE, None), "on the wire")


@test
def unknown_propagator_warns():
    with Sandbox(OTEL_PROPAGATORS="tracecontext,pigeon") as box:
        up, app = flask(box)
        with Connection(app.port) as c:
            c.request("GET", "/api/weather")
        box.recv.wait(2)
        app.stop()
        equal(len([l for l in app.err if "remora" in l and "pigeon" in l]), 1, "warnings, stderr %r" % app.err[:5])
        check(up.requests()[0].traceparent(), "the known one works")


@test
def b3_single():
    server, client, wire = one_call({"b3": "%s-%s-1" % (TRACE, PARENT)}, {"OTEL_PROPAGATORS": "b3"})
    equal((server.trace_id, server.parent_id), (TRACE, PARENT), "extracted")
    equal((wire.one("b3") or "")[:49], "%s-%s" % (TRACE, client.span_id), "injected")
    equal(wire.one("traceparent"), None, "no traceparent")


@test
def b3_multi():
    server, client, wire = one_call({"X-B3-TraceId": TRACE[16:], "X-B3-SpanId": PARENT, "X-B3-Sampled": "1"},
                                    {"OTEL_PROPAGATORS": "b3multi"})
    equal((server.trace_id, server.parent_id), (TRACE[16:].zfill(32), PARENT), "extracted, padded")
    equal((wire.one("x-b3-traceid"), wire.one("x-b3-spanid"), wire.one("x-b3-sampled")),
          (TRACE[16:].zfill(32), client.span_id, "1"), "injected")


@cases(urllib="urllib", requests="requests", aiohttp="aiohttp")
def the_programs_own_traceparent(lib):
    """It stays in its trace; only the span id is replaced, by ours, whose parent it becomes."""
    with Sandbox() as box:
        up = box.keep(Upstream())
        r = box.run([PYTHON, os.path.join(APPS, "client.py"), lib, "GET", up.url + "/ok", "--header", "traceparent:" + TP])
        equal(r.rc, 0, "exit status")
        s = box.recv.wait(1)[0]
        equal((s.trace_id, s.parent_id), (TRACE, PARENT), "our span")
        equal(up.requests()[0].traceparent(), (TRACE, s.span_id, 1), "on the wire")
        equal([l.split(":")[0].lower() for l in up.requests()[0].header_lines].count("traceparent"), 1, "headers")


@test
def traceparent_in_the_environment():
    with Sandbox(TRACEPARENT=TP, TRACESTATE="a=1", BAGGAGE="k=v") as box:
        up = box.keep(Upstream())
        r = box.run([needs("curl"), "-q", "-sS", up.url + "/ok"])
        equal(r.rc, 0, "curl")
        s = box.recv.wait(1)[0]
        equal((s.trace_id, s.parent_id), (TRACE, PARENT), "trace and parent")
        wire = up.requests()[0]
        equal((wire.traceparent()[0], wire.one("tracestate"), wire.one("baggage")), (TRACE, "a=1", "k=v"), "wire")


@test
def exec_from_a_request():
    """A child started by a request finds the request's span in TRACEPARENT."""
    with Sandbox() as box:
        _, app = flask(box)
        with Connection(app.port) as c:
            body = c.request("GET", "/api/env").body.decode().strip()
        s = box.recv.wait(1)[0]
        check(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", body), "TRACEPARENT is %r" % body)
        equal(tuple(body.split("-")[1:3]), (s.trace_id, s.span_id), "the request's span")


@test
def no_request_no_traceparent_for_children():
    with Sandbox() as box:
        r = box.run([PYTHON, "-c", "import subprocess as s; print(s.check_output(['env']).decode())"])
        check("TRACEPARENT" not in r.out.decode(), "TRACEPARENT in %r" % r.out)


@test
def body_that_looks_like_a_request_is_not_edited():
    with Sandbox() as box:
        up = box.keep(Upstream())
        evil = "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n" * 3
        for lib in ("requests", "urllib", "httpx"):
            r = box.run([PYTHON, os.path.join(APPS, "client.py"), lib, "POST", up.url + "/echo", "--body", evil])
            equal(r.rc, 0, lib)
        for req in up.requests():
            equal(req.body, evil.encode(), "the body on the wire")
        equal(len(box.recv.wait(3)), 3, "spans")


@test
def fork_starts_with_an_empty_context():
    """Workers forked while a request is open do not inherit it."""
    code = """
import os, socket, sys, urllib.request
up = sys.argv[1]
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print('listening', s.getsockname()[1], flush=True)
c, _ = s.accept(); c.recv(4096)
if os.fork() == 0:
    c.close(); urllib.request.urlopen(up + '/ok?child').read(); os._exit(0)
os.wait()
urllib.request.urlopen(up + '/ok?parent').read()
c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'); c.close()
"""
    with Sandbox() as box:
        up = box.keep(Upstream())
        h = box.start([PYTHON, "-c", code, up.url], r"listening (\d+)")
        raw_exchange(int(h.match.group(1)), b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        equal(h.wait(), 0, "exit status")
        spans = box.recv.wait(3)
        server = next(filter(is_server, spans))
        calls = {s["url.full"].split("?")[1]: s for s in filter(is_client, spans)}
        check_child(calls["parent"], server)
        check(calls["child"].trace_id != server.trace_id and not calls["child"].parent_id,
              "the child's call is a trace of its own")


if __name__ == "__main__":
    main()
