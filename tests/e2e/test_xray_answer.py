"""`Sampled=?` in X-Amzn-Trace-Id: who asks is told in the response what was decided. Nobody else's response is touched."""
import re
import sys

from harness import *
from test_xray import HEADER, PARENT, ROOT_ID, TRACE

ASKS = HEADER % (ROOT_ID, PARENT, "?")
TOLD = b"X-Amzn-Trace-Id: Root=%s;Sampled=%d\r\n"
BIG = bytes(i * 7 % 251 for i in range(3_000_000))


def exchange(port, request, answers=1):
    """The bytes of that many answers, from a connection that then closes; Date and the like made equal."""
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(request)
        data = b""
        while True:
            more = s.recv(1 << 20)
            if not more:
                break
            data += more
    check(len(re.findall(rb"HTTP/1\.[01] \d", data)) >= answers, "%d answers in %r" % (answers, data[:300]))
    return re.sub(rb"(?m)^(Date|Last-Modified|ETag): [^\r]*\r\n", b"", data)


def request(path, header=None, close=True, extra=b""):
    h = b"X-Amzn-Trace-Id: %s\r\n" % header.encode() if header else b""
    return b"GET %s HTTP/1.1\r\nHost: x\r\n%s%s%s\r\n" % (path.encode(), h, b"Connection: close\r\n" if close else b"", extra)


def untold(data):
    return re.sub(rb"X-Amzn-Trace-Id: [^\r]*\r\n", b"", data)


def servers():
    return {
        "flask": (lambda b: b.flask_dev(), "/api/health-check"),
        "gunicorn": (lambda b: b.gunicorn("-k", "gthread"), "/api/health-check"),
        "http_server": (lambda b: b.http_server({"a.txt": b"hello"}), "/a.txt"),
        "nginx_sendfile": (lambda b: b.nginx("", files={"a.bin": BIG}), "/a.bin"),
        "nginx_small_buffer": (lambda b: b.nginx("", files={"a.bin": BIG}, http="send_timeout 20s; output_buffers 1 1k;"), "/a.bin"),
        "nginx_writev": (lambda b: b.nginx("sendfile off;", files={"a.bin": BIG}), "/a.bin"),
        "node": (lambda b: b.node("server.js"), "/"),
    }


@cases(**{n: n for n in servers()})
def told_to_who_asks(name):
    start, path = servers()[name]
    with Sandbox(OTEL_PROPAGATORS="tracecontext,xray") as box:
        host = start(box)
        plain = exchange(host.port, request(path))
        check(b"x-amzn-trace-id" not in plain.lower(), "told without a question: %r" % plain[:300])
        asked = exchange(host.port, request(path, ASKS))
        line = TOLD % (ROOT_ID.encode(), 1)
        equal(asked.count(line), 1, "the line in %r" % asked[:300])
        equal(asked.split(b"\r\n", 1)[1].startswith(line), True, "it is the first field of %r" % asked[:300])
        equal(len(untold(asked)), len(plain), "length of all else")
        equal(untold(asked).split(b"\r\n\r\n", 1)[1], plain.split(b"\r\n\r\n", 1)[1], "body")
        for other in (HEADER % (ROOT_ID, PARENT, 1), "Root=" + ROOT_ID, "Sampled=?", ASKS.replace("Root", "Loot")):
            equal(exchange(host.port, request(path, other)), plain, "not asked: %s" % other)
        spans = box.recv.wait(6, is_server)
        equal(len([s for s in spans if s.trace_id == TRACE and is_server(s)]), 3, "spans of that trace")
        size = len(plain.split(b"\r\n\r\n", 1)[1])
        equal({s["http.response.body.size"] for s in spans if is_server(s)}, {size or None}, "sizes")


@test
def each_on_one_connection_for_itself():
    """Keep-alive and pipelining: told is who asked; the second is not recorded, and told so."""
    with Sandbox(OTEL_PROPAGATORS="xray", OTEL_TRACES_SAMPLER="parentbased_always_off") as box:
        web = box.nginx("", files={"a.txt": b"hello"})
        other = ROOT_ID.replace("5", "6")
        data = exchange(web.port, request("/a.txt", HEADER % (ROOT_ID, PARENT, 1), close=False) +
                        request("/a.txt", ASKS.replace(ROOT_ID, other), close=False) + request("/a.txt", close=False) +
                        request("/none", ASKS), 4)
        heads = [a for a in re.split(rb"(?=HTTP/1\.1 \d)", data) if a]
        equal([re.findall(rb"X-Amzn-Trace-Id: ([^\r]*)", a) for a in heads],
              [[], [b"Root=%s;Sampled=0" % other.encode()], [], [b"Root=%s;Sampled=0" % ROOT_ID.encode()]], "told")
        equal([int(a[9:12]) for a in heads], [200, 200, 200, 404], "statuses")


@test
def the_programs_own_stays():
    with Sandbox(OTEL_PROPAGATORS="xray") as box:
        web = box.nginx("location / { add_header x-amzn-trace-id mine always; }", files={"a.txt": b"hello"})
        asked = exchange(web.port, request("/a.txt", ASKS))
        equal(asked.lower().count(b"x-amzn-trace-id"), 1, "lines in %r" % asked[:300])


@test
def without_the_propagator():
    with Sandbox() as box:
        web = box.nginx("", files={"a.txt": b"hello"})
        equal(exchange(web.port, request("/a.txt", ASKS)), exchange(web.port, request("/a.txt")), "answers")


PIECES = r"""
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(5)
print("listening", s.getsockname()[1], flush=True)
for how in ("pieces", "interim", "bytes"):
    c, _ = s.accept()
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    c.recv(65536)
    if how == "pieces":
        sent = [c.send(b"HTTP/1.1 200 OK\r\n"), c.send(b"Content-Length: 2\r\n\r\nhi")]
    elif how == "interim":
        sent = [c.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), c.send(b"hi")]
    else:
        sent = [c.sendmsg([b"HTTP/1.1 ", b"200 OK\r\nContent-", b"", b"Length: 2\r\n\r\n", b"hi"])]
    print(how, *sent, flush=True)
    c.close()
"""


@test
def heads_in_pieces():
    """In several writes: as it is. In several buffers of one: told, and the program sees the sizes of its own bytes."""
    with Sandbox(OTEL_PROPAGATORS="xray") as box:
        h = box.start([sys.executable, "-c", PIECES], r"listening (\d+)", name="pieces")
        port = int(h.match.group(1))
        line = TOLD % (ROOT_ID.encode(), 1)
        got = [exchange(port, request("/", ASKS)) for _ in range(3)]
        equal(got, [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
                    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n" + line + b"Content-Length: 2\r\n\r\nhi",
                    b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 2\r\n\r\nhi"], "answers")
        h.wait_line(r"^pieces 17 23$")
        h.wait_line(r"^interim 40 38 2$")
        h.wait_line(r"^bytes 40$")


if __name__ == "__main__":
    main()
