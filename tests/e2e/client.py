"""The tests' own HTTP client: raw sockets, fixed counts, a record of every request."""
import socket
import threading
import time


class Sent:
    """What one request was and what came back."""
    __slots__ = ("method", "target", "status", "body_bytes", "head", "body", "start", "end")

    def __init__(self, method, target, status, head, body, start, end, keep_body):
        self.method, self.target, self.status = method, target, status
        self.head, self.body_bytes = head, len(body)
        self.body = body if keep_body else None
        self.start, self.end = start, end

    def __repr__(self):
        return "<%s %s %d %d bytes>" % (self.method, self.target, self.status, self.body_bytes)


class Connection:
    """One client connection. Not thread-safe. Reconnects when the server closed after an answer."""

    def __init__(self, port, host="127.0.0.1", timeout=30.0):
        self.addr, self.timeout = (host, port), timeout
        self.sock, self.buf = None, b""

    def connect(self):
        self.sock = socket.create_connection(self.addr, self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        return self.sock

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _more(self):
        data = self.sock.recv(262144)
        self.buf += data
        return bool(data)

    def send(self, data):
        if self.sock is None:
            self.connect()
        self.sock.sendall(data)

    def read_response(self, method="GET"):
        """(status, head, body); 1xx answers are skipped."""
        while True:
            while b"\r\n\r\n" not in self.buf:
                if not self._more():
                    raise ConnectionError("closed before an answer, after %r" % self.buf[:80])
            head, self.buf = self.buf.split(b"\r\n\r\n", 1)
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
        low = head.lower()
        body = b""
        if method == "HEAD" or status in (204, 304):
            pass
        elif b"\r\ntransfer-encoding: chunked" in low:
            while True:
                while b"\r\n" not in self.buf:
                    if not self._more():
                        raise ConnectionError("cut inside a chunk")
                size, self.buf = self.buf.split(b"\r\n", 1)
                n = int(size.split(b";")[0], 16)
                while len(self.buf) < n + 2:
                    if not self._more():
                        raise ConnectionError("cut inside a chunk")
                body += self.buf[:n]
                self.buf = self.buf[n + 2:]
                if n == 0:
                    break
        elif b"\r\ncontent-length:" in low:
            n = int(low.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
            while len(self.buf) < n:
                if not self._more():
                    raise ConnectionError("cut after %d of %d bytes" % (len(self.buf), n))
            body, self.buf = self.buf[:n], self.buf[n:]
        else:
            while self._more():
                pass
            body, self.buf = self.buf, b""
            self.close()
        if b"\r\nconnection: close" in low or (head.startswith(b"HTTP/1.0") and
                                               b"keep-alive" not in low):
            self.close()
        return status, head, body

    def request(self, method="GET", target="/", headers=(), body=None, keep_body=True):
        lines = ["%s %s HTTP/1.1" % (method, target), "Host: %s:%d" % self.addr]
        lines += ["%s: %s" % kv for kv in dict(headers).items()]
        if body is not None:
            lines.append("Content-Length: %d" % len(body))
        data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")
        start = time.time_ns()
        self.send(data)
        status, head, got = self.read_response(method)
        return Sent(method, target, status, head, got, start, time.time_ns(), keep_body)


def raw_exchange(port, data, timeout=30.0, host="127.0.0.1", pieces=False):
    """Sends bytes (or a list of pieces, one segment each), half-closes, reads to the end."""
    with socket.create_connection((host, port), timeout) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (data if pieces else [data]):
            s.sendall(piece)
        s.shutdown(socket.SHUT_WR)
        out = b""
        while True:
            try:
                more = s.recv(262144)
            except ConnectionResetError:
                break
            if not more:
                break
            out += more
    return out


def load(port, count, concurrency=16, make=None, on_error=None, stop=None):
    """`count` requests over `concurrency` keep-alive connections; the list of Sent.

    make(i) gives (method, target, headers, body) of request i; the default is GET /?i=<i>.
    on_error(i, exception): called instead of raising; the request is then not in the list.
    stop: an Event that ends the load early.
    """
    make = make or (lambda i: ("GET", "/?i=%d" % i, (), None))
    done, errors, lock, counter = [], [], threading.Lock(), iter(range(count))

    def work():
        conn = Connection(port)
        mine = []
        while not (errors and not on_error) and not (stop and stop.is_set()):
            with lock:
                i = next(counter, None)
            if i is None:
                break
            method, target, headers, body = make(i)
            try:
                mine.append(conn.request(method, target, headers, body, keep_body=False))
            except (OSError, ValueError) as e:
                conn.close()
                if on_error:
                    on_error(i, e)
                else:
                    errors.append("%s %s: %s" % (method, target, e))
        conn.close()
        with lock:
            done.extend(mine)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(concurrency)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise AssertionError("the load itself failed: " + errors[0])
    return done
