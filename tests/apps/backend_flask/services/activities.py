import uuid
from datetime import datetime, timedelta, timezone


def _activity(handle, message, days):
    now = datetime.now(timezone.utc)
    return {"uuid": str(uuid.uuid4()), "handle": handle, "message": message, "replies": [],
            "created_at": (now - timedelta(days=days)).isoformat(),
            "expires_at": (now + timedelta(days=5)).isoformat()}


def home():
    return [_activity("Andrew Brown", "Cloud is very fun!", 2),
            _activity("Worf", "I am out of prune juice", 7),
            _activity("Garek", "My dear doctor, I am just simple tailor", 1)]


def notifications():
    return [_activity("coco", "I am white unicorn", 2)]


def search(term):
    return [a for a in home() if term.lower() in a["message"].lower()]


def of_user(handle):
    known = {"andrewbrown": "Cloud is fun!", "worf": "Today is a good day"}
    return [_activity(handle, known[handle], 1)] if handle in known else None


def create(body):
    message = (body or {}).get("message", "")
    if not message:
        return {"errors": ["message_blank"]}, 422
    return _activity((body or {}).get("handle", "anonymous"), message, 0), 201
