"""What a test needs of X-Ray: the daemon's UDP port, and the rules of segment documents.

The rules are those of the developer guide ("AWS X-Ray segment documents") and of its JSON schema: names, ids, lengths,
types, the keys of annotations. A document that breaks one fails the test that received it.
"""
import json
import os
import re
import socket
import threading
import time
import unicodedata

from otlp_receiver import PATIENCE

# A file that collects all documents, for a look at them with AWS's own JSON schema.
SCHEMA_LOG = os.environ.get("REMORA_XRAY_DOCUMENTS")
HEADER = {"format": "json", "version": 1}
ID, TRACE_ID = re.compile(r"[0-9a-f]{16}\Z"), re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}\Z")
KEY = re.compile(r"[A-Za-z0-9_]{1,500}\Z")
ORIGINS = {"AWS::EC2::Instance", "AWS::ECS::Container", "AWS::ECS::EC2", "AWS::ECS::Fargate", "AWS::EKS::Container",
           "AWS::ElasticBeanstalk::Environment", "AWS::AppRunner::Service", "AWS::Lambda::Function"}
_TOP = {"name": str, "id": str, "trace_id": str, "start_time": float, "end_time": float, "in_progress": bool,
        "parent_id": str, "type": str, "service": dict, "user": str, "origin": str, "http": dict, "error": bool,
        "throttle": bool, "fault": bool, "cause": dict, "annotations": dict, "metadata": dict, "aws": dict,
        "namespace": str, "sql": dict}
_AWS = {"xray": dict, "account_id": str, "cloudwatch_logs": list, "ec2": dict, "ecs": dict, "eks": dict,
        "elastic_beanstalk": dict}
_AWS_CALL = {"xray": dict, "operation": str, "account_id": str, "region": str, "request_id": str, "queue_url": str,
             "table_name": str, "bucket_name": str, "id_2": str, "topic_arn": str, "function_name": str}
_BLOCKS = {"ec2": {"instance_id": str, "instance_size": str, "ami_id": str, "availability_zone": str},
           "ecs": {"container": str, "container_id": str, "container_arn": str, "cluster_arn": str, "task_arn": str,
                   "task_family": str, "launch_type": str, "availability_zone": str},
           "eks": {"pod": str, "cluster_name": str, "container_id": str},
           "elastic_beanstalk": {"environment_name": str, "version_label": str, "deployment_id": int},
           "xray": {"sdk": str, "sdk_version": str, "auto_instrumentation": bool, "sampling_rule_name": str}}
_REQUEST = {"method": str, "url": str, "user_agent": str, "client_ip": str, "x_forwarded_for": bool, "traced": bool}
_RESPONSE = {"status": int, "content_length": int}
_SQL = {"connection_string": str, "url": str, "sanitized_query": str, "database_type": str, "database_version": str,
        "driver_version": str, "user": str, "preparation": str}


def _once(pairs):
    keys = [k for k, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key twice: %r" % sorted(keys))
    return dict(pairs)


def _types(where, have, want, bad):
    for key, val in have.items():
        if key not in want:
            bad.append("%s.%s is no field" % (where, key))
        elif want[key] is float:
            if type(val) not in (int, float):
                bad.append("%s.%s is %r" % (where, key, val))
        elif type(val) is not want[key]:
            bad.append("%s.%s is %r, not %s" % (where, key, val, want[key].__name__))


def name_fault(name):
    if not 1 <= len(name) <= 200:
        return "name of %d characters" % len(name)
    for c in name:
        if c not in "_.:/%&#=+\\-@" and unicodedata.category(c)[0] not in "LZN":
            return "name %r has %r" % (name, c)


def faults(doc):
    """What X-Ray would have against a document."""
    bad = []
    sub = doc.get("type") == "subsegment"
    _types("document", doc, _TOP, bad)
    for key in ["name", "id", "trace_id", "start_time"] + (["parent_id"] if sub else []):
        if key not in doc:
            bad.append("%s is missing" % key)
    if bad:
        return bad
    bad += filter(None, [name_fault(doc["name"])])
    for key, rx in (("id", ID), ("parent_id", ID), ("trace_id", TRACE_ID)):
        if key in doc and not rx.match(doc[key]):
            bad.append("%s is %r" % (key, doc[key]))
    if doc["id"] == doc.get("parent_id"):
        bad.append("it is its own parent")
    if ("end_time" in doc) == doc.get("in_progress", False):
        bad.append("end_time or in_progress, not both or none")
    if doc.get("end_time", 1e18) < doc["start_time"]:
        bad.append("it ends before it begins")
    if doc["start_time"] > 1e11 or abs(doc["start_time"] - time.time()) > 86400:
        bad.append("start_time %r" % doc["start_time"])
    if not sub and ("namespace" in doc or "type" in doc):
        bad.append("a segment with namespace or type")
    if sub and ("user" in doc or "origin" in doc or "service" in doc):
        bad.append("a subsegment with user, origin or service")
    if doc.get("namespace", "remote") not in ("remote", "aws"):
        bad.append("namespace %r" % doc["namespace"])
    if doc.get("origin", "AWS::EC2::Instance") not in ORIGINS:
        bad.append("origin %r" % doc["origin"])
    if len(doc.get("user", "")) > 250:
        bad.append("user is too long")
    http = doc.get("http", {})
    _types("http", http, {"request": dict, "response": dict}, bad)
    _types("http.request", http.get("request", {}), _REQUEST, bad)
    _types("http.response", http.get("response", {}), _RESPONSE, bad)
    for key, val in http.get("request", {}).items():
        if isinstance(val, str) and not 1 <= len(val) <= 250:
            bad.append("http.request.%s has %d characters" % (key, len(val)))
    if sub and "x_forwarded_for" in http.get("request", {}):
        bad.append("x_forwarded_for of a subsegment")
    _types("sql", doc.get("sql", {}), _SQL, bad)
    if "" in doc.get("sql", {}).values():
        bad.append("an empty string in sql")
    if doc.get("sql", {}).get("preparation", "call") not in ("call", "statement"):
        bad.append("sql.preparation %r" % doc["sql"]["preparation"])
    if "sql" in doc and (not sub or "http" in doc):
        bad.append("sql in a segment, or beside http")
    if doc.get("throttle") and not doc.get("error"):
        bad.append("throttle without error")
    cause = doc.get("cause", {})
    _types("cause", cause, {"working_directory": str, "paths": list, "exceptions": list}, bad)
    if not all(isinstance(p, str) for p in cause.get("paths", [])):
        bad.append("paths %r" % cause["paths"])
    ids = [e.get("id") for e in cause.get("exceptions", [])]
    if len(set(ids)) != len(ids):
        bad.append("exceptions of one id: %r" % ids)
    for e in cause.get("exceptions", []):
        if "cause" in e and (e["cause"] not in ids or e["cause"] == e["id"]):
            bad.append("an exception caused by %r, which is not there" % e["cause"])
    for e in cause.get("exceptions", []):
        _types("exception", e, {"id": str, "type": str, "message": str, "remote": bool, "truncated": int, "skipped": int,
                                "cause": str, "stack": list}, bad)
        if not ID.match(e.get("id", "")):
            bad.append("exception id %r" % e.get("id"))
        for f in e.get("stack", []):
            _types("frame", f, {"path": str, "line": int, "label": str}, bad)
    if "cause" in doc and not cause.get("exceptions"):
        bad.append("an empty cause")
    if len(doc.get("annotations", {})) > 50:
        bad.append("%d annotations" % len(doc["annotations"]))
    for key, val in doc.get("annotations", {}).items():
        if not KEY.match(key):
            bad.append("annotation key %r" % key)
        if not isinstance(val, (str, int, float, bool)) or (isinstance(val, str) and len(val) > 1000):
            bad.append("annotation %s is %r" % (key, val))
    for key, val in doc.get("metadata", {}).items():
        if not isinstance(val, dict) or key.startswith("AWS."):
            bad.append("metadata namespace %r" % key)
    _types("aws", doc.get("aws", {}), _AWS_CALL if sub else _AWS, bad)
    for name, want in _BLOCKS.items():
        _types("aws." + name, doc.get("aws", {}).get(name, {}), want, bad)
    for group in doc.get("aws", {}).get("cloudwatch_logs", []):
        _types("aws.cloudwatch_logs", group, {"log_group": str, "arn": str}, bad)
    if "aws" in doc.get("namespace", "") and "operation" not in doc.get("aws", {}):
        bad.append("an AWS call without operation")
    return bad


class XrayReceiver:
    """The daemon's UDP port: takes datagrams apart as the daemon does, and checks each document."""

    def __init__(self, port=0, check=True):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", port))
        self.port = self.sock.getsockname()[1]
        self.address = "127.0.0.1:%d" % self.port
        self.docs, self.bad, self.sizes, self._check = [], [], [], check
        self._cond = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                return
            if not data:
                return
            with self._cond:
                self.sizes.append(len(data))
                head, _, body = data.partition(b"\n")
                try:
                    if json.loads(head) != HEADER:
                        raise ValueError("header %r" % head)
                    doc = json.loads(body.decode("utf-8"), object_pairs_hook=_once)
                    why = faults(doc) if self._check else []
                    if why:
                        self.bad.append("%s in %r" % ("; ".join(why), doc))
                    self.docs.append(doc)
                    if SCHEMA_LOG:
                        with open(SCHEMA_LOG, "ab") as f:
                            f.write(body + b"\n")
                except ValueError as e:
                    self.bad.append("%s in %r" % (e, data[:300]))
                self._cond.notify_all()

    def wait(self, n, want=lambda d: True, timeout=20.0):
        """The documents that are wanted, as soon as there are n."""
        end = time.monotonic() + timeout * PATIENCE
        with self._cond:
            while True:
                got = [d for d in self.docs if want(d)]
                if len(got) >= n or time.monotonic() > end:
                    break
                self._cond.wait(end - time.monotonic())
            if self.bad:
                raise AssertionError("%d documents are unfit: %s" % (len(self.bad), self.bad[0]))
            if len(got) < n:
                raise AssertionError("%d documents of %d: %r" % (len(got), n, got[:3]))
            return got

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self.sock.close()
