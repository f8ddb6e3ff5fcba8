"""X-Ray's own OTLP endpoint: signed, within its limits, the same spans as any OTLP receiver gets."""
import re
import ssl

from harness import *
from aws_stub import Endpoint, Keys
from test_xray import flask, get
from test_xray_sampling import rule
from xray_otlp_stub import KEYS, XrayOtlp

KEY, (SECRET, _) = next(iter(KEYS.items()))


class Box(Sandbox):
    """A sandbox with X-Ray's endpoint, to which alone the programs in it send."""

    def __init__(self, xray=None, **env):
        needs_module("botocore")
        super().__init__(**env)
        self.xray = self.keep(xray or XrayOtlp())

    def env(self, traced=True, **more):
        aws = {"REMORA_XRAY_PROTOCOL": "otlp", "AWS_ENDPOINT_URL_XRAY": self.xray.url, "AWS_REGION": "ca-central-1",
               "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true",
               "OTEL_EXPORTER_OTLP_ENDPOINT": None,
               "OTEL_TRACES_SAMPLER": "parentbased_always_on"} if traced else {}     # every request, without X-Ray's rules
        return super().env(traced, **{**aws, **self._env, **more})


def said(app):
    app.stop(signal.SIGINT)
    text = "\n".join(app.lines)
    check(SECRET not in text and "Signature=" not in text, "a secret is in what was said")
    return text


def facts(spans):
    return {s.span_id: (s.trace_id, s.parent_id, s.name, s.kind, s.start, s.end, s.status, s.flags, s.trace_state, s.attrs, s.events,
                        s.resource, s.scope, s.schema_url) for s in spans}


@cases(plain="none", gzip="gzip")
def same_as_any_otlp_receiver_gets(compression):
    with Box(OTEL_EXPORTER_OTLP_COMPRESSION=compression, OTEL_SERVICE_NAME="backend-flask") as box:
        _, app = flask(box, OTEL_EXPORTER_OTLP_ENDPOINT=box.recv.url, REMORA_LOG="debug")
        for path in ("/home?x=1&token=very-secret", "/call", "/calls", "/refused", "/boom"):
            get(app, path, {"User-Agent": 'a "quoted\\ agent'})
        mine, others = box.xray.wait(10), box.recv.wait(10)
        said(app)
        equal(len(mine), 10, "spans")
        equal(facts(mine), facts(others), "spans")
        equal([r for r in box.xray.types if r], [], "refusals")
        equal({(r.path, r.headers["content-type"], r.headers.get("content-encoding")) for r in box.xray.requests},
              {("/v1/traces", "application/x-protobuf", "gzip" if compression == "gzip" else None)}, "requests")


@test
def propagates_as_xray_does():
    """No other variable turns X-Ray on, and its header is read and written."""
    with Box() as box:
        up, app = flask(box)
        get(app, "/call", {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"})
        spans = box.xray.wait(2)
        app.stop()
        equal({s.trace_id for s in spans}, {"5759e988bd862e3fe1be46a994272793"}, "trace id")
        call = next(s for s in spans if s.kind == CLIENT)
        equal([r.one("x-amzn-trace-id") for r in up.requests()], ["Root=1-5759e988-bd862e3fe1be46a994272793;Parent=%s;Sampled=1"
                                                                        % call.span_id], "what the callee got")


@test
def only_its_own_endpoint_variable_counts():
    """AWS_ENDPOINT_URL is the program's."""
    with Box(XrayOtlp(region=None)) as box:
        other = box.keep(Receiver())
        _, app = flask(box, AWS_ENDPOINT_URL=other.url)
        get(app, "/home")
        box.xray.wait(1)
        said(app)
        equal((len(other.requests), other.connections), (0, 0), "what came to AWS_ENDPOINT_URL")
        _, app = flask(box, AWS_ENDPOINT_URL_XRAY="ftp://x")
        get(app, "/home")
        check("AWS_ENDPOINT_URL_XRAY=ftp://x is not an http:// or https:// URL; nothing is sent to X-Ray" in said(app), "message")


@cases(region=dict(region="eu-west-1"), key=dict(keys={KEY: ("another", None)}), none=dict(keys={}))
def refused(how):
    """Told once, and the spans stay: one attempt and one more with keys looked for anew."""
    with Box(XrayOtlp(**how), REMORA_EXIT_WAIT_MS="2000") as box:
        _, app = flask(box)
        get(app, "/home", n=3)
        eventually(lambda: len(box.xray.requests) >= 2, "two attempts")
        app.wait_line("xray: the credentials are refused; spans are kept as long as there is room: status 403")
        text = said(app)
        equal(text.count("credentials are refused"), 1, "messages")
        equal([s for s, _ in box.xray.wire()], [403, 403], "answers")


@test
def no_region_and_no_keys():
    with Box(AWS_REGION=None, AWS_ENDPOINT_URL_XRAY=None) as box:
        _, app = flask(box)
        get(app, "/home")
        app.wait_line("aws: no region: set AWS_REGION; nothing is sent to xray")
        said(app)
    with Box(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None) as box:
        _, app = flask(box)
        get(app, "/home")
        app.wait_line("aws: no credentials found")
        said(app)
        equal(box.xray.requests, [], "requests")


@test
def a_wrong_clock_is_corrected():
    with Box(XrayOtlp(skew=-4000)) as box:
        _, app = flask(box)
        get(app, "/home")
        box.xray.wait(1)
        said(app)
        equal(box.xray.types, ["InvalidSignatureException", None], "what the endpoint said")


def container(box, first_is_expired=False):
    """Keys come from a stub of ECS; the environment for that."""
    ecs = box.keep(Endpoint(Keys(box.xray)))
    make = ecs.keys.make

    def expired_at_first():
        key = make()
        if ecs.keys.made == 1:
            box.xray.keys[key[0]] = ("expired", key[2])
        return key
    if first_is_expired:
        ecs.keys.make = expired_at_first
    return ecs, {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_CONTAINER_CREDENTIALS_FULL_URI": ecs.url + "/v1/credentials"}


def check_renewed(box, ecs, text):
    equal((box.xray.count(), box.xray.duplicates, ecs.keys.made), (5, 0, 2), "spans, doubled ones, keys (%s)" % text[-800:])
    equal([t for t in box.xray.types if t], ["ExpiredTokenException"], "refusals")
    check("stub-secret" not in text and "stub-token" not in text, "a secret is in the log")


@test
def expired_in_mid_flight():
    """Keys that were good are not any more: new ones, the same batch once more, nothing lost or doubled."""
    with Box(XrayOtlp(keys={}), REMORA_LOG="debug") as box:
        ecs, env = container(box)
        _, app = flask(box, **env)
        get(app, "/home")
        box.xray.wait(1)
        for key in box.xray.keys:
            box.xray.keys[key] = ("expired", box.xray.keys[key][1])
        get(app, "/home", n=4)
        box.xray.wait(5)
        check_renewed(box, ecs, said(app))


@test
def expired_at_exit():
    """There is time for that before the program's end."""
    with Box(XrayOtlp(keys={}), REMORA_LOG="debug", OTEL_BSP_SCHEDULE_DELAY="60000") as box:
        ecs, env = container(box, first_is_expired=True)
        _, app = flask(box, **env)
        get(app, "/home", n=5)
        check_renewed(box, ecs, said(app))


@test
def throttled_and_rejected():
    slow = Answer(400, {"Content-Type": "application/json", "x-amzn-ErrorType": "ThrottledException"}, b'{"message":"Rate exceeded"}')
    with Box(XrayOtlp(replies=[slow, Answer(429, {"Retry-After": "1"}), Answer(503), Answer(partial=2, partial_message="too old"),
                               Answer(400)]), REMORA_LOG="debug", OTEL_BSP_SCHEDULE_DELAY="300") as box:
        _, app = flask(box)
        get(app, "/home", n=5)
        box.xray.wait(5, timeout=40)
        get(app, "/home")
        eventually(lambda: len(box.xray.requests) == 5, "the last request")
        text = said(app)
        equal(box.xray.wire(), [(400, 5), (429, 5), (503, 5), (200, 5), (400, 1)], "answers, and spans")
        check("ThrottledException: Rate exceeded" in text and "too old" in text, text[-1500:])
        equal(re.findall(r"dropped\.refused (\d+)", text)[-1:], ["3"], "dropped.refused (%s)" % text[-1500:])


@test
def limits():
    """12,000 spans at once, 8 MB of targets: in requests that are not too large."""
    with Box(OTEL_BSP_MAX_EXPORT_BATCH_SIZE="20000", OTEL_BSP_SCHEDULE_DELAY="60000", REMORA_ARENA_BYTES="67108864",
             REMORA_EXIT_WAIT_MS="20000", REMORA_LOG="debug") as box:
        web = box.nginx("location / { return 200; }", http="large_client_header_buffers 4 16k;", access_log=False)
        load(web.port, 12000, 16)
        load(web.port, 1500, 8, lambda i: ("GET", "/?%d&%s" % (i, "y" * 6000), (), None))
        web.stop(signal.SIGQUIT)
        told = re.search(r"stop: spans \d+.* sent (\d+)", "\n".join(web.err))
        check(told and int(told.group(1)) > 11000, "what was sent: %r" % web.err[-6:])
        equal((box.xray.count(), box.xray.duplicates, {s for s, _ in box.xray.wire()}), (int(told.group(1)), 0, {200}), "spans, doubled ones, answers")
        check(max(n for _, n in box.xray.wire()) > 4000, "large requests: %r" % box.xray.wire())


# ---------------------------------------------------------------- the real names, through a proxy that knows where they are

class Names(TestCA):
    """A TLS context for a host name, and an HTTPS proxy that leads it to a port of ours."""

    def __init__(self, directory, name):
        super().__init__(directory)
        self.name = name

    def context(self):
        cert, key = self._issue("aws", "subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth" % self.name)
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(cert, key)
        return ctx


class Proxy:
    def __init__(self, port):
        self.port_of_ours, self.asked = port, []
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.sock.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        head = b""
        while b"\r\n\r\n" not in head:
            data = c.recv(4096)
            if not data:
                return
            head += data
        self.asked.append(head.split(b" ")[1].decode())
        up = socket.create_connection(("127.0.0.1", self.port_of_ours))
        c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        def pump(a, b):
            with contextlib.suppress(OSError):
                while data := a.recv(65536):
                    b.sendall(data)
                b.shutdown(socket.SHUT_WR)
        threading.Thread(target=pump, args=(up, c), daemon=True).start()
        pump(c, up)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


@cases(region=("xray.ca-central-1.amazonaws.com", {}),
       fips=("xray-fips.ca-central-1.api.aws", {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}),
       given=("xray.eu-west-1.amazonaws.com", {"REMORA_XRAY_PROTOCOL": None, "AWS_REGION": "us-east-1",
                                               "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://xray.eu-west-1.amazonaws.com/v1/traces"}))
def real_host_names(case):
    """By region; and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT with X-Ray's address is signed for the region in it."""
    name, env = case
    needs("openssl")
    with Sandbox() as scratch:
        names = Names(scratch.path("ca", ""), name)
        with Box(XrayOtlp(region=name.split(".")[1], tls=names.context()), AWS_ENDPOINT_URL_XRAY=None) as box:
            proxy = box.keep(Proxy(box.xray.port))
            _, app = flask(box, https_proxy=proxy.url, AWS_CA_BUNDLE=names.ca, OTEL_EXPORTER_OTLP_CERTIFICATE=names.ca, **env)
            get(app, "/home")
            box.xray.wait(1)
            said(app)
            equal((set(proxy.asked), [t for t in box.xray.types if t]), ({name + ":443"}, []), "names, and refusals")


@test
def a_signature_of_ones_own_is_left_alone():
    needs("openssl")
    name = "xray.eu-west-1.amazonaws.com"
    with Sandbox() as scratch:
        names = Names(scratch.path("ca", ""), name)
        with Box(XrayOtlp(tls=names.context()), REMORA_XRAY_PROTOCOL=None) as box:
            proxy = box.keep(Proxy(box.xray.port))
            _, app = flask(box, https_proxy=proxy.url, OTEL_EXPORTER_OTLP_CERTIFICATE=names.ca,
                           OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://%s/v1/traces" % name, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20mine")
            get(app, "/home")
            eventually(lambda: box.xray.requests, "a request")
            said(app)
            equal({r.headers["authorization"] for r in box.xray.requests}, {"Bearer mine"}, "Authorization")


@test
def hosts_are_those_of_the_sdk():
    """Of each service that is called, in each region and variant that botocore's endpoint rules know."""
    needs_module("botocore")
    from botocore.endpoint_provider import EndpointProvider
    from botocore.loaders import Loader
    loader, rows = Loader(), []
    partitions = loader.load_data("partitions")
    for service in ("logs", "xray", "sts"):
        rules = EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"), partitions)
        for region in (r for p in partitions["partitions"] for r in p["regions"] if not r.endswith("-global")):
            for variants in range(4):
                e = rules.resolve_endpoint(Region=region, UseFIPS=bool(variants & 1), UseDualStack=bool(variants & 2),
                                           **({"UseGlobalEndpoint": False} if service == "sts" else {}))
                check(e.url.startswith("https://"), e.url)
                rows.append("%s %s %d %s" % (service, region, variants, e.url[8:]))
    with Sandbox() as box:
        r = box.run([os.path.join(BUILD, "tests", "unit", "test_aws_endpoint"), "sdk"], traced=False,
                    env={"REMORA_ENDPOINT_CASES": box.write("cases", "\n".join(rows) + "\n")})
        check(r.rc == 0 and b"# %d cases" % len(rows) in r.out and len(rows) > 400, r.out.decode()[-600:])


# ---------------------------------------------------------------- sampling

@test
def sampling_rules_from_xray_itself():
    """No daemon is named: the rules are asked for where the spans go. Expired keys are replaced there too."""
    rules = [rule("Default", 10000, FixedRate=0.0), rule("calls", 20, URLPath="/call*", FixedRate=1.0)]
    with Box(XrayOtlp(keys={}, rules=rules), OTEL_TRACES_SAMPLER="xray", REMORA_LOG="debug") as box:
        _, env = container(box, first_is_expired=True)
        _, app = flask(box, **env)
        get(app, "/slow")       # by the built-in rule: brings up the exporter
        app.wait_line(r"xray: (\d+) central sampling rules, (\d+) not for us")
        before = box.xray.count()
        get(app, "/home", n=20)
        get(app, "/call", n=3)
        box.xray.wait(3, lambda s: s["url.path"] == "/call")
        app.stop()
        equal([s for s in box.xray.spans() if s["url.path"] == "/home"], [], "spans that the rules leave out")
        check(before <= 1, "spans of the first request: %d" % before)
        fetched = [why for path, why, _ in box.xray.sampling if path == "/GetSamplingRules"]
        equal(fetched[-1], None, "the last fetch")
        check("ExpiredTokenException" in fetched + box.xray.types, "the first keys were refused: %r %r" % (fetched, box.xray.types))


@test
def rules_decide_for_xray_alone():
    """Without a sampler of the user's choice: all goes to the other receiver, to X-Ray what its rules want."""
    rules = [rule("Default", 10000, FixedRate=0.0), rule("calls", 20, URLPath="/call*", FixedRate=1.0)]
    with Box(XrayOtlp(rules=rules), OTEL_TRACES_SAMPLER=None, REMORA_LOG="debug") as box:
        _, app = flask(box, OTEL_EXPORTER_OTLP_ENDPOINT=box.recv.url)
        get(app, "/slow")
        app.wait_line(r"xray: (\d+) central sampling rules, (\d+) not for us")
        get(app, "/home", n=20)
        get(app, "/call", n=3)
        box.xray.wait(3, lambda s: s["url.path"] == "/call")
        box.recv.wait(23, lambda s: s["url.path"] in ("/home", "/call") and s.kind == SERVER)
        app.stop()
        equal([s for s in box.xray.spans() if s["url.path"] == "/home"], [], "spans that the rules leave out")


if __name__ == "__main__":
    main()
