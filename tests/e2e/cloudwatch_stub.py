"""CloudWatch Logs, as its service model describes it (botocore's logs/2014-03-28), over HTTP.

Refuses what the service refuses: shapes, patterns, lengths, batch size, count, order and span, unknown groups and
streams, wrong signatures; rejects single events that are too old or too new. It keeps what it took.
"""
import gzip
import json
import re
import socket
import struct
import threading
import time

import aws_signature
from otlp_receiver import PATIENCE
from stub_server import Handler, StubServer

KEYS = {"AKIDEXAMPLE": ("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)}
HOUR = 3600 * 1000
DAYS = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}


def model():
    from harness import needs_module
    needs_module("botocore")
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    return ServiceModel(Loader().load_service_model("logs", "service-2"))


def faults_of(shape, value, path=""):
    """What a parsed JSON value has against a shape of the model; unknown members too."""
    name, bad, meta = path or shape.name, [], shape.metadata
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            return [name + " is no structure"]
        bad += ["%s.%s is unknown" % (name, k) for k in value if k not in shape.members]
        bad += ["%s.%s is missing" % (name, k) for k in shape.required_members if k not in value]
        for k, v in value.items():
            if k in shape.members:
                bad += faults_of(shape.members[k], v, name + "." + k)
        return bad
    if shape.type_name == "list":
        if not isinstance(value, list):
            return [name + " is no list"]
        if len(value) < meta.get("min", 0) or len(value) > meta.get("max", 1 << 62):
            bad.append("%s has %d members" % (name, len(value)))
        for i, v in enumerate(value):
            bad += faults_of(shape.member, v, "%s[%d]" % (name, i))
            if len(bad) > 5:
                break
        return bad
    if shape.type_name == "string":
        if not isinstance(value, str):
            return [name + " is no string"]
        if len(value) < meta.get("min", 0) or len(value) > meta.get("max", 1 << 62):
            bad.append("%s has %d characters" % (name, len(value)))
        if "pattern" in meta and not re.fullmatch(meta["pattern"], value):
            bad.append("%s=%.60r does not match %s" % (name, value, meta["pattern"]))
        if "enum" in meta and value not in meta["enum"]:
            bad.append("%s=%r is not in the enumeration" % (name, value))
        return bad
    if shape.type_name in ("long", "integer"):
        if type(value) is not int or value < meta.get("min", -(1 << 63)) or value > meta.get("max", (1 << 63) - 1):
            bad.append("%s is %r" % (name, value))
    return bad


class Reply:
    """An answer instead of the service's own. action: 'reset' or 'hang'."""

    def __init__(self, status=200, kind=None, message="scripted", headers=(), action=None, delay=0, body=None):
        self.status, self.kind, self.message, self.headers = status, kind, message, dict(headers)
        self.action, self.delay, self.body = action, delay, body


class Call:
    def __init__(self, op, headers, body, status, size):
        self.op, self.headers, self.body, self.status, self.size = op, headers, body, status, size
        self.time = time.monotonic()


class CloudWatch(StubServer):
    def __init__(self, keys=None, region="ca-central-1", groups=(), skew=0, port=0, tls=None):
        self.keys, self.region, self.skew = dict(KEYS if keys is None else keys), region, skew
        self.groups = {g: {} for g in groups}    # name -> stream -> [(ms, message)]
        self.retention, self.calls, self.faults, self.script = {}, [], [], []
        self.always = None
        self.delay = 0
        self.batches = 0
        self.changed = threading.Condition()
        self.model = model()
        self._stop = threading.Event()
        self._connections = set()
        owner = self

        class Calls(Handler):
            def date_time_string(self, timestamp=None):
                return super().date_time_string(time.time() + owner.skew)

            def do_POST(self):
                owner._post(self)

        self.listen(Calls, port=port, tls=tls)

    def stopping(self):
        self._stop.set()

    # -- signatures ------------------------------------------------------

    def _signature(self, h, raw):
        return aws_signature.fault(h.headers, h.path, raw, self.keys, "logs", skew=self.skew, must=["x-amz-target"])

    # -- operations ------------------------------------------------------

    def _put(self, data):
        events, total = data["logEvents"], 0
        group = self.groups.get(data["logGroupName"])
        if group is None:
            return 400, "ResourceNotFoundException", "The specified log group does not exist.", None
        if data["logStreamName"] not in group:
            return 400, "ResourceNotFoundException", "The specified log stream does not exist.", None
        for e in events:
            n = len(e["message"].encode("utf-8", "surrogatepass")) + 26
            if n > 1024 * 1024:
                return 400, "InvalidParameterException", "Log event too large: %d bytes exceeds limit of 1048576" % n, None
            total += n
        if total > 1048576:
            return 400, "InvalidParameterException", "Upload too large: %d bytes exceeds limit of 1048576" % total, None
        times = [e["timestamp"] for e in events]
        if times != sorted(times):
            return 400, "InvalidParameterException", "Log events in a single PutLogEvents request must be in chronological order.", None
        now = (time.time() + self.skew) * 1000
        days = min(14, self.retention.get(data["logGroupName"], 14))
        old = sum(t < now - days * 24 * HOUR for t in times)
        new = sum(t > now + 2 * HOUR for t in times)
        valid = times[old:len(times) - new]
        if valid and valid[-1] - valid[0] > 24 * HOUR:
            return 400, "InvalidParameterException", "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.", None
        info = {}
        if old:
            info["tooOldLogEventEndIndex"] = old
        if new:
            info["tooNewLogEventStartIndex"] = len(times) - new
        group[data["logStreamName"]] += [(e["timestamp"], e["message"]) for e in events[old:len(times) - new]]
        self.batches += 1
        return 200, None, None, {"nextSequenceToken": "1", **({"rejectedLogEventsInfo": info} if info else {})}

    def _operate(self, op, data):
        if op == "PutLogEvents":
            return self._put(data)
        group = data["logGroupName"]
        if op == "CreateLogGroup":
            if group.startswith("aws/"):
                return 400, "InvalidParameterException", "Log groups starting with AWS/ are reserved for AWS.", None
            if group in self.groups:
                return 400, "ResourceAlreadyExistsException", "The specified log group already exists", None
            self.groups[group] = {}
            return 200, None, None, None
        if group not in self.groups:
            return 400, "ResourceNotFoundException", "The specified log group does not exist.", None
        if op == "CreateLogStream":
            if data["logStreamName"] in self.groups[group]:
                return 400, "ResourceAlreadyExistsException", "The specified log stream already exists", None
            self.groups[group][data["logStreamName"]] = []
            return 200, None, None, None
        if op == "PutRetentionPolicy":
            if data["retentionInDays"] not in DAYS:
                return 400, "InvalidParameterException", "retentionInDays", None
            self.retention[group] = data["retentionInDays"]
            return 200, None, None, None
        return 400, "UnknownOperationException", op, None

    def _judge(self, h, raw):
        wrong = self._signature(h, raw)
        prefix, _, op = (h.headers.get("X-Amz-Target") or "").partition(".")
        data = None
        if wrong:
            return op, (400, wrong[0], wrong[1], None), None
        if h.headers.get("Content-Type") != "application/x-amz-json-1.1" or h.path != "/" or prefix != "Logs_20140328":
            self.faults.append("head: %s %s" % (h.path, h.headers.items()))
        try:
            if h.headers.get("Content-Encoding") == "gzip":
                raw = gzip.decompress(raw)
            data = json.loads(raw.decode("utf-8"))
        except (ValueError, OSError) as e:
            self.faults.append("body: %s" % e)
            return op, (400, "SerializationException", str(e), None), None
        if op not in self.model.operation_names:
            return op, (400, "UnknownOperationException", op, None), data
        bad = faults_of(self.model.operation_model(op).input_shape, data)
        if bad:
            self.faults += bad
            return op, (400, "InvalidParameterException", "; ".join(bad)[:300], None), data
        status = self._operate(op, data)
        if status[1] == "InvalidParameterException":
            self.faults.append(status[2])
        return op, status, data

    def _post(self, h):
        raw = h.rfile.read(int(h.headers.get("Content-Length", "0")))
        with self.changed:
            reply = self.script.pop(0) if self.script else self.always
            if reply and (reply.status != 200 or reply.action or reply.body is not None):
                op, data = (h.headers.get("X-Amz-Target") or "").partition(".")[2], None
                status = reply.status, reply.kind, reply.message, None
            else:
                op, status, data = self._judge(h, raw)
            self.calls.append(Call(op, h.headers, data if op != "PutLogEvents" else None, status[0], len(raw)))
            self.changed.notify_all()
        delay = (reply.delay if reply else 0) or self.delay
        if delay:
            self._stop.wait(delay)
        if reply and reply.action == "hang":
            self._stop.wait(60)
        if reply and reply.action:
            if reply.action == "reset":
                h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            h.close_connection = True
            h.connection.close()
            return
        body = b"" if status[1] is None and status[3] is None else json.dumps(
            status[3] if status[1] is None else
            {"__type": "com.amazonaws.logs.v20140328#" + status[1] if len(self.calls) % 2 else status[1],
             "message" if len(self.calls) % 3 else "Message": status[2]}).encode()
        if reply and reply.body is not None:
            body = reply.body
        h.send_response(status[0])
        h.send_header("Content-Type", "application/x-amz-json-1.1")
        h.send_header("Content-Length", str(len(body)))
        for key, val in (reply.headers if reply else {}).items():
            h.send_header(key, val)
        h.end_headers()
        h.wfile.write(body)

    # -- looking ---------------------------------------------------------

    def streams(self, group="cruddur"):
        with self.changed:
            return {k: list(v) for k, v in self.groups.get(group, {}).items()}

    def messages(self, group="cruddur"):
        return [m for events in self.streams(group).values() for _, m in events]

    def wait(self, what, text, timeout=20.0):
        """Until what() is true; woken by calls."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            got = what()
            if got:
                return got
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError("waited %.0f s for %s; %d messages, calls %r, faults %r" % (
                    timeout, text, len(self.messages()), [(c.op, c.status) for c in self.calls][-8:], self.faults[:3]))
            with self.changed:
                self.changed.wait(min(left, 0.2))

    def wait_messages(self, n, group="cruddur", timeout=20.0):
        return self.wait(lambda: len(self.messages(group)) >= n and self.messages(group), "%d messages" % n, timeout)

    def check(self):
        if self.faults:
            raise AssertionError("refused: %s" % "; ".join(self.faults[:5]))
