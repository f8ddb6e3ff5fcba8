"""An HTTP/1.1 server in the test process that records every byte a client sends.

Clients under test talk to it, so a test can see the injected headers on the wire and
that nothing else of the request was changed. Behaviour follows the path:

  /ok /big        200 with a body            /status/N      that status
  /chunked        chunked with a trailer     /close         body until close
  /continue       100, then 200              /nobody        204
  /cut            closes inside the body     /reset         RST after the head
  /drop           closes before any answer   /slow/S        waits S seconds first
  /redirect       302 to /ok                 /echo          the request body comes back
  /hang           waits for release()
"""
import socket
import struct
import threading

BODY = b"0123456789abcdef" * 4


class Seen:
    """One request as it came over the wire."""

    def __init__(self, raw_head, conn):
        self.raw = raw_head
        self.conn = conn
        lines = raw_head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.header_lines = [l for l in lines[1:] if l]
        self.headers = {}
        for l in self.header_lines:
            k, v = l.split(":", 1)
            self.headers.setdefault(k.lower(), []).append(v.strip())
        self.body = b""

    def one(self, name):
        vals = self.headers.get(name.lower(), [])
        if len(vals) > 1:
            raise AssertionError("%s was sent %d times: %r" % (name, len(vals), self.raw))
        return vals[0] if vals else None

    def traceparent(self):
        v = self.one("traceparent")
        if v is None:
            return None
        version, trace, span, flags = v.split("-")
        if version != "00" or len(trace) != 32 or len(span) != 16 or len(flags) != 2 \
                or v != v.lower() or int(trace, 16) == 0 or int(span, 16) == 0:
            raise AssertionError("bad traceparent %r" % v)
        return trace, span, int(flags, 16)


class _Reader:
    def __init__(self, sock):
        self.sock, self.buf = sock, b""

    def until(self, mark):
        while mark not in self.buf:
            more = self.sock.recv(65536)
            if not more:
                return None
            self.buf += more
        i = self.buf.index(mark) + len(mark)
        out, self.buf = self.buf[:i], self.buf[i:]
        return out

    def exactly(self, n):
        while len(self.buf) < n:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("cut after %d of %d bytes" % (len(self.buf), n))
            self.buf += more
        out, self.buf = self.buf[:n], self.buf[n:]
        return out


class Upstream:
    def __init__(self, tls=None):
        self.tls = tls
        self.seen, self.changed = [], threading.Condition()
        self.connections, self._released = 0, threading.Event()
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen(256)
        self.port = self._sock.getsockname()[1]
        self.url = "%s://127.0.0.1:%d" % ("https" if tls else "http", self.port)
        self._open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        # shutdown wakes the thread in accept; close alone does not
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()
        for s in list(self._open):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def release(self):
        self._released.set()

    def requests(self, target=None):
        with self.changed:
            return [s for s in self.seen if target in (None, s.target)]

    def _accept(self):
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock, conn):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(sock)
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            r = _Reader(sock)
            while self._one(sock, r, conn):
                pass
        except (OSError, ValueError, ConnectionError):
            pass
        finally:
            self._open.discard(sock)
            sock.close()

    def _one(self, sock, r, conn):
        head = r.until(b"\r\n\r\n")
        if head is None:
            return False
        seen = Seen(head, conn)
        if (seen.one("expect") or "").lower() == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (seen.one("transfer-encoding") or ""):
            while True:
                n = int(r.until(b"\r\n").split(b";")[0], 16)
                seen.body += r.exactly(n)
                if n == 0:
                    while r.until(b"\r\n") != b"\r\n":
                        pass
                    break
                r.exactly(2)
        else:
            seen.body = r.exactly(int(seen.one("content-length") or 0))
        with self.changed:
            self.seen.append(seen)
            self.changed.notify_all()
        return self._answer(sock, seen)

    def _answer(self, sock, seen):
        path = seen.target.split("?")[0]
        if path.startswith("http://"):                  # absolute form, as a proxy gets it
            path = "/" + path.split("/", 3)[3]
        keep = (seen.one("connection") or "").lower() != "close" and seen.version == "HTTP/1.1"
        head_only = seen.method == "HEAD"

        def full(status, body=BODY, extra=""):
            head = "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s%s\r\n" % (
                status, len(body), extra, "" if keep else "Connection: close\r\n")
            sock.sendall(head.encode() + (b"" if head_only else body))
            return keep

        parts = path.strip("/").split("/")
        if parts[0] == "status":
            return full("%s Whatever" % parts[1])
        if parts[0] == "slow":
            threading.Event().wait(float(parts[1]))
            return full("200 OK")
        if path == "/hang":                             # until the test says release()
            self._released.wait(60)
            return full("200 OK")
        if path == "/chunked":
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
            for piece in (BODY[:10], BODY[10:11], BODY[11:]):
                sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            sock.sendall(b"0\r\nX-Sum: 1\r\n\r\n")
            return True
        if path == "/close":
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
            return False
        if path == "/continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            return full("200 OK")
        if path == "/nobody":
            sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            return True
        if path in ("/cut", "/reset"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + BODY)
            if path == "/reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if path == "/drop":
            return False
        if path == "/redirect":
            return full("302 Found", b"", "Location: /ok\r\n")
        if path == "/echo":
            return full("200 OK", seen.body)
        if path == "/big":
            return full("200 OK", BODY * 16384)         # 1 MiB
        return full("200 OK")
