"""A small social backend, as a Flask beginner writes it. It knows nothing about tracing:
the tests and the demo run it unmodified."""
import os
import sys
import time

import requests
from flask import Flask, Response, request

from services import activities, messages

app = Flask(__name__)
backend = requests.Session()


@app.route("/api/health-check")
def health_check():
    return {"success": True}, 200


@app.route("/api/activities/home")
def activities_home():
    return activities.home()


@app.route("/api/activities/notifications")
def activities_notifications():
    return activities.notifications()


@app.route("/api/activities/search")
def activities_search():
    return activities.search(request.args.get("term", ""))


@app.route("/api/activities/@<handle>")
def activities_of(handle):
    found = activities.of_user(handle)
    return (found, 200) if found else ({"errors": ["no such user"]}, 404)


@app.route("/api/activities", methods=["POST"])
def activities_create():
    return activities.create(request.get_json())


@app.route("/api/message_groups")
def message_groups():
    return messages.groups()


@app.route("/api/messages/@<handle>")
def messages_of(handle):
    return messages.of_user(handle)


@app.route("/api/weather")
def weather():
    """Asks another service, BACKEND_URL, and passes its answer on."""
    url = os.environ["BACKEND_URL"] + request.args.get("path", "/ok")
    answer = backend.get(url, params={"i": request.args["i"]} if "i" in request.args else None,
                         timeout=10)
    return {"upstream": answer.status_code, "bytes": len(answer.content)}


@app.route("/api/fanout")
def fanout():
    """Several calls one after the other in one request."""
    n = int(request.args.get("n", "3"))
    return {"codes": [requests.get("%s/ok?i=%s.%d" % (os.environ["BACKEND_URL"],
                                                      request.args.get("i", "0"), k)).status_code
                      for k in range(n)]}


@app.route("/api/broken")
def broken():
    raise ZeroDivisionError("division by zero")


@app.route("/api/slow")
def slow():
    time.sleep(float(request.args.get("s", "0.2")))
    return {"slept": True}


@app.route("/api/stream")
def stream():
    n = int(request.args.get("n", "5"))

    def lines():
        for i in range(n):
            yield "line %d\n" % i
    return Response(lines(), mimetype="text/plain")


@app.route("/api/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def echo():
    return Response(request.get_data(), mimetype="application/octet-stream")


@app.route("/api/bytes")
def some_bytes():
    return Response(b"x" * int(request.args.get("n", "10")), mimetype="application/octet-stream")


@app.route("/api/env")
def env():
    """What a child process of this request finds in its environment."""
    import subprocess
    code = "import os; print(os.environ.get('TRACEPARENT', ''))"
    return subprocess.check_output([sys.executable, "-c", code])


@app.route("/api/pid")
def pid():
    return {"pid": os.getpid()}
