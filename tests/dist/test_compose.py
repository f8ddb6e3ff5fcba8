"""scripts/compose as docker compose itself reads it (its own parser and schema; no docker is needed for that)."""
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", "e2e"), os.path.join(ROOT, "scripts", "compose")]
from harness import *                                    # noqa: E402
from stack import COMPOSE, HERE, VENV, Failed, compose_config  # noqa: E402

# What the reference application's own docker-compose.yml gives its backend, less what is Cognito's.
NAMES = {"CONNECTION_URL", "FRONTEND_URL", "BACKEND_URL", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT",
         "OTEL_EXPORTER_OTLP_HEADERS", "AWS_XRAY_URL", "AWS_XRAY_DAEMON_ADDRESS", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID",
         "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "ROLLBAR_ACCESS_TOKEN"}


def mounts(service):
    return {v["target"]: v for v in service["volumes"]}


@test
def one_volume_and_one_line_more():
    model = compose_config(env={"HONEYCOMB_API_KEY": "abc"})
    backend = model["services"]["backend-flask"]
    equal(set(backend["environment"]) - NAMES, {"LD_PRELOAD", "FLASK_DEBUG"}, "variables that the reference has not")
    equal(NAMES - set(backend["environment"]), set(), "variables of the reference that are missing")
    equal(backend["environment"]["OTEL_EXPORTER_OTLP_HEADERS"], "x-honeycomb-team=abc", "headers")
    equal(backend["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"], "https://api.honeycomb.io", "endpoint")
    ours = mounts(backend)["/opt/remora"]
    equal((ours["source"], ours["read_only"]), (os.path.join(ROOT, "build", "dist", "remora"), True), "the volume")
    equal(backend["environment"]["LD_PRELOAD"], "/opt/remora/libremora.so", "LD_PRELOAD")
    check(os.path.exists(ours["source"] + "/libremora.so"), "what is mounted exists: make dist")
    equal(set(model["services"]), {"backend-flask", "xray-daemon", "db", "ddb"}, "services")


@test
def overlay_fits_any_compose_file():
    with tempfile.TemporaryDirectory() as d:
        base = os.path.join(d, "docker-compose.yml")
        with open(base, "w") as f:
            f.write("services: {backend-flask: {image: x, environment: [A=1], volumes: ['./b:/b']}}\n")
        both = compose_config(base, os.path.join(HERE, "remora.yml"), env={"REMORA": "/srv/remora"})
        backend = both["services"]["backend-flask"]
        equal(backend["environment"], {"A": "1", "LD_PRELOAD": "/opt/remora/libremora.so"}, "environment")
        equal((mounts(backend)["/opt/remora"]["source"], set(mounts(backend))), ("/srv/remora", {"/b", "/opt/remora"}), "volumes")
        try:
            compose_config(base, os.path.join(HERE, "remora.yml"), env={"REMORA": ""})
        except Failed as e:
            check("make dist" in str(e), str(e))
        else:
            raise AssertionError("a mount of nothing was accepted")


@test
def parser_is_a_judge():
    """It refuses what the schema does not know, or these tests say nothing."""
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "c.yml")
        with open(COMPOSE) as f, open(path, "w") as g:
            g.write(f.read().replace("depends_on:", "depend_on:"))
        try:
            compose_config(path)
        except Failed as e:
            check("depend_on" in str(e), str(e))
        else:
            raise AssertionError("depend_on was accepted")


@test
def backend_has_no_sdk():
    words = ("opentelemetry", "aws_xray_sdk", "watchtower", "rollbar", "remora", "honeycomb")
    for name in os.listdir(os.path.join(HERE, "backend-flask")):
        path = os.path.join(HERE, "backend-flask", name)
        if os.path.isfile(path):
            with open(path) as f:
                text = f.read().lower()
            equal([w for w in words if w in text], [], name)


if __name__ == "__main__":
    main()
