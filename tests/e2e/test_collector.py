"""The OpenTelemetry Collector receives the same spans in both encodings."""
import signal

from harness import *


@cases(protobuf={}, json={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
       gzip={"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
       json_gzip={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"})
def flask_to_a_collector(env):
    with Sandbox(OTEL_SERVICE_NAME="backend-flask", **env) as box:
        col = Collector(box)
        up = box.keep(Upstream())
        app = box.gunicorn("-k", "gthread", "--threads", "4", workers=2,
                           env={"OTEL_EXPORTER_OTLP_ENDPOINT": col.url, "BACKEND_URL": up.url})
        n = 100
        sent = load(app.port, n, 8, lambda i: ("GET", "/api/weather?i=%d" % i,
                                               {"User-Agent": 'quote " \\ and \xe9'}, None))
        col.wait(2 * n)
        app.stop()
        spans = col.spans()
        check_conventions(spans)
        check_exactly([s for s in spans if is_server(s)], sent)
        equal(len(spans), 2 * n, "spans")
        ids = by_id(spans)
        for s in filter(is_client, spans):
            check_child(s, ids[s.parent_id])
        for s in filter(is_server, spans):
            equal(s.parent_id, "", "parent of a root")
            equal(s.resource["service.name"], "backend-flask", "service.name")
        equal(box.recv.count(), 0, "spans elsewhere")


if __name__ == "__main__":
    main()
