"""Flask's development server with its reloader: a parent that watches files and a child that serves."""
import shutil
import signal

from harness import *


def app_copy(box):
    dst = box.path("app")
    shutil.copytree(os.path.join(APPS, "backend_flask"), dst)
    return dst


@test
def plain():
    with Sandbox(OTEL_SERVICE_NAME="backend-flask") as box:
        up = box.keep(Upstream())
        f = box.flask_dev(env={"BACKEND_URL": up.url})
        sent = load(f.port, 60, 4, lambda i: ("GET", "/api/weather?i=%d" % i, (), None))
        box.recv.wait(120)
        f.stop(signal.SIGINT)
        spans = box.recv.spans()
        check_conventions(spans)
        check_exactly([s for s in spans if is_server(s)], sent)
        ids = by_id(spans)
        for s in filter(is_client, spans):
            check_child(s, ids[s.parent_id])
            equal(s["url.full"].split("?")[1], ids[s.parent_id]["url.query"], "the request of the call")
        equal(len(spans), 120, "spans in all")


@test
def reloader():
    with Sandbox(OTEL_SERVICE_NAME="backend-flask") as box:
        cwd = app_copy(box)
        f = box.flask_dev("--debug", cwd=cwd)
        f.wait_line("Debugger PIN")
        with Connection(f.port) as c:
            equal(c.request("GET", "/api/activities/home").status, 200, "before the reload")
        first = box.recv.wait(1)[0]
        check(first.resource["process.pid"] != f.pid, "the child serves, not the reloader")
        equal(len(os.listdir("/proc/%d/task" % f.pid)), 1, "threads in the quiet reloader parent")
        with open(os.path.join(cwd, "app.py"), "a") as out:
            out.write("\n\n@app.route('/api/new')\ndef new():\n    return 'new'\n")
        f.wait_line("Detected change in")
        f.wait_line("Debugger PIN", count=2)
        with Connection(f.port) as c:
            equal(c.request("GET", "/api/new").body, b"new", "after the reload")
        second = box.recv.wait(1, lambda s: s["url.path"] == "/api/new")[0]
        check(second.resource["process.pid"] != first.resource["process.pid"], "another process")
        equal(len(box.recv.spans()), 2, "spans in all")
        f.stop(signal.SIGINT)
        check_conventions(box.recv.spans())
        equal(len(box.recv.spans()), 2, "spans in all, at the end")


@test
def reload_loses_nothing():
    """Requests answered just before the child is replaced still have their spans."""
    with Sandbox(OTEL_BSP_SCHEDULE_DELAY=60000) as box:
        cwd = app_copy(box)
        f = box.flask_dev("--debug", cwd=cwd)
        f.wait_line("Debugger PIN")
        sent = load(f.port, 50, 4, lambda i: ("GET", "/api/health-check?i=%d" % i, (), None))
        with open(os.path.join(cwd, "app.py"), "a") as out:
            out.write("\n# changed\n")
        f.wait_line("Debugger PIN", count=2)
        sent += load(f.port, 10, 2, lambda i: ("GET", "/api/health-check?i=%d" % (i + 50), (), None))
        f.stop(signal.SIGINT)
        check_exactly(box.recv.wait(60), sent)


if __name__ == "__main__":
    main()
