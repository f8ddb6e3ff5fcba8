"""Where AWS SDKs get credentials: ECS and EKS containers, IMDSv2, STS. Refuses what these refuse.

As a program it runs inside a network namespace of its own: link-local addresses on lo, the stubs there, CloudWatch Logs,
and a program under remora; its findings are one line of JSON.
    unshare -n python aws_stub.py '{"argv": [..], "env": {..}, "addresses": ["169.254.169.254"], "imds": {..}}'
"""
import datetime
import json
import subprocess
import sys
import time
import urllib.parse

import aws_signature
from stub_server import Handler, StubServer

REGION = "ca-central-1"


def stamp(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Keys:
    """Hands out keys AKIDn, each valid for `life` seconds; CloudWatch is told of them."""

    def __init__(self, cloudwatch, life=3600):
        self.cloudwatch, self.life, self.made = cloudwatch, life, 0

    def make(self):
        self.made += 1
        key = "AKIDSTUB%d" % self.made, "stub-secret-%d/+abcdefghijklmnop" % self.made, "stub-token-%d==" % self.made
        self.cloudwatch.keys[key[0]] = key[1:]
        return key


class Endpoint(StubServer):
    """One HTTP server; `mode` is a set of ecs, imds, sts and of what goes wrong."""

    def __init__(self, keys, address="127.0.0.1", port=0, token=None, role="cruddur-role", modes=("ecs", "imds", "sts"), body=None):
        self.keys, self.token, self.role, self.modes, self.body = keys, token, role, set(modes), body
        self.may, self.roles, self.chain, self.assumed = {}, set(), {}, []     # who may assume what; with which external id
        self.region, self.skew = None, 0
        self.seen, self.faults, self.session = [], [], "imds-token-%d==" % id(self)
        owner = self

        class Requests(Handler):
            def date_time_string(self, timestamp=None):
                return super().date_time_string(time.time() + owner.skew)

            def handle_any(self):
                status, body = owner.answer(self.command, self.path, self.headers, self.body())
                owner.seen.append("%s %s %d" % (self.command, self.path.split("?")[0], status))
                self.reply(status, body.encode() if isinstance(body, str) else body)
            do_GET = do_PUT = do_POST = handle_any

        self.listen(Requests, address, port)

    def document(self, **more):
        key, secret, token = self.keys.make()
        return json.dumps({"AccessKeyId": key, "SecretAccessKey": secret, "Token": token,
                           "Expiration": stamp(self.keys.life), **more})

    def answer(self, method, path, headers, raw):
        if "proxy" in self.modes or path.startswith("http"):
            self.faults.append("asked as a proxy: %s" % path)
            return 502, ""
        if self.body is not None:
            return 200, self.body
        if path.startswith("/v2/credentials/") or path == "/v1/credentials":
            if headers.get("Authorization") != self.token:
                return 401, '{"code":"UnauthorizedRequest","message":"bad token"}'
            return 200, self.document(RoleArn="arn:aws:iam::1:role/x")
        if path == "/" and method == "POST" and "sts" in self.modes:
            return self.sts(headers, raw)
        return self.imds(method, path, headers)

    def assume(self, headers, form, raw):
        """AssumeRole, as botocore's service model has it: signed by keys that may."""
        from botocore.loaders import Loader
        from botocore.model import ServiceModel
        from cloudwatch_stub import faults_of
        model = ServiceModel(Loader().load_service_model("sts", "service-2"))
        args = {k: int(v) if k == "DurationSeconds" else v for k, v in form.items() if k not in ("Action", "Version")}
        self.faults += faults_of(model.operation_model("AssumeRole").input_shape, args)
        if form["Version"] != model.metadata["apiVersion"]:
            self.faults.append("version %r" % form["Version"])
        wrong = aws_signature.fault(headers, "/", raw, self.may, "sts", self.region, self.skew, ["content-type"])
        if not wrong:
            key = headers["Authorization"].split("=")[1].split("/")[0]
            if (key, form["RoleArn"], form.get("ExternalId")) not in self.roles:
                wrong = "AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s" % (key, form["RoleArn"])
        if wrong:
            return 403, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>" % wrong
        self.assumed.append((form["RoleArn"], form["RoleSessionName"], form.get("DurationSeconds")))
        key, secret, token = self.keys.make()
        self.may[key] = secret, token
        for role in self.chain.get(form["RoleArn"], ()):
            self.roles.add((key, role, None))
        return 200, self.xml("AssumeRole", key, secret, token)

    def sts(self, headers, raw):
        form = dict(urllib.parse.parse_qsl(raw.decode(), strict_parsing=True))
        if form.get("Action") == "AssumeRole":
            return self.assume(headers, form, raw)
        if headers.get("Authorization"):
            self.faults.append("an unsigned call is signed")
        if (form.get("Action"), form.get("Version"), form.get("RoleArn"), form.get("WebIdentityToken")) != \
                ("AssumeRoleWithWebIdentity", "2011-06-15", "arn:aws:iam::123456789012:role/cruddur", self.token):
            self.faults.append("form %r" % form)
            return 400, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>"
        key, secret, token = self.keys.make()
        return 200, self.xml("AssumeRoleWithWebIdentity", key, secret, token)

    def xml(self, action, key, secret, token):
        return ("<%sResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n"
                "<%sResult><Audience>x</Audience><Credentials>\n"
                "<AccessKeyId>%s</AccessKeyId>\n<SecretAccessKey>%s</SecretAccessKey>\n"
                "<SessionToken>%s</SessionToken>\n<Expiration>%s</Expiration></Credentials>"
                "</%sResult></%sResponse>" % (action, action, key, secret, token, stamp(self.keys.life), action, action))

    def imds(self, method, path, headers):
        if path == "/latest/api/token":
            if method != "PUT" or headers.get("X-aws-ec2-metadata-token-ttl-seconds") != "21600":
                return 400, ""
            return (403, "") if "v1" in self.modes else (200, self.session)
        if headers.get("X-aws-ec2-metadata-token") != self.session and "v1" not in self.modes:
            return 401, ""
        if path == "/latest/meta-data/placement/region":
            return 200, REGION
        if path == "/latest/meta-data/iam/security-credentials/":
            return (200, self.role) if self.role else (404, "")
        if path == "/latest/meta-data/iam/security-credentials/" + str(self.role):
            return 200, self.document(Code="Success", Type="AWS-HMAC", LastUpdated=stamp(0))
        return 404, ""


def main():
    from cloudwatch_stub import CloudWatch
    job = json.loads(sys.argv[1])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for a in job["addresses"]:
        subprocess.run(["ip", "addr", "add", a + ("/128" if ":" in a else "/32"), "dev", "lo"], check=True)
    with CloudWatch() as cloudwatch:
        endpoint = Endpoint(Keys(cloudwatch, job.get("life", 3600)), job["addresses"][0] if job["addresses"] else "127.0.0.1",
                            80, **job.get("endpoint", {}))
        env = dict(job["env"], **{job.get("variable", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"): cloudwatch.url})
        p = subprocess.run(job["argv"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
        print(json.dumps({"rc": p.returncode, "out": p.stdout.decode(), "err": p.stderr.decode(),
                          "messages": cloudwatch.messages(), "faults": cloudwatch.faults + endpoint.faults,
                          "seen": endpoint.seen, "calls": [(c.op, c.status) for c in cloudwatch.calls],
                          "credentials": [str(c.headers.get("Authorization"))[:60] for c in cloudwatch.calls],
                          "region": [str(c.headers.get("Authorization")).split("/")[2] for c in cloudwatch.calls]}))


if __name__ == "__main__":
    main()
