"""A Flask program for comparing what two ways of tracing tell of it. With SDK=1 it is instrumented as the X-Ray SDK's
manual says; else it knows nothing of tracing.

usage: xray_flask.py BACKEND_URL     prints "listening PORT"
"""
import os
import sys

import flask
import requests
from werkzeug.serving import make_server

BACKEND = sys.argv[1]
app = flask.Flask(__name__)

if os.environ.get("SDK"):
    from aws_xray_sdk.core import patch, xray_recorder
    from aws_xray_sdk.ext.flask.middleware import XRayMiddleware
    options = {"dynamic_naming": os.environ["DYNAMIC"]} if os.environ.get("DYNAMIC") else {}
    xray_recorder.configure(service="backend-flask", sampling=False, **options)
    XRayMiddleware(app, xray_recorder)
    patch(("requests", "botocore"))


@app.route("/home")
def home():
    return "hello"


@app.route("/call")
def call():
    return requests.get(BACKEND + "/ok?secret=1", timeout=10).text


@app.route("/hang")
def hang():
    return requests.get(BACKEND + "/hang", timeout=60).text


@app.route("/calls")
def calls():
    for status in (200, 404, 503):
        requests.post("%s/status/%d" % (BACKEND, status), data=b"x" * 100, timeout=10)
    return "done"


@app.route("/refused")
def refused():
    try:
        requests.get("http://127.0.0.1:1/x", timeout=10)
    except requests.ConnectionError:
        return "down", 503


@app.route("/boom")
def boom():
    raise ZeroDivisionError("boom")


@app.route("/chain")
def chain():
    try:
        raise KeyError("order")
    except KeyError as e:
        raise ValueError("no such order") from e


@app.route("/slow")
def slow():
    return "throttled", 429


@app.route("/dynamo")
def dynamo():
    import boto3
    table = boto3.client("dynamodb", endpoint_url=BACKEND, region_name="ca-central-1", aws_access_key_id="AKIDEXAMPLE",
                         aws_secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    return {"found": table.get_item(TableName="cruddur-messages", Key={"pk": {"S": "1"}}).get("Item", {})}


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app)
    print("listening", server.port, flush=True)
    server.serve_forever()
