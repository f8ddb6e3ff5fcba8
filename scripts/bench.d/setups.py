"""The OpenTelemetry SDKs, below build/: installed at first use, and left there."""
import os
import shutil
import subprocess
import sys

from common import *

PYTHON_PLAIN = ["flask", "gunicorn"]
PYTHON_SDK = ["opentelemetry-distro", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-instrumentation-flask"]
NODE_SDK = ["@opentelemetry/api", "@opentelemetry/auto-instrumentations-node"]


def _run(what, argv, cwd=None):
    say("  %s (once)" % what)
    p = subprocess.run(argv, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        say("    " + "\n    ".join(p.stdout.strip().splitlines()[-4:]))
    return p.returncode == 0


def python():
    """Makes the venv; True if it has the SDK. Without Flask there is nothing to measure."""
    exe = os.path.join(VENV, "bin", "python")

    def have(*modules):
        return subprocess.run([exe, "-c", "import " + ", ".join(modules)], stderr=subprocess.DEVNULL).returncode == 0

    if not os.path.exists(exe):
        _run("python3 -m venv " + os.path.relpath(VENV, ROOT), [sys.executable, "-m", "venv", VENV])
    pip = [exe, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if not have("flask", "gunicorn") and not _run("pip install " + " ".join(PYTHON_PLAIN), pip + PYTHON_PLAIN):
        raise Skip("Flask and gunicorn cannot be installed")
    sdk = ("opentelemetry.instrumentation.flask", "opentelemetry.exporter.otlp.proto.http", "opentelemetry.distro")
    if not have(*sdk) and not _run("pip install " + " ".join(PYTHON_SDK), pip + PYTHON_SDK):
        say("  Flask is measured without the SDK")
        return False
    return True


def node():
    """Installs the SDK for node; True if it is there."""
    if os.path.exists(os.path.join(NODE, "node_modules", "@opentelemetry", "auto-instrumentations-node", "package.json")):
        return True
    npm = shutil.which("npm", path=PATH)
    os.makedirs(NODE, exist_ok=True)
    with open(os.path.join(NODE, "package.json"), "w") as f:
        f.write('{"private": true}\n')
    if npm and _run("npm install " + " ".join(NODE_SDK), [npm, "install", "--no-fund", "--no-audit", *NODE_SDK], NODE):
        return True
    say("  node is measured without the SDK: %s" % ("npm failed" if npm else "npm is not installed"))
    return False


def versions():
    """What was measured against, for the report."""
    out = []
    exe = os.path.join(VENV, "bin", "python")
    names = ["flask", "gunicorn", "opentelemetry-sdk", "opentelemetry-instrumentation-flask"]
    code = ("import sys, importlib.metadata as m\nprint('python', sys.version.split()[0])\n"
            "for n in %r:\n try: print(n, m.version(n))\n except Exception: pass" % names)
    if os.path.exists(exe):
        out += subprocess.run([exe, "-c", code], stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()
    for argv in (["nginx", "-v"], ["node", "--version"], ["wrk", "-v"]):
        exe = shutil.which(argv[0], path=PATH)
        if exe:
            p = subprocess.run([exe, argv[1]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            m = re.search(r"\d+\.\d+(\.\d+)?", p.stdout)
            out.append("%s %s" % (argv[0], m.group(0) if m else "?"))
    package = os.path.join(NODE, "node_modules", "@opentelemetry", "auto-instrumentations-node", "package.json")
    m = re.search(r'"version": "([^"]+)"', read(package))
    if m:
        out.append("auto-instrumentations-node " + m.group(1))
    return out
