"""A pre-forking HTTP server in 40 lines: prefork.py CHILDREN. Each child takes one connection at
a time from the shared listener. Prints `listening PORT`; SIGTERM ends the children, then itself."""
import os
import signal
import socket
import sys


def serve(conn):
    buf = b""
    while True:
        while b"\r\n\r\n" not in buf:
            data = conn.recv(65536)
            if not data:
                return
            buf += data
        buf = buf.split(b"\r\n\r\n", 1)[1]
        body = b"%d\n" % os.getpid()
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def child(listener):
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
    while True:
        conn, _ = listener.accept()
        with conn:
            try:
                serve(conn)
            except OSError:
                pass


def main():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    pids = []
    for _ in range(int(sys.argv[1])):
        pid = os.fork()
        if pid == 0:
            child(listener)
        pids.append(pid)
    print("listening %d" % listener.getsockname()[1], flush=True)

    def stop(*a):
        for p in pids:
            try:
                os.kill(p, signal.SIGTERM)
            except ProcessLookupError:
                pass
    signal.signal(signal.SIGTERM, stop)
    for p in pids:
        os.waitpid(p, 0)


main()
