"""AWS API calls seen on the wire: service, operation, table, queue, bucket and request id, in OTLP and in X-Ray."""
import json
import os

from harness import *
from stub_server import Handler, StubServer
from test_xray import daemon, get, port_of
from xray_receiver import XrayReceiver


class Aws(StubServer):
    """Answers any API with 200, a request id and next to nothing."""

    def __init__(self):
        self.ids = []
        owner = self

        class Calls(Handler):
            def answer(self):
                self.body()
                s3 = "/s3/aws4_request" in self.headers.get("Authorization", "")
                as_json = "x-amz-json" in self.headers.get("Content-Type", "")
                owner.ids.append("%08X-REQ" % len(owner.ids))
                self.reply(200, b"" if self.command == "HEAD" else b"<R/>" if s3 or not as_json else b"{}",
                           {"x-amz-request-id" if s3 else "x-amzn-RequestId": owner.ids[-1]})
            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

        self.listen(Calls)


@test
def boto3_against_its_own_word():
    """What boto3 says it called is what the spans say."""
    needs_module("boto3")
    with Sandbox(OTEL_TRACES_EXPORTER="otlp") as box:
        d = daemon(box)
        aws = box.keep(Aws())
        r = box.run([PYTHON, os.path.join(APPS, "aws_calls.py"), aws.url], timeout=60)
        equal(r.rc, 0, "exit status: %s" % r.err[-300:])
        want = [l.split() for l in r.out.decode().splitlines() if not l.startswith("#")]
        spans = sorted(box.recv.wait(len(want)), key=lambda s: s.start)
        subs = {x["id"]: x for x in d.wait(len(want), lambda x: x.get("namespace") == "aws")}
        equal(len(spans), len(want), "spans")
        for (service, operation), s, request_id in zip(want, spans, aws.ids):
            x, what = subs[s.span_id], "%s.%s" % (service, operation)
            equal((s["rpc.system"], s["rpc.method"], s["cloud.region"], s["aws.request_id"]),
                  ("aws-api", operation, "ca-central-1", request_id), what)
            equal(s.name, "%s.%s" % (s["rpc.service"], operation), "span name")
            equal((x["name"], x["aws"]["operation"], x["aws"]["region"], x["aws"]["request_id"]),
                  (service, operation, "ca-central-1", request_id), what + " in X-Ray")
            if service == "dynamodb" and operation not in ("ListTables", "TransactWriteItems"):
                equal((s["aws.dynamodb.table_names"], x["aws"]["table_name"]), (["cruddur-messages"], "cruddur-messages"), what)
            elif service == "s3" and operation != "ListBuckets":
                equal((s["aws.s3.bucket"], x["aws"]["bucket_name"]), ("pics", "pics"), what)
            elif operation in ("SendMessage", "ReceiveMessage"):
                equal((s["aws.sqs.queue.url"], x["aws"]["queue_url"]), (aws.url + "/123456789012/jobs",) * 2, what)
            elif operation == "Invoke":
                equal(s["faas.invoked_name"], "hello", what)
            else:
                equal([k for k in s.attrs if k.startswith(("aws.dynamodb", "aws.s3", "aws.sqs", "faas"))], [], what)
        text = json.dumps(d.docs) + repr([s.attrs for s in spans])
        for secret in ("AKIDEXAMPLE", "wJalr", "db-password", "not this"):
            check(secret not in text, "%s is in the telemetry" % secret)


@test
def curl_signs():
    with Sandbox(OTEL_TRACES_EXPORTER="otlp") as box:
        daemon(box)
        aws = box.keep(Aws())
        r = box.run([needs("curl"), "-q", "-sS", "--user", "AKIDEXAMPLE:SECRET", "--aws-sigv4", "aws:amz:eu-west-1:s3",
                     aws.url + "/my.bucket/some/key"])
        equal(r.rc, 0, "curl")
        s = box.recv.wait(1)[0]
        equal((s.name, s["aws.s3.bucket"], s["cloud.region"]), ("S3.GetObject", "my.bucket", "eu-west-1"), "the span")


@test
def presigned():
    with Sandbox(OTEL_TRACES_EXPORTER="otlp") as box:
        d = daemon(box)
        aws = box.keep(Aws())
        url = aws.url + ("/pics/a.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260101%2Feu-west-1%2Fs3"
                         "%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=abcdef99")
        equal(box.run([needs("curl"), "-q", "-sS", url]).rc, 0, "curl")
        s = box.recv.wait(1)[0]
        equal((s.name, s["aws.s3.bucket"], s["cloud.region"]), ("S3.GetObject", "pics", "eu-west-1"), "the span")
        check("abcdef99" not in repr(s.attrs) + json.dumps(d.wait(1)), "the signature stays here")


@test
def no_aws_call():
    """A program's own API that looks a little like one is not one."""
    with Sandbox(OTEL_TRACES_EXPORTER="otlp") as box:
        up = box.keep(Upstream())
        for args in (["-H", "X-Amz-Target: Mine.Do"], ["-H", "Authorization: Bearer AWS4-HMAC-SHA256"], ["-H", "Host: notamazonaws.com"]):
            equal(box.run([needs("curl"), "-q", "-sS", *args, up.url + "/ok"]).rc, 0, "curl")
        spans = box.recv.wait(3)
        equal([(s.name, s["rpc.system"]) for s in spans], [("GET", None)] * 3, "spans")
        check_conventions(spans)


@test
def like_the_sdk():
    """The subsegment of a DynamoDB call, by aws-xray-sdk's botocore patch and by us."""
    needs_module("aws_xray_sdk")
    needs_module("boto3")
    told = []
    for sdk in (True, False):
        with Sandbox(OTEL_SERVICE_NAME="backend-flask") as box:
            d = box.keep(XrayReceiver(check=not sdk))
            aws = box.keep(Aws())
            app = box.start([PYTHON, os.path.join(APPS, "xray_flask.py"), aws.url], r"listening (\d+)", traced=not sdk,
                            env={"AWS_XRAY_DAEMON_ADDRESS": d.address, "OTEL_TRACES_SAMPLER": "parentbased_always_on", "SDK": "1" if sdk else ""})
            equal(get(app, "/dynamo").status, 200, "status")
            docs = d.wait(1 if sdk else 2)
            sub = docs[0]["subsegments"][0] if sdk else next(x for x in docs if x.get("type") == "subsegment")
            aws_block = {k: v for k, v in sub["aws"].items() if k != "xray"}
            told.append((sub["name"], sub["namespace"], sub["http"]["response"]["status"], aws_block))
    # The SDK counts attempts and knows whether the answer had an item's attributes; on the wire there is no such thing.
    told[0][3].pop("retries", None)
    equal(told[1], told[0], "the call")


if __name__ == "__main__":
    main()
