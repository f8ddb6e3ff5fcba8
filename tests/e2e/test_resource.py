"""Who says it: resource attributes, the service's name, the sampler, and the switches that keep us inert."""
import platform
import re
import signal
import socket

from harness import *


def one(env=None, argv=None, **kw):
    """The span of one traced curl, or None when it stayed inert."""
    with Sandbox(**(env or {})) as box:
        up = box.keep(Upstream())
        r = box.run((argv or [needs("curl"), "-q", "-sS"]) + [up.url + "/ok"], **kw)
        equal((r.rc, r.out), (0, BODY), "curl")
        # curl ended, and it flushes before: what did not arrive by now does not come
        got = box.recv.spans()
        r.files = os.listdir(box.runtime)
        return (got[0] if got else None), up.requests()[0], r


@test
def standard_attributes():
    s, _, _ = one({"OTEL_SERVICE_NAME": "shop"})
    res = s.resource
    for key, want in {"service.name": "shop", "host.name": socket.gethostname(), "os.type": "linux",
                      "process.executable.name": "curl", "telemetry.sdk.name": None,
                      "telemetry.sdk.language": None, "telemetry.sdk.version": None,
                      "process.pid": None, "process.executable.path": None}.items():
        check(key in res, "%s is missing in %r" % (key, sorted(res)))
        if want:
            equal(res[key], want, key)
    check(type(res["process.pid"]) is int, "process.pid is a number")
    check(res["process.executable.path"].endswith("/curl"), "process.executable.path %r" % res["process.executable.path"])
    check(re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", res.get("service.instance.id", "")),
          "service.instance.id %r" % res.get("service.instance.id"))
    check(any(k.startswith("telemetry.distro.") for k in res), "telemetry.distro.*")


@cases(fallback=({}, "unknown_service:curl"),
       attributes=({"OTEL_RESOURCE_ATTRIBUTES": "service.name=fromattr"}, "fromattr"),
       name_wins=({"OTEL_RESOURCE_ATTRIBUTES": "service.name=fromattr", "OTEL_SERVICE_NAME": "fromname"}, "fromname"),
       empty_is_unset=({"OTEL_SERVICE_NAME": "", "OTEL_RESOURCE_ATTRIBUTES": ""}, "unknown_service:curl"))
def service_name(case):
    env, want = case
    equal(one(env)[0].resource["service.name"], want, "service.name")


@test
def given_attributes():
    s = one({"OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2, deployment.environment.name=pro%20d,team=a%2Cb%3Dc,service.namespace=n"})[0]
    equal([s.resource.get(k) for k in ("service.version", "deployment.environment.name", "team", "service.namespace")],
          ["1.2", "pro d", "a,b=c", "n"], "attributes")


@test
def one_decode_error_discards_all():
    s, _, r = one({"OTEL_RESOURCE_ATTRIBUTES": "good=1,bad=%zz", "OTEL_SERVICE_NAME": "x"})
    check("good" not in s.resource and "bad" not in s.resource, "resource %r" % s.resource)
    equal(len([l for l in r.err.decode().splitlines() if "OTEL_RESOURCE_ATTRIBUTES" in l]), 1, "warnings: %r" % r.err)


@test
def too_long_is_told():
    s, _, r = one({"OTEL_RESOURCE_ATTRIBUTES": "good=1,long=" + "x" * 9000, "OTEL_SERVICE_NAME": "x"})
    check("good" not in s.resource and "long" not in s.resource, "resource %r" % s.resource)
    equal(s.resource["service.name"], "x", "service.name")
    equal(len([l for l in r.err.decode().splitlines() if "OTEL_RESOURCE_ATTRIBUTES has more bytes" in l]), 1, "warnings: %r" % r.err)


@test
def command_line_is_redacted():
    s = one(argv=[needs("curl"), "-q", "-sS", "-H", "Authorization: Bearer s3cretvalue", "-u", "user:s3cretvalue",
                  "--proxy-header", "x-api-key: s3cretvalue"])[0]
    check("-sS" in repr(s.resource.get("process.command_args")), "process.command_args in %r" % s.resource)
    check("s3cretvalue" not in repr(s.resource) + repr(s.attrs), "a secret is in %r" % s.resource)


@cases(disabled={"REMORA_DISABLED": "1"}, sdk={"OTEL_SDK_DISABLED": "true"}, sdk_case={"OTEL_SDK_DISABLED": "TRUE"},
       exclude={"REMORA_EXCLUDE": "*curl*"}, exclude_list={"REMORA_EXCLUDE": "/nope,*/curl"},
       include_other={"REMORA_INCLUDE": "*python*"}, sampler={"OTEL_TRACES_SAMPLER": "always_off"},
       ratio={"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"})
def inert(env):
    s, wire, r = one(env)
    equal((s, r.err), (None, b""), "span and stderr")
    if "OTEL_TRACES_SAMPLER" not in env:
        equal(wire.one("traceparent"), None, "nothing is injected")
        equal(r.files, [], "files of an inert program")


@cases(not_true={"OTEL_SDK_DISABLED": "1"}, include={"REMORA_INCLUDE": "*curl*"},
       include_and_exclude={"REMORA_INCLUDE": "*curl*", "REMORA_EXCLUDE": "*wget*"}, zero={"REMORA_DISABLED": "0"},
       bad_sampler={"OTEL_TRACES_SAMPLER": "sometimes"},
       bad_arg={"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"},
       ratio_one={"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1"},
       case={"OTEL_TRACES_SAMPLER": "ALWAYS_ON"})
def not_inert(env):
    s, wire, r = one(env)
    check(s is not None and wire.traceparent(), "a span and a traceparent; stderr %r" % r.err)
    if "some" in repr(env) or "many" in repr(env):
        check(len(r.err.splitlines()) == 1 and b"OTEL_TRACES_SAMPLER" in r.err, "one warning: %r" % r.err)


@test
def debug_log_says_why_it_is_inert():
    _, _, r = one({"REMORA_EXCLUDE": "*curl*", "REMORA_LOG": "debug"})
    text = r.err.decode()
    check("curl" in text and "REMORA_EXCLUDE" in text, "stderr: %r" % text)


@test
def shells_are_excluded_by_default():
    """bash can make requests by itself, yet it is not what somebody wants to see."""
    with Sandbox() as box:
        up = box.keep(Upstream())
        r = box.run([needs("bash"), "-c", "exec 3<>/dev/tcp/127.0.0.1/%d; printf 'GET /ok HTTP/1.0\r\n\r\n' >&3; "
                     "cat <&3; exit 3" % up.port])
        equal((r.rc, r.out.endswith(BODY), r.err), (3, True, b""), "bash")
        equal(up.requests()[0].one("traceparent"), None, "nothing is injected")
        equal((os.listdir(box.runtime), box.recv.spans()), ([], []), "files and spans of a shell")


@test
def traceidratio():
    with Sandbox(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.25") as box:
        web = box.http_server({"a.txt": b"hello"})
        n = 2000
        load(web.port, n, 8, lambda i: ("GET", "/a.txt?i=%d" % i, (), None))
        box.recv.wait(350)
        web.stop(signal.SIGINT)
        spans = box.recv.spans()
        check(380 <= len(spans) <= 620, "%d of %d at a ratio of 0.25" % (len(spans), n))
        threshold = int(0.75 * 2 ** 56)
        for s in spans:
            check(int(s.trace_id[18:], 16) >= threshold, "trace %s is below the threshold" % s.trace_id)


@test
def ratio_writes_its_threshold():
    """Honeycomb and others read the weight from tracestate."""
    with Sandbox(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5") as box:
        up = box.keep(Upstream())
        r = box.run([PYTHON, os.path.join(APPS, "client.py"), "urllib", "GET"] + [up.url + "/ok?%d" % i for i in range(40)])
        equal(r.rc, 0, "exit status")
        spans = box.recv.wait(5)
        for s in spans:
            check("ot=th:8" in s.trace_state.replace(" ", ""), "tracestate %r" % s.trace_state)
        flags = [q.traceparent()[2] & 1 for q in up.requests()]
        equal(sum(flags), len(box.recv.spans()), "sampled flags on the wire")


@test
def each_process_has_its_own_resource():
    with Sandbox() as box:
        app = box.gunicorn("-k", "sync", workers=3)
        load(app.port, 60, 6, lambda i: ("GET", "/api/slow?s=0.05&i=%d" % i, (), None))   # so that one is not enough
        spans = box.recv.wait(60)
        app.stop()
        pids = {s.resource["process.pid"] for s in spans}
        check(len(pids) >= 2 and app.pid not in pids, "pids %r of master %d" % (pids, app.pid))
        ids = {s.resource["process.pid"]: s.resource["service.instance.id"] for s in spans}
        equal(len(set(ids.values())), len(ids), "instance ids of %d processes" % len(ids))


@test
def launcher():
    with Sandbox(OTEL_SERVICE_NAME="launched") as box:
        up = box.keep(Upstream())
        for argv in ([LAUNCHER, "run", "--", needs("curl"), "-q", "-sS", up.url + "/ok"],
                     [LAUNCHER, "run", "curl", "-q", "-sS", up.url + "/ok"]):
            before = box.recv.count()
            r = box.run(argv, env={"LD_PRELOAD": None})
            equal((r.rc, r.out, r.err), (0, BODY, b""), "remora run")
            equal(box.recv.wait(before + 1)[-1].resource["service.name"], "launched", "service.name")
        r = box.run([LAUNCHER, "run", "--", PYTHON, "-c", "import sys; sys.exit(41)"], env={"LD_PRELOAD": None})
        equal(r.rc, 41, "the program's own exit status")
        r = box.run([LAUNCHER, "run", "--", "/nonexistent/prog"], env={"LD_PRELOAD": None})
        check(r.rc in (126, 127) and b"/nonexistent/prog" in r.err, "a missing program: %r" % r)
        r = box.run([LAUNCHER, "run"], env={"LD_PRELOAD": None})
        check(r.rc != 0 and r.err, "no program: %r" % r)


if __name__ == "__main__":
    main()
