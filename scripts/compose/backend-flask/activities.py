"""Activities, in PostgreSQL."""
import os

import psycopg
from psycopg.rows import dict_row

SCHEMA = """
CREATE TABLE IF NOT EXISTS activities (
    uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), handle text NOT NULL, message text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now());
"""


def _query(sql, *args):
    with psycopg.connect(os.environ["CONNECTION_URL"], row_factory=dict_row) as db:
        db.execute(SCHEMA)
        return [{k: str(v) for k, v in row.items()} for row in db.execute(sql, args).fetchall()]


def home():
    return _query("SELECT * FROM activities ORDER BY created_at DESC LIMIT 20")


def of_user(handle):
    return _query("SELECT * FROM activities WHERE handle = %s", handle)


def create(handle, message):
    return _query("INSERT INTO activities (handle, message) VALUES (%s, %s) RETURNING *", handle, message)[0]
