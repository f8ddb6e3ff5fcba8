"""A small social backend with PostgreSQL and DynamoDB. There is no tracing, no SDK, no logging service in it: that is
what this stack shows. Written as a beginner would."""
import logging

import requests
from flask import Flask, request

import activities
import messages

app = Flask(__name__)
app.logger.setLevel(logging.INFO)


@app.get("/api/health-check")
def health_check():
    return {"success": True}


@app.get("/api/activities/home")
def home():
    app.logger.info("home was asked for")
    return activities.home()


@app.post("/api/activities")
def create():
    body = request.get_json()
    if not body.get("message"):
        return {"errors": ["message_blank"]}, 422
    return activities.create("andrewbrown", body["message"])


@app.get("/api/activities/@<handle>")
def of_user(handle):
    found = activities.of_user(handle)
    return (found, 200) if found else ({"errors": ["no such user"]}, 404)


@app.get("/api/message_groups")
def message_groups():
    return messages.groups("andrewbrown")


@app.post("/api/messages")
def create_message():
    body = request.get_json()
    return messages.create("andrewbrown", body["user_receiver_handle"], body["message"])


@app.get("/api/proxy")
def proxy():
    """Asks itself, as one service asks another."""
    return requests.get(request.host_url + "api/health-check", timeout=10).json()


@app.get("/api/broken")
def broken():
    return {"price": 1 / int(request.args.get("shares", "0"))}
