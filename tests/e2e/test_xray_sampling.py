"""X-Ray's sampling rules decide: central ones through the daemon, local files, and neither."""
import json
import os
import re
import signal

from harness import *
from test_xray import HEADER, PARENT, ROOT_ID, daemon, flask, get, is_segment, port_of
from test_xray_peers import Api, XrayDaemon


def rule(name, priority, **more):
    return {"RuleName": name, "RuleARN": "arn:aws:xray:us-east-1::sampling-rule/" + name, "ResourceARN": "*", "Priority": priority,
            "FixedRate": 0.0, "ReservoirSize": 0, "ServiceName": "*", "ServiceType": "*", "Host": "*", "HTTPMethod": "*",
            "URLPath": "*", "Version": 1, "Attributes": {}, **more}


RULES = [rule("Default", 10000, FixedRate=0.05, ReservoirSize=1),
         rule("calls", 20, URLPath="/call*", ServiceName="backend-*", FixedRate=1.0),
         rule("quiet", 10, URLPath="/home", HTTPMethod="GET"),
         rule("later", 1, Version=2, FixedRate=1.0), rule("others", 2, ServiceName="frontend", FixedRate=1.0)]


def started(box, app):
    """Its first request is sampled by the built-in rule, and brings up the exporter, which fetches the rules."""
    get(app, "/slow")
    app.wait_line(r"xray: (\d+) central sampling rules, (\d+) not for us")


@test
def central_rules_through_the_daemon():
    with Sandbox(OTEL_SERVICE_NAME="backend-flask", OTEL_TRACES_SAMPLER="xray", REMORA_LOG="debug", OTEL_EXPORTER_OTLP_ENDPOINT=None) as box:
        d = XrayDaemon(box, rules=RULES)
        up, app = flask(box, AWS_XRAY_DAEMON_ADDRESS=d.address)
        started(box, app)
        get(app, "/home", n=20)
        get(app, "/call", n=3)
        docs = d.wait(1 + 6)
        app.stop()
        d.host.stop()
        urls = sorted(x["http"]["request"]["url"].rsplit("/", 1)[1] for x in d.api.docs if is_segment(x))
        equal(urls, ["call"] * 3 + ["slow"], "segments")
        names = {x["aws"]["xray"].get("sampling_rule_name") for x in docs if is_segment(x) and x["http"]["request"]["url"].endswith("call")}
        equal(names, {"calls"}, "sampling_rule_name")
        check(all(r.one("x-amzn-trace-id").endswith("Sampled=1") for r in up.requests()), "the decision goes downstream")
        reports = {}
        for r in d.api.reports:
            check(re.fullmatch("[0-9a-f]{24}", r["ClientID"]), "client id %r" % r["ClientID"])
            for k in ("RequestCount", "SampledCount", "BorrowCount"):
                reports[r["RuleName"], k] = reports.get((r["RuleName"], k), 0) + r[k]
        check(reports, "something is reported")
        check(all(rc <= 20 for rc in reports.values()), "counts: %r" % reports)
        equal(len({r["ClientID"] for r in d.api.reports}), 1, "client ids")
        equal(d.api.bad, [], "unsigned calls")


@test
def quotas_and_counts():
    """A quota that is granted is used up each second, and what was asked, sampled and borrowed is told."""
    def targets(reports):
        return [{"RuleName": r["RuleName"], "FixedRate": 0.0, "ReservoirQuota": 5, "ReservoirQuotaTTL": time.time() + 60,
                 "Interval": 1} for r in reports]
    with Sandbox(OTEL_SERVICE_NAME="backend-flask", OTEL_TRACES_SAMPLER="xray", REMORA_LOG="debug", OTEL_EXPORTER_OTLP_ENDPOINT=None) as box:
        api = box.keep(Api([rule("all", 5, ReservoirSize=10)], targets, signed=False))
        d = daemon(box, OTEL_TRACES_SAMPLER_ARG="endpoint=http://127.0.0.1:%d,polling_interval=60" % api.port)
        _, app = flask(box)
        started(box, app)
        sent = 1

        def total(key):
            return sum(r[key] for r in api.reports)
        first = eventually(lambda: get(app, "/home") and api.reports, "a first report")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            get(app, "/home", n=5)
        docs = len([x for x in d.docs])
        check(8 <= docs <= 5 * 5 + 6, "with a quota of 5 a second %d segments in about three" % docs)
        eventually(lambda: get(app, "/home") and total("BorrowCount") + total("SampledCount") >= 10, "counts are told")
        check(total("RequestCount") > total("SampledCount") + total("BorrowCount"), "requests are more than samples")
        check(total("BorrowCount") >= 1, "it borrowed before it had a quota")


@test
def a_decision_that_comes_wins():
    with Sandbox(OTEL_SERVICE_NAME="backend-flask", OTEL_TRACES_SAMPLER="xray", REMORA_LOG="debug") as box:
        api = box.keep(Api([rule("none", 5)], signed=False))
        d = daemon(box, OTEL_TRACES_SAMPLER_ARG="endpoint=http://127.0.0.1:%d" % api.port)
        _, app = flask(box)
        started(box, app)
        get(app, "/home", n=5)
        get(app, "/home", {"X-Amzn-Trace-Id": HEADER % (ROOT_ID, PARENT, 1)})
        seg = d.wait(1, lambda x: x["trace_id"] == ROOT_ID)[0]
        check("sampling_rule_name" not in seg["aws"]["xray"], "no rule chose it")
        equal(len(d.docs), 2, "segments")


LOCAL = {"version": 2, "rules": [{"host": "*", "http_method": "*", "url_path": "/home", "fixed_target": 0, "rate": 0},
                                 {"host": "*", "http_method": "GET", "url_path": "/sl*", "fixed_target": 100, "rate": 0}],
         "default": {"fixed_target": 0, "rate": 1}}
CLI = {"SamplingRule": rule("Cruddur", 9000, ServiceName="backend-flask", FixedRate=1.0, ReservoirSize=5)}


@cases(sdk_file=(LOCAL, 1), cli_file=(CLI, 6))
def local_rules(case):
    """A file decides while no daemon answers."""
    text, want = case
    with Sandbox(OTEL_SERVICE_NAME="backend-flask", OTEL_TRACES_SAMPLER="xray", REMORA_LOG="debug") as box:
        box.write("rules.json", json.dumps(text))
        d = daemon(box, REMORA_XRAY_SAMPLING_RULES=os.path.join(box.dir, "rules.json"))
        _, app = flask(box)
        get(app, "/slow")       # by the built-in rule, perhaps: then the file is read
        app.wait_line("sampling rules from")
        d.wait(1)
        get(app, "/home", n=5)
        get(app, "/slow")
        d.wait(want + 1)
        app.stop()
        equal(len(d.docs), want + 1, "segments")
        check(all("sampling_rule_name" not in x["aws"]["xray"] for x in d.docs), "a local rule has no name there")


@cases(no_json="{", no_default='{"version":2,"rules":[]}', missing=None)
def broken_file(text):
    with Sandbox(OTEL_TRACES_SAMPLER="xray") as box:
        path = box.path("rules.json")
        if text:
            box.write("rules.json", text)
        daemon(box, REMORA_XRAY_SAMPLING_RULES=path)
        _, app = flask(box)
        equal(get(app, "/home").status, 200, "status")
        app.wait_line(r"remora: REMORA_XRAY_SAMPLING_RULES: .*rules.json")


@test
def without_rules():
    """One a second and 5 %."""
    with Sandbox(OTEL_TRACES_SAMPLER="xray", REMORA_LOG="debug") as box:
        d = daemon(box)
        _, app = flask(box)
        start = time.monotonic()
        get(app, "/home", n=400)
        seconds = time.monotonic() - start
        app.stop(signal.SIGINT)     # SIGTERM would leave what is on its way to the next start
        n = int(app.wait_line(r"remora: xray: sent (\d+), dropped 0").group(1))
        equal(len(d.wait(n)), n, "documents that arrived")
        check(1 <= n <= 400 * .05 + 25 + seconds + 1, "%d segments of 400 requests in %.1f s" % (n, seconds))


@test
def names_that_cannot_match():
    with Sandbox(OTEL_TRACES_SAMPLER="xray", REMORA_XRAY_DYNAMIC_NAMING="*", OTEL_SERVICE_NAME="backend-flask", REMORA_LOG="debug") as box:
        api = box.keep(Api([rule("Cruddur", 9000, ServiceName="backend-flask")], signed=False))
        daemon(box, OTEL_TRACES_SAMPLER_ARG="endpoint=http://127.0.0.1:%d" % api.port)
        _, app = flask(box)
        started(box, app)
        app.wait_line("REMORA_XRAY_DYNAMIC_NAMING: .* rule Cruddur for service backend-flask")


if __name__ == "__main__":
    main()
