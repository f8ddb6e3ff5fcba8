# timeout: 600
"""A client's requests as its peer sees them: the program's exact bytes, plus whole traceparent/tracestate lines
behind the request line, at most one of each. The program's own results are checked inside the host (wire.c).

Breaks on: a header that is cut, repeated, lost between two partial writes or counted in a result; a body that is
edited; a POLLOUT edge that never comes.
"""
import random

import sys
import os

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harm import *


class Peer:
    """Takes connections, keeps every byte in order, answers each request. Slow when told: it reads little at a time."""
    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def __init__(self, slow=False, family=socket.AF_INET, path=None):
        self.slow, self.streams, self.threads = slow, [], []
        self.sock = socket.socket(family)
        if slow:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.bind(("127.0.0.1", 0) if path is None else path)
        self.port = self.sock.getsockname()[1] if path is None else 0
        self.sock.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.sock.accept()
                store = []
                self.streams.append(store)
                t = threading.Thread(target=self._serve, args=(s, store), daemon=True)
                self.threads.append(t)
                t.start()

    def _serve(self, s, store):
        rng, rest = random.Random(7), b""
        with s, contextlib.suppress(OSError):
            while True:
                data = s.recv(rng.choice((100, 700, 3000)) if self.slow else 65536)
                if not data:
                    return
                store.append(data)
                if self.slow and len(store) % 50 == 0:
                    time.sleep(0.005)           # longer than the client's SO_SNDTIMEO
                rest += data
                answers = 0
                while b"\r\n\r\n" in rest:
                    head, more = rest.split(b"\r\n\r\n", 1)
                    m = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
                    need = int(m.group(1)) if m else 0
                    if len(more) < need:
                        break
                    rest, answers = more[need:], answers + 1
                if answers:
                    s.sendall(self.ANSWER * answers)

    def taken(self, i):
        self.threads[i].join(20)
        check(not self.threads[i].is_alive(), "connection %d has not ended" % i)
        return b"".join(self.streams[i])


LINE = re.compile(rb"\r\n(traceparent): 00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3](?=\r\n)|"
                  rb"\r\n(tracestate): [^\r\n]+(?=\r\n)", re.I)


def strip(stream):
    """(the stream without our lines, number of heads, number of heads with a traceparent)."""
    out, heads, ours = b"", 0, 0
    while stream:
        i = stream.find(b"\r\n\r\n")
        check(i >= 0, "the stream ends inside a head: %r" % stream[:200])
        head, stream = stream[:i + 4], stream[i + 4:]
        names = [a or b for a, b in LINE.findall(head)]
        check(len(names) == len(set(names)), "a header twice: %r" % head[:400])
        ours += b"traceparent" in [n.lower() for n in names]
        heads += 1
        clean = LINE.sub(b"", head)
        m = re.search(rb"\r\ncontent-length: *(\d+)", clean, re.I)
        n = int(m.group(1)) if m else 0
        out += clean + stream[:n]
        stream = stream[n:]
    return out, heads, ours


def same_on_the_wire(box, peer, argv, share=1.0, spans=True):
    """Both runs; the traced bytes are the plain ones and lines of ours in at least `share` of the requests."""
    both(box, argv, rc=0)
    plain, wire = peer.taken(0), peer.taken(1)
    clean, heads, ours = strip(wire)
    check(strip(plain)[2] == 0, "the plain program sent a traceparent")
    if clean != plain:
        at = next((i for i, (a, b) in enumerate(zip(clean, plain)) if a != b), min(len(clean), len(plain)))
        raise AssertionError("the bytes differ at %d of %d: %r became %r" % (
            at, len(plain), plain[max(0, at - 60):at + 60], clean[max(0, at - 60):at + 60]))
    check(ours >= share * heads, "%d of %d requests carry a traceparent" % (ours, heads))
    if spans:
        box.recv.wait(heads, is_client, timeout=15)
        ids = re.findall(rb"\r\ntraceparent: 00-[0-9a-f]{32}-([0-9a-f]{16})", wire, re.I)
        equal(len(set(ids)), len(ids), "distinct span ids on the wire")
        lost = {i.decode() for i in ids} - {s.span_id for s in box.recv.spans()}
        check(not lost, "%d ids on the wire belong to no span" % len(lost))


# sendmmsg carries no HTTP in any known program: its bytes must be whole, a header is not demanded.
def demanded(how, share):
    return 0 if how == "sendmmsg" else share


WAYS = {w: w for w in ("write", "send", "sendto", "writev", "sendmsg", "sendmmsg", "control")}


@cases(**WAYS)
def partial_writes(how):
    with Sandbox() as box:
        peer = box.keep(Peer(slow=True))
        same_on_the_wire(box, peer, ["wire", str(peer.port), "stream", how, "2000"], share=demanded(how, 0.9))


@cases(write="write", writev="writev", sendmsg="sendmsg")
def partial_writes_edge_triggered(how):
    with Sandbox() as box:
        peer = box.keep(Peer(slow=True))
        same_on_the_wire(box, peer, ["wire", str(peer.port), "edge", how, "1500"], share=0.9)


@cases(write="write", writev="writev", send="send")
def blocking_with_a_send_timeout(how):
    with Sandbox() as box:
        peer = box.keep(Peer(slow=True))
        same_on_the_wire(box, peer, ["wire", str(peer.port), "timeo", how, "1500"], share=0.9)


@cases(**WAYS)
def head_cut_at_every_byte(how):
    """Half of them cut by one writev, each of which must be told to the peer; the rest by two calls (MSG_MORE)."""
    with Sandbox() as box:
        peer = box.keep(Peer())
        same_on_the_wire(box, peer, ["wire", str(peer.port), "split", how, "0"], share=demanded(how, 0.5))


@cases(writev="writev", sendmsg="sendmsg")
def many_iovecs(how):
    with Sandbox() as box:
        peer = box.keep(Peer())
        same_on_the_wire(box, peer, ["wire", str(peer.port), "iovs", how, "2000"])


@test
def a_unix_socket_like_dockers():
    """Told or not, edited or not: the request is whole."""
    with Sandbox() as box:
        curl = needs("curl")
        path = box.path("docker.sock")
        peer = box.keep(Peer(family=socket.AF_UNIX, path=path))
        url = "http://localhost/v1/info"
        plain, traced = both(box, [curl, "-sS", "--unix-socket", path, url, "-d", "GET / HTTP/1.1\r\nHost: y\r\n\r\n"], rc=0)
        equal(plain.out, b"ok", "answer")
        equal(strip(peer.taken(1))[0], peer.taken(0), "bytes")


if __name__ == "__main__":
    main()
