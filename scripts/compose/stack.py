"""The services of docker-compose.yml without docker, on loopback and free ports: PostgreSQL of this machine, moto for
DynamoDB and the AWS APIs, the OpenTelemetry Collector where Honeycomb was, AWS's X-Ray daemon, the tests' Rollbar, and the
Flask backend with exactly the environment that docker-compose.yml gives it, addresses exchanged.

    with Stack() as s:
        s.request("GET", "/api/activities/home")
        s.spans()               what the collector received
        s.segments()            what the X-Ray daemon forwarded, if it is there (s.missing says what is not)
        s.log_events("group")   what CloudWatch Logs took
        s.rollbar.items         what Rollbar took

Stack(env=FOUR) turns all four destinations on; of_trace() then says what each of them has of one trace.

Any Python runs this; what it starts comes from build/reference-venv (scripts/setup reference). `make reference` shows
it, tests/dist/test_reference.py uses it.
"""
import contextlib
import gzip
import http.server
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
COMPOSE = os.path.join(HERE, "docker-compose.yml")
sys.path.append(os.path.join(ROOT, "tests", "e2e"))
from rollbar_stub import Rollbar                         # noqa: E402

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
VENV = os.path.join(ROOT, "build", "reference-venv")     # scripts/setup reference
# What docker-compose.yml does not say since the SDKs were told it in the program: the log group (JSON, so that lines of
# text have their trace too), and that the exception of a request is an item. Without Flask's debugger, which writes the
# traceback only after the answer: it would be no request's.
FOUR = {"REMORA_CLOUDWATCH_LOG_GROUP": "cruddur", "REMORA_CLOUDWATCH_FORMAT": "json",
        "REMORA_ROLLBAR_5XX": "1", "FLASK_DEBUG": "0"}


def sampling_rule(name, priority, path, rate):
    return {"RuleName": name, "RuleARN": "arn:aws:xray:ca-central-1:1:sampling-rule/" + name, "ResourceARN": "*",
            "Priority": priority, "FixedRate": rate, "ReservoirSize": 0, "ServiceName": "backend-flask", "ServiceType": "*",
            "Host": "*", "HTTPMethod": "*", "URLPath": path, "Version": 1, "Attributes": {}}


# Health checks are not worth a trace, all else is.
RULES = [sampling_rule("Cruddur", 9000, "*", 1.0), sampling_rule("quiet", 10, "/api/health-check", 0.0)]


def compose_config(*files, env=None):
    """What docker compose itself makes of its files: the resolved model. It needs no docker for that."""
    argv = [os.path.join(VENV, "bin", "docker-compose")]
    for f in files or (COMPOSE,):
        argv += ["-f", f]
    r = subprocess.run(argv + ["config", "--format", "json"], env={**os.environ, **(env or {})}, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
    if r.returncode or not r.stdout:        # the package's wrapper loses the exit status
        raise Failed("docker compose config: " + r.stderr.decode().strip())
    return json.loads(r.stdout)


def free_port():
    """Free for TCP and for UDP: the X-Ray daemon listens to both on one number."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u, socket.socket() as t:
            u.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                t.bind(u.getsockname())
                return u.getsockname()[1]


class Failed(Exception):
    """A service did not start: the message has the end of its log."""


class Recorder(http.server.BaseHTTPRequestHandler):
    """Stands before moto: notes what is sent to X-Ray and CloudWatch, and passes everything on but X-Ray's sampling,
    which moto does not have."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        if self.path in ("/GetSamplingRules", "/SamplingTargets"):
            return self.sampling(body)
        head = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "accept-encoding")}
        ask = urllib.request.Request(self.server.behind + self.path, body, head, method=self.command)
        try:
            answer = DIRECT.open(ask, timeout=30)
        except urllib.error.HTTPError as e:
            answer = e
        with answer:
            data = answer.read()
            self.send_response(answer.status)
            for k, v in answer.headers.items():
                if k.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(k, v)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(OSError):      # gone: it asks again, and only what was answered counts
                self.wfile.write(data)
                self.server.seen.append((self.headers.get("X-Amz-Target") or self.path, plain))

    def sampling(self, body):
        answer = {"NextToken": None, "SamplingRuleRecords": [{"CreatedAt": 0.0, "ModifiedAt": 0.0, "SamplingRule": r} for r in RULES]}
        if self.path == "/SamplingTargets":
            rates = {r["RuleName"]: r["FixedRate"] for r in RULES}
            answer = {"SamplingTargetDocuments": [
                {"RuleName": d["RuleName"], "FixedRate": rates[d["RuleName"]], "ReservoirQuota": 0,
                 "ReservoirQuotaTTL": time.time() + 60, "Interval": 10}
                for d in json.loads(body)["SamplingStatisticsDocuments"] if d["RuleName"] in rates],
                "LastRuleModification": 0.0, "UnprocessedStatistics": []}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)
            self.server.seen.append((self.path, body))

    do_GET = do_PUT = do_DELETE = do_POST

    def log_message(self, *args):
        pass


class Stack:
    def __init__(self, preload=None, env=None, say=lambda text: None):
        """preload: the libremora.so to use; "" for none (plain). env: more variables for the backend."""
        self.preload, self.extra, self.say = preload, env or {}, say
        self.missing = []       # services that this machine cannot have, each with the reason
        self.processes = []     # (name, Popen), in order of their start
        self.dir = None

    # -- life -------------------------------------------------------------

    def __enter__(self):
        if not os.path.exists(os.path.join(VENV, "bin", "docker-compose")):
            raise Failed("build/reference-venv is missing: scripts/setup reference")
        self.dir = tempfile.mkdtemp(prefix="remora-reference-")
        os.chmod(self.dir, 0o755)
        self.runtime = tempfile.mkdtemp(prefix="remora-reference-", dir="/dev/shm")
        try:
            self._postgres()
            self._aws()
            self._collector()
            self._xray_daemon()
            self.rollbar = Rollbar()
            self._backend()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        for name, p in reversed(self.processes):
            self._stop(name, p)
        self.processes = []
        if getattr(self, "recorder", None):
            self.recorder.shutdown()
            self.recorder.server_close()
        if getattr(self, "rollbar", None):
            self.rollbar.__exit__()
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.runtime, ignore_errors=True)

    def _stop(self, name, p):
        """Each service leads a process group of its own; only that is signalled."""
        if p.poll() is None:
            p.send_signal(signal.SIGINT if name in ("db", "backend-flask") else signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(p.pid, signal.SIGKILL)
        p.wait()

    def alive(self):
        return all(p.poll() is None for _, p in self.processes)

    def stop_backend(self):
        """As Ctrl-C in its terminal would."""
        for entry in [e for e in self.processes if e[0] == "backend-flask"]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(entry[1].pid, signal.SIGINT)
            self._stop(*entry)
            self.processes.remove(entry)

    def log(self, name):
        with open(os.path.join(self.dir, name + ".log"), errors="replace") as f:
            return f.read()

    def _start(self, name, argv, ready, env=None, cwd=None, user=None, timeout=60):
        """Starts a service and waits for a line of its log; the match."""
        base = {k: v for k, v in os.environ.items()
                if not re.match(r"(OTEL_|AWS_|REMORA_|ROLLBAR_|HONEYCOMB_|LD_PRELOAD$|TRACEPARENT$|PG)", k)}
        out = open(os.path.join(self.dir, name + ".log"), "wb")
        ids = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        with out:
            p = subprocess.Popen(argv, env={**base, **(env or {})}, cwd=cwd or self.dir, stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **ids)
        self.processes.append((name, p))
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = re.search(ready, self.log(name))
            if found:
                self.say("%-14s %s" % (name, " ".join(argv[:1])))
                return found
            if p.poll() is not None:
                break
            time.sleep(0.02)
        raise Failed("%s %s:\n%s" % (name, "did not get ready in %d s" % timeout if p.poll() is None else
                                     "ended with status %d" % p.returncode, self.log(name)[-1500:]))

    # -- services ---------------------------------------------------------

    def _postgres(self):
        path = os.environ["PATH"] + ":" + ":".join(
            "/usr/lib/postgresql/%s/bin" % v for v in sorted(os.listdir("/usr/lib/postgresql"), reverse=True)
        ) if os.path.isdir("/usr/lib/postgresql") else os.environ["PATH"]
        initdb, postgres = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
        if not initdb or not postgres:
            raise Failed("PostgreSQL is not installed: scripts/setup reference")
        data = os.path.join(self.dir, "db")
        os.mkdir(data)
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None     # it refuses to run as root
        ids = {}
        if user:
            os.chown(data, user.pw_uid, user.pw_gid)
            ids = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        r = subprocess.run([initdb, "-D", data, "-U", "postgres", "-A", "trust", "-N", "--no-locale", "-E", "UTF8"],
                           cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **ids)
        if r.returncode:
            raise Failed("initdb: " + r.stdout.decode()[-800:])
        self.db_port = free_port()
        self._start("db", [postgres, "-D", data, "-p", str(self.db_port), "-k", data, "-c", "listen_addresses=127.0.0.1",
                           "-c", "fsync=off", "-c", "log_statement=all"], "ready to accept connections", user=user, cwd="/")
        subprocess.run([shutil.which("createdb", path=path), "-h", "127.0.0.1", "-p", str(self.db_port), "-U", "postgres",
                        "cruddur"], check=True, stdout=subprocess.DEVNULL)

    def _aws(self):
        code = ("from moto.server import ThreadedMotoServer\n"
                "import threading\n"
                "s = ThreadedMotoServer(ip_address='127.0.0.1', port=0)\n"
                "s.start()\n"
                "print('moto on', s.get_host_and_port()[1], flush=True)\n"
                "threading.Event().wait()\n")
        port = self._start("ddb", [os.path.join(VENV, "bin", "python"), "-c", code], r"moto on (\d+)")[1]
        self.recorder = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
        self.recorder.daemon_threads = True
        self.recorder.behind, self.recorder.seen = "http://127.0.0.1:" + port, []
        self.ddb_url, self.aws_url = "http://127.0.0.1:" + port, "http://127.0.0.1:%d" % self.recorder.server_address[1]
        threading.Thread(target=self.recorder.serve_forever, daemon=True).start()

    def _build(self, script, name):
        """A receiver of tests/receivers: its path, or None with the reason noted."""
        exe = os.path.join(ROOT, "build", name)
        script = os.path.join(ROOT, "tests", "receivers", script)
        if not os.path.exists(script):
            self.missing.append("%s: this tree has no %s" % (name, os.path.relpath(script, ROOT)))
            return None
        if not os.path.exists(exe):
            self.say("building the %s, once (minutes)" % name)
            r = subprocess.run([script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if r.returncode:
                self.missing.append("%s: %s" % (name, (r.stdout.decode().strip().splitlines() or ["?"])[-1]))
                return None
        return exe

    def _collector(self):
        exe = self._build("build-collector", "collector")
        self.otlp_url, self.otlp_file = "http://127.0.0.1:9", os.path.join(self.dir, "otlp.jsonl")
        if not exe:
            return
        conf = os.path.join(self.dir, "collector.yaml")
        with open(conf, "w") as f:
            json.dump({
                "receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:0"}}}},
                "exporters": {"file": {"path": self.otlp_file, "flush_interval": "10ms"}},
                "service": {"telemetry": {"metrics": {"level": "none"}},
                            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}}}}, f)
        found = self._start("collector", [exe, "--config=" + conf],
                            r'Starting HTTP server.*"endpoint": "127\.0\.0\.1:(\d+)"[\s\S]*Everything is ready')
        self.otlp_url = "http://127.0.0.1:" + found[1]

    def _xray_daemon(self):
        self.xray_address = "127.0.0.1:9"
        exe = self._build("build-xray-daemon", "xray-daemon")
        if not exe:
            return
        port = free_port()
        self.xray_address = "127.0.0.1:%d" % port
        conf = os.path.join(self.dir, "xray.yaml")
        with open(conf, "w") as f:
            json.dump({"Version": 2, "Endpoint": self.aws_url, "Region": "ca-central-1", "LocalMode": True,
                            "Socket": {"UDPAddress": self.xray_address, "TCPAddress": self.xray_address}}, f)
        self._start("xray-daemon", [exe, "-c", conf], "Starting proxy http server",
                    {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"})

    def environment(self):
        """docker-compose.yml's, its addresses exchanged for ours."""
        model = compose_config(env={"OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_url, "ROLLBAR_ACCESS_TOKEN": self.rollbar.token})
        env = model["services"]["backend-flask"]["environment"]
        for key, value in env.items():
            env[key] = value.replace("@db:5432", "@127.0.0.1:%d" % self.db_port) \
                .replace("http://ddb:8000", self.ddb_url).replace("xray-daemon:2000", self.xray_address)
        preload = self.preload
        if preload is None:
            preload = os.path.join(os.environ.get("O") or os.path.join(ROOT, "build"), "libremora.so")
        env["LD_PRELOAD"] = os.path.abspath(preload) if preload else ""
        env.update({"AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": self.aws_url, "ROLLBAR_ENDPOINT": self.rollbar.url,
                    "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
                    "REMORA_RUNTIME_DIR": self.runtime, "REMORA_STATE_DIR": os.path.join(self.dir, "state"),
                    "OTEL_BSP_SCHEDULE_DELAY": "200", "FLASK_RUN_PORT": "0"})
        env.update(self.extra)
        return {k: v for k, v in env.items() if v is not None}

    def _backend(self):
        env = self.environment()
        if env["LD_PRELOAD"] and not os.path.exists(env["LD_PRELOAD"]):
            raise Failed("%s is missing: make" % env["LD_PRELOAD"])
        found = self._start("backend-flask", [os.path.join(VENV, "bin", "python"), "-m", "flask", "run", "--host=127.0.0.1", "--port=0"],
                            # With the reloader there are two processes: the second one says this.
                            r"Running on http://127\.0\.0\.1:(\d+)" + (r"[\s\S]*Debugger PIN" if env.get("FLASK_DEBUG") == "1" else ""),
                            env, os.path.join(HERE, "backend-flask"))
        self.url = "http://127.0.0.1:" + found[1]

    # -- use --------------------------------------------------------------

    def request(self, method, path, body=None, headers=None):
        """(status, text)"""
        data = json.dumps(body).encode() if body is not None else None
        ask = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **(headers or {})},
                                     method=method)
        try:
            with DIRECT.open(ask, timeout=30) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read().decode()

    def spans(self):
        """Spans at the collector, as plain dictionaries: name, kind, ids, status and attributes."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            with open(self.otlp_file) as f:
                for line in f:
                    if not line.endswith("\n"):
                        break
                    for rs in json.loads(line).get("resourceSpans", []):
                        resource = attributes(rs["resource"])
                        for s in (s for ss in rs["scopeSpans"] for s in ss["spans"]):
                            found.append({**s, "attributes": attributes(s), "resource": resource})
        return found

    def segments(self):
        """X-Ray documents that the daemon forwarded."""
        return [json.loads(d) for path, body in list(self.recorder.seen) if path == "/TraceSegments"
                for d in json.loads(body)["TraceSegmentDocuments"]]

    def log_events(self, group):
        """Messages that CloudWatch Logs has in a group, asked of itself."""
        head = {"X-Amz-Target": "Logs_20140328.FilterLogEvents", "Content-Type": "application/x-amz-json-1.1",
                "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/ca-central-1/logs/aws4_request"}
        events, token = [], {}
        while True:
            ask = urllib.request.Request(self.ddb_url, json.dumps({"logGroupName": group, **token}).encode(), head)
            try:
                with DIRECT.open(ask, timeout=30) as r:
                    page = json.loads(r.read())
            except urllib.error.HTTPError as e:
                with e:     # the group is not there yet
                    return events
            events += [e["message"] for e in page["events"]]
            if not page.get("nextToken"):
                break
            token = {"nextToken": page["nextToken"]}
        return events

    def sampled_by_rules(self):
        """The rules are fetched by the exporter, which the first request brings up: asks until one of them decides."""
        def asked():
            self.request("GET", "/api/activities/@andrewbrown")
            return any(d.get("aws", {}).get("xray", {}).get("sampling_rule_name") for d in self.segments())
        try:
            self.wait("a segment names its sampling rule", asked)
        except Failed as e:
            raise Failed("%s: %d segments, %r of the API; the daemon says: %s; the backend: %s" % (
                e, len(self.segments()), sorted({path for path, _ in self.recorder.seen}), self.log("xray-daemon")[-600:],
                [line for line in self.log("backend-flask").splitlines() if "remora" in line])) from None

    def of_trace(self, trace_id, group="cruddur"):
        """(spans, X-Ray documents, log events, Rollbar items) of a trace, as each destination writes its id."""
        events = [json.loads(e) for e in self.log_events(group) if e.startswith("{")]
        return ([x for x in self.spans() if x["traceId"] == trace_id],
                [d for d in self.segments() if d["trace_id"] == "1-%s-%s" % (trace_id[:8], trace_id[8:])],
                [e for e in events if e.get("trace_id") == trace_id],
                [i for i in list(self.rollbar.items) if i.get("custom", {}).get("trace_id") == trace_id])

    def wait(self, what, cond, timeout=20):
        """Waits for what no event announces."""
        end = time.monotonic() + timeout
        while True:
            got = cond()
            if got:
                return got
            if time.monotonic() > end:
                raise Failed("waited %d s until %s" % (timeout, what))
            time.sleep(0.05)


def attributes(node):
    return {a["key"]: next(iter(a["value"].values()), None) for a in node.get("attributes", [])}
