"""python3 -m http.server: one thread a connection, HTTP/1.0 answers, head and body in two sends."""
import signal

from harness import *

FILES = {"a.txt": b"hello", "big.bin": b"z" * 300000}


def finish(box, web, n):
    """All spans, after the program ended: none may come later."""
    box.recv.wait(n)
    web.stop(signal.SIGINT)
    spans = box.recv.spans()
    check_conventions(spans)
    equal(len(spans), n, "spans in all")
    return spans


@test
def attributes_of_one_request():
    with Sandbox(OTEL_SERVICE_NAME="files") as box:
        web = box.http_server(FILES)
        with Connection(web.port) as c:
            c.connect()
            mine = c.sock.getsockname()[1]
            sent = c.request("GET", "/a.txt?x=1&y=%20", {"User-Agent": "tester/1"})
        s = finish(box, web, 1)[0]
        equal(s.kind, SERVER, "kind")
        equal(s.name, "GET", "name")
        for key, want in {"http.request.method": "GET", "url.path": "/a.txt", "url.query": "x=1&y=%20",
                          "url.scheme": "http", "http.response.status_code": 200,
                          "server.address": "127.0.0.1", "server.port": web.port,
                          "client.address": "127.0.0.1", "network.peer.address": "127.0.0.1",
                          "network.peer.port": mine, "network.protocol.version": "1.1",
                          "user_agent.original": "tester/1",
                          "http.response.body.size": 5}.items():
            equal(s[key], want, key)
        equal(s.parent_id, "", "parent of a root")
        check(sent.start <= s.end and s.start >= sent.start - 50_000_000 and
              s.end <= sent.end + 50_000_000, "the span's time lies within the request's")
        equal(s.resource["service.name"], "files", "service.name")
        equal(s.scope, "remora", "scope")


@test
def status_rules():
    with Sandbox() as box:
        web = box.http_server(FILES)
        with Connection(web.port) as c:
            c.request("GET", "/missing")
            c.request("POST", "/a.txt", body=b"abc")        # http.server: 501
            c.request("HEAD", "/a.txt")
            c.request("GET", "/big.bin")
        spans = {(s["http.request.method"], s["url.path"]): s for s in finish(box, web, 4)}
        missing = spans["GET", "/missing"]
        equal((missing["http.response.status_code"], missing.status, missing["error.type"]),
              (404, 0, None), "404")
        post = spans["POST", "/a.txt"]
        equal((post["http.response.status_code"], post.status, post["error.type"]),
              (501, 2, "501"), "501")
        head = spans["HEAD", "/a.txt"]
        equal(head["http.response.status_code"], 200, "HEAD status")
        check(head["http.response.body.size"] in (None, 0), "a HEAD answer has no body")
        equal(spans["GET", "/big.bin"]["http.response.body.size"], 300000, "body size")


@test
def request_in_single_bytes():
    with Sandbox() as box:
        web = box.http_server(FILES)
        data = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nUser-Agent: drip\r\n\r\n"
        answer = raw_exchange(web.port, [data[i:i + 1] for i in range(len(data))], pieces=True)
        check(answer.endswith(b"hello"), "the answer is intact: %r" % answer[-40:])
        s = finish(box, web, 1)[0]
        equal((s["url.path"], s["user_agent.original"]), ("/a.txt", "drip"), "what was read")


@test
def http_1_0():
    with Sandbox() as box:
        web = box.http_server(FILES)
        raw_exchange(web.port, b"GET /a.txt HTTP/1.0\r\n\r\n")
        s = finish(box, web, 1)[0]
        equal(s["network.protocol.version"], "1.0", "version")
        equal(s["http.response.status_code"], 200, "status")


@test
def unknown_method():
    with Sandbox() as box:
        web = box.http_server(FILES)
        raw_exchange(web.port, b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n")
        s = finish(box, web, 1)[0]
        equal((s["http.request.method"], s["http.request.method_original"], s.name),
              ("_OTHER", "BREW", "HTTP"), "method")
        equal(s["http.response.status_code"], 501, "status")


@test
def no_request_no_span():
    with Sandbox() as box:
        web = box.http_server(FILES)
        for _ in range(20):
            raw_exchange(web.port, b"")
        raw_exchange(web.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\n")
        raw_exchange(web.port, b"\0" * 5000 + b"\n")
        raw_exchange(web.port, b"EHLO example.org\r\n")
        with Connection(web.port) as c:
            equal(c.request("GET", "/a.txt").body, b"hello", "the host serves on")
        finish(box, web, 1)


@test
def hundred_kilobyte_head():
    with Sandbox() as box:
        web = box.http_server(FILES)
        head = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n" + b"".join(
            b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(60)) + b"\r\n"
        check(len(head) < 65536, "under the limit of 64 KiB")
        check(raw_exchange(web.port, head).endswith(b"hello"), "60 KB head served")
        with Connection(web.port) as c:
            c.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\nX: " + b"v" * 100000 + b"\r\n\r\n")
            status, _, _ = c.read_response()
            equal(status, 431, "http.server refuses 100 KB itself")
        with Connection(web.port) as c:
            equal(c.request("GET", "/a.txt").body, b"hello", "the host serves on")
        box.recv.wait(2)
        web.stop(signal.SIGINT)
        check(2 <= len(box.recv.spans()) <= 3, "at least the two good requests have spans")


@test
def client_address_from_a_proxy():
    with Sandbox() as box:
        web = box.http_server(FILES)
        with Connection(web.port) as c:
            c.request("GET", "/a.txt?1", {"X-Forwarded-For": "203.0.113.9, 10.0.0.1"})
            c.request("GET", "/a.txt?2", {"Forwarded": 'for="[2001:db8::17]:4711";proto=https'})
            c.request("GET", "/a.txt?3", {"X-Forwarded-For": "not an address"})
        spans = {s["url.query"]: s for s in finish(box, web, 3)}
        equal(spans["1"]["client.address"], "203.0.113.9", "X-Forwarded-For")
        equal(spans["2"]["client.address"], "2001:db8::17", "Forwarded")
        for s in spans.values():
            equal(s["network.peer.address"], "127.0.0.1", "the peer of the socket")


@test
def request_cut_off_by_the_client():
    with Sandbox() as box:
        web = box.http_server(FILES)
        raw_exchange(web.port, b"GET /a.txt HTTP/1.1\r\nHost: x\r\n")     # no end of the head
        with Connection(web.port) as c:
            equal(c.request("GET", "/a.txt").status, 200, "the host serves on")
        box.recv.wait(1, lambda s: s["http.response.status_code"] == 200)
        web.stop(signal.SIGINT)
        spans = box.recv.spans()
        check(len(spans) <= 2, "at most one span for the cut request")
        for s in spans:
            if s["http.response.status_code"] != 200:
                check(s["error.type"] or s["http.response.status_code"], "a cut request says so: %r" % s.attrs)


if __name__ == "__main__":
    main()
