"""Where keys and region come from: environment, files, web identity, ECS, EKS, IMDSv2; and that they stay secret."""
import json

from harness import *
from aws_stub import Endpoint, Keys
from cloudwatch_stub import CloudWatch, KEYS, Reply

KEY, (SECRET, _) = next(iter(KEYS.items()))
ROLE = "arn:aws:iam::123456789012:role/cruddur"


class Box(Sandbox):
    def __init__(self, keys=None, **env):
        needs_module("botocore")
        super().__init__(**env)
        self.cw = self.keep(CloudWatch(keys=keys or {}, groups=["cruddur"]))

    def env(self, traced=True, **more):
        aws = {"REMORA_CLOUDWATCH_LOG_GROUP": "cruddur", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": self.cw.url,
               "AWS_EC2_METADATA_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none", "OTEL_BLRP_SCHEDULE_DELAY": "100",
               "REMORA_CLOUDWATCH_LOG_STREAM": "s", "REMORA_LOG": "debug"} if traced else {}
        return super().env(traced, **{**aws, **self._env, **more})

    def hello(self, **env):
        """Prints a line; what remora said of it."""
        r = self.run([PYTHON, "-c", "print('x')"], env=env)
        said = r.err.decode()
        equal((r.rc, r.out), (0, b"x\n"), "the program")
        self.secret(said)
        return said

    def secret(self, said):
        for key, (secret, token) in list(self.cw.keys.items()) + [(KEY, (SECRET, None))]:
            check(secret not in said and (not token or token not in said), "a secret is in the log")

    def arrived(self):
        return [m for _, m in self.cw.streams().get("s", [])]


@test
def environment():
    for token, name in ((None, ""), ("TOK/+==", "AWS_SESSION_TOKEN"), ("TOK", "AWS_SECURITY_TOKEN")):
        with Box({KEY: (SECRET, token)}, AWS_DEFAULT_REGION="eu-west-3") as box:
            env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
            said = box.hello(**env, **({name: token} if name else {}))
            equal(box.arrived(), ["x"], "lines (%s)" % said[-300:])
            check("/eu-west-3/logs/" in box.cw.calls[-1].headers["Authorization"], "region")
    with Box(AWS_REGION="eu-west-3") as box:
        said = box.hello(AWS_ACCESS_KEY_ID=KEY)
        check("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must both be set" in said, said)
        said = box.hello(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY="a b")
        check("holds a character that cannot be sent" in said, said)
        equal(box.cw.calls, [], "calls")


@test
def shared_files():
    with Box({KEY: (SECRET, None)}) as box:
        box.write(".aws/credentials", "# mine\n[other]\naws_access_key_id=no\naws_secret_access_key = no\n\n"
                                      "[ dev ]\naws_access_key_id = %s\naws_secret_access_key=%s\n" % (KEY, SECRET))
        box.write(".aws/config", "[default]\nregion = us-west-1\n[profile dev]\nregion = sa-east-1\ns3 =\n    x = y\n")
        said = box.hello(AWS_PROFILE="dev")
        equal(box.arrived(), ["x"], "lines (%s)" % said[-300:])
        check("/sa-east-1/logs/" in box.cw.calls[-1].headers["Authorization"], "region")
        said = box.hello(AWS_PROFILE="none")
        check("there is no profile none" in said, said)
    with Box({KEY: (SECRET, None)}, AWS_REGION="us-west-1") as box:
        path = box.write("c", "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n" % (KEY, SECRET))
        box.hello(AWS_SHARED_CREDENTIALS_FILE=path)
        equal(box.arrived(), ["x"], "by AWS_SHARED_CREDENTIALS_FILE")


@test
def broken_files():
    rows = [(b"[default\naws_access_key_id = a\n", "line 1"), (b"[default]\n\nnonsense\n", "line 3"),
            (os.urandom(5000).replace(b"[", b""), "line"), (b"[default]\ncredential_process = x\n", "credential_process is not supported"),
            (b"[default]\naws_access_key_id = \x01\n", "no credentials found"), (b"", "no credentials found"),
            (b"x" * 400000, "File too large")]
    for data, text in rows:
        with Box(AWS_REGION="us-west-1") as box:
            path = box.write(".aws/credentials", data)
            said = [l for l in box.hello(REMORA_LOG="warn").splitlines()]
            check(any(text in l and (path in l or "no credentials" in l or "not supported" in l) for l in said), "%r: %r" % (data[:40], said))
            check(len(said) <= 3, "said once each: %r" % said)
    with Box(AWS_REGION="us-west-1") as box:
        os.mkfifo(box.path("fifo"))
        said = box.hello(AWS_SHARED_CREDENTIALS_FILE=box.path("fifo"))
        check("cannot read " + box.path("fifo") in said, said)


@test
def container():
    with Box(AWS_REGION="us-west-1") as box, Endpoint(Keys(box.cw), token="Basic abc") as ecs:
        url = ecs.url + "/v2/credentials/uuid"
        box.hello(AWS_CONTAINER_CREDENTIALS_FULL_URI=url, AWS_CONTAINER_AUTHORIZATION_TOKEN="Basic abc")
        equal((box.arrived(), ecs.seen), (["x"], ["GET /v2/credentials/uuid 200"]), "lines, and requests")
        token = box.write("token", "Basic abc\n")
        box.hello(AWS_CONTAINER_CREDENTIALS_FULL_URI=url, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=token,
                  AWS_CONTAINER_AUTHORIZATION_TOKEN="wrong")
        equal(box.arrived(), ["x", "x"], "by the token's file")
        for bad, text in (("http://example.com/x", "must be https"), ("http://169.254.170.2@example.com/", "must be https"),
                          ("http://127.0.0.1.example.com/", "must be https"), ("ftp://127.0.0.1/", "must be https")):
            said = box.hello(AWS_CONTAINER_CREDENTIALS_FULL_URI=bad)
            check(text in said, said)
        said = box.hello(AWS_CONTAINER_CREDENTIALS_FULL_URI=url, AWS_CONTAINER_AUTHORIZATION_TOKEN="a\r\nEvil: b")
        check("holds a line's end" in said, said)
        equal(box.arrived(), ["x", "x"], "no more")


@test
def bad_answers():
    bodies = ["<html>", "{}", "[]", '{"AccessKeyId":"a"}', '{"AccessKeyId":"a","SecretAccessKey":"b\\n","Token":"c"}',
              '{"AccessKeyId":"a","SecretAccessKey":"b","Expiration":"tomorrow"}', "[" * 5000, b"\xff\x00", "x" * 100000,
              '{"Code":"Failed","AccessKeyId":"a","SecretAccessKey":"b"}']
    for body in bodies:
        with Box(AWS_REGION="us-west-1") as box, Endpoint(Keys(box.cw), body=body) as ecs:
            said = box.hello(AWS_CONTAINER_CREDENTIALS_FULL_URI=ecs.url + "/v1/credentials")
            check("the container's credentials: it" in said or "no credentials from the container: it" in said, "%r: %s" % (body[:40], said))
            equal(box.cw.calls, [], "calls")


@test
def web_identity():
    with Box(AWS_REGION="us-west-1") as box, Endpoint(Keys(box.cw), token="ey.J+/ß=&x".encode("ascii", "ignore").decode()) as sts:
        path = box.write("token", sts.token + "\n")
        env = {"AWS_WEB_IDENTITY_TOKEN_FILE": path, "AWS_ROLE_ARN": ROLE, "AWS_ENDPOINT_URL_STS": sts.url}
        said = box.hello(**env)
        equal((box.arrived(), sts.faults), (["x"], []), "lines (%s)" % said[-300:])
        check(sts.token not in said, "the token is in the log")
        box.write("token", "wrong")
        said = box.hello(**env)
        check("no credentials from web identity: status 400" in said, said)
        said = box.hello(**dict(env, AWS_WEB_IDENTITY_TOKEN_FILE=box.path("gone")))
        check("AWS_WEB_IDENTITY_TOKEN_FILE=" in said and "No such file" in said, said)


class Roles(Endpoint):
    """STS, to which the keys of a profile may turn."""

    def __init__(self, box, **kw):
        super().__init__(Keys(box.cw, **kw))
        self.may["AKIDBASE"] = "base-secret/+abcdefgh", None
        self.roles.add(("AKIDBASE", ROLE, None))

    def let_all(self):
        """Keys that are handed out from now on may take the role."""
        make = self.keys.make

        def make_and_let():
            key = make()
            self.may[key[0]] = key[1:]
            self.roles.add((key[0], ROLE, None))
            return key
        self.keys.make = make_and_let


BASE = "[base keys]\naws_access_key_id = AKIDBASE\naws_secret_access_key = base-secret/+abcdefgh\n"


@test
def role_of_a_profile():
    with Box() as box, Roles(box) as sts:
        sts.region = "eu-west-1"
        sts.roles.add(("AKIDBASE", ROLE, "ext:1"))
        box.write(".aws/credentials", BASE)
        box.write(".aws/config", "[profile dev]\nregion = eu-west-1\nrole_arn = %s\nsource_profile = base keys\n"
                                 "external_id = ext:1\nrole_session_name = me\nduration_seconds = 900\n" % ROLE)
        said = box.hello(AWS_PROFILE="dev", AWS_ENDPOINT_URL_STS=sts.url, AWS_ENDPOINT_URL="http://127.0.0.1:9")
        equal((box.arrived(), sts.faults, sts.assumed), (["x"], [], [(ROLE, "me", "900")]), "lines (%s)" % said[-400:])
        check("/eu-west-1/logs/" in box.cw.calls[-1].headers["Authorization"], "region")
        check("base-secret" not in said, "a secret is in the log")


@test
def roles_that_lead_to_each_other():
    """The first by the keys of a file, the second by those of the first; with a clock that is wrong by an hour."""
    first, second = ROLE + "-1", ROLE + "-2"
    with Box(AWS_REGION="us-west-1") as box, Roles(box) as sts:
        sts.roles, sts.chain, sts.skew = {("AKIDBASE", first, None)}, {first: [second]}, 3600
        box.write(".aws/credentials", BASE)
        box.write(".aws/config", "[default]\nrole_arn=%s\nsource_profile=one\n[profile one]\nrole_arn=%s\nsource_profile=base keys\n"
                  % (second, first))
        said = box.hello(AWS_ENDPOINT_URL_STS=sts.url)
        equal((box.arrived(), sts.faults), (["x"], []), "lines (%s)" % said[-400:])
        equal([a[0] for a in sts.assumed], [first, second], "roles")
        equal(sts.seen, ["POST / 403", "POST / 200", "POST / 200"], "answers")


@test
def role_of_a_container():
    with Box(AWS_REGION="us-west-1") as box, Roles(box) as sts:
        sts.let_all()
        box.write(".aws/config", "[default]\nrole_arn=%s\ncredential_source=EcsContainer\n" % ROLE)
        said = box.hello(AWS_ENDPOINT_URL_STS=sts.url, AWS_CONTAINER_CREDENTIALS_FULL_URI=sts.url + "/v1/credentials")
        equal((box.arrived(), sts.faults, sts.seen), (["x"], [], ["GET /v1/credentials 200", "POST / 200"]), "lines (%s)" % said[-400:])
        check("/".join(["Credential=AKIDSTUB2", ""]) in box.cw.calls[-1].headers["Authorization"], "keys are those of the role")


@test
def role_of_an_instance_is_assumed_anew():
    """Before its keys expire; the second time there are keys already while the instance is asked."""
    with Box(AWS_EC2_METADATA_DISABLED=None) as box, Roles(box, life=4) as sts:
        sts.let_all()
        box.write(".aws/config", "[default]\nrole_arn=%s\ncredential_source=Ec2InstanceMetadata\n" % ROLE)
        h = box.start([PYTHON, "-c", "import sys\nfor l in sys.stdin: print(l.strip(), flush=True)"], stdin=subprocess.PIPE,
                      env={"AWS_ENDPOINT_URL_STS": sts.url, "AWS_EC2_METADATA_SERVICE_ENDPOINT": sts.url})
        n = 0
        while len(sts.assumed) < 3:
            h.proc.stdin.write(b"x\n")
            h.proc.stdin.flush()
            n += 1
            box.cw.wait_messages(n)
        h.proc.stdin.close()
        h.wait()
        equal((box.arrived(), sts.faults), (["x"] * n, []), "lines")
        check("/ca-central-1/logs/" in box.cw.calls[-1].headers["Authorization"], "the instance's region")
        used = {c.headers["Authorization"].split("=")[1].split("/")[0] for c in box.cw.calls}
        check(len(used) >= 2 and not any(int(k[8:]) % 2 for k in used), "keys are those of the role: %r" % used)


@test
def web_identity_of_a_profile():
    with Box(AWS_REGION="us-west-1") as box, Endpoint(Keys(box.cw), token="ey.J") as sts:
        box.write(".aws/config", "[profile web]\nrole_arn=%s\nweb_identity_token_file=%s\n" % (ROLE, box.write("token", sts.token)))
        said = box.hello(AWS_ENDPOINT_URL_STS=sts.url, AWS_PROFILE="web")
        equal((box.arrived(), sts.faults), (["x"], []), "lines (%s)" % said[-300:])


@test
def roles_that_cannot_be():
    role = "role_arn=%s\n" % ROLE
    rows = [(role, "profile default: its role needs one of source_profile and credential_source"),
            (role + "source_profile=a\ncredential_source=Environment\n", "needs one of source_profile and credential_source"),
            (role + "source_profile=gone\n", "profile gone: there is no such profile"),
            (role + "source_profile=default\n", "lead to each other"),
            (role + "credential_source=Environment\n", "its credential_source is Environment, which has no keys"),
            (role + "credential_source=Lambda\n", "its credential_source is not EcsContainer or Ec2InstanceMetadata"),
            (role + "credential_source=EcsContainer\n", "its credential_source is EcsContainer, and this is none"),
            (role + "source_profile=b\nmfa_serial=arn:x\n[profile b]\n", "wants mfa_serial"),
            (role + "source_profile=b\n[profile b]\nregion=x\n", "profile b: it has neither keys nor a role"),
            ("role_arn=%s-no\nsource_profile=base keys\n" % ROLE, "no credentials from the role %s-no: status 403, AccessDenied: User: AKIDBASE" % ROLE)]
    for config, text in rows:
        with Box(AWS_REGION="us-west-1") as box, Roles(box) as sts:
            box.write(".aws/credentials", BASE)
            box.write(".aws/config", "[default]\n" + config)
            said = box.hello(AWS_ENDPOINT_URL_STS=sts.url, REMORA_LOG="warn")
            check(text in said and said.count("remora: aws:") == 1 and "base-secret" not in said, "%r: %s" % (config, said))
            equal((box.cw.calls, sts.faults), ([], []), "calls, faults")


@test
def refreshed_before_they_expire():
    """Keys with 15 minutes and a second left are asked for again at once; those that are refused, too."""
    with Box(AWS_REGION="us-west-1") as box, Endpoint(Keys(box.cw, life=15 * 60 + 1)) as ecs:
        h = box.start([PYTHON, "-c", "import sys\nfor l in sys.stdin: print(l.strip(), flush=True)"], stdin=subprocess.PIPE,
                      env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": ecs.url + "/v1/credentials"})

        def say(text):
            h.proc.stdin.write(text.encode() + b"\n")
            h.proc.stdin.flush()
        say("one")
        box.cw.wait_messages(1)
        say("one")      # keys are asked for while there is something to send
        while ecs.keys.made < 2:
            say("one")
            box.cw.wait_messages(len(box.cw.messages()) + 1)
        n = len(box.cw.messages())
        for key in list(box.cw.keys)[:-1]:
            del box.cw.keys[key]
        ecs.keys.life = 3600
        say("two")
        box.cw.wait(lambda: "two" in box.arrived(), "the line with new keys")
        box.cw.keys.clear()     # revoked
        say("three")
        box.cw.wait(lambda: "three" in box.arrived(), "the line after they were refused")
        h.proc.stdin.close()
        h.wait()
        check(n >= 2 and [m for m in box.arrived() if m != "one"] == ["two", "three"], "lines %r" % box.arrived())
        box.secret("\n".join(h.lines))


# ---------------------------------------------------------------- link-local addresses

def inside(box, addresses, env, **more):
    """A program in a network namespace of its own, in which the addresses are on lo; what aws_stub.py saw."""
    if os.geteuid() != 0:
        raise Skip("root")
    job = {"argv": [PYTHON, "-c", "print('x')"], "addresses": addresses,
           "env": box.env(**{"AWS_EC2_METADATA_DISABLED": None, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": None, **env}), **more}
    r = box.run([needs("unshare"), "-n", PYTHON, os.path.join(HERE, "aws_stub.py"), json.dumps(job)], traced=False,
                timeout=60, env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    needs("ip")
    check(r.rc == 0, "aws_stub.py: %r" % r)
    out = json.loads(r.out)
    check("stub-secret" not in out["err"] and "stub-token" not in out["err"] and "imds-token" not in out["err"], "a secret is in the log")
    equal((out["rc"], out["out"], out["faults"]), (0, "x\n", []), "the program, and faults")
    return out


@test
def ecs_and_eks():
    with Box(AWS_REGION="us-west-1", http_proxy="http://127.0.0.1:9", no_proxy="127.0.0.1") as box:
        out = inside(box, ["169.254.170.2"], {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/abc"}, endpoint={"modes": ["ecs"]})
        equal((out["messages"], out["seen"]), (["x"], ["GET /v2/credentials/abc 200"]), "ECS (%s)" % out["err"][-300:])
        token = box.write("token", "eyJ.eks")
        out = inside(box, ["169.254.170.23"], {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
                                               "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token}, endpoint={"token": "eyJ.eks", "modes": ["ecs"]})
        equal((out["messages"], out["seen"]), (["x"], ["GET /v1/credentials 200"]), "EKS (%s)" % out["err"][-300:])


IMDS = ["PUT /latest/api/token 200", "GET /latest/meta-data/placement/region 200",
        "GET /latest/meta-data/iam/security-credentials/ 200", "GET /latest/meta-data/iam/security-credentials/cruddur-role 200"]


@test
def instance_metadata():
    with Box(http_proxy="http://127.0.0.1:9", no_proxy="127.0.0.1") as box:
        out = inside(box, ["169.254.169.254"], {})
        equal((out["messages"], out["seen"], out["region"][-1]), (["x"], IMDS, "ca-central-1"), "IMDSv2 (%s)" % out["err"][-300:])
        out = inside(box, ["169.254.169.254"], {"AWS_REGION": "us-west-1"}, endpoint={"modes": ["v1"]})
        equal((out["messages"], out["seen"]), (["x"], ["PUT /latest/api/token 403"] + IMDS[2:]), "version 1 (%s)" % out["err"][-300:])
        out = inside(box, ["169.254.169.254"], {"AWS_REGION": "us-west-1", "AWS_EC2_METADATA_V1_DISABLED": "true"}, endpoint={"modes": ["v1"]})
        equal((out["messages"], out["seen"]), ([], ["PUT /latest/api/token 403"]), "version 1 forbidden")
        out = inside(box, ["169.254.169.254"], {"AWS_REGION": "us-west-1"}, endpoint={"role": None})
        check("the instance has no role" in out["err"], out["err"])
        out = inside(box, ["169.254.169.254"], {"AWS_REGION": "us-west-1", "AWS_EC2_METADATA_DISABLED": "true"})
        equal((out["messages"], out["seen"]), ([], []), "switched off")
        out = inside(box, ["169.254.169.254"], {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
        equal((out["seen"], out["region"][-1]), (IMDS[:2], "ca-central-1"), "the region alone")


def needs_ipv6():
    if not os.path.exists("/proc/net/if_inet6"):
        raise Skip("IPv6")


@test
def instance_metadata_by_ipv6():
    """As in a subnet without IPv4: only if it is asked for, and one's own address is stronger."""
    needs_ipv6()
    at = "fd00:ec2::254"
    with Box(http_proxy="http://127.0.0.1:9", no_proxy="127.0.0.1") as box:
        for mode in ("IPv6", "ipv6"):
            out = inside(box, [at], {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": mode})
            equal((out["messages"], out["seen"], out["region"][-1]), (["x"], IMDS, "ca-central-1"), "%s (%s)" % (mode, out["err"][-300:]))
        for mode in (None, "IPv4"):
            out = inside(box, [at], {"AWS_REGION": "us-west-1", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": mode})
            equal((out["messages"], out["seen"]), ([], []), "nobody asks by IPv6 with %s" % mode)
        out = inside(box, ["fd00:ec2::1"], {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv4",
                                            "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[fd00:ec2::1]/"})
        equal((out["messages"], out["seen"]), (["x"], IMDS), "its own address (%s)" % out["err"][-300:])


@test
def eks_by_ipv6():
    """The pod identity agent of a cluster with IPv6. An address beside it is nobody's that a token may be sent to in clear text."""
    needs_ipv6()
    with Box(AWS_REGION="us-west-1", http_proxy="http://127.0.0.1:9", no_proxy="127.0.0.1") as box:
        env = {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": box.write("token", "eyJ.eks"),
               "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[fd00:ec2::23]/v1/credentials"}
        endpoint = {"token": "eyJ.eks", "modes": ["ecs"]}
        out = inside(box, ["fd00:ec2::23"], env, endpoint=endpoint)
        equal((out["messages"], out["seen"]), (["x"], ["GET /v1/credentials 200"]), "EKS (%s)" % out["err"][-300:])
        check("eyJ.eks" not in out["err"], "the token is in the log")
        out = inside(box, ["fd00:ec2::24"], dict(env, AWS_CONTAINER_CREDENTIALS_FULL_URI="http://[fd00:ec2::24]/v1/credentials"),
                     endpoint=endpoint)
        equal((out["messages"], out["seen"]), ([], []), "another address")
        check("must be https" in out["err"], out["err"][-300:])


@test
def nobody_there():
    """No credentials anywhere, no network: one message, and no waiting beyond the second of metadata."""
    with Box(REMORA_LOG="warn", REMORA_EXIT_WAIT_MS="3000") as box:
        out = inside(box, [], {"AWS_REGION": "us-west-1"})
        equal(out["err"].count("remora:"), 1, "messages: " + out["err"])
        check("no credentials found; set AWS_ACCESS_KEY_ID" in out["err"], out["err"])


@test
def general_endpoint_is_the_programs():
    """AWS_ENDPOINT_URL is for the program's DynamoDB; lines would go to the region's address, which is not there."""
    with Box(AWS_REGION="us-west-1") as box:
        out = inside(box, [], {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "REMORA_EXIT_WAIT_MS": "1000"}, variable="AWS_ENDPOINT_URL")
        equal(out["calls"], [], "calls")


if __name__ == "__main__":
    main()
