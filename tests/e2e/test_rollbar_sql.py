"""What a Flask program asked PostgreSQL before it crashed stands in the item, and in X-Ray the query that it died with."""
import json

from harness import *
from rollbar_box import Box
from test_xray import daemon
from test_xray_sql import VALUES, postgres, sql_flask


@test
def crashed_in_a_query():
    with Box(OTEL_SERVICE_NAME="backend-flask") as box:
        _, dsn = postgres(box)
        d = daemon(box)
        app = sql_flask(box, dsn)
        with Connection(int(app.match.group(1))) as c:
            c.send(b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")
            item, = box.rollbar.wait(1)
        told = [(e["type"], e["level"], re.sub(r"\d+ ms$", "# ms", e["body"]["message"])) for e in item["body"]["telemetry"]
                if e["type"] == "manual" and not re.match("BEGIN|ROLLBACK", e["body"]["message"])]
        equal(told, [("manual", "info", "SELECT users: # ms"), ("manual", "error", "INSERT users: 23505, # ms"),
                     ("manual", "info", "SELECT users: no answer")], "telemetry")
        sub, = d.wait(1, lambda x: "pg_sleep" in x.get("sql", {}).get("sanitized_query", ""))
        e, = sub["cause"]["exceptions"]
        equal((sub["sql"]["sanitized_query"], sub["fault"], e["type"], e["remote"]),
              ("SELECT ?, pg_sleep(?) FROM users", True, "SIGSEGV", False), "the query that it died with")
        box.check()
        for value in VALUES:
            check(value not in json.dumps([item["body"]["telemetry"], d.docs]), value + " is told")


if __name__ == "__main__":
    main()
