"""handover.py PORT I MICROSECONDS: makes a request, forks a little later, and ends at once.

The child resolves a name and loads a library (both take libc's locks, which our thread may hold
at the fork), makes a request of its own and ends."""
import os
import socket
import sys
import time


def get(port, target):
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target.encode())
        while s.recv(65536):
            pass


port, i, delay = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) / 1e6
get(port, "/ok?i=%s.parent" % i)
end = time.perf_counter() + delay
while time.perf_counter() < end:
    pass
if os.fork() == 0:
    socket.getaddrinfo("localhost", None)
    import ctypes
    ctypes.CDLL("libm.so.6")
    get(port, "/ok?i=%s.child" % i)
