"""OTLP/HTTP as a receiver sees it: encodings, retries, limits, TLS, and receivers that misbehave."""
import email.utils
import re
import signal
import time

from harness import *

FILES = {"a.txt": b"hello"}


def ask(web, n=1, first=0):
    with Connection(web.port) as c:
        return [c.request("GET", "/a.txt?i=%d" % i) for i in range(first, first + n)]


def numbers(spans):
    return sorted(int(s["url.query"][2:]) for s in spans)


def one_batch(*script, **kw):
    """A receiver with a script, and an environment in which five requests make one batch."""
    return Receiver(script=script, **kw)


ONE = {"OTEL_BSP_SCHEDULE_DELAY": 400}


# ---- encodings

def facts(spans):
    """What must not depend on the encoding or on the run."""
    vary = ("server.port", "network.peer.port", "client.port")
    res = ("process.pid", "service.instance.id", "process.command_args", "process.command",
           "process.parent_pid", "process.command_line", "process.creation.time")
    return sorted(repr((s.name, s.kind, s.status, s.flags, s.scope, s.schema_url, s.parent_id,
                        sorted((k, v) for k, v in s.attrs.items() if k not in vary),
                        sorted((k, v) for k, v in s.resource.items() if k not in res))) for s in spans)


@test
def json_and_protobuf_say_the_same():
    got = {}
    for proto in ("http/protobuf", "http/json"):
        with Sandbox(OTEL_EXPORTER_OTLP_PROTOCOL=proto, OTEL_SERVICE_NAME="x",
                     OTEL_RESOURCE_ATTRIBUTES="team=a%2Cb,quote=%22%5C%0a") as box:
            box.recv.keep_raw = True
            web = box.http_server(FILES)
            with Connection(web.port) as c:
                c.request("GET", "/a.txt?q=%22%5c", {"User-Agent": 'he said "\\ \x7f\t\xe9\xff'})
                c.request("POST", "/a.txt", {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                             "tracestate": "a=1,b=2"}, b"x")
                c.request("GET", "/missing")
            box.recv.wait(3)
            web.stop(signal.SIGINT)
            got[proto] = facts(box.recv.spans())
            for r in box.recv.requests:
                equal(r.headers["content-type"],
                      "application/json" if proto == "http/json" else "application/x-protobuf", "content type")
                if proto == "http/json":
                    check(b'"parentSpanId":""' not in r.raw.replace(b" ", b""), "a root has no parentSpanId at all")
                check(r.path == "/v1/traces", "path %s" % r.path)
                check("OTel-OTLP-Exporter-" in r.headers.get("user-agent", ""), "user agent %r" % r.headers.get("user-agent"))
    equal(got["http/json"], got["http/protobuf"], "spans in both encodings")


@cases(protobuf="http/protobuf", json="http/json")
def gzip_bodies(proto):
    with Sandbox(OTEL_EXPORTER_OTLP_PROTOCOL=proto, OTEL_EXPORTER_OTLP_COMPRESSION="gzip", **ONE) as box:
        web = box.http_server(FILES)
        ask(web, 100)
        box.recv.wait(100)
        for r in box.recv.requests:
            equal(r.headers.get("content-encoding"), "gzip", "content-encoding")
        big = max(box.recv.requests, key=lambda r: r.plain_size)
        check(big.raw_size * 3 < big.plain_size, "%d bytes for %d" % (big.raw_size, big.plain_size))


@test
def unknown_protocol_warns_once_and_uses_protobuf():
    with Sandbox(OTEL_EXPORTER_OTLP_PROTOCOL="grpc") as box:
        web = box.http_server(FILES)
        ask(web, 1)
        box.recv.wait(1)
        equal(box.recv.requests[0].headers["content-type"], "application/x-protobuf", "content type")
        warned = [l for l in web.err if "remora" in l and "grpc" in l]
        equal(len(warned), 1, "warnings that name the value (stderr: %r)" % web.err)


# ---- addresses and headers

@cases(base=("{url}/some/base", "OTEL_EXPORTER_OTLP_ENDPOINT", "/some/base/v1/traces"),
       base_slash=("{url}/some/base/", "OTEL_EXPORTER_OTLP_ENDPOINT", "/some/base/v1/traces"),
       slash=("{url}/", "OTEL_EXPORTER_OTLP_ENDPOINT", "/v1/traces"),
       signal=("{url}/custom", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/custom"))
def endpoint(case):
    value, name, path = case
    with Sandbox() as box:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": None if "TRACES" not in name else "http://127.0.0.1:1/no"}
        env[name] = value.format(url=box.recv.url)
        web = box.http_server(FILES, env=env)
        ask(web)
        box.recv.wait(1)
        equal(box.recv.requests[0].path, path, "path")


@test
def headers():
    with Sandbox(OTEL_EXPORTER_OTLP_HEADERS="x-one=1,Authorization=Bearer%20abc%3D%2C, x-two = a=b ") as box:
        web = box.http_server(FILES, env={"REMORA_LOG": "debug"})
        ask(web)
        box.recv.wait(1)
        h = box.recv.requests[0].headers
        equal((h.get("x-one"), h.get("authorization"), h.get("x-two")), ("1", "Bearer abc=,", "a=b"), "headers")
        web.stop(signal.SIGINT)
        check("abc" not in "\n".join(web.lines), "the token is not in the log")
        check("abc" not in repr([(s.attrs, s.resource) for s in box.recv.spans()]), "nor in the telemetry")


@test
def signal_headers_replace_the_generic_ones():
    with Sandbox(OTEL_EXPORTER_OTLP_HEADERS="x-one=1", OTEL_EXPORTER_OTLP_TRACES_HEADERS="x-two=2") as box:
        web = box.http_server(FILES)
        ask(web)
        box.recv.wait(1)
        h = box.recv.requests[0].headers
        equal((h.get("x-one"), h.get("x-two")), (None, "2"), "headers")


# ---- batching

@test
def batch_size_and_one_connection():
    with Sandbox(OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10) as box:
        web = box.http_server(FILES)
        ask(web, 100)
        box.recv.wait(100)
        web.stop(signal.SIGINT)
        check(max(len(r.spans) for r in box.recv.requests) <= 10, "batches %r" % [len(r.spans) for r in box.recv.requests])
        equal(box.recv.connections, 1, "connections")
        check(not [s for s in box.recv.spans() if s["server.port"] == box.recv.port or is_client(s)],
              "the exporter's own requests are not traced")


@test
def full_batch_does_not_wait_for_the_delay():
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=60000, OTEL_BSP_MAX_EXPORT_BATCH_SIZE=20) as box:
        web = box.http_server(FILES)
        ask(web, 20)
        box.recv.wait(20, timeout=10)


@test
def schedule_delay_gathers():
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=1500) as box:
        web = box.http_server(FILES)
        ask(web, 10)
        equal(numbers(box.recv.wait(10)), list(range(10)), "requests")
        check(len(box.recv.requests) <= 2, "%d requests for 10 spans" % len(box.recv.requests))


@test
def flush_at_exit():
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=60000) as box:
        up = box.keep(Upstream())
        r = box.run([PYTHON, os.path.join(APPS, "client.py"), "urllib", "GET", *[up.url + "/ok?%d" % i for i in range(20)]])
        equal(r.rc, 0, "exit status")
        box.recv.wait(20, timeout=2)
        r = box.run([needs("curl"), "-q", "-sS", up.url + "/ok?curl"])
        equal((r.rc, r.out), (0, BODY), "curl")
        box.recv.wait(21, timeout=2)


# ---- answers

@cases(s429=429, s502=502, s503=503, s504=504)
def retried(status):
    with Sandbox(one_batch(Answer(status)), **ONE) as box:
        web = box.http_server(FILES)
        ask(web, 5)
        equal(numbers(box.recv.wait(5, timeout=30)), list(range(5)), "spans after the retry")
        equal(box.recv.requests[0].status, status, "first answer")
        web.stop(signal.SIGINT)
        equal((box.recv.count(), box.recv.duplicates), (5, 0), "spans in all")


@test
def backoff_grows():
    with Sandbox(one_batch(Answer(503), Answer(503), Answer(503)), **ONE) as box:
        web = box.http_server(FILES)
        ask(web, 3)
        box.recv.wait(3, timeout=40)
        times = [r.time for r in box.recv.requests]
        gaps = [b - a for a, b in zip(times, times[1:])]
        check(gaps[0] >= 0.2, "the first pause is %.2f s" % gaps[0])
        check(gaps[2] > gaps[0] * 1.2, "pauses grow: %r" % gaps)


@cases(s400=400, s401=401, s403=403, s404=404, s413=413, s500=500, s501=501)
def not_retried(status):
    with Sandbox(one_batch(Answer(status, body=b"\x08\x03\x12\x03bad")), **ONE) as box:
        web = box.http_server(FILES, env={"REMORA_LOG": "debug"})
        ask(web, 5)
        box.recv.wait_requests(1)
        refused = {s.span_id for s in box.recv.requests[0].spans}
        ask(web, 3, first=100)
        box.recv.wait(3, lambda s: int(s["url.query"][2:]) >= 100)
        web.stop(signal.SIGINT)
        for r in box.recv.requests[1:]:
            check({s.span_id for s in r.spans} != refused, "the refused batch came again")
        check(any(str(status) in l for l in web.err if "remora" in l), "the log tells of %d: %r" % (status, web.err[-8:]))


@test
def retry_after_in_seconds():
    with Sandbox(one_batch(Answer(429, {"Retry-After": "3"})), **ONE) as box:
        web = box.http_server(FILES)
        ask(web, 5)
        box.recv.wait(5, timeout=30)
        a, b = [r.time for r in box.recv.requests[:2]]
        check(2.9 <= b - a <= 6, "waited %.2f s for Retry-After: 3" % (b - a))


@test
def retry_after_as_a_date():
    def script(req):
        if len(state) == 0:
            state.append(time.time() + 4)
            return Answer(503, {"Retry-After": email.utils.formatdate(state[0], usegmt=True)})
    state = []
    with Sandbox(Receiver(script=script), **ONE) as box:
        web = box.http_server(FILES)
        ask(web, 5)
        box.recv.wait(5, timeout=30)
        a, b = [r.time for r in box.recv.requests[:2]]
        check(2.5 <= b - a <= 8, "waited %.2f s for a date 3-4 s ahead" % (b - a))


@test
def partial_success_is_not_retried():
    with Sandbox(one_batch(Answer(partial=2, partial_message="two were bad")), **ONE) as box:
        web = box.http_server(FILES, env={"REMORA_LOG": "debug"})
        ask(web, 5)
        box.recv.wait(5)
        ask(web, 2, first=10)
        box.recv.wait(7)
        web.stop(signal.SIGINT)
        equal((box.recv.count(), box.recv.duplicates), (7, 0), "spans and repeats")
        check(any("two were bad" in l for l in web.err), "the receiver's message is in the log: %r" % web.err[-8:])


@cases(reset="reset", close="close", garbage="garbage")
def broken_answer(action):
    """No answer came, so it may be tried again; the span must not be lost."""
    with Sandbox(one_batch(Answer(action=action)), **ONE) as box:
        web = box.http_server(FILES)
        ask(web, 5)
        if action == "garbage":
            box.recv.wait_requests(1)
            ask(web, 2, first=10)
            box.recv.wait(2, lambda s: int(s["url.query"][2:]) >= 10, timeout=30)
        else:
            equal(numbers(box.recv.wait(5, timeout=30)), list(range(5)), "spans")


@test
def hanging_receiver_times_out():
    with Sandbox(one_batch(Answer(action="hang")), OTEL_EXPORTER_OTLP_TIMEOUT=700, **ONE) as box:
        web = box.http_server(FILES)
        ask(web, 5)
        box.recv.wait_requests(1)
        ask(web, 3, first=10)
        box.recv.wait(3, lambda s: int(s["url.query"][2:]) >= 10, timeout=20)
        check(box.recv.connections >= 2, "a new connection after the time-out")


@test
def exit_is_bounded_when_the_receiver_hangs():
    with Sandbox(Receiver(script=lambda r: Answer(action="hang")), OTEL_BSP_SCHEDULE_DELAY=60000) as box:
        up = box.keep(Upstream())
        start = time.monotonic()
        r = box.run([needs("curl"), "-q", "-sS", up.url + "/ok"])
        took = time.monotonic() - start
        equal((r.rc, r.out, r.err), (0, BODY, b""), "curl")
        check(took < 2.0, "it took %.1f s" % took)


@test
def absent_then_present_collector():
    with Sandbox(Receiver(listen=False), **ONE) as box:
        web = box.http_server(FILES)
        sent = ask(web, 200)
        equal({r.status for r in sent}, {200}, "the host serves on")
        box.recv.listen()
        ask(web, 1, first=1000)
        equal(numbers(box.recv.wait(201, timeout=40)), list(range(200)) + [1000], "spans")


@test
def absent_collector_and_exit():
    with Sandbox(Receiver(listen=False)) as box:
        up = box.keep(Upstream())
        start = time.monotonic()
        r = box.run([needs("curl"), "-q", "-sS", up.url + "/ok"])
        equal((r.rc, r.out, r.err), (0, BODY, b""), "curl: result, and no noise on stderr")
        check(time.monotonic() - start < 2.0, "it took %.1f s" % (time.monotonic() - start))


@test
def memory_stays_in_its_budget_without_a_collector():
    def pss(pids):
        total = 0
        for pid in pids:
            with open("/proc/%d/smaps_rollup" % pid) as f:
                total += next(int(l.split()[1]) for l in f if l.startswith("Pss:"))
        return total
    with Sandbox(Receiver(listen=False), OTEL_BSP_SCHEDULE_DELAY=50) as box:
        web = box.nginx("location / {}", files=FILES, access_log=False)
        load(web.port, 200, 4, lambda i: ("GET", "/a.txt?i=%d" % i, (), None))
        first = pss(web.tree())
        sizes = []
        for _ in range(4):
            load(web.port, 10000, 8, lambda i: ("GET", "/a.txt?%s" % ("i" * 200), (), None))
            sizes.append(pss(web.tree()))
        check(sizes[-1] - first < 12 * 1024, "PSS grew by %r kB" % [x - first for x in sizes])
        check(min(sizes[2:]) - max(sizes[:2]) < 1024, "it goes on growing: %r kB" % [x - first for x in sizes])


@test
def queue_limit_drops_and_counts():
    """OTEL_BSP_MAX_QUEUE_SIZE binds when set; what is dropped is told."""
    with Sandbox(one_batch(Answer(action="hang")), OTEL_EXPORTER_OTLP_TIMEOUT=4000, REMORA_LOG="debug",
                 OTEL_BSP_MAX_QUEUE_SIZE=64, OTEL_BSP_MAX_EXPORT_BATCH_SIZE=16) as box:
        web = box.http_server(FILES)
        ask(web, 16)
        box.recv.wait_requests(1)
        ask(web, 400, first=100)
        box.recv.wait(1, timeout=30)
        ask(web, 1, first=9000)
        box.recv.wait(1, lambda s: s["url.query"] == "i=9000", timeout=30)
        web.stop(signal.SIGINT)
        made, got = 417, box.recv.count()
        check(got < made - 200, "%d of %d arrived over a queue of 64" % (got, made))
        text = "\n".join(l for l in web.err if "remora" in l)
        drops = [int(x) for x in re.findall(r"dropped[^\d\n]{0,40}?(\d+)", text)]
        lost = made - got
        check(any(abs(d - lost) <= 16 for d in drops), "%d spans were lost, the log says %r" % (lost, drops))


@test
def slow_receiver_does_not_slow_the_host():
    with Sandbox(Receiver(script=lambda r: Answer(delay=1.0))) as box:
        web = box.http_server(FILES)
        start = time.monotonic()
        ask(web, 300)
        check(time.monotonic() - start < 5, "300 requests took %.1f s" % (time.monotonic() - start))
        equal(numbers(box.recv.wait(300, timeout=30)), list(range(300)), "spans")


# ---- TLS

@test
def tls_with_own_ca():
    with Sandbox() as box:
        ca = TestCA(box.path("ca", ""))
        tls = box.keep(Receiver(tls=ca.server_context()))
        web = box.http_server(FILES, env={"OTEL_EXPORTER_OTLP_ENDPOINT": tls.url,
                                          "OTEL_EXPORTER_OTLP_CERTIFICATE": ca.ca})
        ask(web, 30)
        equal(numbers(tls.wait(30)), list(range(30)), "spans")
        equal(tls.connections, 1, "connections")


@test
def tls_flush_at_exit():
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=60000) as box:
        ca = TestCA(box.path("ca", ""))
        tls = box.keep(Receiver(tls=ca.server_context()))
        up = box.keep(Upstream())
        for argv in ([needs("curl"), "-q", "-sS", up.url + "/ok"],
                     [PYTHON, os.path.join(APPS, "client.py"), "urllib", "GET", up.url + "/ok"]):
            before = tls.count()
            r = box.run(argv, env={"OTEL_EXPORTER_OTLP_ENDPOINT": tls.url, "OTEL_EXPORTER_OTLP_CERTIFICATE": ca.ca})
            equal(r.rc, 0, "exit status")
            tls.wait(before + 1, timeout=3)


@test
def tls_unknown_ca_is_refused():
    with Sandbox(REMORA_LOG="debug") as box:
        ca = TestCA(box.path("ca", ""))
        tls = box.keep(Receiver(tls=ca.server_context()))
        web = box.http_server(FILES, env={"OTEL_EXPORTER_OTLP_ENDPOINT": tls.url})
        ask(web, 3)
        tls.wait_until(lambda: tls.tls_errors, "a handshake failed")
        equal(tls.count(), 0, "spans over an unverified connection")
        equal(ask(web, 1, first=9)[0].status, 200, "the host serves on")


@test
def mutual_tls():
    with Sandbox() as box:
        ca = TestCA(box.path("ca", ""))
        tls = box.keep(Receiver(tls=ca.server_context(want_client_cert=True)))
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": tls.url, "OTEL_EXPORTER_OTLP_CERTIFICATE": ca.ca,
               "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": ca.client_cert,
               "OTEL_EXPORTER_OTLP_CLIENT_KEY": ca.client_key}
        web = box.http_server(FILES, env=env)
        ask(web, 5)
        tls.wait(5)
        subject = dict(x[0] for x in tls.requests[0].client_cert["subject"])
        equal(subject["commonName"], "client", "the certificate that was shown")


@test
def ca_file_is_missing():
    """A wrong path is told in one line, and the host does not care."""
    with Sandbox() as box:
        web = box.http_server(FILES, env={"OTEL_EXPORTER_OTLP_ENDPOINT": "https://localhost:%d" % box.recv.port,
                                          "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nonexistent/ca.pem"})
        equal(ask(web, 3)[0].status, 200, "status")
        line = web.wait_line("remora.*/nonexistent/ca.pem")
        check(line, "the message names the file")


if __name__ == "__main__":
    main()
