"""What our encoders wrote, decoded by what is not ours: Google's protobuf, Python's json and its UTF-8.

The bytes are made by the unit test test_otlp_emit, from records that no program could bring about in an e2e test.
"""
import ast
import importlib
import inspect
import pkgutil

from harness import *
from otlp_receiver import decode_traces

_emitted = {}


def emitted():
    """{name: {suffix: bytes}} of one run."""
    if not _emitted:
        exe = os.path.join(BUILD, "tests", "unit", "test_otlp_emit")
        check(os.path.exists(exe), exe + " is missing, run make unit first")
        with tempfile.TemporaryDirectory(prefix="remora-emit-") as d:
            r = subprocess.run([exe], env=dict(os.environ, REMORA_EMIT_DIR=d), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=240)
            equal(r.returncode, 0, r.stdout.decode("utf-8", "replace")[-300:])
            for name in sorted(os.listdir(d)):
                base, suffix = name.rsplit(".", 1)
                with open(os.path.join(d, name), "rb") as f:
                    _emitted.setdefault(base, {})[suffix] = f.read()
        check(len(_emitted) >= 14, "batches: %r" % sorted(_emitted))
    return _emitted


def protobuf(files):
    return decode_traces(files["pb"], "application/x-protobuf")


@test
def both_encodings_say_the_same():
    for name, files in emitted().items():
        spans, pb = protobuf(files)
        _, js = decode_traces(files["json"], "application/json")
        check(spans, name + " has spans")
        if pb != js:
            a, b = str(pb).splitlines(), str(js).splitlines()
            at = next(i for i, (x, y) in enumerate(zip(a + [""], b + [""])) if x != y)
            raise AssertionError("%s: protobuf %r, json %r" % (name, a[at - 2:at + 3], b[at - 2:at + 3]))


@test
def protobuf_is_what_google_writes():
    """Byte for byte: minimal lengths, fields in order, none unknown, none with its default value."""
    for name, files in emitted().items():
        _, msg = protobuf(files)
        check(msg.SerializeToString() == files["pb"], name + " differs from its own serialization")


@test
def ill_formed_utf8_is_replaced_as_python_does():
    seen = 0
    for name, files in emitted().items():
        if name == "limited":
            continue
        spans = {s.span_id: s for s in protobuf(files)[0]}
        for line in files["txt"].decode().splitlines():
            span, sent = line.split(" ")
            want = bytes.fromhex(sent).decode("utf-8", "replace").replace("\0", "\ufffd")
            equal(spans[span]["user_agent.original"], want or None, "user agent of %s in %s" % (span, name))
            seen += "\ufffd" in want
    check(seen > 100, "%d replaced" % seen)


@test
def sane_records_follow_the_conventions():
    spans, msg = protobuf(emitted()["sane"])
    equal(len(spans), 400, "spans")
    check_conventions(spans)
    equal({s.kind for s in spans}, {SERVER, CLIENT}, "kinds")
    equal({s.schema_url for s in spans}, {"https://opentelemetry.io/schemas/1.44.0"}, "schema")
    equal({s.scope for s in spans}, {"remora"}, "scope")
    equal(len(msg.resource_spans), 4, "resources: three processes and one that is not in the table")
    for s in spans:
        check(s.parent_id or not s.flags & 0x200, "a root's parent is not remote")
        equal(s.flags & 0x100, 0x100, "it is known whether the parent is remote")
    equal({type(v) for s in spans for v in s.attrs.values()}, {str, int}, "types of values")


@test
def limits():
    spans, msg = protobuf(emitted()["limited"])
    raw = [s for rs in msg.resource_spans for ss in rs.scope_spans for s in ss.spans]
    check(any(s.dropped_attributes_count for s in raw), "attributes were dropped")
    for s in raw:
        check(len(s.attributes) <= 6, "%d attributes" % len(s.attributes))
        check(len(s.attributes) == 6 or not s.dropped_attributes_count, "dropped below the limit")
    for s in spans:
        for key, val in s.attrs.items():
            check(type(val) is not str or len(val) <= 5, "%s=%r is too long" % (key, val))


@test
def resources():
    spans, _ = protobuf(emitted()["sane"])
    by = {}
    for s in spans:
        by.setdefault(s.resource["service.name"], s.resource)
    equal(sorted(by), sorted(["edge", "\U0001f420 \"quoted\"\n", "unknown_service"]), "service names")
    edge, odd, unknown = by["edge"], by["\U0001f420 \"quoted\"\n"], by["unknown_service"]
    equal(edge["process.command_args"], ["nginx", "-g", "daemon off;"], "process.command_args")
    equal(edge["deployment.environment.name"], "pro d", "a given attribute")
    equal(odd["process.command_args"], ["a\"\\", "", "\t\x7f\ufffd"], "odd arguments")
    equal((odd["team"], odd["\ufffd("], odd["empty"]), ("\"\\\n", "\x01", ""), "odd attributes")
    equal(unknown["process.pid"], 4242, "pid of a process that is not in the table")


def names_and_deprecated():
    """Names of the conventions, and those that their docstring says were replaced."""
    names, old = set(), set()
    for pkg in ("opentelemetry.semconv.attributes", "opentelemetry.semconv._incubating.attributes"):
        mod = importlib.import_module(pkg)
        for info in pkgutil.iter_modules(mod.__path__):
            body = ast.parse(inspect.getsource(importlib.import_module(pkg + "." + info.name))).body
            for node, doc in zip(body, body[1:] + [None]):
                value = getattr(node, "value", None)
                if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not isinstance(value, ast.Constant):
                    continue
                names.add(value.value)
                if isinstance(doc, ast.Expr) and str(doc.value.value).strip().startswith("Deprecated:"):
                    old.add(value.value)
    return names, old


@test
def names_are_in_the_conventions():
    names, old = names_and_deprecated()
    check(len(names) > 800 and old, "%d names, %d of them deprecated" % (len(names), len(old)))
    spans, _ = protobuf(emitted()["sane"])
    used = {k for s in spans for k in s.attrs} | {k for s in spans for k in s.resource}
    used -= {"team", "\ufffd(", "empty"}                 # what the test's records were given
    equal(sorted(k for k in used if k not in names), ["remora.aborted", "remora.parent"], "names of our own")
    equal(sorted(used & old), [], "deprecated names")


if __name__ == "__main__":
    main()
