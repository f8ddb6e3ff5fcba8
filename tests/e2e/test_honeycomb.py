"""HONEYCOMB_API_KEY alone reaches Honeycomb: a front end that refuses what Honeycomb refuses."""
import re
import signal

from harness import *

ENVIRONMENT_KEY = "hcaik_01hqk4k20cjeh63wca8vva5stw70nft6m5n8wr8f5mjx3762s8269j50wc"
CLASSIC_KEY = "0123456789abcdef0123456789abcdef"


def front_end(headers, body, req):
    """What api.honeycomb.io checks before it looks at the spans."""
    key = headers.get("x-honeycomb-team")
    if not key:
        return Answer(401)
    if not req.path == "/v1/traces":
        return Answer(404)
    if headers.get("content-type") not in ("application/protobuf", "application/x-protobuf", "application/json"):
        return Answer(415)
    if headers.get("content-encoding", "gzip") not in ("gzip", "zstd"):
        return Answer(415)
    classic = re.fullmatch(r"[0-9a-f]{32}|hc[a-z]ic_[0-9a-z]{58}", key)
    if classic and not headers.get("x-honeycomb-dataset"):
        return Answer(401)
    if len(body) > 5_000_000:
        return Answer(413)
    return None


def run(env, secret, n=20):
    with Sandbox(Receiver(validate=front_end, keep_raw=True), OTEL_EXPORTER_OTLP_ENDPOINT=None,
                 REMORA_LOG="debug") as box:
        web = box.http_server({"a.txt": b"hello"}, env={k: v.replace("{url}", box.recv.url) for k, v in env.items()})
        sent = load(web.port, n, 2, lambda i: ("GET", "/a.txt?i=%d" % i, (), None))
        check_exactly(box.recv.wait(n), sent)
        web.stop(signal.SIGINT)
        equal(box.recv.refused, [], "refused requests")
        text = "\n".join(web.lines) + repr([(s.attrs, s.resource) for s in box.recv.spans()])
        check(secret not in text, "the key is in the log or the telemetry")
        for r in box.recv.requests:
            check(secret.encode() not in r.raw, "the key is in a body")
        return box.recv.requests


@test
def environment_key():
    for r in run({"HONEYCOMB_API_KEY": ENVIRONMENT_KEY, "HONEYCOMB_API_ENDPOINT": "{url}",
                  "OTEL_SERVICE_NAME": "backend-flask"}, ENVIRONMENT_KEY):
        equal(r.headers["x-honeycomb-team"], ENVIRONMENT_KEY, "x-honeycomb-team")
        for s in r.spans:
            equal(s.resource["service.name"], "backend-flask", "the data set's name")


@test
def classic_key_with_dataset():
    for r in run({"HONEYCOMB_API_KEY": CLASSIC_KEY, "HONEYCOMB_DATASET": "cruddur",
                  "HONEYCOMB_API_ENDPOINT": "{url}/"}, CLASSIC_KEY):
        equal(r.headers["x-honeycomb-dataset"], "cruddur", "x-honeycomb-dataset")


@test
def classic_key_without_dataset_is_told():
    """Honeycomb would answer 401 for ever: one message that names the variable."""
    with Sandbox(Receiver(validate=front_end), OTEL_EXPORTER_OTLP_ENDPOINT=None) as box:
        web = box.http_server({"a.txt": b"hello"}, env={"HONEYCOMB_API_KEY": CLASSIC_KEY,
                                                        "HONEYCOMB_API_ENDPOINT": box.recv.url})
        with Connection(web.port) as c:
            equal(c.request("GET", "/a.txt").status, 200, "the host serves on")
        web.wait_line("remora.*HONEYCOMB_DATASET")
        check(CLASSIC_KEY not in "\n".join(web.lines), "the key is in the message")


@test
def the_plain_otel_variables():
    """The reference application's three variables, unchanged."""
    for r in run({"OTEL_SERVICE_NAME": "backend-flask", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}",
                  "OTEL_EXPORTER_OTLP_HEADERS": "x-honeycomb-team=" + ENVIRONMENT_KEY}, ENVIRONMENT_KEY):
        equal(r.headers["x-honeycomb-team"], ENVIRONMENT_KEY, "x-honeycomb-team")


@test
def json_roots_have_no_parent_field():
    for r in run({"HONEYCOMB_API_KEY": ENVIRONMENT_KEY, "HONEYCOMB_API_ENDPOINT": "{url}",
                  "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, ENVIRONMENT_KEY):
        equal(r.headers["content-type"], "application/json", "content type")
        check(b"parentSpanId" not in r.raw, "roots carry no parentSpanId")


@test
def honeycomb_and_a_collector():
    """Two destinations; the one that hangs does not delay the other."""
    with Sandbox() as box:
        hc = box.keep(Receiver(validate=front_end, script=lambda r: Answer(action="hang")))
        web = box.http_server({"a.txt": b"hello"}, env={"HONEYCOMB_API_KEY": ENVIRONMENT_KEY,
                                                        "HONEYCOMB_API_ENDPOINT": hc.url})
        sent = load(web.port, 50, 2, lambda i: ("GET", "/a.txt?i=%d" % i, (), None))
        hc.wait_requests(1)
        sent += load(web.port, 50, 2, lambda i: ("GET", "/a.txt?i=%d" % (i + 50), (), None))
        check_exactly(box.recv.wait(100, timeout=8), sent)
        check(not box.recv.requests[0].headers.get("x-honeycomb-team"), "the key goes only to Honeycomb")


@test
def key_is_not_in_argv_or_environment_of_a_span():
    with Sandbox(Receiver(validate=front_end), OTEL_EXPORTER_OTLP_ENDPOINT=None) as box:
        up = box.keep(Upstream())
        r = box.run([needs("curl"), "-q", "-sS", "-H", "x-token: " + ENVIRONMENT_KEY, up.url + "/ok"],
                    env={"HONEYCOMB_API_KEY": ENVIRONMENT_KEY, "HONEYCOMB_API_ENDPOINT": box.recv.url})
        equal(r.rc, 0, "curl")
        s = box.recv.wait(1)[0]
        check(ENVIRONMENT_KEY not in repr((s.attrs, s.resource)), "the key is in %r" % (s.resource,))


if __name__ == "__main__":
    main()
